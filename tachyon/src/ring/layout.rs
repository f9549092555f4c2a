//! What lies in a segment, byte for byte. `docs/wire-format.md` draws it.
//!
//! Everything here is shared with a process that may write anything at any time, so every field is an atomic, is read
//! once into a local and checked there. Fields with different writers are 128 bytes apart: a core fetches lines in
//! pairs, and two writers in one pair would fight over it.

use core::cell::UnsafeCell;
use core::mem::{offset_of, size_of};

use crate::sync::{AtomicU32, AtomicU64};

/// Begins every segment: "TACHYON" and the layout's generation.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"TACHYON\x01");

/// Bytes before the first slot: one page.
pub(crate) const HEADER_LEN: usize = 4096;

/// Bytes of one slot: one cache line.
#[cfg(not(loom))]
pub(crate) const SLOT_LEN: usize = 64;

/// As above, where a model checker's words take more room.
#[cfg(loom)]
pub(crate) const SLOT_LEN: usize = size_of::<Slot>();

/// Payload bytes that travel inside a slot.
pub(crate) const INLINE_LEN: usize = 40;

/// Alignment of payloads in the arena.
pub(crate) const ARENA_ALIGN: usize = 64;

/// One field alone in its pair of cache lines.
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);

/// What the creator writes before anyone else can see the segment, and nobody after.
#[repr(C)]
pub(crate) struct Identity {
    pub(crate) magic: AtomicU64,
    pub(crate) capacity: AtomicU64,
    /// The position of the first message ever sent; 0 outside tests.
    pub(crate) start: AtomicU64,
}

/// Which side of the connection has taken each end of the ring (0: nobody yet).
#[repr(C)]
pub(crate) struct Ends {
    pub(crate) producer: AtomicU32,
    pub(crate) consumer: AtomicU32,
}

/// The first page of a segment. `docs/memory-model.md` names every word's writer, ordering and partner.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) identity: Line<Identity>,
    pub(crate) state: Line<AtomicU32>,
    pub(crate) ends: Line<Ends>,
    pub(crate) released: Line<AtomicU64>,
    pub(crate) consumer_parked: Line<AtomicU32>,
    pub(crate) producer_parked: Line<AtomicU32>,
}

/// One message, or the place of one.
///
/// `sequence` equals the message's position + 1 exactly when the rest of the slot may be read.
#[repr(C, align(64))]
pub(crate) struct Slot {
    pub(crate) sequence: AtomicU64,
    pub(crate) correlation_id: AtomicU64,
    pub(crate) type_id: AtomicU32,
    pub(crate) len: AtomicU32,
    /// The payload, or for one longer than `INLINE_LEN` its arena offset as a native u64.
    pub(crate) inline: UnsafeCell<[u8; INLINE_LEN]>,
}

const _: () = {
    assert!(size_of::<Slot>() == SLOT_LEN);
    assert!(size_of::<Header>() <= HEADER_LEN);
    assert!(cfg!(loom) || offset_of!(Slot, inline) == SLOT_LEN - INLINE_LEN);
    assert!(offset_of!(Slot, inline) % 8 == 0);
    assert!(offset_of!(Header, released) == 384);
};

#[cfg(loom)]
impl Header {
    /// The words of fresh memory.
    pub(super) fn zeroed() -> Self {
        let (word, half) = (|| AtomicU64::new(0), || AtomicU32::new(0));
        Self {
            identity: Line(Identity { magic: word(), capacity: word(), start: word() }),
            state: Line(half()),
            ends: Line(Ends { producer: half(), consumer: half() }),
            released: Line(word()),
            consumer_parked: Line(half()),
            producer_parked: Line(half()),
        }
    }
}

#[cfg(loom)]
impl Slot {
    /// The words of fresh memory.
    pub(super) fn zeroed() -> Self {
        Self {
            sequence: AtomicU64::new(0),
            correlation_id: AtomicU64::new(0),
            type_id: AtomicU32::new(0),
            len: AtomicU32::new(0),
            inline: UnsafeCell::new([0; INLINE_LEN]),
        }
    }
}
