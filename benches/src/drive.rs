//! The two sides of a contender, driven by rounds.

use std::error::Error;
use std::time::Instant;

use crate::round::{Kind, Report, Round, ready, rounds, tell};
use crate::timing::Clock;

/// The result of all operations: errors are those of the contender.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The asking side, which takes the times.
pub trait Asker {
    /// Sends `payload`, waits for the answer, and returns its length.
    ///
    /// # Errors
    /// An error of the contender.
    fn ask(&mut self, payload: &[u8]) -> Outcome<usize>;
}

/// The answering side, which returns each payload.
pub trait Answerer {
    /// Waits for one request and answers it.
    ///
    /// # Errors
    /// An error of the contender.
    fn answer(&mut self) -> Outcome;
}

/// The sending side of one-way messages.
pub trait Source {
    /// Sends one message, waiting for room.
    ///
    /// # Errors
    /// An error of the contender.
    fn send(&mut self, payload: &[u8]) -> Outcome;

    /// Makes all sent messages visible to the receiver.
    ///
    /// # Errors
    /// An error of the contender.
    fn flush(&mut self) -> Outcome {
        Ok(())
    }
}

/// The receiving side of one-way messages.
pub trait Sink {
    /// Waits for messages, takes at most `most`, and returns their number.
    ///
    /// # Errors
    /// An error of the contender.
    fn take(&mut self, most: u64) -> Outcome<u64>;
}

/// Asks in each round, until the rounds end.
///
/// # Errors
/// A round could not be finished, or an answer has another length than its payload.
pub fn drive_asks(mut asker: impl Asker) -> Outcome {
    ready()?;
    while let Some(round) = rounds()? {
        let payload = payload(round.size);
        let report = Clock::new(round).time(|| {
            let len = asker.ask(&payload)?;
            if len == payload.len() { Ok(()) } else { Err("the answer has another length than the payload".into()) }
        })?;
        tell(&report)?;
    }
    Ok(())
}

/// Answers in each round, until the rounds end.
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

/// Sends in each round, until the rounds end.
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

/// Receives in each round, until the rounds end.
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

/// Receives the messages of one round, and times the counted messages.
///
/// # Errors
/// A message could not be received.
#[inline]
pub fn receive(sink: &mut impl Sink, round: &Round) -> Outcome<Report> {
    if round.kind != Kind::Stream {
        return Err("one-way messages have no answers: only a stream can be timed".into());
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

/// A payload of different bytes, so that a wrong copy is visible.
fn payload(size: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(size).collect()
}
