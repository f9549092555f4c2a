//! The two ends of a ring, without a connection.
#![allow(unsafe_code, reason = "reads payloads and writes reservations in place")]

use std::sync::Arc;

use super::hostile::{CAPACITY, attack};
use crate::ring::{Consumer, Fault, Frame, MessageHeader, Producer, Reservation};

/// A consumer whose peer may write any byte of the ring between any two loads.
///
/// Each position comes once and in order, payloads lie in the ring, and a fault is one of the three faults of a slot.
/// Messages are released in any order, one by one or as a batch.
pub fn consumer(data: &[u8]) {
    attack(data, 1, |hostile| {
        let memory = &hostile.rings[0];
        let mut consumer = Consumer::new(Arc::clone(memory));
        let mut peer = Producer::new(Arc::clone(memory));
        let mut held: Vec<Frame> = Vec::new();
        let mut next = memory.start();
        while let Some(step) = hostile.input.next() {
            hostile.focus[0].set(next);
            match step & 7 {
                0 | 1 => hostile.strike(),
                2 => {
                    let len = usize::from(hostile.input.short()) % (CAPACITY + 1);
                    let header = MessageHeader::new(hostile.input.word(), next);
                    let _ = peer.push_slow(&[step; CAPACITY][..len], header);
                }
                3 | 4 => match consumer.try_take() {
                    Ok(Some(frame)) => {
                        assert_eq!(frame.position, next, "out of turn");
                        assert!(frame.len <= CAPACITY && hostile.holds(0, frame.data.as_ptr(), frame.len));
                        read(&frame);
                        next = next.wrapping_add(1);
                        held.push(frame);
                    }
                    Ok(None) | Err(Fault::Sequence { .. } | Fault::Length { .. } | Fault::Offset { .. }) => {}
                    Err(fault) => panic!("{fault} is not a fault of a slot"),
                },
                5 if !held.is_empty() => {
                    let index = usize::from(hostile.input.byte()) % held.len();
                    let frame = held.remove(index);
                    read(&frame);
                    let _ = consumer.release(frame.position);
                }
                6 => {
                    // Also releases positions that were released before.
                    if let Some(last) = held.last() {
                        consumer.release_through(last.position);
                    }
                    held.clear();
                }
                _ => {
                    let _ = (consumer.is_ready(), consumer.producer_needs_ring());
                    assert!(consumer.waiting() <= memory.geometry().slots());
                    assert_eq!(consumer.taken(), next.wrapping_sub(memory.start()));
                }
            }
            assert_eq!(consumer.held(), held.len());
        }
    });
}

fn read(frame: &Frame) {
    for at in 0..frame.len {
        // SAFETY: the target has checked that the payload lies in the ring's mapping, and keeps the mapping.
        let byte = unsafe { frame.data.add(at) };
        // SAFETY: the byte lies in the mapping, any byte is a valid `u8`, and the read is volatile because a peer may
        // change the byte.
        let _ = unsafe { byte.read_volatile() };
    }
}

/// A producer whose peer lies about the released messages, and may write any other byte.
///
/// Reservations lie in the ring, and never overlap a message that the peer has not claimed to have released.
pub fn producer(data: &[u8]) {
    attack(data, 1, |hostile| {
        let memory = &hostile.rings[0];
        let mut producer = Producer::new(Arc::clone(memory));
        let mut peer = Consumer::new(Arc::clone(memory));
        // Published payloads in the arena: position, address, length.
        let mut owed: Vec<(u64, usize, usize)> = Vec::new();
        let mut latest: Option<Reservation> = None;
        while let Some(step) = hostile.input.next() {
            hostile.focus[0].set(producer.position());
            // A claim about unsent messages becomes valid once these are sent.
            hostile.note_claim(0);
            match step & 7 {
                0 | 1 => hostile.strike(),
                2 | 3 => {
                    let len = usize::from(hostile.input.short()) % (CAPACITY + 1);
                    latest = match producer.try_reserve(len) {
                        Ok(reservation) => reservation,
                        Err(Fault::Released { .. }) => None,
                        Err(fault) => panic!("{fault} is not a fault of the released count"),
                    };
                    if let Some(reservation) = latest {
                        let at = reservation.as_ptr().as_ptr();
                        assert_eq!(reservation.len(), len);
                        assert!(hostile.holds(0, at, len));
                        let sent = producer.position().wrapping_sub(memory.start());
                        let claimed = hostile.claimed[0].get();
                        assert!(sent - claimed < memory.geometry().slots() as u64, "a slot that is owed");
                        owed.retain(|(position, ..)| position.wrapping_sub(memory.start()) >= claimed);
                        let clear = |(_, from, bytes): &(u64, usize, usize)| {
                            at.addr() + len <= *from || from + bytes <= at.addr()
                        };
                        assert!(owed.iter().all(clear), "a payload that is owed");
                        producer.fill(reservation, &[step; CAPACITY][..len]);
                    }
                }
                4 | 5 => {
                    if let Some(reservation) = latest.take() {
                        let len = usize::from(hostile.input.short()) % (reservation.len() + 1);
                        if len > memory.geometry().inline_len() {
                            owed.push((producer.position(), reservation.as_ptr().as_ptr().addr(), len));
                        }
                        producer.publish(reservation, len, MessageHeader::new(hostile.input.word(), 0));
                    }
                }
                6 => {
                    if let Ok(Some(frame)) = peer.try_take() {
                        let _ = peer.release(frame.position);
                        hostile.note_claim(0);
                    }
                }
                _ => {
                    let _ = producer.consumer_needs_ring();
                    assert!(producer.in_flight() <= memory.geometry().slots());
                }
            }
        }
    });
}
