//! The layout of a segment; `docs/internals/wire-format.md` shows the bytes.
//!
//! The peer may write any byte at any time, so every field is an atomic, and its readers load it once and check the
//! copy. Fields with different writers are 128 bytes apart: a core fetches lines in pairs, so two writers in one pair
//! would share it falsely.

use core::mem::{offset_of, size_of};

use super::parked::ParkedWord;
use crate::sync::{AtomicU32, AtomicU64};

/// The first word of every segment: "TACHYON" and the version of the layout.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"TACHYON\x02");

/// Bytes before the first slot: one page.
pub(crate) const HEADER_LEN: usize = 4096;

/// Bytes of a slot before its payload.
pub(crate) const SLOT_HEADER_LEN: usize = size_of::<Slot>();

/// Payload bytes that share a cache line with the slot's header.
pub(crate) const FIRST_LINE_LEN: usize = LINE_LEN - 24;

/// Bytes of a cache line on the machines that the layout is tuned for.
pub(crate) const LINE_LEN: usize = 64;

/// Alignment of payloads in the arena, in bytes.
pub(crate) const ARENA_ALIGN: usize = 64;

/// Credit cells of a ring: open streams of a connection.
pub(crate) const CELLS: usize = if cfg!(loom) { 1 } else { 32 };

/// The credit of one stream.
#[repr(C, align(64))]
pub(crate) struct CreditCell {
    /// Items that the ring's producer may have sent in all. The consumer counts it up.
    pub(crate) granted: AtomicU64,
}

/// One field alone in its pair of cache lines.
#[repr(C, align(128))]
pub(crate) struct CacheAligned<T>(pub(crate) T);

/// The listener writes these words once, before the peer has the segment.
#[repr(C)]
pub(crate) struct Identity {
    pub(crate) magic: AtomicU64,
    pub(crate) capacity: AtomicU64,
    /// Bytes from one slot to the next.
    pub(crate) stride: AtomicU64,
}

/// The side of the connection that has claimed each end of the ring; 0 for neither.
#[repr(C)]
pub(crate) struct Ends {
    pub(crate) producer: AtomicU32,
    pub(crate) consumer: AtomicU32,
}

/// The first page of a segment. `docs/internals/memory-model.md` names the writer, the ordering and the partner of
/// every word.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) identity: CacheAligned<Identity>,
    pub(crate) state: CacheAligned<AtomicU32>,
    pub(crate) ends: CacheAligned<Ends>,
    pub(crate) released: CacheAligned<AtomicU64>,
    pub(crate) consumer_parked: CacheAligned<ParkedWord>,
    pub(crate) producer_parked: CacheAligned<ParkedWord>,
    /// One plus the processor on which the listener, and the connector, last began to wait; 0 before.
    pub(crate) processors: [CacheAligned<AtomicU32>; 2],
    /// By open stream; the same cell of both rings belongs to one stream.
    pub(crate) cells: [CreditCell; CELLS],
}

/// The header of a slot, before the payload. Three words: sending takes three stores, and taking three loads.
#[repr(C)]
pub(crate) struct Slot {
    /// The sequence in the lower half, the payload's length in bytes in the upper half. The sequence equals the lap of
    /// the message's position once the rest of the slot may be read. Until then it is one less, so zeroed memory is a
    /// fresh ring.
    pub(crate) publication: AtomicU64,
    pub(crate) correlation_id: AtomicU64,
    /// The type id in the lower half, the deadline in the upper half; see
    /// [`MessageHeader::due`](super::MessageHeader::due).
    pub(crate) kind: AtomicU64,
}

/// Joins the halves of a word, the lower half first.
#[inline]
pub(crate) const fn joined(low: u32, high: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

/// Splits a word into its halves, the lower half first.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "takes the halves apart")]
pub(crate) const fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

const _: () = {
    assert!(cfg!(loom) || size_of::<Slot>() == 24);
    assert!(size_of::<Slot>().is_multiple_of(8));
    assert!(cfg!(loom) || size_of::<Header>() <= HEADER_LEN);
    assert!(cfg!(loom) || offset_of!(Header, released) == 384);
    assert!(cfg!(loom) || offset_of!(Header, processors) == 768);
    assert!(cfg!(loom) || offset_of!(Header, cells) == 1024);
};

#[cfg(loom)]
impl Header {
    /// The words of fresh memory.
    pub(super) fn zeroed() -> Self {
        let (word, half) = (|| AtomicU64::new(0), || AtomicU32::new(0));
        Self {
            identity: CacheAligned(Identity { magic: word(), capacity: word(), stride: word() }),
            state: CacheAligned(half()),
            ends: CacheAligned(Ends { producer: half(), consumer: half() }),
            released: CacheAligned(word()),
            consumer_parked: CacheAligned(ParkedWord::new()),
            producer_parked: CacheAligned(ParkedWord::new()),
            processors: [CacheAligned(half()), CacheAligned(half())],
            cells: core::array::from_fn(|_| CreditCell { granted: word() }),
        }
    }
}

#[cfg(loom)]
impl Slot {
    /// The words of fresh memory.
    pub(super) fn zeroed() -> Self {
        let word = || AtomicU64::new(0);
        Self { publication: word(), correlation_id: word(), kind: word() }
    }
}
