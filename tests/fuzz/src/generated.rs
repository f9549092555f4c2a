//! Checks that generated Rust has only lines that the generator may write.
//!
//! Generated code is a small part of Rust in fixed lines. This check reads the code line by line, which is much faster
//! than a full parser, and allows less: no item, attribute, expression or comment other than those below, no name
//! twice, no type without a definition.

use std::collections::{HashMap, HashSet};

const FIRST: &str = "// Generated from a callee's description by `tachyon codegen rust`.";

const NUMBERS: [&str; 11] = ["u8", "u16", "u32", "u64", "i8", "i16", "i32", "i64", "f32", "f64", "bool"];

/// Reserved words, which need `r#` as identifiers.
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "Self", "static", "struct", "super", "trait",
    "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Names that no type may have: generated code uses them without a path, or the macro makes them of the trait.
const USED: [&str; 10] =
    ["Endpoints", "EndpointsClient", "EndpointsService", "Result", "String", "Vec", "Option", "str", "Copy", "tachyon"];

/// The kinds that a declared error can have, but for the default.
const KINDS: [&str; 9] = [
    "InvalidArgument",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "Unavailable",
    "Unauthenticated",
];

/// The client's own methods.
const METHODS: [&str; 5] = ["new", "with_timeout", "within", "metadata", "into_inner"];

/// Panics unless `source` consists of payload types and errors, and then one trait.
pub(crate) fn check(source: &str) {
    let checked = Checker { lines: source.split('\n'), line: "", types: HashMap::new() }.file();
    assert!(checked.is_some(), "code that the generator may not write:\n{source}");
}

struct Checker<'a> {
    lines: core::str::Split<'a, char>,
    /// The current line.
    line: &'a str,
    types: HashMap<&'a str, Kind>,
}

/// The kind of a named type.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Fixed,
    Variable,
    Error,
}

impl<'a> Checker<'a> {
    /// Moves to the next line.
    fn step(&mut self) -> Option<()> {
        self.line = self.lines.next()?;
        Some(())
    }

    /// Moves past the current line if it equals `line`.
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
            if self.pass("#[tachyon::error]").is_some() {
                self.errors()?;
            } else if self.pass("#[tachyon::payload(extensible)]").is_some() {
                self.pass("#[derive(Debug, Clone, PartialEq)]")?;
                self.structure(Kind::Variable)?;
            } else {
                self.pass("#[tachyon::payload]")?;
                if self.pass("#[derive(Debug, Clone, Copy, PartialEq)]").is_some() {
                    self.structure(Kind::Fixed)?;
                } else if self.pass("#[derive(Debug, Clone, PartialEq)]").is_some() {
                    self.structure(Kind::Variable)?;
                } else {
                    self.pass("#[derive(Debug, Clone, Copy, PartialEq, Eq)]")?;
                    self.enumeration()?;
                }
            }
        }
        self.service()?;
        // The last line ends with a line break.
        (self.line.is_empty() && self.lines.next().is_none()).then_some(())
    }

    /// One or more lines of documentation.
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
                // A text that contains code is fenced as a whole.
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

    /// Any of the attributes that allow these lints, in this order.
    fn allow(&mut self, indent: &str, lints: &[&str]) -> Option<()> {
        for lint in lints {
            let allowed = format!("#[allow({lint}, reason = \"the name is the callee's\")]");
            if self.line.strip_prefix(indent) == Some(&allowed) {
                self.step()?;
            }
        }
        Some(())
    }

    fn structure(&mut self, kind: Kind) -> Option<()> {
        self.allow("", &["non_camel_case_types", "non_snake_case"])?;
        let name = self.line.strip_prefix("pub struct ")?;
        if let Some(name) = name.strip_suffix(" {}") {
            (kind == Kind::Variable).then_some(())?;
            self.step()?;
            return self.define(name, kind);
        }
        let name = name.strip_suffix(" {")?;
        self.step()?;
        self.fields("    ", "pub ", kind)?;
        self.pass("}")?;
        self.define(name, kind)
    }

    /// One or more fields, each with its documentation.
    fn fields(&mut self, indent: &str, visibility: &str, kind: Kind) -> Option<()> {
        let mut fields = HashSet::new();
        while self.line.trim_start().starts_with("///") {
            self.documentation(indent)?;
            let line = self.line.strip_prefix(indent)?.strip_prefix(visibility)?;
            let (field, ty) = line.strip_suffix(',')?.split_once(": ")?;
            let is_type = if kind == Kind::Fixed { self.is_fixed(ty) } else { self.is_owned(ty) };
            (is_identifier(field) && fields.insert(field) && is_type).then_some(())?;
            self.step()?;
        }
        (!fields.is_empty()).then_some(())
    }

    fn errors(&mut self) -> Option<()> {
        self.pass("#[derive(Debug, Clone, PartialEq)]")?;
        self.allow("", &["non_camel_case_types", "non_snake_case"])?;
        let name = self.line.strip_prefix("pub enum ")?.strip_suffix(" {")?;
        self.step()?;
        let mut names = HashSet::new();
        while self.pass("}").is_none() {
            self.documentation("    ")?;
            let (text, kind) = self.line.strip_prefix("    #[error(\"")?.strip_suffix(")]")?.rsplit_once('"')?;
            (kind.is_empty() || kind.strip_prefix(", kind = ").is_some_and(|kind| KINDS.contains(&kind)))
                .then_some(())?;
            self.step()?;
            let (variant, is_empty) = match self.line.strip_prefix("    ")?.strip_suffix(',') {
                Some(variant) => (variant, true),
                None => (self.line.strip_prefix("    ")?.strip_suffix(" {")?, false),
            };
            self.step()?;
            (is_identifier(variant) && names.insert(variant)).then_some(())?;
            // The variant's name, then the names and values of fields: `Name: field {field}`.
            let plain = variant.strip_prefix("r#").unwrap_or(variant);
            let (text, shown) = text.split_once(": ").map_or((text, None), |(text, shown)| (text, Some(shown)));
            let is_shown = |part: &str| {
                part.split_once(' ').is_some_and(|(name, value)| is_identifier(name) && value == format!("{{{name}}}"))
            };
            (text == plain && shown.is_none_or(|shown| !is_empty && shown.split(", ").all(is_shown))).then_some(())?;
            if !is_empty {
                self.fields("        ", "", Kind::Error)?;
                self.pass("    },")?;
            }
        }
        (!names.is_empty()).then_some(())?;
        self.define(name, Kind::Error)
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
        self.define(name, Kind::Fixed)
    }

    fn define(&mut self, name: &'a str, kind: Kind) -> Option<()> {
        let is_view = |name: &str| {
            let payload = name.strip_suffix("Ref").unwrap_or_default();
            [payload, &format!("r#{payload}")].iter().any(|name| self.types.get(name) == Some(&Kind::Variable))
        };
        let view = format!("{}Ref", name.strip_prefix("r#").unwrap_or(name));
        let is_taken = self.types.contains_key(name) || (kind == Kind::Variable && self.types.contains_key(&*view));
        let is_free = !USED.contains(&name) && !NUMBERS.contains(&name) && !is_taken && !is_view(name);
        (is_identifier(name) && is_free && self.types.insert(name, kind).is_none()).then_some(())
    }

    fn service(&mut self) -> Option<()> {
        if self.pass("pub trait Endpoints {}").is_some() {
            return Some(());
        }
        self.pass("pub trait Endpoints {")?;
        let mut names = HashSet::from(METHODS);
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
        if let Some(left_out) = self.line.strip_prefix("    // `") {
            let (name, rest) = left_out.split_once("` (msg_type ")?;
            let without_types = [
                ") is left out: a description has no types of values in msgpack.",
                ") is left out: Rust has no streams of empty items.",
            ];
            if let Some(number) = without_types.iter().find_map(|reason| rest.strip_suffix(reason)) {
                (is_identifier(name) && number.parse::<u16>().is_ok()).then_some(())?;
                self.step()?;
                return Some(name);
            }
            let (number, rest) = rest.split_once(") is left out: Rust takes and gives no value of ")?;
            let size: usize = rest.strip_suffix(" bytes by value.")?.parse().ok()?;
            (is_identifier(name) && number.parse::<u16>().is_ok() && size > 64 * 1024).then_some(())?;
            self.step()?;
            return Some(name);
        }
        self.documentation("    ")?;
        let number = self.line.strip_prefix("    #[rpc(msg_type = ")?.strip_suffix(")]")?;
        number.parse::<u16>().ok()?;
        self.step()?;
        self.allow("    ", &["non_snake_case"])?;
        let (name, rest) = self.line.strip_prefix("    fn ")?.split_once('(')?;
        let mut params = Params::default();
        let reply = if rest.is_empty() {
            // One parameter on each line.
            self.step()?;
            self.pass("        &self,")?;
            while let Some(param) = self.line.strip_prefix("        ") {
                self.param(param.strip_suffix(',')?, &mut params)?;
                self.step()?;
            }
            self.line.strip_prefix("    ) -> ")?
        } else {
            let (list, reply) = rest.split_once(") -> ")?;
            let mut list = list.split(", ");
            (list.next() == Some("&self")).then_some(())?;
            while let Some(param) = list.next() {
                // A comma between angle brackets belongs to a type.
                let mut whole = param.to_owned();
                while whole.matches('<').count() > whole.matches('>').count() {
                    whole = format!("{whole}, {}", list.next()?);
                }
                self.param(&whole, &mut params)?;
            }
            reply
        };
        let streamed = reply.strip_prefix("impl Iterator<Item = ").and_then(|item| item.strip_suffix("> + 'static;"));
        let result = streamed.or_else(|| reply.strip_suffix(';'))?;
        let (reply, error) = result.strip_prefix("Result<")?.strip_suffix('>')?.rsplit_once(", ")?;
        let is_error = error == "String" || self.types.get(error) == Some(&Kind::Error);
        (is_identifier(name) && is_error && (reply == "()" || self.is_owned(reply))).then_some(())?;
        let Params { has_items, has_sender, has_borrowed, .. } = params;
        (!has_items || !has_borrowed && streamed.is_none()).then_some(())?;
        (!has_sender || has_items && reply == "()").then_some(())?;
        self.step()?;
        Some(name)
    }

    /// Checks a parameter, and notes it. The streams follow the arguments.
    fn param(&self, param: &str, params: &mut Params) -> Option<()> {
        let (name, ty) = param.split_once(": ")?;
        (is_identifier(name) && params.names.insert(name.to_owned()) && !params.has_sender).then_some(())?;
        if let Some(items) = ty.strip_prefix("tachyon::Items<") {
            params.has_items = true;
            return self.is_owned(items.strip_suffix('>')?).then_some(());
        }
        if let Some(item) = ty.strip_prefix("tachyon::StreamSender<") {
            params.has_sender = true;
            return self.is_owned(item.strip_suffix('>')?).then_some(());
        }
        if params.has_items {
            return None;
        }
        params.has_borrowed |= !self.is_owned(ty);
        (self.is_param(ty) || self.is_owned(ty)).then_some(())
    }

    /// Whether a parameter may have this type: a number by value, any other type by reference.
    fn is_param(&self, ty: &str) -> bool {
        let inside = |head: &str| ty.strip_prefix(head).and_then(|rest| rest.strip_suffix('>'));
        if let Some(of) = inside("Option<") {
            return self.is_param(of) || self.is_fixed(of);
        }
        if let Some(of) = inside("tachyon::List<'_, ") {
            return self.is_owned(of);
        }
        if let Some(tensor) = inside("tachyon::TensorRef<'_, ") {
            return is_tensor(tensor);
        }
        if let Some(view) = ty.strip_suffix("Ref<'_>") {
            let names = [view, &format!("r#{view}")];
            return names.iter().any(|name| self.types.get(name) == Some(&Kind::Variable));
        }
        let Some(target) = ty.strip_prefix('&') else { return NUMBERS.contains(&ty) };
        let slice = target.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        target == "str" || self.is_fixed(target) || slice.is_some_and(|element| self.is_fixed(element))
    }

    /// Whether a field or a reply may have this type.
    fn is_owned(&self, ty: &str) -> bool {
        let inside = |head: &str| ty.strip_prefix(head).and_then(|rest| rest.strip_suffix('>'));
        if let Some(tensor) = inside("tachyon::Tensor<") {
            return is_tensor(tensor);
        }
        match inside("Vec<").or_else(|| inside("Option<")) {
            Some(of) => self.is_owned(of),
            None => ty == "String" || self.types.get(ty) == Some(&Kind::Variable) || self.is_fixed(ty),
        }
    }

    /// Whether a type is a number, a defined fixed type, or an array of one.
    fn is_fixed(&self, mut ty: &str) -> bool {
        while let Some(array) = ty.strip_prefix('[') {
            let Some((of, len)) = array.strip_suffix(']').and_then(|array| array.rsplit_once("; ")) else {
                return false;
            };
            if len.parse::<usize>().is_err() {
                return false;
            }
            ty = of;
        }
        NUMBERS.contains(&ty) || self.types.get(ty) == Some(&Kind::Fixed)
    }
}

/// The parameters of a method.
#[derive(Default)]
struct Params {
    names: HashSet<String>,
    has_items: bool,
    has_sender: bool,
    has_borrowed: bool,
}

/// Whether a tensor may have these arguments: a number, and the number of dimensions.
fn is_tensor(arguments: &str) -> bool {
    let parts = arguments.split_once(", ");
    parts.is_some_and(|(of, ndim)| NUMBERS.contains(&of) && ndim.parse::<usize>().is_ok())
}

fn is_identifier(name: &str) -> bool {
    let plain = name.strip_prefix("r#");
    let is_keyword = KEYWORDS.contains(&plain.unwrap_or(name));
    let name = plain.unwrap_or(name);
    is_keyword == plain.is_some()
        && !["", "_", "crate", "self", "super", "Self"].contains(&name)
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|letter| {
            // The full parser checks other alphabets.
            let is_foreign = !letter.is_ascii() && !letter.is_whitespace() && !is_misleading(letter);
            letter == '_' || letter.is_ascii_alphanumeric() || is_foreign
        })
}

/// Whether rustdoc may read a line as code, which `cargo test` would run.
fn is_code(text: &str) -> bool {
    ["```", "~~~", "    "].iter().any(|mark| text.contains(mark))
}

/// Whether a character makes code look like other code.
fn is_misleading(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::check;

    const SOURCE: &str = "// Generated from a callee's description by `tachyon codegen rust`.\n\
        \n/// A side.\n#[tachyon::payload]\n#[derive(Debug, Clone, Copy, PartialEq, Eq)]\n#[repr(u8)]\n\
        pub enum Side {\n    /// Travels as 1.\n    Buy = 1,\n}\n\
        \n/// ````text\n/// ```\n///     code\n/// ````\n#[tachyon::payload]\n\
        #[derive(Debug, Clone, Copy, PartialEq)]\n\
        pub struct Order {\n    /// At offset 0.\n    pub sides: [[Side; 2]; 3],\n}\n\
        \n/// Text.\n#[tachyon::payload]\n#[derive(Debug, Clone, PartialEq)]\npub struct Scan {\n\
        \u{20}   /// At offset 4 of the head.\n    pub notes: Option<Vec<String>>,\n\
        \u{20}   /// At offset 12 of the head.\n    pub image: tachyon::Tensor<f32, 2>,\n}\n\
        \n/// Errors.\n#[tachyon::error]\n#[derive(Debug, Clone, PartialEq)]\npub enum LongError {\n\
        \u{20}   /// Two.\n    #[error(\"Two: a {a}\")]\n    Two {\n        /// At offset 4 of the head.\n\
        \u{20}       a: u8,\n    },\n\
        \u{20}   /// Busy.\n    #[error(\"Busy\")]\n    Busy,\n\
        \u{20}   /// Gone.\n    #[error(\"Gone\", kind = NotFound)]\n    Gone,\n}\n\
        \n/// The endpoints of the callee.\n#[tachyon::tachyon_rpc]\npub trait Endpoints {\n\
        \u{20}   /// First.\n    #[rpc(msg_type = 1)]\n\
        \u{20}   fn order(&self, request: &[Order]) -> Result<Vec<u8>, String>;\n\
        \n    /// Second.\n    #[rpc(msg_type = 2)]\n    fn long(\n        &self,\n        request: &Order,\n\
        \u{20}       scan: ScanRef<'_>,\n    ) -> Result<Vec<Scan>, LongError>;\n\
        \n    /// Third.\n    #[rpc(msg_type = 3)]\n\
        \u{20}   fn more(&self, a: u8, b: tachyon::List<'_, Scan>, c: Option<&str>) -> Result<(), String>;\n\
        \n    /// Fourth.\n    #[rpc(msg_type = 4)]\n\
        \u{20}   fn stream(&self, a: &str) -> impl Iterator<Item = Result<Scan, LongError>> + 'static;\n\
        \n    /// Fifth.\n    #[rpc(msg_type = 5)]\n\
        \u{20}   fn upload(&self, a: String, items: tachyon::Items<Scan>) -> Result<u8, String>;\n\
        \n    /// Sixth.\n    #[rpc(msg_type = 6)]\n    fn chat(\n        &self,\n\
        \u{20}       items: tachyon::Items<Vec<u8>>,\n        out: tachyon::StreamSender<Order>,\n\
        \u{20}   ) -> Result<(), String>;\n\
        }\n";

    #[test]
    fn generated_code_passes() {
        check(SOURCE);
    }

    #[test]
    fn other_code_is_refused() {
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
            ("Option<Vec<String>>", "Option<Vec<evil>>"),
            ("pub notes: Option<Vec<String>>", "notes: Option<Vec<String>>"),
            ("Tensor<f32, 2>", "Tensor<evil, 2>"),
            ("Tensor<f32, 2>", "Tensor<f32, { evil() }>"),
            ("pub struct Scan {", "pub struct OrderRef {"),
            ("pub struct Order {", "pub struct ScanRef {"),
            ("Vec<Scan>, LongError", "Vec<Scan>, Order"),
            ("Vec<Scan>, LongError", "Vec<Scan>, Missing"),
            ("ScanRef<'_>", "OrderRef<'_>"),
            ("c: Option<&str>", "c: Option<&mut str>"),
            ("c: Option<&str>", "b: Option<&str>"),
            ("a: u8, b", "a: u8 = evil(), b"),
            ("List<'_, Scan>", "List<'_, Missing>"),
            ("Two: a {a}", "Two: a {evil()}"),
            ("(\"Busy\")", "(\"Idle\")"),
            ("(\"Busy\")]", "(\"Busy\", evil())]"),
            ("kind = NotFound", "kind = Stopping"),
            ("kind = NotFound", "kind = evil()"),
            ("kind = NotFound", "kind = NotFound, kind = NotFound"),
            ("    Busy,\n", "    Busy,\n    /// Busy.\n    #[error(\"Busy\")]\n    Busy,\n"),
            ("pub trait Endpoints {\n", "pub trait Endpoints {\n    const EVIL: u8 = 1;\n"),
            ("    ) -> Result<(), String>;\n}\n", "    ) -> Result<(), String>;\n}\nmod evil;\n"),
            ("    ) -> Result<(), String>;\n}\n", "    ) -> Result<(), String>;\n}"),
            ("> + 'static;", "> + evil;"),
            ("impl Iterator<Item = Result<Scan", "impl Iterator<Item = Result<Missing"),
            ("a: String, items", "a: &str, items"),
            ("items: tachyon::Items<Scan>", "items: tachyon::Items<Missing>"),
            ("StreamSender<Order>", "StreamSender<evil>"),
            ("        out: tachyon", "        items: tachyon"),
        ] {
            let changed = SOURCE.replacen(from, to, 1);
            assert_ne!(changed, SOURCE, "{from}");
            assert!(std::panic::catch_unwind(|| check(&changed)).is_err(), "passes: {changed}");
        }
    }
}
