//! Streams at their callee: the items that a handler returns, and the open stream that the serving thread works off.

use core::fmt;
use core::fmt::Display;
use std::sync::Arc;

use super::deferred::Deferred;
use super::error::HandlerError;
use super::into_reply::{IntoReply, reply_or_text};
use super::pipe::{NextMessage, Pipe, Returned};
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
    handler: Handler,
    /// The error that ends the stream.
    error: Option<HandlerError>,
}

/// The handler of an open stream.
enum Handler {
    /// It runs on the serving thread, item by item.
    Inline(Replies),
    /// It runs elsewhere.
    Detached(PipeEnd),
}

/// The serving thread's end of a pipe. The drop cancels the handler.
struct PipeEnd {
    pipe: Arc<Pipe>,
    takes_items: bool,
    /// Whether the last message is END. Otherwise it is the reply.
    streams: bool,
    /// Whether the handler is a task, which counts as a call in flight.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "only a runtime has tasks"))]
    is_task: bool,
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        self.pipe.cancel();
    }
}

/// The last message of a stream.
pub(super) enum LastMessage {
    Error(HandlerError),
    End,
    Returned(Returned),
}

impl LastMessage {
    /// Sends the message, as the outcome of the handler.
    pub(super) fn send(self, reply: Reply<'_>) -> HandlerResult {
        match self {
            Self::Error(error) => Err(error),
            Self::End => reply.bytes(&[]),
            Self::Returned(Ok(returned)) => returned.send(reply),
            Self::Returned(Err(panicked)) => Err(HandlerError::failed(panicked)),
        }
    }
}

impl ServedStream {
    pub(super) fn inline(deferred: Deferred, replies: Replies) -> Self {
        Self { deferred, handler: Handler::Inline(replies), error: None }
    }

    /// A stream of an endpoint that takes items, streams its replies, or both.
    pub(super) fn detached(
        deferred: Deferred,
        pipe: Arc<Pipe>,
        (takes_items, streams): (bool, bool),
        is_task: bool,
    ) -> Self {
        Self { deferred, handler: Handler::Detached(PipeEnd { pipe, takes_items, streams, is_task }), error: None }
    }

    /// The call.
    pub(crate) fn deferred(&self) -> &Deferred {
        &self.deferred
    }

    /// Whether the handler is a task of a runtime.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_task(&self) -> bool {
        matches!(&self.handler, Handler::Detached(PipeEnd { is_task: true, .. }))
    }

    /// The last message of a stream whose handler is done, with its target.
    pub(super) fn into_last(self) -> (Deferred, ReplyTarget, LastMessage) {
        let Self { deferred, handler, error } = self;
        let (msg_type, call) = (deferred.msg_type(), deferred.correlation_id());
        let (streams, returned) = match &handler {
            Handler::Detached(PipeEnd { streams, pipe, .. }) => (*streams, pipe.take_outcome()),
            Handler::Inline(_) => (true, None),
        };
        let is_reply = !streams || matches!(&returned, Some(Ok(returned)) if returned.is_reply_to_stream());
        let target = if is_reply { ReplyTarget::call(msg_type, call) } else { ReplyTarget::end(msg_type, call) };
        let last = match (error, returned) {
            (Some(error), _) => LastMessage::Error(error),
            (None, Some(returned)) => LastMessage::Returned(returned),
            (None, None) => LastMessage::End,
        };
        (deferred, target, last)
    }

    /// Takes one step of the handler's items.
    fn send_next(&mut self, tx: &mut Tx, may_send: bool) -> StreamStep {
        let target = ReplyTarget::item(self.deferred.msg_type(), self.deferred.correlation_id());
        let next = match &mut self.handler {
            Handler::Inline(_) if !may_send => return StreamStep::Blocked,
            Handler::Inline(Replies(next)) => next,
            Handler::Detached(end) => {
                return match end.pipe.next(may_send) {
                    NextMessage::Blocked => StreamStep::Blocked,
                    NextMessage::Pending => StreamStep::Pending,
                    NextMessage::Done => StreamStep::Done,
                    NextMessage::Item(item) => match Reply::over(tx, &target).bytes(&item) {
                        Ok(_) => StreamStep::Sent,
                        Err(error) => {
                            self.error = Some(error);
                            StreamStep::Done
                        }
                    },
                };
            }
        };
        let Some(next) = next.get_mut() else { return StreamStep::Done };
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

    fn pipe(&self) -> Option<&Pipe> {
        match &self.handler {
            Handler::Inline(_) => None,
            Handler::Detached(end) => Some(&end.pipe),
        }
    }
}

impl StreamBody for Box<ServedStream> {
    fn takes_items(&self) -> bool {
        matches!(&self.handler, Handler::Detached(PipeEnd { takes_items: true, .. }))
    }

    fn step(&mut self, tx: &mut Tx, may_send: bool) -> StreamStep {
        self.send_next(tx, may_send)
    }

    fn take_item(&mut self, item: &[u8]) {
        if let Some(pipe) = self.pipe() {
            pipe.put(item);
        }
    }

    fn end_items(&mut self) {
        if let Some(pipe) = self.pipe() {
            pipe.end();
        }
    }

    fn taken(&self) -> u64 {
        self.pipe().map_or(0, Pipe::note_taken)
    }

    fn has_changed(&self, is_blocked: bool) -> bool {
        self.pipe().is_some_and(|pipe| pipe.has_changed(is_blocked))
    }
}

impl fmt::Debug for ServedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedStream").field("deferred", &self.deferred).finish_non_exhaustive()
    }
}
