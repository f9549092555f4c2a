//! The models of a connection of two rings: a caller that waits for room and takes replies meanwhile, a server whose
//! connection is parked while an `epoll` sleeps for it, and loops that arm and sleep by themselves.

use loom::thread;

use crate::connection::{Established, Rx, Tx, is_due, park, room_while_taking, unpark};
use crate::handshake::{connected, connected_both_ways};
use crate::kernel::{Wakers, clock};
use crate::models::{content, expect, explore, header, receive, send, sending};
use crate::ring::{ParkedWord, arm};
use crate::wait::{Deadline, SECOND_LOOK};

/// A payload that fills the arena, so that there is one reply at a time.
const BIG: usize = 128;

/// A caller that has sent three requests, and its callee, which has answered one: neither ring has any room.
fn full(caller: &Established, callee: &Established) -> [(Tx, Rx); 2] {
    let (mut requests, mut taken, mut answers) = (caller.tx(0), callee.rx(0), callee.tx(1));
    send(&mut requests, 1, 1).expect("room");
    receive(&mut taken, 1, 1).expect("a caller that stays");
    send(&mut answers, 1, BIG).expect("room");
    send(&mut requests, 2, 1).expect("room");
    send(&mut requests, 3, 1).expect("room");
    assert!(matches!(requests.try_reserve(1), Ok(None)) && matches!(answers.try_reserve(BIG), Ok(None)));
    [(requests, caller.rx(1)), (answers, taken)]
}

/// A caller that has no room for a request: its callee gives none back before it has sent two replies, and has room for
/// neither. A reply wakes the caller, which takes it off the ring, and then the room does.
pub fn a_caller_takes_replies_while_it_waits_for_room(wakers: Wakers) {
    explore(2, wakers, || {
        let (ours, theirs) = connected_both_ways();
        let [(mut requests, mut replies), (mut answers, mut taken)] = full(&ours, &theirs);
        let serving = thread::spawn(move || {
            let frames = [(); 2].map(|()| taken.take(Deadline::never()).expect("a caller that stays"));
            for (number, frame) in (2..).zip(&frames) {
                expect(taken.ring(), frame, number, 1);
                send(&mut answers, number, BIG).expect("a caller that stays");
            }
            taken.release_through(frames[1].position);
            // Kept to the end: dropping it closes, which wakes the other side.
            (theirs, answers, taken)
        });
        let mut kept = 0;
        let reservation = room_while_taking(&mut requests, &mut replies, 1, Deadline::never(), |replies, frame| {
            kept += 1;
            expect(replies.ring(), &frame, kept, BIG);
            replies.release(frame.position);
            Ok(())
        });
        reservation.expect("a callee that stays");
        assert!(kept >= 2, "{kept} replies made room for two more");
        drop(serving.join().expect("the callee"));
    });
}

/// A server parks the connection of a caller whose reply has no room, and is rung when the caller takes another reply.
pub fn a_server_that_rests_for_room_is_woken(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected_both_ways();
        let [(requests, mut replies), (mut answers, mut taken)] = full(&ours, &theirs);
        answers.never_wait();
        let serving = thread::spawn(move || {
            receive(&mut taken, 2, 1).expect("a caller that stays");
            answers.send_reply(&content(2, BIG), header(2)).expect("a caller that stays");
            while !answers.flush().expect("a caller that stays") {
                rest(&theirs, &taken, &mut answers);
            }
            (theirs, answers, taken)
        });
        // Nothing after that: the fence of another wait would stand in for the fence of this release.
        receive(&mut replies, 1, BIG).expect("a server that stays");
        drop(serving.join().expect("the server"));
        drop(requests);
    });
}

/// A server parks the connection of a caller without requests, and is rung when there is one, and for the next one.
pub fn a_server_that_rests_for_requests_is_woken(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected_both_ways();
        let asking = sending(ours, &[1, 1]);
        let (mut taken, mut answers) = (theirs.rx(0), theirs.tx(1));
        for number in 1..=2 {
            let frame = loop {
                match taken.try_take().expect("a caller that stays") {
                    Some(frame) => break frame,
                    None => rest(&theirs, &taken, &mut answers),
                }
            };
            expect(taken.ring(), &frame, number, 1);
            taken.release(frame.position);
        }
        drop(asking.join().expect("the caller"));
    });
}

/// Parks the connection, sleeps, and is ready to look again: the steps of a server's worker.
fn rest(ours: &Established, taken: &Rx, answers: &mut Tx) {
    let Some(mut second_look) = park(taken, answers).map(Some) else { return };
    let peer = &ours.connection.peer;
    loop {
        if peer.poll_until(second_look.take()) {
            peer.hear();
            unpark(taken, answers);
            return;
        }
        if is_due(taken, answers).is_some() {
            unpark(taken, answers);
            return;
        }
    }
}

/// How far an event loop has come on its way to sleep.
enum Arming {
    None,
    /// It has armed, and its next sleep lasts until the second look, unless that was taken.
    Armed(Option<u64>),
}

impl Arming {
    /// A look found nothing: the next step is to arm, or to sleep and hear the peer.
    fn next(self, established: &Established, word: &ParkedWord) -> Self {
        let peer = &established.connection.peer;
        match self {
            Self::None => {
                arm(&[word]);
                Self::Armed(Some(clock() + SECOND_LOOK))
            }
            Self::Armed(second_look) => {
                if !peer.poll_until(second_look) {
                    return Self::Armed(None);
                }
                peer.hear();
                Self::None
            }
        }
    }
}

/// An event loop takes what there is, arms, looks once more and sleeps; the word stays set while it takes, so that the
/// peer may ring for a message that is taken already. The second look comes without an arming.
pub fn a_loop_that_stays_armed_is_woken(wakers: Wakers) {
    explore(2, wakers, || {
        let (ours, theirs) = connected();
        let sending = sending(ours, &[1, 1, 1]);
        let mut receiver = theirs.rx(0);
        let mut arming = Arming::None;
        let mut came = 0;
        while came < 3 {
            if let Some(frame) = receiver.try_take().expect("a sender that stays") {
                came += 1;
                expect(receiver.ring(), &frame, came, 1);
                receiver.release(frame.position);
                arming = Arming::None;
            } else {
                arming = arming.next(&theirs, &receiver.ring().header().consumer_parked.0);
            }
        }
        drop(sending.join().expect("the sender"));
    });
}

/// An event loop that has no room tries, arms, tries once more and sleeps.
pub fn a_loop_that_waits_for_room_is_woken(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected();
        let receiving = thread::spawn(move || {
            let mut receiver = theirs.rx(0);
            receive(&mut receiver, 1, 1).expect("a sender that stays");
            (theirs, receiver)
        });
        let mut sender = ours.tx(0);
        let mut arming = Arming::None;
        let mut sent = 0;
        while sent < 3 {
            let next = sent + 1;
            if sender.try_send(&content(next, 1), header(next)).expect("a receiver that stays") {
                sent = next;
                sender.ring().header().producer_parked.0.clear();
                arming = Arming::None;
            } else {
                arming = arming.next(&ours, &sender.ring().header().producer_parked.0);
            }
        }
        drop(receiving.join().expect("the receiver"));
    });
}
