//! A waiter that is asked at regular times wakes shortly before the next one, and spins for it.
//!
//! The mean and the mean deviation of the waits say when the next message is due. A wait that is long enough sleeps until
//! shortly before that time, spins until shortly after it, and then parks. After 64 such waits of which fewer than half
//! met their message while spinning, or that spun for more than a fifth of the time, the next 2,048 waits do without.

/// What a wake-up by the timer takes beside the cost of a park, in nanoseconds: Linux gives a timer 50 us of slack.
const TIMER: u64 = 55_000;

/// Nanoseconds that are added to the deviations before and after the time at which a message is due.
const MARGIN: u64 = 8_000;

/// Nanoseconds of a wait that must be left for sleeping, and the share of it that may be spun: three of five.
const LEAST_SLEEP: u64 = 25_000;

const TRIES: u32 = 64;
const PAUSE: u32 = 2_048;

/// Longest wait that is learnt from, in nanoseconds.
const LONGEST: u64 = 1_000_000_000;

/// When a wait wakes to spin, and until when, on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: u64,
    pub(super) until: u64,
}

/// The lengths of the waits of one direction, as far as they were longer than a spin.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Interarrival {
    /// In nanoseconds.
    mean: u64,
    deviation: u64,
    tries: u32,
    hits: u32,
    waited: u64,
    spun: u64,
    /// Waits that are still to do without.
    paused: u32,
}

impl Interarrival {
    /// The window of a wait that began at `began`, if it is worth one; `park` is the cost of a park.
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

    /// Notes a wait that had a window: how long it spun there, and whether it met its message.
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
