//! Guards that are forgotten, as safe code may do with any value: their messages are given back by the next operation.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::mem::forget;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tachyon::{CallError, Callee, Caller, Receiver, RecvError, ServeError};
use tachyon_tests::hostile::{BUS, Connection, RPC, SINK, SOURCE, listener};
use tachyon_tests::{Peer, length, message};

/// For a test that stalls where it must not.
const PATIENCE: Duration = Duration::from_secs(30);

/// Many times the 64 slots of the rings here.
const MANY: u64 = 2000;

/// Longest message here. A ring of 4 KiB has room for a few of them.
const MOST: usize = 700;

fn socket() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.sock");
    (folder, path)
}

fn peer(role: &str, path: &Path, arguments: &[&str]) -> Peer {
    Peer::start(env!("CARGO_BIN_EXE_peer"), role, path, arguments)
}

/// A receiver, and another process that sends it [`MANY`] messages.
fn receiver(path: &Path) -> (Receiver, Peer) {
    let sender = peer("sender", path, &["connect", "0", &MOST.to_string(), &MANY.to_string(), "adaptive"]);
    (Receiver::listen(path, 4096).unwrap(), sender)
}

fn expected(number: u64) -> Vec<u8> {
    message(number, length(number, MOST))
}

#[test]
fn a_receiver_that_forgets_each_message_gets_each_once() {
    let (_folder, path) = socket();
    let (mut receiver, sender) = receiver(&path);
    let began = Instant::now();
    for number in 0..MANY {
        match number % 3 {
            0 => {
                let guard = receiver.recv_timeout(PATIENCE).unwrap();
                assert_eq!(*guard, *expected(number));
                forget(guard);
            }
            1 => loop {
                assert!(began.elapsed() < PATIENCE, "message {number}");
                let Some(guard) = receiver.try_recv().unwrap() else { continue };
                assert_eq!(*guard, *expected(number));
                forget(guard);
                break;
            },
            // Given back before and after one that is forgotten.
            _ => assert_eq!(*receiver.recv_timeout(PATIENCE).unwrap(), *expected(number)),
        }
    }
    assert!(matches!(receiver.recv_timeout(PATIENCE), Err(RecvError::Closed)));
    sender.finish();
}

#[test]
fn a_receiver_that_forgets_batches_gets_each_message_once() {
    let (_folder, path) = socket();
    let (mut receiver, sender) = receiver(&path);
    let mut seen = 0;
    while seen < MANY {
        // Single ones between the batches, forgotten as well.
        let guard = receiver.recv_timeout(PATIENCE).unwrap();
        assert_eq!(*guard, *expected(seen));
        forget(guard);
        seen += 1;
        if seen == MANY {
            break;
        }
        let batch = receiver.recv_batch_timeout(16, PATIENCE).unwrap();
        for view in &batch {
            assert_eq!(*view, *expected(seen));
            seen += 1;
        }
        forget(batch);
    }
    assert!(matches!(receiver.recv_timeout(PATIENCE), Err(RecvError::Closed)));
    sender.finish();
}

#[test]
fn a_callee_that_forgets_each_request_answers_each() {
    let (_folder, path) = socket();
    let caller = peer("caller", &path, &[&MANY.to_string(), &MOST.to_string()]);
    let mut callee = Callee::listen(&path, 4096, 4096).unwrap();
    for number in 0..MANY {
        let request = callee.serve_timeout(PATIENCE).unwrap();
        let (call, payload) = (request.correlation_id(), request.to_vec());
        assert_eq!(call, number + 1);
        forget(request);
        callee.reply(call, 1, &payload).unwrap();
    }
    assert!(matches!(callee.serve_timeout(PATIENCE), Err(ServeError::Closed)));
    assert_eq!(caller.finish(), MANY.to_string());
}

#[test]
fn a_caller_that_forgets_each_reply_gets_each() {
    let (_folder, path) = socket();
    let callee = peer("callee", &path, &["4096", "4096", "adaptive", "no text"]);
    let mut caller = Caller::connect(&path).unwrap();
    for number in 0..MANY {
        let reply = caller.call_timeout(1, &expected(number), PATIENCE).unwrap();
        assert_eq!(*reply, *expected(number));
        forget(reply);
    }
    assert_eq!(caller.outstanding(), 0);
    drop(caller);
    assert_eq!(callee.finish(), "closed");
}

#[test]
fn a_caller_that_forgets_replies_which_came_out_of_order_gets_each() {
    let (_folder, path) = socket();
    let callee = peer("reversing_callee", &path, &[&MANY.to_string()]);
    let mut caller = Caller::connect(&path).unwrap();
    let calls: Vec<_> = (0..MANY).map(|number| caller.start(1, &expected(number)).unwrap()).collect();
    // The first one is answered last: the others come before it, more than the ring holds.
    for (number, call) in (0..).zip(&calls) {
        let reply = caller.finish_timeout(*call, PATIENCE).unwrap();
        assert_eq!(*reply, *expected(number));
        forget(reply);
    }
    for call in calls {
        assert!(matches!(caller.try_finish(call), Err(CallError::UnknownCorrelation(_))), "seen twice");
    }
    drop(caller);
    callee.finish();
}

/// Replies in place and replies that were kept by turns, some of them forgotten.
#[test]
fn a_caller_that_forgets_some_replies_gets_each() {
    let (_folder, path) = socket();
    let callee = peer("callee", &path, &["4096", "4096", "adaptive", "no text"]);
    let mut caller = Caller::connect(&path).unwrap();
    for number in 0..MANY {
        let calls = [0, 1, 2].map(|of| caller.start(1, &(number * 3 + of).to_le_bytes()).unwrap());
        for (of, call) in [0, 1, 2].into_iter().zip(calls).rev() {
            let reply = caller.finish_timeout(call, PATIENCE).unwrap();
            assert_eq!(*reply, (number * 3 + of).to_le_bytes());
            if number % 3 != of {
                forget(reply);
            }
        }
    }
    assert_eq!(caller.outstanding(), 0);
    drop(caller);
    assert_eq!(callee.finish(), "closed");
}

#[test]
fn a_forgotten_reply_is_given_back_by_calls_alone() {
    let (_folder, path) = socket();
    let callee = peer("callee", &path, &["64", "64", "adaptive", "no text"]);
    let mut caller = Caller::connect(&path).unwrap();
    let call = caller.start(1, b"first").unwrap();
    forget(caller.finish(call).unwrap());
    // More than the rings hold, so that each has to make room for the next one.
    for number in 0..MANY {
        let called = caller.start_timeout(1, b"x", PATIENCE);
        assert!(called.is_ok(), "call {number}: {called:?}");
    }
    drop(caller);
    assert_eq!(callee.finish(), "closed");
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn the_next_wait_for_a_message_gives_the_forgotten_one_back() {
    for (end, at_once) in [("receiver", 1), ("batches", 5)] {
        let (_folder, path) = socket();
        let listening = listener(&path).unwrap();
        let _receiver = peer("forgetting", &path, &[end]);
        let connection = Connection::accept(&listening, BUS, SOURCE, 4096).unwrap();
        let ring = &connection.rings[0];
        // There is never another message that would show that the wait is over.
        for number in 0..MANY {
            ring.publish(number, 0, &number.to_le_bytes()).unwrap();
            if (number + 1) % at_once == 0 {
                connection.ring().unwrap();
                until("room", || ring.released().unwrap() == number + 1);
            }
        }
    }
}

#[test]
fn the_next_wait_for_a_request_gives_the_forgotten_one_back() {
    let (_folder, path) = socket();
    let listening = listener(&path).unwrap();
    let _callee = peer("forgetting", &path, &["callee"]);
    let connection = Connection::accept(&listening, RPC, SOURCE, 4096).unwrap();
    let [forward, reverse] = &connection.rings[..] else { panic!("two rings") };
    for number in 0..MANY {
        forward.publish(number, number + 1, &number.to_le_bytes()).unwrap();
        connection.ring().unwrap();
        until("a reply", || reverse.is_published(number).unwrap());
        reverse.release(number + 1).unwrap();
        until("room", || forward.released().unwrap() == number + 1);
    }
}

#[test]
fn the_next_wait_for_a_reply_gives_the_forgotten_one_back() {
    let (_folder, path) = socket();
    let listening = listener(&path).unwrap();
    let _caller = peer("forgetting", &path, &["caller"]);
    let connection = Connection::accept(&listening, RPC, SINK, 4096).unwrap();
    let [forward, reverse] = &connection.rings[..] else { panic!("two rings") };
    for number in 0..MANY {
        until("a request", || forward.is_published(number).unwrap());
        // Waiting for this one, it has given back the one before.
        until("room", || reverse.released().unwrap() == number);
        forward.release(number + 1).unwrap();
        reverse.publish(number, number + 1, &number.to_le_bytes()).unwrap();
        connection.ring().unwrap();
    }
}
