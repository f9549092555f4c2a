//! A callee's endpoints as data.

use core::fmt;
use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

use super::compare::{Mismatch, compare};
use super::json;
use super::signature::{EndpointKind, Signature};
use crate::error_kind::ErrorKind;
use crate::schema::payload::{ErrorLayout, Form, HeadLayout, Layout, Primitive, ValueType};

/// The endpoints of a callee, as data. `docs/guide/describe.md` defines the JSON.
///
/// [`Dispatcher::describe`](crate::Dispatcher::describe) makes the description of its endpoints, and
/// [`Caller::describe`](crate::Caller::describe) asks the callee for it.
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

/// A description that this version cannot read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// The text is not the JSON of a description.
    #[error("this is not the description of a callee: {0}")]
    Json(#[source] serde_json::Error),
    /// The JSON or the types are nested too deeply.
    #[error("the description is nested more than {most} deep; reduce the nesting of its types")]
    Nested {
        /// The deepest nesting that is read, of JSON or of types.
        most: usize,
    },
    /// A later version has written the description.
    #[error("the description has schema {found} and this version reads up to {known}; update this side")]
    Schema {
        /// The schema found.
        found: u32,
        /// The latest schema known here.
        known: u32,
    },
    /// The description has a form or a kind of type of a later version.
    #[error("the description has the {what} `{found}`, which this version does not know; update this side")]
    Unknown {
        /// "form" or "type".
        what: &'static str,
        /// Its name.
        found: String,
    },
    /// A type refers to itself, to a later type, or to a missing type.
    #[error(
        "the description refers to type {found} where {known} types are known; a type refers to earlier types only"
    )]
    Reference {
        /// The index of the type.
        found: usize,
        /// The number of types before the reference.
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
    /// Members of the description contradict each other, or a member is missing.
    #[error("this is not the description of a callee: {0}")]
    Invalid(String),
}

impl Description {
    /// The description of `endpoints`.
    pub fn new(endpoints: Vec<EndpointDescription>) -> Self {
        Self { endpoints }
    }

    /// Reads a description of this version or of an earlier one. It takes memory in proportion to the length of `json`.
    ///
    /// ```
    /// use tachyon::describe::{DescribeError, Description};
    ///
    /// let later = Description::from_json(r#"{"schema": 99, "endpoints": []}"#);
    /// assert!(matches!(later, Err(DescribeError::Schema { found: 99, .. })));
    /// ```
    ///
    /// # Errors
    /// [`DescribeError`]: the text is no description, is nested too deeply, or comes from a later version.
    pub fn from_json(json: &str) -> Result<Self, DescribeError> {
        json::read(json)
    }

    /// The description as one line of JSON.
    ///
    /// # Panics
    /// Never: every description can be written.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&json::write(self)).expect("maps have text for keys, and all numbers are finite")
    }

    /// The description as indented JSON.
    ///
    /// # Panics
    /// Never: every description can be written.
    pub fn to_json_pretty(&self) -> String {
        serde_json::to_string_pretty(&json::write(self)).expect("maps have text for keys, and all numbers are finite")
    }

    /// The endpoint with a message type; `None` if the callee has none.
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

/// The contract of an endpoint, as data.
#[derive(Debug, Clone)]
pub struct EndpointDescription {
    /// The number of the endpoint in requests.
    pub msg_type: u16,
    /// Its name.
    pub name: String,
    /// Its documentation; may be empty.
    pub doc: String,
    /// The request.
    pub request: FormDescription,
    /// The form of the caller's items; `None` if the caller sends a request alone.
    pub items: Option<FormDescription>,
    /// The reply; each reply, if the endpoint streams.
    pub reply: FormDescription,
    /// Whether the replies are a stream.
    pub streams: bool,
    /// The declared errors.
    pub raises: Vec<ErrorDescription>,
}

impl EndpointDescription {
    /// An endpoint that takes bytes and gives bytes.
    pub fn bytes(msg_type: u16, name: &str) -> Self {
        Self {
            msg_type,
            name: name.to_owned(),
            doc: String::new(),
            request: FormDescription::Bytes,
            items: None,
            reply: FormDescription::Bytes,
            streams: false,
            raises: Vec::new(),
        }
    }

    /// The streams of the endpoint.
    ///
    /// ```
    /// use tachyon::describe::{EndpointDescription, EndpointKind};
    ///
    /// let echo = EndpointDescription::bytes(1, "echo");
    /// assert_eq!(echo.kind(), EndpointKind::Unary);
    /// let ticks = EndpointDescription { streams: true, ..EndpointDescription::bytes(2, "ticks") };
    /// assert_eq!(ticks.kind().to_string(), "server stream");
    /// ```
    pub fn kind(&self) -> EndpointKind {
        EndpointKind::of(self.items.is_some(), self.streams)
    }

    /// Compares this side's contract of an endpoint with the callee's, as the first typed call on a connection does.
    ///
    /// Names of endpoints and types are not compared. One side may have further fields at the end of a head, if these
    /// are optional or have a default.
    ///
    /// ```
    /// use tachyon::describe::{EndpointDescription, Signature};
    /// use tachyon::payload::{Form, Value};
    ///
    /// let takes = |form| EndpointDescription::from(&Signature::of(1, "put", "", form, Form::Empty, &[]));
    /// let (here, callee) = (takes(Form::Value(u64::TYPE)), takes(Form::Value(u32::TYPE)));
    /// let mismatch = here.agree_with(&callee).unwrap_err();
    /// assert_eq!(mismatch.to_string(), "put: the request is u64 here, u32 at the callee");
    /// ```
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

/// The head of a function in neutral words: `filter(scan: Scan, tags: list[u32]) -> Scan raises Busy`, or
/// `upload(name: str, items: stream of Chunk) -> u64`.
impl fmt::Display for EndpointDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        let request = match &self.request {
            FormDescription::Empty => String::new(),
            FormDescription::Fields(head) => parameters(head),
            form => form.name(),
        };
        write!(f, "{request}")?;
        if let Some(items) = &self.items {
            write!(f, "{}items: stream of {}", if request.is_empty() { "" } else { ", " }, items.name())?;
        }
        write!(f, ")")?;
        match &self.reply {
            reply if self.streams => write!(f, " -> stream of {}", reply.name())?,
            FormDescription::Empty => {}
            reply => write!(f, " -> {}", reply.name())?,
        }
        for (at, error) in self.raises.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { " raises " } else { ", " }, error.head.name)?;
        }
        Ok(())
    }
}

fn parameters(head: &HeadDescription) -> String {
    let parameters = head.fields.iter().map(|field| format!("{}: {}", field.name, field.value_type.name()));
    parameters.collect::<Vec<_>>().join(", ")
}

/// The form of a request, a reply or an item.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormDescription {
    /// Nothing.
    Empty,
    /// Bytes with a meaning that tachyon does not know.
    Bytes,
    /// One value, without a head around it.
    Value(TypeDescription),
    /// Fields of a head without a name: arguments, or the one field `value` of a reply or an item that is an option.
    Fields(HeadDescription),
    /// Values of the codec msgpack, whose types a description does not have.
    Msgpack,
}

impl FormDescription {
    /// The type of a reply or an item; `None` if the form has no type.
    pub(super) fn value_type(&self) -> Option<&TypeDescription> {
        match self {
            Self::Value(value_type) => Some(value_type),
            Self::Fields(head) => match &head.fields[..] {
                [only] => Some(&only.value_type),
                _ => None,
            },
            Self::Empty | Self::Bytes | Self::Msgpack => None,
        }
    }

    /// A reply or an item in neutral words.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Empty => "empty".to_owned(),
            Self::Bytes => "bytes".to_owned(),
            Self::Msgpack => "msgpack".to_owned(),
            Self::Value(value_type) => value_type.name(),
            Self::Fields(head) => self.value_type().map_or_else(|| parameters(head), TypeDescription::name),
        }
    }
}

/// A type that travels, as data. Types are shared: a clone is cheap, and a description holds each struct once.
#[derive(Clone)]
#[non_exhaustive]
pub enum TypeDescription {
    /// A number or a `bool`.
    Primitive(Primitive),
    /// `len` values of one fixed type.
    Array {
        /// The type of each element.
        of: Arc<TypeDescription>,
        /// The number of elements.
        len: usize,
    },
    /// `len` bytes, one value in languages with a type for bytes.
    Bytes {
        /// The length in bytes.
        len: usize,
    },
    /// `len` bytes of UTF-8, filled up with zeros.
    Str {
        /// The length in bytes.
        len: usize,
    },
    /// One of a set of numbers.
    Enum(Arc<EnumDescription>),
    /// A fixed payload: a struct without a head.
    Struct(Arc<StructDescription>),
    /// UTF-8 text of any length.
    Text,
    /// Values of one type, in any number.
    List(Arc<TypeDescription>),
    /// A value, or no value.
    Option(Arc<TypeDescription>),
    /// Numbers in a fixed number of dimensions.
    Tensor {
        /// The type of the values, which is not `bool`.
        of: Primitive,
        /// The number of dimensions, from 1 to 8.
        ndim: usize,
    },
    /// A payload with a head.
    Variable(Arc<HeadDescription>),
}

/// Size and alignment, in bytes, of the pair that stands in a head for a variable value.
const PAIR: (usize, usize) = (8, 4);

impl TypeDescription {
    /// Whether all values have the same length, and lie inside of a struct or a head.
    pub fn is_fixed(&self) -> bool {
        !matches!(self, Self::Text | Self::List(_) | Self::Option(_) | Self::Tensor { .. } | Self::Variable(_))
    }

    /// The size of a field of the type in bytes: that of the value, or of the pair that points to it. The size
    /// saturates, since a peer may describe any type.
    pub fn size(&self) -> usize {
        match self {
            Self::Primitive(primitive) => primitive.size(),
            Self::Array { of, len } => of.size().saturating_mul(*len),
            Self::Bytes { len } | Self::Str { len } => *len,
            Self::Enum(description) => description.repr.size(),
            Self::Struct(description) => description.size,
            Self::Text | Self::List(_) | Self::Option(_) | Self::Tensor { .. } | Self::Variable(_) => PAIR.0,
        }
    }

    /// The alignment of a field of the type, in bytes.
    pub fn align(&self) -> usize {
        match self {
            Self::Primitive(primitive) => primitive.size(),
            Self::Array { of, .. } => of.align(),
            Self::Bytes { .. } | Self::Str { .. } => 1,
            Self::Enum(description) => description.repr.size(),
            Self::Struct(description) => description.align,
            Self::Text | Self::List(_) | Self::Option(_) | Self::Tensor { .. } | Self::Variable(_) => PAIR.1,
        }
    }

    /// The type in neutral words, such as `list[u32]` and `option[Scan]`.
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
            Self::Tensor { of, ndim } => format!("tensor[{}, {ndim}]", of.name()),
            Self::Variable(description) => description.name.clone(),
        }
    }
}

impl PartialEq for TypeDescription {
    /// Shared types are compared once, so the time is in proportion to the length of their JSON.
    fn eq(&self, other: &Self) -> bool {
        let mut writer = json::Writer::default();
        writer.reference(self) == writer.reference(other)
    }
}

impl Eq for TypeDescription {}

/// The name alone: a shared type would be shown once for each of its places.
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
    /// Its fields, in order. A field with a name that begins with `_` is padding, and is not compared.
    pub fields: Vec<FieldDescription>,
}

/// Fields behind a head: those of a variable payload, of an endpoint's arguments, of a declared error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadDescription {
    /// The payload's or the error's name; empty for arguments.
    pub name: String,
    /// Its documentation; may be empty.
    pub doc: String,
    /// The end of the last field, in bytes from the head's beginning.
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
    /// Whether a reader has a value for the field when a head ends before it.
    pub default: bool,
}

/// A declared error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorDescription {
    /// The kind of its error reply: one that handlers report, or `HandlerFailed`. Two sides may declare different
    /// kinds: the callee's kind travels.
    pub kind: ErrorKind,
    /// Its name and fields.
    pub head: HeadDescription,
}

/// An enum: a set of named numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnumDescription {
    /// Its name.
    pub name: String,
    /// Its documentation; may be empty.
    pub doc: String,
    /// The type of the numbers that stand for variants.
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
        let mut constants = Constants::default();
        Self {
            msg_type: signature.msg_type(),
            name: signature.name().to_owned(),
            doc: signature.doc().to_owned(),
            request: constants.form(signature.request()),
            items: signature.items().map(|items| constants.form(items)),
            reply: constants.form(signature.reply()),
            streams: signature.streams(),
            raises: signature.raises().iter().map(|error| constants.error(error)).collect(),
        }
    }
}

impl From<&'static Layout> for TypeDescription {
    fn from(layout: &'static Layout) -> Self {
        Constants::default().layout(layout)
    }
}

/// Converts constants to descriptions. A constant that comes up again is shared.
#[derive(Default)]
struct Constants {
    layouts: HashMap<*const Layout, TypeDescription>,
    heads: HashMap<*const HeadLayout, Arc<HeadDescription>>,
}

impl Constants {
    fn form(&mut self, form: Form) -> FormDescription {
        match form {
            Form::Empty => FormDescription::Empty,
            Form::Bytes => FormDescription::Bytes,
            Form::Value(value_type) => FormDescription::Value(self.value(value_type)),
            Form::Fields(head) => FormDescription::Fields(self.head(head)),
            Form::Msgpack => FormDescription::Msgpack,
        }
    }

    fn value(&mut self, value_type: &'static ValueType) -> TypeDescription {
        match value_type {
            ValueType::Fixed(layout) => self.layout(layout),
            ValueType::Text => TypeDescription::Text,
            ValueType::List(of) => TypeDescription::List(Arc::new(self.value(of))),
            ValueType::Option(of) => TypeDescription::Option(Arc::new(self.value(of))),
            ValueType::Tensor { of, ndim } => TypeDescription::Tensor { of: *of, ndim: *ndim },
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

    fn error(&mut self, error: &'static ErrorLayout) -> ErrorDescription {
        ErrorDescription { kind: error.kind, head: self.head(&error.head) }
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
