//! Layers around calls, and control requests, between two processes.
#![allow(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tachyon::dispatch::Outcome;
use tachyon::{
    CallError, Caller, Context, Dispatcher, ErrorKind, HandlerError, Layer, RpcServer, ServerOptions, Stopper,
    endpoints, tachyon_rpc,
};
use tachyon_tests::process::Program;
use tachyon_tests::raw_caller::RawCaller;
use tachyon_tests::server::{self, Serving};
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;

const STATS_PEER: Program = Program(env!("CARGO_BIN_EXE_stats_peer"));

/// Logs the calls that a layer sees.
#[derive(Default)]
struct CallLog {
    name: &'static str,
    entries: Arc<Mutex<Vec<String>>>,
    details: Mutex<Vec<(CallEntry, Outcome, Duration)>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct CallEntry {
    msg_type: u16,
    name: String,
    caller: tachyon::dispatch::CallerInfo,
    size: usize,
    remaining: Option<Duration>,
}

impl Layer for CallLog {
    fn before(&self, call: &Context<'_>) -> Result<(), HandlerError> {
        self.entries.lock().unwrap().push(format!("{} before {}", self.name, call.correlation_id));
        Ok(())
    }

    fn after(&self, call: &Context<'_>, outcome: &Outcome, took: Duration) {
        self.entries.lock().unwrap().push(format!("{} after {}", self.name, call.correlation_id));
        let entry = CallEntry {
            msg_type: call.msg_type,
            name: call.name.to_owned(),
            caller: call.caller,
            size: call.request_size,
            remaining: call.remaining(),
        };
        self.details.lock().unwrap().push((entry, *outcome, took));
    }
}

fn dispatcher() -> Dispatcher {
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
    dispatcher.register(2, "fail", |_: &[u8]| Err::<(), _>("on purpose")).unwrap();
    dispatcher.register(3, "nap", |_: &[u8]| std::thread::sleep(Duration::from_millis(20))).unwrap();
    dispatcher
}

/// A server at `path` in a thread of this process.
fn serve(path: &Path, dispatcher: Dispatcher) -> (Stopper, Serving) {
    server::serve(RpcServer::listen_with(path, ServerOptions::new().stats(false)).unwrap(), dispatcher, 1)
}

#[test]
fn layers_see_every_call_in_order() {
    let (_folder, path) = socket();
    let entries = Arc::default();
    let outer = Arc::new(CallLog { name: "outer", entries: Arc::clone(&entries), ..CallLog::default() });
    let inner = Arc::new(CallLog { name: "inner", entries: Arc::clone(&entries), ..CallLog::default() });
    let mut dispatcher = dispatcher();
    dispatcher.layer(Arc::clone(&outer)).layer(Arc::clone(&inner));
    let (stopper, serving) = serve(&path, dispatcher);
    let mut other = STATS_PEER.start("caller", &path, &["1", "1"]);
    assert_eq!(other.line(), "called");
    let mut caller = Caller::connect(&path).unwrap();
    caller.call(1, b"hello").unwrap();
    assert!(caller.call(2, b"").is_err());
    assert!(caller.call(7, b"").is_err());
    caller.call_timeout(3, b"", Duration::from_mins(1)).unwrap();
    caller.ping(Duration::from_secs(10)).unwrap();
    stopper.stop();
    serving.join().unwrap().unwrap();

    let seen = entries.lock().unwrap();
    assert_eq!(seen[..4], ["outer before 1", "inner before 1", "inner after 1", "outer after 1"]);
    assert_eq!(seen.len(), 5 * 4, "five calls, and no control request: {seen:?}");
    let details = inner.details.lock().unwrap();
    let outcomes: Vec<_> = details.iter().map(|(call, outcome, _)| (call.name.as_str(), *outcome)).collect();
    assert_eq!(
        outcomes,
        [
            ("echo", Outcome::Replied(8)),
            ("echo", Outcome::Replied(5)),
            ("fail", Outcome::Failed(ErrorKind::HandlerFailed)),
            ("", Outcome::Failed(ErrorKind::NoHandler)),
            ("nap", Outcome::Replied(0)),
        ]
    );
    let (first, second) = (&details[0].0, &details[1].0);
    assert_eq!((first.caller.id, first.caller.pid, first.size), (1, Some(other.id()), 8));
    assert_eq!((second.caller.id, second.caller.pid, second.size), (2, Some(std::process::id()), 5));
    assert_eq!(second.caller.uid, Some(rustix::process::geteuid().as_raw()));
    assert_eq!((first.msg_type, first.remaining), (1, None));
    let (nap, _, took) = &details[4];
    assert!(*took >= Duration::from_millis(20) && *took < Duration::from_secs(20), "{took:?}");
    assert!(nap.remaining.unwrap() > Duration::from_secs(30));
}

#[test]
fn a_callee_has_layers_too() {
    let (_folder, path) = socket();
    let log = Arc::new(CallLog::default());
    let mut dispatcher = dispatcher();
    dispatcher.layer(Arc::clone(&log));
    let listen_at = path.clone();
    let serving = std::thread::spawn(move || {
        let mut callee = tachyon::Callee::listen(&listen_at, 4096, 4096).unwrap();
        dispatcher.serve_forever(&mut callee).unwrap();
    });
    let mut other = STATS_PEER.start("caller", &path, &["1", "3"]);
    assert_eq!(other.line(), "called");
    // The caller may receive its last reply before the layer sees the end of the call.
    wait::until("three calls", Duration::from_secs(10), || log.details.lock().unwrap().len() >= 3);
    let caller = log.details.lock().unwrap()[0].0.caller;
    assert_eq!((caller.id, caller.pid), (1, Some(other.id())));
    // A death of the caller is an error of the callee's loop.
    drop(other);
    assert!(serving.join().is_err());
}

/// Panics after each call, and in the destructor of the panic's payload.
struct Panicking;

impl Layer for Panicking {
    fn after(&self, _call: &Context<'_>, _outcome: &Outcome, _took: Duration) {
        std::panic::panic_any(PanicsWhenDropped);
    }
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn a_layer_that_panics_after_a_call_changes_no_reply() {
    let (_folder, path) = socket();
    let log = Arc::new(CallLog::default());
    let mut dispatcher = dispatcher();
    dispatcher.layer(Panicking).layer(Arc::clone(&log)).layer(Panicking);
    let (stopper, serving) = serve(&path, dispatcher);
    let mut caller = Caller::connect(&path).unwrap();
    for _ in 0..10 {
        assert_eq!(&*caller.call_timeout(1, b"hello", Duration::from_secs(20)).unwrap(), b"hello");
    }
    stopper.stop();
    serving.join().unwrap().unwrap();
    assert_eq!(log.entries.lock().unwrap().len(), 20);
}

/// Refuses every call without the right token, and panics without any.
struct Gate;

impl Layer for Gate {
    fn before(&self, call: &Context<'_>) -> Result<(), HandlerError> {
        match call.metadata().get("token") {
            Some("secret") => Ok(()),
            Some(_) => Err(HandlerError::new(ErrorKind::BadRequest, "the token is wrong")),
            None => panic!("no token"),
        }
    }
}

static HANDLED: AtomicU64 = AtomicU64::new(0);

#[tachyon_rpc(msg_type = 77)]
fn number() -> u64 {
    HANDLED.fetch_add(1, Ordering::Relaxed)
}

#[test]
fn a_refused_call_reaches_no_handler_and_only_the_layers_before_see_its_end() {
    let (_folder, path) = socket();
    let (outer, inner) = (Arc::new(CallLog::default()), Arc::new(CallLog::default()));
    let mut dispatcher = Dispatcher::new(endpoints![number]);
    dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
    let failures = Arc::new(Mutex::new(Vec::new()));
    let log_failure = Arc::clone(&failures);
    dispatcher.on_failure(move |failure| log_failure.lock().unwrap().push(failure.to_string()));
    dispatcher.layer(Arc::clone(&outer)).layer(Gate).layer(Arc::clone(&inner));
    let server = RpcServer::listen(&path).unwrap();
    let (stopper, serving) = server::serve(server, dispatcher, 1);
    let mut peer = RawCaller::connect(&path);
    assert_eq!(peer.call(1, b"payload", &[("token", "secret")]), Ok(b"payload".to_vec()));
    // A raw endpoint sends no text.
    assert_eq!(peer.call(1, b"payload", &[("token", "guessed")]), Err((ErrorKind::BadRequest, String::new())));
    let wrong = Err((ErrorKind::BadRequest, "the token is wrong".to_owned()));
    assert_eq!(peer.call(number::MSG_TYPE, b"", &[("token", "guessed")]), wrong);
    // Neither can it be found out which endpoints there are.
    assert_eq!(peer.call(999, b"", &[("token", "guessed")]), Err((ErrorKind::BadRequest, String::new())));
    assert_eq!(
        peer.call(number::MSG_TYPE, b"", &[]),
        Err((ErrorKind::HandlerFailed, "a layer panicked: no token".to_owned()))
    );
    assert_eq!(peer.call(1, b"payload", &[("token", "secret")]), Ok(b"payload".to_vec()));
    let observer = tachyon::stats::Observer::open(&path).unwrap();
    let endpoints = observer.snapshot().unwrap().endpoints;
    let counted: Vec<_> = endpoints.iter().map(|of| (of.name.clone(), of.calls, of.errors)).collect();
    let expected = [("echo", 3, 1), ("number", 2, 2), ("(others)", 1, 1)];
    assert_eq!(counted, expected.map(|(name, calls, errors)| (name.to_owned(), calls, errors)));
    stopper.stop();
    serving.join().unwrap().unwrap();
    assert_eq!(HANDLED.load(Ordering::Relaxed), 0);
    let ends = |log: &CallLog| log.details.lock().unwrap().iter().map(|(_, end, _)| *end).collect::<Vec<_>>();
    let (refused, failed) = (Outcome::Failed(ErrorKind::BadRequest), Outcome::Failed(ErrorKind::HandlerFailed));
    assert_eq!(ends(&outer), [Outcome::Replied(7), refused, refused, refused, failed, Outcome::Replied(7)]);
    assert_eq!(ends(&inner), [Outcome::Replied(7); 2]);
    let failures = failures.lock().unwrap().join("; ");
    assert_eq!(failures, "endpoint `number` (msg_type 77) failed: a layer panicked: no token");
}

#[test]
fn a_ping_needs_no_handler() {
    let (_folder, path) = socket();
    let server = STATS_PEER.start("server", &path, &["2", "not counted"]);
    let mut caller = Caller::connect(&path).unwrap();
    let call = caller.start(1, b"under way").unwrap();
    for _ in 0..100 {
        assert!(caller.ping(Duration::from_secs(20)).unwrap() < Duration::from_secs(20));
    }
    assert_eq!(&*caller.finish(call).unwrap(), b"under way");
    // A busy callee answers a ping late, and the caller drops the late answer.
    let nap = caller.start(3, &3_000_000u64.to_le_bytes()).unwrap();
    let began = Instant::now();
    assert!(matches!(caller.ping(Duration::from_millis(5)), Err(CallError::TimedOut { .. })));
    assert!(began.elapsed() < Duration::from_secs(2));
    drop(caller.finish(nap).unwrap());
    caller.ping(Duration::from_secs(20)).unwrap();
    assert_eq!(caller.outstanding(), 0);
    drop(server);
}

#[test]
fn a_hand_written_loop_never_sees_control_requests() {
    for how in ["waiting", "timed", "trying"] {
        let (_folder, path) = socket();
        let callee = STATS_PEER.start("hand_written_callee", &path, &[how]);
        let mut caller = Caller::connect(&path).unwrap();
        for number in 0..50u64 {
            caller.ping(Duration::from_secs(20)).unwrap();
            assert_eq!(*caller.call(1, b"").unwrap(), number.to_le_bytes());
        }
        drop(caller);
        assert_eq!(callee.finish(), "50", "{how}");
    }
}

#[test]
fn serve_once_does_not_count_a_ping() {
    let (_folder, path) = socket();
    let listen_at = path.clone();
    let serving = std::thread::spawn(move || {
        let mut callee = tachyon::Callee::listen(&listen_at, 4096, 4096).unwrap();
        let mut dispatcher = dispatcher();
        dispatcher.serve_once(&mut callee).unwrap();
        let mut pings = 0;
        while let Err(error) = dispatcher.serve_once_timeout(&mut callee, Duration::from_millis(1)) {
            assert!(matches!(error, tachyon::ServeError::TimedOut), "{error}");
            pings += 1;
        }
        pings
    });
    let mut caller = Caller::connect(&path).unwrap();
    for _ in 0..10 {
        caller.ping(Duration::from_secs(20)).unwrap();
    }
    assert_eq!(&*caller.call(1, b"first").unwrap(), b"first");
    // Pings in a row do not keep the callee from its timeout.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(500) {
        caller.ping(Duration::from_secs(20)).unwrap();
    }
    assert_eq!(&*caller.call(1, b"second").unwrap(), b"second");
    assert!(serving.join().unwrap() > 1, "serve_once_timeout never timed out");
}
