//! Guards passed to `forget`, which is safe for any value: the next operation releases their messages.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::mem::forget;
use std::path::Path;
use std::time::{Duration, Instant};

use tachyon::{CallError, Callee, Caller, Receiver, RecvError, ServeError};
use tachyon_tests::message::{length, message};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;
use tachyon_tests::wire::{BUS, Connection, RPC, SINK, SOURCE, listener};

const PEER: Program = Program(env!("CARGO_BIN_EXE_peer"));

/// Longest wait of a test, which fails if it stalls.
const PATIENCE: Duration = Duration::from_secs(30);

/// Messages of a test: many times the 64 slots of its ring.
const MANY: u64 = 2000;

/// Longest message, in bytes. A ring of 4 KiB has room for a few such messages.
const MOST: usize = 700;

/// A receiver, and a process that sends it [`MANY`] messages.
fn receiver(path: &Path) -> (Receiver, Peer) {
    let sender = PEER.start("sender", path, &["connect", "0", &MOST.to_string(), &MANY.to_string(), "adaptive"]);
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
            // Dropped, between forgotten guards.
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
        // A single message between the batches, forgotten as well.
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
    let caller = PEER.start("caller", &path, &[&MANY.to_string(), &MOST.to_string()]);
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
    let callee = PEER.start("callee", &path, &["4096", "4096", "adaptive", "no text"]);
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
fn a_caller_that_forgets_out_of_order_replies_gets_each() {
    let (_folder, path) = socket();
    let callee = PEER.start("reversing_callee", &path, &[&MANY.to_string()]);
    let mut caller = Caller::connect(&path).unwrap();
    let calls: Vec<_> = (0..MANY).map(|number| caller.start(1, &expected(number)).unwrap()).collect();
    // The first call is answered last: more replies come before it than the ring holds.
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

/// Replies in the ring and replies kept in the heap alternate, and some of each are forgotten.
#[test]
fn a_caller_that_forgets_some_replies_gets_each() {
    let (_folder, path) = socket();
    let callee = PEER.start("callee", &path, &["4096", "4096", "adaptive", "no text"]);
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
fn calls_alone_release_a_forgotten_reply() {
    let (_folder, path) = socket();
    let callee = PEER.start("callee", &path, &["64", "64", "adaptive", "no text"]);
    let mut caller = Caller::connect(&path).unwrap();
    let call = caller.start(1, b"first").unwrap();
    forget(caller.finish(call).unwrap());
    // More calls than the rings hold, so each call needs the room of an earlier reply.
    for number in 0..MANY {
        let called = caller.start_timeout(1, b"x", PATIENCE);
        assert!(called.is_ok(), "call {number}: {called:?}");
    }
    drop(caller);
    assert_eq!(callee.finish(), "closed");
}

#[test]
fn the_next_wait_for_a_message_releases_the_forgotten_one() {
    for (end, per_ring) in [("receiver", 1), ("batches", 5)] {
        let (_folder, path) = socket();
        let listening = listener(&path).unwrap();
        let _receiver = PEER.start("forgetting", &path, &[end]);
        let connection = Connection::accept(&listening, BUS, SOURCE, 4096).unwrap();
        let ring = &connection.rings[0];
        // The receiver must release while it waits: no later message makes it do so.
        for number in 0..MANY {
            ring.publish(number, 0, &number.to_le_bytes()).unwrap();
            if (number + 1) % per_ring == 0 {
                connection.ring().unwrap();
                wait::until("room", PATIENCE, || ring.released().unwrap() == number + 1);
            }
        }
    }
}

#[test]
fn the_next_wait_for_a_request_releases_the_forgotten_one() {
    let (_folder, path) = socket();
    let listening = listener(&path).unwrap();
    let _callee = PEER.start("forgetting", &path, &["callee"]);
    let connection = Connection::accept(&listening, RPC, SOURCE, 4096).unwrap();
    let [forward, reverse] = &connection.rings[..] else { panic!("two rings") };
    for number in 0..MANY {
        forward.publish(number, number + 1, &number.to_le_bytes()).unwrap();
        connection.ring().unwrap();
        wait::until("a reply", PATIENCE, || reverse.is_published(number).unwrap());
        reverse.release(number + 1).unwrap();
        wait::until("room", PATIENCE, || forward.released().unwrap() == number + 1);
    }
}

#[test]
fn the_next_wait_for_a_reply_releases_the_forgotten_one() {
    let (_folder, path) = socket();
    let listening = listener(&path).unwrap();
    let _caller = PEER.start("forgetting", &path, &["caller"]);
    let connection = Connection::accept(&listening, RPC, SINK, 4096).unwrap();
    let [forward, reverse] = &connection.rings[..] else { panic!("two rings") };
    for number in 0..MANY {
        wait::until("a request", PATIENCE, || forward.is_published(number).unwrap());
        // While the caller waits for this reply, it has released the reply before.
        wait::until("room", PATIENCE, || reverse.released().unwrap() == number);
        forward.release(number + 1).unwrap();
        reverse.publish(number, number + 1, &number.to_le_bytes()).unwrap();
        connection.ring().unwrap();
    }
}
