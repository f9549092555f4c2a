//! From request to handler and back: endpoints, the table that finds them, and the loop that serves them.
//!
//! A [`Dispatcher`] holds a table of endpoints and the state of their handlers, and serves a
//! [`Callee`](crate::Callee) or an [`RpcServer`](crate::RpcServer). Most programs need only `#[tachyon_rpc]`,
//! `endpoints![..]` and the dispatcher from the crate's root. This module adds [`ReplySlot`] for replies written in
//! place, [`Reply`] and [`Request`] for handlers of bytes, [`Outcome`] for layers, and the traits behind the macros.

mod deferred;
mod dispatcher;
mod endpoint;
mod error;
#[cfg(feature = "tokio")]
mod fallback;
mod into_reply;
mod items;
mod layer;
mod one_caller;
mod owned_context;
mod pipe;
mod reply;
mod request;
mod responder;
mod scope;
mod slot;
mod state;
mod stream;
mod table;
mod task;
mod threads;

pub(crate) use dispatcher::sealed;
pub use dispatcher::{Dispatcher, Served};
pub use endpoint::{Endpoint, Entry, EntryHandler, ExclusiveHandler, SharedHandler};
pub use error::{HandlerError, RegisterError, SlotError};
#[cfg(feature = "tokio")]
pub use fallback::{Fallback, FallbackRequest};
pub use into_reply::IntoReply;
pub use items::{ItemError, Items, Sending, StreamSender};
pub use layer::{Context, Layer, Outcome};
#[cfg(feature = "tracing")]
pub(crate) use owned_context::CallSpan;
pub use owned_context::OwnedContext;
pub(crate) use reply::ReplyBuffer;
#[cfg(any(feature = "python", feature = "tokio"))]
pub(crate) use reply::ReplyTarget;
pub use reply::{HandlerResult, Reply};
pub use request::Request;
#[cfg(feature = "python")]
pub(crate) use request::RequestParts;
pub(crate) use responder::{Deferring, RequestContext, Responder, Runs, place};
pub(crate) use scope::{EntryIn, Join};
pub use scope::{Requires, Scope, Stateless};
pub(crate) use slot::answer_in_slot;
pub use slot::{ReplyRoom, ReplySlot, SlotResult};
pub(crate) use state::{StateRef, share_own};
pub(crate) use stream::ServedStream;
pub use stream::{OpenReplies, OpenRepliesExclusive, OwnedOpenReplies, Replies, StreamHandler};
pub use table::OwnedHandler;
pub(crate) use threads::{STREAM_THREADS, StreamThreads};

pub use crate::engine::CallerInfo;

// Generated code and bindings name these.
#[doc(hidden)]
pub use deferred::Deferred;
#[doc(hidden)]
pub use into_reply::{ConvertError, ErrorForm};
#[doc(hidden)]
pub use reply::{AsyncReply, Replied};
#[doc(hidden)]
pub use slot::SlotOf;
#[doc(hidden)]
pub use state::{Share, ShareOwn, SharedState};
#[doc(hidden)]
pub use task::{HandlerFuture, OwnedStartHandler, StartHandler};
#[doc(hidden)]
pub use threads::Detached;
