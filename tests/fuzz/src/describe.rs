//! What a callee says about itself, as input: reading, comparing, generating code.

use tachyon::{
    Composite, Description, EndpointDescription, EnumDescription, FieldDescription, FormDescription, Primitive,
    StructDescription, TypeDescription, VariantDescription, codegen,
};

use crate::{generated, parsed};

/// Of the inputs of the fuzzer one in so many has its code parsed as Rust, too: that takes longer than all the rest.
const PARSED: u32 = 64;

/// Names and texts that a peer may choose: what is special to Rust, to JSON, to documentation and to terminals.
const TEXTS: [&str; 32] = [
    "",
    "_",
    "a",
    "a",
    "Price",
    "self",
    "Self",
    "crate",
    "type",
    "r#type",
    "new",
    "Result",
    "Endpoints",
    "2nd",
    "größe",
    "*/ fn evil() {}",
    "a\nfn evil() {}",
    "\"]\nfn evil() {}\n",
    "\r\nmod evil;",
    "\u{202e}reversed",
    "`",
    "//!",
    "a\u{0}b",
    "\u{2028}fn evil() {}",
    "```\nevil();\n```",
    "~~~rust\nevil();",
    "-     evil();",
    "````",
    "tachyon",
    "u8",
    "a_",
    "_a",
];

const PRIMITIVES: [Primitive; 11] = [
    Primitive::U8,
    Primitive::U16,
    Primitive::U32,
    Primitive::U64,
    Primitive::I8,
    Primitive::I16,
    Primitive::I32,
    Primitive::I64,
    Primitive::F32,
    Primitive::F64,
    Primitive::Bool,
];

/// Reads a description that is JSON as it stands, or one made up from `data`.
///
/// One that can be read survives being written, and becomes Rust that consists of nothing but
/// payload types and one trait, whatever its names and texts are.
pub fn describe(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    let description = if how & 1 == 0 {
        let Ok(text) = core::str::from_utf8(data) else { return };
        match Description::from_json(text) {
            Ok(description) => description,
            Err(error) => return assert!(!error.to_string().is_empty()),
        }
    } else {
        Maker { data }.description()
    };
    let json = description.to_json();
    assert_eq!(Description::from_json(&json).expect("what was written"), description);
    let mut last = None;
    for endpoint in &description.endpoints {
        assert!(!endpoint.to_string().is_empty());
        assert_eq!(endpoint.agree_with(endpoint), Ok(()), "disagrees with itself: {endpoint:?}");
        if let Some(Err(mismatch)) = last.replace(endpoint).map(|other| endpoint.agree_with(other)) {
            assert!(!mismatch.to_string().is_empty());
        }
    }
    let source = codegen::rust(&description);
    generated::check(&source);
    // By the input alone, so that one that fails fails again.
    let sum = data.iter().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    if cfg!(not(fuzzing)) || sum.is_multiple_of(PARSED) {
        parsed::check(&source);
    }
}

/// Descriptions from bytes.
struct Maker<'a> {
    data: &'a [u8],
}

impl Maker<'_> {
    fn byte(&mut self) -> u8 {
        match self.data.split_first() {
            Some((first, rest)) => {
                self.data = rest;
                *first
            }
            None => 0,
        }
    }

    fn description(mut self) -> Description {
        let mut endpoints = Vec::new();
        while !self.data.is_empty() && endpoints.len() < 8 {
            endpoints.push(EndpointDescription {
                msg_type: u16::from(self.byte()),
                name: self.text(),
                doc: self.text(),
                request: self.form(),
                reply: self.form(),
            });
        }
        Description::new(endpoints)
    }

    /// One of the special texts, two of them, or one and a letter.
    fn text(&mut self) -> String {
        let byte = self.byte();
        let pick = |byte: u8| TEXTS[usize::from(byte) % TEXTS.len()];
        let mut text = pick(byte).to_owned();
        if byte >= 192 {
            text.push_str(pick(self.byte()));
        } else if byte >= 144 {
            text.push(char::from(self.byte()));
        }
        text
    }

    fn form(&mut self) -> FormDescription {
        match self.byte() & 3 {
            0 => FormDescription::Empty,
            1 => FormDescription::Bytes,
            2 => FormDescription::Payload { layout: self.layout(0) },
            _ => FormDescription::Slice { layout: self.layout(0) },
        }
    }

    fn primitive(&mut self) -> Primitive {
        PRIMITIVES[usize::from(self.byte()) % PRIMITIVES.len()]
    }

    fn number(&mut self) -> usize {
        match self.byte() {
            small @ 0..224 => usize::from(small & 31),
            224..240 => usize::from(self.byte()) << 5,
            large => usize::MAX >> (large & 15),
        }
    }

    fn layout(&mut self, depth: u8) -> TypeDescription {
        let kind = if depth > 4 { 0 } else { self.byte() & 7 };
        TypeDescription::Composite(match kind {
            0 | 1 => return TypeDescription::Primitive(self.primitive()),
            2 => Composite::Array { of: Box::new(self.layout(depth + 1)), len: self.number() },
            3 => Composite::Bytes { len: self.number() },
            4 => Composite::Str { len: self.number() },
            5 | 6 => {
                let mut offset = 0usize;
                let fields = (0..self.byte() & 3).map(|_| {
                    let layout = self.layout(depth + 1);
                    // Mostly where and what it should be.
                    let size = if self.byte() < 240 { layout.size() } else { self.number() };
                    let gap = if self.byte() < 200 { 0 } else { self.number() };
                    let at = offset.next_multiple_of(layout.align().max(1)).saturating_add(gap);
                    offset = at.saturating_add(size) & (usize::MAX >> 1);
                    FieldDescription { name: self.text(), layout, offset: at, size }
                });
                let fields: Vec<_> = fields.collect();
                let align = fields.iter().map(|field| field.layout.align()).max().unwrap_or(1).max(1);
                let size = if self.byte() < 200 { offset.next_multiple_of(align) } else { self.number() };
                Composite::Struct(StructDescription { name: self.text(), doc: self.text(), size, align, fields })
            }
            _ => {
                let repr = self.primitive();
                let variants = (0..self.byte() & 3).map(|_| VariantDescription {
                    name: self.text(),
                    value: i128::from(self.byte().cast_signed()) << (self.byte() % 56),
                });
                let variants = variants.collect();
                Composite::Enum(EnumDescription { name: self.text(), doc: self.text(), repr, variants })
            }
        })
    }
}
