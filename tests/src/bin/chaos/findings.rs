//! The results of a run: counts, the times until deaths were noticed, and faults.

use std::collections::BTreeMap;
use std::fmt::Write;

use hdrhistogram::Histogram;

/// The results of a run.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    times: BTreeMap<String, Histogram<u64>>,
    counts: BTreeMap<String, u64>,
    notes: Vec<String>,
    pub(crate) faults: Vec<String>,
}

impl Findings {
    /// Notes that `who` noticed a death after `nanos` nanoseconds.
    pub(crate) fn noticed(&mut self, who: &str, nanos: u64) {
        let times = self.times.entry(who.to_owned()).or_insert_with(|| {
            // Up to an hour in nanoseconds, with three digits.
            Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("the bounds are constants")
        });
        times.saturating_record(nanos);
    }

    pub(crate) fn count(&mut self, what: &str, how_many: u64) {
        *self.counts.entry(what.to_owned()).or_default() += how_many;
    }

    pub(crate) fn note(&mut self, what: String) {
        self.notes.push(what);
    }

    /// Notes a fault, and prints it: a run that is ended early makes no report.
    #[allow(clippy::print_stderr, reason = "a program that reports")]
    pub(crate) fn fault(&mut self, what: String) {
        eprintln!("FAULT: {what}");
        self.faults.push(what);
    }

    /// The counts and notes, one on each line.
    pub(crate) fn counted(&self) -> String {
        let mut text = String::new();
        for (what, how_many) in &self.counts {
            let _ = writeln!(text, "{how_many:>14}  {what}");
        }
        for note in &self.notes {
            let _ = writeln!(text, "{note}");
        }
        text
    }

    /// The times, as a table.
    pub(crate) fn timed(&self) -> String {
        let mut text = String::from("| survivor | deaths | p50 | p99 | max |\n|---|---|---|---|---|\n");
        let mut all = None::<Histogram<u64>>;
        for (who, times) in &self.times {
            row(&mut text, who, times);
            match &mut all {
                None => all = Some(times.clone()),
                Some(all) => all.add(times).expect("the bounds are the same"),
            }
        }
        if let Some(all) = all {
            row(&mut text, "all", &all);
        }
        text
    }

    /// The 99th percentile of all times, in milliseconds.
    pub(crate) fn p99_ms(&self) -> f64 {
        let mut times = self.times.values();
        let Some(mut all) = times.next().cloned() else { return 0.0 };
        times.for_each(|times| all.add(times).expect("the bounds are the same"));
        milliseconds(all.value_at_quantile(0.99))
    }
}

#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
fn milliseconds(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

fn row(text: &mut String, who: &str, times: &Histogram<u64>) {
    let [half, most] = [0.5, 0.99].map(|share| milliseconds(times.value_at_quantile(share)));
    let max = milliseconds(times.max());
    let _ = writeln!(text, "| {who} | {} | {half:.2} ms | {most:.2} ms | {max:.2} ms |", times.len());
}
