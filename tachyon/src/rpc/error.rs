//! Errors of the two ends of RPC.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::connection::{Halt, Unsent, family};
use crate::engine::{ErrorKind, RpcError, TooManyStreams};
use crate::handshake::ConnectError;
use crate::metadata::MetadataError;
use crate::ring::CELLS;
use crate::schema::describe::Mismatch;
use crate::schema::payload::{DeclaredError, Malformed, Undeclared};

family! {
    /// Why a call got no reply. The connection stays usable unless the variant says that the peer is gone.
    ///
    /// `E` is the error that the endpoint declares, marked with [`#[tachyon::error]`](macro@crate::error).
    CallError<E = Undeclared> says sent {
        /// The request can never fit the forward ring.
        #[error(
            "a request of {size} bytes can never fit a ring of {max}; connect with larger `ring_sizes`, or listen \
             with a larger forward capacity"
        )]
        TooLarge {
            /// Bytes asked for.
            size: usize,
            /// Bytes the ring holds.
            max: usize
        },
        /// All streams of the connection are open. Nothing was sent.
        #[error("all {max} streams of the connection are open; end one of them, or connect once more")]
        TooManyStreams {
            /// Streams of a connection.
            max: usize
        },
        /// 0xFFFF marks error replies and cannot be called.
        #[error("msg_type 65535 is reserved for error replies; call one from 0 to 65534")]
        ReservedMsgType,
        /// An entry of the call's metadata cannot travel.
        #[error("{0}")]
        Metadata(#[source] MetadataError),
        /// A [`CallerLayer`](crate::rpc::CallerLayer) refused the call, for the reason that it gave. Nothing was sent.
        #[error("a layer of the caller refused the call: {0}; nothing was sent")]
        Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
        /// All callers of a [`Pool`](crate::Pool) stayed in use. Nothing was sent.
        #[error(
            "all {max} callers of the pool stayed in use for {waited:?}; allow more, wait longer or hold them shorter"
        )]
        Exhausted {
            /// Callers in use.
            max: usize,
            /// Time waited.
            waited: Duration
        },
        /// No such call is outstanding: never made, already waited for, timed out or forgotten.
        #[error("call {0} is not outstanding; finish each id that `start` returned once")]
        UnknownCorrelation(u64),
        /// The callee answered with an error.
        #[error("{0}")]
        Remote(#[source] RpcError),
        /// No process listens at the path. The next call of a caller that reconnects tries anew.
        #[error("{source}")]
        Unreachable {
            /// Where the caller connects.
            path: PathBuf,
            /// Why there was no connection.
            source: Box<ConnectError>,
            /// Whether the request had been sent to a callee before, which is gone.
            sent: bool
        },
        /// A listener refuses a new connection: of a caller that reconnects, or of a pool. The next call tries anew.
        #[error("no connection to the callee: {0}")]
        Reconnect(#[source] Box<ConnectError>),
        /// The two sides declare the endpoint differently. It was not called.
        #[error("{0}; build both sides from one definition")]
        Mismatch(#[source] Mismatch),
        /// The reply does not match the endpoint's return type.
        #[error("{endpoint}: the reply cannot be read: {problem}")]
        BadReply {
            /// The endpoint's name on this side.
            endpoint: String,
            /// The fault of the reply.
            problem: Malformed
        },
        /// An argument cannot be encoded. Nothing was sent.
        #[error("{endpoint}: the arguments cannot be written: {text}")]
        Unwritable {
            /// The endpoint's name on this side.
            endpoint: String,
            /// The error of the codec.
            text: String
        },
        /// The callee's description cannot be read.
        #[error("the callee's description cannot be read: {0}")]
        Describe(String),
    }
}

impl CallError {
    /// This error for a call whose comparison failed: the call itself was not sent.
    #[cold]
    pub(crate) fn unsent(self) -> Self {
        match self {
            Self::TimedOut { .. } => Self::TimedOut { sent: false },
            Self::Interrupted { .. } => Self::Interrupted { sent: false },
            Self::Closed { .. } => Self::Closed { sent: false },
            Self::PeerDead { .. } => Self::PeerDead { sent: false },
            other => other,
        }
    }

    /// This error for an endpoint that declares errors.
    #[cold]
    pub(crate) fn widen<E>(self) -> CallError<E> {
        self.convert(Undeclared::never)
    }
}

impl<E> CallError<E> {
    /// This error with `F` in place of `E`. `failed` converts the declared error.
    fn convert<F>(self, failed: impl FnOnce(E) -> CallError<F>) -> CallError<F> {
        match self {
            Self::Failed(error) => failed(error),
            Self::TooLarge { size, max } => CallError::TooLarge { size, max },
            Self::TooManyStreams { max } => CallError::TooManyStreams { max },
            Self::ReservedMsgType => CallError::ReservedMsgType,
            Self::Metadata(error) => CallError::Metadata(error),
            Self::Refused(reason) => CallError::Refused(reason),
            Self::Exhausted { max, waited } => CallError::Exhausted { max, waited },
            Self::UnknownCorrelation(id) => CallError::UnknownCorrelation(id),
            Self::Remote(error) => CallError::Remote(error),
            Self::Unreachable { path, source, sent } => CallError::Unreachable { path, source, sent },
            Self::Reconnect(error) => CallError::Reconnect(error),
            Self::Mismatch(error) => CallError::Mismatch(error),
            Self::BadReply { endpoint, problem } => CallError::BadReply { endpoint, problem },
            Self::Unwritable { endpoint, text } => CallError::Unwritable { endpoint, text },
            Self::Describe(text) => CallError::Describe(text),
            Self::TimedOut { sent } => CallError::TimedOut { sent },
            Self::Interrupted { sent } => CallError::Interrupted { sent },
            Self::Closed { sent } => CallError::Closed { sent },
            Self::ClosedHere => CallError::ClosedHere,
            Self::PeerDead { sent } => CallError::PeerDead { sent },
            Self::FatalError(fault) => CallError::FatalError(fault),
            Self::Forked => CallError::Forked,
            Self::Io(error) => CallError::Io(error),
        }
    }
}

impl<E> CallError<E> {
    /// Whether the callee may have begun the call. After `false` the call can be made again without running twice.
    ///
    /// ```
    /// use tachyon::CallError;
    ///
    /// let error: CallError = CallError::TimedOut { sent: false };
    /// assert!(!error.sent());
    /// ```
    pub fn sent(&self) -> bool {
        match self {
            Self::TimedOut { sent }
            | Self::Interrupted { sent }
            | Self::Closed { sent }
            | Self::PeerDead { sent }
            | Self::Unreachable { sent, .. } => *sent,
            Self::Remote(error) => error.kind.has_begun(),
            Self::TooLarge { .. }
            | Self::TooManyStreams { .. }
            | Self::ReservedMsgType
            | Self::Metadata(_)
            | Self::Refused(_)
            | Self::Exhausted { .. }
            | Self::Reconnect(_)
            | Self::Mismatch(_)
            | Self::Unwritable { .. }
            | Self::Describe(_) => false,
            // The call may have begun: it was given up earlier, or belongs to the parent process.
            Self::Failed(_)
            | Self::BadReply { .. }
            | Self::UnknownCorrelation(_)
            | Self::Forked
            | Self::ClosedHere
            | Self::FatalError(_)
            | Self::Io(_) => true,
        }
    }

    /// Whether the connection ended because the callee did.
    pub(crate) fn is_loss(&self) -> bool {
        matches!(self, Self::Closed { .. } | Self::PeerDead { .. })
    }
}

impl<E: DeclaredError> CallError<E> {
    /// The kind of the callee's error; `None` for every other reason. A declared error has the kind that this side
    /// declares.
    ///
    /// ```
    /// use tachyon::{CallError, Dispatcher, ErrorKind, HandlerError, endpoints, tachyon_rpc, testing};
    ///
    /// #[tachyon_rpc(msg_type = 1)]
    /// fn get(key: &str) -> Result<String, HandlerError> {
    ///     Err(HandlerError::new(ErrorKind::NotFound, format!("no key {key}")))
    /// }
    ///
    /// let mut caller = testing::pair(Dispatcher::new(endpoints![get]))?;
    /// let value = match get::call(&mut caller, "a") {
    ///     Err(error) if error.kind() == Some(ErrorKind::NotFound) => None,
    ///     outcome => Some(outcome?),
    /// };
    /// assert_eq!(value, None);
    /// assert_eq!(CallError::<tachyon::payload::Undeclared>::ClosedHere.kind(), None);
    /// # Ok::<(), tachyon::Error>(())
    /// ```
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Remote(error) => Some(error.kind),
            Self::Failed(error) => Some(error.kind()),
            _ => None,
        }
    }

    /// This error without the declared type: a declared error becomes [`Remote`](Self::Remote), with its name and text.
    #[must_use]
    pub fn into_undeclared(self) -> CallError {
        self.convert(|error| CallError::Remote(RpcError::declared(&error)))
    }
}

impl<E> From<Mismatch> for CallError<E> {
    fn from(mismatch: Mismatch) -> Self {
        Self::Mismatch(mismatch)
    }
}

impl<E> From<TooManyStreams> for CallError<E> {
    fn from(_: TooManyStreams) -> Self {
        Self::TooManyStreams { max: CELLS }
    }
}

impl<E> From<Unsent> for CallError<E> {
    #[cold]
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::TooLarge { size, max } => Self::TooLarge { size, max },
            Unsent::Halted(Halt::TimedOut) => Self::TimedOut { sent: false },
            Unsent::Halted(Halt::Interrupted) => Self::Interrupted { sent: false },
            Unsent::Halted(Halt::Closed) => Self::Closed { sent: false },
            Unsent::Halted(Halt::PeerDead) => Self::PeerDead { sent: false },
            Unsent::Halted(halt) => halt.into(),
        }
    }
}

family! {
    /// Why a request was not served or a reply not sent.
    ServeError {
        /// The reply can never fit the reverse ring.
        #[error(
            "a reply of {size} bytes can never fit a ring of {max}; its caller can connect with larger \
             `ring_sizes`, or listen with a larger reverse capacity"
        )]
        TooLarge {
            /// Bytes asked for.
            size: usize,
            /// Bytes the ring holds.
            max: usize
        },
        /// No request came with this correlation id, so no caller waits for the reply.
        #[error("no request came with correlation id {0}; reply with the id of the request that `serve` gave")]
        InvalidCorrelation(u64),
        /// No endpoint has the request's message type. Its caller got an error reply.
        #[error("no endpoint for msg_type {msg_type}; register one (its caller got an error reply)")]
        NoHandler {
            /// The request's message type.
            msg_type: u16
        },
        /// The table has an endpoint that takes `&mut State`, and several threads were to serve it. Nothing was served.
        #[error(
            "endpoint `{name}` (msg_type {msg_type}) changes the state; serve with one thread (`serve_forever`), or \
             or declare the handler with `&State`"
        )]
        Exclusive {
            /// The endpoint's name.
            name: String,
            /// The endpoint's message type.
            msg_type: u16
        },
        /// The table has an async endpoint, and was to be served without a runtime. Nothing was served.
        #[error("endpoint `{name}` (msg_type {msg_type}) is async; serve an `RpcServer` with `serve_async`")]
        NeedsRuntime {
            /// The endpoint's name.
            name: String,
            /// The endpoint's message type.
            msg_type: u16
        },
        /// An endpoint failed. Its caller got an error reply.
        #[error("{0}")]
        Handler(HandlerFailure),
        /// The server was stopped, and handlers went on for longer than its `stop_timeout`. Everything else ended in
        /// good order. An async handler that does not reach its next `await` is left behind; a blocking one keeps the
        /// serving call until it returns.
        #[error("the server stopped, but {count} handlers went on for longer than its stop_timeout")]
        HandlersLeft {
            /// Number of handlers that were still running.
            count: usize
        },
        /// A thread that served a server ended by a panic outside of handlers and hooks. The server is stopped and its
        /// callers are told.
        #[error("a serving thread {0}; the server was stopped, and its callers got an error")]
        WorkerLost(String),
    }
}

impl From<Halt> for Box<ServeError> {
    #[cold]
    fn from(halt: Halt) -> Self {
        Self::new(halt.into())
    }
}

impl ServeError {
    /// The end of the connection, for an error that reports one.
    #[cold]
    pub(crate) fn into_halt(self) -> Halt {
        match self {
            Self::TimedOut => Halt::TimedOut,
            Self::Interrupted => Halt::Interrupted,
            Self::Closed => Halt::Closed,
            Self::ClosedHere => Halt::ClosedHere,
            Self::FatalError(fault) => Halt::FatalError(fault),
            Self::Forked => Halt::Forked,
            Self::Io(source) => Halt::Io(source),
            _ => Halt::PeerDead,
        }
    }
}

/// A request that its endpoint failed to answer. Its caller got an error reply of the same kind, unless the handler had
/// replied before it failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("endpoint `{name}` (msg_type {msg_type}) failed: {text}")]
#[non_exhaustive]
pub struct HandlerFailure {
    /// The endpoint's name.
    pub name: String,
    /// The endpoint's message type.
    pub msg_type: u16,
    /// The kind of the error reply that the caller got.
    pub kind: ErrorKind,
    /// The handler's text.
    pub text: String,
    /// The name of the declared error that the handler returned.
    pub declared: Option<String>,
}

impl HandlerFailure {
    /// Whether the endpoint answered for this request: with a declared error, or with a kind that
    /// [is an answer](ErrorKind::is_answer). Otherwise the handler is at fault.
    pub fn is_answer(&self) -> bool {
        self.declared.is_some() || self.kind.is_answer()
    }
}

impl From<Unsent> for ServeError {
    #[cold]
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::TooLarge { size, max } => Self::TooLarge { size, max },
            Unsent::Halted(halt) => halt.into(),
        }
    }
}
