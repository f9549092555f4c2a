//! Calls between two processes: two rings, correlation ids, deadlines and error replies.

mod agreement;
mod attempts;
mod body;
mod callee;
mod caller;
mod calls;
mod control;
mod error;
mod guard;
mod in_place;
mod layer;
mod reconnect;
mod settings;
mod stream;
mod streams;
#[cfg(test)]
mod tests;
mod typed;
mod unassigned;

pub use crate::metadata::MetadataError;
#[cfg(feature = "tokio")]
pub(crate) use agreement::{Chunks, limits_of};
pub use callee::Callee;
pub(crate) use callee::check_correlation;
pub use caller::Caller;
#[cfg(feature = "tokio")]
pub(crate) use caller::{Endpoint, Target, key as signature_key};
pub(crate) use calls::sealed;
pub use calls::{Calls, HasCaller, With};
pub(crate) use control::{control_reply, refusal, try_answer_own};
pub use error::{CallError, HandlerFailure, ServeError};
pub use guard::{RpcRxGuard, RpcTxGuard};
pub use in_place::InPlace;
#[cfg(feature = "tokio")]
pub(crate) use layer::CallInFlight;
pub(crate) use layer::CallerLayers;
pub use layer::{CallOutcome, CallerLayer, OutgoingCall};
#[cfg(feature = "tokio")]
pub(crate) use reconnect::connecting_by;
#[cfg(feature = "tokio")]
pub(crate) use reconnect::patience;
pub(crate) use settings::{deadline, metadata};
pub use stream::OpenStream;
#[cfg(feature = "tokio")]
pub(crate) use stream::unwritable;
pub(crate) use streams::StreamMessage;
pub use typed::Started;
#[cfg(feature = "tokio")]
pub(crate) use typed::{typed_error, unreadable};
pub use unassigned::RpcBus;

// Generated code and bindings name these.
#[doc(hidden)]
pub use agreement::Agreement;
#[doc(hidden)]
pub use attempts::Attempts;
#[doc(hidden)]
pub use body::{Body, Borrowed, Encoded, Fields, SingleValue};
#[doc(hidden)]
pub use settings::CallSettings;
#[doc(hidden)]
pub use stream::{ItemCodec, PackedItems, RepliesOnce, StreamsReplies, TakesItems, TypedItems, open};
#[doc(hidden)]
pub use typed::{Contract, Owned, call, call_in_place, start};
