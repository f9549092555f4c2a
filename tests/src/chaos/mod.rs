//! What the programs `chaos` and `actor` share, and the Python actor repeats: how messages are made and checked, where
//! an actor notes how far it has come, and how orders are read.

pub mod fate;
pub mod ledger;
pub mod numbered;
pub mod order;

use rustix::time::{ClockId, clock_gettime};

/// What `CLOCK_MONOTONIC` shows, in nanoseconds: the same for every process of the machine.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
