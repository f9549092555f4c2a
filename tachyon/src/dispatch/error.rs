//! Errors of the dispatch table, of handlers and of reply slots.

use core::fmt;

use thiserror::Error;

use crate::connection::{Halt, Unsent};
use crate::engine::{ErrorBody, ErrorKind, RpcError};
use crate::rpc::CallError;
use crate::schema::payload::{BoxedMalformed, DeclaredError};

/// Why an endpoint cannot join a dispatch table. The table is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Message type 65535 marks error replies.
    #[error("msg_type 65535 is reserved for error replies; `{refused}` needs one from 0 to 65534")]
    Reserved {
        /// Name of the refused endpoint.
        refused: String,
    },
    /// The endpoint changes the state, and other owners share it.
    #[error(
        "`{refused}` changes the state, which other owners share; take `&State` with a lock in it, or make the \
         dispatcher with `with_state`"
    )]
    Shared {
        /// Name of the refused endpoint.
        refused: String,
    },
    /// Another endpoint has the message type.
    #[error("msg_type {msg_type} is already registered by `{existing}`; give `{refused}` another one")]
    Duplicate {
        /// The message type of both endpoints.
        msg_type: u16,
        /// Name of the endpoint in the table.
        existing: String,
        /// Name of the refused endpoint.
        refused: String,
    },
}

/// Why a [`ReplySlot`](super::ReplySlot) has no room for a reply. The dispatcher reports the failure to the caller; the
/// handler just returns.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SlotError {
    /// The reply can never fit the ring.
    #[error("the reply of {size} bytes can never fit the reverse ring of {max}; listen with a larger one")]
    TooLarge {
        /// Bytes of the reply.
        size: usize,
        /// Bytes of the longest reply that fits the ring.
        max: usize,
    },
    /// The type has no value whose bytes are all zero.
    #[error("a reply with a `bool` or an enum in it begins as zeros, and those are no value of its type; use `write`")]
    NoZero,
    /// The caller closed or died.
    #[error("the connection ended before the reply was written")]
    Gone,
}

/// Why a handler did not reply. The dispatcher sends the caller an error reply.
///
/// ```
/// use tachyon::{Dispatcher, ErrorKind, HandlerError};
///
/// let mut dispatcher = Dispatcher::default();
/// dispatcher.register_handler(1, "first", Box::new(|(), request, reply| {
///     let Some(first) = request.payload().first() else {
///         return Err(HandlerError::new(ErrorKind::BadRequest, "the request is empty"));
///     };
///     reply.bytes(&[*first])
/// }))?;
/// # Ok::<(), tachyon::RegisterError>(())
/// ```
///
/// Every form of an endpoint may return a `Result` with it. An endpoint may also return an error type that converts
/// into it, which decides the kind of each error in one place:
///
/// ```
/// use tachyon::{ErrorKind, HandlerError, tachyon_rpc};
///
/// enum StoreError {
///     Missing(String),
///     Full,
/// }
///
/// impl From<StoreError> for HandlerError {
///     fn from(error: StoreError) -> Self {
///         match error {
///             StoreError::Missing(key) => Self::new(ErrorKind::NotFound, format!("no key {key}")),
///             StoreError::Full => Self::new(ErrorKind::ResourceExhausted, "the store is full"),
///         }
///     }
/// }
///
/// #[tachyon_rpc(msg_type = 1)]
/// fn get(key: &str) -> Result<String, StoreError> {
///     Err(StoreError::Missing(key.to_owned()))
/// }
/// ```
///
/// The caller gets [`CallError::Remote`](crate::CallError::Remote) with kind and text. Errors that the caller shall
/// match by name and fields are declared with [`#[tachyon::error]`](macro@crate::error).
#[derive(Debug)]
pub struct HandlerError(Box<Failure>);

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.0.kind, if self.0.text.is_empty() { "" } else { ": " }, self.0.text)
    }
}

impl std::error::Error for HandlerError {}

/// The content of a [`HandlerError`]. Boxed, so that a handler's result fits the registers.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) text: String,
    /// A declared error's name and fields.
    pub(super) declared: Option<(String, Vec<u8>)>,
    pub(super) halt: Option<Halt>,
    /// Bytes of a reply, and of the longest reply that fits the ring.
    too_large: Option<(usize, usize)>,
}

impl Failure {
    /// The body of the error reply.
    pub(super) fn body(&self) -> ErrorBody<'_> {
        let (name, fields) = self.declared.as_ref().map_or(("", &[][..]), |(name, fields)| (name, fields));
        ErrorBody { name, text: &self.text, fields }
    }
}

/// The request is not a value of the endpoint's request type.
impl From<BoxedMalformed> for HandlerError {
    #[cold]
    #[inline(never)]
    fn from(problem: BoxedMalformed) -> Self {
        Self::new(ErrorKind::BadRequest, problem)
    }
}

/// The error of a call that the handler made itself. A kind of the callee's handler, and the kind of a declared error,
/// stay; every other error is a failure of this handler, which its caller cannot mend.
///
/// ```
/// use std::sync::Mutex;
/// use tachyon::{Caller, HandlerError, tachyon_rpc};
///
/// #[tachyon_rpc(msg_type = 1)]
/// fn price(#[state] book: &Mutex<Caller>, instrument: u32) -> Result<f64, HandlerError> {
///     let mut book = book.lock().map_err(HandlerError::failed)?;
///     Ok(last::call(&mut *book, instrument)?)
/// }
///
/// #[tachyon_rpc(msg_type = 2)]
/// fn last(instrument: u32) -> f64 {
///     f64::from(instrument)
/// }
/// ```
impl<E: DeclaredError> From<CallError<E>> for HandlerError {
    #[cold]
    fn from(error: CallError<E>) -> Self {
        match error {
            CallError::Remote(error) if error.kind.is_of_handler() => Self::new(error.kind, error.text),
            CallError::Failed(error) => Self::new(error.kind(), error),
            other => Self::failed(other),
        }
    }
}

impl HandlerError {
    /// A failure of the handler itself: kind [`HandlerFailed`](ErrorKind::HandlerFailed).
    #[cold]
    pub fn failed(error: impl fmt::Display) -> Self {
        Self::new(ErrorKind::HandlerFailed, error)
    }

    /// A failure of the given kind.
    ///
    /// The dispatcher reports kinds that are faults of the handler to
    /// [`on_failure`](crate::Dispatcher::on_failure), and [answers](ErrorKind::is_answer) to the caller alone.
    /// [`Stopping`](ErrorKind::Stopping) becomes [`Unavailable`](ErrorKind::Unavailable), since a handler that runs has
    /// begun.
    #[cold]
    pub fn new(kind: ErrorKind, text: impl fmt::Display) -> Self {
        let kind = if kind == ErrorKind::Stopping { ErrorKind::Unavailable } else { kind };
        Self(Box::new(Failure { kind, text: text.to_string(), declared: None, halt: None, too_large: None }))
    }

    /// An error that the endpoint declares. A declared error is an answer: the dispatcher does not report it as a
    /// failure.
    #[cold]
    pub fn declared<E: DeclaredError>(error: &E) -> Self {
        let (name, fields) = error.encode();
        Self::named(error.kind(), name, error, fields)
    }

    /// A declared error by its name, with its encoded fields.
    #[cold]
    pub(crate) fn named(kind: ErrorKind, name: &str, text: impl fmt::Display, fields: Vec<u8>) -> Self {
        let mut error = Self::new(kind, text);
        error.0.declared = Some((name.to_owned(), fields));
        error
    }

    /// The error of a call that a proxy made for its own caller. An error reply of the callee stays as it is. Any other
    /// error gets the kind that tells the proxy's caller the same:
    ///
    /// | error | kind |
    /// |---|---|
    /// | the request can never fit | [`BadRequest`](ErrorKind::BadRequest) |
    /// | a timeout | [`DeadlinePassed`](ErrorKind::DeadlinePassed) |
    /// | no stream of the connection is left, or no caller of a pool | [`ResourceExhausted`](ErrorKind::ResourceExhausted) |
    /// | the callee's description or reply cannot be read | [`HandlerFailed`](ErrorKind::HandlerFailed) |
    /// | the callee stops and has not begun the call, or the call was not sent | [`Unreachable`](ErrorKind::Unreachable) |
    /// | the call may have run | [`Unavailable`](ErrorKind::Unavailable) |
    ///
    /// [`Stopping`](ErrorKind::Stopping) is not passed on: a caller that reconnects waits for the end of a connection
    /// whose callee stops, and the proxy's connection goes on.
    ///
    /// ```
    /// use tachyon::{CallError, ErrorKind, HandlerError};
    ///
    /// let kind = |error: CallError| HandlerError::passed_on(error).kind();
    /// assert_eq!(kind(CallError::PeerDead { sent: false }), ErrorKind::Unreachable);
    /// assert_eq!(kind(CallError::PeerDead { sent: true }), ErrorKind::Unavailable);
    /// ```
    #[cold]
    pub fn passed_on(error: CallError) -> Self {
        let kind = match error {
            CallError::Remote(RpcError { kind, text, name, fields, .. }) => {
                let declared = (!name.is_empty()).then(|| (name, fields.to_vec()));
                let kind = if kind == ErrorKind::Stopping { ErrorKind::Unreachable } else { kind };
                return Self(Box::new(Failure { kind, text, declared, halt: None, too_large: None }));
            }
            CallError::TooLarge { .. } | CallError::Metadata(_) | CallError::ReservedMsgType => ErrorKind::BadRequest,
            CallError::TimedOut { .. } => ErrorKind::DeadlinePassed,
            CallError::TooManyStreams { .. } | CallError::Exhausted { .. } => ErrorKind::ResourceExhausted,
            CallError::Describe(_) | CallError::BadReply { .. } => ErrorKind::HandlerFailed,
            _ if error.sent() => ErrorKind::Unavailable,
            _ => ErrorKind::Unreachable,
        };
        Self::new(kind, error)
    }

    /// The kind of the error reply.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The reply could not be sent.
    #[cold]
    pub(super) fn unsent(unsent: Unsent) -> Self {
        match unsent {
            Unsent::TooLarge { size, max } => {
                let mut error = Self::new(ErrorKind::ReplyTooLarge, SlotError::TooLarge { size, max });
                error.0.too_large = Some((size, max));
                error
            }
            // The connection ended under the reply: no caller is left for an error reply.
            Unsent::Halted(halt) => {
                let mut error = Self::new(ErrorKind::Unspecified, "");
                error.0.halt = Some(halt);
                error
            }
        }
    }

    pub(super) fn into_failure(self) -> Failure {
        *self.0
    }

    /// Kind and body of the error reply.
    #[cfg(feature = "python")]
    pub(crate) fn parts(&self) -> (ErrorKind, ErrorBody<'_>) {
        (self.0.kind, self.0.body())
    }

    /// Bytes of the longest reply that fits the ring, if the reply was longer.
    pub(crate) fn reply_limit(&self) -> Option<usize> {
        self.0.too_large.map(|(_, max)| max)
    }

    /// The handler's view of this error. The error itself stays with the dispatcher.
    pub(super) fn slot_error(&self) -> SlotError {
        match self.0.too_large {
            Some((size, max)) => SlotError::TooLarge { size, max },
            None => SlotError::Gone,
        }
    }
}
