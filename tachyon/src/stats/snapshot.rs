//! Snapshots: the words of a server, checked and sorted. Another process writes the words, which may have any value.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::StatsError;
use super::histogram::quantile;
use super::layout::{Dimensions, MAGIC, caller, directory, endpoint, header};
use crate::engine::ErrorKind;

/// The statistics of a server at one moment. Counts begin with the start of the server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// The server's process.
    pub pid: u32,
    /// The path that callers connect to.
    pub path: PathBuf,
    /// When the server began to serve.
    pub started: SystemTime,
    /// Time since the start of the server.
    pub uptime: Duration,
    /// Threads that serve.
    pub workers: usize,
    /// Callers connected now.
    pub callers_now: u64,
    /// Callers that ever connected.
    pub callers_ever: u64,
    /// Clients that the server rejected.
    pub rejected: u64,
    /// A row per endpoint, by message type. The last row counts all message types without an endpoint.
    pub endpoints: Vec<EndpointStats>,
    /// A row per connected caller, by its number. Of more than 4096 callers, only some have a row.
    pub callers: Vec<CallerStats>,
    pub(super) token: u64,
}

/// The statistics of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// The message type; `None` for the row of all message types without an endpoint.
    pub msg_type: Option<u16>,
    /// The name, cut to 55 bytes.
    pub name: String,
    /// Requests, with and without a reply.
    pub calls: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// The same by kind, without kinds that never occurred.
    pub errors_by_kind: Vec<(ErrorKind, u64)>,
    /// Requests whose caller closed or died before the answer.
    pub callers_gone: u64,
    /// Bytes of all requests.
    pub request_bytes: u64,
    /// Bytes of all replies, without error replies.
    pub reply_bytes: u64,
    /// Sum of the durations of all calls. As with [`quantile`](Self::quantile), measured calls stand for the others.
    pub busy: Duration,
    /// Calls by duration, in the buckets of `histogram`.
    pub(super) buckets: Vec<u64>,
}

impl EndpointStats {
    /// The longest duration of the share `share` (0 to 1) of the calls, from the request's turn to its reply in the
    /// ring, within 6.25 %. `None` without calls.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        quantile(&self.buckets, share).map(Duration::from_nanos)
    }

    /// The median duration of the calls.
    pub fn p50(&self) -> Option<Duration> {
        self.quantile(0.5)
    }

    /// The duration that one call in a hundred exceeds.
    pub fn p99(&self) -> Option<Duration> {
        self.quantile(0.99)
    }
}

/// The statistics of one connected caller.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallerStats {
    /// The caller's number at this server, from 1.
    pub id: u64,
    /// The caller's process; `None` if the server cannot see it.
    pub pid: Option<u32>,
    /// The caller's user; `None` if the server's user namespace does not map it.
    pub uid: Option<u32>,
    /// Requests that the server has taken.
    pub requests: u64,
    /// Requests in the forward ring at the server's last look.
    pub forward: RingFill,
    /// Replies in the reverse ring at the server's last look.
    pub reverse: RingFill,
}

/// How full a ring is, in messages. Long messages may fill a ring before its slots are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RingFill {
    /// Messages in flight.
    pub used: u64,
    /// Slots of the ring; 0 before the server's first look.
    pub slots: u64,
}

impl Snapshot {
    /// Reads the words of a server's segment, at `now` on `CLOCK_MONOTONIC`.
    pub(super) fn parse(words: &[u64], path: PathBuf, now: u64) -> Result<Self, StatsError> {
        let dimensions = dimensions(words)?;
        let at = |place: usize| words[place];
        let pid = read_pid(at(header::PID)).ok_or(StatsError::Malformed("the process id is invalid"))?;
        let ever = at(header::JOINED);
        let mut endpoints: Vec<_> =
            (0..dimensions.endpoints).map(|index| read_endpoint(words, dimensions, index)).collect();
        endpoints.sort_by_key(|row| row.msg_type.map_or(u32::MAX, u32::from));
        let rows = (0..dimensions.callers).map(|index| &words[dimensions.caller(index)..][..caller::LEN]);
        let mut callers: Vec<_> = rows.filter_map(read_caller).collect();
        callers.sort_by_key(|row| row.id);
        // Only a hostile server has two callers of one number.
        callers.dedup_by_key(|row| row.id);
        Ok(Self {
            pid,
            path,
            started: UNIX_EPOCH + Duration::from_nanos(at(header::STARTED)),
            uptime: Duration::from_nanos(now.saturating_sub(at(header::STARTED_MONOTONIC))),
            workers: dimensions.workers,
            callers_now: ever.saturating_sub(at(header::LEFT)),
            callers_ever: ever,
            rejected: at(header::REJECTED),
            endpoints,
            callers,
            token: at(header::TOKEN),
        })
    }

    /// Requests of all endpoints, with and without a reply.
    pub fn calls(&self) -> u64 {
        sum(self.endpoints.iter().map(|row| row.calls))
    }

    /// Error replies of all endpoints.
    pub fn errors(&self) -> u64 {
        sum(self.endpoints.iter().map(|row| row.errors))
    }
}

fn dimensions(words: &[u64]) -> Result<Dimensions, StatsError> {
    let header = words.first_chunk().ok_or(StatsError::Malformed("the segment is too short for its header"))?;
    stated_dimensions(header, words.len())
}

/// The dimensions in a header, if they are those of `len` words.
pub(super) fn stated_dimensions(header: &[u64; header::LEN], len: usize) -> Result<Dimensions, StatsError> {
    if header[header::MAGIC] != MAGIC {
        return Err(StatsError::Malformed("the first word is another"));
    }
    let count = |place: usize| usize::try_from(header[place]).unwrap_or(usize::MAX);
    let dimensions = Dimensions::new(count(header::ENDPOINTS), count(header::CALLERS), count(header::WORKERS));
    dimensions.filter(|dimensions| dimensions.len() == len).ok_or(StatsError::Malformed("the segment has another size"))
}

/// Saturating: a hostile server may write any count.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

fn read_endpoint(words: &[u64], dimensions: Dimensions, index: usize) -> EndpointStats {
    let directory = &words[Dimensions::directory(index)..][..directory::LEN];
    // One row per worker, to be added up.
    let rows: Vec<&[u64]> = (0..dimensions.workers)
        .map(|worker| &words[dimensions.worker(worker) + index * endpoint::LEN..][..endpoint::LEN])
        .collect();
    let total = |place: usize| sum(rows.iter().map(|row| row[place]));
    let errors: Vec<u64> = (0..endpoint::ERROR_KINDS).map(|kind| total(endpoint::ERRORS + kind)).collect();
    let mut errors_by_kind: Vec<(ErrorKind, u64)> = Vec::new();
    for (number, count) in (0..).zip(&errors).filter(|(_, count)| **count > 0) {
        let kind = ErrorKind::from_number(number);
        match errors_by_kind.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, known)) => *known = known.saturating_add(*count),
            None => errors_by_kind.push((kind, *count)),
        }
    }
    EndpointStats {
        msg_type: u16::try_from(directory[directory::MSG_TYPE]).ok(),
        name: read_name(&directory[directory::NAME..]),
        calls: total(endpoint::CALLS),
        errors: sum(errors.into_iter()),
        errors_by_kind,
        callers_gone: total(endpoint::CALLER_GONE),
        request_bytes: total(endpoint::REQUEST_BYTES),
        reply_bytes: total(endpoint::REPLY_BYTES),
        busy: Duration::from_nanos(total(endpoint::BUSY)),
        buckets: (endpoint::BUCKETS..endpoint::LEN).map(total).collect(),
    }
}

/// A printable name: replaces invalid UTF-8, and escapes characters that control a terminal.
fn read_name(words: &[u64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let Some((len, bytes)) = bytes.split_first() else { return String::new() };
    let name = String::from_utf8_lossy(&bytes[..bytes.len().min(usize::from(*len))]);
    let mut shown = String::with_capacity(name.len());
    for character in name.chars() {
        if is_misleading(character) { shown.extend(character.escape_unicode()) } else { shown.push(character) }
    }
    shown
}

/// Whether a character controls a terminal, or the direction of text, instead of being shown.
fn is_misleading(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A process id; `None` if the word is out of range.
fn read_pid(word: u64) -> Option<u32> {
    u32::try_from(word).ok().filter(|pid| (1..=i32::MAX.unsigned_abs()).contains(pid))
}

/// How full a ring is. The two words may be of two moments.
fn read_fill(used: u64, slots: u64) -> RingFill {
    RingFill { used: used.min(slots), slots }
}

/// A caller's row; `None` if it is free, or was written during the copy.
fn read_caller(row: &[u64]) -> Option<CallerStats> {
    let id = row[caller::ID];
    if id == 0 || id != row[caller::ID_AGAIN] {
        return None;
    }
    Some(CallerStats {
        id,
        pid: read_pid(row[caller::PID]),
        uid: u32::try_from(row[caller::UID]).ok(),
        requests: row[caller::REQUESTS],
        forward: read_fill(row[caller::FORWARD_USED], row[caller::FORWARD_SLOTS]),
        reverse: read_fill(row[caller::REVERSE_USED], row[caller::REVERSE_SLOTS]),
    })
}

#[cfg(test)]
mod tests;
