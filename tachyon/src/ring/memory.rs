//! A segment as a ring: typed access within bounds to its words, and its state word.
#![allow(unsafe_code, reason = "turns a mapping into references to its shared words")]
#![allow(clippy::cast_possible_truncation, reason = "the crate is 64-bit only, and positions are masked")]

use core::ptr::NonNull;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use thiserror::Error;

use super::geometry::Geometry;
#[cfg(any(test, fuzzing, loom))]
use super::layout::joined;
use super::layout::{HEADER_LEN, Header, LINE_LEN, MAGIC, SLOT_HEADER_LEN, Slot};
use crate::shm::{Segment, ShmError};
use crate::sync::{AtomicU32, Ordering};

/// One of the two processes of a connection.
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

/// Most lines to prefetch of a payload in the arena; the processor's own prefetcher follows from there.
const MOST_LINES: usize = 16;

/// A value in shared memory or on the socket that no correct peer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The lap in a slot is neither the present lap nor the lap before.
    #[error("a slot has lap {found} instead of {expected} or the lap before")]
    Sequence {
        /// The lap in the slot.
        found: u32,
        /// The lap of a published message.
        expected: u32,
    },
    /// A message is longer than the ring.
    #[error("a message has {len} bytes in a ring of {capacity} bytes")]
    Length {
        /// The length in the slot, in bytes.
        len: u32,
        /// The ring's capacity in bytes.
        capacity: usize,
    },
    /// A payload lies outside of the arena.
    #[error("a payload of {len} bytes lies at offset {offset} of an arena of {arena} bytes")]
    Offset {
        /// The offset in the slot, in bytes.
        offset: u64,
        /// The message's length in bytes.
        len: u32,
        /// The length of the arena, in bytes.
        arena: usize,
    },
    /// The consumer claims to have released unsent messages, or takes a release back.
    #[error("the released count is {found}, which is not between {from} and {to}")]
    Released {
        /// The count in the word.
        found: u64,
        /// The count at the last look.
        from: u64,
        /// The number of sent messages.
        to: u64,
    },
    /// The consumer takes a stream's credit back, or gives more than a window can have.
    #[error("the credit of a stream is {found}, which is not between {from} and {to}")]
    Credit {
        /// The credit in the cell, in items.
        found: u64,
        /// The credit at the last look.
        from: u64,
        /// The number of sent items, and the largest window.
        to: u64,
    },
    /// A message of a stream breaks the order of streams: an item without credit, a stream that is not open, a cell in
    /// use.
    #[error("message {type_id:#010x} of call {correlation_id} fits no open stream")]
    Stream {
        /// The message's call.
        correlation_id: u64,
        /// The message's type identifier.
        type_id: u32,
    },
    /// A reply names a call that was never made.
    #[error("a reply is to call {0}, which was never made")]
    Correlation(u64),
    /// A message on the connection's socket is no ring message: a ring message is 8 bytes without descriptors.
    #[error("a message on the socket has {len} bytes{} instead of 8 bytes",
        if *.descriptors { " and descriptors" } else { "" })]
    Socket {
        /// Bytes of the message, at most 9.
        len: usize,
        /// Whether the message carries descriptors.
        descriptors: bool,
    },
    /// The peer found a fault first and set the state word.
    #[error("the peer reported corrupted shared memory")]
    Reported,
}

/// The mapping of one ring. The ring's ends, guards and views share it; dropping the last of them unmaps it.
pub(crate) struct RingMemory {
    header: NonNull<Header>,
    slots: NonNull<u8>,
    arena: NonNull<u8>,
    geometry: Geometry,
    /// Computed from `geometry` once, because every message needs them.
    slot_mask: usize,
    stride_exponent: u32,
    lap_exponent: u32,
    /// Position of the first message: 0 outside tests.
    start: u64,
    segment: Segment,
}

// SAFETY: the pointers lead into `segment`, which is Send and lives as long as they do; all accesses through them are
// atomic, or to payload bytes, which have one writer at a time by the ring protocol.
unsafe impl Send for RingMemory {}
// SAFETY: as for Send; `&RingMemory` gives atomics, and raw pointers, for whose use the ring's ends have their own
// proofs.
unsafe impl Sync for RingMemory {}

impl RingMemory {
    /// Makes a new ring and the descriptor for the peer. Only the first page is touched.
    ///
    /// # Errors
    /// [`ShmError`] when the system does not give the memory.
    pub(crate) fn create(geometry: Geometry) -> Result<(Self, OwnedFd), ShmError> {
        let (segment, fd) = Segment::create(geometry.segment_len())?;
        let memory = Self::over(segment, geometry);
        #[cfg(loom)]
        memory.construct();
        memory.identify();
        Ok((memory, fd))
    }

    /// As [`create`](Self::create), with the first message at position `start`, so that a test reaches the overflow of
    /// the counters. Both ends must be made over this object: `start` is not in the segment.
    #[cfg(any(test, fuzzing, loom))]
    pub(crate) fn create_at(geometry: Geometry, start: u64) -> Result<(Self, OwnedFd), ShmError> {
        let (mut memory, fd) = Self::create(geometry)?;
        memory.begin_at(start);
        Ok((memory, fd))
    }

    fn identify(&self) {
        let identity = &self.header().identity.0;
        identity.magic.store(MAGIC, Ordering::Relaxed);
        identity.capacity.store(self.geometry.capacity() as u64, Ordering::Relaxed);
        identity.stride.store(self.geometry.stride() as u64, Ordering::Relaxed);
    }

    /// Moves the first message of a fresh ring to position `start`.
    #[cfg(any(test, fuzzing, loom))]
    fn begin_at(&mut self, start: u64) {
        self.start = start;
        self.header().released.0.store(start, Ordering::Relaxed);
        for index in 0..self.geometry.slots() as u64 {
            let position = start.wrapping_add(index);
            let unpublished = joined(self.lap(position).wrapping_sub(1), 0);
            self.slot(position).publication.store(unpublished, Ordering::Relaxed);
        }
    }

    /// Resets the memory to a fresh ring, so that a fuzzer does not map a new ring for every input.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn renew(&mut self, start: u64) {
        // SAFETY: the mapping is `len` bytes and writable, and the exclusive borrow of its one owner means that no
        // other reference into it is in use.
        unsafe { self.segment.as_ptr().write_bytes(0, self.segment.len()) };
        self.identify();
        self.begin_at(start);
    }

    /// Maps the peer's ring, after checking that it has this geometry.
    ///
    /// # Errors
    /// [`ShmError`] when the descriptor is no sealed memory of the right size, or does not hold such a ring.
    pub(crate) fn adopt(fd: BorrowedFd<'_>, geometry: Geometry) -> Result<Self, ShmError> {
        let segment = Segment::adopt(fd, geometry.segment_len())?;
        let memory = Self::over(segment, geometry);
        let identity = &memory.header().identity.0;
        let magic = identity.magic.load(Ordering::Relaxed);
        let capacity = identity.capacity.load(Ordering::Relaxed);
        let stride = identity.stride.load(Ordering::Relaxed);
        if magic != MAGIC || capacity != geometry.capacity() as u64 || stride != geometry.stride() as u64 {
            return Err(ShmError::NotARing { magic, capacity, stride });
        }
        Ok(memory)
    }

    /// Constructs the words: loom's atomics are not zero bytes.
    #[cfg(loom)]
    fn construct(&self) {
        // SAFETY: the header lies at the beginning of a writable mapping that no other thread has yet.
        unsafe { self.header.write(Header::zeroed()) };
        for index in 0..self.geometry.slots() {
            // SAFETY: index is below the slot count, and `over` checked that the mapping holds that many.
            let slot = unsafe { self.slots.add(index << self.stride_exponent) };
            // SAFETY: the slot lies in a writable mapping that no other thread has yet.
            unsafe { slot.cast::<Slot>().write(Slot::zeroed()) };
        }
    }

    fn over(segment: Segment, geometry: Geometry) -> Self {
        assert!(segment.len() >= geometry.segment_len(), "a segment is made or checked with its geometry's length");
        let base = segment.as_ptr();
        // SAFETY: the offset is below `segment_len`, which the assertion above bounds by the mapping's length.
        let slots = unsafe { base.add(HEADER_LEN) };
        // SAFETY: this offset too is below `segment_len`.
        let arena = unsafe { base.add(geometry.arena_offset()) };
        Self {
            header: base.cast(),
            slots,
            arena,
            geometry,
            slot_mask: geometry.slots() - 1,
            stride_exponent: geometry.stride_exponent(),
            lap_exponent: geometry.slots().trailing_zeros(),
            start: 0,
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
        self.slot_mask as u64 + 1
    }

    /// Position of the first message.
    pub(crate) fn start(&self) -> u64 {
        self.start
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

    /// The first byte of the slot of a position.
    #[inline]
    pub(crate) fn slot_start(&self, position: u64) -> NonNull<u8> {
        let index = position as usize & self.slot_mask;
        // SAFETY: index is below the slot count, a power of two, and `over` checked that the mapping holds that many.
        unsafe { self.slots.add(index << self.stride_exponent) }
    }

    /// The slot of a position.
    #[inline]
    pub(crate) fn slot(&self, position: u64) -> &Slot {
        // SAFETY: slots begin page aligned and follow each other at multiples of 64 bytes, in a mapping that lives as
        // long as self. Slot is atomics, valid for any bytes.
        unsafe { self.slot_start(position).cast().as_ref() }
    }

    /// The payload area of the slot of a position: `stride` bytes minus the slot's header, 8-aligned.
    #[inline]
    pub(crate) fn inline(&self, position: u64) -> NonNull<u8> {
        // SAFETY: the slot is `stride` bytes of the mapping, more than its header.
        unsafe { self.slot_start(position).add(SLOT_HEADER_LEN) }
    }

    /// The lap of a position: the sequence of its slot from publication on. Before, the sequence is one less.
    #[inline]
    pub(crate) fn lap(&self, position: u64) -> u32 {
        ((position >> self.lap_exponent) as u32).wrapping_add(1)
    }

    /// Prefetches a line for reading.
    #[inline]
    pub(crate) fn fetch_to_read(line: *const u8) {
        #[cfg(target_arch = "x86_64")]
        {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: prefetching is allowed for any address, changes nothing and cannot fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: prefetching is allowed for any address, changes no register and cannot fault.
        unsafe {
            core::arch::asm!("prfm pldl1keep, [{}]", in(reg) line, options(nostack, preserves_flags));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = line;
    }

    /// Prefetches a line for writing, as this core's own.
    #[inline]
    pub(crate) fn fetch_to_write(line: *const u8) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: PREFETCHW reads and writes nothing, changes no register and cannot fault. Every 64-bit x86 processor
        // accepts PREFETCHW, some as no operation. The compiler's intrinsic becomes a prefetch for reading unless the
        // target is known to have PREFETCHW.
        unsafe {
            core::arch::asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags));
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: prefetching is allowed for any address, changes no register and cannot fault.
        unsafe {
            core::arch::asm!("prfm pstl1keep, [{}]", in(reg) line, options(nostack, preserves_flags));
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let _ = line;
    }

    /// Prefetches the first lines of `len` bytes of the arena for reading.
    #[inline]
    pub(crate) fn fetch_arena(data: NonNull<u8>, len: usize) {
        for line in 0..len.div_ceil(LINE_LEN).min(MOST_LINES) {
            Self::fetch_to_read(data.as_ptr().wrapping_add(line * LINE_LEN));
        }
    }

    /// The arena offset in the slot of `position`. The peer wrote it, so the caller checks it.
    #[inline]
    pub(crate) fn arena_offset_of(&self, position: u64) -> u64 {
        let inline = self.inline(position);
        #[cfg(loom)]
        self.segment.reads(inline, size_of::<u64>());
        // SAFETY: the payload area is at least 40 bytes, 8-aligned and mapped as long as self; any bytes are a valid
        // u64. A volatile read takes the value exactly once, even if the peer changes it meanwhile.
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

    /// Stores the processor that `side` waits on, and returns the processor that the peer last waited on; 0 for
    /// unknown.
    #[cfg(not(loom))]
    pub(crate) fn exchange_processors(&self, side: Side, ours: u32) -> u32 {
        let word = |side: Side| &self.header().processors[side as usize - 1].0;
        // Relaxed: the words are a hint and order nothing.
        if word(side).load(Ordering::Relaxed) != ours {
            word(side).store(ours, Ordering::Relaxed);
        }
        word(side.peer()).load(Ordering::Relaxed)
    }

    /// Claims one end of the ring for `side`; false when the other side has it.
    pub(crate) fn claim(end: &AtomicU32, side: Side) -> bool {
        match end.compare_exchange(0, side as u32, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => true,
            Err(holder) => holder == side as u32,
        }
    }

    /// Notes that `side` closed in good order. A thread that sees the bit also sees all messages of `side`.
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

    /// Whether the ring is neither closed nor condemned, in one load, for the fast path.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.header().state.0.load(Ordering::Relaxed) == 0
    }
}

/// The next position of one end of a ring, with the position's lap and slot.
#[derive(Debug)]
pub(crate) struct Cursor {
    memory: Arc<RingMemory>,
    position: u64,
    lap: u32,
    stride: usize,
    slot: NonNull<u8>,
    /// The end of the last slot.
    end: NonNull<u8>,
}

// SAFETY: the pointers lead into `memory`, which is Send and Sync and lives as long as they do; all accesses through
// them are atomic, or to payload bytes, which have one writer at a time by the ring protocol.
unsafe impl Send for Cursor {}
// SAFETY: as for Send.
unsafe impl Sync for Cursor {}

impl Cursor {
    /// At the first position of a ring.
    pub(crate) fn new(memory: Arc<RingMemory>) -> Self {
        let position = memory.start();
        let (lap, slot) = (memory.lap(position), memory.slot_start(position));
        let (stride, end) = (memory.geometry.stride(), memory.arena);
        Self { memory, position, lap, stride, slot, end }
    }

    #[inline]
    pub(crate) fn memory(&self) -> &Arc<RingMemory> {
        &self.memory
    }

    #[inline]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The sequence of the slot once its message is published.
    #[inline]
    pub(crate) fn lap(&self) -> u32 {
        self.lap
    }

    #[inline]
    pub(crate) fn slot(&self) -> &Slot {
        // SAFETY: `slot` is the start of a slot of `self.memory`, which lives as long as self; the obligations are
        // those of `RingMemory::slot`: slots are aligned, and made of atomics, valid for any bytes.
        unsafe { self.slot.cast().as_ref() }
    }

    /// The payload area of the slot, as [`RingMemory::inline`].
    #[inline]
    pub(crate) fn inline(&self) -> NonNull<u8> {
        // SAFETY: the slot is `stride` bytes of the mapping, more than its header.
        unsafe { self.slot.add(SLOT_HEADER_LEN) }
    }

    /// Prefetches `lines` lines of the slot after the first, for reading; at most three, since a slot has four.
    #[inline]
    pub(crate) fn prefetch_for_reading(&self, lines: usize) {
        let line = |index: usize| self.slot.as_ptr().wrapping_add(index * LINE_LEN);
        RingMemory::fetch_to_read(line(1));
        if lines > 1 {
            RingMemory::fetch_to_read(line(2));
            if lines > 2 {
                RingMemory::fetch_to_read(line(3));
            }
        }
    }

    /// As [`prefetch_for_reading`](Self::prefetch_for_reading), for writing.
    #[inline]
    pub(crate) fn prefetch_for_writing(&self, lines: usize) {
        let line = |index: usize| self.slot.as_ptr().wrapping_add(index * LINE_LEN);
        RingMemory::fetch_to_write(line(1));
        if lines > 1 {
            RingMemory::fetch_to_write(line(2));
            if lines > 2 {
                RingMemory::fetch_to_write(line(3));
            }
        }
    }

    /// Prefetches the first line of a slot `positions` ahead, for reading or for writing. Near the end of the slots
    /// this is a line behind them, and only wastes a hint.
    #[inline]
    pub(crate) fn prefetch_ahead(&self, positions: usize, write: bool) {
        let ahead = self.slot.as_ptr().wrapping_add(positions * self.stride);
        if write { RingMemory::fetch_to_write(ahead) } else { RingMemory::fetch_to_read(ahead) }
    }

    /// Advances to the next position.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.position = self.position.wrapping_add(1);
        // SAFETY: the slot lies in the ring, so the next slot, or the arena behind the last slot, begins in the
        // mapping.
        self.slot = unsafe { self.slot.add(self.stride) };
        if self.slot == self.end {
            self.slot = self.memory.slots;
            self.lap = self.lap.wrapping_add(1);
        }
    }
}

impl core::fmt::Debug for RingMemory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RingMemory").field("capacity", &self.geometry.capacity()).finish_non_exhaustive()
    }
}
