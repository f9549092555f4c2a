//! The payload types of a description, as Rust.

use core::fmt::Write;
use std::collections::HashMap;

use super::names::{Taken, is_camel_case, is_snake_case};
use crate::describe::{Composite, EnumDescription, FieldDescription, StructDescription, TypeDescription};

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
pub(super) fn document(source: &mut String, indent: &str, doc: &str, otherwise: &str) {
    let doc = if doc.trim().is_empty() { otherwise } else { doc };
    for line in doc.lines() {
        let line = line.replace(is_misleading, " ");
        let line = line.trim_end();
        _ = if line.is_empty() { writeln!(source, "{indent}///") } else { writeln!(source, "{indent}/// {line}") };
    }
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

    #[test]
    fn a_text_cannot_turn_the_direction_of_a_line() {
        let mut source = String::new();
        document(&mut source, "", "from \u{202e}here\u{2066} on\r\u{7}", "");
        assert_eq!(source, "/// from  here  on\n");
    }
}
