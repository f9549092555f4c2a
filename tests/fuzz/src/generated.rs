//! Whether generated Rust is what the generator may write, and nothing else.
//!
//! A parser of all of Rust takes longer than everything else that is done with a description. What may be generated is
//! a small part of Rust in fixed lines, so this goes through it line by line, and allows less than the parser does: no
//! item, attribute, expression or comment that is not spelled out here, no name twice, no type that is not defined.

use std::collections::HashSet;

const FIRST: &str = "// Generated from a callee's description by `tachyon codegen rust`.";

const NUMBERS: [&str; 11] = ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f32", "f64", "bool"];

/// What an identifier cannot be without `r#`: the words that Rust keeps for itself.
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "Self", "static", "struct", "super", "trait",
    "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// What generated code names without a path, and what the macro makes of the trait: no type may be called so.
const USED: [&str; 8] =
    ["Endpoints", "EndpointsClient", "EndpointsService", "Result", "String", "Vec", "Copy", "tachyon"];

/// Panics unless `source` is payload types, each in its lines, and then one trait.
pub(crate) fn check(source: &str) {
    let checked = Checker { lines: source.split('\n'), line: "", types: HashSet::new() }.file();
    assert!(checked.is_some(), "not what the generator may write:\n{source}");
}

struct Checker<'a> {
    lines: core::str::Split<'a, char>,
    /// The line that is looked at.
    line: &'a str,
    types: HashSet<&'a str>,
}

impl<'a> Checker<'a> {
    /// Goes on to the next line.
    fn step(&mut self) -> Option<()> {
        self.line = self.lines.next()?;
        Some(())
    }

    /// Goes on after exactly this line.
    fn pass(&mut self, line: &str) -> Option<()> {
        (self.line == line).then(|| self.step())?
    }

    fn file(mut self) -> Option<()> {
        self.step()?;
        self.pass(FIRST)?;
        loop {
            self.pass("")?;
            self.documentation("")?;
            if self.pass("#[tachyon::tachyon_rpc]").is_some() {
                break;
            }
            self.pass("#[tachyon::payload]")?;
            if self.pass("#[derive(Debug, Clone, Copy, PartialEq)]").is_some() {
                self.structure()?;
            } else {
                self.pass("#[derive(Debug, Clone, Copy, PartialEq, Eq)]")?;
                self.enumeration()?;
            }
        }
        self.service()?;
        // The last line ends as all others do.
        (self.line.is_empty() && self.lines.next().is_none()).then_some(())
    }

    /// One line or more of comments that document what follows.
    fn documentation(&mut self, indent: &str) -> Option<()> {
        let mut fence = None;
        let mut lines = 0;
        while let Some(text) = self.line.strip_prefix(indent).and_then(|line| line.strip_prefix("///")) {
            let is_text = text.is_empty() || (text.starts_with(' ') && !text.ends_with(' '));
            if !is_text || text.contains(is_misleading) {
                return None;
            }
            let text = text.get(1..).unwrap_or_default();
            if lines == 0 {
                // Around all of a text that has code in it.
                fence = text.strip_suffix("text").filter(|fence| fence.len() > 2 && fence.bytes().all(|at| at == b'`'));
                if fence.is_none() && is_code(text) {
                    return None;
                }
            } else if Some(text) == fence {
                fence = None;
            } else if fence.map_or_else(|| is_code(text), |fence| text.contains(fence)) {
                return None;
            }
            lines += 1;
            self.step()?;
        }
        (lines > 0 && fence.is_none()).then_some(())
    }

    /// At most these allowances, in this order.
    fn allow(&mut self, indent: &str, lints: &[&str]) -> Option<()> {
        for lint in lints {
            let allowed = format!("#[allow({lint}, reason = \"the name is the callee's\")]");
            if self.line.strip_prefix(indent) == Some(&allowed) {
                self.step()?;
            }
        }
        Some(())
    }

    fn structure(&mut self) -> Option<()> {
        self.allow("", &["non_camel_case_types", "non_snake_case"])?;
        let name = self.line.strip_prefix("pub struct ")?.strip_suffix(" {")?;
        self.step()?;
        let mut fields = HashSet::new();
        while self.pass("}").is_none() {
            self.documentation("    ")?;
            let (field, ty) = self.line.strip_prefix("    pub ")?.strip_suffix(',')?.split_once(": ")?;
            (is_identifier(field) && fields.insert(field) && self.is_type(ty)).then_some(())?;
            self.step()?;
        }
        (!fields.is_empty()).then_some(())?;
        self.define(name)
    }

    fn enumeration(&mut self) -> Option<()> {
        let repr = self.line.strip_prefix("#[repr(")?.strip_suffix(")]")?;
        NUMBERS[..8].contains(&repr).then_some(())?;
        self.step()?;
        self.allow("", &["non_camel_case_types"])?;
        let name = self.line.strip_prefix("pub enum ")?.strip_suffix(" {")?;
        self.step()?;
        let (mut names, mut values) = (HashSet::new(), HashSet::new());
        while self.pass("}").is_none() {
            self.documentation("    ")?;
            let (variant, value) = self.line.strip_prefix("    ")?.strip_suffix(',')?.split_once(" = ")?;
            let value: i128 = value.parse().ok()?;
            (is_identifier(variant) && names.insert(variant) && values.insert(value)).then_some(())?;
            self.step()?;
        }
        (!names.is_empty()).then_some(())?;
        self.define(name)
    }

    fn define(&mut self, name: &'a str) -> Option<()> {
        let is_free = !USED.contains(&name) && !NUMBERS.contains(&name);
        (is_identifier(name) && is_free && self.types.insert(name)).then_some(())
    }

    fn service(&mut self) -> Option<()> {
        if self.pass("pub trait Endpoints {}").is_some() {
            return Some(());
        }
        self.pass("pub trait Endpoints {")?;
        let mut names = HashSet::from(["new", "with_timeout"]);
        loop {
            let name = self.method()?;
            names.insert(name).then_some(())?;
            if self.pass("}").is_some() {
                return Some(());
            }
            self.pass("")?;
        }
    }

    fn method(&mut self) -> Option<&'a str> {
        self.documentation("    ")?;
        let number = self.line.strip_prefix("    #[rpc(msg_type = ")?.strip_suffix(")]")?;
        number.parse::<u16>().ok()?;
        self.step()?;
        self.allow("    ", &["non_snake_case"])?;
        let (name, rest) = self.line.strip_prefix("    fn ")?.split_once('(')?;
        let reply = if rest.is_empty() {
            // A parameter per line.
            self.step()?;
            self.pass("        &self,")?;
            if let Some(request) = self.line.strip_prefix("        request: ") {
                self.is_request(request.strip_suffix(',')?).then_some(())?;
                self.step()?;
            }
            self.line.strip_prefix("    ) -> ")?
        } else {
            let (params, reply) = rest.split_once(") -> ")?;
            match params.strip_prefix("&self, request: ") {
                Some(request) => self.is_request(request).then_some(())?,
                None => (params == "&self").then_some(())?,
            }
            reply
        };
        let reply = reply.strip_prefix("Result<")?.strip_suffix(", String>;")?;
        let one = reply.strip_prefix("Vec<").map_or(Some(reply), |rest| rest.strip_suffix('>'))?;
        (is_identifier(name) && (reply == "()" || self.is_type(one))).then_some(())?;
        self.step()?;
        Some(name)
    }

    fn is_request(&self, request: &str) -> bool {
        let Some(lent) = request.strip_prefix('&') else { return false };
        let slice = lent.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        self.is_type(lent) || slice.is_some_and(|element| self.is_type(element))
    }

    /// A number, a type that was defined, or arrays of one.
    fn is_type(&self, mut ty: &str) -> bool {
        while let Some(array) = ty.strip_prefix('[') {
            let Some((of, len)) = array.strip_suffix(']').and_then(|array| array.rsplit_once("; ")) else {
                return false;
            };
            if len.parse::<usize>().is_err() {
                return false;
            }
            ty = of;
        }
        NUMBERS.contains(&ty) || self.types.contains(ty)
    }
}

fn is_identifier(name: &str) -> bool {
    let plain = name.strip_prefix("r#");
    let is_keyword = KEYWORDS.contains(&plain.unwrap_or(name));
    let name = plain.unwrap_or(name);
    is_keyword == plain.is_some()
        && !["", "_", "crate", "self", "super", "Self"].contains(&name)
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// Whether rustdoc may take a line for code, which `cargo test` would run.
fn is_code(text: &str) -> bool {
    ["```", "~~~", "    "].iter().any(|mark| text.contains(mark))
}

/// Whether a character makes code look like other code than it is.
fn is_misleading(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::check;

    const SOURCE: &str = "// Generated from a callee's description by `tachyon codegen rust`.\n\
        \n/// A side.\n#[tachyon::payload]\n#[derive(Debug, Clone, Copy, PartialEq, Eq)]\n#[repr(u8)]\n\
        pub enum Side {\n    /// Travels as 1.\n    Buy = 1,\n}\n\
        \n/// ````text\n/// ```\n///     code\n/// ````\n#[tachyon::payload]\n#[derive(Debug, Clone, Copy, PartialEq)]\n\
        pub struct Order {\n    /// At offset 0.\n    pub sides: [[Side; 2]; 3],\n}\n\
        \n/// The endpoints of the callee.\n#[tachyon::tachyon_rpc]\npub trait Endpoints {\n\
        \u{20}   /// First.\n    #[rpc(msg_type = 1)]\n    fn order(&self, request: &[Order]) -> Result<Vec<u8>, String>;\n\
        \n    /// Second.\n    #[rpc(msg_type = 2)]\n    fn long(\n        &self,\n        request: &Order,\n    ) -> Result<(), String>;\n\
        }\n";

    #[test]
    fn what_the_generator_writes_passes() {
        check(SOURCE);
    }

    /// Each of these is Rust as well, except where it is said.
    #[test]
    fn anything_else_does_not() {
        for (from, to) in [
            ("/// A side.\n", "/// A side.\nfn evil() {}\n"),
            ("/// A side.\n", "/// A side.\n#[path = \"evil\"]\n"),
            ("/// A side.\n", "/// A \u{202e}side.\n"),
            ("/// A side.\n", "/// A side.\n/// ```\n/// evil()\n/// ```\n"),
            ("/// A side.\n", "/// A side.\n///\n///     evil()\n"),
            ("/// A side.\n", "/// ```text\n/// never closed\n"),
            ("/// A side.\n", "/// ```\n/// evil()\n"),
            ("/// ```\n///     code", "/// ````\n///     code"),
            ("pub enum Side {", "pub enum String {"),
            ("pub enum Side {", "pub enum u8 {"),
            ("Buy = 1,", "Buy = evil(),"),
            ("Buy = 1,\n", "Buy = 1,\n    /// Travels as 1.\n    Sell = 1,\n"),
            ("pub enum Side", "pub enum Order"),
            ("[[Side; 2]; 3]", "[[Side; evil()]; 3]"),
            ("[[Side; 2]; 3]", "[[Missing; 2]; 3]"),
            ("    pub sides: [[Side; 2]; 3],\n", "    pub sides: u8,\n    /// Again.\n    pub sides: u8,\n"),
            ("fn order(", "fn long("),
            ("fn order(", "fn new("),
            ("fn order(", "fn fn("),
            ("    #[rpc(msg_type = 2)]", "    #[rpc(msg_type = 70000)]"),
            ("Result<Vec<u8>, String>;", "Result<Vec<u8>, String> { loop {} }"),
            ("pub trait Endpoints {\n", "pub trait Endpoints {\n    const EVIL: u8 = 1;\n"),
            ("    ) -> Result<(), String>;\n}\n", "    ) -> Result<(), String>;\n}\nmod evil;\n"),
            ("    ) -> Result<(), String>;\n}\n", "    ) -> Result<(), String>;\n}"),
        ] {
            let spoilt = SOURCE.replacen(from, to, 1);
            assert_ne!(spoilt, SOURCE, "{from}");
            assert!(std::panic::catch_unwind(|| check(&spoilt)).is_err(), "passes: {spoilt}");
        }
    }
}
