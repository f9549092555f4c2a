//! Calls between two processes: two rings, correlation ids, deadlines and error replies.

mod agreement;
mod attempts;
mod callee;
mod caller;
mod control;
mod error;
mod guard;
mod in_place;
mod reconnect;
#[cfg(test)]
mod tests;
mod typed;
mod unassigned;

pub use crate::engine::MetadataError;
pub use callee::Callee;
pub(crate) use callee::check_correlation;
pub use caller::Caller;
pub(crate) use control::{control_reply, refusal, try_answer_control};
pub use error::{CallError, HandlerFailure, ServeError};
pub use guard::{RpcRxGuard, RpcTxGuard};
pub use in_place::InPlace;
#[cfg(feature = "tokio")]
pub(crate) use reconnect::connecting_by;
pub(crate) use typed::sealed;
pub use typed::{Calls, Started, Within};
pub use unassigned::RpcBus;

// Generated code and bindings name these.
#[doc(hidden)]
pub use agreement::Agreement;
#[doc(hidden)]
pub use attempts::Attempts;
#[doc(hidden)]
pub use typed::{Body, Borrowed, Contract, Encoded, Fields, SingleValue, call, call_in_place, start};
