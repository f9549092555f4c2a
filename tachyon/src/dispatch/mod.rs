//! From request to handler and back: endpoints, the table that finds them, the loop that serves.

mod control;
mod dispatcher;
mod endpoint;
mod handler;
mod into_reply;
mod scope;
mod slot;
mod table;

pub use dispatcher::Dispatcher;
pub use endpoint::{Endpoint, Entry, EntryHandler, ExclusiveHandler, SharedHandler};
pub use handler::{HandlerError, Replied, Reply, ReplyRoom, Request};
pub use into_reply::IntoReply;
pub(crate) use scope::{EntryIn, Join};
pub use scope::{Needs, NoState, Scope};
pub(crate) use slot::answer_in_slot;
pub use slot::{ReplyInPlace, ReplySlot, SlotError, SlotResult};
pub use table::OwnedHandler;
