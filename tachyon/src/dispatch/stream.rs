//! Streams of replies: what a handler returns, and the open stream that the serving thread works off.

use core::fmt;
use core::fmt::Display;

use super::deferred::Deferred;
use super::error::HandlerError;
use super::into_reply::{IntoReply, reply_or_text};
use super::reply::{HandlerResult, Reply, ReplyTarget};
use super::request::Request;
use super::state::StateRef;
use crate::connection::Tx;
use crate::engine::{StreamBody, StreamStep};
use crate::foreign::{self, Foreign};

/// Sends the next item of a stream as the reply. `None` after the last one.
type NextItem = Box<dyn FnMut(Reply<'_>) -> Option<HandlerResult> + Send>;

/// The items with which a handler answers, of any type. They own what they need: a request is released when its handler
/// returns.
#[derive(Debug)]
pub struct Replies(Foreign<NextItem>);

impl Replies {
    /// The items of an iterator: values, or results. An error is the last item, and ends the stream for the caller. A
    /// [`HandlerError`] keeps its kind, any other error travels as its text.
    pub fn new<I>(items: I) -> Self
    where
        I: IntoIterator<Item: IntoReply<Error: Display + 'static> + 'static, IntoIter: Send + 'static>,
    {
        Self::sent_by(items, reply_or_text)
    }

    /// The items of an iterator, sent by `send`.
    pub(crate) fn sent_by<I>(items: I, send: fn(I::Item, Reply<'_>) -> HandlerResult) -> Self
    where
        I: IntoIterator<IntoIter: Send + 'static>,
        I::Item: 'static,
    {
        let mut items = items.into_iter();
        Self::from_next(move |reply| items.next().map(|item| send(item, reply)))
    }

    /// Items that `next` sends, one with each call.
    pub fn from_next(next: impl FnMut(Reply<'_>) -> Option<HandlerResult> + Send + 'static) -> Self {
        Self(Foreign::new(Box::new(next)))
    }
}

/// A handler that reads the request, and answers with items.
pub type OpenReplies<S> = for<'a> fn(&'a S, Request<'a>) -> Result<Replies, HandlerError>;

/// As [`OpenReplies`], for a handler that changes the state while it reads the request.
pub type OpenRepliesExclusive<S> = for<'a> fn(&'a mut S, Request<'a>) -> Result<Replies, HandlerError>;

/// As [`OpenReplies`], for a closure.
pub type OwnedOpenReplies<S> = Box<dyn Fn(&S, Request<'_>) -> Result<Replies, HandlerError> + Send + Sync>;

/// The function of an endpoint that answers with items, by its access to the state.
#[derive(Debug)]
pub enum StreamHandler<S: ?Sized> {
    /// No access.
    Stateless(OpenReplies<()>),
    /// Reads the state.
    Shared(OpenReplies<S>),
    /// Changes the state.
    Exclusive(OpenRepliesExclusive<S>),
}

// Not derived: a derive would require `S: Clone`.
impl<S: ?Sized> Clone for StreamHandler<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: ?Sized> Copy for StreamHandler<S> {}

impl<S: ?Sized> StreamHandler<S> {
    /// Runs the function.
    pub(super) fn open(&self, state: StateRef<'_, S>, request: Request<'_>) -> Result<Replies, HandlerError> {
        match (self, state) {
            (Self::Stateless(open), _) => open(&(), request),
            (Self::Shared(open), state) => open(state.shared(), request),
            (Self::Exclusive(open), StateRef::Exclusive(state)) => open(state, request),
            // Unreachable: serving with a shared state refuses the table first.
            (Self::Exclusive(_), StateRef::Shared(_)) => {
                Err(HandlerError::failed("changes the state, which others are using"))
            }
        }
    }
}

/// An open stream at its callee.
pub(crate) struct ServedStream {
    pub(super) deferred: Deferred,
    replies: Replies,
    /// The error that ends the stream.
    pub(super) error: Option<HandlerError>,
}

impl ServedStream {
    pub(super) fn new(deferred: Deferred, replies: Replies) -> Self {
        Self { deferred, replies, error: None }
    }

    /// The call.
    pub(crate) fn deferred(&self) -> &Deferred {
        &self.deferred
    }

    /// Runs the handler for one item.
    fn send_next(&mut self, tx: &mut Tx) -> StreamStep {
        let Some(next) = self.replies.0.get_mut() else { return StreamStep::Done };
        let target = ReplyTarget::item(self.deferred.msg_type(), self.deferred.correlation_id());
        let accepted = tx.accepted();
        let reply = Reply::over(tx, &target);
        let outcome = foreign::run(|| next(reply));
        let was_sent = tx.accepted() != accepted;
        match outcome {
            Ok(Some(Ok(_))) if was_sent => return StreamStep::Sent,
            Ok(Some(Ok(_))) => self.error = Some(HandlerError::failed("returned the proof of another item")),
            Ok(Some(Err(error))) => self.error = Some(error),
            Ok(None) => {}
            Err(panicked) => self.error = Some(HandlerError::failed(panicked)),
        }
        StreamStep::Done
    }
}

impl StreamBody for Box<ServedStream> {
    fn takes_items(&self) -> bool {
        false
    }

    fn step(&mut self, tx: &mut Tx, may_send: bool) -> StreamStep {
        if may_send { self.send_next(tx) } else { StreamStep::Blocked }
    }

    fn take_item(&mut self, _: &[u8]) {}

    fn end_items(&mut self) {}

    fn taken(&self) -> u64 {
        0
    }
}

impl fmt::Debug for ServedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedStream").field("deferred", &self.deferred).finish_non_exhaustive()
    }
}
