//! Models of a ring over the socket: a ring is in the socket before a sleep, cannot be sent, or makes the waker fence
//! the next publications. And a model of a sleep that a signal ends.

use loom::thread;

use crate::connection::{Established, Rx, Tx};
use crate::handshake::connected;
use crate::kernel::{AFTER_A_RING, RUNNING_OUT, SECOND_LOOK, Wakers};
use crate::models::{explore, receive, send, sending};
use crate::ring::arm;

/// A ring without a message ends the receiver's first sleep.
pub fn a_stale_ring_loses_nothing(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected();
        assert!(ours.connection.peer.ring());
        let sending = sending(ours, &[1, 1]);
        let mut receiver = theirs.rx(0);
        receive(&mut receiver, 1, 1).expect("a sender that stays");
        receive(&mut receiver, 2, 1).expect("a sender that stays");
        drop(sending.join().expect("the sender"));
    });
}

/// The sleep of a waiter that armed before the model's threads began.
fn sleep(established: &Established) {
    let peer = &established.connection.peer;
    assert!(peer.poll(None) && peer.hear());
}

/// The ring of the first message to a sleeping receiver cannot be sent. The ring of the second message is sent.
pub fn a_ring_that_could_not_be_sent_is_sent_with_the_next_message(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected();
        let (mut sender, mut receiver) = (ours.tx(0), theirs.rx(0));
        arm(&[&receiver.ring().header().consumer_parked.0]);
        ours.connection.peer.refuse_a_ring();
        send(&mut sender, 1, 1).expect("room");
        let sending = thread::spawn(move || {
            send(&mut sender, 2, 1).expect("room");
            (ours, sender)
        });
        sleep(&theirs);
        receive(&mut receiver, 1, 1).expect("a sender that stays");
        receive(&mut receiver, 2, 1).expect("a sender that stays");
        drop(sending.join().expect("the sender"));
    });
}

/// The ring of the first release to a sleeping sender cannot be sent. The ring of the second release is sent.
pub fn a_ring_that_could_not_be_sent_is_sent_with_the_next_release(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected();
        let (mut sender, mut receiver) = (ours.tx(0), theirs.rx(0));
        send(&mut sender, 1, 1).expect("room");
        send(&mut sender, 2, 1).expect("room");
        arm(&[&sender.ring().header().producer_parked.0]);
        theirs.connection.peer.refuse_a_ring();
        receive(&mut receiver, 1, 1).expect("a message");
        let receiving = thread::spawn(move || {
            receive(&mut receiver, 2, 1).expect("a message");
            (theirs, receiver)
        });
        sleep(&ours);
        send(&mut sender, 3, 1).expect("room");
        drop(receiving.join().expect("the receiver"));
    });
}

/// Both ends of an empty ring whose wakers have both rung.
fn rung() -> (Established, Tx, Established, Rx) {
    let (ours, theirs) = connected();
    let (mut sender, mut receiver) = (ours.tx(0), theirs.rx(0));
    let header = receiver.ring().header();
    arm(&[&header.consumer_parked.0, &header.producer_parked.0]);
    send(&mut sender, 1, 1).expect("room");
    receive(&mut receiver, 1, 1).expect("a message");
    assert!(ours.connection.peer.hear() && theirs.connection.peer.hear(), "both were armed");
    (ours, sender, theirs, receiver)
}

/// After a ring the sender's waker fences, so the model needs no assumption about visibility.
pub fn messages_after_a_ring_assume_nothing() {
    explore(3, AFTER_A_RING, || {
        let (ours, mut sender, theirs, mut receiver) = rung();
        let sending = thread::spawn(move || {
            send(&mut sender, 2, 1).expect("room");
            send(&mut sender, 3, 1).expect("room");
            (ours, sender)
        });
        receive(&mut receiver, 2, 1).expect("a sender that stays");
        receive(&mut receiver, 3, 1).expect("a sender that stays");
        drop((sending.join().expect("the sender"), theirs));
    });
}

/// After a ring the receiver's waker fences.
pub fn releases_after_a_ring_assume_nothing() {
    explore(3, AFTER_A_RING, || {
        let (ours, mut sender, theirs, mut receiver) = rung();
        send(&mut sender, 2, 1).expect("room");
        send(&mut sender, 3, 1).expect("room");
        let receiving = thread::spawn(move || {
            receive(&mut receiver, 2, 1).expect("a message");
            receive(&mut receiver, 3, 1).expect("a message");
            (theirs, receiver)
        });
        send(&mut sender, 4, 1).expect("a receiver that stays");
        send(&mut sender, 5, 1).expect("a receiver that stays");
        drop((receiving.join().expect("the receiver"), ours));
    });
}

/// The first message has the waker's last fence, and the second message has none.
pub fn a_waker_runs_out_of_fences() {
    explore(3, RUNNING_OUT, || {
        let (ours, theirs) = connected();
        let sending = sending(ours, &[1, 1]);
        let mut receiver = theirs.rx(0);
        receive(&mut receiver, 1, 1).expect("a sender that stays");
        receive(&mut receiver, 2, 1).expect("a sender that stays");
        drop(sending.join().expect("the sender"));
    });
}

/// A signal ends the sleep before its limit. The second look must still come.
pub fn a_signal_is_no_second_look() {
    explore(3, SECOND_LOOK, || {
        let (ours, theirs) = connected();
        theirs.connection.peer.signal();
        let sending = sending(ours, &[1]);
        receive(&mut theirs.rx(0), 1, 1).expect("a sender that stays");
        drop(sending.join().expect("the sender"));
    });
}
