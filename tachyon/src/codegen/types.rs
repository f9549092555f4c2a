//! The payload types of a description, as Rust.

use core::fmt::Write;
use std::collections::{HashMap, HashSet};

use super::names::{Taken, is_camel_case, is_snake_case};
use crate::describe::{Composite, EnumDescription, FieldDescription, StructDescription, TypeDescription};
use crate::payload::Primitive;

/// The types met so far, and their source.
pub(super) struct Types {
    taken: Taken,
    /// What was written under which name. Two sides of one name and two layouts get two names.
    written: HashMap<Composite, String>,
    pub(super) source: String,
}

impl Types {
    /// No types yet; `reserved` are names that they cannot have.
    pub(super) fn new(reserved: &[&str]) -> Self {
        Self { taken: Taken::with(reserved), written: HashMap::new(), source: String::new() }
    }

    /// How a type is named in the source, which gets its definition if it has none yet.
    pub(super) fn name(&mut self, description: &TypeDescription) -> String {
        match description {
            TypeDescription::Primitive(primitive) => primitive.name().to_owned(),
            TypeDescription::Composite(Composite::Array { of, len }) => format!("[{}; {len}]", self.name(of)),
            TypeDescription::Composite(Composite::Bytes { len } | Composite::Str { len }) => format!("[u8; {len}]"),
            TypeDescription::Composite(Composite::Enum(description)) if !is_enum(description) => {
                description.repr.name().to_owned()
            }
            TypeDescription::Composite(composite) => {
                if let Some(name) = self.written.get(composite) {
                    return name.clone();
                }
                let definition = match composite {
                    Composite::Struct(description) => self.structure(description),
                    Composite::Enum(description) => self.enumeration(description),
                    Composite::Array { .. } | Composite::Bytes { .. } | Composite::Str { .. } => return String::new(),
                };
                self.written.insert(composite.clone(), definition.clone());
                definition
            }
        }
    }

    fn structure(&mut self, description: &StructDescription) -> String {
        // Those it is made of come first.
        let types: Vec<String> = description.fields.iter().map(|field| self.name(&field.layout)).collect();
        let name = self.taken.claim(&description.name);
        let mut fields = Fields::default();
        let laid_out = lay_out(description, &types, &mut fields);
        self.source.push('\n');
        document(&mut self.source, "", &description.doc, &format!("The payload `{}`.", description.name));
        if laid_out.is_none() {
            self.source.push_str("///\n/// Its layout cannot be written as a struct of Rust: these are its bytes.\n");
            fields = Fields::default();
            fields.add("bytes", &format!("[u8; {}]", description.size.max(1)), "All of them.");
        }
        self.source.push_str("#[tachyon::payload]\n#[derive(Debug, Clone, Copy, PartialEq)]\n");
        allow(&mut self.source, "", is_camel_case(&name), "non_camel_case_types");
        allow(&mut self.source, "", fields.snake_case, "non_snake_case");
        _ = writeln!(self.source, "pub struct {name} {{\n{}}}", fields.source);
        name
    }

    fn enumeration(&mut self, description: &EnumDescription) -> String {
        let name = self.taken.claim(&description.name);
        self.source.push('\n');
        document(&mut self.source, "", &description.doc, &format!("The payload `{}`.", description.name));
        let repr = description.repr.name();
        self.source.push_str("#[tachyon::payload]\n#[derive(Debug, Clone, Copy, PartialEq, Eq)]\n");
        _ = writeln!(self.source, "#[repr({repr})]");
        let mut taken = Taken::default();
        let variants: Vec<_> =
            description.variants.iter().map(|variant| (taken.claim(&variant.name), variant.value)).collect();
        let camel_case = is_camel_case(&name) && variants.iter().all(|(name, _)| is_camel_case(name));
        allow(&mut self.source, "", camel_case, "non_camel_case_types");
        _ = writeln!(self.source, "pub enum {name} {{");
        for (name, value) in variants {
            _ = writeln!(self.source, "    /// Travels as {value}.\n    {name} = {value},");
        }
        self.source.push_str("}\n");
        name
    }
}

/// Whether Rust has such an enum: some variants, each with a value of its own, of a whole number. What is none travels as
/// its number.
fn is_enum(description: &EnumDescription) -> bool {
    let bits = description.repr.size() * 8;
    let range = match description.repr {
        Primitive::F32 | Primitive::F64 | Primitive::Bool => return false,
        Primitive::U8 | Primitive::U16 | Primitive::U32 | Primitive::U64 => 0..1i128 << bits,
        Primitive::I8 | Primitive::I16 | Primitive::I32 | Primitive::I64 => -(1 << (bits - 1))..1 << (bits - 1),
    };
    let mut values = HashSet::new();
    let mut variants = description.variants.iter();
    variants.len() > 0 && variants.all(|variant| range.contains(&variant.value) && values.insert(variant.value))
}

/// The fields of a struct under construction.
struct Fields {
    taken: Taken,
    source: String,
    snake_case: bool,
}

impl Default for Fields {
    fn default() -> Self {
        Self { taken: Taken::default(), source: String::new(), snake_case: true }
    }
}

impl Fields {
    fn add(&mut self, name: &str, ty: &str, doc: &str) {
        let name = self.taken.claim(name);
        self.snake_case &= is_snake_case(&name);
        _ = writeln!(self.source, "    /// {doc}\n    pub {name}: {ty},");
    }
}

/// Writes the fields at their offsets, with padding in the gaps; `None` when `repr(C)` cannot put them there.
fn lay_out(description: &StructDescription, types: &[String], fields: &mut Fields) -> Option<()> {
    let mut order: Vec<(&FieldDescription, &String)> = description.fields.iter().zip(types).collect();
    order.sort_by_key(|(field, _)| field.offset);
    let (mut end, mut align) = (0, 1);
    for (field, ty) in order {
        let (own_size, own_align) = (field.layout.size(), field.layout.align());
        if own_size != field.size
            || own_size == 0
            || !own_align.is_power_of_two()
            || !field.offset.is_multiple_of(own_align)
        {
            return None;
        }
        pad(fields, field.offset.checked_sub(end)?);
        let doc = match &field.layout {
            TypeDescription::Composite(Composite::Str { .. }) => {
                format!("At offset {}: UTF-8, filled up with zeros.", field.offset)
            }
            _ => format!("At offset {}.", field.offset),
        };
        fields.add(&field.name, ty, &doc);
        end = field.offset.checked_add(own_size)?;
        align = align.max(own_align);
    }
    pad(fields, description.size.checked_sub(end)?);
    (align == description.align && description.size.is_multiple_of(align) && description.size != 0).then_some(())
}

fn pad(fields: &mut Fields, gap: usize) {
    if gap > 0 {
        fields.add("_pad", &format!("[u8; {gap}]"), "Nobody reads these.");
    }
}

/// Writes a doc comment, or what stands in for one.
///
/// rustdoc takes code in a comment for a test, which `cargo test` compiles and runs. So a text that could have any is
/// shown as it stands, in a fence that nothing in it can close.
pub(super) fn document(source: &mut String, indent: &str, doc: &str, otherwise: &str) {
    let doc = if doc.trim().is_empty() { otherwise } else { doc };
    let lines: Vec<String> = doc.lines().map(|line| line.replace(is_misleading, " ").trim_end().to_owned()).collect();
    let fence = lines.iter().any(|line| may_be_code(line)).then(|| fence_around(&lines));
    let opening = fence.as_ref().map(|fence| format!("{fence}text"));
    for line in opening.iter().chain(&lines).chain(&fence) {
        _ = if line.is_empty() { writeln!(source, "{indent}///") } else { writeln!(source, "{indent}/// {line}") };
    }
}

/// Whether Markdown may see the beginning of a block of code in a line: a fence, or an indented one, which also lists
/// and quotations may have.
fn may_be_code(line: &str) -> bool {
    ["```", "~~~", "    "].iter().any(|mark| line.contains(mark))
}

/// A fence that is longer than any in these lines.
fn fence_around(lines: &[String]) -> String {
    let longest = lines.iter().flat_map(|line| line.split(|letter| letter != '`')).map(str::len).max();
    "`".repeat(longest.unwrap_or(0).max(2) + 1)
}

/// Whether a character makes code look like other code than it is: rustc refuses those that turn the direction of a
/// line, even in a comment.
fn is_misleading(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Allows a name that rustc would complain about.
pub(super) fn allow(source: &mut String, indent: &str, is_usual: bool, lint: &str) {
    if !is_usual {
        _ = writeln!(source, "{indent}#[allow({lint}, reason = \"the name is the callee's\")]");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::describe::VariantDescription;

    #[test]
    fn a_text_cannot_turn_the_direction_of_a_line() {
        let mut source = String::new();
        document(&mut source, "", "from \u{202e}here\u{2066} on\r\u{7}", "");
        assert_eq!(source, "/// from  here  on\n");
    }

    #[test]
    fn code_in_a_text_is_no_test_of_whoever_compiles_it() {
        let documented = |doc| {
            let mut source = String::new();
            document(&mut source, "", doc, "");
            source
        };
        assert_eq!(documented("Plain `code`.\n\n  - item"), "/// Plain `code`.\n///\n///   - item\n");
        assert_eq!(
            documented("Such as\n```\nstd::process::exit(1)\n```"),
            "/// ````text\n/// Such as\n/// ```\n/// std::process::exit(1)\n/// ```\n/// ````\n"
        );
        for doc in
            ["~~~\nf()", "a\n\n    f()", "a\n\n\tf()\u{9}\t\t\u{1}", "-     f()", ">     f()", "1. ```rust\n   f()"]
        {
            let source = documented(doc);
            if doc.contains('\t') {
                // A tab is a space here, and only four of them begin code.
                assert_eq!(source, "/// a\n///\n///  f()\n");
            } else {
                assert!(source.starts_with("/// ```"), "{source}");
                assert!(source.ends_with("\n/// ```\n") || source.ends_with("\n/// ````\n"), "{source}");
            }
        }
        assert!(documented("`````` and\n```````text\n").starts_with("/// ````````text\n"));
    }

    #[test]
    fn what_is_no_enum_of_rust_travels_as_its_number() {
        let variant = |value| VariantDescription { name: "A".to_owned(), value };
        let named = |repr, values: &[i128]| {
            let variants = values.iter().copied().map(variant).collect();
            let description = EnumDescription { name: "E".to_owned(), doc: String::new(), repr, variants };
            Types::new(&[]).name(&TypeDescription::Composite(Composite::Enum(description)))
        };
        assert_eq!(named(Primitive::U8, &[0, 255]), "E");
        assert_eq!(named(Primitive::I64, &[i128::from(i64::MIN)]), "E");
        assert_eq!(named(Primitive::U8, &[]), "u8");
        assert_eq!(named(Primitive::U8, &[256]), "u8");
        assert_eq!(named(Primitive::I16, &[-32_769]), "i16");
        assert_eq!(named(Primitive::U64, &[7, 7]), "u64");
        assert_eq!(named(Primitive::F32, &[1]), "f32");
        assert_eq!(named(Primitive::Bool, &[1]), "bool");
    }
}
