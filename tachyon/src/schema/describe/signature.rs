//! The contract of an endpoint as a constant.

use core::fmt;

use crate::schema::payload::{ErrorLayout, Form};

/// The streams of an endpoint: those of its caller, of its callee, of both, or none.
///
/// ```
/// use tachyon::describe::EndpointKind;
///
/// assert_eq!(EndpointKind::TwoWayStream.to_string(), "two-way stream");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndpointKind {
    /// One request, one reply.
    Unary,
    /// One request, many replies.
    ServerStream,
    /// One request and the caller's items, one reply.
    ClientStream,
    /// One request and the caller's items, many replies.
    TwoWayStream,
}

impl EndpointKind {
    pub(super) const fn of(has_items: bool, streams: bool) -> Self {
        match (has_items, streams) {
            (false, false) => Self::Unary,
            (false, true) => Self::ServerStream,
            (true, false) => Self::ClientStream,
            (true, true) => Self::TwoWayStream,
        }
    }

    /// Whether a call opens a stream. The calls of all other endpoints are one request and one reply.
    pub const fn is_stream(self) -> bool {
        !matches!(self, Self::Unary)
    }
}

/// The kind in words: "unary", "server stream", "client stream" or "two-way stream".
impl fmt::Display for EndpointKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unary => "unary",
            Self::ServerStream => "server stream",
            Self::ClientStream => "client stream",
            Self::TwoWayStream => "two-way stream",
        })
    }
}

/// The contract of an endpoint as a constant: number, name, documentation, request, reply, declared errors and streams.
///
/// ```
/// use tachyon::describe::{EndpointDescription, Signature};
/// use tachyon::payload::{Form, Value};
///
/// const DOUBLE: Signature =
///     Signature::of(1, "double", "Twice the number.", Form::Value(u64::TYPE), Form::Value(u64::TYPE), &[]);
///
/// assert_eq!(EndpointDescription::from(&DOUBLE).to_string(), "double(u64) -> u64");
///
/// const COUNT: Signature =
///     Signature::of(2, "count", "From 0 up.", Form::Value(u64::TYPE), Form::Value(u64::TYPE), &[]).streaming();
///
/// assert_eq!(EndpointDescription::from(&COUNT).to_string(), "count(u64) -> stream of u64");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    msg_type: u16,
    name: &'static str,
    doc: &'static str,
    request: Form,
    reply: Form,
    raises: &'static [ErrorLayout],
    items: Option<Form>,
    streams: bool,
    /// Follows from the other fields. Each call reads the answer.
    typed: bool,
}

impl Signature {
    /// The signature of a unary endpoint. `raises` are the errors that the endpoint declares.
    pub const fn of(
        msg_type: u16,
        name: &'static str,
        doc: &'static str,
        request: Form,
        reply: Form,
        raises: &'static [ErrorLayout],
    ) -> Self {
        let typed = request.is_typed() || reply.is_typed() || !raises.is_empty();
        Self { msg_type, name, doc, request, reply, raises, items: None, streams: false, typed }
    }

    /// Makes the endpoint a client stream, or a two-way stream: the caller sends items of this form after the request.
    #[must_use]
    pub const fn with_items(self, items: Form) -> Self {
        Self { items: Some(items), typed: true, ..self }
    }

    /// Makes the endpoint a server stream, or a two-way stream: the callee replies with any number of items.
    #[must_use]
    pub const fn streaming(self) -> Self {
        Self { streams: true, typed: true, ..self }
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

    /// The form of the reply; of each reply, if the endpoint [streams](Self::streams).
    pub const fn reply(&self) -> Form {
        self.reply
    }

    /// The declared errors, by kind, name and fields.
    pub const fn raises(&self) -> &'static [ErrorLayout] {
        self.raises
    }

    /// The form of the caller's items; `None` if the caller sends a request alone.
    pub const fn items(&self) -> Option<Form> {
        self.items
    }

    /// Whether the replies are a stream.
    pub const fn streams(&self) -> bool {
        self.streams
    }

    /// The streams of the endpoint.
    pub const fn kind(&self) -> EndpointKind {
        EndpointKind::of(self.items.is_some(), self.streams)
    }

    /// Whether two sides can disagree about the messages: the endpoint is typed, or a stream.
    pub(crate) const fn is_typed(&self) -> bool {
        self.typed
    }
}
