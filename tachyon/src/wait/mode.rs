//! How a wait divides its time between spinning and parking.

use super::SPINS_PER_CHECK;

/// What a thread does while it waits for its peer.
///
/// Spinning answers within the time of a cache line; parking costs a wake-up by the system (microseconds) and no
/// processor time while waiting. Whatever the mode, a peer's death, an orderly close and a deadline end the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PollingMode {
    /// Spins as long as that has paid off lately, then parks. An idle process costs nothing.
    #[default]
    Adaptive,
    /// Spins and never parks. Give it a core of its own.
    PureSpin,
    /// Looks this many times, then parks.
    Spins(u32),
    /// Parks at once.
    Park,
}

/// Most and fewest looks of the adaptive mode before it parks: some 50 microseconds, and some 2.
const MOST_SPINS: u32 = 4096;
const FEWEST_SPINS: u32 = 128;

/// The spinning part of one waiter: its mode and, when adaptive, what it has learnt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spinner {
    mode: PollingMode,
    learnt: u32,
}

impl Spinner {
    pub(crate) fn new(mode: PollingMode) -> Self {
        Self { mode, learnt: MOST_SPINS }
    }

    pub(crate) fn mode(self) -> PollingMode {
        self.mode
    }

    /// Looks to take before parking; `None` is no limit.
    #[inline]
    pub(crate) fn budget(self) -> Option<u32> {
        match self.mode {
            PollingMode::PureSpin => None,
            PollingMode::Adaptive => Some(self.learnt),
            PollingMode::Spins(spins) => Some(spins),
            PollingMode::Park => Some(0),
        }
    }

    /// Looks of the first round, before the clock is looked at for the first time.
    #[inline]
    pub(crate) fn first_round(self) -> u32 {
        self.budget().map_or(SPINS_PER_CHECK, |budget| budget.min(SPINS_PER_CHECK))
    }

    /// The wait ended while spinning: the next one may spin longer.
    #[inline]
    pub(crate) fn spun(&mut self) {
        self.learnt = (self.learnt * 2).min(MOST_SPINS);
    }

    /// The wait had to park: the next one spins less.
    pub(crate) fn parked(&mut self) {
        self.learnt = (self.learnt / 2).max(FEWEST_SPINS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adaptive_forgets_and_learns_within_bounds() {
        let mut spinner = Spinner::new(PollingMode::Adaptive);
        for _ in 0..40 {
            spinner.parked();
        }
        assert_eq!(spinner.budget(), Some(FEWEST_SPINS));
        for _ in 0..40 {
            spinner.spun();
        }
        assert_eq!(spinner.budget(), Some(MOST_SPINS));
    }

    #[test]
    fn fixed_modes_do_not_learn() {
        for (mode, budget) in
            [(PollingMode::PureSpin, None), (PollingMode::Spins(7), Some(7)), (PollingMode::Park, Some(0))]
        {
            let mut spinner = Spinner::new(mode);
            spinner.parked();
            spinner.spun();
            assert_eq!(spinner.budget(), budget);
        }
    }
}
