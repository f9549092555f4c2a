//! The engine: what the ends of a connection do without a clock, a thread or a sleep. Drivers wait for them.

mod callee;
mod callee_streams;
mod caller;
mod caller_info;
mod caller_stream;
mod calls;
mod credit;
mod error_reply;
mod request;
#[cfg(test)]
mod tests;
mod verified;
mod watch;

pub(crate) use callee::{CalleeCore, CancelReason, Handled, Service, TakenOne, TurnResult, serve_current, take_one};
pub(crate) use callee_streams::{
    CalleeStreams, OpenStream, Stepped, StreamBody, StreamEnd, StreamStep, is_open, is_stream_message,
};
pub use caller::ItemSent;
pub(crate) use caller::{CallerCore, Reply, TooManyStreams, file};
pub use caller_info::CallerInfo;
pub(crate) use caller_stream::is_item;
pub(crate) use calls::{Arrived, CallState, Calls, Outcome};
pub use error_reply::RpcError;
pub(crate) use error_reply::{ErrorBody, ErrorReply, send_error};
#[cfg(feature = "tokio")]
pub(crate) use request::refused_type;
pub(crate) use request::{
    BAD_METADATA, OpenRequest, has_metadata, is_cancel, is_control, is_plain, is_users, open_current, open_metadata,
    open_request, split_metadata,
};
pub(crate) use watch::Watch;

pub use crate::error_kind::ErrorKind;
