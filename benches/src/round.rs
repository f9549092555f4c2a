//! The order of a round on standard input, and its report on standard output: one line of JSON each.

use std::io::{BufRead, Write, stdin, stdout};

use serde::{Deserialize, Serialize};

use crate::drive::Outcome;

/// The kind of measurement in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Calls back to back, timed in blocks, so that reading the clock adds almost nothing to the time of a call.
    Blocks,
    /// Calls back to back, each timed alone.
    Single,
    /// Calls at a fixed rate, each timed from the moment when it was due, even if it was sent later.
    Paced,
    /// One-way messages, timed by the receiver from the first counted message to the last.
    Stream,
}

/// The order of one round, the same for both processes of a contender.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Round {
    /// The kind of measurement.
    pub kind: Kind,
    /// Bytes of each payload.
    pub size: usize,
    /// The number of counted calls or messages.
    pub count: u64,
    /// The number of calls or messages before the counted ones.
    pub warm: u64,
    /// The number of calls of a block, for [`Kind::Blocks`].
    #[serde(default = "one")]
    pub block: u64,
    /// Nanoseconds between two calls, for [`Kind::Paced`].
    #[serde(default)]
    pub interval: u64,
}

fn one() -> u64 {
    1
}

impl Round {
    /// The number of all calls or messages.
    pub fn total(&self) -> u64 {
        self.count + self.warm
    }
}

/// The report of a process about a round. Times are in nanoseconds.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The median of the blocks, per call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// The mean, per call or message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// The times of single calls: each time, rounded to three digits, with its number of calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub histogram: Vec<(u64, u64)>,
}

/// Reports that the connection stands.
///
/// # Errors
/// Standard output is closed.
pub fn ready() -> Outcome {
    tell(&serde_json::json!({ "ready": true }))
}

/// Writes one line.
///
/// # Errors
/// Standard output is closed.
pub fn tell(what: &impl Serialize) -> Outcome {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    let mut out = stdout().lock();
    out.write_all(&line)?;
    Ok(out.flush()?)
}

/// Blocks until the next round; `None` after the last round.
///
/// # Errors
/// A line of standard input is no round.
pub fn rounds() -> Outcome<Option<Round>> {
    let mut line = String::new();
    if stdin().lock().read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}
