//! How often a busy worker looks at epoll.

use std::time::{Duration, Instant};

/// Passes without a request, and time with requests, between two looks at epoll while callers are busy: how long one who
/// was silent may wait for its turn behind those who are not.
const PASSES_PER_LOOK: u32 = 64;
const WORK_PER_LOOK: Duration = Duration::from_micros(50);

/// Passes and time since the last look.
#[derive(Debug)]
pub(super) struct Pace {
    passes: u32,
    looked: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { passes: 0, looked: Instant::now() }
    }

    /// Counts a pass, which served a request or did not; true when it is time for a look.
    #[inline]
    pub(super) fn passed(&mut self, served: bool) -> bool {
        self.passes += 1;
        if served { self.looked.elapsed() >= WORK_PER_LOOK } else { self.passes >= PASSES_PER_LOOK }
    }

    /// A look was taken; gives the time.
    pub(super) fn looked(&mut self) -> Instant {
        *self = Self::new();
        self.looked
    }
}
