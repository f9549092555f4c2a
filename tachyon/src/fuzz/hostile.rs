//! A peer that writes what it likes into a ring.
#![allow(unsafe_code, reason = "writes any byte of a segment, as a peer can")]
#![allow(clippy::cast_possible_truncation, reason = "any word will do")]

use core::cell::{Cell, RefCell};
use std::sync::Arc;

use super::attack::{Attacker, armed, disarmed};
use super::input::{Input, near};
use crate::ring::{Geometry, RingMemory, Use, halves, joined};
use crate::sync::{AtomicU64, Ordering};

/// Bytes of payload that the fuzzed rings hold: the fewest slots, and an arena that laps often.
pub(super) const CAPACITY: usize = 512;

/// Rings that are kept from one input to the next: making one costs more than all that is done with it.
const KEPT: usize = 4;

thread_local! {
    static RINGS: RefCell<Vec<Arc<RingMemory>>> = const { RefCell::new(Vec::new()) };
}

/// A peer's access to the rings it shares with us, and the input that says how it abuses it.
pub(crate) struct Hostile<'a> {
    pub(crate) input: Input<'a>,
    pub(super) rings: Vec<Arc<RingMemory>>,
    /// Rings that are none of its business: no strike touches them.
    pub(crate) beside: Vec<Arc<RingMemory>>,
    /// Per ring a position near which its words mean something: where we stand.
    pub(super) focus: Vec<Cell<u64>>,
    /// Per ring the most messages it has ever claimed to have released, of those that were sent; see `producer`.
    pub(super) claimed: Vec<Cell<u64>>,
}

/// Runs `target` over fresh rings. The input's first byte says where their positions start.
pub(super) fn attack(data: &[u8], rings: usize, target: impl FnOnce(&Hostile<'_>)) {
    attack_beside(data, rings, 0, target);
}

/// As [`attack`], with further rings that the peer does not have.
pub(crate) fn attack_beside(data: &[u8], rings: usize, beside: usize, target: impl FnOnce(&Hostile<'_>)) {
    let input = Input::new(data);
    let start = match input.byte() {
        first @ 0..128 => u64::MAX - u64::from(first),
        first => u64::from(first - 128),
    };
    let hostile = Hostile {
        input,
        rings: (0..rings).map(|_| fresh(start)).collect(),
        beside: (0..beside).map(|_| fresh(start)).collect(),
        focus: (0..rings).map(|_| Cell::new(start)).collect(),
        claimed: (0..rings).map(|_| Cell::new(0)).collect(),
    };
    armed(&hostile, || target(&hostile));
    let used = hostile.rings.into_iter().chain(hostile.beside);
    RINGS.with_borrow_mut(|kept| kept.extend(used.take(KEPT - kept.len().min(KEPT))));
}

fn fresh(start: u64) -> Arc<RingMemory> {
    let kept = RINGS.with_borrow_mut(Vec::pop);
    if let Some(mut memory) = kept
        && let Some(owned) = Arc::get_mut(&mut memory)
    {
        owned.renew(start);
        return memory;
    }
    let geometry = Geometry::new(CAPACITY, Use::Calls).expect("a power of two");
    Arc::new(RingMemory::create_at(geometry, start).expect("memory for a ring").0)
}

/// Writes a word of two halves anew.
fn change_halves(word: &AtomicU64, change: impl FnOnce(u32, u32) -> (u32, u32)) {
    let (low, high) = halves(word.load(Ordering::Relaxed));
    let (low, high) = change(low, high);
    word.store(joined(low, high), Ordering::Relaxed);
}

impl Attacker for Hostile<'_> {
    #[cfg(fuzzing)]
    fn between_looks(&self) {
        if self.input.back().is_some_and(|byte| byte >= 192) {
            self.write(&|| self.input.back().unwrap_or(0));
        }
    }
}

impl Hostile<'_> {
    /// The peer writes something that the front of the input says.
    pub(crate) fn strike(&self) {
        disarmed(|| self.write(&|| self.input.byte()));
    }

    fn write(&self, byte: &dyn Fn() -> u8) {
        let what = byte();
        let ring = usize::from(what >> 7) % self.rings.len();
        let memory = &self.rings[ring];
        let focus = self.focus[ring].get();
        let header = memory.header();
        match what & 15 {
            0..4 => {
                let position = near(focus, byte() & 127, byte() & 15);
                let sequence = near(memory.lap(position).into(), byte(), byte());
                change_halves(&memory.slot(position).publication, |_, len| (sequence as u32, len));
            }
            4 => {
                let len = u32::from(byte()) << (byte() & 31);
                change_halves(&memory.slot(focus).publication, |sequence, _| (sequence, len));
            }
            5 => {
                let type_id = u32::from_le_bytes([byte(), 0, byte(), 0]);
                change_halves(&memory.slot(focus).kind, |_, deadline| (type_id, deadline));
            }
            6 => {
                memory.slot(focus).correlation_id.store(near(0, byte(), byte()), Ordering::Relaxed);
                let deadline = u32::from(byte()) << (byte() & 31);
                change_halves(&memory.slot(focus).kind, |type_id, _| (type_id, deadline));
            }
            7 => {
                let inline = memory.inline(focus);
                // SAFETY: the payload area is at least 40 bytes, 8-aligned and mapped as long as the memory; each
                // reference to its bytes is to an `UnsafeCell` or was lent as a peer's to change.
                unsafe { inline.cast::<u64>().write_volatile(near(u64::from(byte()), byte(), byte())) };
            }
            8..10 => header.released.0.store(near(focus, byte(), byte()), Ordering::Relaxed),
            10 => header.consumer_parked.0.write(u32::from(byte())),
            11 => header.producer_parked.0.write(u32::from(byte())),
            12 => header.state.0.store(u32::from(byte() & 15), Ordering::Relaxed),
            13 => {
                header.ends.0.producer.store(u32::from(byte() & 3), Ordering::Relaxed);
                header.processors[usize::from(byte() & 1)].0.store(byte().into(), Ordering::Relaxed);
            }
            _ => {
                let at = usize::from(u16::from_le_bytes([byte(), byte()])) % memory.segment().len();
                // SAFETY: the offset lies in the mapping.
                let at = unsafe { memory.segment().as_ptr().add(at) };
                // SAFETY: the mapping is writable, and its bytes are a peer's to change: see above.
                unsafe { at.write_volatile(byte()) };
            }
        }
        self.note_claim(ring);
    }

    /// Notes what the released word says, if a producer could believe it.
    pub(super) fn note_claim(&self, ring: usize) {
        let memory = &self.rings[ring];
        let released = memory.header().released.0.load(Ordering::Relaxed).wrapping_sub(memory.start());
        let sent = self.focus[ring].get().wrapping_sub(memory.start());
        if released <= sent {
            self.claimed[ring].set(self.claimed[ring].get().max(released));
        }
    }

    /// Whether `len` bytes from `at` lie in the part of ring `ring` where payloads may.
    pub(super) fn holds(&self, ring: usize, at: *const u8, len: usize) -> bool {
        let memory = &self.rings[ring];
        let base = memory.segment().as_ptr().as_ptr().addr();
        let (from, to) = (base + crate::ring::HEADER_LEN, base + memory.geometry().segment_len());
        at.addr() >= from && at.addr() <= to && len <= to - at.addr()
    }
}
