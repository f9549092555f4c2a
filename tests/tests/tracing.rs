//! The spans and events of `tracing` from a server whose callers are in another process.
#![allow(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{Debug, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tachyon::rpc::{CallerLayer, OutgoingCall};
use tachyon::{Caller, Dispatcher, RpcServer, ServerOptions, TracingLayer};
use tachyon_tests::context::{ASYNC_RELAY, RELAY};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const PATIENCE: Duration = Duration::from_secs(30);

/// Logs each span when it ends, and each event with the span around it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    spans: BTreeMap<u64, String>,
    entered: Vec<u64>,
    lines: Vec<String>,
}

struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // These values differ between runs.
        match field.name() {
            "took_us" => self.0.push_str(" timed"),
            "pid" | "uid" | "trace_id" | "span_id" => {}
            "message" => write!(self.0, " {value:?}").unwrap(),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tachyon")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut notes = self.0.lock().unwrap();
        let id = notes.spans.len() as u64 + 1;
        let mut text = span.metadata().name().to_owned();
        span.record(&mut Words(&mut text));
        notes.spans.insert(id, text);
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut notes = self.0.lock().unwrap();
        values.record(&mut Words(notes.spans.get_mut(&span.into_u64()).unwrap()));
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut notes = self.0.lock().unwrap();
        let mut text = format!("{}:", event.metadata().level());
        event.record(&mut Words(&mut text));
        if !notes.entered.is_empty() {
            text.push_str(" (in a call)");
        }
        notes.lines.push(text);
    }

    fn enter(&self, span: &Id) {
        self.0.lock().unwrap().entered.push(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        let mut notes = self.0.lock().unwrap();
        assert_eq!(notes.entered.pop(), Some(span.into_u64()), "the innermost span ends first");
        let text = notes.spans[&span.into_u64()].clone();
        notes.lines.push(text);
    }
}

fn caller(path: &Path, msg_type: &str) -> Peer {
    let mut peer = Program(env!("CARGO_BIN_EXE_stats_peer")).start("caller", path, &[msg_type, "1"]);
    assert_eq!(peer.line(), "called");
    peer
}

#[test]
fn calls_are_spans_and_callers_are_events() {
    let (_folder, path) = socket();
    let log = Log::default();
    let mut server = RpcServer::listen_with(&path, ServerOptions::new().stats(false).max_callers(1)).unwrap();
    let stopper = server.stopper();
    let own = log.clone();
    let serving = std::thread::spawn(move || {
        let mut dispatcher = Dispatcher::default();
        dispatcher
            .register(1, "echo", |payload: &[u8]| {
                tracing::info!(target: "tachyon_user", "from the handler");
                payload.to_vec()
            })
            .unwrap();
        dispatcher
            .register(9, "stop", move |_: &[u8]| {
                stopper.stop();
                Err::<(), _>("stopped")
            })
            .unwrap();
        dispatcher.layer(TracingLayer::new());
        tracing::subscriber::with_default(own, || dispatcher.serve_forever(&mut server).unwrap());
    });
    let first = caller(&path, "1");
    assert!(Caller::connect(&path).is_err(), "there is one caller already");
    first.kill();
    // The place of the dead caller is free when the server has noticed the death.
    let mut second = loop {
        match Caller::connect(&path) {
            Ok(caller) => break caller,
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    assert!(second.call(9, b"").is_err());
    serving.join().unwrap();

    let notes = log.0.lock().unwrap();
    let mut lines: Vec<&str> = notes.lines.iter().map(String::as_str).collect();
    lines.dedup_by(|one, other| one == other && one.contains("rejected"));
    let call = "call name=\"echo\" msg_type=1 caller=1 correlation_id=1 request_size=8 timed reply_size=8";
    let failed = "call name=\"stop\" msg_type=9 caller=2 correlation_id=1 request_size=0 timed error=\"HandlerFailed\"";
    let rejected = lines.iter().position(|line| line.contains("client rejected")).unwrap();
    let [joined, handled, ended] = lines[..3] else { panic!("{lines:?}") };
    assert_eq!(joined, "INFO: caller joined caller=1");
    assert_eq!((handled, ended), ("INFO: from the handler (in a call)", call));
    assert_eq!(rejected, 3, "{lines:?}");
    // Attempts of the second caller may be rejected at any time.
    lines.retain(|line| !line.contains("rejected"));
    let lost = lines.iter().position(|line| *line == "WARN: caller lost caller=1 reason=Died").unwrap();
    assert_eq!(lines[lost + 1], "INFO: caller joined caller=2", "{lines:?}");
    assert_eq!(lines[lost + 2], "WARN: call failed error=\"HandlerFailed\" (in a call)", "{lines:?}");
    assert_eq!(lines[lost + 3], failed);
    assert_eq!(lines[lost + 4], "INFO: caller left caller=2");
    assert!(notes.entered.is_empty());
}

/// The parts of a `traceparent`: trace and span.
fn parts(traceparent: &str) -> (&str, &str) {
    let parts: Vec<_> = traceparent.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { panic!("{traceparent:?}") };
    assert_eq!((version, trace.len(), span.len(), flags), ("00", 32, 16, "01"), "{traceparent:?}");
    (trace, span)
}

#[test]
fn a_trace_goes_through_three_processes() {
    let program = Program(env!("CARGO_BIN_EXE_context_peer"));
    let (_folder, end) = socket();
    let _end = program.start("server", &end, &[]);
    let relay = end.with_extension("relay");
    let _relay = program.start("relay", &relay, &[end.to_str().unwrap()]);
    wait::for_file(&relay, PATIENCE);
    let mut caller = Caller::connect(&relay).unwrap();
    let relayed = |reply: &[u8]| {
        let reply = String::from_utf8(reply.to_vec()).unwrap();
        let (own, rest) = reply.split_once(' ').unwrap();
        let (_, next) = rest.split_once("traceparent=").unwrap();
        (own.to_owned(), next.to_owned())
    };
    // Without a trace of the caller, each call begins one.
    let (own, next) = relayed(&caller.call(RELAY, b"").unwrap());
    assert_eq!(own, next, "the call inside of the handler names the span of the handler's call");
    let (first, _) = parts(&own);
    let (other, _) = relayed(&caller.call(RELAY, b"").unwrap());
    assert_ne!(parts(&other).0, first);
    // The layer of the caller begins a trace, too, which both servers continue.
    let log = Arc::new(TraceLog::default());
    caller.layer(TracingLayer::new());
    caller.layer(Arc::clone(&log));
    for msg_type in [RELAY, ASYNC_RELAY] {
        let (own, next) = relayed(&caller.call(msg_type, b"").unwrap());
        let sent = log.0.lock().unwrap().pop().unwrap();
        assert_eq!(own, next);
        assert_eq!(parts(&own).0, parts(&sent).0, "one trace");
        assert_ne!(parts(&own).1, parts(&sent).1, "the relay has a span of its own");
    }
    // Handlers that run side by side keep their traces apart.
    let calls: Vec<_> = (0..8).map(|_| caller.start(ASYNC_RELAY, b"").unwrap()).collect();
    let sent = std::mem::take(&mut *log.0.lock().unwrap());
    for (call, sent) in calls.into_iter().zip(sent) {
        let (own, next) = relayed(&caller.finish_timeout(call, PATIENCE).unwrap());
        assert_eq!((parts(&own).0, own.as_str()), (parts(&sent).0, next.as_str()));
    }
    // A `traceparent` of the user's goes first, and a text of another form begins a trace.
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (own, next) = relayed(&caller.metadata("traceparent", given).call(RELAY, b"").unwrap());
    assert_eq!((parts(&own).0, &own), (parts(given).0, &next));
    let (own, _) = relayed(&caller.metadata("traceparent", "mine").call(RELAY, b"").unwrap());
    assert_eq!(parts(&own).0.len(), 32);
    // So does a call whose metadata has no room for the trace.
    let long = "x".repeat(1000);
    let (own, _) = relayed(&caller.metadata("note", &long).call(RELAY, b"").unwrap());
    assert_eq!(parts(&own).0.len(), 32);
}

/// The `traceparent` of each call that is sent.
#[derive(Default)]
struct TraceLog(Mutex<Vec<String>>);

impl CallerLayer for TraceLog {
    fn before(&self, call: &mut OutgoingCall) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.lock().unwrap().push(call.metadata.get("traceparent").unwrap_or_default().to_owned());
        Ok(())
    }
}

static EXTRACTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn the_span_of_an_async_handler_has_its_events_and_a_tracer_may_take_the_parent() {
    let (_folder, path) = socket();
    let log = Log::default();
    let mut server = RpcServer::listen_with(&path, ServerOptions::new().stats(false)).unwrap();
    let stopper = server.stopper();
    let own = log.clone();
    let serving = std::thread::spawn(move || {
        let mut dispatcher = Dispatcher::default();
        dispatcher
            .register_async(1, "later", async |_: Vec<u8>| {
                tracing::info!(target: "tachyon_user", "first");
                tokio::task::yield_now().await;
                tracing::info!(target: "tachyon_user", "second");
            })
            .unwrap();
        let extract: fn(&tracing::Span, &str) = |_, parent| EXTRACTED.lock().unwrap().push(parent.to_owned());
        dispatcher.layer(TracingLayer::new().extract(extract));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tracing::subscriber::with_default(own, || {
            runtime.block_on(dispatcher.serve_async(&mut server)).unwrap();
        });
    });
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let inject: fn() -> Option<String> = || Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    let mut caller = Caller::connect(&path).unwrap();
    caller.layer(TracingLayer::new().inject(inject));
    caller.call(1, b"").unwrap();
    drop(caller);
    wait::until("the end of the caller", PATIENCE, || {
        log.0.lock().unwrap().lines.iter().any(|line| line.contains("caller left"))
    });
    stopper.stop();
    serving.join().unwrap();
    assert_eq!(*EXTRACTED.lock().unwrap(), [given]);
    let notes = log.0.lock().unwrap();
    assert!(notes.entered.is_empty());
    let all = notes.lines.join("\n");
    for line in ["INFO: first (in a call)", "INFO: second (in a call)"] {
        assert!(all.contains(line), "{all}");
    }
    let ended = notes.lines.iter().filter(|line| line.contains("timed")).collect::<Vec<_>>();
    let [ended] = ended[..] else { panic!("{all}") };
    assert_eq!(
        ended,
        "call name=\"later\" msg_type=1 caller=1 correlation_id=1 request_size=0 parent_id=00f067aa0ba902b7 timed \
         reply_size=0"
    );
}
