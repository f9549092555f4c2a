//! A segment seen as a ring: typed, bounds-proof access to its words, and the ends of its life.
#![allow(unsafe_code, reason = "turns a mapping into references to its shared words")]
#![allow(clippy::cast_possible_truncation, reason = "the crate is 64-bit only, and positions are masked")]

use core::ptr::NonNull;
use std::os::fd::{BorrowedFd, OwnedFd};

use thiserror::Error;

use super::geometry::Geometry;
use super::layout::{HEADER_LEN, Header, MAGIC, Slot};
use crate::barrier::Barrier;
use crate::shm::{Segment, ShmError};
use crate::sync::{AtomicU32, Ordering};

/// Which of the two processes of a connection: the one that listened or the one that connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Listener = 1,
    Connector = 2,
}

impl Side {
    /// The other process.
    pub(crate) const fn peer(self) -> Self {
        match self {
            Self::Listener => Self::Connector,
            Self::Connector => Self::Listener,
        }
    }

    const fn closed_bit(self) -> u32 {
        self as u32
    }
}

const FATAL_BIT: u32 = 4;

/// A ring whose shared words hold something no correct peer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// A slot's sequence is neither this lap's nor the last one's.
    #[error("slot sequence {found} where {expected} or {previous} was possible")]
    Sequence {
        /// What the slot held.
        found: u64,
        /// What a published message would have.
        expected: u64,
        /// What an unpublished one would have.
        previous: u64,
    },
    /// A message longer than the ring.
    #[error("message of {len} bytes in a ring of {capacity}")]
    Length {
        /// What the slot held.
        len: u32,
        /// The ring's capacity in bytes.
        capacity: usize,
    },
    /// A payload outside the arena.
    #[error("payload of {len} bytes at offset {offset} of an arena of {arena} bytes")]
    Offset {
        /// What the slot held.
        offset: u64,
        /// The message's length in bytes.
        len: u32,
        /// Bytes of the arena.
        arena: usize,
    },
    /// The consumer claims to have released what was never sent, or takes a release back.
    #[error("released count {found}, which is not between {from} and {to}")]
    Released {
        /// What the word held.
        found: u64,
        /// The count seen before.
        from: u64,
        /// Messages sent.
        to: u64,
    },
    /// A reply to a call that was never made.
    #[error("reply to call {0}, which was never made")]
    Correlation(u64),
    /// The peer found the ring broken first and said so in its state word.
    #[error("the peer reported a corrupted ring")]
    Reported,
}

/// The mapping of one ring. Both ends of it, guards and views share one of these; the last one unmaps it.
pub(crate) struct RingMemory {
    header: NonNull<Header>,
    slots: NonNull<Slot>,
    arena: NonNull<u8>,
    geometry: Geometry,
    /// The number of slots, and one less: `geometry` computes what every message would have to ask.
    slot_count: u64,
    slot_mask: usize,
    start: u64,
    barrier: Barrier,
    segment: Segment,
}

// SAFETY: the pointers lead into `segment`, which is Send and lives as long as they do; what they lead to is only
// touched through atomics, or through payload bytes whose single writer the ring protocol names.
unsafe impl Send for RingMemory {}
// SAFETY: as for Send; `&RingMemory` gives out atomics, and raw pointers whose use is the ends' own proof.
unsafe impl Sync for RingMemory {}

impl RingMemory {
    /// Makes a new ring and the descriptor to hand to the peer.
    ///
    /// # Errors
    /// The system's refusal to give the memory.
    pub(crate) fn create(geometry: Geometry) -> Result<(Self, OwnedFd), ShmError> {
        Self::create_at(geometry, 0)
    }

    /// As [`create`](Self::create), with the first message at position `start`, so that a test reaches the overflow
    /// of the counters.
    pub(crate) fn create_at(geometry: Geometry, start: u64) -> Result<(Self, OwnedFd), ShmError> {
        let (segment, fd) = Segment::create(geometry.segment_len())?;
        let memory = Self::over(segment, geometry, start);
        memory.format();
        Ok((memory, fd))
    }

    /// Writes the words a fresh ring begins with into memory that is zero elsewhere.
    fn format(&self) {
        #[cfg(loom)]
        self.construct();
        let identity = &self.header().identity.0;
        identity.magic.store(MAGIC, Ordering::Relaxed);
        identity.capacity.store(self.geometry.capacity() as u64, Ordering::Relaxed);
        identity.start.store(self.start, Ordering::Relaxed);
        self.header().released.0.store(self.start, Ordering::Relaxed);
        for index in 0..self.geometry.slots() as u64 {
            let position = self.start.wrapping_add(index);
            self.slot(position).sequence.store(self.unpublished(position), Ordering::Relaxed);
        }
    }

    /// Makes the memory that of a fresh ring again, so that a fuzzer need not map another one for every input.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn renew(&mut self, start: u64) {
        self.start = start;
        // SAFETY: the mapping is `len` bytes and writable, and an exclusive borrow of its one owner means that nobody
        // here looks at it.
        unsafe { self.segment.as_ptr().write_bytes(0, self.segment.len()) };
        self.format();
    }

    /// Maps a ring that the peer made, after checking that it is one of this shape.
    ///
    /// # Errors
    /// [`ShmError`] when the descriptor is no sealed memory of the right size, or does not hold such a ring.
    pub(crate) fn adopt(fd: BorrowedFd<'_>, geometry: Geometry) -> Result<Self, ShmError> {
        let segment = Segment::adopt(fd, geometry.segment_len())?;
        let mut memory = Self::over(segment, geometry, 0);
        let identity = &memory.header().identity.0;
        let magic = identity.magic.load(Ordering::Relaxed);
        let capacity = identity.capacity.load(Ordering::Relaxed);
        if magic != MAGIC || capacity != geometry.capacity() as u64 {
            return Err(ShmError::NotARing { magic, capacity });
        }
        memory.start = identity.start.load(Ordering::Relaxed);
        Ok(memory)
    }

    /// Makes the words themselves: zeros are no words of a model checker's.
    #[cfg(loom)]
    fn construct(&self) {
        // SAFETY: the header lies at the beginning of a writable mapping that nobody else has yet.
        unsafe { self.header.write(Header::zeroed()) };
        for index in 0..self.geometry.slots() {
            // SAFETY: index is below the slot count, and `over` checked that the mapping holds that many.
            let slot = unsafe { self.slots.add(index) };
            // SAFETY: as for the header.
            unsafe { slot.write(Slot::zeroed()) };
        }
    }

    fn over(segment: Segment, geometry: Geometry, start: u64) -> Self {
        assert!(segment.len() >= geometry.segment_len(), "a segment is made or checked with its geometry's length");
        let base = segment.as_ptr();
        // SAFETY: the offset is below `segment_len`, which the assertion above bounds by the mapping's length.
        let slots = unsafe { base.add(HEADER_LEN) };
        // SAFETY: as above.
        let arena = unsafe { base.add(geometry.arena_offset()) };
        Self {
            header: base.cast(),
            slots: slots.cast(),
            arena,
            geometry,
            slot_count: geometry.slots() as u64,
            slot_mask: geometry.slots() - 1,
            start,
            barrier: Barrier::default(),
            segment,
        }
    }

    #[inline]
    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Number of slots, as positions count.
    #[inline]
    pub(crate) fn slot_count(&self) -> u64 {
        self.slot_count
    }

    /// Position of the first message.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Notes what the two sides have agreed on, before either has taken an end.
    pub(crate) fn set_barrier(&mut self, barrier: Barrier) {
        self.barrier = barrier;
    }

    /// What stands between this ring's words and its parked words.
    #[inline]
    pub(crate) fn barrier(&self) -> Barrier {
        self.barrier
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    #[inline]
    pub(crate) fn header(&self) -> &Header {
        // SAFETY: the mapping begins with HEADER_LEN bytes, is page aligned and lives as long as self; every field of
        // Header is an atomic, for which any bytes are valid and concurrent writes by the peer are no data race.
        unsafe { self.header.as_ref() }
    }

    /// The slot of a position.
    #[inline]
    pub(crate) fn slot(&self, position: u64) -> &Slot {
        let index = position as usize & self.slot_mask;
        // SAFETY: index is below the slot count, a power of two, and `over` checked that the mapping holds that many.
        let slot = unsafe { self.slots.add(index) };
        // SAFETY: slots begin page aligned and follow each other every 64 bytes, in a mapping that lives as long as
        // self. Slot is atomics and an UnsafeCell, valid for any bytes.
        unsafe { slot.as_ref() }
    }

    /// Asks for the slot of a position to read it soon. A hint, as the next one.
    #[inline]
    pub(crate) fn prefetch_for_reading(&self, position: u64) {
        #[cfg(target_arch = "x86_64")]
        {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let slot = core::ptr::from_ref(self.slot(position));
            // SAFETY: prefetching is allowed for any address, changes nothing and cannot fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(slot.cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = position;
    }

    /// Asks for the slot of a position as this core's own, if the machine has a word for that. A hint: it changes nothing.
    #[inline]
    pub(crate) fn prefetch_for_writing(&self, position: u64) {
        #[cfg(target_arch = "x86_64")]
        {
            let slot = core::ptr::from_ref(self.slot(position));
            // SAFETY: PREFETCHW reads and writes nothing, changes no register and cannot fault. Every 64-bit x86
            // processor takes it, some as no operation. The compiler's own intrinsic would be one for reading, unless
            // built for a processor that is known to have this one.
            unsafe { core::arch::asm!("prefetchw [{}]", in(reg) slot, options(nostack, preserves_flags)) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = position;
    }

    /// What a slot's sequence holds until the message at `position` is published: the last lap's value.
    #[inline]
    pub(crate) fn unpublished(&self, position: u64) -> u64 {
        position.wrapping_add(1).wrapping_sub(self.slot_count)
    }

    /// Where the inline payload of a slot lies; 40 bytes from there are the slot's own.
    #[inline]
    pub(crate) fn inline(slot: &Slot) -> NonNull<u8> {
        NonNull::from(&slot.inline).cast()
    }

    /// The arena offset written in the slot of `position`: the peer's word, to be checked.
    pub(crate) fn arena_offset_of(&self, position: u64) -> u64 {
        let inline = Self::inline(self.slot(position));
        #[cfg(loom)]
        self.segment.reads(inline, size_of::<u64>());
        // SAFETY: the inline area is 40 bytes, 8-aligned and mapped as long as self; any bytes are a valid u64. A
        // volatile read takes the value exactly once, whatever the peer does meanwhile.
        unsafe { inline.cast::<u64>().read_volatile() }
    }

    /// The arena's bytes from `offset`, if `len` of them lie inside it.
    #[inline]
    pub(crate) fn arena(&self, offset: u64, len: usize) -> Option<NonNull<u8>> {
        let offset = usize::try_from(offset).ok()?;
        if offset.checked_add(len)? > self.geometry.arena_len() {
            return None;
        }
        // SAFETY: offset is at most the arena's length, and the mapping holds the whole arena.
        Some(unsafe { self.arena.add(offset) })
    }

    /// Takes one end of the ring for `side`; false when the other side has it.
    pub(crate) fn claim(end: &AtomicU32, side: Side) -> bool {
        match end.compare_exchange(0, side as u32, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => true,
            Err(holder) => holder == side as u32,
        }
    }

    /// Says that `side` closed in good order. Everything it published is visible to whoever sees this.
    pub(crate) fn close(&self, side: Side) {
        self.header().state.0.fetch_or(side.closed_bit(), Ordering::Release);
    }

    pub(crate) fn is_closed_by(&self, side: Side) -> bool {
        self.header().state.0.load(Ordering::Acquire) & side.closed_bit() != 0
    }

    /// Marks the ring as broken for both sides.
    pub(crate) fn condemn(&self) {
        self.header().state.0.fetch_or(FATAL_BIT, Ordering::Release);
    }

    pub(crate) fn is_condemned(&self) -> bool {
        self.header().state.0.load(Ordering::Acquire) & FATAL_BIT != 0
    }

    /// Whether anything at all is wrong, in one load: the fast path asks only this.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.header().state.0.load(Ordering::Relaxed) == 0
    }
}

impl core::fmt::Debug for RingMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RingMemory").field("capacity", &self.geometry.capacity()).finish_non_exhaustive()
    }
}
