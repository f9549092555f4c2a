//! What a model has for a kernel: per process a set of things that are readable, and a sleep until one is.
//!
//! The kernel itself is not what the models check. It is trusted with what POSIX says of it: a byte that was sent before
//! a `poll` makes it return, one sent during it wakes it, and a system call happens before whatever its effect wakes.

pub(crate) mod doorbell;
pub(crate) mod peer;
pub(crate) mod sleep;

use std::sync::Arc;
use std::sync::atomic::AtomicU32 as Bits;

use loom::sync::Notify;
use loom::sync::atomic::{AtomicU32, Ordering};

/// The bit of the hang-up, above those of the doorbells.
const HUNG_UP: u32 = 1 << 31;

/// What one process can poll.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// A bit for each bell that rang, and for the hang-up. No word of the model: it changes and is looked at inside of
    /// system calls, and the entry orders those.
    readable: Bits,
    bells: Bits,
    /// Each system call enters by a step of this, so that earlier ones happen before later ones.
    entry: AtomicU32,
    changed: Notify,
}

impl Kernel {
    pub(crate) fn new() -> Arc<Self> {
        let (readable, bells) = (Bits::new(0), Bits::new(0));
        Arc::new(Self { readable, bells, entry: AtomicU32::new(0), changed: Notify::new() })
    }

    fn enter(&self) {
        self.entry.fetch_add(1, Ordering::AcqRel);
    }

    /// Makes `bits` readable and wakes whoever sleeps.
    fn rouse(&self, bits: u32) {
        self.enter();
        self.readable.fetch_or(bits, Ordering::Relaxed);
        self.changed.notify();
    }

    /// What is readable of `bits`.
    fn look(&self, bits: u32) -> u32 {
        self.enter();
        self.readable.load(Ordering::Relaxed) & bits
    }
}
