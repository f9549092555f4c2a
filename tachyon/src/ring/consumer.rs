//! The receiving end of a ring: polling, checking, releasing.

use core::ptr::NonNull;
use std::collections::VecDeque;
use std::sync::Arc;

use super::layout::{FIRST_LINE_LEN, LINE_LEN, SLOT_HEADER_LEN, halves};
use super::memory::{Cursor, Fault, RingMemory};
use super::parked::Waker;
use crate::sync::Ordering;

/// A message taken from the ring: its header, copied and checked, and the place of its payload.
///
/// Plain data. The payload stays in place until [`Consumer::release`] gets the position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) position: u64,
    pub(crate) correlation_id: u64,
    pub(crate) type_id: u32,
    /// As in [`MessageHeader`](super::MessageHeader).
    pub(crate) deadline: u32,
    pub(crate) len: usize,
    pub(crate) data: NonNull<u8>,
}

impl Frame {
    /// Stands where no message has been taken yet.
    pub(crate) const fn none() -> Self {
        Self { position: 0, correlation_id: 0, type_id: 0, deadline: 0, len: 0, data: NonNull::dangling() }
    }
}

// SAFETY: a frame is an address into a shared mapping with no owner of its own; code that dereferences it proves that
// the mapping lives and that the frame has not been released.
#[allow(unsafe_code, reason = "a frame may be kept by a guard that another thread drops")]
unsafe impl Send for Frame {}

/// Slots that a consumer which is behind fetches ahead: as many as cross from core to core while it reads one.
const AHEAD: usize = 8;

/// The outcome of one look for a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// A message was taken.
    Taken,
    /// The next message is not published yet.
    NotYet,
    /// There is one that was not wanted; it was not taken.
    Unwanted,
    /// No correct peer writes what lies there.
    Broken(Fault),
}

/// The one consumer of a ring.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// At the next message to take.
    next: Cursor,
    waker: Waker,
    /// Everything before this position is released.
    released: u64,
    /// Positions released ahead of an earlier one that is still held, ascending.
    early: VecDeque<u64>,
    /// Longest payload that lies in a slot, and in its first line.
    inline_len: usize,
    first_line_len: usize,
    /// Lines beyond the first that the last message had in its slot.
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

    /// Messages published and not yet taken. Looks at a few slots, however many there are: published messages lie
    /// together, from the next position on.
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

    /// Whether the next look would find something: a message, or a reason to give the ring up.
    pub(crate) fn is_ready(&self) -> bool {
        halves(self.next.slot().publication.load(Ordering::Acquire)).0 != self.next.lap().wrapping_sub(1)
    }

    /// Whether a look is worth its cost: the next slot has changed, or the ring is no longer open. Two loads that stay in
    /// this core's cache until then, and nothing else, so that waiting for it ends as early as it can.
    #[inline]
    pub(crate) fn has_changed(&self) -> bool {
        let (sequence, _) = halves(self.next.slot().publication.load(Ordering::Relaxed));
        sequence != self.next.lap().wrapping_sub(1) || !self.memory().is_open()
    }

    /// Fetches a slot that comes soon: the producer is ahead, so it is probably written.
    #[inline]
    pub(crate) fn prepare(&self) {
        self.next.prefetch_ahead(AHEAD, false);
    }

    /// Takes the next message into `loan` if it has been published and `wanted` says so of its correlation id. `loan`
    /// stays as it is otherwise.
    ///
    /// The loan is written word by word where its words will be read one by one: a copy of it in wider moves would have to
    /// wait for the stores before it, which is most of a short round trip.
    #[inline]
    pub(crate) fn take_into(&mut self, loan: &mut Frame, wanted: impl FnOnce(u64) -> bool) -> Look {
        let Self { next, lines, inline_len, first_line_len, .. } = self;
        let (slot, lap) = (next.slot(), next.lap());
        // Acquire: pairs with the producer's release store of the same word.
        let (found, len) = halves(slot.publication.load(Ordering::Acquire));
        if found != lap {
            return if found == lap.wrapping_sub(1) {
                Look::NotYet
            } else {
                Look::Broken(Fault::Sequence { found, expected: lap })
            };
        }
        if *lines > 0 {
            // The message has as many lines as the one before it, in all likelihood.
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
        loan.position = next.position();
        loan.correlation_id = correlation_id;
        loan.type_id = type_id;
        loan.deadline = deadline;
        loan.len = len as usize;
        loan.data = data;
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

    /// Gives the room of a taken message back to the producer. Messages may be released in any order; room comes back in
    /// the order they were sent. True when some did.
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

    /// Gives back everything taken up to and including `position`, as far as it is not released yet.
    pub(crate) fn release_through(&mut self, position: u64) {
        self.released = position.wrapping_add(1);
        let (released, slots) = (self.released, self.memory().slot_count());
        self.early.retain(|early| early.wrapping_sub(released) < slots);
        self.pass_early();
        self.publish_released();
    }

    /// Moves the count over positions that were released early.
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
        // Release: pairs with the producer's acquire load; our reads of the slots are over when it sees this.
        header.released.0.store(self.released, Ordering::Release);
    }

    #[cold]
    fn release_early(&mut self, position: u64) {
        let distance = |other: &u64| other.wrapping_sub(self.released);
        let at = self.early.partition_point(|other| distance(other) < distance(&position));
        self.early.insert(at, position);
    }

    /// After a release that gave room back: whether the producer is parked and must be rung. True at most once for each
    /// time it parks.
    #[inline]
    pub(crate) fn producer_needs_ring(&mut self) -> bool {
        self.waker.needs_ring(&self.next.memory().header().producer_parked.0)
    }

    /// The producer could not be rung: the next release tries again.
    #[cold]
    pub(crate) fn ring_later(&self) {
        self.memory().header().producer_parked.0.set();
    }
}

/// Correlation id and type of the messages that lie in a ring, from the oldest that is not released on, without taking
/// them. For the thread that takes and releases; to another one they may change, and mean nothing.
pub(crate) fn unreleased(memory: &RingMemory) -> impl Iterator<Item = (u64, u32)> {
    let from = memory.header().released.0.load(Ordering::Relaxed);
    (0..memory.slot_count()).map_while(move |ahead| {
        let position = from.wrapping_add(ahead);
        let slot = memory.slot(position);
        // Acquire: pairs with the producer's release store of the same word.
        let (lap, _) = halves(slot.publication.load(Ordering::Acquire));
        (lap == memory.lap(position)).then(|| {
            let (type_id, _) = halves(slot.kind.load(Ordering::Relaxed));
            (slot.correlation_id.load(Ordering::Relaxed), type_id)
        })
    })
}

/// The place of a payload too long for its slot, whose lines are fetched from there on.
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
