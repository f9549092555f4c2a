//! Slow endpoints: before a worker runs a slow one, it hands its other callers over to the other workers.
//!
//! An endpoint is slow until it was fast often enough: a first run may take any time, and the other callers of its
//! worker would wait for that run beside idle workers.

use crate::sync::{AtomicU8, Ordering};
use crate::type_id::msg_type;

/// Shortest duration of a slow run, in nanoseconds.
const SLOW: u64 = 1_000_000;

/// Fast runs in a row after which an endpoint counts as fast. One slow run may be the scheduler's.
const FAST_AFTER: u8 = 16;

/// The fast runs in a row by message type, up to [`FAST_AFTER`].
#[derive(Debug)]
pub(super) struct SlowEndpoints(Box<[AtomicU8]>);

impl SlowEndpoints {
    pub(super) fn new() -> Self {
        Self((0..=u16::MAX).map(|_| AtomicU8::new(0)).collect())
    }

    fn of(&self, type_id: u32) -> &AtomicU8 {
        &self.0[usize::from(msg_type(type_id))]
    }

    pub(super) fn is_slow(&self, type_id: u32) -> bool {
        self.of(type_id).load(Ordering::Relaxed) < FAST_AFTER
    }

    /// Records the duration of a run, in nanoseconds.
    pub(super) fn note(&self, type_id: u32, nanos: u64) {
        let runs = self.of(type_id);
        let fast = runs.load(Ordering::Relaxed);
        // Two workers may overwrite each other's count: the next run corrects that.
        if nanos >= SLOW {
            runs.store(0, Ordering::Relaxed);
        } else if fast < FAST_AFTER {
            runs.store(fast + 1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_slow_until_it_was_fast_often_enough() {
        let endpoints = SlowEndpoints::new();
        let prove_fast = || {
            for _ in 0..FAST_AFTER {
                assert!(endpoints.is_slow(7));
                endpoints.note(7, SLOW - 1);
            }
            assert!(!endpoints.is_slow(7));
        };
        prove_fast();
        endpoints.note(7, SLOW);
        prove_fast();
        assert!(endpoints.is_slow(8), "no run so far");
    }
}
