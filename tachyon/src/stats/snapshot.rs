//! What an observer read, checked and sorted. The words may be anything: their writer is another process.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::StatsError;
use super::histogram::quantile;
use super::layout::{MAGIC, Shape, caller, directory, endpoint, header};
use crate::engine::ErrorKind;

/// A server's statistics at one moment. Counts are of the time since it began to serve.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// The server's process.
    pub pid: u32,
    /// Where its callers connect.
    pub path: PathBuf,
    /// When it began to serve.
    pub started: SystemTime,
    /// How long ago that is.
    pub uptime: Duration,
    /// Threads that serve.
    pub workers: usize,
    /// Callers connected now.
    pub callers_now: u64,
    /// Callers that ever connected.
    pub callers_ever: u64,
    /// Clients that were not let in.
    pub turned_away: u64,
    /// A line per endpoint, by message type; message types without one come last, together.
    pub endpoints: Vec<EndpointStats>,
    /// A line per connected caller, by its number; of more than 4096, some.
    pub callers: Vec<CallerStats>,
    pub(super) token: u64,
}

/// What one endpoint did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Its message type; `None` for the line of all message types that no endpoint has.
    pub msg_type: Option<u16>,
    /// Its name, up to 55 bytes of it.
    pub name: String,
    /// Requests, however they ended.
    pub calls: u64,
    /// Requests answered with an error.
    pub errors: u64,
    /// The same by kind, without those that never came up.
    pub errors_by_kind: Vec<(ErrorKind, u64)>,
    /// Requests whose caller was gone before it could be answered.
    pub callers_gone: u64,
    /// Bytes of all requests.
    pub request_bytes: u64,
    /// Bytes of all replies that are no errors.
    pub reply_bytes: u64,
    /// Time spent in the handler, all calls together; as `quantile`, from the calls that were measured.
    pub busy: Duration,
    /// Calls by duration; see `histogram`.
    pub(super) buckets: Vec<u64>,
}

impl EndpointStats {
    /// The time that the share `share` (0 to 1) of the calls took at most, from the request's turn to its reply in the
    /// ring; within 6.25 % of the truth. `None` without any call.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        quantile(&self.buckets, share).map(Duration::from_nanos)
    }

    /// The median duration of a call.
    pub fn p50(&self) -> Option<Duration> {
        self.quantile(0.5)
    }

    /// The duration that one call in a hundred exceeds.
    pub fn p99(&self) -> Option<Duration> {
        self.quantile(0.99)
    }
}

/// One connected caller.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallerStats {
    /// Its number at this server, from 1 up.
    pub id: u64,
    /// Its process, where the server can see it.
    pub pid: Option<u32>,
    /// Its user; `None` where the server's user namespace does not map it.
    pub uid: Option<u32>,
    /// Requests the server has taken from it.
    pub requests: u64,
    /// Requests waiting in its ring when the server looked last.
    pub forward: RingFill,
    /// Replies it had not taken when the server looked last.
    pub reverse: RingFill,
}

/// How full a ring is, in messages. A ring of long messages may lack room for their bytes long before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RingFill {
    /// Messages under way.
    pub used: u64,
    /// Most messages there can be; 0 while the server has not looked yet.
    pub slots: u64,
}

impl Snapshot {
    /// Reads the words of a server's segment, at `now` on `CLOCK_MONOTONIC`.
    pub(super) fn parse(words: &[u64], path: PathBuf, now: u64) -> Result<Self, StatsError> {
        let shape = shape(words)?;
        let at = |place: usize| words[place];
        let pid = read_pid(at(header::PID)).ok_or(StatsError::Malformed("the process id is none"))?;
        let ever = at(header::JOINED);
        let mut endpoints: Vec<_> = (0..shape.endpoints).map(|index| read_endpoint(words, shape, index)).collect();
        endpoints.sort_by_key(|line| line.msg_type.map_or(u32::MAX, u32::from));
        let lines = (0..shape.callers).map(|index| &words[shape.caller(index)..][..caller::LEN]);
        let mut callers: Vec<_> = lines.filter_map(read_caller).collect();
        callers.sort_by_key(|line| line.id);
        // Only a server that makes them up has two of one number.
        callers.dedup_by_key(|line| line.id);
        Ok(Self {
            pid,
            path,
            started: UNIX_EPOCH + Duration::from_nanos(at(header::STARTED)),
            uptime: Duration::from_nanos(now.saturating_sub(at(header::STARTED_MONOTONIC))),
            workers: shape.workers,
            callers_now: ever.saturating_sub(at(header::LEFT)),
            callers_ever: ever,
            turned_away: at(header::TURNED_AWAY),
            endpoints,
            callers,
            token: at(header::TOKEN),
        })
    }

    /// All requests, however they ended.
    pub fn calls(&self) -> u64 {
        sum(self.endpoints.iter().map(|line| line.calls))
    }

    /// All requests answered with an error.
    pub fn errors(&self) -> u64 {
        sum(self.endpoints.iter().map(|line| line.errors))
    }
}

/// The shape of these words, if they are a server's.
fn shape(words: &[u64]) -> Result<Shape, StatsError> {
    let header = words.first_chunk().ok_or(StatsError::Malformed("the segment is too short for its header"))?;
    stated_shape(header, words.len())
}

/// The shape that a header states, if it is one, and that of `len` words.
pub(super) fn stated_shape(header: &[u64; header::LEN], len: usize) -> Result<Shape, StatsError> {
    if header[header::MAGIC] != MAGIC {
        return Err(StatsError::Malformed("the segment begins otherwise"));
    }
    let count = |place: usize| usize::try_from(header[place]).unwrap_or(usize::MAX);
    let shape = Shape::new(count(header::ENDPOINTS), count(header::CALLERS), count(header::WORKERS));
    shape.filter(|shape| shape.len() == len).ok_or(StatsError::Malformed("the segment has another size"))
}

/// The sum of counts of which any may be nonsense.
fn sum(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

fn read_endpoint(words: &[u64], shape: Shape, index: usize) -> EndpointStats {
    let directory = &words[Shape::directory(index)..][..directory::LEN];
    // One line per worker, to be added up.
    let lines: Vec<&[u64]> = (0..shape.workers)
        .map(|worker| &words[shape.bank(worker) + index * endpoint::LEN..][..endpoint::LEN])
        .collect();
    let total = |place: usize| sum(lines.iter().map(|line| line[place]));
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

/// A name as it may be printed: what is not UTF-8 is replaced, what would control a terminal is escaped.
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

/// Whether a character does something to a terminal instead of being shown, such as turning the direction of a line.
fn is_misleading(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A process id, if it is one.
fn read_pid(word: u64) -> Option<u32> {
    u32::try_from(word).ok().filter(|pid| (1..=i32::MAX.unsigned_abs()).contains(pid))
}

/// How full a ring is. Its two words may be of two moments.
fn read_fill(used: u64, slots: u64) -> RingFill {
    RingFill { used: used.min(slots), slots }
}

/// A caller's line, unless it is free or was changing hands while it was copied.
fn read_caller(line: &[u64]) -> Option<CallerStats> {
    let id = line[caller::ID];
    if id == 0 || id != line[caller::ID_AGAIN] {
        return None;
    }
    Some(CallerStats {
        id,
        pid: read_pid(line[caller::PID]),
        uid: u32::try_from(line[caller::UID]).ok(),
        requests: line[caller::REQUESTS],
        forward: read_fill(line[caller::FORWARD_USED], line[caller::FORWARD_SLOTS]),
        reverse: read_fill(line[caller::REVERSE_USED], line[caller::REVERSE_SLOTS]),
    })
}

#[cfg(test)]
mod tests;
