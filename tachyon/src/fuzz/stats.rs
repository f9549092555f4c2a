//! An observer of statistics whose words, and whose file in the registry, are the fuzzer's.
#![allow(unreachable_pub, reason = "public for the fuzzer alone; see `crate::fuzz`")]

use std::os::fd::AsFd;
use std::time::Duration;

use super::{Attacker, Input, armed};
use crate::engine::ErrorKind;
use crate::shm::{ObservedWords, Words};
use crate::stats::layout::{Dimensions, MAX_CALLERS, MAX_ENDPOINTS, MAX_WORKERS, directory, endpoint, header};
use crate::stats::observer::read;
use crate::stats::record::Record;
use crate::stats::writer::StatsWriter;
use crate::stats::{CallOutcome, CallerKey, Fill, Snapshot, WorkerCounters, histogram};
use crate::sync::Ordering;

thread_local! {
    static SEGMENTS: [Segment; 2] = [Segment::new(1, 2), Segment::new(2, 3)];
}

/// A segment that every input writes anew: making a segment costs more than reading it.
struct Segment {
    words: Words,
    observed: ObservedWords,
    record: Record,
    dimensions: Dimensions,
    /// The words of an honest server.
    honest: Vec<u64>,
}

impl Segment {
    fn new(workers: usize, callers: usize) -> Self {
        let endpoints = [(7, "seven"), (1, "one")];
        let (writer, file) =
            StatsWriter::create(endpoints.into_iter(), callers, workers).expect("memory for statistics");
        for worker in 0..workers {
            count(writer.worker(worker));
        }
        let key = CallerKey { id: 1, pid: Some(40), uid: Some(1000) };
        let row = writer.take_row(key, Fill { used: 1, slots: 64 }, Fill { used: 64, slots: 64 }).expect("a row");
        writer.set_requests(row, 5);
        writer.count_joined();
        let adopt = |file: std::os::fd::BorrowedFd<'_>| ObservedWords::adopt(file, writer.len()).expect("a segment");
        let honest = adopt(file.as_fd()).copy();
        let (words, file) = Words::create(honest.len()).expect("memory for words");
        let record = Record {
            pid: std::process::id(),
            namespace: 2,
            pid_here: std::process::id(),
            descriptor: 3,
            len: writer.len(),
            token: writer.token(),
            started: 11,
            path: "/tmp/x.sock".into(),
        };
        let dimensions = Dimensions::new(3, callers, workers).expect("a small segment");
        Self { words, observed: adopt(file.as_fd()), record, dimensions, honest }
    }

    fn renew(&self) {
        for (word, honest) in self.words.iter().zip(&self.honest) {
            word.store(*honest, Ordering::Relaxed);
        }
    }
}

fn count(counters: WorkerCounters<'_>) {
    counters.endpoint(0).record(10, Some(1000), CallOutcome::Replied(3));
    counters.endpoint(1).record(10, Some(9000), CallOutcome::Failed(ErrorKind::HandlerFailed));
    counters.endpoint(9).record(10, None, CallOutcome::CallerGone);
}

/// The server, which writes any words.
struct Server<'i, 's> {
    input: Input<'i>,
    segment: &'s Segment,
    /// Reads until the next write behind the observer.
    #[cfg(fuzzing)]
    patience: core::cell::Cell<u16>,
}

impl Server<'_, '_> {
    /// Writes a word, mostly to a place with a meaning.
    fn write(&self, byte: &dyn Fn() -> u8) {
        let dimensions = self.segment.dimensions;
        let (what, at) = (byte(), usize::from(byte()));
        let place = match what & 7 {
            0 | 1 => at % header::LEN,
            2 => Dimensions::directory(0) + at % (dimensions.endpoints * directory::LEN),
            3 => dimensions.caller(0) + at % (dimensions.worker(0) - dimensions.caller(0)).max(1),
            4 => dimensions.worker(0) + (at & 3) * endpoint::LEN + (at >> 2) % endpoint::BUCKETS,
            5 => dimensions.worker(0) + (at & 3) * endpoint::LEN + endpoint::BUCKETS + (at >> 2),
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

/// Statistics that change between reads and during a read, and their file in the registry.
///
/// A read fails with an error text, or its result is plausible: as many rows as a server can have, printable names,
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
        // Limited: a read of all words costs more than the writes between two reads.
        looks += 1;
        let now = u64::from(server.input.byte()) << (server.input.byte() & 63);
        match read(&server.segment.observed, &server.segment.record, now) {
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
    for row in &snapshot.endpoints {
        assert!(row.calls <= calls && row.errors <= errors);
        assert!(row.name.len() <= directory::NAME_BYTES * 8);
        assert!(!row.name.contains(|letter: char| letter.is_control() || ('\u{202a}'..='\u{202e}').contains(&letter)));
        assert!(row.errors_by_kind.iter().all(|(_, count)| 0 < *count && *count <= row.errors));
        let shares = [0.0, 0.5, 0.99, 1.0, f64::NAN].map(|share| row.quantile(share));
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

/// A file of the registry: refused, or a record that encodes to itself.
fn decode(input: &Input<'_>) {
    let bytes = input.slice(usize::MAX);
    match Record::decode(bytes) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(record) => {
            assert_eq!(Record::decode(&record.encode()).expect("an encoded record"), record);
            assert!(record.segment().starts_with("/proc/"));
            core::hint::black_box(record.started());
        }
    }
}
