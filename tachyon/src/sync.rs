//! The atomics of the crate, in one place, so that a model checker can stand in for them.
//!
//! Under `--cfg loom` the same names come from loom, which explores every interleaving the memory model allows; in
//! every other build they are the ones of `core`. Nothing else in the crate may name an atomic type.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
