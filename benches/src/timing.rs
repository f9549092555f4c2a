//! The times of calls: in blocks, one by one, and from the moment when they were due.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::drive::Outcome;
use crate::round::{Kind, Report, Round};

/// Times calls as a round orders.
#[derive(Debug)]
pub struct Clock {
    round: Round,
}

impl Clock {
    /// A clock for one round.
    pub fn new(round: Round) -> Self {
        Self { round }
    }

    /// Makes the calls of the round.
    ///
    /// # Errors
    /// A call failed.
    #[inline]
    pub fn time(&self, mut call: impl FnMut() -> Outcome) -> Outcome<Report> {
        for _ in 0..self.round.warm {
            call()?;
        }
        match self.round.kind {
            Kind::Blocks => self.blocks(call),
            Kind::Single => self.single(call),
            Kind::Paced => self.paced(call),
            Kind::Stream => Err("a stream has no calls".into()),
        }
    }

    #[inline]
    fn blocks(&self, mut call: impl FnMut() -> Outcome) -> Outcome<Report> {
        let block = self.round.block.max(1);
        let blocks = (self.round.count / block).max(1);
        let mut times = Vec::with_capacity(usize::try_from(blocks)?);
        let begin = Instant::now();
        let mut last = begin;
        for _ in 0..blocks {
            for _ in 0..block {
                call()?;
            }
            let now = Instant::now();
            times.push(nanos(now - last) / block_len(block)?);
            last = now;
        }
        let mean = nanos(last - begin) / block_len(blocks * block)?;
        // The rest of a round that is no multiple of its block: the other side answers these calls, too.
        for _ in blocks * block..self.round.count {
            call()?;
        }
        Ok(Report { p50: Some(median(&mut times)), mean: Some(mean), ..Report::default() })
    }

    #[inline]
    fn single(&self, mut call: impl FnMut() -> Outcome) -> Outcome<Report> {
        let mut histogram = Histogram::<u64>::new(3)?;
        // One clock reading per call: the end of a call is the start of the next.
        let begin = Instant::now();
        let mut last = begin;
        for _ in 0..self.round.count {
            call()?;
            let now = Instant::now();
            histogram.record(whole_nanos(now - last)?)?;
            last = now;
        }
        let mean = nanos(last - begin) / block_len(self.round.count.max(1))?;
        Ok(Report { mean: Some(mean), ..counted(&histogram) })
    }

    #[inline]
    fn paced(&self, mut call: impl FnMut() -> Outcome) -> Outcome<Report> {
        let mut histogram = Histogram::<u64>::new(3)?;
        let interval = Duration::from_nanos(self.round.interval);
        let mut due = Instant::now();
        for _ in 0..self.round.count {
            due += interval;
            while Instant::now() < due {
                spin_loop();
            }
            call()?;
            histogram.record(whole_nanos(due.elapsed())?)?;
        }
        Ok(counted(&histogram))
    }
}

fn counted(histogram: &Histogram<u64>) -> Report {
    let histogram =
        histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_since_last_iteration())).collect();
    Report { histogram, ..Report::default() }
}

fn whole_nanos(time: Duration) -> Outcome<u64> {
    Ok(u64::try_from(time.as_nanos())?)
}

fn nanos(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

fn block_len(calls: u64) -> Outcome<f64> {
    Ok(f64::from(u32::try_from(calls)?))
}

/// The median; for an even number of values the mean of the two in the middle.
///
/// # Panics
/// If there are no values.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], values[middle]) } else { values[middle] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(kind: Kind) -> Round {
        Round { kind, size: 1, count: 100, warm: 10, block: 16, interval: 100_000 }
    }

    #[test]
    fn every_call_of_a_round_is_made() {
        for kind in [Kind::Blocks, Kind::Single, Kind::Paced] {
            let mut calls = 0;
            let report = Clock::new(round(kind)).time(|| {
                calls += 1;
                Ok(())
            });
            assert_eq!(calls, 110, "{kind:?}");
            let counted: u64 = report.unwrap().histogram.iter().map(|(_, count)| count).sum();
            assert_eq!(counted, if kind == Kind::Blocks { 0 } else { 100 }, "{kind:?}");
        }
    }

    #[test]
    fn a_late_call_makes_those_behind_it_late() {
        let mut calls = 0;
        let report = Clock::new(Round { warm: 0, ..round(Kind::Paced) })
            .time(|| {
                calls += 1;
                if calls == 1 {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(())
            })
            .unwrap();
        // The calls are due every 0.1 ms: some 50 of them during the first call's sleep, each late by the rest of the
        // sleep.
        let late: u64 = report.histogram.iter().filter(|(time, _)| *time > 1_000_000).map(|(_, count)| count).sum();
        assert!((35..=100).contains(&late), "{late} calls were late by more than a millisecond");
    }

    #[test]
    fn blocks_are_per_call() {
        let report = Clock::new(Round { warm: 0, count: 32, ..round(Kind::Blocks) })
            .time(|| {
                std::thread::sleep(Duration::from_micros(100));
                Ok(())
            })
            .unwrap();
        assert!(report.p50.unwrap() >= 100_000.0);
        assert!(report.p50.unwrap() < 100_000.0 * 16.0, "a block's time is divided by its calls");
    }

    #[test]
    fn medians() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&mut [4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
