//! The ring against a model queue, at its limits, and against a hostile peer.
#![allow(unsafe_code, reason = "reads payloads in place and plays a hostile peer")]
#![allow(clippy::cast_possible_truncation, reason = "test data only has to differ")]

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;

use super::layout::ARENA_ALIGN;
use super::*;
use crate::sync::Ordering;

fn ring_of(capacity: usize, carries: Use, start: u64) -> (Arc<RingMemory>, Producer, Consumer) {
    let (memory, _fd) = RingMemory::create_at(Geometry::new(capacity, carries).unwrap(), start).unwrap();
    let memory = Arc::new(memory);
    (Arc::clone(&memory), Producer::new(Arc::clone(&memory)), Consumer::new(memory))
}

fn ring_at(capacity: usize, start: u64) -> (Arc<RingMemory>, Producer, Consumer) {
    ring_of(capacity, Use::Calls, start)
}

fn try_push(producer: &mut Producer, data: &[u8], type_id: u32, correlation_id: u64) -> Result<bool, Fault> {
    let header = MessageHeader::due(type_id, correlation_id, type_id ^ 5);
    if producer.has_slot() && data.len() <= producer.first_line_len() {
        producer.push_first_line(data, header);
        return Ok(true);
    }
    Ok((producer.has_slot() && producer.push_fast(data, header)) || producer.push_slow(data, header)?)
}

fn ring(capacity: usize) -> (Arc<RingMemory>, Producer, Consumer) {
    ring_at(capacity, 0)
}

fn payload(frame: &Frame) -> &[u8] {
    // SAFETY: the frame was just taken from a ring of this test, is not yet released, and its producer is this thread.
    unsafe { core::slice::from_raw_parts(frame.data.as_ptr(), frame.len) }
}

fn message(len: usize, seed: u64) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(31) ^ seed) as u8).collect()
}

/// Sends and receives one message of every length and checks every byte.
fn carries_every_length(capacity: usize, carries: Use, start: u64) {
    let (_memory, mut producer, mut consumer) = ring_of(capacity, carries, start);
    for len in 0..=capacity {
        let sent = message(len, len as u64);
        assert!(try_push(&mut producer, &sent, len as u32, 7).unwrap(), "no room for {len} bytes in an empty ring");
        let frame = consumer.try_take().unwrap().unwrap();
        assert_eq!((frame.type_id, frame.correlation_id, frame.len), (len as u32, 7, len));
        assert_eq!(frame.deadline, len as u32 ^ 5);
        assert_eq!(payload(&frame), sent);
        let _ = consumer.release(frame.position);
        assert!(consumer.try_take().unwrap().is_none());
    }
}

#[test]
fn carries_every_length_from_nothing_to_capacity() {
    for power in 0..=12 {
        carries_every_length(1 << power, Use::Calls, 0);
        carries_every_length(1 << power, Use::Bus, 0);
    }
}

#[test]
fn positions_overflow_without_notice() {
    for back in [0, 1, 63, 64, 65, 1000] {
        carries_every_length(1024, Use::Calls, u64::MAX - back);
        carries_every_length(1024, Use::Bus, u64::MAX - back);
    }
}

#[test]
fn one_message_at_a_time_still_flows() {
    let (_memory, mut producer, mut consumer) = ring(4096);
    let sent = message(4096, 1);
    for _ in 0..200 {
        assert!(try_push(&mut producer, &sent, 0, 0).unwrap());
        assert!(!try_push(&mut producer, &sent, 0, 0).unwrap());
        let frame = consumer.try_take().unwrap().unwrap();
        assert!(!try_push(&mut producer, &sent, 0, 0).unwrap(), "room while the message is held");
        assert_eq!(payload(&frame), sent);
        let _ = consumer.release(frame.position);
    }
}

#[test]
fn short_messages_fill_every_slot_whatever_the_capacity() {
    let (memory, mut producer, mut consumer) = ring(1);
    let slots = memory.geometry().slots();
    for _ in 0..3 {
        for _ in 0..slots {
            assert!(try_push(&mut producer, &[9], 0, 0).unwrap());
        }
        assert!(!try_push(&mut producer, &[9], 0, 0).unwrap());
        for _ in 0..slots {
            let frame = consumer.try_take().unwrap().unwrap();
            let _ = consumer.release(frame.position);
        }
    }
}

#[test]
fn a_reservation_that_is_forgotten_publishes_nothing() {
    let (_memory, mut producer, mut consumer) = ring(1024);
    for len in [0, 40, 41, 232, 233, 1024] {
        let _forgotten = producer.try_reserve(len).unwrap().unwrap();
        assert!(consumer.try_take().unwrap().is_none());
    }
    assert!(try_push(&mut producer, &message(1024, 3), 0, 0).unwrap(), "forgotten reservations hold no room");
}

#[test]
fn a_commit_may_be_shorter_than_its_reservation() {
    let (_memory, mut producer, mut consumer) = ring(4096);
    for (reserved, actual) in [(40, 3), (41, 40), (233, 232), (233, 0), (4096, 40), (4096, 233), (4096, 4000)] {
        let sent = message(actual, 5);
        let reservation = producer.try_reserve(reserved).unwrap().unwrap();
        producer.fill(reservation, &sent);
        producer.publish(reservation, actual, MessageHeader::new(0, 0));
        let frame = consumer.try_take().unwrap().unwrap();
        assert_eq!(payload(&frame), sent, "{reserved} reserved, {actual} committed");
        let _ = consumer.release(frame.position);
    }
}

#[test]
fn messages_released_out_of_order_give_room_back_in_order() {
    let (memory, mut producer, mut consumer) = ring(4096);
    for len in [1000, 1000, 1000] {
        assert!(try_push(&mut producer, &message(len, 0), 0, 0).unwrap());
    }
    let frames: Vec<_> = (0..3).map(|_| consumer.try_take().unwrap().unwrap()).collect();
    let released = || memory.header().released.0.load(Ordering::Relaxed);
    assert!(!consumer.release(frames[2].position));
    assert!(!consumer.release(frames[1].position));
    assert_eq!((released(), consumer.held()), (0, 1));
    assert!(consumer.release(frames[0].position));
    assert_eq!((released(), consumer.held()), (3, 0));
}

#[derive(Debug, Clone)]
enum Step {
    Send(usize),
    Reserve(usize, usize),
    Take,
    Release(usize),
}

fn step(capacity: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..=capacity).prop_map(Step::Send),
        2 => (0..=64usize.min(capacity)).prop_map(Step::Send),
        1 => (0..=capacity, 0..=100usize).prop_map(|(most, share)| Step::Reserve(most, most * share / 100)),
        5 => Just(Step::Take),
        4 => any::<usize>().prop_map(Step::Release),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// Every sent message comes out once, unchanged and in order; the ring is full only when the model is.
    #[test]
    fn behaves_as_a_queue(
        (capacity, start, steps) in (0u32..13, prop_oneof![Just(0), u64::MAX - 200..=u64::MAX]).prop_flat_map(
            |(power, start)| (Just(1usize << power), Just(start), prop::collection::vec(step(1 << power), 1..300)),
        ),
    ) {
        let (memory, mut producer, mut consumer) = ring_at(capacity, start);
        let mut queue = VecDeque::new();
        let mut held: Vec<(Frame, Vec<u8>)> = Vec::new();
        let mut seed = 0u64;
        for step in steps {
            match step {
                Step::Send(len) | Step::Reserve(len, _) => {
                    seed += 1;
                    let actual = if let Step::Reserve(_, actual) = step { actual } else { len };
                    let sent = message(actual, seed);
                    let room = producer.try_reserve(len).unwrap();
                    if let Some(room) = room {
                        producer.fill(room, &sent);
                        producer.publish(room, actual, MessageHeader::new(actual as u32, seed));
                        queue.push_back((seed, sent));
                    } else {
                        let in_flight = queue.len() + held.len();
                        prop_assert!(in_flight > 0, "an empty ring refused {len} of {capacity} bytes");
                        let bytes: usize = queue.iter().map(|(_, sent)| sent).chain(held.iter().map(|(_, sent)| sent))
                            .filter(|sent| sent.len() > memory.geometry().inline_len())
                            .map(|sent| sent.len().next_multiple_of(ARENA_ALIGN)).sum();
                        // Padding at the lap's end costs at most what the refused message asks for; slots released
                        // out of order count as taken.
                        let early = consumer.held() < held.len() + 1;
                        prop_assert!(
                            in_flight >= memory.geometry().slots()
                                || bytes + 2 * len.next_multiple_of(ARENA_ALIGN) > memory.geometry().arena_len()
                                || early
                        );
                    }
                }
                Step::Take => match consumer.try_take().unwrap() {
                    Some(frame) => {
                        let (expected, sent) = queue.pop_front().expect("a message that was sent");
                        prop_assert_eq!(frame.correlation_id, expected);
                        prop_assert_eq!(frame.type_id as usize, sent.len());
                        held.push((frame, sent));
                    }
                    None => prop_assert!(queue.is_empty()),
                },
                Step::Release(index) if !held.is_empty() => {
                    let (frame, sent) = held.remove(index % held.len());
                    prop_assert_eq!(payload(&frame), &sent[..]);
                    let _ = consumer.release(frame.position);
                }
                Step::Release(_) => {}
            }
            for (frame, sent) in &held {
                prop_assert_eq!(payload(frame), &sent[..], "a held message changed");
            }
        }
    }

    /// A consumer over a slot of arbitrary bytes takes nothing outside the segment.
    #[test]
    fn a_lying_producer_is_caught(
        sequence in prop_oneof![Just(1u32), any::<u32>()],
        len in any::<u32>(),
        offset in any::<u64>(),
        power in 0u32..16,
    ) {
        let (memory, _producer, mut consumer) = ring(1 << power);
        let slot = memory.slot(0);
        // SAFETY: the payload area is at least 40 bytes and 8-aligned, and this thread is the only one.
        unsafe { memory.inline(0).cast::<u64>().write(offset) };
        slot.publication.store(joined(sequence, len), Ordering::Release);
        match consumer.try_take() {
            Ok(Some(frame)) => {
                prop_assert!(frame.len <= 1 << power);
                // Reads every byte: one outside the mapping would crash the test.
                let _sum: u64 = payload(&frame).iter().map(|byte| u64::from(*byte)).sum();
            }
            Ok(None) => prop_assert_eq!(sequence, 0),
            Err(Fault::Sequence { found, .. }) => prop_assert_eq!(found, sequence),
            Err(Fault::Length { len: found, capacity }) => prop_assert!(found == len && len as usize > capacity),
            Err(Fault::Offset { offset: found, .. }) => prop_assert_eq!(found, offset),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    /// A producer believes no count beyond what it sent, nor one that goes back.
    #[test]
    fn a_lying_consumer_is_caught(found in any::<u64>(), start in any::<u64>()) {
        let (memory, mut producer, mut consumer) = ring_at(64, start);
        for _ in 0..10 {
            prop_assert!(try_push(&mut producer, &[1], 0, 0).unwrap());
        }
        for _ in 0..5 {
            let frame = consumer.try_take().unwrap().unwrap();
            let _ = consumer.release(frame.position);
        }
        for _ in 0..54 {
            prop_assert!(try_push(&mut producer, &[1], 0, 0).unwrap());
        }
        // Full by the stale count: now it has to look.
        memory.header().released.0.store(found, Ordering::Relaxed);
        let claimed = found.wrapping_sub(start);
        match try_push(&mut producer, &[1], 0, 0) {
            Ok(sent) => {
                prop_assert!(claimed <= 64);
                prop_assert_eq!(sent, claimed > 0);
            }
            Err(fault) => {
                prop_assert!(claimed > 64);
                prop_assert_eq!(fault, Fault::Released { found, from: start, to: start.wrapping_add(64) });
            }
        }
    }
}

#[test]
fn two_threads_pass_every_message_once() {
    const MESSAGES: u64 = 200_000;
    let (_memory, mut producer, mut consumer) = ring_at(1 << 12, u64::MAX - 5000);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..MESSAGES {
                let sent = message((number % 97) as usize, number);
                while !try_push(&mut producer, &sent, 0, number).unwrap() {
                    std::thread::yield_now();
                }
            }
        });
        for number in 0..MESSAGES {
            let frame = loop {
                match consumer.try_take().unwrap() {
                    Some(frame) => break frame,
                    None => std::thread::yield_now(),
                }
            };
            assert_eq!(frame.correlation_id, number);
            assert_eq!(payload(&frame), message((number % 97) as usize, number));
            let _ = consumer.release(frame.position);
        }
    });
}

#[test]
fn a_fresh_ring_is_zeros() {
    let (memory, fd) = RingMemory::create(Geometry::new(1 << 20, Use::Calls).unwrap()).unwrap();
    let stat = rustix::fs::fstat(&fd).unwrap();
    let strict = std::fs::read("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim_ascii() == b"2");
    let touched = u64::try_from(stat.st_blocks).unwrap() * 512;
    assert!(touched <= 4096 || strict, "{touched} bytes of {} are touched", memory.segment().len());
}

#[test]
fn what_is_released_early_and_then_in_a_batch_is_released_once() {
    let (memory, mut producer, mut consumer) = ring(4096);
    for _ in 0..10 {
        assert!(try_push(&mut producer, b"x", 0, 0).unwrap());
    }
    let frames: Vec<_> = (0..10).map(|_| consumer.try_take().unwrap().unwrap()).collect();
    for early in [2, 3, 8] {
        assert!(!consumer.release(frames[early].position));
    }
    consumer.release_through(frames[7].position);
    assert_eq!(memory.header().released.0.load(Ordering::Relaxed), 9, "over what was released early behind it");
    assert_eq!(consumer.held(), 1);
    assert!(consumer.release(frames[9].position));
    assert_eq!(consumer.held(), 0);
}
