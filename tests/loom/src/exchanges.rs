//! The models of a connection of two rings: a caller that waits for room and takes replies meanwhile, a server that rests
//! while somebody else sleeps for it, and a loop that is rung for as long as it runs.

use loom::thread;

use crate::bus::{Established, Incoming, Lack, Outgoing, data_source, may_rest, room_source, room_while_taking, rouse};
use crate::handshake::{connected, connected_both_ways};
use crate::kernel::sleep::sleep;
use crate::models::{content, expect, explore, receive, send, sending};
use crate::wait::{Deadline, Source};

/// A payload that fills the arena, so that there is one reply at a time.
const BIG: usize = 128;

/// A caller that has sent three requests, and its callee, which has answered one: neither ring has any room.
fn full(caller: &Established, callee: &Established) -> [(Outgoing, Incoming); 2] {
    let (mut requests, mut taken, mut answers) = (caller.outgoing(0), callee.incoming(0), callee.outgoing(1));
    send(&mut requests, 1, 1).expect("room");
    receive(&mut taken, 1, 1).expect("a caller that stays");
    send(&mut answers, 1, BIG).expect("room");
    send(&mut requests, 2, 1).expect("room");
    send(&mut requests, 3, 1).expect("room");
    assert!(matches!(requests.try_reserve(1), Ok(None)) && matches!(answers.try_reserve(BIG), Ok(None)));
    [(requests, caller.incoming(1)), (answers, taken)]
}

/// Waits for what an epoll, or a loop, of somebody else's watches: the bells of `sources`, and the peer's end.
fn sleep_elsewhere(established: &Established, sources: &[Source<'_>]) {
    sleep(Deadline::never(), None, &established.connection.peer, sources).expect("a kernel");
}

/// A caller that has no room for a request, since its callee gives none back before it has sent two replies, and has room
/// for neither: a reply wakes the caller, which takes it off, and then the room does.
pub fn a_caller_takes_replies_while_it_waits_for_room() {
    explore(2, || {
        let (ours, theirs) = connected_both_ways();
        let [(mut requests, mut replies), (mut answers, mut taken)] = full(&ours, &theirs);
        let serving = thread::spawn(move || {
            let frames = [(); 2].map(|()| taken.take(Deadline::never()).expect("a caller that stays"));
            for (number, frame) in (2..).zip(&frames) {
                expect(&taken.channel().memory, frame, number, 1);
                send(&mut answers, number, BIG).expect("a caller that stays");
            }
            taken.release_through(frames[1].position);
            // Kept to the end: dropping it closes, which wakes everybody.
            (theirs, answers, taken)
        });
        let mut kept = 0;
        let reservation = room_while_taking(&mut requests, &mut replies, 1, Deadline::never(), |replies, frame| {
            kept += 1;
            expect(&replies.channel().memory, &frame, kept, BIG);
            replies.release(frame.position);
            Ok(())
        });
        reservation.expect("a callee that stays");
        assert!(kept >= 2, "{kept} replies made room for two more");
        drop(serving.join().expect("the callee"));
    });
}

/// A server's caller goes to rest with a reply that has no room, and is looked at again once one was given back.
pub fn a_server_that_rests_for_room_is_woken() {
    explore(3, || {
        let (ours, theirs) = connected_both_ways();
        let [(requests, mut replies), (mut answers, mut taken)] = full(&ours, &theirs);
        answers.keep_overflow();
        let serving = thread::spawn(move || {
            receive(&mut taken, 2, 1).expect("a caller that stays");
            answers.send_owed(&content(2, BIG), 2, 2).expect("a caller that stays");
            while !answers.flush().expect("a caller that stays") {
                rest(&theirs, &taken, &mut answers, Lack::Room);
            }
            (theirs, answers, taken)
        });
        // Nothing after that: the barrier of another wait would stand in for the one of this release.
        receive(&mut replies, 1, BIG).expect("a server that stays");
        drop(serving.join().expect("the server"));
        drop(requests);
    });
}

/// A server's caller goes to rest for want of requests, and is looked at again when there is one, and once more.
pub fn a_server_that_rests_for_requests_is_woken() {
    explore(3, || {
        let (ours, theirs) = connected_both_ways();
        let asking = sending(ours, &[1, 1]);
        let (mut taken, mut answers) = (theirs.incoming(0), theirs.outgoing(1));
        for number in 1..=2 {
            let frame = loop {
                match taken.try_take().expect("a caller that stays") {
                    Some(frame) => break frame,
                    None => rest(&theirs, &taken, &mut answers, Lack::Messages),
                }
            };
            expect(&taken.channel().memory, &frame, number, 1);
            taken.release(frame.position);
        }
        drop(asking.join().expect("the caller"));
    });
}

/// As a server's worker does with a caller that has nothing for it: `Session::rest`, the `epoll`, `Session::woken`.
fn rest(ours: &Established, taken: &Incoming, answers: &mut Outgoing, lack: Lack) {
    if may_rest(taken, answers, lack) {
        sleep_elsewhere(ours, &[data_source(taken.channel()), room_source(answers.channel())]);
        rouse(taken, answers);
    }
}

/// An event loop takes what there is, arms, looks once more and sleeps; the word stays set while it takes, so that the
/// peer may ring for what is taken already.
pub fn a_loop_that_stays_armed_is_woken() {
    explore(3, || {
        let (ours, theirs) = connected();
        let sending = sending(ours, &[1, 1, 1]);
        let mut receiver = theirs.incoming(0);
        let (mut came, mut armed) = (0, false);
        while came < 3 {
            match receiver.try_take().expect("a sender that stays") {
                Some(frame) => {
                    came += 1;
                    expect(&receiver.channel().memory, &frame, came, 1);
                    receiver.release(frame.position);
                    armed = false;
                }
                None if armed => {
                    sleep_elsewhere(&theirs, &[data_source(receiver.channel())]);
                    armed = false;
                }
                None => {
                    data_source(receiver.channel()).arm();
                    armed = true;
                }
            }
        }
        drop(sending.join().expect("the sender"));
    });
}

/// An event loop that has no room tries, arms, tries once more and sleeps.
pub fn a_loop_that_waits_for_room_is_woken() {
    explore(3, || {
        let (ours, theirs) = connected();
        let receiving = thread::spawn(move || {
            let mut receiver = theirs.incoming(0);
            receive(&mut receiver, 1, 1).expect("a sender that stays");
            (theirs, receiver)
        });
        let mut sender = ours.outgoing(0);
        let (mut sent, mut armed) = (0, false);
        while sent < 3 {
            let next = sent + 1;
            let done = sender.try_send(&content(next, 1), u32::from(next), u64::from(next));
            match (done.expect("a receiver that stays"), armed) {
                (true, _) => {
                    sent = next;
                    room_source(sender.channel()).disarm();
                    armed = false;
                }
                (false, true) => {
                    sleep_elsewhere(&ours, &[room_source(sender.channel())]);
                    armed = false;
                }
                (false, false) => {
                    room_source(sender.channel()).arm();
                    armed = true;
                }
            }
        }
        drop(receiving.join().expect("the receiver"));
    });
}
