//! One error type per family of operations, each saying what happened and what to do.
//!
//! Setting up has [`ListenError`] and [`ConnectError`], a one-way bus [`SendError`] and [`RecvError`], the two ends of
//! RPC [`CallError`] and [`ServeError`], the dispatch table [`RegisterError`]. All keep their source and are `Send`
//! and `Sync`.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::describe::Mismatch;
use crate::engine::{ErrorKind, RpcError};
pub use crate::handshake::{ConnectError, ListenError, PathError, ProtocolError, Refusal};
use crate::payload::{DeclaredError, Malformed, Undeclared};
pub use crate::ring::{CapacityError, Fault};
pub use crate::shm::{NumaError, ShmError};

/// Why an operation on a connection stopped, whatever it was: the part all families share.
#[derive(Debug)]
pub(crate) enum Halt {
    TimedOut,
    Interrupted,
    Closed,
    ClosedHere,
    PeerDead,
    FatalError(Fault),
    Forked,
    Io(io::Error),
}

/// Declares an error family: its own variants, then the ones every operation on a connection can end with. In a family of
/// calls, those that end a call under way as well as one that is not sent yet say so in the field `sent`.
macro_rules! family {
    ($(#[$meta:meta])* $name:ident $(<$error:ident = $default:ty>)? $(says $sent:ident)? { $($(#[$vmeta:meta])* $variant:ident $({ $($(#[$fmeta:meta])* $field:ident: $ftype:ty),* })? $(($(#[$tmeta:meta])* $ttype:ty))?,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Error)]
        #[non_exhaustive]
        pub enum $name $(<$error = $default>)? {
            $(
                /// The endpoint answered with an error that it declares.
                #[error("{0}")]
                Failed($error),
            )?
            $($(#[$vmeta])* $variant $({ $($(#[$fmeta])* $field: $ftype),* })? $(($(#[$tmeta])* $ttype))?,)*
            /// The deadline passed before the peer answered, or made room. The connection stays usable.
            #[error("timed out waiting for the peer; the connection stays usable, allow more time")]
            TimedOut $({
                /// Whether the request had been sent.
                $sent: bool
            })?,
            /// The interrupt hook asked for the end of the wait.
            #[error("interrupted while waiting")]
            Interrupted $({
                /// Whether the request had been sent.
                $sent: bool
            })?,
            /// The peer closed in good order and everything it had sent has been received.
            #[error("the peer closed the connection; connect again to go on")]
            Closed $({
                /// Whether the request had been sent.
                $sent: bool
            })?,
            /// This side closed the connection while the operation waited.
            #[error("this side closed the connection")]
            ClosedHere,
            /// The peer's process ended, or dropped the connection without closing it.
            #[error("the peer died; what it had committed has been delivered, connect again to go on")]
            PeerDead $({
                /// Whether the request had been sent.
                $sent: bool
            })?,
            /// The shared memory holds what no correct peer writes. The connection is of no more use.
            #[error("the shared memory is corrupted ({0}); close this connection, its peer is broken or hostile")]
            FatalError(#[source] Fault),
            /// The connection belongs to the process that made it, and this one is a forked child of it.
            #[error("this connection belongs to the parent process; open one in the forked child")]
            Forked,
            /// The system refused to wait.
            #[error("waiting failed: {0}")]
            Io(#[source] io::Error),
        }

        /// Of an operation that waits; one that sends goes by way of `Unsent`.
        impl $(<$error>)? From<Halt> for $name $(<$error>)? {
            #[cold]
            fn from(halt: Halt) -> Self {
                match halt {
                    Halt::TimedOut => Self::TimedOut $({ $sent: true })?,
                    Halt::Interrupted => Self::Interrupted $({ $sent: true })?,
                    Halt::Closed => Self::Closed $({ $sent: true })?,
                    Halt::ClosedHere => Self::ClosedHere,
                    Halt::PeerDead => Self::PeerDead $({ $sent: true })?,
                    Halt::FatalError(fault) => Self::FatalError(fault),
                    Halt::Forked => Self::Forked,
                    Halt::Io(source) => Self::Io(source),
                }
            }
        }
    };
}

family! {
    /// Why a message was not sent. In every case nothing was sent.
    SendError {
        /// The message can never fit this bus.
        #[error("a message of {size} bytes can never fit a bus of {max}; listen with a larger capacity or split it")]
        TooLarge {
            /// Bytes asked for.
            size: usize,
            /// Bytes the bus holds.
            max: usize
        },
        /// There is no room now; only the `try_` operations say so.
        #[error("the bus is full; receive on the other side, or use an operation that waits")]
        Full,
    }
}

family! {
    /// Why no message was received. In every case nothing was lost.
    RecvError {}
}

family! {
    /// Why a call got no reply. The connection stays usable unless the variant says that the peer is gone.
    ///
    /// `E` is the error that the endpoint declares, marked with [`#[tachyon::error]`](macro@crate::error).
    CallError<E = Undeclared> says sent {
        /// The request can never fit the forward ring.
        #[error("a request of {size} bytes can never fit a ring of {max}; connect with larger `ring_sizes`, or listen with a larger forward capacity")]
        TooLarge {
            /// Bytes asked for.
            size: usize,
            /// Bytes the ring holds.
            max: usize
        },
        /// 0xFFFF marks error replies and cannot be called.
        #[error("msg_type 65535 is reserved for error replies; call one from 0 to 65534")]
        ReservedMsgType,
        /// No such call is outstanding: never made, already waited for, timed out or forgotten.
        #[error("call {0} is not outstanding; wait once for each correlation id that `call` returned")]
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
        /// The callee was gone, and there is a listener that refuses a new connection. The next call tries anew.
        #[error("the callee is gone, and connecting again failed: {0}")]
        Reconnect(#[source] Box<ConnectError>),
        /// The two sides do not mean the same by an endpoint. It was not called.
        #[error("{0}; build both sides from one definition")]
        Mismatch(#[source] Mismatch),
        /// The reply is not what the endpoint gives.
        #[error("{endpoint}: the reply cannot be read: {problem}")]
        BadReply {
            /// The endpoint's name on this side.
            endpoint: String,
            /// What is wrong with the reply.
            problem: Malformed
        },
        /// What the callee said about itself is no description.
        #[error("the callee's description cannot be read: {0}")]
        Describe(String),
    }
}

family! {
    /// Why a request was not served or a reply not sent.
    ServeError {
        /// The reply can never fit the reverse ring.
        #[error("a reply of {size} bytes can never fit a ring of {max}; its caller can connect with larger `ring_sizes`, or listen with a larger reverse capacity")]
        TooLarge {
            /// Bytes asked for.
            size: usize,
            /// Bytes the ring holds.
            max: usize
        },
        /// No request came with this correlation id, so nobody waits for the reply.
        #[error("no request came with correlation id {0}; reply with the id of the request that `serve` gave")]
        InvalidCorrelation(u64),
        /// No endpoint has the request's message type. Its caller got an error reply.
        #[error("no endpoint for msg_type {msg_type}; register one (its caller got an error reply)")]
        NoHandler {
            /// The request's message type.
            msg_type: u16
        },
        /// The table has an endpoint that changes the state, and was to be served by those who share the state. Nothing was
        /// served.
        #[error("endpoint `{name}` (msg_type {msg_type}) changes the state; serve with one thread (`serve_forever`), or have it take `&State`")]
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
        /// The server was stopped, and handlers went on for longer than its `stop_timeout`. Everything else ended in good
        /// order. An async handler that does not reach its next `await` is left behind; a blocking one keeps the serving
        /// call until it returns.
        #[error("the server stopped, but {count} handlers went on for longer than its stop_timeout")]
        HandlersLeft {
            /// How many.
            count: usize
        },
        /// A thread that served a server ended by a panic outside of handlers and hooks. The server is stopped and its
        /// callers are told.
        #[error("a serving thread {0}; the server was stopped, and its callers were told")]
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
    /// How the connection ended, of an error that says so.
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
    /// What the caller was told.
    pub kind: ErrorKind,
    /// What went wrong, in the handler's words.
    pub text: String,
    /// The name of the declared error that the handler returned.
    pub declared: Option<String>,
}

impl HandlerFailure {
    /// Whether this is an answer and no failure: a declared error, or a request that is not what the endpoint takes.
    pub fn is_answer(&self) -> bool {
        self.declared.is_some() || self.kind == ErrorKind::BadRequest
    }
}

/// Why an endpoint cannot join a dispatch table. The table is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// 0xFFFF marks error replies.
    #[error("msg_type 65535 is reserved for error replies; `{refused}` needs one from 0 to 65534")]
    Reserved {
        /// Name of the endpoint that was refused.
        refused: String,
    },
    /// The message type is taken.
    #[error("msg_type {msg_type} is already registered by `{existing}`; give `{refused}` another one")]
    Duplicate {
        /// The message type both ask for.
        msg_type: u16,
        /// Name of the endpoint that has it.
        existing: String,
        /// Name of the endpoint that was refused.
        refused: String,
    },
}

/// Any error of this crate, for programs that pass them all on with `?`.
#[derive(Debug, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is named after the family it holds")]
pub enum Error {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Recv(#[from] RecvError),
    #[error(transparent)]
    Call(CallError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Register(#[from] RegisterError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Direction(#[from] WrongDirection),
    #[error(transparent)]
    Pool(#[from] crate::pool::PoolError),
    #[error(transparent)]
    Numa(#[from] NumaError),
}

impl<E: DeclaredError> From<CallError<E>> for Error {
    fn from(error: CallError<E>) -> Self {
        Self::Call(error.into_undeclared())
    }
}

impl CallError {
    /// The same, of an endpoint that declares errors.
    #[cold]
    pub(crate) fn widen<E>(self) -> CallError<E> {
        self.convert(Undeclared::never)
    }
}

impl<E> CallError<E> {
    /// The same with another type for the declared error.
    fn convert<F>(self, failed: impl FnOnce(E) -> CallError<F>) -> CallError<F> {
        match self {
            Self::Failed(error) => failed(error),
            Self::TooLarge { size, max } => CallError::TooLarge { size, max },
            Self::ReservedMsgType => CallError::ReservedMsgType,
            Self::UnknownCorrelation(id) => CallError::UnknownCorrelation(id),
            Self::Remote(error) => CallError::Remote(error),
            Self::Unreachable { path, source, sent } => CallError::Unreachable { path, source, sent },
            Self::Reconnect(error) => CallError::Reconnect(error),
            Self::Mismatch(error) => CallError::Mismatch(error),
            Self::BadReply { endpoint, problem } => CallError::BadReply { endpoint, problem },
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
            | Self::ReservedMsgType
            | Self::Reconnect(_)
            | Self::Mismatch(_)
            | Self::Describe(_) => false,
            // Where it is not known, the call may have begun: it was given up before, or belongs to the parent process.
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
    /// The same without the declared type: a declared error becomes [`Remote`](Self::Remote), with its name and text.
    #[must_use]
    pub fn into_undeclared(self) -> CallError {
        self.convert(|error| CallError::Remote(RpcError::declared(&error)))
    }
}

/// Why a guard published nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// More was to be published than had been reserved.
    #[error("cannot commit {actual} bytes of a reservation of {reserved}; reserve the most you may need")]
    TooLong {
        /// Bytes asked for.
        actual: usize,
        /// Bytes reserved.
        reserved: usize,
    },
    /// The guard was made by the process that this one was forked from.
    #[error("this guard belongs to the parent process; open a connection in the forked child")]
    Forked,
}

/// This side of an undecided connection asked for an end that the other side has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the peer is already the {taken}; a connection has one of each, so take the other end here")]
pub struct WrongDirection {
    /// What the peer is.
    pub taken: &'static str,
}

impl<E> From<Mismatch> for CallError<E> {
    fn from(mismatch: Mismatch) -> Self {
        Self::Mismatch(mismatch)
    }
}

/// What an outgoing direction can answer, before it becomes an error of one family.
#[derive(Debug)]
pub(crate) enum Unsent {
    TooLarge { size: usize, max: usize },
    Halted(Halt),
}

impl From<Halt> for Unsent {
    fn from(halt: Halt) -> Self {
        Self::Halted(halt)
    }
}

macro_rules! from_unsent {
    ($($name:ident),*) => {$(
        impl From<Unsent> for $name {
            #[cold]
            fn from(unsent: Unsent) -> Self {
                match unsent {
                    Unsent::TooLarge { size, max } => Self::TooLarge { size, max },
                    Unsent::Halted(halt) => halt.into(),
                }
            }
        }
    )*};
}

from_unsent!(SendError, ServeError);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_cross_threads() {
        fn check<T: Send + Sync + std::error::Error + 'static>() {}
        check::<ListenError>();
        check::<ConnectError>();
        check::<SendError>();
        check::<RecvError>();
        check::<CallError>();
        check::<ServeError>();
        check::<RegisterError>();
        check::<CommitError>();
        check::<RpcError>();
    }
}
