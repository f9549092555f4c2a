//! Models of a connection of two rings: a caller that waits for room and takes replies meanwhile, a server that parks
//! the connection, and event loops that arm and sleep.

use loom::thread;

use crate::connection::{Established, Rx, Tx, is_due, look_for_room, park, room_while_taking, unpark};
use crate::handshake::{connected, connected_both_ways};
use crate::kernel::{Wakers, clock};
use crate::models::{content, expect, explore, header, receive, send, sending};
use crate::ring::{ParkedWord, arm};
use crate::wait::{Deadline, SECOND_LOOK};

/// A payload that fills the arena, so that the ring holds one reply.
const BIG: usize = 128;

/// A caller that has sent three requests, and its callee, which has answered one. Both rings are full.
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

/// A caller that has no room for a request. The callee releases requests only after it has sent two replies, for which
/// it has no room. A reply wakes the caller, which takes the reply off the ring, and then the released room wakes it.
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
            // Kept to the end: dropping it closes the connection, which wakes the other side.
            (theirs, answers, taken)
        });
        let mut kept = 0;
        let reservation = room_while_taking(
            (&mut requests, &mut replies, &mut ()),
            Deadline::never(),
            |connection, ring, producer, ()| look_for_room(connection, ring, producer, 1),
            |replies, (), frame| {
                kept += 1;
                expect(replies.ring(), &frame, kept, BIG);
                replies.release(frame.position);
                Ok(())
            },
        );
        reservation.expect("a callee that stays");
        assert!(kept >= 2, "{kept} replies made room for two more");
        drop(serving.join().expect("the callee"));
    });
}

/// A server parks the connection of a caller whose reply has no room. The caller rings when it takes another reply.
pub fn a_server_that_parks_for_room_is_woken(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected_both_ways();
        let [(requests, mut replies), (mut answers, mut taken)] = full(&ours, &theirs);
        answers.never_wait();
        let serving = thread::spawn(move || {
            receive(&mut taken, 2, 1).expect("a caller that stays");
            answers.send_reply(&content(2, BIG), header(2)).expect("a caller that stays");
            while !answers.flush().expect("a caller that stays") {
                park_and_sleep(&theirs, &taken, &mut answers);
            }
            (theirs, answers, taken)
        });
        // The last operation: the fence of another wait would replace the fence of this release.
        receive(&mut replies, 1, BIG).expect("a server that stays");
        drop(serving.join().expect("the server"));
        drop(requests);
    });
}

/// A server parks the connection of a caller without requests. The caller rings for each of two requests.
pub fn a_server_that_parks_for_requests_is_woken(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected_both_ways();
        let asking = sending(ours, &[1, 1]);
        let (mut taken, mut answers) = (theirs.rx(0), theirs.tx(1));
        for number in 1..=2 {
            let frame = loop {
                match taken.try_take().expect("a caller that stays") {
                    Some(frame) => break frame,
                    None => park_and_sleep(&theirs, &taken, &mut answers),
                }
            };
            expect(taken.ring(), &frame, number, 1);
            taken.release(frame.position);
        }
        drop(asking.join().expect("the caller"));
    });
}

/// Parks the connection, sleeps, and unparks it: the steps of a server's worker.
fn park_and_sleep(ours: &Established, taken: &Rx, answers: &mut Tx) {
    let Some(mut second_look) = park(taken, answers, false, |_| false).map(Some) else { return };
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

/// The state of an event loop before a sleep.
enum Arming {
    None,
    /// Armed. The next sleep lasts until the second look, or has no limit after it.
    Armed(Option<u64>),
}

impl Arming {
    /// Takes the next step after a poll without a result: arms, or sleeps and reads the socket.
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

/// An event loop takes all messages, arms, polls once more and sleeps. The parked word stays set while the loop takes,
/// so the peer may ring for a message that is already taken. The second look comes without arming.
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

/// An event loop that has no room tries to send, arms, tries once more and sleeps.
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
