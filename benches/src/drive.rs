//! The two sides of a contender, driven by rounds.

use std::error::Error;
use std::time::Instant;

use crate::round::{Kind, Report, Round, ready, rounds, tell};
use crate::timing::Clock;

/// What everything here may fail with: whatever the contender fails with.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The side that asks, and times how long the answer takes.
pub trait Asker {
    /// Sends `payload`, waits for the answer, and returns its length.
    ///
    /// # Errors
    /// Whatever went wrong.
    fn ask(&mut self, payload: &[u8]) -> Outcome<usize>;
}

/// The side that answers with what it was sent.
pub trait Answerer {
    /// Waits for one request and answers it.
    ///
    /// # Errors
    /// Whatever went wrong.
    fn answer(&mut self) -> Outcome;
}

/// The side that sends one-way messages.
pub trait Source {
    /// Sends one message, waiting for room.
    ///
    /// # Errors
    /// Whatever went wrong.
    fn send(&mut self, payload: &[u8]) -> Outcome;

    /// Sees to it that all that was sent can be received.
    ///
    /// # Errors
    /// Whatever went wrong.
    fn flush(&mut self) -> Outcome {
        Ok(())
    }
}

/// The side that receives one-way messages.
pub trait Sink {
    /// Waits for messages, takes at most `most` of them and returns how many it took.
    ///
    /// # Errors
    /// Whatever went wrong.
    fn take(&mut self, most: u64) -> Outcome<u64>;
}

/// Asks as the rounds say, until there are no more.
///
/// # Errors
/// A round could not be finished, or an answer has another length than what was asked.
pub fn drive_asks(mut asker: impl Asker) -> Outcome {
    ready()?;
    while let Some(round) = rounds()? {
        let payload = payload(round.size);
        let report = Clock::new(round).time(|| {
            let len = asker.ask(&payload)?;
            if len == payload.len() { Ok(()) } else { Err("an answer of another length than what was asked".into()) }
        })?;
        tell(&report)?;
    }
    Ok(())
}

/// Answers as often as the rounds say, until there are no more.
///
/// # Errors
/// A round could not be finished.
pub fn drive_answers(mut answerer: impl Answerer) -> Outcome {
    ready()?;
    while let Some(round) = rounds()? {
        for _ in 0..round.total() {
            answerer.answer()?;
        }
        tell(&Report::default())?;
    }
    Ok(())
}

/// Sends as the rounds say, until there are no more.
///
/// # Errors
/// A round could not be finished.
pub fn drive_source(mut source: impl Source) -> Outcome {
    ready()?;
    while let Some(round) = rounds()? {
        send(&mut source, &round)?;
        tell(&Report::default())?;
    }
    Ok(())
}

/// Receives as the rounds say, until there are no more.
///
/// # Errors
/// A round could not be finished.
pub fn drive_sink(mut sink: impl Sink) -> Outcome {
    ready()?;
    while let Some(round) = rounds()? {
        tell(&receive(&mut sink, &round)?)?;
    }
    Ok(())
}

/// Sends the messages of one round.
///
/// # Errors
/// A message could not be sent.
#[inline]
pub fn send(source: &mut impl Source, round: &Round) -> Outcome {
    let payload = payload(round.size);
    for _ in 0..round.total() {
        source.send(&payload)?;
    }
    source.flush()
}

/// Receives the messages of one round and times those that count.
///
/// # Errors
/// A message could not be received.
#[inline]
pub fn receive(sink: &mut impl Sink, round: &Round) -> Outcome<Report> {
    if round.kind != Kind::Stream {
        return Err("one-way messages have no answer to time".into());
    }
    let mut left = round.warm;
    while left > 0 {
        left -= sink.take(left)?;
    }
    let begin = Instant::now();
    let mut left = round.count;
    while left > 0 {
        left -= sink.take(left)?;
    }
    let mean = begin.elapsed().as_secs_f64() * 1e9 / f64::from(u32::try_from(round.count)?);
    Ok(Report { mean: Some(mean), ..Report::default() })
}

/// Bytes that differ from each other, so that none of them can be made up.
fn payload(size: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(size).collect()
}
