//! Two ends of a rope.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Kernel;

/// Rings in the other process.
#[derive(Debug)]
pub(crate) struct Doorbell {
    pub(super) bit: u32,
    theirs: Arc<Kernel>,
}

impl Doorbell {
    pub(crate) fn pair([one, other]: &[Arc<Kernel>; 2]) -> (Self, Self) {
        let bit = 1 << one.bells.fetch_add(1, Ordering::Relaxed);
        (Self { bit, theirs: Arc::clone(other) }, Self { bit, theirs: Arc::clone(one) })
    }

    pub(crate) fn ring(&self) {
        self.theirs.rouse(self.bit);
    }
}
