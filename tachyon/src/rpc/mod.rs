//! Calls between two processes: two rings, correlation ids, deadlines and error replies.

mod callee;
mod caller;
mod fault;
mod guard;
mod pending;
mod undecided;

pub use callee::Callee;
pub(crate) use callee::{check_request, send_error};
pub use caller::Caller;
pub(crate) use caller::{Taken, keep};
pub use fault::{ErrorKind, RpcError};
pub use guard::{RpcRxGuard, RpcTxGuard};
pub use undecided::RpcBus;
