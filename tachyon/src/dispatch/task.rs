//! Async endpoints: their handlers give futures, which a runtime runs beside the loop that takes requests.

use core::pin::Pin;

use super::deferred::Deferred;
use super::desk::Desk;
use super::dispatcher::Dispatcher;
use super::handler::{HandlerError, Replied, Reply};
use super::into_reply::{IntoReply, or_text};
use crate::connection::Rx;
use crate::dispatch::RegisterError;
use crate::engine::{CallerInfo, OpenRequest};
use crate::foreign::Foreign;
use crate::schema::describe::EndpointDescription;

/// Writes what a handler's future gave where its caller's replies go.
type Write = Box<dyn FnOnce(Reply<'_>) -> Result<Replied, HandlerError> + Send>;

/// What a handler's future gave.
#[derive(Debug)]
pub(crate) struct Answer(Foreign<Write>);

impl Answer {
    /// Sends it. To be called within `foreign::run`.
    pub(crate) fn write(self, reply: Reply<'_>) -> Result<Replied, HandlerError> {
        self.0.take().map_or_else(|| unreachable!("it is taken once"), |write| write(reply))
    }
}

/// A handler at work: the future of one, or of its panic.
pub(crate) type Work = Foreign<Pin<Box<dyn Future<Output = Answer> + Send>>>;

/// A handler that gives its reply later. Nothing of it runs before its future is polled.
pub(super) type AsyncHandler = Box<dyn Fn(Vec<u8>) -> Work + Send + Sync>;

impl<S: ?Sized> Dispatcher<S> {
    /// Adds an async closure as the endpoint `msg_type`. It gets a copy of the request's bytes and gives a future of a
    /// reply, or of a `Result` of one. Needs the cargo feature `tokio`, and a server that is served with
    /// [`serve_async`](Self::serve_async): every other way to serve refuses the table with
    /// [`ServeError::NeedsRuntime`](crate::ServeError::NeedsRuntime).
    ///
    /// The future is a task of the runtime. The handlers of one caller run side by side as those of different callers
    /// do, and reply in the order in which they are done. A handler that panics answers its caller with an error. One
    /// whose caller no longer waits, because its deadline has passed or it is gone, is dropped at its next `await`: give
    /// work that has to be finished all the same a task of its own. A handler that computes for long, or waits without
    /// `await`, keeps a thread of the runtime.
    ///
    /// State is what the closure captures; clone an `Arc` into the future.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tachyon::Dispatcher;
    ///
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register_async(1, "echo_later", |request: Vec<u8>| async move {
    ///     tokio::time::sleep(Duration::from_millis(10)).await;
    ///     request
    /// })?;
    /// # Ok::<(), tachyon::RegisterError>(())
    /// ```
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_async<F, R>(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: impl Fn(Vec<u8>) -> F + Send + Sync + 'static,
    ) -> Result<&mut Self, RegisterError>
    where
        F: Future<Output = R> + Send + 'static,
        R: IntoReply<Error: core::fmt::Display> + Send + 'static,
    {
        let handler = std::sync::Arc::new(handler);
        let start = move |request: Vec<u8>| -> Work {
            let handler = std::sync::Arc::clone(&handler);
            Foreign::new(Box::pin(async move {
                let reply = handler(request).await;
                Answer(Foreign::new(Box::new(move |to: Reply<'_>| or_text(reply, to))))
            }))
        };
        self.desk.table.insert_async(EndpointDescription::bytes(msg_type, name), Box::new(start))?;
        self.desk.described.take();
        Ok(self)
    }
}

impl<S: ?Sized> Desk<S> {
    /// Whether a request is for an async endpoint.
    pub(crate) fn is_async(&self, type_id: u32) -> bool {
        self.find(type_id).is_some_and(|registered| registered.async_handler().is_some())
    }

    /// Begins a request whose endpoint is async; `None` leaves it to [`answer`](Self::answer).
    pub(crate) fn begin(&self, caller: &CallerInfo, rx: &Rx, request: &OpenRequest) -> Option<(Deferred, Work)> {
        let handler = self.find(request.frame.type_id)?.async_handler()?;
        let mut deferred = self.defer(caller, rx, request, |_| true)?;
        let work = handler(deferred.take_payload());
        Some((deferred, work))
    }
}
