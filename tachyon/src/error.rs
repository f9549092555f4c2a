//! The error types of this crate, one per family of operations. Each says what happened and what to do.
//!
//! Setting up has [`ListenError`] and [`ConnectError`], a one-way bus [`SendError`] and [`RecvError`], the two ends of
//! RPC [`CallError`] and [`ServeError`], the dispatch table [`RegisterError`]. All keep their source and are `Send`
//! and `Sync`.

use thiserror::Error;

pub use crate::bus::{RecvError, SendError};
pub use crate::client::pool::PoolError;
pub use crate::connection::{CommitError, WrongDirection};
pub use crate::dispatch::{HandlerError, ItemError, RegisterError, SlotError};
pub use crate::engine::{ErrorKind, RpcError};
pub use crate::handshake::{ConnectError, ListenError, PathError, ProtocolError, Rejection};
pub use crate::ring::{CapacityError, Fault};
pub use crate::rpc::{CallError, HandlerFailure, ServeError};
pub use crate::schema::describe::{DescribeError, Mismatch};
pub use crate::schema::payload::{DeclaredError, Malformed, Undeclared};
pub use crate::shm::{NumaError, ShmError};
pub use crate::stats::StatsError;

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
    Pool(#[from] PoolError),
    #[error(transparent)]
    Numa(#[from] NumaError),
}

impl<E: DeclaredError> From<CallError<E>> for Error {
    fn from(error: CallError<E>) -> Self {
        Self::Call(error.into_undeclared())
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
