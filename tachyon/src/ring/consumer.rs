//! The receiving end of a ring: it polls, checks, takes and releases messages.

use core::ptr::NonNull;
use std::collections::VecDeque;
use std::sync::Arc;

use super::layout::{FIRST_LINE_LEN, LINE_LEN, SLOT_HEADER_LEN, halves};
use super::memory::{Cursor, Fault, RingMemory};
use super::parked::Waker;
use crate::sync::Ordering;

/// A message taken from the ring: its header, copied and checked, and the address of its payload.
///
/// The payload stays in place until [`Consumer::release`] gets the position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) position: u64,
    pub(crate) correlation_id: u64,
    pub(crate) type_id: u32,
    /// As [`MessageHeader::due`](super::MessageHeader::due) takes the deadline.
    pub(crate) deadline: u32,
    pub(crate) len: usize,
    pub(crate) data: NonNull<u8>,
}

impl Frame {
    /// The value before the first message.
    pub(crate) const fn none() -> Self {
        Self { position: 0, correlation_id: 0, type_id: 0, deadline: 0, len: 0, data: NonNull::dangling() }
    }
}

// SAFETY: a frame is an address into a shared mapping and owns nothing; code that dereferences it proves that the
// mapping lives and that the frame has not been released.
#[allow(unsafe_code, reason = "a frame may be kept by a guard that another thread drops")]
unsafe impl Send for Frame {}
// SAFETY: as above; no method changes a frame through a shared reference.
#[allow(unsafe_code, reason = "the context of a call, which a handler may pass to other threads, lends its frame")]
unsafe impl Sync for Frame {}

/// Slots that a consumer prefetches while it is behind: as many as cross between cores while it reads one slot.
const AHEAD: usize = 8;

/// The outcome of one look for a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// A message was taken.
    Taken,
    /// The next message is not published yet.
    NotYet,
    /// The next message was not wanted, and not taken.
    Unwanted,
    /// The slot holds a value that no correct peer writes.
    Broken(Fault),
}

/// The one consumer of a ring.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// Points to the next message to take.
    next: Cursor,
    waker: Waker,
    /// Everything before this position is released.
    released: u64,
    /// Positions released before an earlier position was released, ascending.
    early: VecDeque<u64>,
    /// Longest payload that fits a slot, and longest that fits its first line, in bytes.
    inline_len: usize,
    first_line_len: usize,
    /// Lines after the first that the last message filled in its slot.
    lines: usize,
}

impl Consumer {
    /// The consumer of a ring before its first message.
    pub(crate) fn new(memory: Arc<RingMemory>) -> Self {
        let start = memory.start();
        let inline_len = memory.geometry().inline_len();
        Self {
            next: Cursor::new(memory),
            waker: Waker::new(),
            released: start,
            early: VecDeque::new(),
            inline_len,
            first_line_len: inline_len.min(FIRST_LINE_LEN),
            lines: 0,
        }
    }

    #[inline]
    fn memory(&self) -> &RingMemory {
        self.next.memory()
    }

    /// Position of the next message to take.
    #[inline]
    fn position(&self) -> u64 {
        self.next.position()
    }

    /// Messages taken and not yet released.
    pub(crate) fn held(&self) -> usize {
        let taken =
            usize::try_from(self.position().wrapping_sub(self.released)).expect("at most one per slot is taken");
        taken - self.early.len()
    }

    /// Messages taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.position().wrapping_sub(self.memory().start())
    }

    /// Messages published and not yet taken. A binary search: published messages are contiguous from the next position
    /// on.
    pub(crate) fn waiting(&self) -> usize {
        let published = |ahead: usize| {
            let position = self.position().wrapping_add(ahead as u64);
            halves(self.memory().slot(position).publication.load(Ordering::Relaxed)).0 == self.memory().lap(position)
        };
        let (mut low, mut high) = (0, self.memory().geometry().slots());
        while low < high {
            let middle = low.midpoint(high);
            if published(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Whether the next look would find a message or a fault.
    pub(crate) fn is_ready(&self) -> bool {
        halves(self.next.slot().publication.load(Ordering::Acquire)).0 != self.next.lap().wrapping_sub(1)
    }

    /// Whether the next slot has changed, or the ring is no longer open. Only two loads, both from lines that stay in
    /// this core's cache until the peer writes: a spin over this function ends as early as possible.
    #[inline]
    pub(crate) fn has_changed(&self) -> bool {
        let (sequence, _) = halves(self.next.slot().publication.load(Ordering::Relaxed));
        sequence != self.next.lap().wrapping_sub(1) || !self.memory().is_open()
    }

    /// Prefetches a later slot. The producer is ahead, so the slot is probably published.
    #[inline]
    pub(crate) fn prepare(&self) {
        self.next.prefetch_ahead(AHEAD, false);
    }

    /// Takes the next message into `frame` if it is published and `wanted` accepts its correlation id. Otherwise
    /// `frame` does not change.
    ///
    /// The words of the frame are stored where they are read later, one by one: a copy in wider moves would wait for
    /// the narrower stores before it, and that wait is most of a short round trip.
    #[inline]
    pub(crate) fn take_into(&mut self, frame: &mut Frame, wanted: impl FnOnce(u64) -> bool) -> Look {
        let Self { next, lines, inline_len, first_line_len, .. } = self;
        let (slot, lap) = (next.slot(), next.lap());
        // Acquire: pairs with the release store of `Producer::publish_slot`.
        let (found, len) = halves(slot.publication.load(Ordering::Acquire));
        if found != lap {
            return if found == lap.wrapping_sub(1) {
                Look::NotYet
            } else {
                Look::Broken(Fault::Sequence { found, expected: lap })
            };
        }
        if *lines > 0 {
            // The message probably has as many lines as the one before it.
            next.prefetch_for_reading(core::mem::take(lines));
        }
        let correlation_id = slot.correlation_id.load(Ordering::Relaxed);
        if !wanted(correlation_id) {
            return Look::Unwanted;
        }
        let (type_id, deadline) = halves(slot.kind.load(Ordering::Relaxed));
        let mut data = next.inline();
        if len as usize > *first_line_len {
            if len as usize <= *inline_len {
                *lines = (SLOT_HEADER_LEN + len as usize - 1) / LINE_LEN;
            } else {
                match locate(next, len) {
                    Ok(found) => data = found,
                    Err(fault) => return Look::Broken(fault),
                }
            }
        }
        frame.position = next.position();
        frame.correlation_id = correlation_id;
        frame.type_id = type_id;
        frame.deadline = deadline;
        frame.len = len as usize;
        frame.data = data;
        next.advance();
        Look::Taken
    }

    /// Takes the next message if it has been published.
    #[inline]
    pub(crate) fn try_take(&mut self) -> Result<Option<Frame>, Fault> {
        let mut frame = Frame::none();
        match self.take_into(&mut frame, |_| true) {
            Look::Taken => Ok(Some(frame)),
            Look::NotYet | Look::Unwanted => Ok(None),
            Look::Broken(fault) => Err(fault),
        }
    }

    /// Releases a taken message. Messages may be released in any order, but the producer gets room back in the order of
    /// sending. True when the producer got room.
    #[inline]
    #[must_use = "the producer may wait for room"]
    pub(crate) fn release(&mut self, position: u64) -> bool {
        debug_assert!(self.position().wrapping_sub(position) <= self.position().wrapping_sub(self.released));
        if position != self.released {
            self.release_early(position);
            return false;
        }
        self.released = position.wrapping_add(1);
        if !self.early.is_empty() {
            self.pass_early();
        }
        self.publish_released();
        true
    }

    /// Releases every taken message up to and including `position` that is not released yet.
    pub(crate) fn release_through(&mut self, position: u64) {
        self.released = position.wrapping_add(1);
        let (released, slots) = (self.released, self.memory().slot_count());
        self.early.retain(|early| early.wrapping_sub(released) < slots);
        self.pass_early();
        self.publish_released();
    }

    /// Advances the count past positions that were released early.
    fn pass_early(&mut self) {
        while self.early.front() == Some(&self.released) {
            self.early.pop_front();
            self.released = self.released.wrapping_add(1);
        }
    }

    #[inline]
    fn publish_released(&self) {
        let header = self.memory().header();
        self.waker.begin(&header.producer_parked.0);
        // Release: pairs with the acquire load of `Producer::refresh`. The reads of the released slots come before.
        header.released.0.store(self.released, Ordering::Release);
    }

    /// Stores the credit of a stream. [`producer_needs_ring`](Self::producer_needs_ring) follows.
    pub(crate) fn grant(&self, cell: usize, granted: u64) {
        let header = self.memory().header();
        self.waker.begin(&header.producer_parked.0);
        // Relaxed: a credit guards no memory.
        header.cells[cell].granted.store(granted, Ordering::Relaxed);
    }

    /// Takes the credit of a stream that has ended back. The message that follows tells the producer.
    pub(crate) fn reset_credit(&self, cell: usize) {
        // Relaxed: the publication of the message that follows orders the store.
        self.memory().header().cells[cell].granted.store(0, Ordering::Relaxed);
    }

    #[cold]
    fn release_early(&mut self, position: u64) {
        let distance = |other: &u64| other.wrapping_sub(self.released);
        let at = self.early.partition_point(|other| distance(other) < distance(&position));
        self.early.insert(at, position);
    }

    /// After a release that gave room: whether the producer is parked and must be rung. True at most once per arming.
    #[inline]
    pub(crate) fn producer_needs_ring(&mut self) -> bool {
        self.waker.needs_ring(&self.next.memory().header().producer_parked.0)
    }

    /// Notes that the producer could not be rung: the next release tries again.
    #[cold]
    pub(crate) fn ring_later(&self) {
        self.memory().header().producer_parked.0.set();
    }
}

/// The correlation ids and type ids of all unreleased messages of a ring, the oldest first, without taking them. Only
/// for the thread that takes and releases: for another thread the words may change meanwhile.
pub(crate) fn unreleased(memory: &RingMemory) -> impl Iterator<Item = (u64, u32)> {
    let from = memory.header().released.0.load(Ordering::Relaxed);
    (0..memory.slot_count()).map_while(move |ahead| {
        let position = from.wrapping_add(ahead);
        let slot = memory.slot(position);
        // Acquire: pairs with the release store of `Producer::publish_slot`.
        let (lap, _) = halves(slot.publication.load(Ordering::Acquire));
        (lap == memory.lap(position)).then(|| {
            let (type_id, _) = halves(slot.kind.load(Ordering::Relaxed));
            (slot.correlation_id.load(Ordering::Relaxed), type_id)
        })
    })
}

/// The address of a payload in the arena, after checking it. Prefetches the payload.
#[inline(never)]
fn locate(place: &Cursor, len: u32) -> Result<NonNull<u8>, Fault> {
    let memory = place.memory();
    let geometry = memory.geometry();
    if len as usize > geometry.capacity() {
        return Err(Fault::Length { len, capacity: geometry.capacity() });
    }
    let offset = memory.arena_offset_of(place.position());
    let data = memory.arena(offset, len as usize);
    let data = data.ok_or(Fault::Offset { offset, len, arena: geometry.arena_len() })?;
    RingMemory::fetch_arena(data, len as usize);
    Ok(data)
}
