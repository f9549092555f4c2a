//! loom's atomics and locks.

use loom::sync::atomic;
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::sync::PoisonError;

/// An atomic that both sides write, whose stores have one order in loom.
///
/// loom lets another thread see two unordered stores in either order, even if an exchange between them has read the
/// first and so follows it directly, which the language forbids. For a parked word, loom would let the waker read its
/// own old 0 after the waiter's new 1. Made as an exchange, a store follows every earlier store. The other order is
/// another run of the model.
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
