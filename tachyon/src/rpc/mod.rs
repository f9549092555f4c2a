//! Calls between two processes: two rings, correlation ids, deadlines and error replies.

mod agreement;
mod attempts;
mod callee;
mod caller;
#[cfg(test)]
mod cancel_tests;
mod control;
mod fault;
mod guard;
mod in_place;
#[cfg(test)]
mod overflow_tests;
mod reconnect;
mod request;
mod round_trip;
mod typed;
mod undecided;

pub use agreement::Agreement;
pub use attempts::Attempts;
pub use callee::Callee;
pub(crate) use callee::{check_correlation, send_error};
pub use caller::Caller;
pub(crate) use control::{control_reply, is_cancel, is_control, refusal, refused_type, try_answer_control};
pub(crate) use fault::ErrorBody;
pub use fault::{ErrorKind, RpcError};
pub use guard::{RpcRxGuard, RpcTxGuard};
pub use in_place::InPlace;
#[cfg(feature = "tokio")]
pub(crate) use reconnect::connecting_by;
pub(crate) use request::{OpenRequest, open_loan, open_request};
pub(crate) use typed::sealed;
pub use typed::{Body, Borrowed, Calls, Contract, Fields, Started, Whole, Within, call, call_in_place, start};
pub use undecided::RpcBus;
