//! The contract of an endpoint as a constant.

use crate::schema::payload::{ErrorLayout, Form};

/// The contract of an endpoint as a constant: number, name, documentation, request, reply and declared errors.
///
/// ```
/// use tachyon::describe::{EndpointDescription, Signature};
/// use tachyon::payload::{Form, Value};
///
/// const DOUBLE: Signature =
///     Signature::of(1, "double", "Twice the number.", Form::Value(u64::TYPE), Form::Value(u64::TYPE), &[]);
///
/// assert_eq!(EndpointDescription::from(&DOUBLE).to_string(), "double(u64) -> u64");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    msg_type: u16,
    name: &'static str,
    doc: &'static str,
    request: Form,
    reply: Form,
    raises: &'static [ErrorLayout],
}

impl Signature {
    /// The signature of an endpoint. `raises` are the errors that the endpoint declares.
    pub const fn of(
        msg_type: u16,
        name: &'static str,
        doc: &'static str,
        request: Form,
        reply: Form,
        raises: &'static [ErrorLayout],
    ) -> Self {
        Self { msg_type, name, doc, request, reply, raises }
    }

    /// The number of the endpoint in requests.
    pub const fn msg_type(&self) -> u16 {
        self.msg_type
    }

    /// The endpoint's name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The endpoint's documentation; may be empty.
    pub const fn doc(&self) -> &'static str {
        self.doc
    }

    /// The form of the request.
    pub const fn request(&self) -> Form {
        self.request
    }

    /// The form of the reply.
    pub const fn reply(&self) -> Form {
        self.reply
    }

    /// The declared errors, by kind, name and fields.
    pub const fn raises(&self) -> &'static [ErrorLayout] {
        self.raises
    }

    /// Whether two sides can disagree about the bytes: the endpoint is typed.
    pub(crate) const fn is_typed(&self) -> bool {
        self.request.is_typed() || self.reply.is_typed() || !self.raises.is_empty()
    }
}
