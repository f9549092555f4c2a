//! How a round is ordered and reported: one line of JSON each, over standard input and output.

use std::io::{BufRead, Write, stdin, stdout};

use serde::{Deserialize, Serialize};

use crate::drive::Outcome;

/// What is measured in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Calls back to back, timed in blocks, so that reading the clock costs next to nothing of what is measured.
    Blocks,
    /// Calls back to back, each one timed.
    Single,
    /// Calls that are due at a fixed rate, each one timed from when it was due and not from when it could be sent.
    Paced,
    /// One-way messages, timed by the receiver from the first counted one to the last.
    Stream,
}

/// One round, as both processes of a contender are told of it.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Round {
    /// What to measure.
    pub kind: Kind,
    /// Bytes of each payload.
    pub size: usize,
    /// Calls or messages that count.
    pub count: u64,
    /// Calls or messages before them, which do not.
    pub warm: u64,
    /// Calls timed as one, for [`Kind::Blocks`].
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
    /// Calls or messages in all.
    pub fn total(&self) -> u64 {
        self.count + self.warm
    }
}

/// What a process has found out in a round. Times are in nanoseconds.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Median over the blocks, per call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// Mean, per call or message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Times of single calls: a time, to three digits, and how often it was seen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub histogram: Vec<(u64, u64)>,
}

/// Says that the connection stands.
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

/// Blocks for the next round; `None` when there is none any more.
///
/// # Errors
/// Standard input says what is no round.
pub fn rounds() -> Outcome<Option<Round>> {
    let mut line = String::new();
    if stdin().lock().read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}
