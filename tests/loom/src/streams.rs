//! Models of a stream's credit: an end without credit parks and is rung, and no stream has the credit of another one.

use loom::thread;

use crate::connection::{Established, Rx, Tx, is_due, look_for_room, park, room_while_taking, unpark};
use crate::engine::{CalleeStreams, SendCredit, Stepped, StreamBody, StreamEnd, StreamStep, Window};
use crate::handshake::connected_both_ways;
use crate::kernel::{FENCED, Wakers};
use crate::models::explore;
use crate::ring::MessageHeader;
use crate::type_id::{ROUTE_END, ROUTE_ITEM, ROUTE_OPEN, make_type_id};
use crate::wait::Deadline;

const CELL: usize = 0;

/// The handler of a stream.
enum Body {
    /// Sends items, with no end.
    Endless,
    /// Takes the caller's items until their END, and sends none.
    Taker { taken: u64, has_end: bool },
}

impl StreamBody for Body {
    fn takes_items(&self) -> bool {
        matches!(self, Self::Taker { .. })
    }

    fn step(&mut self, tx: &mut Tx, may_send: bool) -> StreamStep {
        match self {
            Self::Endless if may_send => {
                tx.send_reply(&[], header(ROUTE_ITEM, 1)).expect("a caller that stays");
                StreamStep::Sent
            }
            Self::Endless => StreamStep::Blocked,
            Self::Taker { has_end: true, .. } => StreamStep::Done,
            Self::Taker { .. } => StreamStep::Pending,
        }
    }

    fn take_item(&mut self, _: &[u8]) {
        let Self::Taker { taken, .. } = self else { panic!("this handler takes no items") };
        *taken += 1;
    }

    fn end_items(&mut self) {
        let Self::Taker { has_end, .. } = self else { panic!("this handler takes no items") };
        *has_end = true;
    }

    fn taken(&self) -> u64 {
        if let Self::Taker { taken, .. } = self { *taken } else { 0 }
    }
}

fn header(route: u16, call: u64) -> MessageHeader {
    MessageHeader::new(make_type_id(route, 1), call)
}

fn open(requests: &mut Tx, call: u64) {
    requests.send(&[], header(ROUTE_OPEN, call), Deadline::never()).expect("a callee that stays");
}

/// Takes the next message as the current frame, which the caller of this function releases.
fn take(taken: &mut Rx) {
    taken.take_current(Deadline::never()).expect("a caller that stays");
}

/// Opens a stream by the next message.
fn add(streams: &mut CalleeStreams<Body>, taken: &mut Rx, body: Body) {
    take(taken);
    let frame = taken.current;
    let cell = streams.check_open(&frame, taken).expect("an honest caller");
    taken.release_current();
    streams.add(&frame, cell, Deadline::never(), body, taken);
}

/// Steps of a server's worker until another item is sent: it parks the connection and sleeps while no step is left.
fn send_item(ours: &Established, streams: &mut CalleeStreams<Body>, taken: &mut Rx, answers: &mut Tx) {
    let peer = &ours.connection.peer;
    loop {
        match streams.step(taken, answers).expect("an honest caller") {
            Stepped::Sent => return,
            Stepped::Nothing => {}
            Stepped::Left(..) => panic!("an endless stream ended"),
        }
        let parked = park(taken, answers, streams.is_blocked(), |tx| streams.is_due(tx));
        let Some(mut second_look) = parked.map(Some) else { continue };
        loop {
            if peer.poll_until(second_look.take()) {
                peer.hear();
                break;
            }
            if is_due(taken, answers).is_some() || streams.is_due(answers) {
                break;
            }
        }
        unpark(taken, answers);
    }
}

/// A callee has sent `window` items, and parks. Its caller takes one, releases it, and grants another.
fn a_callee_waits(wakers: Wakers, window: u64) {
    explore(3, wakers, move || {
        let (ours, theirs) = connected_both_ways();
        let (mut requests, mut items) = (ours.tx(0), ours.rx(1));
        let (mut taken, mut answers) = (theirs.rx(0), theirs.tx(1));
        let mut credit = Window::open(CELL, window, &mut items);
        open(&mut requests, 1);
        let mut streams = CalleeStreams::new();
        add(&mut streams, &mut taken, Body::Endless);
        answers.never_wait();
        for _ in 0..window {
            send_item(&theirs, &mut streams, &mut taken, &mut answers);
        }
        let serving = thread::spawn(move || {
            send_item(&theirs, &mut streams, &mut taken, &mut answers);
            (theirs, taken, answers, streams)
        });
        take(&mut items);
        assert!(credit.note_received(), "an item with credit");
        items.release_current();
        // The last operation: the fence of another wait would replace the fence of this grant.
        credit.take(&mut items);
        drop(serving.join().expect("the callee"));
        drop((ours, requests));
    });
}

/// The ring has room: the grant alone wakes the callee.
pub fn a_callee_that_waits_for_credit_is_woken(wakers: Wakers) {
    a_callee_waits(wakers, 1);
}

/// The ring is full: the release may wake the callee, which finds no credit and parks again.
pub fn a_callee_that_waits_for_credit_and_room_is_woken(wakers: Wakers) {
    a_callee_waits(wakers, 2);
}

/// A caller sends two items to a callee that grants one at a time.
pub fn a_caller_that_waits_for_credit_is_woken(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected_both_ways();
        let (mut requests, mut replies, mut taken) = (ours.tx(0), ours.rx(1), theirs.rx(0));
        let mut window = Window::open(CELL, 1, &mut taken);
        let mut credit = SendCredit::new(CELL);
        let serving = thread::spawn(move || {
            take(&mut taken);
            assert!(window.note_received(), "an item with credit");
            taken.release_current();
            window.take(&mut taken);
            (theirs, taken)
        });
        for _ in 0..2 {
            let room = room_while_taking(
                (&mut requests, &mut replies, &mut credit),
                Deadline::never(),
                |connection, ring, producer, credit| {
                    let has_credit = credit.is_open(producer).expect("an honest callee");
                    let room = look_for_room(connection, ring, producer, 0)?;
                    Ok(room.filter(|_| has_credit))
                },
                |_, _, _| panic!("no reply comes"),
            );
            requests.publish(room.expect("a callee that stays"), 0, header(ROUTE_ITEM, 1));
            credit.note_sent();
        }
        drop(serving.join().expect("the callee"));
        drop(ours);
    });
}

/// A callee ends a stream for which it has granted two items in all. The next stream has the same cell, and its window
/// is one item.
pub fn a_stream_has_no_credit_of_the_one_before_it() {
    explore(3, FENCED, || {
        let (ours, theirs) = connected_both_ways();
        let (mut requests, mut replies) = (ours.tx(0), ours.rx(1));
        let (mut taken, mut answers) = (theirs.rx(0), theirs.tx(1));
        let mut streams = CalleeStreams::new();
        open(&mut requests, 1);
        add(&mut streams, &mut taken, Body::Taker { taken: 1, has_end: false });
        assert!(matches!(streams.step(&mut taken, &mut answers), Ok(Stepped::Nothing)));
        let mut credit = SendCredit::new(CELL);
        assert_eq!(credit.is_open(&requests.producer), Ok(true));
        assert_eq!(requests.producer.granted(CELL), 2);
        credit.note_sent();
        credit.note_sent();
        requests.send(&[], header(ROUTE_END, 1), Deadline::never()).expect("room");
        let serving = thread::spawn(move || {
            take(&mut taken);
            streams.take(&taken).expect("an honest caller");
            taken.release_current();
            assert!(matches!(streams.step(&mut taken, &mut answers), Ok(Stepped::Left(_, StreamEnd::Done))));
            answers.send_reply(&[], header(ROUTE_END, 1)).expect("a caller that stays");
            add(&mut streams, &mut taken, Body::Taker { taken: 0, has_end: false });
            (theirs, taken, answers, streams)
        });
        // The credit may be taken back by now, and the last message not be there.
        assert_eq!(credit.is_open(&requests.producer), Ok(false));
        take(&mut replies);
        replies.release_current();
        open(&mut requests, 2);
        loop {
            let granted = requests.producer.granted(CELL);
            assert!(granted <= 1, "the credit of the stream before");
            if granted == 1 {
                break;
            }
            thread::yield_now();
        }
        drop(serving.join().expect("the callee"));
        drop((ours, replies));
    });
}
