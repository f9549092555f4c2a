//! An estimate of the time between two messages: a waiter for regular messages wakes shortly before the next one and
//! spins for it.
//!
//! The mean and the mean deviation of the waits predict the next message. A wait that is long enough sleeps until
//! shortly before that time, spins until shortly after it (its window), and then parks. After every 64 windows, the
//! next 2,048 waits have no window if fewer than half of the windows met their message, or the windows took more than a
//! fifth of the waiting time.

/// Nanoseconds of a wake-up by the timer beyond the cost of a park: Linux gives a timer 50 us of slack.
const TIMER: u64 = 55_000;

/// Nanoseconds added to the deviations before and after the predicted time of a message.
const MARGIN: u64 = 8_000;

/// Least nanoseconds of sleep in a wait with a window. The sleep and the spin together take at most three fifths of it.
const LEAST_SLEEP: u64 = 25_000;

/// Windows between two checks of their success.
const TRIES: u32 = 64;
/// Waits without a window after a failed check.
const PAUSE: u32 = 2_048;

/// Longest wait that counts, in nanoseconds; a longer wait counts as this one.
const LONGEST: u64 = 1_000_000_000;

/// The time for which a wait spins, in nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: u64,
    pub(super) until: u64,
}

/// The estimate of one direction, from the waits that were longer than a spin.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Interarrival {
    /// In nanoseconds.
    mean: u64,
    deviation: u64,
    tries: u32,
    hits: u32,
    waited: u64,
    spun: u64,
    /// Waits left without a window.
    paused: u32,
}

impl Interarrival {
    /// The window of a wait that began at `began`, if a window is worth its cost; `park` is the cost of a park.
    pub(super) fn window(&mut self, began: u64, park: u64) -> Option<Window> {
        if self.paused > 0 {
            self.paused -= 1;
            return None;
        }
        let (lead, tail) = (2 * self.deviation + MARGIN, self.deviation * 5 / 2 + MARGIN);
        let spins = lead + tail + LEAST_SLEEP;
        if self.mean <= 4 * park || spins * 5 >= self.mean * 3 || self.mean <= lead + park + TIMER {
            return None;
        }
        self.tries += 1;
        Some(Window { from: began + self.mean - lead - park - TIMER, until: began + self.mean + tail })
    }

    /// Notes the result of a window: the length of the wait, the time spun, and whether the message came in the window.
    pub(super) fn note_window(&mut self, waited: u64, spun: u64, hit: bool) {
        self.hits += u32::from(hit);
        self.waited += waited;
        self.spun += spun;
        if self.tries >= TRIES {
            if self.hits * 2 < self.tries || self.spun * 5 > self.waited {
                self.paused = PAUSE;
            }
            (self.tries, self.hits, self.waited, self.spun) = (0, 0, 0, 0);
        }
    }

    /// Learns from a wait of `nanos`.
    pub(super) fn learn(&mut self, nanos: u64) {
        let nanos = nanos.min(LONGEST);
        if self.mean == 0 {
            (self.mean, self.deviation) = (nanos, nanos);
            return;
        }
        let off = nanos.abs_diff(self.mean);
        self.mean = self.mean - self.mean / 8 + nanos / 8;
        self.deviation = self.deviation - self.deviation / 8 + off / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARK: u64 = 25_000;

    fn learnt(waits: impl Iterator<Item = u64>) -> Interarrival {
        let mut interarrival = Interarrival::default();
        waits.for_each(|wait| interarrival.learn(wait));
        interarrival
    }

    #[test]
    fn a_regular_peer_is_met_in_a_small_window() {
        let mut interarrival = learnt((0..100).map(|turn| 500_000 + turn % 2 * 2_000));
        let window = interarrival.window(1_000, PARK).unwrap();
        assert!(window.from < 1_000 + 500_000 && window.until > 1_000 + 502_000, "{window:?}");
        assert!(window.until - window.from < 150_000, "{window:?}");
    }

    #[test]
    fn irregular_and_short_waits_get_no_window() {
        assert_eq!(learnt((0..100).map(|turn| 100_000 + turn * turn * 7_919 % 800_000)).window(0, PARK), None);
        assert_eq!(learnt((0..100).map(|_| 4 * PARK)).window(0, PARK), None);
        assert_eq!(Interarrival::default().window(0, PARK), None);
    }

    #[test]
    fn windows_that_miss_or_cost_too_much_end() {
        for (spun, hit) in [(10_000, false), (400_000, true)] {
            let mut interarrival = learnt((0..100).map(|_| 500_000));
            let mut windows = 0;
            while interarrival.window(0, PARK).is_some() {
                interarrival.note_window(500_000, spun, hit);
                windows += 1;
                assert!(windows <= TRIES);
            }
            assert_eq!(windows, TRIES);
            for _ in 1..PAUSE {
                assert_eq!(interarrival.window(0, PARK), None);
            }
            assert!(interarrival.window(0, PARK).is_some(), "another try, later");
        }
    }

    #[test]
    fn windows_that_hit_go_on() {
        let mut interarrival = learnt((0..100).map(|_| 500_000));
        for _ in 0..10 * TRIES {
            assert!(interarrival.window(0, PARK).is_some());
            interarrival.note_window(500_000, 50_000, true);
        }
    }

    #[test]
    fn any_waits_are_harmless() {
        let mut interarrival = learnt([0, u64::MAX, 1, u64::MAX, 0].into_iter());
        let _ = interarrival.window(u64::MAX / 2, PARK);
    }
}
