//! The sending end of a ring: room, reservation, publication.
//!
//! Design notes. The end keeps a stale copy of the consumer's released count and looks at the shared one only when the
//! stale one says "full" (as rtrb does). What a message occupies in the arena is remembered here, privately, so that
//! nothing the consumer writes can make the producer overwrite a payload it still owes.
#![allow(unsafe_code, reason = "copies payloads into shared memory")]
#![allow(clippy::cast_possible_truncation, reason = "a message is at most 2 GiB")]

use core::ptr::{self, NonNull};
use std::collections::VecDeque;
use std::sync::Arc;

use super::layout::{ARENA_ALIGN, INLINE_LEN, Slot};
use super::memory::{Fault, RingMemory};
use crate::sync::Ordering;

/// Room for one message, taken but not yet visible to the consumer. Plain data: [`Producer::publish`] uses it up, and
/// forgetting it publishes nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reservation {
    data: NonNull<u8>,
    len: usize,
    /// Free-running arena position of the payload; unused when it lies in the slot.
    arena_start: u64,
}

// SAFETY: a reservation is an address into a shared mapping with no owner of its own; whoever dereferences it proves
// that the mapping lives and that it is the ring's one producer, on whatever thread.
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

/// How many slots ahead a producer in a stream fetches: as many as cross from core to core while it writes one.
const AHEAD: u64 = 8;

/// What one message holds of the arena.
#[derive(Debug, Clone, Copy)]
struct Extent {
    position: u64,
    end: u64,
}

/// The one producer of a ring.
#[derive(Debug)]
pub(crate) struct Producer {
    memory: Arc<RingMemory>,
    /// Position of the next message.
    head: u64,
    /// The consumer's released count when last looked at.
    released: u64,
    /// Free-running byte positions of the arena: next free byte, first byte still owed.
    arena_head: u64,
    arena_tail: u64,
    extents: VecDeque<Extent>,
    /// Longest message that [`push_short`](Self::push_short) takes: the ring's capacity may be less than a slot's.
    most_inline: usize,
}

impl Producer {
    /// The producer of a ring nobody has sent on.
    pub(crate) fn new(memory: Arc<RingMemory>) -> Self {
        let start = memory.start();
        let most_inline = INLINE_LEN.min(memory.geometry().capacity());
        Self {
            memory,
            head: start,
            released: start,
            arena_head: 0,
            arena_tail: 0,
            extents: VecDeque::new(),
            most_inline,
        }
    }

    /// Position of the next message; one more than the last published one's.
    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.head
    }

    /// Messages published that the consumer has not released, going by its word for it.
    pub(crate) fn under_way(&self) -> usize {
        let released = self.memory.header().released.0.load(Ordering::Relaxed);
        let slots = self.memory.geometry().slots();
        usize::try_from(self.head.wrapping_sub(released)).map_or(slots, |count| count.min(slots))
    }

    /// Whether nothing is known to be wrong with the ring, and nobody closed it.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.memory.is_open()
    }

    /// Begins to fetch the next slot: something will be sent soon.
    #[inline]
    pub(crate) fn prepare(&self) {
        self.memory.prefetch_for_writing(self.head);
    }

    /// Begins to fetch a slot some messages ahead, if it is known to be free: of one that is not, the consumer still reads,
    /// and would have to fetch it back.
    #[inline]
    pub(crate) fn prepare_ahead(&self) {
        let ahead = self.head.wrapping_add(AHEAD);
        if ahead.wrapping_sub(self.released) < self.memory.slot_count() {
            self.memory.prefetch_for_writing(ahead);
        }
    }

    /// Longest message this ring can ever carry, in bytes.
    #[inline]
    pub(crate) fn max_len(&self) -> usize {
        self.memory.geometry().capacity()
    }

    /// Takes room for `len` bytes, at most [`max_len`](Self::max_len); `None` while there is none.
    #[inline]
    pub(crate) fn try_reserve(&mut self, len: usize) -> Result<Option<Reservation>, Fault> {
        debug_assert!(len <= self.max_len());
        if self.head.wrapping_sub(self.released) >= self.memory.slot_count() {
            self.refresh()?;
            if self.head.wrapping_sub(self.released) >= self.memory.slot_count() {
                return Ok(None);
            }
        }
        if len <= INLINE_LEN {
            let data = RingMemory::inline(self.memory.slot(self.head));
            return Ok(Some(Reservation { data, len, arena_start: 0 }));
        }
        if let Some(start) = self.fit(len) {
            return Ok(Some(self.arena_reservation(start, len)));
        }
        self.refresh()?;
        Ok(self.fit(len).map(|start| self.arena_reservation(start, len)))
    }

    fn arena_reservation(&self, start: u64, len: usize) -> Reservation {
        let offset = self.offset(start);
        let data = self.memory.arena(offset, len).expect("`fit` gives positions whose bytes lie inside the arena");
        Reservation { data, len, arena_start: start }
    }

    fn offset(&self, arena_position: u64) -> u64 {
        arena_position & (self.memory.geometry().arena_len() as u64 - 1)
    }

    /// Free-running start of `len` contiguous free bytes, if the arena has them. A payload never wraps: the rest of
    /// the lap is skipped, and an arena nobody owes anything of may skip for free.
    fn fit(&self, len: usize) -> Option<u64> {
        let arena = self.memory.geometry().arena_len() as u64;
        let need = (len as u64).next_multiple_of(ARENA_ALIGN as u64);
        let to_lap_end = arena - self.offset(self.arena_head);
        let start = if need <= to_lap_end { self.arena_head } else { self.arena_head.wrapping_add(to_lap_end) };
        let tail = if self.extents.is_empty() { start } else { self.arena_tail };
        (start.wrapping_add(need).wrapping_sub(tail) <= arena).then_some(start)
    }

    /// Looks at the consumer's released count and takes back what it freed.
    #[cold]
    fn refresh(&mut self) -> Result<(), Fault> {
        // Acquire: pairs with the consumer's release store, so that its reads of the freed slots happen before we
        // write there again.
        let found = self.memory.header().released.0.load(Ordering::Acquire);
        if found.wrapping_sub(self.released) > self.head.wrapping_sub(self.released) {
            return Err(Fault::Released { found, from: self.released, to: self.head });
        }
        self.released = found;
        let owed = self.head.wrapping_sub(found);
        while let Some(extent) = self.extents.front() {
            if self.head.wrapping_sub(extent.position) <= owed {
                break;
            }
            self.arena_tail = extent.end;
            self.extents.pop_front();
        }
        Ok(())
    }

    /// Copies `data` into the beginning of a reservation.
    ///
    /// # Panics
    /// When `data` is longer than the reservation.
    #[inline]
    #[allow(clippy::unused_self, reason = "holding the producer is what makes the write its own")]
    pub(crate) fn fill(&mut self, reservation: Reservation, data: &[u8]) {
        assert!(data.len() <= reservation.len, "the reservation was made for this data");
        #[cfg(loom)]
        self.memory.segment().writes(reservation.data, data.len());
        // SAFETY: the reservation is `reservation.len` bytes of a mapping that `self.memory` keeps, which only this
        // producer writes until it publishes them. A ring's payloads are lent to safe code by its consumer alone, and
        // a message still lent is not released, so its bytes are in no reservation: `data` does not overlap.
        unsafe { ptr::copy_nonoverlapping(data.as_ptr(), reservation.data.as_ptr(), data.len()) };
    }

    /// Publishes the first `len` bytes of a reservation.
    ///
    /// The caller has checked `len <= reservation.len()` and holds the latest reservation this producer gave.
    #[inline]
    pub(crate) fn publish(&mut self, reservation: Reservation, len: usize, type_id: u32, correlation_id: u64) {
        debug_assert!(len <= reservation.len);
        let slot = self.memory.slot(self.head);
        let inline = RingMemory::inline(slot);
        if reservation.len > INLINE_LEN {
            #[cfg(loom)]
            self.memory.segment().writes(inline, size_of::<u64>());
            if len > INLINE_LEN {
                let need = (len as u64).next_multiple_of(ARENA_ALIGN as u64);
                let end = reservation.arena_start.wrapping_add(need);
                if self.extents.is_empty() {
                    self.arena_tail = reservation.arena_start;
                }
                self.arena_head = end;
                self.extents.push_back(Extent { position: self.head, end });
                let offset = self.offset(reservation.arena_start);
                // SAFETY: the inline area is 40 bytes, 8-aligned, inside the slot at `head`, which only this producer
                // writes until it publishes it below.
                unsafe { inline.cast::<u64>().write(offset) };
            } else {
                // SAFETY: `len` is at most 40, so it fits the inline area; the reservation holds at least as many
                // bytes in the arena; slots and arena do not overlap; both belong to this producer until published.
                unsafe { ptr::copy_nonoverlapping(reservation.data.as_ptr(), inline.as_ptr(), len) };
            }
        }
        self.head = expose(slot, self.head, len, type_id, correlation_id);
    }

    /// Copies `data` into the next slot and publishes it, if it fits there and the slot is known to be free: nearly all
    /// short messages. False says only that [`try_push`](Self::try_push) has to look closer.
    #[inline]
    pub(crate) fn push_short(&mut self, data: &[u8], type_id: u32, correlation_id: u64) -> bool {
        let known_free = self.head.wrapping_sub(self.released) < self.memory.slot_count();
        if data.len() > self.most_inline || !known_free {
            return false;
        }
        let slot = self.memory.slot(self.head);
        copy_short(data, RingMemory::inline(slot));
        self.head = expose(slot, self.head, data.len(), type_id, correlation_id);
        true
    }

    /// Copies `data` in and publishes it, if there is room for it.
    #[inline]
    pub(crate) fn try_push(&mut self, data: &[u8], type_id: u32, correlation_id: u64) -> Result<bool, Fault> {
        let Some(reservation) = self.try_reserve(data.len())? else { return Ok(false) };
        self.fill(reservation, data);
        self.publish(reservation, data.len(), type_id, correlation_id);
        Ok(true)
    }

    /// After publishing: whether the consumer is parked and must be woken. At most one caller is told so for each
    /// time it parks.
    #[inline]
    pub(crate) fn consumer_needs_wake(&self) -> bool {
        let parked = &self.memory.header().consumer_parked.0;
        // The publication must be globally visible before we look at the parked word, and the consumer sets its word
        // before it looks at the slot a last time: whichever barrier comes second sees the other's store.
        self.memory.barrier().before_looking_for_sleepers();
        parked.load(Ordering::Relaxed) != 0 && parked.swap(0, Ordering::Relaxed) != 0
    }
}

/// Writes the header of the message at `position` into its slot, which holds the payload already, and publishes it. Gives
/// the position after it.
#[inline]
fn expose(slot: &Slot, position: u64, len: usize, type_id: u32, correlation_id: u64) -> u64 {
    slot.correlation_id.store(correlation_id, Ordering::Relaxed);
    slot.type_id.store(type_id, Ordering::Relaxed);
    slot.len.store(len as u32, Ordering::Relaxed);
    let sequence = position.wrapping_add(1);
    // Release: pairs with the consumer's acquire load; everything written above is visible to who sees this.
    slot.sequence.store(sequence, Ordering::Release);
    sequence
}

/// Copies a payload that fits a slot to its inline area, in moves of fixed size that overlap: a call of `memcpy` takes
/// longer than this copy.
#[inline]
fn copy_short(data: &[u8], inline: NonNull<u8>) {
    const { assert!(INLINE_LEN == 40, "three moves of 16 bytes cover what fits a slot") };
    let len = data.len();
    debug_assert!(len <= INLINE_LEN);
    let copy = |at: usize, part: &[u8]| {
        // SAFETY: every call below has `at + part.len() <= len`, and `len` is at most the 40 bytes of the inline area.
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
    } else {
        for (at, byte) in data.iter().enumerate() {
            copy(at, core::slice::from_ref(byte));
        }
    }
}
