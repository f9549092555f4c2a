//! The sending end of a ring: it reserves room, copies payloads and publishes messages.
//!
//! The producer keeps a stale copy of the consumer's released count, and loads the shared count only when the stale
//! copy says "full" (as rtrb does). The extents of messages in the arena are private to the producer, so that a value
//! from the consumer cannot make the producer overwrite a payload in flight.
//!
//! Order of writes: first all lines after the first, then the first line in one burst, its sequence last. The consumer
//! polls the first line, so an early write there would move the line between the cores twice.
#![allow(unsafe_code, reason = "copies payloads into shared memory")]
#![allow(clippy::cast_possible_truncation, reason = "a message is at most 2 GiB")]

use core::ptr::{self, NonNull};
use std::collections::VecDeque;
use std::sync::Arc;

use super::layout::{ARENA_ALIGN, FIRST_LINE_LEN, LINE_LEN, SLOT_HEADER_LEN, joined};
use super::memory::{Cursor, Fault, RingMemory};
use super::parked::Waker;
use crate::sync::Ordering;

/// The type id, deadline and correlation id of a message: two words as in the slot, so that they are passed in
/// registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageHeader {
    kind: u64,
    correlation_id: u64,
}

impl MessageHeader {
    /// The header of a message without a deadline.
    #[inline]
    pub(crate) const fn new(type_id: u32, correlation_id: u64) -> Self {
        Self::due(type_id, correlation_id, 0)
    }

    /// The header of a message whose sender waits until `deadline`, in the format of `Deadline::to_wire`; 0 is no
    /// limit.
    #[inline]
    pub(crate) const fn due(type_id: u32, correlation_id: u64, deadline: u32) -> Self {
        Self { kind: joined(type_id, deadline), correlation_id }
    }
}

/// Room for one message, not yet visible to the consumer. Forgetting a reservation publishes nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reservation {
    data: NonNull<u8>,
    len: usize,
    /// Free-running arena position of the payload; unused when it lies in the slot.
    arena_start: u64,
}

// SAFETY: a reservation is an address into a shared mapping and owns nothing; code that dereferences it, on any thread,
// proves that the mapping lives and that the code runs for the ring's one producer.
unsafe impl Send for Reservation {}

impl Reservation {
    #[inline]
    pub(crate) fn as_ptr(self) -> NonNull<u8> {
        self.data
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        self.len
    }
}

/// Slots that a producer of a stream prefetches: as many as cross between cores while it writes one slot.
const AHEAD: usize = 8;

/// Most messages between two loads of the consumer's count.
const LOOK_EVERY: u64 = 1024;

/// Payloads of at least this length, in bytes, lie at the start of the arena if it is free: the same few lines are then
/// written again and again, and stay in the caches of both cores.
const REUSE_FROM: usize = 16 << 10;

/// The part of the arena that one message holds.
#[derive(Debug, Clone, Copy)]
struct Extent {
    position: u64,
    end: u64,
}

/// The one producer of a ring.
#[derive(Debug)]
pub(crate) struct Producer {
    /// Points to the next message.
    next: Cursor,
    waker: Waker,
    /// The consumer's released count at the last load.
    released: u64,
    /// Free-running byte positions of the arena: the next free byte, and the first byte in flight.
    arena_head: u64,
    arena_tail: u64,
    extents: VecDeque<Extent>,
    /// Position up to which slots are free by the stale count, at most [`LOOK_EVERY`] ahead of the last load.
    free_until: u64,
    /// Longest payload that fits a slot, and longest that fits its first line, in bytes.
    inline_len: usize,
    first_line_len: usize,
}

impl Producer {
    /// The producer of a ring before its first message.
    pub(crate) fn new(memory: Arc<RingMemory>) -> Self {
        let start = memory.start();
        let inline_len = memory.geometry().inline_len();
        Self {
            waker: Waker::new(),
            released: start,
            arena_head: 0,
            arena_tail: 0,
            extents: VecDeque::new(),
            free_until: start,
            inline_len,
            first_line_len: inline_len.min(FIRST_LINE_LEN),
            next: Cursor::new(memory),
        }
    }

    /// Position of the next message.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.next.position()
    }

    #[inline]
    fn memory(&self) -> &RingMemory {
        self.next.memory()
    }

    /// Messages published that the consumer has not released, by its own count.
    pub(crate) fn in_flight(&self) -> usize {
        let released = self.memory().header().released.0.load(Ordering::Relaxed);
        let slots = self.memory().geometry().slots();
        usize::try_from(self.position().wrapping_sub(released)).map_or(slots, |count| count.min(slots))
    }

    /// The credit that the consumer has granted in a cell, as the cell has it.
    pub(crate) fn granted(&self, cell: usize) -> u64 {
        // Relaxed: a credit guards no memory. The fence of `arm` orders the load for a producer that parks.
        self.memory().header().cells[cell].granted.load(Ordering::Relaxed)
    }

    /// Whether the ring is neither closed nor condemned.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.memory().is_open()
    }

    /// Prefetches a slot some messages ahead if the slot is known to be free. The consumer may still read any other
    /// slot, and would have to fetch its line back.
    #[inline]
    pub(crate) fn prepare_ahead(&self) {
        if self.free_until.wrapping_sub(self.position()) > AHEAD as u64 {
            self.next.prefetch_ahead(AHEAD, true);
        }
    }

    /// Longest message that this ring can carry, in bytes.
    #[inline]
    pub(crate) fn max_len(&self) -> usize {
        self.memory().geometry().capacity()
    }

    /// Whether a slot is free by the stale count. False at least every [`LOOK_EVERY`] messages, so that the count is
    /// loaded.
    #[inline]
    pub(crate) fn has_slot(&self) -> bool {
        self.position() != self.free_until
    }

    /// Longest payload that [`push_first_line`](Self::push_first_line) takes, in bytes.
    #[inline]
    pub(crate) fn first_line_len(&self) -> usize {
        self.first_line_len
    }

    /// Reserves room for `len` bytes, at most [`max_len`](Self::max_len); `None` while there is no room.
    #[inline]
    pub(crate) fn try_reserve(&mut self, len: usize) -> Result<Option<Reservation>, Fault> {
        debug_assert!(len <= self.max_len());
        if !self.has_slot() {
            self.refresh()?;
            if !self.has_slot() {
                return Ok(None);
            }
        }
        if len <= self.inline_len {
            if len > self.first_line_len {
                self.fetch_lines(len);
            }
            return Ok(Some(Reservation { data: self.next.inline(), len, arena_start: 0 }));
        }
        if len >= REUSE_FROM {
            self.refresh()?;
        } else if let Some(start) = self.fit(len) {
            return Ok(Some(self.arena_reservation(start, len)));
        } else {
            self.refresh()?;
        }
        Ok(self.fit(len).map(|start| self.arena_reservation(start, len)))
    }

    fn arena_reservation(&self, start: u64, len: usize) -> Reservation {
        let offset = self.offset(start);
        let data = self.memory().arena(offset, len).expect("`fit` gives positions whose bytes lie inside the arena");
        Reservation { data, len, arena_start: start }
    }

    fn offset(&self, arena_position: u64) -> u64 {
        arena_position & (self.memory().geometry().arena_len() as u64 - 1)
    }

    /// Free-running start of `len` contiguous free bytes, if the arena has them. A payload never wraps: the rest of the
    /// lap is skipped, which costs no room while the arena has no payload in flight.
    fn fit(&self, len: usize) -> Option<u64> {
        let arena = self.memory().geometry().arena_len() as u64;
        let need = (len as u64).next_multiple_of(ARENA_ALIGN as u64);
        let to_lap_end = arena - self.offset(self.arena_head);
        let fits = |start: u64| {
            let tail = if self.extents.is_empty() { start } else { self.arena_tail };
            start.wrapping_add(need).wrapping_sub(tail) <= arena
        };
        let next_lap = self.arena_head.wrapping_add(to_lap_end);
        let again = len >= REUSE_FROM && to_lap_end < arena && fits(next_lap);
        let start = if need <= to_lap_end && !again { self.arena_head } else { next_lap };
        fits(start).then_some(start)
    }

    /// Loads the consumer's released count and frees the released slots and extents.
    #[cold]
    fn refresh(&mut self) -> Result<(), Fault> {
        // Acquire: pairs with the release store of `Consumer::publish_released`. The consumer's reads of the freed
        // slots come before the next writes there.
        let found = self.memory().header().released.0.load(Ordering::Acquire);
        if found.wrapping_sub(self.released) > self.position().wrapping_sub(self.released) {
            return Err(Fault::Released { found, from: self.released, to: self.position() });
        }
        self.released = found;
        let in_flight = self.position().wrapping_sub(found);
        let free = (self.memory().slot_count() - in_flight).min(LOOK_EVERY);
        self.free_until = self.position().wrapping_add(free);
        while let Some(extent) = self.extents.front() {
            if self.position().wrapping_sub(extent.position) <= in_flight {
                break;
            }
            self.arena_tail = extent.end;
            self.extents.pop_front();
        }
        Ok(())
    }

    /// Copies `data` to the beginning of a reservation.
    ///
    /// # Panics
    /// When `data` is longer than the reservation.
    #[inline]
    pub(crate) fn fill(&mut self, reservation: Reservation, data: &[u8]) {
        assert!(data.len() <= reservation.len, "the reservation was made for this data");
        #[cfg(loom)]
        self.memory().segment().writes(reservation.data, data.len());
        if reservation.len <= self.inline_len {
            return copy_inline(data, reservation.data);
        }
        // SAFETY: the reservation is `reservation.len` bytes of a mapping that `self.memory` keeps, which only this
        // producer writes until it publishes them. Safe code gets slices of a ring's payloads from its consumer alone,
        // and a message in use is not released, so its bytes are in no reservation: `data` does not overlap.
        unsafe { ptr::copy_nonoverlapping(data.as_ptr(), reservation.data.as_ptr(), data.len()) };
    }

    /// Publishes the first `len` bytes of a reservation.
    ///
    /// The caller has checked `len <= reservation.len()` and holds the latest reservation of this producer.
    #[inline]
    pub(crate) fn publish(&mut self, reservation: Reservation, len: usize, header: MessageHeader) {
        debug_assert!(len <= reservation.len);
        if reservation.len > self.inline_len {
            self.place(reservation, len);
        }
        self.publish_slot(len, header);
    }

    /// Notes the extent of a payload in the arena, or moves the payload to the slot if it fits.
    fn place(&mut self, reservation: Reservation, len: usize) {
        let inline = self.next.inline();
        if len > self.inline_len {
            let need = (len as u64).next_multiple_of(ARENA_ALIGN as u64);
            let end = reservation.arena_start.wrapping_add(need);
            if self.extents.is_empty() {
                self.arena_tail = reservation.arena_start;
            }
            self.arena_head = end;
            self.extents.push_back(Extent { position: self.position(), end });
            let offset = self.offset(reservation.arena_start);
            #[cfg(loom)]
            self.memory().segment().writes(inline, size_of::<u64>());
            // SAFETY: the payload area is at least 40 bytes, 8-aligned, inside the next slot, which only this
            // producer writes until it publishes it.
            unsafe { inline.cast::<u64>().write(offset) };
        } else {
            #[cfg(loom)]
            self.memory().segment().writes(inline, len);
            // SAFETY: `len` fits the payload area; the reservation holds at least as many bytes in the arena; slots and
            // arena do not overlap; both belong to this producer until published.
            unsafe { ptr::copy_nonoverlapping(reservation.data.as_ptr(), inline.as_ptr(), len) };
        }
    }

    /// Writes the header of the next message into its slot and publishes the slot. The payload is already written.
    #[inline]
    fn publish_slot(&mut self, len: usize, header: MessageHeader) {
        let slot = self.next.slot();
        slot.correlation_id.store(header.correlation_id, Ordering::Relaxed);
        slot.kind.store(header.kind, Ordering::Relaxed);
        self.waker.begin(&self.memory().header().consumer_parked.0);
        // Release: pairs with the acquire load of `Consumer::take_into`, which then sees the header and the payload.
        slot.publication.store(joined(self.next.lap(), len as u32), Ordering::Release);
        self.next.advance();
    }

    /// Prefetches the lines after the first that a payload fills in the next slot. Without this the writes would wait
    /// for the lines one by one.
    #[inline]
    fn fetch_lines(&self, len: usize) {
        self.next.prefetch_for_writing((SLOT_HEADER_LEN + len - 1) / LINE_LEN);
    }

    /// Publishes a copy of a payload that fits the first line. The caller has found a slot.
    #[inline]
    pub(crate) fn push_first_line(&mut self, data: &[u8], header: MessageHeader) {
        let inline = self.next.inline();
        #[cfg(loom)]
        self.memory().segment().writes(inline, data.len());
        copy_first_line(data, inline);
        self.publish_slot(data.len(), header);
    }

    /// Publishes a copy of a payload that does not fit the first line, if there is room by the stale counts. The caller
    /// has found a slot. After false, [`push_slow`](Self::push_slow) has the answer.
    #[inline]
    pub(crate) fn push_fast(&mut self, data: &[u8], header: MessageHeader) -> bool {
        if data.len() > self.inline_len {
            return self.push_to_arena(data, header);
        }
        self.fetch_lines(data.len());
        let Some((first, tail)) = data.split_first_chunk() else { return false };
        let inline = self.next.inline();
        #[cfg(loom)]
        self.memory().segment().writes(inline, data.len());
        copy_lines(first, tail, inline);
        self.publish_slot(data.len(), header);
        true
    }

    /// As [`push_fast`](Self::push_fast), for a payload that lies in the arena.
    #[inline(never)]
    fn push_to_arena(&mut self, data: &[u8], header: MessageHeader) -> bool {
        if data.len() > self.max_len() || data.len() >= REUSE_FROM {
            return false;
        }
        let Some(start) = self.fit(data.len()) else { return false };
        let reservation = self.arena_reservation(start, data.len());
        self.fill(reservation, data);
        self.place(reservation, data.len());
        self.publish_slot(data.len(), header);
        true
    }

    /// Publishes a copy of `data` if there is room; false while there is none.
    pub(crate) fn push_slow(&mut self, data: &[u8], header: MessageHeader) -> Result<bool, Fault> {
        let Some(reservation) = self.try_reserve(data.len())? else { return Ok(false) };
        self.fill(reservation, data);
        self.publish(reservation, data.len(), header);
        Ok(true)
    }

    /// After publishing: whether the consumer is parked and must be rung. True at most once per arming.
    #[inline]
    pub(crate) fn consumer_needs_ring(&mut self) -> bool {
        self.waker.needs_ring(&self.next.memory().header().consumer_parked.0)
    }

    /// Notes that the consumer could not be rung: the next publication tries again.
    #[cold]
    pub(crate) fn ring_later(&self) {
        self.memory().header().consumer_parked.0.set();
    }
}

/// Copies a payload that fits a slot to its payload area, the first line last.
#[inline]
fn copy_inline(data: &[u8], inline: NonNull<u8>) {
    match data.split_first_chunk() {
        Some((first, tail)) => copy_lines(first, tail, inline),
        None => copy_first_line(data, inline),
    }
}

/// Copies a payload of at least 40 bytes that fits a slot, the first line last.
#[inline]
fn copy_lines(first: &[u8; FIRST_LINE_LEN], tail: &[u8], inline: NonNull<u8>) {
    copy_tail(tail, inline);
    // SAFETY: the payload area has at least 40 bytes plus the tail's, and is the producer's until it publishes the
    // slot. The payload is not that area: see `Producer::fill`.
    unsafe { ptr::copy_nonoverlapping(first.as_ptr(), inline.as_ptr(), FIRST_LINE_LEN) };
}

/// Copies a payload of at most 40 bytes. Overlapping moves of fixed size take less time than a call of `memcpy`.
#[inline]
fn copy_first_line(data: &[u8], inline: NonNull<u8>) {
    let len = data.len();
    debug_assert!(len <= FIRST_LINE_LEN);
    let copy = |at: usize, part: &[u8]| {
        // SAFETY: every call below has `at + part.len() <= len`, and the payload area has at least `len` bytes.
        let to = unsafe { inline.add(at) };
        // SAFETY: as above there are `part.len()` bytes from there on; they are this producer's until it publishes the
        // slot. `data` is not that area: see `Producer::fill`.
        unsafe { ptr::copy_nonoverlapping(part.as_ptr(), to.as_ptr(), part.len()) };
    };
    if let (Some(first), Some(last)) = (data.first_chunk::<16>(), data.last_chunk::<16>()) {
        copy(0, first);
        if len > 32 {
            copy(16, &data[16..32]);
        }
        copy(len - 16, last);
    } else if let (Some(first), Some(last)) = (data.first_chunk::<8>(), data.last_chunk::<8>()) {
        copy(0, first);
        copy(len - 8, last);
    } else if let (Some(first), Some(last)) = (data.first_chunk::<4>(), data.last_chunk::<4>()) {
        copy(0, first);
        copy(len - 4, last);
    } else if let (Some(first), Some(last)) = (data.first_chunk::<2>(), data.last_chunk::<2>()) {
        copy(0, first);
        copy(len - 2, last);
    } else if let Some(only) = data.first_chunk::<1>() {
        copy(0, only);
    }
}

/// Copies the payload's bytes after the first line to the following lines, and does not touch the first line.
#[inline]
fn copy_tail(tail: &[u8], inline: NonNull<u8>) {
    let copy = |at: usize, part: &[u8]| {
        // SAFETY: every call below has `at + part.len() <= tail.len()`, and the payload area has that many bytes behind
        // its first 40 bytes.
        let to = unsafe { inline.add(FIRST_LINE_LEN + at) };
        // SAFETY: as above there are `part.len()` bytes from there on; for the rest see `copy_inline`.
        unsafe { ptr::copy_nonoverlapping(part.as_ptr(), to.as_ptr(), part.len()) };
    };
    let len = tail.len();
    if let Some(last) = tail.last_chunk::<16>() {
        // Moves of fixed sizes, the largest first: the compiler would turn a loop into a call of `memcpy`. A slot's
        // lines after the first hold at most 192 bytes.
        let (mut at, mut rest) = (0, tail);
        if let Some((chunk, behind)) = rest.split_first_chunk::<128>() {
            copy(at, chunk);
            (at, rest) = (at + 128, behind);
        }
        if let Some((chunk, behind)) = rest.split_first_chunk::<64>() {
            copy(at, chunk);
            (at, rest) = (at + 64, behind);
        }
        if let Some((chunk, behind)) = rest.split_first_chunk::<32>() {
            copy(at, chunk);
            (at, rest) = (at + 32, behind);
        }
        if let Some(chunk) = rest.first_chunk::<16>() {
            copy(at, chunk);
        }
        copy(len - 16, last);
    } else if let (Some(first), Some(last)) = (tail.first_chunk::<8>(), tail.last_chunk::<8>()) {
        copy(0, first);
        copy(len - 8, last);
    } else if let (Some(first), Some(last)) = (tail.first_chunk::<4>(), tail.last_chunk::<4>()) {
        copy(0, first);
        copy(len - 4, last);
    } else if let (Some(first), Some(last)) = (tail.first_chunk::<2>(), tail.last_chunk::<2>()) {
        copy(0, first);
        copy(len - 2, last);
    } else if let Some(only) = tail.first_chunk::<1>() {
        copy(0, only);
    }
}
