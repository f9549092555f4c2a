//! Points in time a call must not wait past.

use std::time::{Duration, Instant};

/// When a wait gives up; possibly never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// Waits for as long as it takes.
    pub(crate) const fn never() -> Self {
        Self(None)
    }

    /// Gives up `timeout` from now. A timeout past the clock's range is never reached.
    pub(crate) fn after(timeout: Duration) -> Self {
        Self(Instant::now().checked_add(timeout))
    }

    /// Time left; `None` when there is no limit, zero when it has passed.
    pub(crate) fn remaining(self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn has_passed(self) -> bool {
        self.0.is_some_and(|at| Instant::now() >= at)
    }
}

impl From<Option<Duration>> for Deadline {
    fn from(timeout: Option<Duration>) -> Self {
        timeout.map_or(Self::never(), Self::after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_past_the_clock_is_never() {
        assert_eq!(Deadline::after(Duration::MAX), Deadline::never());
        assert!(!Deadline::never().has_passed());
        assert_eq!(Deadline::never().remaining(), None);
    }

    #[test]
    fn zero_has_passed_at_once() {
        let deadline = Deadline::after(Duration::ZERO);
        assert!(deadline.has_passed());
        assert_eq!(deadline.remaining(), Some(Duration::ZERO));
    }
}
