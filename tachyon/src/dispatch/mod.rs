//! From request to handler and back: endpoints, the table that finds them, the loop that serves.

mod caller_info;
mod control;
mod deferred;
mod dispatcher;
mod endpoint;
mod handler;
mod into_reply;
mod layer;
mod table;
#[cfg(feature = "tokio")]
mod task;
mod watched;

pub use caller_info::CallerInfo;
pub use deferred::Deferred;
pub(crate) use dispatcher::sealed;
pub use dispatcher::{Dispatcher, Served};
pub use endpoint::{Endpoint, Entry, SharedHandler};
pub use handler::{HandlerError, Replied, Reply, Request};
pub use into_reply::IntoReply;
pub use layer::{CallInfo, Layer, Outcome};
pub use table::OwnedHandler;
#[cfg(feature = "tokio")]
pub(crate) use task::{Answer, Work};
pub(crate) use watched::Origin;
