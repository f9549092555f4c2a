//! The atomics and locks of all shared state, named in one place: loom replaces them in `tests/loom`, and the fuzzer
//! replaces the shared words by words that a peer changes between two loads.

pub(crate) use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering, fence};
#[cfg(not(fuzzing))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[cfg(fuzzing)]
pub(crate) use crate::fuzz::{AtomicU32, AtomicU64};
