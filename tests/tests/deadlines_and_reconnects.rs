//! Deadlines and reconnects, with servers that are slow, die, and restart.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tachyon::{CallError, Caller, ConnectError, ErrorKind, Options, Pool, PoolOptions, State};
use tachyon_tests::message::{length, message};
use tachyon_tests::process::Program;
use tachyon_tests::service::{ECHO, Place, RECORD, RECORD_AND_DIE_ONCE, SLEEP, STOP};
use tachyon_tests::test_run::{rerun, this_program};
use tachyon_tests::wait;
use tachyon_tests::wire::{accept, listener, receive};

const MOMENT: Duration = Duration::from_millis(20);
/// Longest that a call may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn place() -> Place {
    Place::new(Program(env!("CARGO_BIN_EXE_service")))
}

fn milliseconds(milliseconds: u64) -> [u8; 8] {
    milliseconds.to_le_bytes()
}

fn assert_echoes(caller: &mut Caller) {
    assert_eq!(&*caller.call(ECHO, b"still usable").unwrap(), b"still usable");
}

fn reconnecting(place: &Place) -> Caller {
    Caller::connect_with(place.socket(), &Options::new().reconnect(true)).unwrap()
}

#[test]
fn timeouts_leave_the_connection_usable() {
    let place = place();
    let _server = place.serve(4096);
    let mut caller = Caller::connect(place.socket()).unwrap();
    let mut soonest = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        let late = caller.call_timeout(SLEEP, &milliseconds(200), Duration::from_millis(10)).map(drop);
        assert!(matches!(late, Err(CallError::TimedOut { .. })), "{late:?}");
        soonest = soonest.min(started.elapsed());
        assert_echoes(&mut caller);
        assert_eq!(&*caller.call_timeout(ECHO, b"in time", Duration::from_secs(10)).unwrap(), b"in time");
        assert_eq!(caller.outstanding(), 0);
    }
    // A busy machine may delay one of the calls, not all.
    assert!(soonest < Duration::from_millis(150), "{soonest:?}");
}

#[test]
fn a_reconnecting_caller_outlasts_a_server_that_ends_in_the_first_handshake() {
    for reconnects in [false, true] {
        let place = place();
        let dying = listener(&place.socket()).unwrap();
        let options = Options::new().reconnect(reconnects).timeout(Duration::from_secs(30));
        let connecting = std::thread::spawn({
            let path = place.socket().clone();
            move || Caller::connect_with(path, &options)
        });
        let client = accept(&dying).unwrap();
        // The hello of the handshake. The caller now waits for the welcome.
        assert!(!receive(&client).unwrap().0.is_empty());
        std::fs::remove_file(place.socket()).unwrap();
        drop((dying, client));
        if reconnects {
            let _server = place.serve(4096);
            assert_echoes(&mut connecting.join().unwrap().unwrap());
        } else {
            let outcome = connecting.join().unwrap();
            assert!(matches!(outcome, Err(ConnectError::Closed { .. })), "{outcome:?}");
        }
    }
}

#[test]
fn a_request_past_its_deadline_is_skipped() {
    let place = place();
    let _server = place.serve(4096);
    let mut caller = Caller::connect(place.socket()).unwrap();
    let slow = caller.start(SLEEP, &milliseconds(60)).unwrap();
    let late = caller.start_timeout(RECORD, &1u64.to_le_bytes(), Duration::from_millis(5)).unwrap();
    let timely = caller.start_timeout(RECORD, &2u64.to_le_bytes(), Duration::from_secs(30)).unwrap();
    let endless = caller.start_timeout(RECORD, &3u64.to_le_bytes(), Duration::MAX).unwrap();
    drop(caller.finish(slow).unwrap());
    let refused = caller.finish(late).unwrap();
    assert_eq!(refused.error().unwrap().kind, ErrorKind::DeadlinePassed);
    drop(refused);
    assert_eq!(*caller.finish(timely).unwrap(), 2u64.to_le_bytes());
    assert_eq!(*caller.finish(endless).unwrap(), 3u64.to_le_bytes());
    assert_eq!(place.executed(), [2, 3]);
}

#[test]
fn a_deadline_takes_no_room() {
    let place = place();
    let _server = place.serve(4096);
    let mut caller = Caller::connect(place.socket()).unwrap();
    let limit = Duration::from_mins(1);
    assert_eq!(caller.max_len(), 4096);
    for size in 0..=4096 {
        let sent = message(1, size);
        assert_eq!(*caller.call_timeout(ECHO, &sent, limit).unwrap(), *sent);
    }
    for size in [4097, 5000] {
        let refused = caller.call_timeout(ECHO, &message(1, size), limit).map(drop);
        assert!(matches!(refused, Err(CallError::TooLarge { size: told, max: 4096 }) if told == size), "{refused:?}");
    }
    // As many calls in flight as the ring holds: a deadline takes no room of the arena.
    let calls: Vec<_> = (0..3000)
        .map(|number| caller.start_timeout(ECHO, &message(number, length(number, 4096)), limit).unwrap())
        .collect();
    for (number, call) in (0..).zip(calls) {
        assert_eq!(*caller.finish(call).unwrap(), *message(number, length(number, 4096)));
    }
}

#[test]
fn connects_again_after_a_death() {
    let place = place();
    let server = place.serve(4096);
    let mut caller = reconnecting(&place);
    let answered = caller.start(ECHO, b"answered before the end").unwrap();
    assert_echoes(&mut caller);
    let lost = caller.start(SLEEP, &milliseconds(60_000)).unwrap();
    let behind = caller.start(ECHO, b"behind it").unwrap();
    let forgotten = caller.start(ECHO, b"forgotten").unwrap();
    caller.forget(forgotten);
    std::thread::sleep(MOMENT);
    server.kill();
    let _server = place.serve(8192);

    let next = caller.start(ECHO, b"to the next one").unwrap();
    assert_eq!(next, forgotten + 1, "ids never repeat");
    assert_eq!(caller.max_len(), 8192);
    assert_eq!(&*caller.finish(next).unwrap(), b"to the next one");
    assert_eq!(&*caller.finish(answered).unwrap(), b"answered before the end");
    for call in [lost, behind] {
        assert!(matches!(caller.finish_timeout(call, MOMENT), Err(CallError::PeerDead { .. })));
        assert!(matches!(caller.try_finish(call), Err(CallError::UnknownCorrelation(_))), "reported once");
    }
    assert!(matches!(caller.finish(forgotten), Err(CallError::UnknownCorrelation(_))));
    assert_eq!(caller.outstanding(), 0);
    let mut guard = caller.reserve_call(ECHO, 5000).unwrap();
    guard[..2].copy_from_slice(b"ok");
    let call = guard.commit(2).unwrap();
    assert_eq!(&*caller.finish(call).unwrap(), b"ok");
}

#[test]
fn connects_again_after_an_orderly_restart() {
    let place = place();
    let mut caller = None;
    for _ in 0..5 {
        let server = place.serve(4096);
        let caller = caller.get_or_insert_with(|| reconnecting(&place));
        assert_echoes(caller);
        // Both requests are in the ring before the server, which is busy, reads the first of them.
        let busy = caller.start(SLEEP, &milliseconds(200)).unwrap();
        let stopped = caller.start(STOP, b"").unwrap();
        let refused = caller.start(ECHO, b"after the stop").unwrap();
        drop(caller.finish(busy).unwrap());
        drop(caller.finish(stopped).unwrap());
        match caller.finish(refused) {
            Ok(reply) => assert_eq!(reply.error().unwrap().kind, ErrorKind::Stopping),
            Err(error) => assert!(matches!(error, CallError::Closed { .. }), "{error:?}"),
        }
        server.finish();
    }
}

#[test]
fn a_missing_server_is_reported_and_tried_again() {
    let place = place();
    let server = place.serve(4096);
    let options = Options::new().reconnect(true).timeout(Duration::from_millis(200));
    let mut caller = Caller::connect_with(place.socket(), &options).unwrap();
    assert_echoes(&mut caller);
    server.kill();
    std::thread::sleep(MOMENT);
    for _ in 0..2 {
        let missing = caller.call(ECHO, b"").map(drop);
        assert!(matches!(&missing, Err(CallError::Unreachable { path, .. }) if *path == place.socket()), "{missing:?}");
    }
    let mut soonest = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        let missing = caller.call_timeout(ECHO, b"", Duration::from_millis(20)).map(drop);
        // The error names the cause, that no process listens, and not the timeout.
        assert!(matches!(&missing, Err(CallError::Unreachable { path, .. }) if *path == place.socket()), "{missing:?}");
        assert!(!missing.unwrap_err().sent());
        soonest = soonest.min(started.elapsed());
    }
    // A busy machine may delay one of the calls, not all.
    assert!(soonest < Duration::from_millis(150), "the call's timeout limits the reconnect: {soonest:?}");
    let _server = place.serve(4096);
    std::thread::sleep(Duration::from_millis(100));
    assert_echoes(&mut caller);
}

#[test]
fn a_request_that_a_stopping_server_has_not_begun_goes_to_the_next_one() {
    let place = place();
    let mut server = place.serve(4096);
    for number in 1..=3u64 {
        let mut caller = reconnecting(&place);
        assert_echoes(&mut caller);
        let mut other = Caller::connect(place.socket()).unwrap();
        // Both requests are in the ring before the server, which is busy, reads the stop.
        let busy = other.start(SLEEP, &milliseconds(200)).unwrap();
        let stopped = other.start(STOP, b"").unwrap();
        let next = std::thread::scope(|scope| {
            let called = scope.spawn(move || {
                std::thread::sleep(MOMENT);
                caller.call_timeout(RECORD, &number.to_le_bytes(), PATIENCE).map(|reply| reply.to_vec())
            });
            drop(other.finish(busy));
            drop(other.finish(stopped));
            drop(server.finish());
            let next = place.serve(4096);
            assert_eq!(called.join().unwrap().unwrap(), number.to_le_bytes());
            next
        });
        server = next;
    }
    // Each request is executed once, although it was sent twice.
    assert_eq!(place.executed(), [1, 2, 3]);
}

#[test]
fn an_error_says_whether_the_request_was_sent() {
    let place = place();
    let server = place.serve(4096);
    let mut caller = Caller::connect(place.socket()).unwrap();
    let mut other = Caller::connect(place.socket()).unwrap();
    let timed_out = caller.call_timeout(SLEEP, &milliseconds(60_000), MOMENT).map(drop);
    assert!(matches!(timed_out, Err(CallError::TimedOut { sent: true })), "{timed_out:?}");
    // The server sleeps, so the ring fills up.
    let full = loop {
        if let Err(error) = caller.start_timeout(ECHO, &[0; 1000], MOMENT) {
            break error;
        }
    };
    assert!(matches!(full, CallError::TimedOut { sent: false }), "{full:?}");
    let call = other.start(ECHO, b"").unwrap();
    server.kill();
    assert!(matches!(other.finish(call), Err(CallError::PeerDead { sent: true })));
    assert!(matches!(other.start(ECHO, b""), Err(CallError::PeerDead { sent: false })));
    // The caller gave the call up before, and its request may have been served.
    let unknown = caller.finish(1).map(drop).unwrap_err();
    assert!(matches!(unknown, CallError::UnknownCorrelation(_)) && unknown.sent());
}

#[test]
fn a_caller_without_reconnect_never_connects_again() {
    let place = place();
    let server = place.serve(4096);
    let mut caller = Caller::connect(place.socket()).unwrap();
    assert_echoes(&mut caller);
    let call = caller.start(SLEEP, &milliseconds(60_000)).unwrap();
    server.kill();
    let _server = place.serve(4096);
    for _ in 0..2 {
        assert!(matches!(caller.finish(call), Err(CallError::PeerDead { .. })));
        assert!(matches!(caller.idempotent().call(ECHO, b""), Err(CallError::PeerDead { .. })));
    }
    assert_eq!(caller.state(), State::PeerDead);
}

#[test]
fn a_request_that_a_dead_server_may_have_taken_is_not_sent_again() {
    let place = place();
    let first = place.serve(4096);
    let mut caller = reconnecting(&place);
    let lost = caller.call(RECORD_AND_DIE_ONCE, &7u64.to_le_bytes()).map(drop);
    assert!(matches!(lost, Err(CallError::PeerDead { .. })), "{lost:?}");
    drop(first);
    let _server = place.serve(4096);
    assert_echoes(&mut caller);
    assert_eq!(place.executed(), [7]);
}

#[test]
fn an_idempotent_request_is_sent_again() {
    let place = place();
    let first = place.serve(4096);
    let mut caller = reconnecting(&place);
    std::thread::scope(|scope| {
        let answer =
            scope.spawn(|| caller.idempotent().call(RECORD_AND_DIE_ONCE, &7u64.to_le_bytes()).unwrap().to_vec());
        wait::until("the first request", PATIENCE, || !place.executed().is_empty());
        drop(first);
        let _server = place.serve(4096);
        assert_eq!(answer.join().unwrap(), 7u64.to_le_bytes());
        assert_eq!(place.executed(), [7, 7]);
    });
}

/// An answered request is executed once, and an unanswered request at most once.
#[test]
fn nothing_is_executed_twice_while_servers_come_and_go() {
    let place = place();
    let mut server = place.serve(4096);
    let done = AtomicBool::new(false);
    let (answered, lost) = std::thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let mut caller = reconnecting(&place);
            let (mut answered, mut lost) = (Vec::new(), 0);
            for number in 0u64.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                match caller.call(RECORD, &number.to_le_bytes()) {
                    Ok(reply) => {
                        assert_eq!(*reply, number.to_le_bytes());
                        answered.push(number);
                    }
                    Err(CallError::PeerDead { .. } | CallError::Closed { .. }) => lost += 1,
                    // The server did not begin the request.
                    Err(CallError::Remote(error)) if error.kind == ErrorKind::Stopping => {}
                    Err(error) => panic!("{number}: {error}"),
                }
            }
            (answered, lost)
        });
        for round in 0..12u64 {
            std::thread::sleep(Duration::from_millis(30 + round * 7 % 20));
            if round % 3 == 2 {
                let mut stopping = Caller::connect(place.socket()).unwrap();
                drop(stopping.call(STOP, b""));
                server.finish();
            } else {
                server.kill();
            }
            server = place.serve(4096);
        }
        std::thread::sleep(MOMENT);
        done.store(true, Ordering::Relaxed);
        calling.join().unwrap()
    });
    let executed = place.executed();
    let once: HashSet<u64> = executed.iter().copied().collect();
    assert_eq!(once.len(), executed.len(), "executed twice");
    assert!(answered.iter().all(|number| once.contains(number)), "answered without being executed");
    assert!(answered.len() > 100, "{} answered", answered.len());
    assert!(
        lost <= 24,
        "{lost} lost to 12 ends: each loses the call in flight, and at most one sent to a server that is ending"
    );
}

/// A daemon changes its working directory after it was given a path.
#[test]
fn a_relative_path_is_made_absolute_once() {
    const ALONE: &str = "TACHYON_TEST_RELATIVE_PATH";
    if std::env::var_os(ALONE).is_some() {
        return change_the_directory();
    }
    // In its own process, since the working directory is the process's.
    rerun(this_program(), "a_relative_path_is_made_absolute_once", ALONE, "1");
}

fn change_the_directory() {
    let place = place();
    let socket = place.socket();
    let server = place.serve(4096);
    std::env::set_current_dir(socket.parent().unwrap()).unwrap();
    let relative = socket.file_name().unwrap();
    let options = Options::new().reconnect(true);
    let mut caller = Caller::connect_with(relative, &options).unwrap();
    let pool = Pool::new(relative, &options, &PoolOptions::new());
    std::env::set_current_dir("/").unwrap();
    server.kill();
    // Time for the caller to notice the death.
    std::thread::sleep(MOMENT);
    let _server = place.serve(4096);
    assert_echoes(&mut caller);
    assert_eq!(pool.call(ECHO, b"pool").unwrap(), b"pool");
}
