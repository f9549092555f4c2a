//! The writing side: a server counts calls in shared memory, for observers in other processes.

use core::cmp::Reverse;
use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::histogram;
use super::layout::{Dimensions, MAGIC, OTHERS, caller, directory, endpoint, header};
use crate::engine::ErrorKind;
use crate::shm::{ShmError, Words};
use crate::sync::{AtomicU64, Ordering, fence};
use crate::wait::monotonic_nanos;

/// How a call ended, for its counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    /// With a reply of so many bytes.
    Replied(usize),
    Failed(ErrorKind),
    CallerGone,
}

/// The identity of a caller in its row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallerKey {
    pub(crate) id: u64,
    pub(crate) pid: Option<u32>,
    pub(crate) uid: Option<u32>,
}

/// How full a ring is: messages in flight, and slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) used: usize,
    pub(crate) slots: usize,
}

/// The statistics of a server, to write.
#[derive(Debug)]
pub(crate) struct StatsWriter {
    words: Words,
    dimensions: Dimensions,
    token: u64,
    /// The process that counts. A forked child shares the memory, and must not write to it.
    owner: u32,
    /// Free rows for callers. The lowest is taken first, so that observers find few gaps.
    free_rows: Mutex<BinaryHeap<Reverse<usize>>>,
}

impl StatsWriter {
    /// Makes the statistics of these endpoints (message types and names in the order of their ordinals), and the
    /// descriptor that observers open.
    ///
    /// # Errors
    /// The system has no memory or descriptors left, or there are too many workers.
    pub(crate) fn create<'a>(
        endpoints: impl ExactSizeIterator<Item = (u16, &'a str)>,
        callers: usize,
        workers: usize,
    ) -> Result<(Self, OwnedFd), ShmError> {
        let dimensions =
            Dimensions::for_at_most(endpoints.len(), callers, workers).ok_or(ShmError::Length { len: usize::MAX })?;
        let (words, file) = Words::create(dimensions.len())?;
        let started = monotonic_nanos();
        let pid = std::process::id();
        // Unique on this machine: a process makes no two within a nanosecond.
        let token = started ^ (u64::from(pid) << 40);
        let free_rows = Mutex::new((0..dimensions.callers).map(Reverse).collect());
        let writer = Self { words, dimensions, token, owner: pid, free_rows };
        for (index, (msg_type, name)) in endpoints.take(dimensions.endpoints - 1).enumerate() {
            writer.write_endpoint(index, u64::from(msg_type), name);
        }
        writer.write_endpoint(dimensions.endpoints - 1, OTHERS, "(others)");
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for (place, value) in [
            (header::PID, u64::from(pid)),
            (header::TOKEN, token),
            (header::STARTED, u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)),
            (header::STARTED_MONOTONIC, started),
            (header::ENDPOINTS, dimensions.endpoints as u64),
            (header::CALLERS, dimensions.callers as u64),
            (header::WORKERS, dimensions.workers as u64),
            (header::MAGIC, MAGIC),
        ] {
            writer.words[place].store(value, Ordering::Relaxed);
        }
        Ok((writer, file))
    }

    /// Length of the segment in bytes.
    pub(crate) fn len(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// Identifies these statistics on this machine.
    pub(crate) fn token(&self) -> u64 {
        self.token
    }

    fn write_endpoint(&self, index: usize, msg_type: u64, name: &str) {
        let row = &self.words[Dimensions::directory(index)..][..directory::LEN];
        row[directory::MSG_TYPE].store(msg_type, Ordering::Relaxed);
        let name = &name[..name.floor_char_boundary(directory::NAME_BYTES)];
        let mut bytes = [0; (directory::LEN - directory::NAME) * 8];
        bytes[0] = u8::try_from(name.len()).expect("a name is cut to 55 bytes");
        bytes[1..=name.len()].copy_from_slice(name.as_bytes());
        for (word, part) in row[directory::NAME..].iter().zip(bytes.as_chunks().0) {
            word.store(u64::from_le_bytes(*part), Ordering::Relaxed);
        }
    }

    /// The counters of a worker. Only that worker may use them.
    pub(crate) fn worker(&self, worker: usize) -> WorkerCounters<'_> {
        debug_assert!(worker < self.dimensions.workers);
        let (rows, _) = self.words[self.dimensions.worker(worker)..][..self.dimensions.worker_len()].as_chunks();
        let (others, endpoints) = rows.split_last().expect("there is at least one endpoint, that of the others");
        WorkerCounters { endpoints, others }
    }

    /// Gives the statistics another owner, as in a forked child.
    #[cfg(test)]
    pub(super) fn disown(&mut self) {
        self.owner = 0;
    }

    fn is_ours(&self) -> bool {
        self.owner == std::process::id()
    }

    fn count(&self, place: usize) {
        if self.is_ours() {
            self.words[place].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn count_joined(&self) {
        self.count(header::JOINED);
    }

    pub(crate) fn count_left(&self) {
        self.count(header::LEFT);
    }

    pub(crate) fn count_rejected(&self) {
        self.count(header::REJECTED);
    }

    /// Ignores poisoning: the state is consistent whenever the lock is free.
    fn free_rows(&self) -> MutexGuard<'_, BinaryHeap<Reverse<usize>>> {
        self.free_rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a row for a caller, and sets how full its rings are before observers see it; `None` when no row is free,
    /// and in a forked child.
    pub(crate) fn take_row(&self, key: CallerKey, forward: Fill, reverse: Fill) -> Option<usize> {
        if !self.is_ours() {
            return None;
        }
        let Reverse(index) = self.free_rows().pop()?;
        let row = self.caller(index);
        // An observer copies a row from the first word to the last, with acquire loads. An observer that sees a word
        // written below also sees the last word as `free_row` cleared it, or as written here: then the ids at both ends
        // differ, unless the first word has the new id already.
        fence(Ordering::Release);
        row[caller::PID].store(key.pid.map_or(0, u64::from), Ordering::Relaxed);
        row[caller::UID].store(key.uid.map_or(u64::MAX, u64::from), Ordering::Relaxed);
        for word in &row[caller::REQUESTS..caller::ID_AGAIN] {
            word.store(0, Ordering::Relaxed);
        }
        self.set_fill(index, forward, reverse);
        row[caller::ID_AGAIN].store(key.id, Ordering::Relaxed);
        row[caller::ID].store(key.id, Ordering::Release);
        Some(index)
    }

    /// Gives a caller's row back. Does nothing in a forked child, which drops copies of its parent's callers.
    pub(crate) fn free_row(&self, index: usize) {
        if !self.is_ours() {
            return;
        }
        let row = self.caller(index);
        row[caller::ID].store(0, Ordering::Relaxed);
        row[caller::ID_AGAIN].store(0, Ordering::Relaxed);
        self.free_rows().push(Reverse(index));
    }

    /// Sets the number of a caller's requests.
    #[inline]
    pub(crate) fn set_requests(&self, index: usize, requests: u64) {
        self.caller(index)[caller::REQUESTS].store(requests, Ordering::Relaxed);
    }

    /// Sets how full a caller's rings are.
    pub(crate) fn set_fill(&self, index: usize, forward: Fill, reverse: Fill) {
        let row = self.caller(index);
        for (used, slots, fill) in [
            (caller::FORWARD_USED, caller::FORWARD_SLOTS, forward),
            (caller::REVERSE_USED, caller::REVERSE_SLOTS, reverse),
        ] {
            row[used].store(fill.used as u64, Ordering::Relaxed);
            row[slots].store(fill.slots as u64, Ordering::Relaxed);
        }
    }

    #[inline]
    fn caller(&self, index: usize) -> &[AtomicU64] {
        &self.words[self.dimensions.caller(index)..][..caller::LEN]
    }
}

type EndpointRow = [AtomicU64; endpoint::LEN];

/// The counters of one worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerCounters<'a> {
    endpoints: &'a [EndpointRow],
    others: &'a EndpointRow,
}

impl<'a> WorkerCounters<'a> {
    /// The counters of the endpoint with this ordinal. Endpoints without a row of their own share one.
    #[inline]
    pub(crate) fn endpoint(&self, ordinal: usize) -> EndpointCounters<'a> {
        EndpointCounters { row: self.endpoints.get(ordinal).unwrap_or(self.others) }
    }
}

/// Calls below this duration, in nanoseconds, are short. Two clock reads take some 50 ns, more than a hundredth of a
/// short call.
const SHORT: u64 = 5_000;

/// One of so many short calls of an endpoint is measured. Not a power of two, in which callers may repeat themselves.
const MEASURED: u64 = 7;

/// The counters of one endpoint at one worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndpointCounters<'a> {
    row: &'a EndpointRow,
}

impl EndpointCounters<'_> {
    /// Whether the next call is to be measured.
    #[inline]
    pub(crate) fn measures_next(self) -> bool {
        let Self { row } = self;
        row[endpoint::SHORT].load(Ordering::Relaxed) != 1
            || row[endpoint::UNMEASURED].load(Ordering::Relaxed) >= MEASURED - 1
    }

    /// Counts a call, and its duration in nanoseconds if it was measured.
    #[inline]
    pub(crate) fn record(self, request_len: usize, nanos: Option<u64>, outcome: CallOutcome) {
        let Self { row } = self;
        add(&row[endpoint::CALLS], 1);
        add(&row[endpoint::REQUEST_BYTES], request_len as u64);
        match nanos {
            None => add(&row[endpoint::UNMEASURED], 1),
            Some(nanos) => {
                // A measured call also stands for the calls since the last measured one. So each call counts once,
                // measured or not.
                let calls = row[endpoint::UNMEASURED].load(Ordering::Relaxed).wrapping_add(1);
                row[endpoint::UNMEASURED].store(0, Ordering::Relaxed);
                row[endpoint::SHORT].store(u64::from(nanos < SHORT), Ordering::Relaxed);
                add(&row[endpoint::BUSY], nanos.wrapping_mul(calls));
                add(&row[endpoint::BUCKETS + histogram::bucket(nanos)], calls);
            }
        }
        match outcome {
            CallOutcome::Replied(len) => add(&row[endpoint::REPLY_BYTES], len as u64),
            CallOutcome::Failed(kind) => add(&row[endpoint::ERRORS + kind as usize % endpoint::ERROR_KINDS], 1),
            CallOutcome::CallerGone => add(&row[endpoint::CALLER_GONE], 1),
        }
    }
}

/// Adds to a word with one writer: a load and a store.
#[inline]
fn add(word: &AtomicU64, amount: u64) {
    word.store(word.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}
