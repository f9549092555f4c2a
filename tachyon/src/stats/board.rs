//! The writing side: a server counts here what others may read.

use core::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::histogram;
use super::layout::{MAGIC, OTHERS, Shape, caller, directory, endpoint, header};
use crate::engine::ErrorKind;
use crate::shm::{ShmError, Words};
use crate::sync::{AtomicU64, Ordering, fence};
use crate::wait::monotonic_nanos;

/// How one call ended, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Replied(usize),
    Failed(ErrorKind),
    CallerGone,
}

/// Who a caller's line is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tenant {
    pub(crate) id: u64,
    pub(crate) pid: Option<u32>,
    pub(crate) uid: Option<u32>,
}

/// How full a ring is: messages under way, and most there can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) used: usize,
    pub(crate) slots: usize,
}

/// A server's statistics.
#[derive(Debug)]
pub(crate) struct Board {
    words: Words,
    shape: Shape,
    token: u64,
    /// The process that counts here. A forked child has the same memory, and is not to write to it.
    owner: u32,
    /// Callers' lines that nobody has; the lowest is taken first, so that observers find few gaps.
    free: Mutex<BinaryHeap<Reverse<usize>>>,
}

impl Board {
    /// Makes a board for endpoints, given as message types and names in the order of their ordinals, and the
    /// descriptor that observers open.
    ///
    /// # Errors
    /// A lack of memory or descriptors, or more workers than a board has banks for.
    pub(crate) fn create<'a>(
        endpoints: impl ExactSizeIterator<Item = (u16, &'a str)>,
        callers: usize,
        workers: usize,
    ) -> Result<(Self, OwnedFd), ShmError> {
        let shape =
            Shape::for_at_most(endpoints.len(), callers, workers).ok_or(ShmError::Length { len: usize::MAX })?;
        let (words, file) = Words::create(shape.len())?;
        let started = monotonic_nanos();
        let pid = std::process::id();
        // Another for every board of this machine: a process makes no two within a nanosecond.
        let token = started ^ (u64::from(pid) << 40);
        let board =
            Self { words, shape, token, owner: pid, free: Mutex::new((0..shape.callers).map(Reverse).collect()) };
        for (index, (msg_type, name)) in endpoints.take(shape.endpoints - 1).enumerate() {
            board.write_endpoint(index, u64::from(msg_type), name);
        }
        board.write_endpoint(shape.endpoints - 1, OTHERS, "(others)");
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for (place, value) in [
            (header::PID, u64::from(pid)),
            (header::TOKEN, token),
            (header::STARTED, u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)),
            (header::STARTED_MONOTONIC, started),
            (header::ENDPOINTS, shape.endpoints as u64),
            (header::CALLERS, shape.callers as u64),
            (header::WORKERS, shape.workers as u64),
            (header::MAGIC, MAGIC),
        ] {
            board.words[place].store(value, Ordering::Relaxed);
        }
        Ok((board, file))
    }

    /// Bytes of the segment.
    pub(crate) fn len(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// What tells this board from any other.
    pub(crate) fn token(&self) -> u64 {
        self.token
    }

    fn write_endpoint(&self, index: usize, msg_type: u64, name: &str) {
        let line = &self.words[Shape::directory(index)..][..directory::LEN];
        line[directory::MSG_TYPE].store(msg_type, Ordering::Relaxed);
        let name = &name[..name.floor_char_boundary(directory::NAME_BYTES)];
        let mut bytes = [0; (directory::LEN - directory::NAME) * 8];
        bytes[0] = u8::try_from(name.len()).expect("a name is cut to 55 bytes");
        bytes[1..=name.len()].copy_from_slice(name.as_bytes());
        for (word, part) in line[directory::NAME..].iter().zip(bytes.as_chunks().0) {
            word.store(u64::from_le_bytes(*part), Ordering::Relaxed);
        }
    }

    /// The counters of one worker, who alone may use them.
    pub(crate) fn bank(&self, worker: usize) -> Bank<'_> {
        debug_assert!(worker < self.shape.workers);
        let (lines, _) = self.words[self.shape.bank(worker)..][..self.shape.bank_len()].as_chunks();
        let (others, endpoints) = lines.split_last().expect("a shape has at least one endpoint");
        Bank { endpoints, others }
    }

    /// Makes it another process's, as it is in a forked child.
    #[cfg(test)]
    pub(super) fn disown(&mut self) {
        self.owner = 0;
    }

    /// Whether this is the process that counts here.
    fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }

    fn note(&self, place: usize) {
        if self.is_ours() {
            self.words[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_joined(&self) {
        self.note(header::JOINED);
    }

    pub(crate) fn note_left(&self) {
        self.note(header::LEFT);
    }

    pub(crate) fn note_turned_away(&self) {
        self.note(header::TURNED_AWAY);
    }

    fn free(&self) -> MutexGuard<'_, BinaryHeap<Reverse<usize>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line for a caller; `None` when all are taken, and in a forked child.
    pub(crate) fn seat(&self, tenant: Tenant) -> Option<usize> {
        if !self.is_ours() {
            return None;
        }
        let Reverse(index) = self.free().pop()?;
        let line = self.caller(index);
        // An observer copies a line from its first word to its last, with acquire loads. If it saw a word written
        // below, it sees the last one as cleared by `vacate`, or as written here: then the ids at both ends differ,
        // unless the first one is ours already.
        fence(Ordering::Release);
        line[caller::PID].store(tenant.pid.map_or(0, u64::from), Ordering::Relaxed);
        line[caller::UID].store(tenant.uid.map_or(u64::MAX, u64::from), Ordering::Relaxed);
        for word in &line[caller::REQUESTS..caller::ID_AGAIN] {
            word.store(0, Ordering::Relaxed);
        }
        line[caller::ID_AGAIN].store(tenant.id, Ordering::Relaxed);
        line[caller::ID].store(tenant.id, Ordering::Release);
        Some(index)
    }

    /// Gives a caller's line back. A forked child that drops its copies of its parent's callers gives none back.
    pub(crate) fn vacate(&self, index: usize) {
        if !self.is_ours() {
            return;
        }
        let line = self.caller(index);
        line[caller::ID].store(0, Ordering::Relaxed);
        line[caller::ID_AGAIN].store(0, Ordering::Relaxed);
        self.free().push(Reverse(index));
    }

    /// Notes how many requests a caller has made.
    #[inline]
    pub(crate) fn note_requests(&self, index: usize, requests: u64) {
        self.caller(index)[caller::REQUESTS].store(requests, Ordering::Relaxed);
    }

    /// Notes how full a caller's rings are.
    pub(crate) fn note_fill(&self, index: usize, forward: Fill, reverse: Fill) {
        let line = self.caller(index);
        for (used, slots, fill) in [
            (caller::FORWARD_USED, caller::FORWARD_SLOTS, forward),
            (caller::REVERSE_USED, caller::REVERSE_SLOTS, reverse),
        ] {
            line[used].store(fill.used as u64, Ordering::Relaxed);
            line[slots].store(fill.slots as u64, Ordering::Relaxed);
        }
    }

    #[inline]
    fn caller(&self, index: usize) -> &[AtomicU64] {
        &self.words[self.shape.caller(index)..][..caller::LEN]
    }
}

/// What one worker counts of one endpoint.
type Line = [AtomicU64; endpoint::LEN];

/// One worker's counters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bank<'a> {
    endpoints: &'a [Line],
    others: &'a Line,
}

impl<'a> Bank<'a> {
    /// The counters of the endpoint with this ordinal; one without a line counts among the others.
    #[inline]
    pub(crate) fn tally(&self, ordinal: usize) -> Tally<'a> {
        Tally { line: self.endpoints.get(ordinal).unwrap_or(self.others) }
    }
}

/// Calls that took less are short: to read the clock twice, some 50 ns, would be more than a hundredth of them.
const SHORT: u64 = 5_000;

/// Of an endpoint's short calls every seventh is measured: no power of two, which the rhythm of a caller may well be.
const MEASURED: u64 = 7;

/// One worker's counters of one endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tally<'a> {
    line: &'a Line,
}

impl Tally<'_> {
    /// Whether the next call is to be measured.
    #[inline]
    pub(crate) fn measures(self) -> bool {
        let Self { line } = self;
        line[endpoint::SHORT].load(Ordering::Relaxed) != 1
            || line[endpoint::UNMEASURED].load(Ordering::Relaxed) >= MEASURED - 1
    }

    /// Counts a call, and the nanoseconds it took if it was measured.
    #[inline]
    pub(crate) fn record(self, request_len: usize, nanos: Option<u64>, ending: Ending) {
        let Self { line } = self;
        add(&line[endpoint::CALLS], 1);
        add(&line[endpoint::REQUEST_BYTES], request_len as u64);
        match nanos {
            None => add(&line[endpoint::UNMEASURED], 1),
            Some(nanos) => {
                // It stands for those since the last one too. So no duration counts for more than it came up, whether
                // its neighbours were measured or not.
                let calls = line[endpoint::UNMEASURED].load(Ordering::Relaxed).wrapping_add(1);
                line[endpoint::UNMEASURED].store(0, Ordering::Relaxed);
                line[endpoint::SHORT].store(u64::from(nanos < SHORT), Ordering::Relaxed);
                add(&line[endpoint::BUSY], nanos.wrapping_mul(calls));
                add(&line[endpoint::BUCKETS + histogram::bucket(nanos)], calls);
            }
        }
        match ending {
            Ending::Replied(len) => add(&line[endpoint::REPLY_BYTES], len as u64),
            Ending::Failed(kind) => add(&line[endpoint::ERRORS + kind as usize % endpoint::ERROR_KINDS], 1),
            Ending::CallerGone => add(&line[endpoint::CALLER_GONE], 1),
        }
    }
}

/// Adds to a word that this thread alone writes.
#[inline]
fn add(word: &AtomicU64, amount: u64) {
    word.store(word.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}
