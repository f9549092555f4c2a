//! The schedule of a busy worker: how often it looks at epoll between its passes.

use std::time::{Duration, Instant};

/// Passes without a request, and time with requests, between two looks at epoll while callers are busy. A parked caller
/// waits so long for its turn behind busy ones.
const PASSES_PER_LOOK: u32 = 64;
const WORK_PER_LOOK: Duration = Duration::from_micros(50);

/// The result of one pass over the polled callers.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct PassResult {
    /// A request was served.
    pub(super) served: bool,
    /// A caller had no request but is still polled.
    pub(super) polling: bool,
}

/// Passes and time since the last look.
#[derive(Debug)]
pub(super) struct PollSchedule {
    passes: u32,
    looked_at: Instant,
}

impl PollSchedule {
    pub(super) fn new() -> Self {
        Self { passes: 0, looked_at: Instant::now() }
    }

    /// Counts a pass; true when a look is due.
    #[inline]
    pub(super) fn count_pass(&mut self, served: bool) -> bool {
        self.passes += 1;
        if served { self.looked_at.elapsed() >= WORK_PER_LOOK } else { self.passes >= PASSES_PER_LOOK }
    }

    /// Starts anew after a look, and returns the time.
    pub(super) fn restart(&mut self) -> Instant {
        *self = Self::new();
        self.looked_at
    }
}
