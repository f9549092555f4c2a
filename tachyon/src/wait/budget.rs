//! The budget of a wait: the time for which it spins before it parks, learnt from earlier waits.
//!
//! Times are in nanoseconds on `CLOCK_MONOTONIC`. A budget learns from the length of a wait, whether the wait spun or
//! parked: for a message that came within the cost of a park, spinning would have been right.
//! `docs/decisions/0019-waiting.md` has the traces behind the constants.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::monotonic_nanos;
use crate::sync::Ordering;

/// How a thread waits for its peer: it spins, parks, or spins and then parks.
///
/// A spinning thread sees a message within the time of a cache line and uses a whole core. A parked thread uses no
/// processor time, and its wake-up by the system takes microseconds. In every mode, a message, the peer's death, an
/// orderly close and a deadline end the wait.
///
/// ```
/// use std::time::Duration;
/// use tachyon::{Options, PollingMode};
///
/// // Spin for at most 50 us, then park.
/// let options = Options::new().polling(PollingMode::SpinFor(Duration::from_micros(50)));
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PollingMode {
    /// Spins for the measured cost of a park (5 to 80 us), then parks. After waits much longer than that it spins less;
    /// a short wait restores the whole time. An idle process uses no processor time.
    #[default]
    Adaptive,
    /// Spins and never parks. The thread needs a core of its own.
    Spin,
    /// Looks this many times, then parks.
    SpinTimes(u32),
    /// Spins for this long, then parks.
    SpinFor(Duration),
    /// Parks without spinning.
    Park,
}

/// Bounds of the cost of a park in nanoseconds, and the cost before the first measurement.
const CHEAPEST_PARK: u32 = 5_000;
const DEAREST_PARK: u32 = 80_000;
const FIRST_PARK: u32 = 25_000;

/// Weight of the past in the average cost of a park, as a base-2 logarithm.
const PAST_WEIGHT: u32 = 3;

/// The cost of a park in this process, in nanoseconds: from the sending of a ring message to the waiter's next look.
static PARK_COST: AtomicU32 = AtomicU32::new(FIRST_PARK);

/// A smaller budget, in nanoseconds, becomes 0.
const LEAST_BUDGET: u32 = 2_000;

/// Stands for the whole budget, which changes with the cost of a park.
const WHOLE: u32 = u32::MAX;

/// Bounds of the number of looks between two readings of the clock.
const FEWEST_LOOKS: u32 = 16;
const MOST_LOOKS: u32 = 512;

/// Nanoseconds between two readings of the clock.
const READ_EVERY: u64 = 1_000;

/// Notes that a wake-up took `nanos` from the sending of its ring message. A hostile peer can move the cost only within
/// the bounds.
pub(crate) fn note_park(nanos: u64) {
    let sample = u32::try_from(nanos).unwrap_or(DEAREST_PARK).clamp(CHEAPEST_PARK, DEAREST_PARK);
    let before = PARK_COST.load(Ordering::Relaxed);
    // Not atomic as a whole: a note of another thread may be lost, which does not matter for an average.
    PARK_COST.store(before - (before >> PAST_WEIGHT) + (sample >> PAST_WEIGHT), Ordering::Relaxed);
}

/// The cost of a park in nanoseconds.
pub(super) fn park_cost() -> u64 {
    PARK_COST.load(Ordering::Relaxed).into()
}

/// The lower bound of the cost of a park, the present cost, and the upper bound, in nanoseconds.
#[cfg(any(test, fuzzing))]
pub(crate) fn park_cost_bounds() -> (u64, u64, u64) {
    // Rounding lowers the least cost by less than the weight of the past.
    (u64::from(CHEAPEST_PARK) - (1 << PAST_WEIGHT), park_cost(), DEAREST_PARK.into())
}

/// The number of looks that take about a microsecond. Measured once, as the fastest of three tries: a preemption makes
/// a try longer.
pub(crate) fn looks_per_reading() -> u32 {
    static LOOKS: OnceLock<u32> = OnceLock::new();
    *LOOKS.get_or_init(|| {
        const PAUSES: u32 = 64;
        let quickest = (0..3)
            .map(|_| {
                let began = monotonic_nanos();
                for _ in 0..PAUSES {
                    core::hint::spin_loop();
                }
                monotonic_nanos() - began
            })
            .min();
        let looks = u64::from(PAUSES) * READ_EVERY / quickest.unwrap_or(0).max(1);
        u32::try_from(looks).unwrap_or(MOST_LOOKS).clamp(FEWEST_LOOKS, MOST_LOOKS)
    })
}

/// The limit of the spinning of one wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spin {
    Unlimited,
    Looks(u32),
    Nanos(u64),
}

/// The mode of one waiter, and its learnt budget.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    mode: PollingMode,
    /// The whole budget, in costs of a park: one, or two for a caller, whose reply is probably on its way.
    factor: u32,
    learnt: u32,
    /// Looks before the first reading of the clock.
    first_round: u32,
}

impl Budget {
    pub(crate) fn new(mode: PollingMode, factor: u32) -> Self {
        let first_round = match mode {
            PollingMode::Park => 0,
            PollingMode::SpinFor(time) if time.is_zero() => 0,
            PollingMode::SpinTimes(looks) => looks.min(looks_per_reading()),
            PollingMode::Adaptive | PollingMode::Spin | PollingMode::SpinFor(_) => looks_per_reading(),
        };
        Self { mode, factor, learnt: WHOLE, first_round }
    }

    pub(crate) fn mode(self) -> PollingMode {
        self.mode
    }

    /// Changes the mode and forgets the learnt budget.
    pub(crate) fn set_mode(&mut self, mode: PollingMode) {
        *self = Self::new(mode, self.factor);
    }

    fn whole(self) -> u64 {
        u64::from(self.factor) * park_cost()
    }

    /// The limit of the next wait's spinning after the first round.
    #[inline]
    pub(crate) fn spin(self) -> Spin {
        match self.mode {
            PollingMode::Spin => Spin::Unlimited,
            PollingMode::Adaptive if self.learnt == WHOLE => Spin::Nanos(self.whole()),
            PollingMode::Adaptive => Spin::Nanos(self.learnt.into()),
            PollingMode::SpinFor(time) => Spin::Nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            PollingMode::SpinTimes(looks) => Spin::Looks(looks),
            PollingMode::Park => Spin::Nanos(0),
        }
    }

    /// Looks of the first round of a wait, which does not read the clock.
    #[inline]
    pub(crate) fn first_round(self) -> u32 {
        self.first_round
    }

    /// Notes a wait that ended within its first round.
    #[inline]
    pub(crate) fn note_first_round(&mut self) {
        self.learnt = WHOLE;
    }

    /// Learns from a wait of `nanos`.
    pub(crate) fn learn(&mut self, nanos: u64) {
        let whole = self.whole();
        if nanos <= whole {
            self.learnt = WHOLE;
        } else if nanos > 4 * whole {
            let half = u64::from(self.learnt).min(whole) / 2;
            self.learnt = u32::try_from(half).map_or(LEAST_BUDGET, |half| if half < LEAST_BUDGET { 0 } else { half });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_short_wait_restores_the_budget_after_many_long_waits() {
        let mut budget = Budget::new(PollingMode::Adaptive, 1);
        let whole = budget.spin();
        for _ in 0..40 {
            budget.learn(2_000_000);
        }
        assert_eq!(budget.spin(), Spin::Nanos(0));
        budget.learn(u64::from(CHEAPEST_PARK));
        assert!(matches!(budget.spin(), Spin::Nanos(nanos) if nanos >= CHEAPEST_PARK.into()), "{whole:?}");
    }

    #[test]
    fn waits_somewhat_longer_than_a_park_teach_nothing() {
        // The cost of a park changes while other tests park: only a try with a constant cost counts.
        for _ in 0..1000 {
            let cost = park_cost();
            let mut budget = Budget::new(PollingMode::Adaptive, 1);
            budget.learn(2_000_000);
            let learnt = budget.learnt;
            for nanos in [cost + 1, 2 * cost, 4 * cost] {
                budget.learn(nanos);
            }
            if park_cost() == cost {
                assert_eq!(budget.learnt, learnt);
                assert_ne!(learnt, WHOLE);
                return;
            }
        }
        panic!("the cost of a park changed in each of 1000 tries");
    }

    #[test]
    fn a_caller_is_given_twice_as_much() {
        let nanos = |factor| match Budget::new(PollingMode::Adaptive, factor).spin() {
            Spin::Nanos(nanos) => nanos,
            other => panic!("{other:?}"),
        };
        // The cost changes while other tests park, but stays within its bounds.
        assert!(nanos(2) >= 2 * u64::from(CHEAPEST_PARK) && nanos(2) <= 2 * u64::from(DEAREST_PARK));
        assert!(nanos(1) >= u64::from(CHEAPEST_PARK) && nanos(1) <= u64::from(DEAREST_PARK));
    }

    #[test]
    fn the_cost_of_a_park_stays_within_its_bounds() {
        for sample in [0, u64::MAX, 1 << 40] {
            for _ in 0..100 {
                note_park(sample);
                assert!((u64::from(CHEAPEST_PARK) - 8..=u64::from(DEAREST_PARK)).contains(&park_cost()));
            }
        }
        note_park(FIRST_PARK.into());
    }

    #[test]
    fn fixed_modes_do_not_learn() {
        for (mode, spin) in [
            (PollingMode::Spin, Spin::Unlimited),
            (PollingMode::SpinTimes(7), Spin::Looks(7)),
            (PollingMode::SpinFor(Duration::from_micros(3)), Spin::Nanos(3_000)),
            (PollingMode::Park, Spin::Nanos(0)),
        ] {
            let mut budget = Budget::new(mode, 1);
            budget.learn(2_000_000);
            budget.note_first_round();
            assert_eq!(budget.spin(), spin);
        }
    }
}
