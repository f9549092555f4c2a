//! An observer over statistics whose words, and whose file in the registry, somebody else made up.
#![allow(unreachable_pub, reason = "public for the fuzzer alone; see `crate::fuzz`")]

use std::os::fd::AsFd;
use std::time::Duration;

use super::board::{Bank, Board, Ending, Fill, Tenant};
use super::histogram;
use super::layout::{MAX_CALLERS, MAX_ENDPOINTS, MAX_WORKERS, Shape, directory, endpoint, header};
use super::observer::look;
use super::record::Record;
use super::snapshot::Snapshot;
use crate::engine::ErrorKind;
use crate::fuzz::{Attacker, Input, armed};
use crate::shm::{ObservedWords, Words};
use crate::sync::Ordering;

thread_local! {
    static SEGMENTS: [Segment; 2] = [Segment::new(1, 2), Segment::new(2, 3)];
}

/// A segment that is written anew for every input: making one costs more than looking at it.
struct Segment {
    words: Words,
    observed: ObservedWords,
    record: Record,
    shape: Shape,
    /// What an honest server wrote.
    honest: Vec<u64>,
}

impl Segment {
    fn new(workers: usize, callers: usize) -> Self {
        let endpoints = [(7, "seven"), (1, "one")];
        let (board, file) = Board::create(endpoints.into_iter(), callers, workers).expect("memory for a board");
        for worker in 0..workers {
            count(board.bank(worker));
        }
        let seat = board.seat(Tenant { id: 1, pid: Some(40), uid: Some(1000) }).expect("a line");
        board.note_requests(seat, 5);
        board.note_fill(seat, Fill { used: 1, slots: 64 }, Fill { used: 64, slots: 64 });
        board.note_joined();
        let adopt = |file: std::os::fd::BorrowedFd<'_>| ObservedWords::adopt(file, board.len()).expect("a segment");
        let honest = adopt(file.as_fd()).copy();
        let (words, file) = Words::create(honest.len()).expect("memory for words");
        let record = Record {
            pid: std::process::id(),
            namespace: 2,
            pid_here: std::process::id(),
            descriptor: 3,
            len: board.len(),
            token: board.token(),
            started: 11,
            path: "/tmp/x.sock".into(),
        };
        let shape = Shape::new(3, callers, workers).expect("a small shape");
        Self { words, observed: adopt(file.as_fd()), record, shape, honest }
    }

    fn renew(&self) {
        for (word, honest) in self.words.iter().zip(&self.honest) {
            word.store(*honest, Ordering::Relaxed);
        }
    }
}

fn count(bank: Bank<'_>) {
    bank.tally(0).record(10, Some(1000), Ending::Replied(3));
    bank.tally(1).record(10, Some(9000), Ending::Failed(ErrorKind::HandlerFailed));
    bank.tally(9).record(10, None, Ending::CallerGone);
}

/// The server, which writes what it likes.
struct Server<'i, 's> {
    input: Input<'i>,
    segment: &'s Segment,
    /// Looks until it writes behind the observer's back.
    #[cfg(fuzzing)]
    patience: core::cell::Cell<u16>,
}

impl Server<'_, '_> {
    /// Writes a word somewhere, mostly where it means something.
    fn write(&self, byte: &dyn Fn() -> u8) {
        let shape = self.segment.shape;
        let (what, at) = (byte(), usize::from(byte()));
        let place = match what & 7 {
            0 | 1 => at % header::LEN,
            2 => Shape::directory(0) + at % (shape.endpoints * directory::LEN),
            3 => shape.caller(0) + at % (shape.bank(0) - shape.caller(0)).max(1),
            4 => shape.bank(0) + (at & 3) * endpoint::LEN + (at >> 2) % endpoint::BUCKETS,
            5 => shape.bank(0) + (at & 3) * endpoint::LEN + endpoint::BUCKETS + (at >> 2),
            _ => at | usize::from(byte()) << 8,
        };
        let word = match what >> 3 & 7 {
            0 => 0,
            1 => u64::MAX,
            2 | 3 => u64::from(byte()),
            4 => u64::from(byte()) << (byte() & 63),
            5 => u64::MAX >> (byte() & 63),
            _ => u64::from_le_bytes([(); 8].map(|()| byte())),
        };
        self.segment.words[place % self.segment.words.len()].store(word, Ordering::Relaxed);
    }
}

impl Attacker for Server<'_, '_> {
    #[cfg(fuzzing)]
    fn between_looks(&self) {
        match self.patience.get().checked_sub(1) {
            Some(left) => self.patience.set(left),
            None => {
                let back = || self.input.back().unwrap_or(0);
                self.write(&back);
                self.patience.set(u16::from_le_bytes([back(), back()]) % 1024);
            }
        }
    }
}

/// Statistics that change between looks and behind them, and the registry's file about them.
///
/// What is read is refused in a sentence, or plausible: as many lines as a server can have, names that can be printed,
/// sums and durations within their bounds.
pub fn stats(data: &[u8]) {
    let input = Input::new(data);
    let how = input.byte();
    if how & 7 == 7 {
        return decode(&input);
    }
    SEGMENTS.with(|segments| {
        let segment = &segments[usize::from(how >> 3 & 1)];
        segment.renew();
        #[cfg(fuzzing)]
        let patience = if how & 16 == 0 { u16::MAX } else { u16::from(input.back().unwrap_or(0)) * 4 }.into();
        let server = Server {
            input,
            segment,
            #[cfg(fuzzing)]
            patience,
        };
        armed(&server, || watch(&server));
    });
}

fn watch(server: &Server<'_, '_>) {
    let mut last: Option<Snapshot> = None;
    let mut looks = 0u8;
    loop {
        let step = server.input.next();
        if step.is_some_and(|step| step < 224) {
            server.write(&|| server.input.byte());
            continue;
        }
        // A look at many words costs more than all that is written between two.
        looks += 1;
        let now = u64::from(server.input.byte()) << (server.input.byte() & 63);
        match look(&server.segment.observed, &server.segment.record, now) {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok(snapshot) => {
                check(&snapshot, server.segment);
                if let Some(last) = last.replace(snapshot.clone()) {
                    check_interval(&last, &snapshot);
                }
            }
        }
        if step.is_none() || looks == 4 {
            return;
        }
    }
}

fn check(snapshot: &Snapshot, segment: &Segment) {
    assert_eq!((snapshot.pid, &snapshot.path), (segment.record.pid, &segment.record.path));
    assert!((1..=MAX_WORKERS).contains(&snapshot.workers) && snapshot.callers_now <= snapshot.callers_ever);
    assert!((1..=MAX_ENDPOINTS + 1).contains(&snapshot.endpoints.len()) && snapshot.callers.len() <= MAX_CALLERS);
    assert!(snapshot.callers.is_sorted_by(|one, next| 0 < one.id && one.id < next.id));
    for caller in &snapshot.callers {
        assert!(caller.pid.is_none_or(|pid| 0 < pid && pid <= i32::MAX.unsigned_abs()));
        assert!(caller.forward.used <= caller.forward.slots && caller.reverse.used <= caller.reverse.slots);
    }
    let (calls, errors) = (snapshot.calls(), snapshot.errors());
    for line in &snapshot.endpoints {
        assert!(line.calls <= calls && line.errors <= errors);
        assert!(line.name.len() <= directory::NAME_BYTES * 8);
        assert!(!line.name.contains(|letter: char| letter.is_control() || ('\u{202a}'..='\u{202e}').contains(&letter)));
        assert!(line.errors_by_kind.iter().all(|(_, count)| 0 < *count && *count <= line.errors));
        let shares = [0.0, 0.5, 0.99, 1.0, f64::NAN].map(|share| line.quantile(share));
        let longest = Duration::from_nanos(1 << histogram::TOP_BIT);
        assert!(shares[..4].is_sorted() && shares.iter().flatten().all(|share| *share <= longest));
    }
}

fn check_interval(earlier: &Snapshot, later: &Snapshot) {
    let interval = later.since(earlier);
    assert_eq!((interval.endpoints.len(), interval.callers.len()), (later.endpoints.len(), later.callers.len()));
    assert!(interval.calls() <= later.calls() && interval.joined <= later.callers_ever);
    assert!(interval.per_second(interval.calls()).is_finite() && interval.per_second(interval.errors()) >= 0.0);
}

/// A file of the registry: refused, or what would be written again.
fn decode(input: &Input<'_>) {
    let bytes = input.slice(usize::MAX);
    match Record::decode(bytes) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(record) => {
            assert_eq!(Record::decode(&record.encode()).expect("what was written"), record);
            assert!(record.segment().starts_with("/proc/"));
            core::hint::black_box(record.started());
        }
    }
}
