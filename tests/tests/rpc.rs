//! Calls between two processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tachyon::type_id::MSG_TYPE_ERROR;
use tachyon::{CallError, Callee, Caller, Dispatcher, ErrorKind, PollingMode, RpcBus, ServeError, State};
use tachyon_tests::message::{length, message};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::temporary::socket;

const PEER: Program = Program(env!("CARGO_BIN_EXE_peer"));

/// A callee in another process, with 4 KiB each way.
fn callee(path: &Path) -> Peer {
    PEER.start("callee", path, &["4096", "4096", "adaptive", "no text"])
}

fn assert_echoes(caller: &mut Caller) {
    assert_eq!(&*caller.call(1, b"still usable").unwrap(), b"still usable");
}

#[test]
fn every_size_comes_back() {
    for mode in ["adaptive", "park", "spins"] {
        let (_folder, path) = socket();
        let callee = PEER.start("callee", &path, &["4096", "4096", mode, "no text"]);
        let mut caller = Caller::connect(&path).unwrap();
        for number in 0..2000 {
            let sent = message(number, length(number, 4096));
            assert_eq!(*caller.call(1, &sent).unwrap(), *sent);
        }
        assert_eq!(caller.outstanding(), 0);
        drop(caller);
        assert_eq!(callee.finish(), "closed");
    }
}

#[test]
fn either_side_may_listen() {
    let (_folder, path) = socket();
    let other = PEER.start("calling_listener", &path, &[]);
    let mut callee = Callee::connect(&path).unwrap();
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
    dispatcher.serve_forever(&mut callee).unwrap();
    assert_eq!(other.finish(), "turned around");

    let (_folder, path) = socket();
    let other = PEER.start("unassigned_callee", &path, &[]);
    let mut caller = RpcBus::connect(&path).unwrap().into_caller().unwrap();
    assert_echoes(&mut caller);
    drop(caller);
    other.finish();
}

#[test]
fn replies_in_any_order_reach_their_call() {
    let (_folder, path) = socket();
    let callee = PEER.start("reversing_callee", &path, &["100"]);
    let mut caller = Caller::connect(&path).unwrap();
    let calls: Vec<_> = (0..100u16).map(|number| caller.start(number, &number.to_le_bytes()).unwrap()).collect();
    assert_eq!(calls, (1..=100).collect::<Vec<u64>>());
    for (number, call) in (0u16..).zip(calls) {
        let reply = caller.finish(call).unwrap();
        assert_eq!((reply.correlation_id(), reply.msg_type()), (call, number));
        assert_eq!(*reply, number.to_le_bytes());
    }
    drop(caller);
    callee.finish();
}

#[test]
fn ten_thousand_calls_pipeline_through_four_kilobytes() {
    let (_folder, path) = socket();
    let callee = callee(&path);
    let mut caller = Caller::connect(&path).unwrap();
    let calls: Vec<_> = (0..10_000u64).map(|number| caller.start(1, &message(number, 50)).unwrap()).collect();
    assert_eq!(caller.outstanding(), 10_000);
    for (number, call) in (0..).zip(calls) {
        assert_eq!(*caller.finish(call).unwrap(), *message(number, 50));
    }
    assert_eq!(caller.outstanding(), 0);
    drop(caller);
    callee.finish();
}

#[test]
fn every_failure_is_answered_and_the_connection_stays_usable() {
    for with_text in [false, true] {
        let (_folder, path) = socket();
        let callee =
            PEER.start("callee", &path, &["4096", "4096", "adaptive", if with_text { "text" } else { "no text" }]);
        let mut caller = Caller::connect(&path).unwrap();
        // Raw endpoints, and numbers without an endpoint, answer with an error reply of two bytes, which any caller
        // reads.
        for (msg_type, kind) in [
            (404, ErrorKind::NoHandler),
            (2, ErrorKind::HandlerFailed),
            (3, ErrorKind::HandlerFailed),
            (4, ErrorKind::ReplyTooLarge),
        ] {
            let error = match caller.call(msg_type, b"abc") {
                Err(CallError::Remote(error)) => error,
                other => panic!("{msg_type}: {other:?}"),
            };
            assert_eq!((error.kind, error.msg_type), (kind, msg_type));
            assert_eq!(error.text, "", "{error:?}");
            assert_echoes(&mut caller);

            let call = caller.start(msg_type, b"abc").unwrap();
            let reply = caller.finish(call).unwrap();
            assert_eq!(reply.msg_type(), MSG_TYPE_ERROR);
            assert_eq!(*reply, msg_type.to_be_bytes());
        }
        assert_eq!(caller.state(), State::Open);
        drop(caller);
        assert_eq!(callee.finish(), "closed");
    }
}

#[test]
fn bad_arguments_are_refused_before_anything_is_sent() {
    let (_folder, path) = socket();
    let callee = callee(&path);
    let mut caller = Caller::connect(&path).unwrap();
    assert!(matches!(caller.start(MSG_TYPE_ERROR, b""), Err(CallError::ReservedMsgType)));
    assert!(matches!(caller.start(1, &[0; 4097]), Err(CallError::TooLarge { size: 4097, max: 4096 })));
    assert!(matches!(caller.finish(0), Err(CallError::UnknownCorrelation(0))));
    assert!(matches!(caller.finish(7), Err(CallError::UnknownCorrelation(7))));
    let call = caller.start(1, b"x").unwrap();
    drop(caller.finish(call).unwrap());
    assert!(matches!(caller.finish(call), Err(CallError::UnknownCorrelation(_))), "waited for twice");
    let guard = caller.reserve_call(1, 10).unwrap();
    assert!(guard.commit(11).is_err());
    let mut guard = caller.reserve_call(1, 10).unwrap();
    guard[..2].copy_from_slice(b"ok");
    let call = guard.commit(2).unwrap();
    assert_eq!(&*caller.finish(call).unwrap(), b"ok");
    assert_echoes(&mut caller);
    drop(callee);
}

#[test]
fn a_late_reply_is_dropped() {
    let (_folder, path) = socket();
    let callee = callee(&path);
    let mut caller = Caller::connect(&path).unwrap();
    for round in 0..5u64 {
        let slow = caller.call_timeout(6, &(60 + round).to_le_bytes(), Duration::from_millis(20)).map(drop);
        assert!(matches!(slow, Err(CallError::TimedOut { .. })), "{slow:?}");
        assert_eq!(caller.outstanding(), 0);
        assert_echoes(&mut caller);
    }
    let call = caller.start(6, &30u64.to_le_bytes()).unwrap();
    assert!(caller.try_finish(call).unwrap().is_none());
    assert!(caller.forget(call));
    assert!(!caller.forget(call));
    assert!(matches!(caller.finish(call), Err(CallError::UnknownCorrelation(_))));
    assert_echoes(&mut caller);
    drop(caller);
    callee.finish();
}

#[test]
fn a_callee_that_closes_or_dies_ends_the_wait() {
    let (_folder, path) = socket();
    let closing = PEER.start("closing_callee", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    assert!(matches!(caller.call(1, b""), Err(CallError::Closed { .. })));
    assert!(matches!(caller.call(1, b""), Err(CallError::Closed { .. })));
    closing.finish();

    let (_folder, path) = socket();
    let exiting = callee(&path);
    let mut caller = Caller::connect(&path).unwrap();
    let before = caller.start(1, b"answered before the end").unwrap();
    let last = caller.start(5, b"").unwrap();
    assert!(matches!(caller.finish(last), Err(CallError::PeerDead { .. })));
    assert_eq!(&*caller.finish(before).unwrap(), b"answered before the end");
    assert!(matches!(caller.start(1, b""), Err(CallError::PeerDead { .. })));
    exiting.finish();

    for mode in [PollingMode::Park, PollingMode::Adaptive, PollingMode::Spin] {
        let (_folder, path) = socket();
        let killed = callee(&path);
        let mut caller = Caller::connect(&path).unwrap();
        caller.set_polling_mode(mode);
        let waiter = std::thread::spawn(move || caller.call(6, &60_000u64.to_le_bytes()).map(drop));
        std::thread::sleep(Duration::from_millis(50));
        let at = Instant::now();
        killed.kill();
        assert!(matches!(waiter.join().unwrap(), Err(CallError::PeerDead { .. })), "{mode:?}");
        assert!(at.elapsed() < Duration::from_secs(2), "{mode:?}");
    }
}

#[test]
fn a_callee_reports_a_closed_and_a_dead_caller() {
    let (_folder, path) = socket();
    let other = PEER.start("callee", &path, &["4096", "4096", "park", "no text"]);
    drop(Caller::connect(&path).unwrap());
    assert_eq!(other.finish(), "closed");

    let (_folder, path) = socket();
    let caller = PEER.start("calling_listener", &path, &[]);
    let mut callee = Callee::connect(&path).unwrap();
    let request = callee.serve().unwrap();
    let call = request.correlation_id();
    drop(request);
    caller.kill();
    assert!(matches!(callee.serve(), Err(ServeError::PeerDead)));
    assert!(matches!(callee.reply(0, 1, b""), Err(ServeError::InvalidCorrelation(0))));
    assert!(matches!(callee.reply(call + 1, 1, b""), Err(ServeError::InvalidCorrelation(_))));
    assert!(matches!(callee.reply(call, 1, b""), Err(ServeError::PeerDead)));
}

#[test]
fn a_callee_waits_for_room_in_a_full_reverse_ring() {
    let (_folder, path) = socket();
    let callee = PEER.start("callee", &path, &["65536", "64", "adaptive", "no text"]);
    let mut caller = Caller::connect(&path).unwrap();
    // The ring of 64 slots holds 64 replies. The callee waits for room for the others until this side takes replies.
    let calls: Vec<_> = (0..1000u64).map(|number| caller.start(1, &message(number, 64)).unwrap()).collect();
    std::thread::sleep(Duration::from_millis(20));
    for (number, call) in (0..).zip(calls) {
        assert_eq!(*caller.finish(call).unwrap(), *message(number, 64));
    }
    drop(caller);
    callee.finish();
}

/// Ends a caller that has sent its requests: kills it, or waits until it has closed.
fn end_caller(caller: Peer, then: &str) {
    if then == "hang" {
        caller.kill();
    } else {
        caller.finish();
    }
}

#[test]
fn requests_of_a_departed_caller_are_served() {
    // The small ring has room for one such reply, and no caller makes room for the second.
    for (then, reverse) in [("hang", 4096), ("hang", 128), ("close", 4096), ("close", 128)] {
        let (_folder, path) = socket();
        let mut caller = PEER.start("calls_then", &path, &["20", then]);
        let mut callee = Callee::listen(&path, 1 << 16, reverse).unwrap();
        assert_eq!(caller.line(), "sent");
        end_caller(caller, then);
        let served = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&served);
        let mut dispatcher = Dispatcher::default();
        dispatcher
            .register(1, "echo", move |request: &[u8]| {
                let number = counted.fetch_add(1, Ordering::Relaxed);
                assert_eq!(*request, *message(number, 100));
                request.to_vec()
            })
            .unwrap();
        let outcome = dispatcher.serve_forever(&mut callee);
        let end = match outcome {
            Ok(()) => "close",
            Err(ServeError::PeerDead) => "hang",
            Err(other) => panic!("{other}"),
        };
        assert_eq!((end, served.load(Ordering::Relaxed)), (then, 20), "{reverse}");
    }
}

#[test]
fn a_server_serves_requests_of_a_departed_caller() {
    for (then, reverse) in [("hang", 4096), ("hang", 128), ("close", 4096), ("close", 128)] {
        let (_folder, path) = socket();
        let options = tachyon::ServerOptions::new().ring_sizes(1 << 16, reverse);
        let mut server = tachyon::RpcServer::listen_with(&path, options).unwrap();
        let stopper = server.stopper();
        let served = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&served);
        let (gone, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let mut dispatcher = Dispatcher::default();
        dispatcher
            .register(1, "echo", move |request: &[u8]| {
                // The first request takes until its caller is gone.
                let _ = wait.lock().unwrap().recv();
                let number = counted.fetch_add(1, Ordering::Relaxed);
                assert_eq!(*request, *message(number, 100));
                if number == 19 {
                    stopper.stop();
                }
                request.to_vec()
            })
            .unwrap();
        let serving = std::thread::spawn(move || dispatcher.serve_forever(&mut server));
        let mut caller = PEER.start("calls_then", &path, &["20", then]);
        assert_eq!(caller.line(), "sent");
        end_caller(caller, then);
        drop(gone);
        serving.join().unwrap().unwrap();
        assert_eq!(served.load(Ordering::Relaxed), 20, "{then} {reverse}");
    }
}

#[test]
fn requests_behind_a_ping_of_a_dead_caller_are_served() {
    for waits in [true, false] {
        let (_folder, path) = socket();
        let mut caller = PEER.start("ping_then_calls", &path, &["5"]);
        let mut callee = Callee::listen(&path, 4096, 4096).unwrap();
        assert_eq!(caller.line(), "sent");
        caller.kill();
        assert_eq!(callee.state(), State::PeerDead);
        for number in 0..5 {
            let request = if waits { callee.serve().unwrap() } else { callee.try_serve().unwrap().unwrap() };
            assert_eq!(*request, *message(number, 100));
        }
        assert!(matches!(callee.serve(), Err(ServeError::PeerDead)));
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

#[test]
fn a_reply_whose_wait_was_interrupted_is_not_lost() {
    let (_folder, path) = socket();
    let listen_at = path.clone();
    let callee = std::thread::spawn(move || {
        let mut callee = Callee::listen(&listen_at, 1 << 16, 64).unwrap();
        callee.set_interrupt(Some(|| INTERRUPTED.load(Ordering::Relaxed)));
        let mut dispatcher = Dispatcher::default();
        dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
        dispatcher.register(2, "fail", |_: &[u8]| Err::<(), _>("always")).unwrap();
        let mut interruptions = 0;
        loop {
            match dispatcher.serve_forever(&mut callee) {
                Err(ServeError::Interrupted) => interruptions += 1,
                end => return (end, interruptions),
            }
        }
    });
    let mut caller = Caller::connect(&path).unwrap();
    // The ring holds one reply of this length. The second reply waits for room, and its wait is interrupted many times.
    let calls: Vec<_> = (0..20u64).map(|number| caller.start(1, &message(number, 60)).unwrap()).collect();
    let failed = caller.start(2, b"").unwrap();
    INTERRUPTED.store(true, Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(150));
    INTERRUPTED.store(false, Ordering::Relaxed);
    for (number, call) in (0..).zip(calls) {
        assert_eq!(*caller.finish_timeout(call, Duration::from_secs(10)).unwrap(), *message(number, 60));
    }
    assert!(caller.finish_timeout(failed, Duration::from_secs(10)).unwrap().error().is_some());
    drop(caller);
    let (end, interruptions) = callee.join().unwrap();
    end.unwrap();
    assert!(interruptions > 0, "the wait was never interrupted");
}

#[test]
fn a_flood_of_other_replies_does_not_extend_a_deadline() {
    let (_folder, path) = socket();
    let callee = PEER.start("flooding_callee", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    let call = caller.start(1, b"").unwrap();
    drop(caller.finish(call).unwrap());
    let call = caller.start(1, b"").unwrap();
    let started = Instant::now();
    assert!(matches!(caller.finish_timeout(call, Duration::from_millis(100)), Err(CallError::TimedOut { .. })));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    callee.kill();
}

#[test]
fn a_dispatcher_refuses_duplicate_and_reserved_message_types() {
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(1, "first", |_: &[u8]| ()).unwrap();
    let error = dispatcher.register(1, "second", |_: &[u8]| ()).unwrap_err();
    assert_eq!(error.to_string(), "msg_type 1 is already registered by `first`; give `second` another one");
    assert!(dispatcher.register(MSG_TYPE_ERROR, "third", |_: &[u8]| ()).is_err());
    assert_eq!(dispatcher.endpoints().collect::<Vec<_>>(), [(1, "first")]);
}
