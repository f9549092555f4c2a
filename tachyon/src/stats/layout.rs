//! The layout of a server's statistics: 64-bit words in four parts.
//!
//! The parts are the header, a directory of the endpoints, a row per caller, and the counters of each worker with a row
//! per endpoint. The counters of a worker have one writer, so counting is a load and a store. The last endpoint of the
//! directory stands for all message types without a row of their own.

use super::histogram::BUCKETS;

/// The first word of every segment of statistics: "TACHSTA" and the version of the layout.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"TACHSTA\x02");

/// Words of the header.
pub(crate) mod header {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const PID: usize = 1;
    /// Identifies the segment; the registry has the token too.
    pub(crate) const TOKEN: usize = 2;
    /// `CLOCK_REALTIME` and `CLOCK_MONOTONIC` at the start of the server, in nanoseconds.
    pub(crate) const STARTED: usize = 3;
    pub(crate) const STARTED_MONOTONIC: usize = 4;
    pub(crate) const ENDPOINTS: usize = 5;
    pub(crate) const CALLERS: usize = 6;
    pub(crate) const WORKERS: usize = 7;
    // In a cache line of their own: the server writes these words while it runs.
    pub(crate) const JOINED: usize = 16;
    pub(crate) const LEFT: usize = 17;
    pub(crate) const REJECTED: usize = 18;
    pub(crate) const LEN: usize = 32;
}

/// Words of an endpoint in the directory: the message type, then the length and the bytes of the name.
pub(crate) mod directory {
    pub(crate) const MSG_TYPE: usize = 0;
    pub(crate) const NAME: usize = 1;
    pub(crate) const LEN: usize = 8;
    /// Longest name in bytes. A longer name is cut.
    pub(crate) const NAME_BYTES: usize = (LEN - NAME) * 8 - 1;
}

/// The message type of the directory's last endpoint.
pub(crate) const OTHERS: u64 = 1 << 16;

/// Words of a caller's row. The row is free while `ID` is 0, and is being written while `ID_AGAIN` differs.
pub(crate) mod caller {
    pub(crate) const ID: usize = 0;
    /// 0 when the server cannot see the process.
    pub(crate) const PID: usize = 1;
    pub(crate) const UID: usize = 2;
    pub(crate) const REQUESTS: usize = 3;
    pub(crate) const FORWARD_USED: usize = 4;
    pub(crate) const FORWARD_SLOTS: usize = 5;
    pub(crate) const REVERSE_USED: usize = 6;
    pub(crate) const REVERSE_SLOTS: usize = 7;
    pub(crate) const ID_AGAIN: usize = 15;
    pub(crate) const LEN: usize = 16;
}

/// Words of an endpoint's row among the counters of a worker.
pub(crate) mod endpoint {
    pub(crate) const CALLS: usize = 0;
    /// Sum of all durations, in nanoseconds. A call that is not measured counts with the next measured duration.
    pub(crate) const BUSY: usize = 1;
    pub(crate) const REQUEST_BYTES: usize = 2;
    pub(crate) const REPLY_BYTES: usize = 3;
    /// Calls whose caller closed or died before the answer.
    pub(crate) const CALLER_GONE: usize = 4;
    /// Calls since the last measured call.
    pub(crate) const UNMEASURED: usize = 5;
    /// 1 if the last measured call was short.
    pub(crate) const SHORT: usize = 6;
    /// A count per error kind, by the number of the kind.
    pub(crate) const ERRORS: usize = 16;
    pub(crate) const ERROR_KINDS: usize = 32;
    pub(crate) const BUCKETS: usize = ERRORS + ERROR_KINDS;
    pub(crate) const LEN: usize = BUCKETS + super::BUCKETS;
}

/// Alignment of rows, in words: a pair of cache lines, so that writers do not share any.
const ROW_ALIGN: usize = 16;

const _: () = {
    assert!(header::LEN.is_multiple_of(ROW_ALIGN));
    assert!(caller::LEN.is_multiple_of(ROW_ALIGN));
    assert!(endpoint::LEN.is_multiple_of(ROW_ALIGN));
    assert!(directory::NAME_BYTES == 55);
    assert!(crate::error_kind::KINDS <= endpoint::ERROR_KINDS, "each kind has a count");
};

/// Most endpoints with a row of their own, besides the row of all others.
pub(crate) const MAX_ENDPOINTS: usize = 1024;
/// Most callers with a row.
pub(crate) const MAX_CALLERS: usize = 4096;
/// Most workers.
pub(crate) const MAX_WORKERS: usize = 256;
/// Most words of the counters of all workers: 64 MiB.
const MAX_COUNTER_WORDS: usize = 1 << 23;

/// The numbers of endpoints, callers and workers, which give the place of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dimensions {
    /// Endpoints in the directory, with the row of all others: at least 1.
    pub(crate) endpoints: usize,
    pub(crate) callers: usize,
    pub(crate) workers: usize,
}

impl Dimensions {
    /// These numbers, cut to those of the largest segment; `None` for too many workers.
    pub(crate) fn for_at_most(endpoints: usize, callers: usize, workers: usize) -> Option<Self> {
        let workers = workers.max(1);
        let own = MAX_ENDPOINTS.min(MAX_COUNTER_WORDS / (workers * endpoint::LEN) - 1);
        Self::new(endpoints.min(own) + 1, callers.min(MAX_CALLERS), workers)
    }

    /// Exactly these numbers; `None` when no server writes such a segment.
    pub(crate) fn new(endpoints: usize, callers: usize, workers: usize) -> Option<Self> {
        let possible = (1..=MAX_ENDPOINTS + 1).contains(&endpoints)
            && callers <= MAX_CALLERS
            && (1..=MAX_WORKERS).contains(&workers)
            && workers * endpoints * endpoint::LEN <= MAX_COUNTER_WORDS;
        possible.then_some(Self { endpoints, callers, workers })
    }

    pub(crate) const fn directory(index: usize) -> usize {
        header::LEN + index * directory::LEN
    }

    pub(crate) fn caller(self, index: usize) -> usize {
        Self::directory(self.endpoints).next_multiple_of(ROW_ALIGN) + index * caller::LEN
    }

    pub(crate) fn worker(self, worker: usize) -> usize {
        self.caller(self.callers) + worker * self.worker_len()
    }

    /// Words of the counters of one worker.
    pub(crate) fn worker_len(self) -> usize {
        self.endpoints * endpoint::LEN
    }

    /// Words of the segment.
    pub(crate) fn len(self) -> usize {
        self.worker(self.workers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_without_overlap() {
        let dimensions = Dimensions::new(3, 5, 2).unwrap();
        assert_eq!(Dimensions::directory(0), header::LEN);
        assert!(dimensions.caller(0) >= Dimensions::directory(3));
        assert_eq!(dimensions.worker(0), dimensions.caller(5));
        assert_eq!(dimensions.len(), dimensions.worker(0) + 2 * 3 * endpoint::LEN);
    }

    #[test]
    fn too_large_numbers_are_cut_to_the_bounds() {
        let dimensions = Dimensions::for_at_most(65_535, usize::MAX, 1).unwrap();
        assert_eq!((dimensions.endpoints, dimensions.callers), (MAX_ENDPOINTS + 1, MAX_CALLERS));
        let many = Dimensions::for_at_most(65_535, 1, MAX_WORKERS).unwrap();
        assert!(many.len() <= MAX_COUNTER_WORDS + dimensions.worker(0));
        assert!(many.endpoints > 32);
        assert_eq!(Dimensions::for_at_most(1, 1, MAX_WORKERS + 1), None);
        assert_eq!(Dimensions::for_at_most(0, 0, 0), Dimensions::new(1, 0, 1));
        assert_eq!(Dimensions::new(0, 0, 1), None);
        assert_eq!(Dimensions::new(MAX_ENDPOINTS + 1, 0, MAX_WORKERS), None, "705 MB");
    }
}
