//! What happens at the serving end, told to whoever subscribed through `tracing`. Needs the cargo feature `tracing`.

use core::cell::RefCell;
use std::time::Duration;

use tracing::span::EnteredSpan;
use tracing::{Level, Span, field, info, span, warn};

use crate::dispatch::{Context, Layer, Outcome};
use crate::server::{Leaving, ServerEvent};

/// A [`Layer`] that opens a span per call, named `call`, at level `DEBUG`. What the handler records lies inside it, unless
/// it is async: the span of such a call comes when it has ended, with the same fields.
///
/// Fields: `name`, `msg_type`, `caller` (its number), `pid`, `correlation_id`, `request_size`; after the call `took_us`
/// and either `reply_size` or `error`. A call that failed is told as an event of level `WARN` too.
///
/// A [`RpcServer`](crate::RpcServer) tells of callers that join and leave and of clients turned away, with or without
/// this layer.
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
    /// The layer.
    pub const fn new() -> Self {
        Self {}
    }
}

thread_local! {
    /// Spans of the calls this thread is in: one, or more when a handler serves.
    static OPEN: RefCell<Vec<(u64, EnteredSpan)>> = const { RefCell::new(Vec::new()) };
}

impl Layer for TracingLayer {
    fn before(&self, call: &Context<'_>) {
        if call.overlaps {
            return;
        }
        let entered = open(call).entered();
        OPEN.with_borrow_mut(|open| open.push((call.correlation_id, entered)));
    }

    fn after(&self, call: &Context<'_>, outcome: &Outcome, took: Duration) {
        // Taken out first: a subscriber may do anything, and must not find the list borrowed.
        let span = OPEN.with_borrow_mut(|open| {
            open.pop_if(|(correlation_id, _)| !call.overlaps && *correlation_id == call.correlation_id)
                .map(|(_, span)| span)
        });
        let Some(span) = span.or_else(|| call.overlaps.then(|| open(call).entered())) else { return };
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

/// The span of a call, without what is known once it has ended.
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

/// Tells of an event of a server.
pub(crate) fn event(event: &ServerEvent<'_>) {
    match event {
        ServerEvent::Joined(caller) => info!(caller = caller.id, pid = caller.pid, uid = caller.uid, "caller joined"),
        ServerEvent::Left(caller, Leaving::Closed) => info!(caller = caller.id, pid = caller.pid, "caller left"),
        ServerEvent::Left(caller, how) => warn!(caller = caller.id, pid = caller.pid, ?how, "caller lost"),
        ServerEvent::TurnedAway(why) => warn!(why, "client turned away"),
        ServerEvent::Trouble(error) => warn!(error, "server in trouble"),
    }
}
