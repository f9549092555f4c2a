//! The fuzz target `describe`: reads descriptions, compares them, and generates code from them.

use std::sync::Arc;

use tachyon::ErrorKind;
use tachyon::codegen;
use tachyon::describe::{
    Description, EndpointDescription, EnumDescription, ErrorDescription, FieldDescription, FormDescription,
    HeadDescription, StructDescription, TypeDescription, VariantDescription,
};
use tachyon::payload::Primitive;

use crate::{generated, parsed};

/// The fuzzer parses the code of one input in this many as Rust: parsing takes longer than all other steps.
const PARSED: u32 = 64;

/// Names and texts that a peer may choose, with special characters of Rust, JSON, documentation and terminals.
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

/// Reads `data` as the JSON of a description, or generates a description from `data`.
///
/// A description that can be read is unchanged after it is written and read again. The generated code consists only of
/// payload types, errors and one trait. A generated description may have lengths and offsets that the reader refuses.
/// Its code consists of the same.
pub fn describe(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    let description = if how & 1 == 0 {
        let Ok(text) = core::str::from_utf8(data) else { return };
        match Description::from_json(text) {
            Ok(description) => description,
            Err(error) => return assert!(!error.to_string().is_empty()),
        }
    } else {
        Generator { data, types: Vec::new() }.description()
    };
    let json = description.to_json();
    let is_sound = match Description::from_json(&json) {
        Ok(read) => {
            assert_eq!(read, description);
            true
        }
        Err(error) => {
            assert!(how & 1 == 1, "{error}: {json}");
            false
        }
    };
    let mut last = None;
    for endpoint in &description.endpoints {
        assert!(!endpoint.to_string().is_empty());
        assert!(!is_sound || endpoint.agree_with(endpoint).is_ok(), "disagrees with itself: {endpoint:?}");
        if let Some(Err(mismatch)) = last.replace(endpoint).map(|other| endpoint.agree_with(other)) {
            assert!(!mismatch.to_string().is_empty());
        }
    }
    let source = codegen::rust(&description);
    generated::check(&source);
    // Chosen by the input alone, so that a failure can be reproduced.
    let sum = data.iter().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    if cfg!(not(fuzzing)) || sum.is_multiple_of(PARSED) {
        parsed::check(&source);
    }
}

/// Generates descriptions from bytes.
struct Generator<'a> {
    data: &'a [u8],
    /// The types so far, for references.
    types: Vec<TypeDescription>,
}

impl Generator<'_> {
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
                items: None,
                reply: self.form(),
                streams: false,
                raises: (0..self.byte() & 3).map(|_| self.error()).collect(),
            });
            // Few endpoints are streams, as in real descriptions.
            if let kind @ 64..72 = self.byte()
                && let Some(last) = endpoints.last_mut()
            {
                last.streams = kind & 1 == 1;
                last.items = (kind & 2 == 2).then(|| self.form());
            }
        }
        Description::new(endpoints)
    }

    /// A declared error, also of a kind that no declared error has.
    fn error(&mut self) -> ErrorDescription {
        let kind = ErrorKind::all().nth(usize::from(self.byte()));
        ErrorDescription { kind: kind.unwrap_or(ErrorKind::HandlerFailed), head: self.head(1) }
    }

    /// One of [`TEXTS`], two of them, or one and a letter.
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
        match self.byte() & 7 {
            0 => FormDescription::Empty,
            1 => FormDescription::Bytes,
            2 | 3 => FormDescription::Value(self.value_type(0)),
            4 => FormDescription::Value(TypeDescription::List(Arc::new(self.value_type(0)))),
            5 => FormDescription::Msgpack,
            _ => FormDescription::Fields(self.head(0)),
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

    fn value_type(&mut self, depth: u8) -> TypeDescription {
        self.one_of(depth, 15)
    }

    /// A type of a kind up to `last`. The kinds up to 7 are fixed.
    fn one_of(&mut self, depth: u8, last: u8) -> TypeDescription {
        let kind = if depth > 4 { 0 } else { self.byte() & last };
        let made = match kind {
            0 | 1 => TypeDescription::Primitive(self.primitive()),
            2 => TypeDescription::Array { of: Arc::new(self.one_of(depth + 1, 7)), len: self.number() },
            3 => TypeDescription::Bytes { len: self.number() },
            4 => TypeDescription::Str { len: self.number() },
            5 | 6 => TypeDescription::Struct(Arc::new(self.structure(depth))),
            7 => {
                let repr = self.primitive();
                let variants = (0..self.byte() & 3).map(|_| VariantDescription {
                    name: self.text(),
                    value: i128::from(self.byte().cast_signed()) << (self.byte() % 56),
                });
                let variants = variants.collect();
                TypeDescription::Enum(Arc::new(EnumDescription { name: self.text(), doc: self.text(), repr, variants }))
            }
            8 => TypeDescription::Text,
            9 => TypeDescription::List(Arc::new(self.value_type(depth + 1))),
            10 => TypeDescription::Option(Arc::new(self.value_type(depth + 1))),
            11 | 12 => TypeDescription::Variable(Arc::new(self.head(depth + 1))),
            13 => TypeDescription::Tensor { of: self.primitive(), ndim: self.number() },
            _ => {
                let at = usize::from(self.byte()) % self.types.len().max(1);
                match self.types.get(at) {
                    Some(known) => return known.clone(),
                    None => TypeDescription::Text,
                }
            }
        };
        self.types.push(made.clone());
        made
    }

    fn structure(&mut self, depth: u8) -> StructDescription {
        let mut offset = 0usize;
        let fields = self.fields(&mut offset, depth, 7);
        let align = fields.iter().map(|field| field.value_type.align()).max().unwrap_or(1).max(1);
        let size = if self.byte() < 200 { offset.next_multiple_of(align) } else { self.number() };
        StructDescription { name: self.text(), doc: self.text(), size, align, fields }
    }

    fn head(&mut self, depth: u8) -> HeadDescription {
        let mut len = 4usize;
        let fields = self.fields(&mut len, depth, 15);
        HeadDescription { name: self.text(), doc: self.text(), len, fields }
    }

    /// Fields from the offset `end` on, of types of the kinds up to `last`.
    fn fields(&mut self, end: &mut usize, depth: u8, last: u8) -> Vec<FieldDescription> {
        let fields = (0..self.byte() & 3).map(|_| {
            let value_type = self.one_of(depth + 1, last);
            // Mostly at the right offset.
            let (gap, default) = match self.byte() {
                0..200 => (0, false),
                200..228 => (0, true),
                _ => (self.number(), false),
            };
            let offset = end.next_multiple_of(value_type.align().max(1)).saturating_add(gap);
            *end = offset.saturating_add(value_type.size()) & (usize::MAX >> 1);
            FieldDescription { name: self.text(), value_type, offset, default }
        });
        fields.collect()
    }
}
