//! From request to handler and back: endpoints, the table that finds them, the loop that serves.

mod control;
mod deferred;
mod desk;
mod dispatcher;
mod endpoint;
mod error;
mod handler;
mod into_reply;
mod layer;
mod scope;
mod slot;
mod table;
#[cfg(feature = "tokio")]
mod task;
mod watched;

pub(crate) use desk::{Desk, Lent};
pub(crate) use dispatcher::sealed;
pub use dispatcher::{Dispatcher, Served};
pub use endpoint::{Endpoint, Entry, EntryHandler, ExclusiveHandler, SharedHandler};
pub use error::RegisterError;
#[cfg(feature = "python")]
pub(crate) use handler::{Asked, Due};
pub use handler::{HandlerError, Replied, Reply, ReplyRoom, Request};
pub use into_reply::IntoReply;
pub use layer::{Context, Layer, Outcome};
pub(crate) use scope::{EntryIn, Join};
pub use scope::{Needs, NoState, Scope};
pub(crate) use slot::answer_in_slot;
pub use slot::{ReplyInPlace, ReplySlot, SlotError, SlotResult};
pub use table::OwnedHandler;
#[cfg(feature = "tokio")]
pub(crate) use task::Answer;
pub(crate) use watched::Origin;

pub use crate::engine::CallerInfo;

// Generated code and bindings name these.
#[doc(hidden)]
pub use deferred::Deferred;
#[doc(hidden)]
pub use into_reply::{How, Pick};
#[doc(hidden)]
pub use slot::SlotOf;
