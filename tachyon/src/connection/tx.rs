//! The sending direction of a connection: a producer that waits for room.

use core::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use super::error::{Halt, Unsent};
use super::life::Connection;
use crate::ring::{Fault, MessageHeader, Producer, Reservation, RingMemory};
use crate::wait::{Deadline, Waiter};

/// Least messages between two checks for a dead peer. A sender that never waits would not notice otherwise; a check
/// costs a system call.
const LIFE_CHECK_EVERY: u64 = 1024;

/// The sending end of a ring.
#[derive(Debug)]
pub(crate) struct Tx {
    pub(crate) connection: Arc<Connection>,
    pub(crate) index: usize,
    pub(crate) producer: Producer,
    pub(crate) waiter: Waiter,
    /// Whether a reply without room is deferred, because its driver has other callers. Otherwise the sender waits.
    never_waits: bool,
    /// Replies without room, the oldest first.
    deferred: VecDeque<DeferredReply>,
    deferred_bytes: usize,
    /// Looks that found no room.
    full_looks: u32,
    /// Position at the last check for a dead peer.
    life_checked: Cell<u64>,
}

/// Looks without room between two checks for a dead peer.
const LIFE_CHECK_AFTER: u32 = 64;

/// A reply that waits for room.
#[derive(Debug)]
struct DeferredReply {
    data: Vec<u8>,
    header: MessageHeader,
}

impl Tx {
    pub(super) fn new(connection: Arc<Connection>, index: usize, producer: Producer, waiter: Waiter) -> Self {
        Self {
            connection,
            index,
            producer,
            waiter,
            never_waits: false,
            deferred: VecDeque::new(),
            deferred_bytes: 0,
            full_looks: 0,
            life_checked: Cell::new(0),
        }
    }

    #[inline]
    pub(crate) fn ring(&self) -> &Arc<RingMemory> {
        self.connection.ring(self.index)
    }

    #[inline]
    pub(crate) fn max_len(&self) -> usize {
        self.producer.max_len()
    }

    /// Checks the preconditions of a send: the message fits, this process is no forked child, the ring is open, the
    /// peer lives.
    #[inline]
    pub(crate) fn check(&self, len: usize) -> Result<(), Unsent> {
        if len > self.max_len() {
            return Err(Unsent::TooLarge { size: len, max: self.max_len() });
        }
        self.connection.check_process()?;
        if !self.producer.is_open() {
            self.check_open()?;
        }
        let sent = self.producer.position().wrapping_sub(self.life_checked.get());
        if sent >= LIFE_CHECK_EVERY {
            self.life_checked.set(self.producer.position());
        }
        if self.connection.peer.was_gone() || (sent >= LIFE_CHECK_EVERY && self.connection.peer.is_gone()) {
            self.check_open()?;
            return Err(Halt::PeerDead.into());
        }
        Ok(())
    }

    /// The part of [`check`](Self::check) without the length and without system calls, for the fast path. After false,
    /// `check` has the reason, which may be none.
    #[inline]
    fn may_send(&self) -> bool {
        self.connection.check_process().is_ok() && self.producer.is_open() && !self.connection.peer.was_gone()
    }

    #[cold]
    pub(crate) fn check_open(&self) -> Result<(), Halt> {
        match self.connection.end_reason(self.ring()) {
            Some(halt) => Err(halt),
            None if self.connection.is_closed_by_peer(self.ring()) => Err(Halt::Closed),
            None => Ok(()),
        }
    }

    #[cold]
    pub(crate) fn fatal(&self, fault: Fault) -> Halt {
        self.connection.broken(fault)
    }

    /// Publishes a copy of `data` if there is room; false when there is none.
    #[inline]
    pub(crate) fn try_send(&mut self, data: &[u8], header: MessageHeader) -> Result<bool, Unsent> {
        if self.send_fast(data, header) {
            return Ok(true);
        }
        self.try_send_slow(data, header)
    }

    /// Publishes a copy of a message if there is room by the stale counts and no check fails. False, for any reason,
    /// means that no message was sent, and [`send`](Self::send) has the answer.
    #[inline]
    pub(crate) fn send_fast(&mut self, data: &[u8], header: MessageHeader) -> bool {
        if !self.producer.has_slot() || !self.may_send() {
            return false;
        }
        if data.len() > self.producer.first_line_len() {
            return self.send_fast_long(data, header);
        }
        self.producer.push_first_line(data, header);
        self.wake()
    }

    #[inline(never)]
    fn send_fast_long(&mut self, data: &[u8], header: MessageHeader) -> bool {
        self.producer.push_fast(data, header) && self.wake()
    }

    #[inline(never)]
    fn try_send_slow(&mut self, data: &[u8], header: MessageHeader) -> Result<bool, Unsent> {
        self.check(data.len())?;
        let sent = self.producer.push_slow(data, header).map_err(|fault| self.fatal(fault))?;
        if sent {
            self.wake();
        } else {
            self.note_full()?;
        }
        Ok(sent)
    }

    /// Notes that there was no room, and checks now and then for a dead peer.
    #[cold]
    fn note_full(&mut self) -> Result<(), Halt> {
        self.full_looks = self.full_looks.wrapping_add(1);
        if self.full_looks.is_multiple_of(LIFE_CHECK_AFTER) && self.connection.peer.is_gone() {
            self.check_open()?;
            return Err(Halt::PeerDead);
        }
        Ok(())
    }

    /// Publishes a copy of `data`, waiting for room.
    #[inline]
    pub(crate) fn send(&mut self, data: &[u8], header: MessageHeader, deadline: Deadline) -> Result<(), Unsent> {
        self.producer.prepare_ahead();
        if self.send_fast(data, header) {
            return Ok(());
        }
        self.send_slow(data, header, deadline)
    }

    #[inline(never)]
    fn send_slow(&mut self, data: &[u8], header: MessageHeader, deadline: Deadline) -> Result<(), Unsent> {
        if self.try_send_slow(data, header)? {
            return Ok(());
        }
        let reservation = self.wait_for_room(data.len(), deadline)?;
        self.fill(reservation, data);
        self.publish(reservation, data.len(), header);
        Ok(())
    }

    /// Publishes a reply, waiting for room. If the wait is interrupted, or the sender never waits, the reply is
    /// deferred, and [`flush`](Self::flush) publishes it before any later reply.
    #[inline]
    pub(crate) fn send_reply(&mut self, data: &[u8], header: MessageHeader) -> Result<(), Unsent> {
        if !self.has_deferred() && self.send_fast(data, header) {
            return Ok(());
        }
        self.send_reply_slow(data, header)
    }

    /// The slow path of [`send_reply`](Self::send_reply).
    #[inline(never)]
    fn send_reply_slow(&mut self, data: &[u8], header: MessageHeader) -> Result<(), Unsent> {
        match self.reserve_reply(data.len()) {
            Ok(Some(reservation)) => {
                self.fill(reservation, data);
                self.publish(reservation, data.len(), header);
                Ok(())
            }
            Ok(None) => {
                self.defer(data, header);
                if self.never_waits { Ok(()) } else { Err(Halt::Interrupted.into()) }
            }
            Err(unsent) => Err(unsent),
        }
    }

    /// Takes room for a reply, waiting for it. `None` when there is no room and this sender never waits, or the wait
    /// was interrupted: [`send_reply`](Self::send_reply) then defers the reply.
    #[inline]
    pub(crate) fn reserve_reply(&mut self, len: usize) -> Result<Option<Reservation>, Unsent> {
        if self.has_deferred() {
            match self.flush_deferred() {
                Ok(()) | Err(Halt::Interrupted) => {}
                Err(halt) => return Err(halt.into()),
            }
        }
        if self.has_deferred() {
            self.check(len)?;
            return Ok(None);
        }
        match self.try_reserve(len)? {
            Some(reservation) => Ok(Some(reservation)),
            None if self.never_waits => Ok(None),
            None => match self.wait_for_room(len, Deadline::never()) {
                Ok(reservation) => Ok(Some(reservation)),
                Err(Halt::Interrupted) => Ok(None),
                Err(halt) => Err(halt.into()),
            },
        }
    }

    /// Sends deferred replies, waiting for room unless this sender never waits; drops them when the caller is gone.
    #[cold]
    pub(crate) fn flush_deferred(&mut self) -> Result<(), Halt> {
        while !self.never_waits
            && let Some(reply) = self.deferred.front()
        {
            match self.wait_for_room(reply.data.len(), Deadline::never()) {
                Ok(reservation) => self.publish_deferred(reservation),
                Err(Halt::Closed | Halt::PeerDead) => self.drop_deferred(),
                Err(halt) => return Err(halt),
            }
        }
        Ok(())
    }

    #[cold]
    fn defer(&mut self, data: &[u8], header: MessageHeader) {
        self.deferred_bytes += data.len();
        self.deferred.push_back(DeferredReply { data: data.to_vec(), header });
    }

    fn drop_deferred(&mut self) {
        self.deferred.clear();
        self.deferred_bytes = 0;
    }

    /// Publishes the oldest deferred reply, for which the reservation was made.
    fn publish_deferred(&mut self, reservation: Reservation) {
        if let Some(reply) = self.deferred.pop_front() {
            self.deferred_bytes -= reply.data.len();
            self.fill(reservation, &reply.data);
            self.publish(reservation, reply.data.len(), reply.header);
        }
    }

    /// From now on defers a reply without room, until [`flush`](Self::flush) finds room, instead of waiting.
    /// Returns whether it did so before.
    pub(crate) fn never_wait(&mut self) -> bool {
        core::mem::replace(&mut self.never_waits, true)
    }

    /// Whether a reply without room is deferred from now on.
    pub(crate) fn set_never_waits(&mut self, never_waits: bool) {
        self.never_waits = never_waits;
    }

    /// Whether replies are deferred.
    #[inline]
    pub(crate) fn has_deferred(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Whether the deferred replies would fill a ring. No request is taken until the caller has taken some replies.
    pub(crate) fn is_overfull(&self) -> bool {
        let geometry = self.ring().geometry();
        self.deferred.len() >= geometry.slots() || self.deferred_bytes >= geometry.capacity()
    }

    /// Sends deferred replies while there is room; true when none is left. Drops them when the caller is gone.
    #[inline]
    pub(crate) fn flush(&mut self) -> Result<bool, Unsent> {
        while let Some(reply) = self.deferred.front() {
            match self.try_reserve(reply.data.len()) {
                Ok(Some(reservation)) => self.publish_deferred(reservation),
                Ok(None) => return Ok(false),
                Err(Unsent::Halted(Halt::Closed | Halt::PeerDead)) => self.drop_deferred(),
                Err(unsent) => return Err(unsent),
            }
        }
        Ok(true)
    }

    /// Messages sent or deferred so far, as a free-running count.
    #[inline]
    pub(crate) fn accepted(&self) -> u64 {
        self.producer.position().wrapping_add(self.deferred.len() as u64)
    }

    /// Takes room for `len` bytes, if there is any.
    pub(crate) fn try_reserve(&mut self, len: usize) -> Result<Option<Reservation>, Unsent> {
        self.check(len)?;
        let found = self.producer.try_reserve(len).map_err(|fault| self.fatal(fault))?;
        if found.is_none() {
            self.note_full()?;
        }
        Ok(found)
    }

    /// Takes room for `len` bytes, waiting for it.
    pub(crate) fn reserve(&mut self, len: usize, deadline: Deadline) -> Result<Reservation, Unsent> {
        match self.try_reserve(len)? {
            Some(reservation) => Ok(reservation),
            None => Ok(self.wait_for_room(len, deadline)?),
        }
    }

    #[cold]
    fn wait_for_room(&mut self, len: usize, deadline: Deadline) -> Result<Reservation, Halt> {
        let Self { connection, index, producer, waiter, .. } = self;
        let ring = connection.ring(*index);
        let words = [&ring.header().producer_parked.0];
        let awaited = connection.awaited(&words, deadline);
        waiter
            .wait(&awaited, || {
                let found = look_for_room(connection, ring, producer, len)?;
                if found.is_none() {
                    pause_between_looks();
                }
                Ok(found)
            })
            .map_err(|stop| connection.wait_failed(stop))
    }

    /// Publishes the first `len` bytes of the latest reservation and wakes the consumer.
    #[inline]
    pub(crate) fn publish(&mut self, reservation: Reservation, len: usize, header: MessageHeader) {
        // The ring belongs to the parent alone. A method that can return an error has checked before.
        if self.connection.check_process().is_err() {
            return;
        }
        self.producer.publish(reservation, len, header);
        self.wake();
    }

    /// Copies `data` into a reservation of at least its length.
    #[inline]
    pub(crate) fn fill(&mut self, reservation: Reservation, data: &[u8]) {
        self.producer.fill(reservation, data);
    }

    /// Rings the consumer if it is parked. Always true, so that a send can end with this call.
    #[inline]
    fn wake(&mut self) -> bool {
        if self.producer.consumer_needs_ring() { self.ring_consumer() } else { true }
    }

    #[cold]
    fn ring_consumer(&self) -> bool {
        if !self.connection.peer.ring() {
            self.producer.ring_later();
        }
        true
    }
}

/// Pauses between two looks for room. The consumer writes the released count with every message, and each look moves
/// its cache line: a producer that looks less often finds more room each time.
const PAUSES: u32 = 16;

fn pause_between_looks() {
    for _ in 0..PAUSES {
        core::hint::spin_loop();
    }
}

/// One look for room, and for the end of the ring.
pub(crate) fn look_for_room(
    connection: &Connection,
    ring: &RingMemory,
    producer: &mut Producer,
    len: usize,
) -> Result<Option<Reservation>, Halt> {
    match producer.try_reserve(len) {
        Err(fault) => Err(connection.broken(fault)),
        // Report a departed consumer even if there is room.
        Ok(_) if !ring.is_open() => match connection.end_reason(ring) {
            Some(halt) => Err(halt),
            None => Err(Halt::Closed),
        },
        Ok(found) => Ok(found),
    }
}
