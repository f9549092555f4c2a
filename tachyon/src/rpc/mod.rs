//! Calls between two processes: two rings, correlation ids, deadlines and error replies.

mod agreement;
mod attempts;
mod callee;
mod caller;
#[cfg(test)]
mod cancel_tests;
mod control;
mod guard;
mod in_place;
#[cfg(test)]
mod overflow_tests;
mod reconnect;
mod round_trip;
mod typed;
mod undecided;

pub use agreement::Agreement;
pub use attempts::Attempts;
pub use callee::Callee;
pub(crate) use callee::check_correlation;
pub use caller::Caller;
pub(crate) use control::{control_reply, refusal, try_answer_control};
pub use guard::{RpcRxGuard, RpcTxGuard};
pub use in_place::InPlace;
#[cfg(feature = "tokio")]
pub(crate) use reconnect::connecting_by;
pub(crate) use typed::sealed;
pub use typed::{Body, Borrowed, Calls, Contract, Fields, Started, Whole, Within, call, call_in_place, start};
pub use undecided::RpcBus;
