//! What lies where in a server's statistics: a row of 64-bit words, in four parts.
//!
//! The header; a directory of the endpoints; a line per caller; then a bank per worker, which holds a line per
//! endpoint. Each bank has one writer, so counting is a load and a store. The last endpoint of the directory stands for
//! all message types without a line of their own.

use super::histogram::BUCKETS;

/// Begins every segment of statistics: "TACHSTA" and the layout's generation.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"TACHSTA\x01");

/// Places of the header.
pub(crate) mod header {
    pub(crate) const MAGIC: usize = 0;
    pub(crate) const PID: usize = 1;
    /// Tells this segment from any other; the registry names it too.
    pub(crate) const TOKEN: usize = 2;
    /// `CLOCK_REALTIME` and `CLOCK_MONOTONIC` at the beginning, in nanoseconds.
    pub(crate) const STARTED: usize = 3;
    pub(crate) const STARTED_MONOTONIC: usize = 4;
    pub(crate) const ENDPOINTS: usize = 5;
    pub(crate) const CALLERS: usize = 6;
    pub(crate) const WORKERS: usize = 7;
    // A line of its own: these are written while the server runs.
    pub(crate) const JOINED: usize = 16;
    pub(crate) const LEFT: usize = 17;
    pub(crate) const TURNED_AWAY: usize = 18;
    pub(crate) const LEN: usize = 32;
}

/// One endpoint of the directory: a word for its message type, the rest for the name's length and bytes.
pub(crate) mod directory {
    pub(crate) const MSG_TYPE: usize = 0;
    pub(crate) const NAME: usize = 1;
    pub(crate) const LEN: usize = 8;
    /// Longest name; a longer one is cut.
    pub(crate) const NAME_BYTES: usize = (LEN - NAME) * 8 - 1;
}

/// The message type of the directory's last endpoint.
pub(crate) const OTHERS: u64 = 1 << 16;

/// Places of a caller's line. While `ID` is 0 the line is free; while `ID_AGAIN` differs it is changing hands.
pub(crate) mod caller {
    pub(crate) const ID: usize = 0;
    /// 0 when the process is not visible to the server.
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

/// Places of an endpoint's line in a bank.
pub(crate) mod endpoint {
    pub(crate) const CALLS: usize = 0;
    /// Nanoseconds, all durations together; those that were not measured, at their neighbours' durations.
    pub(crate) const BUSY: usize = 1;
    pub(crate) const REQUEST_BYTES: usize = 2;
    pub(crate) const REPLY_BYTES: usize = 3;
    /// Calls whose caller was gone before it could be answered.
    pub(crate) const CALLER_GONE: usize = 4;
    /// Calls since the last one that was measured.
    pub(crate) const UNMEASURED: usize = 5;
    /// Whether that one was short: 1 if so.
    pub(crate) const SHORT: usize = 6;
    /// A count per kind of failure, by its number.
    pub(crate) const ERRORS: usize = 16;
    pub(crate) const ERROR_KINDS: usize = 16;
    pub(crate) const BUCKETS: usize = ERRORS + ERROR_KINDS;
    pub(crate) const LEN: usize = BUCKETS + super::BUCKETS;
}

/// Words that one writer's lines are kept apart by: a pair of cache lines.
const APART: usize = 16;

const _: () = {
    assert!(header::LEN.is_multiple_of(APART));
    assert!(caller::LEN.is_multiple_of(APART));
    assert!(endpoint::LEN.is_multiple_of(APART));
    assert!(directory::NAME_BYTES == 55);
};

/// Most endpoints with a line of their own, in addition to the others' line.
pub(crate) const MAX_ENDPOINTS: usize = 1024;
/// Most callers with a line.
pub(crate) const MAX_CALLERS: usize = 4096;
/// Most workers.
pub(crate) const MAX_WORKERS: usize = 256;
/// Most words of all banks together: 64 MiB.
const MAX_BANK_WORDS: usize = 1 << 23;

/// How many there are of everything, and so where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Endpoints in the directory, the others' line included: at least 1.
    pub(crate) endpoints: usize,
    pub(crate) callers: usize,
    pub(crate) workers: usize,
}

impl Shape {
    /// The shape for so many, cut to what one segment may hold; `None` for more workers than are possible.
    pub(crate) fn for_at_most(endpoints: usize, callers: usize, workers: usize) -> Option<Self> {
        let workers = workers.max(1);
        let own = MAX_ENDPOINTS.min(MAX_BANK_WORDS / (workers * endpoint::LEN) - 1);
        Self::new(endpoints.min(own) + 1, callers.min(MAX_CALLERS), workers)
    }

    /// The shape with exactly these counts; `None` when no server writes such a one.
    pub(crate) fn new(endpoints: usize, callers: usize, workers: usize) -> Option<Self> {
        let possible = (1..=MAX_ENDPOINTS + 1).contains(&endpoints)
            && callers <= MAX_CALLERS
            && (1..=MAX_WORKERS).contains(&workers)
            && workers * endpoints * endpoint::LEN <= MAX_BANK_WORDS;
        possible.then_some(Self { endpoints, callers, workers })
    }

    pub(crate) const fn directory(index: usize) -> usize {
        header::LEN + index * directory::LEN
    }

    pub(crate) fn caller(self, index: usize) -> usize {
        Self::directory(self.endpoints).next_multiple_of(APART) + index * caller::LEN
    }

    pub(crate) fn bank(self, worker: usize) -> usize {
        self.caller(self.callers) + worker * self.bank_len()
    }

    /// Words of one bank.
    pub(crate) fn bank_len(self) -> usize {
        self.endpoints * endpoint::LEN
    }

    /// Words of everything.
    pub(crate) fn len(self) -> usize {
        self.bank(self.workers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_without_overlap() {
        let shape = Shape::new(3, 5, 2).unwrap();
        assert_eq!(Shape::directory(0), header::LEN);
        assert!(shape.caller(0) >= Shape::directory(3));
        assert_eq!(shape.bank(0), shape.caller(5));
        assert_eq!(shape.len(), shape.bank(0) + 2 * 3 * endpoint::LEN);
    }

    #[test]
    fn too_much_is_cut_and_stays_within_bounds() {
        let shape = Shape::for_at_most(65_535, usize::MAX, 1).unwrap();
        assert_eq!((shape.endpoints, shape.callers), (MAX_ENDPOINTS + 1, MAX_CALLERS));
        let many = Shape::for_at_most(65_535, 1, MAX_WORKERS).unwrap();
        assert!(many.len() <= MAX_BANK_WORDS + shape.bank(0));
        assert!(many.endpoints > 32);
        assert_eq!(Shape::for_at_most(1, 1, MAX_WORKERS + 1), None);
        assert_eq!(Shape::for_at_most(0, 0, 0), Shape::new(1, 0, 1));
        assert_eq!(Shape::new(0, 0, 1), None);
        assert_eq!(Shape::new(MAX_ENDPOINTS + 1, 0, MAX_WORKERS), None, "705 MB");
    }
}
