//! Calls between two processes: two rings, correlation ids, deadlines and error replies.

mod aligned;
mod callee;
mod caller;
mod control;
mod fault;
mod guard;
mod pending;
mod typed;
mod undecided;

pub use callee::Callee;
pub(crate) use callee::{check_request, send_error};
pub use caller::Caller;
pub(crate) use caller::{Taken, keep};
pub(crate) use control::{answer_control, answer_ping};
pub use fault::{ErrorKind, RpcError};
pub use guard::{RpcRxGuard, RpcTxGuard};
pub use typed::ReplyGuard;
pub use undecided::RpcBus;
