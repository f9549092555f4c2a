//! A callee's endpoints as data.

use core::fmt;
use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

use super::compare::{Mismatch, compare};
use super::json;
use super::signature::Signature;
use crate::schema::payload::{Form, HeadLayout, Layout, Primitive, ValueType};

/// The endpoints of a callee. `docs/guide/describe.md` defines its JSON.
///
/// ```
/// use tachyon::{Dispatcher, endpoints, tachyon_rpc};
/// use tachyon::describe::Description;
///
/// /// Adds up.
/// #[tachyon_rpc(msg_type = 1)]
/// fn sum(numbers: &[f64]) -> f64 {
///     numbers.iter().sum()
/// }
///
/// let description = Dispatcher::new(endpoints![sum]).describe();
/// assert_eq!(description.endpoints[0].name, "sum");
/// assert_eq!(description.endpoints[0].to_string(), "sum(list[f64]) -> f64");
/// assert_eq!(Description::from_json(&description.to_json())?, description);
/// # Ok::<(), tachyon::describe::DescribeError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Description {
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
    /// Its JSON or its types are nested too deeply.
    #[error("the description is nested more than {most} deep; no callee of ours makes such types")]
    Nested {
        /// The deepest that is read: in objects and lists of JSON, or in types.
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
    /// It has a form or a kind of type of a later version.
    #[error("the description has the {what} `{found}`, which this version does not know; update this side")]
    Unknown {
        /// "form" or "type".
        what: &'static str,
        /// Its name.
        found: String,
    },
    /// A type refers to itself, to one that comes later, or to one that is not there.
    #[error("the description refers to type {found} where {known} types are known; a type refers to earlier ones only")]
    Reference {
        /// The index of the type.
        found: usize,
        /// How many types come before the reference.
        known: usize,
    },
    /// A length exceeds the limit for it.
    #[error("{what} is {len} bytes long, and the most is {most}")]
    TooLong {
        /// The place, such as "the head of Scan".
        what: String,
        /// The length found, in bytes; saturated.
        len: usize,
        /// The limit, in bytes.
        most: usize,
    },
    /// Two parts of it contradict each other, or a part is missing.
    #[error("this is not the description of a callee: {0}")]
    Invalid(String),
}

impl Description {
    /// The description of `endpoints`.
    pub fn new(endpoints: Vec<EndpointDescription>) -> Self {
        Self { endpoints }
    }

    /// Reads a description, of this version or an earlier one. It takes memory in proportion to the JSON's length.
    ///
    /// # Errors
    /// [`DescribeError`]: it is no description, one nested too deeply, or one of a later version.
    pub fn from_json(json: &str) -> Result<Self, DescribeError> {
        json::read(json)
    }

    /// The description as one line of JSON.
    ///
    /// # Panics
    /// Never: all parts of a description can be written.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&json::write(self)).expect("maps have text for keys, and all numbers are finite")
    }

    /// The description as JSON for people.
    ///
    /// # Panics
    /// Never, as [`to_json`](Self::to_json).
    pub fn to_json_pretty(&self) -> String {
        serde_json::to_string_pretty(&json::write(self)).expect("maps have text for keys, and all numbers are finite")
    }

    /// The endpoint of a message type.
    pub fn endpoint(&self, msg_type: u16) -> Option<&EndpointDescription> {
        self.endpoints.iter().find(|endpoint| endpoint.msg_type == msg_type)
    }
}

impl PartialEq for Description {
    fn eq(&self, other: &Self) -> bool {
        let mut writer = json::Writer::default();
        self.endpoints.len() == other.endpoints.len()
            && self
                .endpoints
                .iter()
                .zip(&other.endpoints)
                .all(|(endpoint, other)| writer.endpoint(endpoint) == writer.endpoint(other))
    }
}

impl Eq for Description {}

/// One endpoint.
#[derive(Debug, Clone)]
pub struct EndpointDescription {
    /// The number that requests name it by.
    pub msg_type: u16,
    /// Its name.
    pub name: String,
    /// Its documentation; may be empty.
    pub doc: String,
    /// The request.
    pub request: FormDescription,
    /// The reply.
    pub reply: FormDescription,
    /// The errors that it declares, by name and fields.
    pub raises: Vec<HeadDescription>,
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
            raises: Vec::new(),
        }
    }

    /// Compares this side's idea of an endpoint with the callee's, as the first typed call on a connection does.
    ///
    /// # Errors
    /// [`Mismatch`]: the first difference, in a sentence.
    pub fn agree_with(&self, callee: &Self) -> Result<(), Mismatch> {
        compare(self, callee)
    }
}

impl PartialEq for EndpointDescription {
    fn eq(&self, other: &Self) -> bool {
        let mut writer = json::Writer::default();
        writer.endpoint(self) == writer.endpoint(other)
    }
}

impl Eq for EndpointDescription {}

/// As the head of a function, in words of no language: `filter(scan: Scan, tags: list[u32]) -> Scan raises Busy`.
impl fmt::Display for EndpointDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        match &self.request {
            FormDescription::Empty => {}
            FormDescription::Bytes => write!(f, "bytes")?,
            FormDescription::Value(value_type) => write!(f, "{}", value_type.name())?,
            FormDescription::Fields(head) => parameters(f, head)?,
        }
        write!(f, ")")?;
        match &self.reply {
            FormDescription::Empty => {}
            FormDescription::Bytes => write!(f, " -> bytes")?,
            FormDescription::Value(value_type) => write!(f, " -> {}", value_type.name())?,
            FormDescription::Fields(head) => {
                write!(f, " -> ")?;
                match &head.fields[..] {
                    [only] => write!(f, "{}", only.value_type.name())?,
                    _ => parameters(f, head)?,
                }
            }
        }
        for (at, error) in self.raises.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { " raises " } else { ", " }, error.name)?;
        }
        Ok(())
    }
}

fn parameters(f: &mut fmt::Formatter<'_>, head: &HeadDescription) -> fmt::Result {
    for (at, field) in head.fields.iter().enumerate() {
        write!(f, "{}{}: {}", if at == 0 { "" } else { ", " }, field.name, field.value_type.name())?;
    }
    Ok(())
}

/// The form of a request or a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormDescription {
    /// Nothing.
    Empty,
    /// Bytes that mean what the two sides agree on.
    Bytes,
    /// One value as itself.
    Value(TypeDescription),
    /// Several values, as the fields of a head without a name: arguments, or the one field `value` of a reply that is
    /// an option.
    Fields(HeadDescription),
}

/// A type that travels. Types are shared: a clone is cheap, and a description holds each of its structs once.
#[derive(Clone)]
#[non_exhaustive]
pub enum TypeDescription {
    /// A number or a `bool`.
    Primitive(Primitive),
    /// `len` times the same fixed type.
    Array {
        /// The type of each element.
        of: Arc<TypeDescription>,
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
    /// One of a set of numbers.
    Enum(Arc<EnumDescription>),
    /// A fixed payload: fields one after the other.
    Struct(Arc<StructDescription>),
    /// UTF-8 text of any length.
    Text,
    /// Any number of values of one type.
    List(Arc<TypeDescription>),
    /// A value, or none.
    Option(Arc<TypeDescription>),
    /// A payload with a head.
    Variable(Arc<HeadDescription>),
}

/// Bytes of the pair that stands in a head for a value that is not fixed, and their alignment.
const PAIR: (usize, usize) = (8, 4);

impl TypeDescription {
    /// Whether all values have the same length, and lie inline in a struct or a head.
    pub fn is_fixed(&self) -> bool {
        !matches!(self, Self::Text | Self::List(_) | Self::Option(_) | Self::Variable(_))
    }

    /// The size in bytes that a field of the type has: that of the value, or of the pair that points to it. It
    /// saturates, since the description may come from anywhere.
    pub fn size(&self) -> usize {
        match self {
            Self::Primitive(primitive) => primitive.size(),
            Self::Array { of, len } => of.size().saturating_mul(*len),
            Self::Bytes { len } | Self::Str { len } => *len,
            Self::Enum(description) => description.repr.size(),
            Self::Struct(description) => description.size,
            Self::Text | Self::List(_) | Self::Option(_) | Self::Variable(_) => PAIR.0,
        }
    }

    /// The alignment in bytes of a field of the type.
    pub fn align(&self) -> usize {
        match self {
            Self::Primitive(primitive) => primitive.size(),
            Self::Array { of, .. } => of.align(),
            Self::Bytes { .. } | Self::Str { .. } => 1,
            Self::Enum(description) => description.repr.size(),
            Self::Struct(description) => description.align,
            Self::Text | Self::List(_) | Self::Option(_) | Self::Variable(_) => PAIR.1,
        }
    }

    /// The type in words of no language, such as `list[u32]` and `option[Scan]`.
    pub fn name(&self) -> String {
        match self {
            Self::Primitive(primitive) => primitive.name().to_owned(),
            Self::Array { of, len } => format!("[{}; {len}]", of.name()),
            Self::Bytes { len } => format!("bytes[{len}]"),
            Self::Str { len } => format!("str[{len}]"),
            Self::Enum(description) => description.name.clone(),
            Self::Struct(description) => description.name.clone(),
            Self::Text => "str".to_owned(),
            Self::List(of) => format!("list[{}]", of.name()),
            Self::Option(of) => format!("option[{}]", of.name()),
            Self::Variable(description) => description.name.clone(),
        }
    }
}

impl PartialEq for TypeDescription {
    /// Types that structs share are compared once, so this takes no longer than their JSON is.
    fn eq(&self, other: &Self) -> bool {
        let mut writer = json::Writer::default();
        writer.reference(self) == writer.reference(other)
    }
}

impl Eq for TypeDescription {}

/// The name alone: what is shared would be shown once for each of its places.
impl fmt::Debug for TypeDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// A fixed payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StructDescription {
    /// Its name.
    pub name: String,
    /// Its documentation; may be empty.
    pub doc: String,
    /// Its size in bytes.
    pub size: usize,
    /// Its alignment in bytes.
    pub align: usize,
    /// Its fields, in order. A name that begins with `_` is padding, and not compared.
    pub fields: Vec<FieldDescription>,
}

/// Fields behind a head: those of a variable payload, of an endpoint's arguments, of a declared error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadDescription {
    /// The payload's or the error's name; empty for arguments.
    pub name: String,
    /// Its documentation; may be empty.
    pub doc: String,
    /// Where the last field ends, in bytes from the head's beginning.
    pub len: usize,
    /// Its fields, in order.
    pub fields: Vec<FieldDescription>,
}

/// One field of a struct or of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldDescription {
    /// Its name.
    pub name: String,
    /// The type of its value.
    pub value_type: TypeDescription,
    /// Its distance from the beginning of the struct or the head, in bytes.
    pub offset: usize,
    /// Whether a reader has a value for it when a head ends before it, although it is no option.
    pub default: bool,
}

/// An enum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnumDescription {
    /// Its name.
    pub name: String,
    /// Its documentation; may be empty.
    pub doc: String,
    /// The number that stands for a variant.
    pub repr: Primitive,
    /// Its variants, in order.
    pub variants: Vec<VariantDescription>,
}

/// One variant of an enum.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct VariantDescription {
    /// Its name.
    pub name: String,
    /// The number that stands for it.
    #[serde(with = "json::whole_number")]
    pub value: i128,
}

impl From<&Signature> for EndpointDescription {
    fn from(signature: &Signature) -> Self {
        let mut statics = Statics::default();
        Self {
            msg_type: signature.msg_type(),
            name: signature.name().to_owned(),
            doc: signature.doc().to_owned(),
            request: statics.form(signature.request()),
            reply: statics.form(signature.reply()),
            raises: signature.raises().iter().map(|error| statics.head(error)).collect(),
        }
    }
}

impl From<&'static Layout> for TypeDescription {
    fn from(layout: &'static Layout) -> Self {
        Statics::default().layout(layout)
    }
}

/// Types that are constants as descriptions; one that is met again is shared.
#[derive(Default)]
struct Statics {
    layouts: HashMap<*const Layout, TypeDescription>,
    heads: HashMap<*const HeadLayout, Arc<HeadDescription>>,
}

impl Statics {
    fn form(&mut self, form: Form) -> FormDescription {
        match form {
            Form::Empty => FormDescription::Empty,
            Form::Bytes => FormDescription::Bytes,
            Form::Value(value_type) => FormDescription::Value(self.value(value_type)),
            Form::Fields(head) => FormDescription::Fields(self.head(head)),
        }
    }

    fn value(&mut self, value_type: &'static ValueType) -> TypeDescription {
        match value_type {
            ValueType::Fixed(layout) => self.layout(layout),
            ValueType::Text => TypeDescription::Text,
            ValueType::List(of) => TypeDescription::List(Arc::new(self.value(of))),
            ValueType::Option(of) => TypeDescription::Option(Arc::new(self.value(of))),
            ValueType::Variable(head) => {
                let address: *const HeadLayout = *head;
                if let Some(known) = self.heads.get(&address) {
                    return TypeDescription::Variable(Arc::clone(known));
                }
                let head = Arc::new(self.head(head));
                self.heads.insert(address, Arc::clone(&head));
                TypeDescription::Variable(head)
            }
        }
    }

    fn head(&mut self, head: &'static HeadLayout) -> HeadDescription {
        let fields = head.fields.iter().map(|field| FieldDescription {
            name: field.name.to_owned(),
            value_type: self.value(field.value_type),
            offset: field.offset,
            default: false,
        });
        let fields = fields.collect();
        HeadDescription { name: head.name.to_owned(), doc: head.doc.to_owned(), len: head.len, fields }
    }

    fn layout(&mut self, layout: &'static Layout) -> TypeDescription {
        if let Some(known) = self.layouts.get(&core::ptr::from_ref(layout)) {
            return known.clone();
        }
        let made = match layout {
            Layout::Primitive(primitive) => return TypeDescription::Primitive(*primitive),
            Layout::Array { of, len } => {
                return TypeDescription::Array { of: Arc::new(self.layout(of)), len: *len };
            }
            Layout::Struct(layout) => {
                let fields = layout.fields.iter().map(|field| FieldDescription {
                    name: field.name.to_owned(),
                    value_type: self.layout(field.layout),
                    offset: field.offset,
                    default: false,
                });
                let fields = fields.collect();
                TypeDescription::Struct(Arc::new(StructDescription {
                    name: layout.name.to_owned(),
                    doc: layout.doc.to_owned(),
                    size: layout.size,
                    align: layout.align,
                    fields,
                }))
            }
            Layout::Enum(layout) => TypeDescription::Enum(Arc::new(EnumDescription {
                name: layout.name.to_owned(),
                doc: layout.doc.to_owned(),
                repr: layout.repr,
                variants: layout
                    .variants
                    .iter()
                    .map(|variant| VariantDescription { name: variant.name.to_owned(), value: variant.value })
                    .collect(),
            })),
        };
        self.layouts.insert(layout, made.clone());
        made
    }
}
