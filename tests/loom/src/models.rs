//! Models of a ring, and of a connection with one ring. A model passes if it ends without a panic in every order that
//! loom tries.
#![allow(unsafe_code, reason = "reads payloads in place")]

use std::sync::Arc;

use loom::thread;

use crate::connection::{Established, Halt, Rx, Tx, Unsent};
use crate::handshake::{connected, memory};
use crate::kernel::{FENCED, Wakers, set_wakers};
use crate::ring::{Consumer, Fault, Frame, MessageHeader, Producer, RingMemory};
use crate::wait::Deadline;

/// A payload that does not fit its slot.
pub(crate) const LONG: usize = 41;

/// Most branches of one run. loom treats a model with more as endless.
const MOST_BRANCHES: usize = 4_000;

/// Explores `model` with at most `preemptions` preemptions. loom's documentation calls two or three enough to find
/// nearly all errors. Without a bound, the exploration of the larger models does not end.
pub(crate) fn explore(preemptions: usize, wakers: Wakers, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = MOST_BRANCHES;
    set_wakers(wakers);
    builder.check(model);
}

/// The two ends of a ring of two slots, whose position overflows at the second message.
fn ring() -> (Arc<RingMemory>, Producer, Consumer) {
    let memory = memory();
    (Arc::clone(&memory), Producer::new(Arc::clone(&memory)), Consumer::new(memory))
}

pub(crate) fn content(number: u8, len: usize) -> Vec<u8> {
    vec![number; len]
}

pub(crate) fn header(number: u8) -> MessageHeader {
    MessageHeader::new(u32::from(number), u64::from(number))
}

/// Reads a message as its receiver does, and checks that it is message `number`.
pub(crate) fn expect(memory: &RingMemory, frame: &Frame, number: u8, len: usize) {
    assert_eq!((frame.correlation_id, frame.type_id, frame.len), (u64::from(number), u32::from(number), len));
    memory.segment().reads(frame.data, frame.len);
    // SAFETY: the frame was taken from a ring that the caller keeps, and is not released.
    let payload = unsafe { core::slice::from_raw_parts(frame.data.as_ptr(), frame.len) };
    assert_eq!(payload, content(number, len));
}

fn push(producer: &mut Producer, number: u8, len: usize) {
    let (data, header) = (content(number, len), header(number));
    while !producer.push_slow(&data, header).expect("an honest peer") {
        thread::yield_now();
    }
}

fn take(consumer: &mut Consumer) -> Frame {
    loop {
        if let Some(frame) = consumer.try_take().expect("an honest peer") {
            return frame;
        }
        thread::yield_now();
    }
}

/// Sends messages of these lengths through a ring without a connection. The consumer reads and releases each.
fn pass(preemptions: usize, lengths: &'static [usize]) {
    explore(preemptions, FENCED, move || {
        let (memory, mut producer, mut consumer) = ring();
        let sending = thread::spawn(move || {
            for (number, len) in (1..).zip(lengths) {
                push(&mut producer, number, *len);
            }
        });
        for (number, len) in (1..).zip(lengths) {
            let frame = take(&mut consumer);
            expect(&memory, &frame, number, *len);
            assert!(consumer.release(frame.position), "released in order");
        }
        sending.join().expect("the sender");
        assert!(consumer.try_take().expect("an honest peer").is_none(), "a message that was not sent");
    });
}

/// Publishing and taking: a consumer that sees the publication word sees every write before it.
pub fn messages_arrive_once_whole_and_in_order() {
    pass(3, &[3, LONG, 0]);
}

/// Releasing and sending again, in the slots: four messages through two slots.
pub fn a_slot_is_written_again_only_after_it_was_read() {
    pass(3, &[8, 8, 8, 8]);
}

/// Releasing and sending again, in the arena: three payloads through an arena with room for two.
pub fn the_arena_is_written_again_only_after_it_was_read() {
    pass(3, &[LONG, LONG, LONG]);
}

pub(crate) fn send(sender: &mut Tx, number: u8, len: usize) -> Result<(), Unsent> {
    sender.send(&content(number, len), header(number), Deadline::never())
}

pub(crate) fn receive(receiver: &mut Rx, number: u8, len: usize) -> Result<(), Halt> {
    let frame = receiver.take(Deadline::never())?;
    expect(receiver.ring(), &frame, number, len);
    receiver.release(frame.position);
    Ok(())
}

/// Sends messages of these lengths in a new thread. The connection is kept to the end: dropping it closes the
/// connection, which wakes the other side.
pub(crate) fn sending(ours: Established, lengths: &'static [usize]) -> thread::JoinHandle<(Established, Tx)> {
    thread::spawn(move || {
        let mut sender = ours.tx(0);
        for (number, len) in (1..).zip(lengths) {
            send(&mut sender, number, *len).expect("a receiver that stays");
        }
        (ours, sender)
    })
}

/// Sends messages through a connection whose two sides park when they wait.
fn deliver(preemptions: usize, wakers: Wakers, lengths: &'static [usize]) {
    explore(preemptions, wakers, move || {
        let (ours, theirs) = connected();
        let sending = sending(ours, lengths);
        let mut receiver = theirs.rx(0);
        for (number, len) in (1..).zip(lengths) {
            receive(&mut receiver, number, *len).expect("a sender that stays");
        }
        drop(sending.join().expect("the sender"));
    });
}

/// Parking for messages. The waiter sets the word, fences, and looks again. The waker publishes, fences, and looks at
/// the word.
pub fn a_parked_receiver_is_woken(wakers: Wakers) {
    deliver(3, wakers, &[1]);
}

/// Parking for room: the third message has none until the first is released. The release is the receiver's last
/// operation: the fence of another wait would replace the fence of the release.
pub fn a_parked_sender_is_woken(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected();
        let sending = sending(ours, &[1, 1, 1]);
        receive(&mut theirs.rx(0), 1, 1).expect("a sender that stays");
        drop(sending.join().expect("the sender"));
    });
}

/// Parking on both sides in turn, for slots and for room in the arena.
pub fn both_sides_park(wakers: Wakers) {
    deliver(2, wakers, &[LONG, LONG, LONG, 1]);
}

/// The sender closes right after its messages: the receiver gets every message, and then the end.
pub fn a_close_loses_nothing(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected();
        let sending = thread::spawn(move || {
            let mut sender = ours.tx(0);
            send(&mut sender, 1, 1).expect("room");
            send(&mut sender, 2, LONG).expect("room");
            ours.connection.close();
            (ours, sender)
        });
        let mut receiver = theirs.rx(0);
        receive(&mut receiver, 1, 1).expect("a message sent before the close");
        receive(&mut receiver, 2, LONG).expect("a message sent before the close");
        assert!(matches!(receiver.take(Deadline::never()), Err(Halt::Closed)));
        drop(sending.join().expect("the sender"));
    });
}

/// The sender closes without a message.
pub fn a_close_wakes_a_parked_receiver(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected();
        let closing = thread::spawn(move || {
            ours.connection.close();
            ours
        });
        assert!(matches!(theirs.rx(0).take(Deadline::never()), Err(Halt::Closed)));
        drop(closing.join().expect("the sender"));
    });
}

/// The receiver closes while the sender waits for room that is never released.
pub fn a_close_by_the_receiver_wakes_a_parked_sender(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected();
        let closing = thread::spawn(move || {
            theirs.connection.close();
            theirs
        });
        let mut sender = ours.tx(0);
        let outcome = (1..=3).try_for_each(|number| send(&mut sender, number, 1));
        assert!(matches!(outcome, Err(Unsent::Halted(Halt::Closed | Halt::PeerDead))), "{outcome:?}");
        drop(closing.join().expect("the receiver"));
    });
}

/// One side finds the ring broken while the other waits: neither keeps sleeping.
pub fn a_condemned_ring_wakes_both_sides(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected();
        let condemning = thread::spawn(move || {
            ours.connection.condemn();
            let outcome = send(&mut ours.tx(0), 1, 1);
            assert!(matches!(outcome, Err(Unsent::Halted(Halt::FatalError(Fault::Reported)))), "{outcome:?}");
            ours
        });
        let outcome = theirs.rx(0).take(Deadline::never());
        assert!(matches!(outcome, Err(Halt::FatalError(Fault::Reported))), "{outcome:?}");
        drop(condemning.join().expect("the sender"));
    });
}

/// The sender dies right after its message: only the kernel reports the death.
pub fn a_death_loses_nothing(wakers: Wakers) {
    explore(3, wakers, || {
        let (ours, theirs) = connected();
        let dying = thread::spawn(move || {
            let mut sender = ours.tx(0);
            send(&mut sender, 1, LONG).expect("room");
            ours.connection.peer.hang_up();
            (ours, sender)
        });
        let mut receiver = theirs.rx(0);
        receive(&mut receiver, 1, LONG).expect("a message sent before the death");
        assert!(matches!(receiver.take(Deadline::never()), Err(Halt::PeerDead)));
        // Kept until here: dropping it would close the connection.
        drop(dying.join().expect("the sender"));
    });
}
