//! The atomics of everything that is shared with a peer or between threads, named in one place, so that a model checker
//! can stand in for them, and a fuzzer's that change between one look and the next.

pub(crate) use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering, fence};
#[cfg(not(fuzzing))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[cfg(fuzzing)]
pub(crate) use crate::fuzz::{AtomicU32, AtomicU64};
