//! Models of two threads of a callee that sleep on the one socket of a connection: one waits for requests, and the
//! other for room for a reply.

use std::sync::Arc;

use loom::thread::{self, JoinHandle};

use crate::connection::{Connection, Established, Halt, Rx, Tx, Unsent};
use crate::handshake::connected_both_ways;
use crate::kernel::Wakers;
use crate::models::{LONG, expect, explore, receive, send};
use crate::wait::Deadline;

/// A payload that fills the arena.
const BIG: usize = 128;

/// The caller's two directions and the callee's two, of a connection whose second ring holds two replies and is full.
fn without_room() -> ([Established; 2], (Tx, Rx), (Tx, Rx)) {
    let (caller, callee) = connected_both_ways();
    let mut answers = callee.tx(1);
    send(&mut answers, 1, LONG).expect("room");
    send(&mut answers, 2, LONG).expect("room");
    let directions = ((caller.tx(0), caller.rx(1)), (answers, callee.rx(0)));
    ([caller, callee], directions.0, directions.1)
}

/// Takes one request in a new thread.
fn taking(mut taken: Rx) -> JoinHandle<Rx> {
    thread::spawn(move || {
        receive(&mut taken, 1, 1).expect("a caller that stays");
        taken
    })
}

/// Sends the third reply in a new thread.
fn answering(mut answers: Tx, len: usize) -> JoinHandle<Tx> {
    thread::spawn(move || {
        send(&mut answers, 3, len).expect("a caller that stays");
        answers
    })
}

/// The rings for both threads may arrive together, and either thread may take them.
pub fn two_threads_on_one_socket_are_woken(wakers: Wakers) {
    explore(3, wakers, || {
        let (_connections, (mut requests, mut replies), (answers, taken)) = without_room();
        let taking = taking(taken);
        let answering = answering(answers, 1);
        send(&mut requests, 1, 1).expect("room");
        receive(&mut replies, 1, LONG).expect("a callee that stays");
        drop((taking.join().expect("the one thread"), answering.join().expect("the other thread")));
    });
}

/// The thread that waits for requests takes the other thread's ring. The room of the first reply is too small, so the
/// other thread asks for a ring for the second release.
pub fn a_ring_that_another_thread_took_is_asked_for_again(wakers: Wakers) {
    explore(2, wakers, || {
        let (_connections, (mut requests, mut replies), (answers, taken)) = without_room();
        let taking = taking(taken);
        let answering = answering(answers, BIG);
        receive(&mut replies, 1, LONG).expect("a callee that stays");
        receive(&mut replies, 2, LONG).expect("a callee that stays");
        drop(answering.join().expect("the thread that answers"));
        send(&mut requests, 1, 1).expect("room");
        drop(taking.join().expect("the thread that takes"));
    });
}

/// Both threads wait until `close` ends their waits with the `expected` error.
fn end_both(
    wakers: Wakers,
    close: impl Fn(&[Arc<Connection>; 2]) + Send + Sync + 'static,
    expected: fn(&Halt) -> bool,
) {
    explore(2, wakers, move || {
        let (connections, _caller, (mut answers, mut taken)) = without_room();
        let waiting = [
            thread::spawn(move || taken.take(Deadline::never()).expect_err("no request")),
            thread::spawn(move || match send(&mut answers, 3, 1) {
                Err(Unsent::Halted(halt)) => halt,
                outcome => panic!("{outcome:?}"),
            }),
        ];
        close(&connections.each_ref().map(|established| Arc::clone(&established.connection)));
        for waiting in waiting {
            let halt = waiting.join().expect("a thread that waits");
            assert!(expected(&halt), "{halt:?}");
        }
    });
}

/// The caller closes.
pub fn a_close_ends_the_waits_of_two_threads(wakers: Wakers) {
    end_both(wakers, |[caller, _]| caller.close(), |halt| matches!(halt, Halt::Closed | Halt::PeerDead));
}

/// A third thread of the callee closes.
pub fn a_close_of_this_side_ends_its_waits(wakers: Wakers) {
    end_both(wakers, |[_, callee]| callee.close(), |halt| matches!(halt, Halt::ClosedHere));
}

/// The caller sends a request and dies. Either thread notices the death first, and the request is still taken.
pub fn a_death_loses_nothing_for_two_threads(wakers: Wakers) {
    explore(3, wakers, || {
        let (connections, (mut requests, _replies), (mut answers, mut taken)) = without_room();
        let taking = thread::spawn(move || {
            receive(&mut taken, 1, 1).expect("a message sent before the death");
            taken.take(Deadline::never()).expect_err("no second request")
        });
        let answering = thread::spawn(move || send(&mut answers, 3, 1));
        send(&mut requests, 1, 1).expect("room");
        connections[0].connection.peer.hang_up();
        assert!(matches!(taking.join().expect("the one thread"), Halt::PeerDead));
        let outcome = answering.join().expect("the other thread");
        assert!(matches!(outcome, Err(Unsent::Halted(Halt::PeerDead))), "{outcome:?}");
    });
}
