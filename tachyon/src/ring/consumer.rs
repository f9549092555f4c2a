//! The receiving end of a ring: polling, checking, releasing.

use core::ptr::NonNull;
use std::collections::VecDeque;
use std::sync::Arc;

use super::layout::INLINE_LEN;
use super::memory::{Fault, RingMemory};
use crate::sync::Ordering;

/// A message taken from the ring: its header, copied and checked, and where its payload lies.
///
/// Plain data. The payload stays in place until [`Consumer::release`] is told the position.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) position: u64,
    pub(crate) correlation_id: u64,
    pub(crate) type_id: u32,
    pub(crate) len: usize,
    pub(crate) data: NonNull<u8>,
}

impl Frame {
    /// Stands where no message has been taken yet.
    pub(crate) const fn none() -> Self {
        Self { position: 0, correlation_id: 0, type_id: 0, len: 0, data: NonNull::dangling() }
    }
}

// SAFETY: a frame is an address into a shared mapping with no owner of its own; whoever dereferences it proves that
// the mapping lives and that the frame has not been released.
#[allow(unsafe_code, reason = "a frame may be kept by a guard that another thread drops")]
unsafe impl Send for Frame {}

/// How many slots ahead a consumer that is behind fetches: as many as cross from core to core while it reads one.
const AHEAD: u64 = 8;

/// What became of an attempt to take a message the short way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    /// It is taken.
    Taken,
    /// It is not there yet; or the ring is broken, which the next look finds out.
    NotYet,
    /// There is one for [`Consumer::try_take`] to take.
    Otherwise,
}

/// The one consumer of a ring.
#[derive(Debug)]
pub(crate) struct Consumer {
    memory: Arc<RingMemory>,
    /// Position of the next message to take.
    next: u64,
    /// Everything before this position is released.
    released: u64,
    /// Positions released ahead of an earlier one that is still held, ascending.
    early: VecDeque<u64>,
    /// Longest payload that a slot of this ring may hold: the ring's capacity may be less than the slot's.
    most_inline: usize,
}

impl Consumer {
    /// The consumer of a ring nobody has received on.
    pub(crate) fn new(memory: Arc<RingMemory>) -> Self {
        let start = memory.start();
        let most_inline = INLINE_LEN.min(memory.geometry().capacity());
        Self { memory, next: start, released: start, early: VecDeque::new(), most_inline }
    }

    /// Messages taken and not yet released.
    pub(crate) fn held(&self) -> usize {
        let taken = usize::try_from(self.next.wrapping_sub(self.released)).expect("at most one per slot is taken");
        taken - self.early.len()
    }

    /// Messages taken so far.
    pub(crate) fn taken(&self) -> u64 {
        self.next.wrapping_sub(self.memory.start())
    }

    /// Messages published and not yet taken. Looks at a few slots, whatever their number: what is published lies
    /// together, from the next position on.
    pub(crate) fn waiting(&self) -> usize {
        let published = |ahead: usize| {
            let position = self.next.wrapping_add(ahead as u64);
            self.memory.slot(position).sequence.load(Ordering::Relaxed) == position.wrapping_add(1)
        };
        let (mut low, mut high) = (0, self.memory.geometry().slots());
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
        self.memory.slot(self.next).sequence.load(Ordering::Acquire) != self.memory.unpublished(self.next)
    }

    /// Whether a look is worth its while: the next slot has changed, or the ring is no longer open. Two loads that stay
    /// in this core's cache until then, and nothing else, so that waiting for it ends as early as it can.
    #[inline]
    pub(crate) fn has_news(&self) -> bool {
        let sequence = self.memory.slot(self.next).sequence.load(Ordering::Relaxed);
        sequence != self.memory.unpublished(self.next) || !self.memory.is_open()
    }

    /// Begins to fetch the slots that come next: the producer is ahead, so they are probably written.
    #[inline]
    pub(crate) fn prepare(&self) {
        self.memory.prefetch_for_reading(self.next.wrapping_add(AHEAD));
    }

    /// Takes the next message into `loan` if it has been published and lies in its slot, and if `wanted` says so of its
    /// correlation id: nearly all messages.
    ///
    /// The loan is written word by word where its words will be read one by one: a copy of it in wider moves would have to
    /// wait for the stores before it, which is what a short round trip consists of.
    #[inline]
    pub(crate) fn take_plain(&mut self, loan: &mut Frame, wanted: impl FnOnce(u64) -> bool) -> Plain {
        let position = self.next;
        let slot = self.memory.slot(position);
        let expected = position.wrapping_add(1);
        // Acquire: as in `try_take`.
        if slot.sequence.load(Ordering::Acquire) != expected {
            return Plain::NotYet;
        }
        let len = slot.len.load(Ordering::Relaxed) as usize;
        let correlation_id = slot.correlation_id.load(Ordering::Relaxed);
        if len > self.most_inline || !wanted(correlation_id) {
            return Plain::Otherwise;
        }
        loan.position = position;
        loan.correlation_id = correlation_id;
        loan.type_id = slot.type_id.load(Ordering::Relaxed);
        loan.len = len;
        loan.data = RingMemory::inline(slot);
        self.next = expected;
        Plain::Taken
    }

    /// Takes the next message if it has been published.
    #[inline]
    pub(crate) fn try_take(&mut self) -> Result<Option<Frame>, Fault> {
        let mut frame = Frame::none();
        Ok(if self.take_into(&mut frame)? { Some(frame) } else { None })
    }

    /// As [`try_take`](Self::try_take), into `loan`, which stays as it is if there is none.
    #[inline]
    pub(crate) fn take_into(&mut self, loan: &mut Frame) -> Result<bool, Fault> {
        let position = self.next;
        let slot = self.memory.slot(position);
        let expected = position.wrapping_add(1);
        // Acquire: pairs with the producer's release store of the same word.
        let found = slot.sequence.load(Ordering::Acquire);
        if found != expected {
            let previous = self.memory.unpublished(position);
            if found == previous {
                return Ok(false);
            }
            return Err(Fault::Sequence { found, expected, previous });
        }
        let len = slot.len.load(Ordering::Relaxed);
        let data =
            if len as usize <= self.most_inline { RingMemory::inline(slot) } else { self.locate(position, len)? };
        loan.position = position;
        loan.correlation_id = slot.correlation_id.load(Ordering::Relaxed);
        loan.type_id = slot.type_id.load(Ordering::Relaxed);
        loan.len = len as usize;
        loan.data = data;
        self.next = expected;
        Ok(true)
    }

    /// Where a payload too long for its slot lies.
    fn locate(&self, position: u64, len: u32) -> Result<NonNull<u8>, Fault> {
        let geometry = self.memory.geometry();
        if len as usize > geometry.capacity() {
            return Err(Fault::Length { len, capacity: geometry.capacity() });
        }
        let offset = self.memory.arena_offset_of(position);
        self.memory.arena(offset, len as usize).ok_or(Fault::Offset { offset, len, arena: geometry.arena_len() })
    }

    /// Gives a taken message's room back to the producer. Messages may be released in any order; room comes back in
    /// the order they were sent.
    #[inline]
    pub(crate) fn release(&mut self, position: u64) {
        debug_assert!(self.next.wrapping_sub(position) <= self.next.wrapping_sub(self.released));
        if position != self.released {
            return self.release_early(position);
        }
        self.released = position.wrapping_add(1);
        while self.early.front() == Some(&self.released) {
            self.early.pop_front();
            self.released = self.released.wrapping_add(1);
        }
        self.publish_released();
    }

    /// Gives back everything taken up to and including `position`, of which nothing was released early.
    pub(crate) fn release_through(&mut self, position: u64) {
        debug_assert!(self.early.is_empty());
        self.released = position.wrapping_add(1);
        self.publish_released();
    }

    #[inline]
    fn publish_released(&self) {
        // Release: pairs with the producer's acquire load; our reads of the slots are over when it sees this.
        self.memory.header().released.0.store(self.released, Ordering::Release);
    }

    #[cold]
    fn release_early(&mut self, position: u64) {
        let distance = |other: &u64| other.wrapping_sub(self.released);
        let at = self.early.partition_point(|other| distance(other) < distance(&position));
        self.early.insert(at, position);
    }

    /// After releasing: whether the producer is parked and must be woken. At most one caller is told so for each time
    /// it parks.
    #[inline]
    pub(crate) fn producer_needs_wake(&self) -> bool {
        let parked = &self.memory.header().producer_parked.0;
        // As in `Producer::consumer_needs_wake`, with the released count in the publication's place.
        self.memory.barrier().before_looking_for_sleepers();
        parked.load(Ordering::Relaxed) != 0 && parked.swap(0, Ordering::Relaxed) != 0
    }
}
