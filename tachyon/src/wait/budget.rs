//! How long a wait spins before it parks, and what it learns from each wait.
//!
//! Times are in nanoseconds on `CLOCK_MONOTONIC`. The lesson of a wait is how long it was, not how it was spent: a
//! message that came within the cost of a park should have been spun for, also by a waiter that parked.
//! `docs/decisions/0019-waiting.md` has the traces behind the numbers.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::monotonic_nanos;
use crate::sync::Ordering;

/// What a thread does while it waits for its peer.
///
/// Spinning answers within the time of a cache line; parking costs a wake-up by the system (microseconds) and no
/// processor time while waiting. In every mode, a peer's death, an orderly close and a deadline end the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PollingMode {
    /// Spins for as long as a park would cost, which it measures, then parks. After waits much longer than that it spins
    /// less, and after short ones as before. An idle process costs nothing.
    #[default]
    Adaptive,
    /// Spins and never parks. Give it a core of its own.
    PureSpin,
    /// Looks this many times, then parks.
    Spins(u32),
    /// Spins for this long, then parks.
    Spin(Duration),
    /// Parks at once.
    Park,
}

/// Bounds of the cost of a park, and the cost before the first measurement.
const CHEAPEST_PARK: u32 = 5_000;
const DEAREST_PARK: u32 = 80_000;
const FIRST_PARK: u32 = 25_000;

/// Weight of the past in the average cost of a park, as a power of two.
const PAST_WEIGHT: u32 = 3;

/// The cost of a park in this process: from the ring's sending to the waiter that looks again.
static PARK_COST: AtomicU32 = AtomicU32::new(FIRST_PARK);

/// A budget below this is none.
const LEAST_BUDGET: u32 = 2_000;

/// Stands for the whole budget, which follows the cost of a park.
const WHOLE: u32 = u32::MAX;

/// What a wait within one turn of the clock is at least: looks between two readings.
const FEWEST_LOOKS: u32 = 16;
const MOST_LOOKS: u32 = 512;

/// Time between two readings of the clock.
const READ_EVERY: u64 = 1_000;

/// Notes that a wake-up took `nanos` from the ring's sending. A hostile time moves the cost within its bounds.
pub(crate) fn note_park(nanos: u64) {
    let sample = u32::try_from(nanos).unwrap_or(DEAREST_PARK).clamp(CHEAPEST_PARK, DEAREST_PARK);
    let before = PARK_COST.load(Ordering::Relaxed);
    // Another thread's note may be lost, which is one of many.
    PARK_COST.store(before - (before >> PAST_WEIGHT) + (sample >> PAST_WEIGHT), Ordering::Relaxed);
}

/// The cost of a park in nanoseconds.
pub(super) fn park_cost() -> u64 {
    PARK_COST.load(Ordering::Relaxed).into()
}

/// The least and the most that a park may seem to cost, and between them its cost now.
#[cfg(any(test, fuzzing))]
pub(crate) fn park_cost_bounds() -> (u64, u64, u64) {
    // Rounding takes less than the weight of the past off the least one.
    (u64::from(CHEAPEST_PARK) - (1 << PAST_WEIGHT), park_cost(), DEAREST_PARK.into())
}

/// Looks that take about a microsecond, measured once: the quickest of three tries, since a preemption makes one longer.
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

/// The most that a wait spins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spin {
    Unlimited,
    Looks(u32),
    Nanos(u64),
}

/// The spinning part of one waiter: its mode and, when adaptive, what it has learnt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    mode: PollingMode,
    /// Costs of a park that are worth spinning: one, and two for a caller, whose answer is under way.
    factor: u32,
    learnt: u32,
    /// Looks of the first round, before the clock is read for the first time.
    first_round: u32,
}

impl Budget {
    pub(crate) fn new(mode: PollingMode, factor: u32) -> Self {
        let first_round = match mode {
            PollingMode::Park => 0,
            PollingMode::Spin(time) if time.is_zero() => 0,
            PollingMode::Spins(looks) => looks.min(looks_per_reading()),
            PollingMode::Adaptive | PollingMode::PureSpin | PollingMode::Spin(_) => looks_per_reading(),
        };
        Self { mode, factor, learnt: WHOLE, first_round }
    }

    pub(crate) fn mode(self) -> PollingMode {
        self.mode
    }

    /// The same waiter in another mode, which has learnt nothing there.
    pub(crate) fn set_mode(&mut self, mode: PollingMode) {
        *self = Self::new(mode, self.factor);
    }

    fn whole(self) -> u64 {
        u64::from(self.factor) * park_cost()
    }

    /// The most that the next wait spins after its first round.
    #[inline]
    pub(crate) fn spin(self) -> Spin {
        match self.mode {
            PollingMode::PureSpin => Spin::Unlimited,
            PollingMode::Adaptive if self.learnt == WHOLE => Spin::Nanos(self.whole()),
            PollingMode::Adaptive => Spin::Nanos(self.learnt.into()),
            PollingMode::Spin(time) => Spin::Nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
            PollingMode::Spins(looks) => Spin::Looks(looks),
            PollingMode::Park => Spin::Nanos(0),
        }
    }

    /// Looks of the first round of a wait, which takes no notice of the clock.
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
    fn one_short_wait_makes_up_for_many_long_ones() {
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
        // The cost of a park moves while other tests park: only a try during which it stays counts.
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
        panic!("the cost of a park never stays");
    }

    #[test]
    fn a_caller_is_given_twice_as_much() {
        let nanos = |factor| match Budget::new(PollingMode::Adaptive, factor).spin() {
            Spin::Nanos(nanos) => nanos,
            other => panic!("{other:?}"),
        };
        // The cost moves while other tests park, but stays within its bounds.
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
            (PollingMode::PureSpin, Spin::Unlimited),
            (PollingMode::Spins(7), Spin::Looks(7)),
            (PollingMode::Spin(Duration::from_micros(3)), Spin::Nanos(3_000)),
            (PollingMode::Park, Spin::Nanos(0)),
        ] {
            let mut budget = Budget::new(mode, 1);
            budget.learn(2_000_000);
            budget.note_first_round();
            assert_eq!(budget.spin(), spin);
        }
    }
}
