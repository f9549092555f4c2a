//! A callee's endpoints as data, and as JSON.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::compare::{Mismatch, compare};
use super::signature::Signature;
use crate::payload::{Form, Layout, Primitive, ValueType};

/// The version of the JSON that this library writes. It reads this one and no later one.
const SCHEMA: u32 = 1;

/// Deepest nesting of a description's JSON: some ten structs in one another. Reading copies what is inside of a type once
/// for each type around it, so that a deep description of a long text would take many times its own length of memory.
const DEEPEST: usize = 40;

/// What a callee offers. `docs/describe.md` defines its JSON.
///
/// ```
/// use tachyon::{Description, Dispatcher, endpoints, tachyon_rpc};
///
/// /// Adds up.
/// #[tachyon_rpc(msg_type = 1)]
/// fn sum(numbers: &[f64]) -> f64 {
///     numbers.iter().sum()
/// }
///
/// let description = Dispatcher::new(endpoints![sum]).describe();
/// assert_eq!(description.endpoints[0].name, "sum");
/// assert_eq!(description.endpoints[0].to_string(), "sum(&[f64]) -> f64");
/// assert_eq!(Description::from_json(&description.to_json())?, description);
/// # Ok::<(), tachyon::DescribeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// Version of the JSON.
    pub schema: u32,
    /// The endpoints, by ascending message type.
    pub endpoints: Vec<EndpointDescription>,
}

/// A description that cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// It is not the JSON of a description.
    #[error("this is not the description of a callee: {0}")]
    Json(#[source] serde_json::Error),
    /// Its types are nested too deeply to be anybody's.
    #[error("the description is nested more than {most} deep; no callee of ours makes such types")]
    Nested {
        /// The deepest that is read, in objects and lists of JSON.
        most: usize,
    },
    /// It was written by a later version.
    #[error("the description has schema {found} and this version reads up to {known}; update this side")]
    Schema {
        /// The schema found.
        found: u32,
        /// The latest schema known here.
        known: u32,
    },
}

impl Description {
    /// The description of `endpoints`.
    pub fn new(endpoints: Vec<EndpointDescription>) -> Self {
        Self { schema: SCHEMA, endpoints }
    }

    /// Reads a description.
    ///
    /// # Errors
    /// [`DescribeError`]: it is no description, one nested too deeply, or one of a later version.
    pub fn from_json(json: &str) -> Result<Self, DescribeError> {
        if is_deeper(json, DEEPEST) {
            return Err(DescribeError::Nested { most: DEEPEST });
        }
        let description: Self = serde_json::from_str(json).map_err(DescribeError::Json)?;
        if description.schema > SCHEMA {
            return Err(DescribeError::Schema { found: description.schema, known: SCHEMA });
        }
        Ok(description)
    }

    /// The description as one line of JSON.
    ///
    /// # Panics
    /// Never: what a description consists of can always be written.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("maps have text for keys, and all numbers are finite")
    }

    /// The description as JSON for people.
    ///
    /// # Panics
    /// Never, as [`to_json`](Self::to_json).
    pub fn to_json_pretty(&self) -> String {
        serde_json::to_string_pretty(self).expect("maps have text for keys, and all numbers are finite")
    }

    /// The endpoint of a message type.
    pub fn endpoint(&self, msg_type: u16) -> Option<&EndpointDescription> {
        self.endpoints.iter().find(|endpoint| endpoint.msg_type == msg_type)
    }
}

/// Whether some JSON nests its objects and lists deeper than `most`. Of what is no JSON any answer will do.
fn is_deeper(json: &str, most: usize) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointDescription {
    /// The number that requests name it by.
    pub msg_type: u16,
    /// Its name.
    pub name: String,
    /// Its documentation; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// What it takes.
    pub request: FormDescription,
    /// What it gives.
    pub reply: FormDescription,
}

impl EndpointDescription {
    /// An endpoint of bytes to bytes.
    pub fn bytes(msg_type: u16, name: &str) -> Self {
        Self {
            msg_type,
            name: name.to_owned(),
            doc: String::new(),
            request: FormDescription::Bytes,
            reply: FormDescription::Bytes,
        }
    }
}

impl EndpointDescription {
    /// Compares this side's idea of an endpoint with the callee's, as the first typed call on a connection does.
    ///
    /// # Errors
    /// [`Mismatch`]: the first difference, in a sentence.
    pub fn agree_with(&self, callee: &Self) -> Result<(), Mismatch> {
        compare(self, callee)
    }
}

impl From<&Signature> for EndpointDescription {
    fn from(signature: &Signature) -> Self {
        Self {
            msg_type: signature.msg_type(),
            name: signature.name().to_owned(),
            doc: signature.doc().to_owned(),
            request: signature.request().into(),
            reply: signature.reply().into(),
        }
    }
}

/// As a function's head: `price(PriceRequest) -> PriceReply`.
impl core::fmt::Display for EndpointDescription {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}(", self.name)?;
        match &self.request {
            FormDescription::Empty => {}
            FormDescription::Bytes => write!(f, "&[u8]")?,
            FormDescription::Payload { layout } => write!(f, "&{}", layout.name())?,
            FormDescription::Slice { layout } => write!(f, "&[{}]", layout.name())?,
        }
        write!(f, ")")?;
        match &self.reply {
            FormDescription::Empty => Ok(()),
            FormDescription::Bytes => write!(f, " -> [u8]"),
            FormDescription::Payload { layout } => write!(f, " -> {}", layout.name()),
            FormDescription::Slice { layout } => write!(f, " -> [{}]", layout.name()),
        }
    }
}

/// What a request or a reply consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "lowercase")]
pub enum FormDescription {
    /// Nothing.
    Empty,
    /// Bytes that mean what the two sides agree on.
    Bytes,
    /// One value.
    Payload {
        /// Its type.
        layout: TypeDescription,
    },
    /// Any number of values, one after the other.
    Slice {
        /// The type of each.
        layout: TypeDescription,
    },
}

impl FormDescription {
    /// The type that travels, if the form has one.
    pub fn layout(&self) -> Option<&TypeDescription> {
        match self {
            Self::Payload { layout } | Self::Slice { layout } => Some(layout),
            Self::Empty | Self::Bytes => None,
        }
    }
}

impl From<Form> for FormDescription {
    fn from(form: Form) -> Self {
        match form {
            Form::Empty => Self::Empty,
            Form::Bytes => Self::Bytes,
            Form::Value(ValueType::Fixed(layout)) => Self::Payload { layout: (*layout).into() },
            Form::Value(ValueType::List(ValueType::Fixed(layout))) => Self::Slice { layout: (*layout).into() },
            Form::Value(_) | Form::Fields(_) => unreachable!("no endpoint has such a form"),
        }
    }
}

/// A type: the name of a number as text, or an object whose `kind` says what it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TypeDescription {
    /// A number or a `bool`.
    Primitive(Primitive),
    /// Anything else.
    Composite(Composite),
}

/// A type that is no number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Composite {
    /// `len` times the same type.
    Array {
        /// The type of each element.
        of: Box<TypeDescription>,
        /// How many there are.
        len: usize,
    },
    /// `len` bytes that a language shows as one value.
    Bytes {
        /// How many there are.
        len: usize,
    },
    /// `len` bytes of UTF-8, filled up with zeros.
    Str {
        /// How many there are.
        len: usize,
    },
    /// Fields one after the other.
    Struct(StructDescription),
    /// One of a set of numbers.
    Enum(EnumDescription),
}

/// A struct.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StructDescription {
    /// Its name.
    pub name: String,
    /// Its documentation; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// Its size in bytes.
    pub size: usize,
    /// Its alignment in bytes.
    pub align: usize,
    /// Its fields, in order.
    pub fields: Vec<FieldDescription>,
}

/// One field of a struct.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FieldDescription {
    /// Its name. One that begins with `_` is padding, and not compared.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub layout: TypeDescription,
    /// Its distance from the struct's beginning, in bytes.
    pub offset: usize,
    /// Its size in bytes.
    pub size: usize,
}

/// An enum.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EnumDescription {
    /// Its name.
    pub name: String,
    /// Its documentation; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    /// The number that stands for a variant.
    pub repr: Primitive,
    /// Its variants, in order.
    pub variants: Vec<VariantDescription>,
}

/// One variant of an enum.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VariantDescription {
    /// Its name.
    pub name: String,
    /// The number that stands for it.
    #[serde(with = "whole_number")]
    pub value: i128,
}

/// JSON numbers from the least `i64` to the greatest `u64`, which serde has no one type for that works everywhere.
mod whole_number {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(value: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(value) = i64::try_from(*value) {
            return serializer.serialize_i64(value);
        }
        let value = u64::try_from(*value).map_err(ser::Error::custom)?;
        serializer.serialize_u64(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        number.as_i128().ok_or_else(|| de::Error::custom("a variant's value is a whole number"))
    }
}

impl TypeDescription {
    /// Its size in bytes; saturating, since it may come from anywhere.
    pub fn size(&self) -> usize {
        match self {
            Self::Primitive(primitive) => primitive.size(),
            Self::Composite(Composite::Array { of, len }) => of.size().saturating_mul(*len),
            Self::Composite(Composite::Bytes { len } | Composite::Str { len }) => *len,
            Self::Composite(Composite::Struct(description)) => description.size,
            Self::Composite(Composite::Enum(description)) => description.repr.size(),
        }
    }

    /// Its alignment in bytes.
    pub fn align(&self) -> usize {
        match self {
            Self::Primitive(primitive) => primitive.size(),
            Self::Composite(Composite::Array { of, .. }) => of.align(),
            Self::Composite(Composite::Bytes { .. } | Composite::Str { .. }) => 1,
            Self::Composite(Composite::Struct(description)) => description.align,
            Self::Composite(Composite::Enum(description)) => description.repr.size(),
        }
    }

    /// The type as one would write it.
    pub fn name(&self) -> String {
        match self {
            Self::Primitive(primitive) => primitive.name().to_owned(),
            Self::Composite(Composite::Array { of, len }) => format!("[{}; {len}]", of.name()),
            Self::Composite(Composite::Bytes { len }) => format!("bytes[{len}]"),
            Self::Composite(Composite::Str { len }) => format!("str[{len}]"),
            Self::Composite(Composite::Struct(description)) => description.name.clone(),
            Self::Composite(Composite::Enum(description)) => description.name.clone(),
        }
    }
}

impl From<&Layout> for TypeDescription {
    fn from(layout: &Layout) -> Self {
        Self::Composite(match layout {
            Layout::Primitive(primitive) => return Self::Primitive(*primitive),
            Layout::Array { of, len } => Composite::Array { of: Box::new((*of).into()), len: *len },
            Layout::Struct(layout) => Composite::Struct(StructDescription {
                name: layout.name.to_owned(),
                doc: layout.doc.to_owned(),
                size: layout.size,
                align: layout.align,
                fields: layout
                    .fields
                    .iter()
                    .map(|field| FieldDescription {
                        name: field.name.to_owned(),
                        layout: field.layout.into(),
                        offset: field.offset,
                        size: field.layout.size(),
                    })
                    .collect(),
            }),
            Layout::Enum(layout) => Composite::Enum(EnumDescription {
                name: layout.name.to_owned(),
                doc: layout.doc.to_owned(),
                repr: layout.repr,
                variants: layout
                    .variants
                    .iter()
                    .map(|variant| VariantDescription { name: variant.name.to_owned(), value: variant.value })
                    .collect(),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(arrays: usize, doc: &str) -> String {
        let innermost =
            format!(r#"{{"kind": "struct", "name": "S", "doc": "{doc}", "size": 0, "align": 1, "fields": []}}"#);
        let layout = (0..arrays).fold(innermost, |of, _| format!(r#"{{"kind": "array", "len": 1, "of": {of}}}"#));
        format!(
            r#"{{"schema": 1, "endpoints": [{{"msg_type": 1, "name": "e", "request": {{"form": "payload",
                "layout": {layout}}}, "reply": {{"form": "empty"}}}}]}}"#
        )
    }

    #[test]
    fn a_description_nested_to_take_memory_is_refused() {
        assert!(Description::from_json(&nested(30, "a } text [ with \\\" brackets {{{{")).is_ok());
        let error = Description::from_json(&nested(100, &"long".repeat(1000))).unwrap_err();
        assert!(matches!(error, DescribeError::Nested { most: DEEPEST }), "{error}");
    }
}
