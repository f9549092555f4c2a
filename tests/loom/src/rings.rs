//! The models of a single ring over the socket: it lies there when a sleep begins, it cannot be sent, or it has the
//! waker fence the publications that follow. And a model of a sleep that ends by a signal.

use loom::thread;

use crate::connection::{Established, Rx, Tx};
use crate::handshake::connected;
use crate::kernel::{AFTER_A_RING, RUNNING_OUT, SECOND_LOOK, Wakers};
use crate::models::{explore, receive, send, sending};
use crate::ring::arm;

/// The receiver's first sleep ends by a ring that tells of nothing.
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

/// The first message's ring to a receiver that sleeps cannot be sent. The second message's ring is.
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

/// The first release's ring to a sender that sleeps cannot be sent. The second release's ring is.
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

/// Both ends of a ring whose wakers have both rung, and that is empty.
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

/// After a ring the sender's waker fences by itself: no store has to become visible in time.
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

/// After a ring the receiver's waker fences by itself.
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

/// The first message has the waker's last fence, the second one has none.
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

/// A signal ends the sleep before its limit: the second look is still to come.
pub fn a_signal_is_no_second_look() {
    explore(3, SECOND_LOOK, || {
        let (ours, theirs) = connected();
        theirs.connection.peer.signal();
        let sending = sending(ours, &[1]);
        receive(&mut theirs.rx(0), 1, 1).expect("a sender that stays");
        drop(sending.join().expect("the sender"));
    });
}
