//! Points in time a call must not wait past.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// When a wait gives up; possibly never.
///
/// Kept as `CLOCK_MONOTONIC` nanoseconds, which every process of the machine counts alike, so that a deadline can travel
/// with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(u64);

/// The value that is never reached: 584 years of uptime.
const NEVER: u64 = u64::MAX;

impl Deadline {
    /// Waits for as long as it takes.
    pub(crate) const fn never() -> Self {
        Self(NEVER)
    }

    /// Gives up `timeout` from now. A timeout past the clock's range is never reached.
    pub(crate) fn after(timeout: Duration) -> Self {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(NEVER);
        Self(monotonic_nanos().saturating_add(nanos))
    }

    /// Gives up when the clock shows `nanos`; any value is a deadline, if only one long past or never reached.
    pub(crate) const fn at_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// What the clock shows then, in nanoseconds; `None` when there is no limit.
    #[inline]
    pub(crate) const fn nanos(self) -> Option<u64> {
        if self.0 == NEVER { None } else { Some(self.0) }
    }

    /// Time left; `None` when there is no limit, zero when it has passed.
    pub(crate) fn remaining(self) -> Option<Duration> {
        self.nanos().map(|at| Duration::from_nanos(at.saturating_sub(monotonic_nanos())))
    }

    #[inline]
    pub(crate) fn has_passed(self) -> bool {
        self.nanos().is_some_and(|at| monotonic_nanos() >= at)
    }
}

/// What `CLOCK_MONOTONIC` shows, in nanoseconds.
pub(crate) fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The clock starts at boot and is never negative.
    now.tv_sec.cast_unsigned().saturating_mul(1_000_000_000).saturating_add(now.tv_nsec.cast_unsigned())
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
        assert_eq!(Deadline::never().nanos(), None);
    }

    #[test]
    fn zero_has_passed_at_once() {
        let deadline = Deadline::after(Duration::ZERO);
        assert!(deadline.has_passed());
        assert_eq!(deadline.remaining(), Some(Duration::ZERO));
    }

    #[test]
    fn keeps_the_time_it_was_given() {
        let deadline = Deadline::after(Duration::from_secs(10));
        assert!(!deadline.has_passed());
        let left = deadline.remaining().unwrap();
        assert!(left <= Duration::from_secs(10) && left > Duration::from_secs(9), "{left:?}");
        assert_eq!(Deadline::at_nanos(deadline.nanos().unwrap()), deadline);
    }
}
