//! Calls and events of a server as spans and events of `tracing`. Needs the cargo feature `tracing`.

use core::cell::RefCell;
use std::time::Duration;

use tracing::span::EnteredSpan;
use tracing::{Level, Span, field, info, span, warn};

use crate::dispatch::{Context, HandlerError, Layer, Outcome};
use crate::server::{DisconnectReason, ServerEvent};

/// A [`Layer`] that opens a span `call` per call, at level `DEBUG`. Events of the handler lie inside the span. The span
/// of an async handler comes after its end, with the same fields and without the handler's events.
///
/// Fields: `name`, `msg_type`, `caller` (its number), `pid`, `correlation_id`, `request_size` in bytes; after the call
/// `took_us` in microseconds, and either `reply_size` in bytes or `error`. A failed call is also an event of level
/// `WARN`.
///
/// A [`RpcServer`](crate::RpcServer) emits events for callers that join and leave and for rejected clients, with and
/// without this layer.
///
/// ```
/// use tachyon::{Dispatcher, TracingLayer};
///
/// let mut dispatcher = Dispatcher::default();
/// dispatcher.layer(TracingLayer::new());
/// ```
#[derive(Debug, Default, Clone, Copy)]
#[non_exhaustive]
pub struct TracingLayer {}

impl TracingLayer {
    /// A layer.
    pub const fn new() -> Self {
        Self {}
    }
}

thread_local! {
    /// Spans of the running calls of this thread: one, or more when a handler serves.
    static OPEN: RefCell<Vec<(u64, EnteredSpan)>> = const { RefCell::new(Vec::new()) };
}

impl Layer for TracingLayer {
    fn before(&self, call: &Context<'_>) -> Result<(), HandlerError> {
        if !call.is_concurrent {
            let entered = open(call).entered();
            OPEN.with_borrow_mut(|open| open.push((call.correlation_id, entered)));
        }
        Ok(())
    }

    fn after(&self, call: &Context<'_>, outcome: &Outcome, took: Duration) {
        // Popped first: the subscriber may make calls, and must not find the list borrowed.
        let span = OPEN.with_borrow_mut(|open| {
            open.pop_if(|(correlation_id, _)| !call.is_concurrent && *correlation_id == call.correlation_id)
                .map(|(_, span)| span)
        });
        let Some(span) = span.or_else(|| call.is_concurrent.then(|| open(call).entered())) else { return };
        span.record("took_us", took.as_secs_f64() * 1e6);
        match outcome {
            Outcome::Replied(size) => {
                span.record("reply_size", size);
            }
            Outcome::Failed(kind) => failed(&span, kind.name()),
            Outcome::CallerGone => failed(&span, "CallerGone"),
        }
    }
}

/// The span of a call, with empty fields for its outcome.
fn open(call: &Context<'_>) -> Span {
    span!(
        Level::DEBUG,
        "call",
        name = call.name,
        msg_type = call.msg_type,
        caller = call.caller.id,
        pid = call.caller.pid,
        correlation_id = call.correlation_id,
        request_size = call.request_size,
        took_us = field::Empty,
        reply_size = field::Empty,
        error = field::Empty,
    )
}

fn failed(span: &Span, what: &'static str) {
    span.record("error", what);
    warn!(error = what, "call failed");
}

/// Emits an event of a server.
pub(crate) fn event(event: &ServerEvent<'_>) {
    match event {
        ServerEvent::Joined(caller) => info!(caller = caller.id, pid = caller.pid, uid = caller.uid, "caller joined"),
        ServerEvent::Left(caller, DisconnectReason::Closed) => {
            info!(caller = caller.id, pid = caller.pid, "caller left");
        }
        ServerEvent::Left(caller, reason) => warn!(caller = caller.id, pid = caller.pid, ?reason, "caller lost"),
        ServerEvent::Rejected(reason) => warn!(reason, "client rejected"),
        ServerEvent::Error(error) => warn!(error, "server error"),
    }
}
