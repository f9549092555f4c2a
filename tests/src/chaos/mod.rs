//! Shared by the programs `chaos` and `actor`, and repeated by `tests/python/actor.py`: streams of messages, the file
//! with an actor's progress, and orders.

pub mod order;
pub mod progress;
pub mod progress_file;
pub mod stream;

use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC` in nanoseconds: the same for every process of the machine.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
