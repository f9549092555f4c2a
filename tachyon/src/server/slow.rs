//! Endpoints that are known as slow: other callers are not left to wait behind them.

use crate::sync::{AtomicU8, Ordering};
use crate::type_id::msg_type;

/// From which time on a run was slow, in nanoseconds.
const SLOW: u64 = 1_000_000;

/// Runs in a row that were not slow until an endpoint is taken for fast again: the system may have had something else to
/// do meanwhile.
const FORGIVEN_AFTER: u8 = 16;

/// By message type: runs until it is taken for fast, 0 if it is.
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
        self.of(type_id).load(Ordering::Relaxed) != 0
    }

    /// Notes how long a run took.
    pub(super) fn note(&self, type_id: u32, nanos: u64) {
        let runs = self.of(type_id);
        let left = runs.load(Ordering::Relaxed);
        // The note of another worker may be lost, which the next run makes good.
        if nanos >= SLOW {
            runs.store(FORGIVEN_AFTER, Ordering::Relaxed);
        } else if left > 0 {
            runs.store(left - 1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_slow_until_it_was_fast_often_enough() {
        let endpoints = SlowEndpoints::new();
        endpoints.note(7, SLOW - 1);
        assert!(!endpoints.is_slow(7));
        endpoints.note(7, SLOW);
        for _ in 0..FORGIVEN_AFTER {
            assert!(endpoints.is_slow(7) && !endpoints.is_slow(8));
            endpoints.note(7, 1);
        }
        assert!(!endpoints.is_slow(7));
    }
}
