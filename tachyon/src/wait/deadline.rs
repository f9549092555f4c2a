//! Deadlines, as nanoseconds of `CLOCK_MONOTONIC` and in the format of a message.

use std::time::Duration;

#[cfg(not(loom))]
use rustix::time::{ClockId, clock_gettime};

use crate::sync::{AtomicU64, Ordering};

/// The moment at which a wait gives up; possibly never.
///
/// `CLOCK_MONOTONIC` is the same for all processes of a time namespace, so a deadline can travel with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline(u64);

/// Nanoseconds of a deadline's unit in a message, as a base-2 logarithm.
const UNIT_EXPONENT: u32 = 16;

/// A deadline this many units ahead, or more, travels as no deadline.
const FARTHEST: u64 = 1 << 31;

/// No deadline. The clock reaches this value after 584 years.
const NEVER: u64 = u64::MAX;

impl Deadline {
    /// No limit.
    pub(crate) const fn never() -> Self {
        Self(NEVER)
    }

    /// The moment `timeout` from now. A timeout beyond the clock's range means no limit.
    pub(crate) fn after(timeout: Duration) -> Self {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(NEVER);
        Self(monotonic_nanos().saturating_add(nanos))
    }

    /// The moment at which the clock shows `nanos`. Every value is valid.
    pub(crate) const fn at_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The deadline in the format of a message: units of 65,536 ns of the clock, rounded up, modulo 2^32. 0 means no
    /// limit, so a real 0 becomes 1, one unit later. A deadline 2^31 units (39 hours) ahead or more becomes no limit.
    pub(crate) fn to_wire(self) -> u32 {
        match self.nanos() {
            None => 0,
            Some(at) => Self::units_to_wire(at.div_ceil(1 << UNIT_EXPONENT), monotonic_nanos() >> UNIT_EXPONENT),
        }
    }

    fn units_to_wire(at: u64, now: u64) -> u32 {
        if at.saturating_sub(now) >= FARTHEST - 1 {
            return 0;
        }
        // A deadline long past becomes one that has just passed: modulo 2^32 the old value would be in the future.
        let at = at.max(now.saturating_sub(1));
        u32::try_from(at & u64::from(u32::MAX)).map_or(1, |at| at.max(1))
    }

    /// The deadline of a received message. Every value is valid: the deadline lies at most 39 hours ahead or in the
    /// past.
    #[inline]
    pub(crate) fn from_wire(wire: u32) -> Self {
        if wire == 0 { Self::never() } else { Self::from_units_of_now(wire) }
    }

    #[inline(never)]
    fn from_units_of_now(wire: u32) -> Self {
        Self::from_units(wire, monotonic_nanos() >> UNIT_EXPONENT)
    }

    fn from_units(wire: u32, now: u64) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "the difference is one of the lower halves")]
        let ahead = wire.wrapping_sub(now as u32).cast_signed();
        let at = now.saturating_add_signed(ahead.into());
        Self(at.saturating_mul(1 << UNIT_EXPONENT))
    }

    /// The deadline in nanoseconds of the clock; `None` for no limit.
    #[inline]
    pub(crate) const fn nanos(self) -> Option<u64> {
        if self.0 == NEVER { None } else { Some(self.0) }
    }

    /// The remaining time: `None` for no limit, zero after the deadline.
    pub(crate) fn remaining(self) -> Option<Duration> {
        self.remaining_at(monotonic_nanos())
    }

    /// As [`remaining`](Self::remaining), at the time `now`, in nanoseconds.
    #[inline]
    pub(crate) fn remaining_at(self, now: u64) -> Option<Duration> {
        self.nanos().map(|at| Duration::from_nanos(at.saturating_sub(now)))
    }

    /// As [`has_passed`](Self::has_passed), at the time `now`, in nanoseconds.
    #[inline]
    pub(crate) fn has_passed_at(self, now: u64) -> bool {
        self.nanos().is_some_and(|at| now >= at)
    }

    /// The earlier deadline.
    pub(crate) fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    #[inline]
    pub(crate) fn has_passed(self) -> bool {
        self.nanos().is_some_and(|at| monotonic_nanos() >= at)
    }
}

/// `CLOCK_MONOTONIC` in nanoseconds.
#[cfg(not(loom))]
pub(crate) fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The clock starts at boot and is never negative.
    now.tv_sec.cast_unsigned().saturating_mul(1_000_000_000).saturating_add(now.tv_nsec.cast_unsigned())
}

#[cfg(loom)]
pub(crate) use crate::kernel::clock as monotonic_nanos;

impl From<Option<Duration>> for Deadline {
    fn from(timeout: Option<Duration>) -> Self {
        timeout.map_or(Self::never(), Self::after)
    }
}

/// The time of a server's stop, and the timeout of the requests that have begun before.
#[derive(Debug)]
pub(crate) struct StopTime {
    /// In nanoseconds of `CLOCK_MONOTONIC`; 0 before the stop.
    asked_at: AtomicU64,
    timeout: Duration,
}

impl StopTime {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { asked_at: AtomicU64::new(0), timeout }
    }

    /// Begins the stop. Later calls change nothing.
    pub(crate) fn stop(&self) {
        let _ = self.asked_at.compare_exchange(0, monotonic_nanos(), Ordering::Release, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.asked_at.load(Ordering::Acquire) != 0
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The deadline of the requests that have begun; `None` before the stop.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        self.later(Duration::ZERO)
    }

    /// A moment `grace` later than [`deadline`](Self::deadline).
    pub(crate) fn later(&self, grace: Duration) -> Option<Deadline> {
        let asked_at = self.asked_at.load(Ordering::Acquire);
        if asked_at == 0 {
            return None;
        }
        let timeout = u64::try_from(self.timeout.saturating_add(grace).as_nanos()).unwrap_or(u64::MAX);
        Some(Deadline::at_nanos(asked_at.saturating_add(timeout)))
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
    fn a_deadline_survives_the_wire_and_is_at_most_one_unit_late() {
        let unit = 1 << UNIT_EXPONENT;
        for after in [1, 1000, unit, 5_000_000_000, (FARTHEST - 3) * unit] {
            let deadline = Deadline::after(Duration::from_nanos(after));
            let read = Deadline::from_wire(deadline.to_wire());
            let late = read.nanos().unwrap() - deadline.nanos().unwrap();
            assert!(late < unit, "{after} ns from now came {late} ns late");
        }
        assert_eq!(Deadline::never().to_wire(), 0);
        assert_eq!(Deadline::after(Duration::from_hours(40)).to_wire(), 0, "farther than the wire reaches");
        assert!(Deadline::from_wire(0).nanos().is_none());
    }

    #[test]
    fn units_come_round_and_a_real_zero_is_late_by_one() {
        let turn = 1u64 << 32;
        assert_eq!(Deadline::units_to_wire(turn, turn - 5), 1);
        assert_eq!(Deadline::units_to_wire(turn + 7, turn - 5), 7);
        assert_eq!(Deadline::from_units(7, turn - 5), Deadline::at_nanos((turn + 7) << UNIT_EXPONENT));
        assert_eq!(Deadline::from_units(u32::MAX, turn + 5), Deadline::at_nanos((turn - 1) << UNIT_EXPONENT));
        // A deadline long past stays past.
        assert_eq!(Deadline::units_to_wire(3, turn * 2), u32::MAX);
    }

    #[test]
    fn any_word_is_harmless() {
        let now = monotonic_nanos() >> UNIT_EXPONENT;
        for wire in [1, u32::MAX, 1 << 31, (1 << 31) - 1, 12345] {
            let ahead = Deadline::from_units(wire, now).nanos().unwrap() >> UNIT_EXPONENT;
            assert!(ahead.abs_diff(now) <= FARTHEST);
        }
        assert_eq!(Deadline::from_units((1 << 31) + 3, 3), Deadline::at_nanos(0), "before the clock began");
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
