//! The payload types of a description, as Rust source.

use core::fmt::Write;
use std::collections::{HashMap, HashSet};

use super::names::{Taken, camel_case, is_camel_case, is_exact, is_snake_case, view};
use crate::schema::describe::{
    EndpointDescription, EnumDescription, ErrorDescription, FieldDescription, HeadDescription, StructDescription,
    TypeDescription, TypeJson, Writer,
};
use crate::schema::payload::Primitive;

/// The types so far, and their source.
pub(super) struct Types<'a> {
    taken: Taken,
    indexes: Writer<'a>,
    /// The Rust name of each written type, by the reference to the type. Two layouts of one name get two names.
    written: HashMap<TypeJson, String>,
    pub(super) source: String,
}

impl<'a> Types<'a> {
    /// No types yet. No type gets a name of `reserved`.
    pub(super) fn new(reserved: &[&str]) -> Self {
        let taken = Taken::with(reserved);
        Self { taken, indexes: Writer::default(), written: HashMap::new(), source: String::new() }
    }

    /// The type of an owned value. Its definition is added to the source if it is not there yet.
    pub(super) fn owned(&mut self, value_type: &'a TypeDescription) -> String {
        match value_type {
            TypeDescription::Primitive(primitive) => primitive.name().to_owned(),
            TypeDescription::Array { of, len } => format!("[{}; {len}]", self.owned(of)),
            TypeDescription::Bytes { len } | TypeDescription::Str { len } => format!("[u8; {len}]"),
            TypeDescription::Text => "String".to_owned(),
            TypeDescription::List(of) => format!("Vec<{}>", self.owned(of)),
            TypeDescription::Option(of) => format!("Option<{}>", self.owned(of)),
            TypeDescription::Tensor { of, ndim } => format!("tachyon::Tensor<{}, {ndim}>", of.name()),
            TypeDescription::Enum(description) => self.named(value_type, |types| types.enumeration(description)),
            TypeDescription::Struct(description) => self.named(value_type, |types| types.structure(description)),
            TypeDescription::Variable(description) => self.named(value_type, |types| types.variable(description)),
        }
    }

    /// The name of a type. `define` writes the type the first time.
    fn named(&mut self, value_type: &'a TypeDescription, define: impl FnOnce(&mut Self) -> String) -> String {
        let reference = self.indexes.reference(value_type);
        if let Some(name) = self.written.get(&reference) {
            return name.clone();
        }
        let name = define(self);
        self.written.insert(reference, name.clone());
        name
    }

    /// The type of a parameter: a number by value, any other type borrowed.
    pub(super) fn lent(&mut self, value_type: &'a TypeDescription) -> String {
        match value_type {
            TypeDescription::Text => "&str".to_owned(),
            TypeDescription::List(of) if of.is_fixed() => format!("&[{}]", self.owned(of)),
            TypeDescription::List(of) => format!("tachyon::List<'_, {}>", self.owned(of)),
            TypeDescription::Option(of) if of.is_fixed() => format!("Option<{}>", self.owned(of)),
            TypeDescription::Option(of) => format!("Option<{}>", self.lent(of)),
            TypeDescription::Tensor { of, ndim } => format!("tachyon::TensorRef<'_, {}, {ndim}>", of.name()),
            TypeDescription::Variable(_) => format!("{}<'_>", view(&self.owned(value_type))),
            _ => {
                let owned = self.owned(value_type);
                if is_number(&owned) { owned } else { format!("&{owned}") }
            }
        }
    }

    fn structure(&mut self, description: &'a StructDescription) -> String {
        // The definitions of the fields' types come first.
        let types: Vec<String> = description.fields.iter().map(|field| self.owned(&field.value_type)).collect();
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
        self.define(&name, &fields);
        name
    }

    fn variable(&mut self, description: &'a HeadDescription) -> String {
        let types: Vec<String> = description.fields.iter().map(|field| self.owned(&field.value_type)).collect();
        let name = self.taken.claim_with_view(&description.name);
        let mut fields = Fields::default();
        for (field, ty) in description.fields.iter().zip(&types) {
            fields.add(&field.name, ty, &in_head(field));
        }
        self.source.push('\n');
        document(&mut self.source, "", &description.doc, &format!("The payload `{}`.", description.name));
        // These types show the macro that the payload is variable; the name of another payload does not.
        let is_seen = description
            .fields
            .iter()
            .any(|field| !field.value_type.is_fixed() && !matches!(field.value_type, TypeDescription::Variable(_)));
        self.source.push_str(if is_seen { "#[tachyon::payload]\n" } else { "#[tachyon::payload(extensible)]\n" });
        self.source.push_str("#[derive(Debug, Clone, PartialEq)]\n");
        self.define(&name, &fields);
        name
    }

    fn define(&mut self, name: &str, fields: &Fields) {
        allow(&mut self.source, "", is_camel_case(name), "non_camel_case_types");
        allow(&mut self.source, "", fields.snake_case, "non_snake_case");
        _ = if fields.source.is_empty() {
            writeln!(self.source, "pub struct {name} {{}}")
        } else {
            writeln!(self.source, "pub struct {name} {{\n{}}}", fields.source)
        };
    }

    /// The enum, or the type of its numbers if Rust has no such enum.
    fn enumeration(&mut self, description: &EnumDescription) -> String {
        if !is_enum(description) {
            return description.repr.name().to_owned();
        }
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

    /// The type of an endpoint's errors, with its definition; `None` if the endpoint declares no error that Rust can
    /// name. The names travel, so a variant has exactly the declared name.
    pub(super) fn errors(&mut self, endpoint: &'a EndpointDescription) -> Option<String> {
        let mut names = HashSet::new();
        let (variants, others): (Vec<_>, Vec<_>) = endpoint
            .raises
            .iter()
            .partition(|ErrorDescription { head: error, .. }| is_exact(&error.name) && names.insert(&error.name));
        if variants.is_empty() {
            return None;
        }
        let mut body = String::new();
        let (mut camel_case_names, mut snake_case) = (true, true);
        for ErrorDescription { kind, head: error } in variants {
            let name = super::names::identifier(&error.name);
            let mut fields = Fields { indent: "        ", visibility: "", ..Fields::default() };
            let mut shown = Vec::new();
            for field in &error.fields {
                let ty = self.owned(&field.value_type);
                let name = fields.add(&field.name, &ty, &in_head(field));
                if (is_number(&ty) || ty == "String") && !name.starts_with("r#") {
                    shown.push(format!("{name} {{{name}}}"));
                }
            }
            let text = if shown.is_empty() { String::new() } else { format!(": {}", shown.join(", ")) };
            document(&mut body, "    ", &error.doc, &format!("The error `{}`.", error.name));
            let kind = if kind.is_of_handler() { format!(", kind = {}", kind.name()) } else { String::new() };
            _ = writeln!(body, "    #[error(\"{}{text}\"{kind})]", error.name);
            _ = if fields.source.is_empty() {
                writeln!(body, "    {name},")
            } else {
                writeln!(body, "    {name} {{\n{}    }},", fields.source)
            };
            camel_case_names &= is_camel_case(&name);
            snake_case &= fields.snake_case;
        }
        let name = self.taken.claim(&format!("{}Error", camel_case(&endpoint.name)));
        let mut doc = format!("The errors of `{}`.", endpoint.name);
        if !others.is_empty() {
            let names: Vec<_> = others.iter().map(|error| format!("`{}`", error.head.name)).collect();
            _ = write!(doc, "\n\nNo variant can have the names of these, which arrive untyped: {}.", names.join(", "));
        }
        self.source.push('\n');
        document(&mut self.source, "", &doc, "");
        self.source.push_str("#[tachyon::error]\n#[derive(Debug, Clone, PartialEq)]\n");
        allow(&mut self.source, "", is_camel_case(&name) && camel_case_names, "non_camel_case_types");
        allow(&mut self.source, "", snake_case, "non_snake_case");
        _ = writeln!(self.source, "pub enum {name} {{\n{body}}}");
        Some(name)
    }
}

/// Whether the name of a type is that of a number, which no other type has.
fn is_number(ty: &str) -> bool {
    Primitive::ALL.iter().any(|primitive| primitive.name() == ty)
}

fn in_head(field: &FieldDescription) -> String {
    match &field.value_type {
        TypeDescription::Str { .. } => format!("At offset {} of the head: UTF-8, filled up with zeros.", field.offset),
        _ => format!("At offset {} of the head.", field.offset),
    }
}

/// Whether Rust has such an enum: at least one variant, and different whole numbers. Any other enum becomes the type of
/// its numbers.
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
    indent: &'static str,
    visibility: &'static str,
}

impl Default for Fields {
    fn default() -> Self {
        let (taken, source) = (Taken::default(), String::new());
        Self { taken, source, snake_case: true, indent: "    ", visibility: "pub " }
    }
}

impl Fields {
    /// Adds a field, and returns its name in the source.
    fn add(&mut self, name: &str, ty: &str, doc: &str) -> String {
        let name = self.taken.claim(name);
        self.snake_case &= is_snake_case(&name);
        let Self { indent, visibility, .. } = self;
        _ = writeln!(self.source, "{indent}/// {doc}\n{indent}{visibility}{name}: {ty},");
        name
    }
}

/// Writes the fields at their offsets, with padding in the gaps; `None` if no struct of `repr(C)` has these offsets.
fn lay_out(description: &StructDescription, types: &[String], fields: &mut Fields) -> Option<()> {
    let mut order: Vec<(&FieldDescription, &String)> = description.fields.iter().zip(types).collect();
    order.sort_by_key(|(field, _)| field.offset);
    let (mut end, mut align) = (0, 1);
    for (field, ty) in order {
        let (own_size, own_align) = (field.value_type.size(), field.value_type.align());
        if own_size == 0 || !own_align.is_power_of_two() || !field.offset.is_multiple_of(own_align) {
            return None;
        }
        pad(fields, field.offset.checked_sub(end)?);
        let doc = match &field.value_type {
            TypeDescription::Str { .. } => format!("At offset {}: UTF-8, filled up with zeros.", field.offset),
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
        fields.add("_pad", &format!("[u8; {gap}]"), "Padding.");
    }
}

/// Writes a doc comment, or `otherwise` if `doc` is empty.
///
/// rustdoc takes code in a comment for a test, which `cargo test` runs. So a text that may hold code is put between
/// fences that are longer than any fence in the text.
pub(super) fn document(source: &mut String, indent: &str, doc: &str, otherwise: &str) {
    let doc = if doc.trim().is_empty() { otherwise } else { doc };
    let lines: Vec<String> =
        doc.lines().map(|line| line.replace(is_control_or_bidi, " ").trim_end().to_owned()).collect();
    let fence = lines.iter().any(|line| may_be_code(line)).then(|| fence_around(&lines));
    let opening = fence.as_ref().map(|fence| format!("{fence}text"));
    for line in opening.iter().chain(&lines).chain(&fence) {
        _ = if line.is_empty() { writeln!(source, "{indent}///") } else { writeln!(source, "{indent}/// {line}") };
    }
}

/// Whether a line may begin a block of code in Markdown: by a fence, or by indentation, also in a list or a quotation.
fn may_be_code(line: &str) -> bool {
    ["```", "~~~", "    "].iter().any(|mark| line.contains(mark))
}

/// A fence that is longer than any fence in these lines.
fn fence_around(lines: &[String]) -> String {
    let longest = lines.iter().flat_map(|line| line.split(|letter| letter != '`')).map(str::len).max();
    "`".repeat(longest.unwrap_or(0).max(2) + 1)
}

/// Whether a character is a control character or changes the direction of a line. rustc refuses the latter in comments
/// too. Joiners stay: texts of many languages need them.
fn is_control_or_bidi(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Allows a name for which rustc has a warning.
pub(super) fn allow(source: &mut String, indent: &str, is_usual: bool, lint: &str) {
    if !is_usual {
        _ = writeln!(source, "{indent}#[allow({lint}, reason = \"the name is the callee's\")]");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::schema::describe::VariantDescription;

    #[test]
    fn a_text_cannot_turn_the_direction_of_a_line() {
        let mut source = String::new();
        document(&mut source, "", "from \u{202e}here\u{2066} on\r\u{7}", "");
        assert_eq!(source, "/// from  here  on\n");
    }

    #[test]
    fn code_in_a_text_is_no_test_of_the_generated_crate() {
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
                // A tab becomes one space, and code begins with four.
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
            let described = TypeDescription::Enum(Arc::new(description));
            let name = Types::new(&[]).owned(&described);
            let lent = if name == "E" { "&E" } else { &name };
            assert_eq!(Types::new(&[]).lent(&described), lent);
            name
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
