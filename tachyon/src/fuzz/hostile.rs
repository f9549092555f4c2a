//! A peer that writes anything into a ring.
#![allow(unsafe_code, reason = "writes any byte of a segment, as a peer can")]
#![allow(clippy::cast_possible_truncation, reason = "any value of a word is valid input")]

use core::cell::{Cell, RefCell};
use std::sync::Arc;

use super::attack::{Attacker, armed, disarmed};
use super::input::{Input, near};
use crate::ring::{Geometry, RingMemory, Use, halves, joined};
use crate::sync::{AtomicU64, Ordering};

/// Payload capacity of the fuzzed rings in bytes: the fewest slots, and an arena that laps often.
pub(super) const CAPACITY: usize = 512;

/// The number of rings kept from one input to the next: to make a ring costs more than to run an input.
const KEPT: usize = 4;

thread_local! {
    static RINGS: RefCell<Vec<Arc<RingMemory>>> = const { RefCell::new(Vec::new()) };
}

/// A peer's access to the shared rings, and the input that chooses its writes.
pub(crate) struct Hostile<'a> {
    pub(crate) input: Input<'a>,
    pub(super) rings: Vec<Arc<RingMemory>>,
    /// Further rings, which the peer does not share and never writes to.
    pub(crate) beside: Vec<Arc<RingMemory>>,
    /// For each ring the position in use: most strikes are near it.
    pub(super) focus: Vec<Cell<u64>>,
    /// For each ring the most sent messages that the peer has ever claimed to have released; see `producer`.
    pub(super) claimed: Vec<Cell<u64>>,
}

/// Runs `target` over fresh rings. The first byte of the input gives their first position.
pub(super) fn attack(data: &[u8], rings: usize, target: impl FnOnce(&Hostile<'_>)) {
    attack_beside(data, rings, 0, target);
}

/// Like [`attack`], with further rings that the peer does not share.
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

/// Changes a word of two halves.
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
    /// Makes a write that the front of the input chooses.
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
                // SAFETY: the payload area has at least 40 bytes, is 8-aligned and mapped as long as the memory. Each
                // reference to its bytes is to an `UnsafeCell`, or allows that a peer changes them.
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
            14 => {
                let cell = &header.cells[usize::from(byte() & 3)];
                cell.granted.store(near(cell.granted.load(Ordering::Relaxed), byte(), byte()), Ordering::Relaxed);
            }
            _ => {
                let at = usize::from(u16::from_le_bytes([byte(), byte()])) % memory.segment().len();
                // SAFETY: the offset lies in the mapping.
                let at = unsafe { memory.segment().as_ptr().add(at) };
                // SAFETY: the mapping is writable. Each reference to its bytes is to an `UnsafeCell`, or allows that a
                // peer changes them.
                unsafe { at.write_volatile(byte()) };
            }
        }
        self.note_claim(ring);
    }

    /// Notes the count in the released word, if a producer would accept it.
    pub(super) fn note_claim(&self, ring: usize) {
        let memory = &self.rings[ring];
        let released = memory.header().released.0.load(Ordering::Relaxed).wrapping_sub(memory.start());
        let sent = self.focus[ring].get().wrapping_sub(memory.start());
        if released <= sent {
            self.claimed[ring].set(self.claimed[ring].get().max(released));
        }
    }

    /// Whether `len` bytes from `at` lie in ring `ring`, behind its header.
    pub(super) fn holds(&self, ring: usize, at: *const u8, len: usize) -> bool {
        let memory = &self.rings[ring];
        let base = memory.segment().as_ptr().as_ptr().addr();
        let (from, to) = (base + crate::ring::HEADER_LEN, base + memory.geometry().segment_len());
        at.addr() >= from && at.addr() <= to && len <= to - at.addr()
    }
}
