//! Handlers that run outside of the serving thread: their futures are tasks of a runtime, or run on threads.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;

use super::error::HandlerError;
use super::owned_context::OwnedContext;
use super::reply::AsyncReply;
use super::request::Request;
use crate::foreign::{Foreign, Panicked};

type BoxedFuture = Pin<Box<dyn Future<Output = AsyncReply> + Send>>;

/// The future of a running handler. A panic is an output.
#[derive(Debug)]
pub struct HandlerFuture {
    future: Foreign<BoxedFuture>,
    /// The call, whose span is entered in each poll.
    #[cfg(feature = "tracing")]
    context: Option<OwnedContext>,
}

impl HandlerFuture {
    pub(crate) fn new(future: impl Future<Output = AsyncReply> + Send + 'static) -> Self {
        Self {
            future: Foreign::new(Box::pin(future)),
            #[cfg(feature = "tracing")]
            context: None,
        }
    }

    /// Polls in the span of a call.
    #[cfg(feature = "tracing")]
    pub(super) fn in_span_of(self, context: OwnedContext) -> Self {
        Self { context: Some(context), ..self }
    }
}

#[doc(hidden)]
impl Future for HandlerFuture {
    type Output = Result<AsyncReply, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let future = Pin::new(&mut this.future);
        #[cfg(feature = "tracing")]
        if let Some(call) = &this.context {
            return call.in_span(|| future.poll(context));
        }
        future.poll(context)
    }
}

/// A function that begins a call of an async endpoint: it reads the request, and makes the handler's future, which owns
/// what was read and keeps the state. None of the user's code runs before the first poll.
pub type StartHandler<S> = fn(&Arc<S>, Request<'_>, OwnedContext) -> Result<HandlerFuture, HandlerError>;

/// As [`StartHandler`], for a closure.
pub type OwnedStartHandler =
    Box<dyn Fn(Request<'_>, OwnedContext) -> Result<HandlerFuture, HandlerError> + Send + Sync>;
