//! The atomics of everything that is shared with a peer or between threads, named in one place, so that a model checker
//! can stand in for them.

pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
