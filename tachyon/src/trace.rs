//! Calls and events of a server as spans and events of `tracing`. Needs the cargo feature `tracing`.

use core::cell::RefCell;
use std::error::Error;
use std::time::Duration;

use tracing::span::EnteredSpan;
use tracing::{Level, Span, field, info, span, warn};

use crate::dispatch::{CallSpan, Context, HandlerError, Layer, Outcome};
use crate::rpc::{CallerLayer, OutgoingCall};
use crate::server::{DisconnectReason, ServerEvent};
use crate::trace_context::{Entered, KEY, TraceContext};

/// A [`Layer`] that opens a span `call` per call, at level `DEBUG`, and a [`CallerLayer`] that passes traces on.
///
/// Events of the handler lie inside the span, also those of an async handler.
///
/// Fields: `name`, `msg_type`, `caller` (its number), `pid`, `correlation_id`, `request_size` in bytes, `trace_id`,
/// `span_id` and `parent_id` (the caller's span; absent for the first span of a trace); after the call `took_us` in
/// microseconds, and either `reply_size` in bytes or `error`. A failed call is also an event of level `WARN`.
///
/// A [`RpcServer`](crate::RpcServer) emits events for callers that join and leave and for rejected clients, with and
/// without this layer.
///
/// # Traces
///
/// A trace is a call with all the calls that it causes, in all processes. Its identity travels as the metadata
/// `traceparent` of [W3C Trace Context](https://www.w3.org/TR/trace-context/). The layer of a dispatcher reads it, or
/// begins a new trace. The layer of a caller adds it to each call: that of the call that the thread handles, so that
/// calls inside of a handler belong to the trace of the handler's call, or else a new one.
///
/// ```
/// use tachyon::{Caller, Dispatcher, TracingLayer};
///
/// let mut dispatcher = Dispatcher::default();
/// dispatcher.layer(TracingLayer::new());
///
/// fn traced(caller: &mut Caller) {
///     caller.layer(TracingLayer::new());
/// }
/// ```
///
/// A program with OpenTelemetry connects its spans in both directions: see [`extract`](Self::extract) and
/// [`inject`](Self::inject).
#[derive(Debug, Default, Clone, Copy)]
pub struct TracingLayer {
    extract: Option<fn(&Span, &str)>,
    inject: Option<fn() -> Option<String>>,
}

impl TracingLayer {
    /// A layer.
    pub const fn new() -> Self {
        Self { extract: None, inject: None }
    }

    /// Calls `extract` with the span of each call that has a `traceparent`, and with that text, so that a tracer of the
    /// program makes the caller's span the parent. With the crate `tracing-opentelemetry`:
    ///
    /// ```ignore
    /// TracingLayer::new().extract(|span, traceparent| {
    ///     let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    ///     let _ = span.set_parent(TraceContextPropagator::new().extract(&carrier));
    /// })
    /// ```
    #[must_use]
    pub const fn extract(mut self, extract: fn(&Span, &str)) -> Self {
        self.extract = Some(extract);
        self
    }

    /// Takes the `traceparent` of each call from `inject`, where a tracer of the program knows the current span. A call
    /// for which it has none gets that of this layer. With the crate `tracing-opentelemetry`:
    ///
    /// ```ignore
    /// TracingLayer::new().inject(|| {
    ///     let mut carrier = HashMap::new();
    ///     TraceContextPropagator::new().inject_context(&Span::current().context(), &mut carrier);
    ///     carrier.remove("traceparent")
    /// })
    /// ```
    #[must_use]
    pub const fn inject(mut self, inject: fn() -> Option<String>) -> Self {
        self.inject = Some(inject);
        self
    }

    /// The `traceparent` of the call that this thread handles, for requests of other protocols: its trace, with the
    /// span of this layer. `None` outside of a handler, and without the layer.
    ///
    /// ```
    /// assert_eq!(tachyon::TracingLayer::traceparent(), None);
    /// ```
    pub fn traceparent() -> Option<String> {
        TraceContext::current().map(|current| current.to_string())
    }

    /// The span of a call, with empty fields for its outcome.
    fn open(self, call: &Context<'_>) -> CallSpan {
        let text = call.metadata().get(KEY);
        let parent = text.and_then(TraceContext::parse);
        let trace = parent.map_or_else(TraceContext::root, TraceContext::child);
        let span = span!(
            Level::DEBUG,
            "call",
            name = call.name,
            msg_type = call.msg_type,
            caller = call.caller.id,
            pid = call.caller.pid,
            correlation_id = call.correlation_id,
            request_size = call.request_size,
            trace_id = field::display(format_args!("{:032x}", trace.trace)),
            span_id = field::display(format_args!("{:016x}", trace.span)),
            parent_id = field::Empty,
            took_us = field::Empty,
            reply_size = field::Empty,
            error = field::Empty,
        );
        if let Some(parent) = parent {
            span.record("parent_id", field::display(format_args!("{:016x}", parent.span)));
            if let (Some(extract), Some(text)) = (self.extract, text) {
                extract(&span, text);
            }
        }
        CallSpan { span, trace }
    }
}

/// A running call of this thread.
struct Running {
    correlation_id: u64,
    span: EnteredSpan,
    /// Held for its drop.
    _trace: Entered,
}

thread_local! {
    /// The running calls of this thread: one, or more when a handler serves.
    static RUNNING: RefCell<Vec<Running>> = const { RefCell::new(Vec::new()) };
}

impl Layer for TracingLayer {
    fn before(&self, call: &Context<'_>) -> Result<(), HandlerError> {
        let opened = self.open(call);
        if call.is_concurrent {
            call.set_span(opened);
            return Ok(());
        }
        let (trace, span) = (opened.trace.enter(), opened.span.entered());
        let running = Running { correlation_id: call.correlation_id, span, _trace: trace };
        RUNNING.with_borrow_mut(|all| all.push(running));
        Ok(())
    }

    fn after(&self, call: &Context<'_>, outcome: &Outcome, took: Duration) {
        if call.is_concurrent {
            if let Some(CallSpan { span, .. }) = call.take_span() {
                close(&span.entered(), outcome, took);
            }
            return;
        }
        // Popped first: the subscriber may make calls, and must not find the list borrowed.
        let own = |running: &mut Running| running.correlation_id == call.correlation_id;
        if let Some(running) = RUNNING.with_borrow_mut(|all| all.pop_if(own)) {
            close(&running.span, outcome, took);
        }
    }
}

/// Adds the `traceparent` to calls without one.
impl CallerLayer for TracingLayer {
    fn before(&self, call: &mut OutgoingCall) -> Result<(), Box<dyn Error + Send + Sync>> {
        if call.metadata.get(KEY).is_some() {
            return Ok(());
        }
        let own = || TraceContext::current().unwrap_or_else(TraceContext::root).to_string();
        let text = self.inject.and_then(|inject| inject()).unwrap_or_else(own);
        // A call is worth more than its trace.
        if let Err(error) = call.metadata.insert(KEY, &text) {
            warn!(msg_type = call.msg_type, %error, "call sent without its trace");
        }
        Ok(())
    }
}

/// Records the outcome of a call.
fn close(span: &Span, outcome: &Outcome, took: Duration) {
    span.record("took_us", took.as_secs_f64() * 1e6);
    match outcome {
        Outcome::Replied(size) => {
            span.record("reply_size", size);
        }
        Outcome::Failed(kind) => failed(span, kind.name()),
        Outcome::CallerGone => failed(span, "CallerGone"),
    }
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
