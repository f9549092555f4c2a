//! loom's atomics and locks in place of the processor's and the system's.

use loom::sync::atomic;
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::sync::PoisonError;

/// The words that both sides write, with stores that loom puts into one order.
///
/// loom lets two stores that nothing else orders be seen in either order, also when an exchange in between has read the
/// one and so stands right behind it, which the language rules out. A parked word is such a word: loom would have the
/// waker read its own old 0 after the waiter's new 1. As an exchange, a store comes after all that were made before it;
/// the other order is another run of the model.
#[derive(Debug)]
pub(crate) struct AtomicU32(atomic::AtomicU32);

impl AtomicU32 {
    #[track_caller]
    pub(crate) fn new(value: u32) -> Self {
        Self(atomic::AtomicU32::new(value))
    }

    #[track_caller]
    pub(crate) fn load(&self, ordering: Ordering) -> u32 {
        self.0.load(ordering)
    }

    #[track_caller]
    pub(crate) fn store(&self, value: u32, ordering: Ordering) {
        self.0.swap(value, ordering);
    }

    #[track_caller]
    pub(crate) fn swap(&self, value: u32, ordering: Ordering) -> u32 {
        self.0.swap(value, ordering)
    }

    #[track_caller]
    pub(crate) fn fetch_or(&self, value: u32, ordering: Ordering) -> u32 {
        self.0.fetch_or(value, ordering)
    }

    #[track_caller]
    pub(crate) fn compare_exchange(
        &self,
        current: u32,
        new: u32,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u32, u32> {
        self.0.compare_exchange(current, new, success, failure)
    }
}
