//! The spans and events of `tracing` from a server whose callers are in another process.
#![allow(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use tachyon::{Dispatcher, RpcServer, ServerOptions, TracingLayer};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::temporary::socket;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

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
            "pid" | "uid" => {}
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
    assert!(tachyon::Caller::connect(&path).is_err(), "there is one caller already");
    first.kill();
    // The place of the dead caller is free when the server has noticed the death.
    let mut second = loop {
        match tachyon::Caller::connect(&path) {
            Ok(caller) => break caller,
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
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
