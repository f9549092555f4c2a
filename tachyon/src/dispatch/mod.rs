//! From request to handler and back: endpoints, the table that finds them, the loop that serves.

mod dispatcher;
mod endpoint;
mod handler;
mod into_reply;
mod table;

pub use dispatcher::{Dispatcher, Served};
pub(crate) use dispatcher::sealed;
pub use endpoint::{Endpoint, Entry, SharedHandler};
pub use handler::{HandlerError, Replied, Reply, Request};
pub use into_reply::IntoReply;
pub use table::OwnedHandler;
