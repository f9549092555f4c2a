use std::os::fd::{AsFd, OwnedFd};

use proptest::prelude::*;

use super::*;
use crate::shm::ObservedWords;
use crate::stats::writer::{CallOutcome, CallerKey, Fill, StatsWriter, WorkerCounters};
use crate::wait::monotonic_nanos;

fn writer(workers: usize) -> (StatsWriter, OwnedFd) {
    let endpoints = vec![(7, "seven"), (1, "one")];
    StatsWriter::create(endpoints.into_iter(), 3, workers).unwrap()
}

fn words((writer, file): &(StatsWriter, OwnedFd)) -> Vec<u64> {
    ObservedWords::adopt(file.as_fd(), writer.len()).unwrap().copy()
}

fn read(made: &(StatsWriter, OwnedFd)) -> Snapshot {
    Snapshot::parse(&words(made), "/tmp/x.sock".into(), monotonic_nanos()).unwrap()
}

fn record(counters: WorkerCounters<'_>, ordinal: usize, nanos: u64, outcome: CallOutcome) {
    counters.endpoint(ordinal).record(10, Some(nanos), outcome);
}

/// The ring of a caller that has just come.
const FRESH: Fill = Fill { used: 0, slots: 64 };

#[test]
fn the_counters_of_all_workers_are_added_up() {
    let made = writer(2);
    for worker in [0, 1] {
        let counters = made.0.worker(worker);
        record(counters, 0, 1000, CallOutcome::Replied(3));
        record(counters, 0, 9000, CallOutcome::Failed(ErrorKind::HandlerFailed));
        record(counters, 1, 2000, CallOutcome::CallerGone);
        record(counters, 99, 1, CallOutcome::Failed(ErrorKind::NoHandler));
    }
    let snapshot = read(&made);
    let [one, seven, others] = &snapshot.endpoints[..] else { panic!("{snapshot:?}") };
    assert_eq!((one.msg_type, one.name.as_str(), one.calls, one.errors, one.callers_gone), (Some(1), "one", 2, 0, 2));
    assert_eq!((seven.msg_type, seven.calls, seven.errors, seven.callers_gone), (Some(7), 4, 2, 0));
    assert_eq!(seven.errors_by_kind, [(ErrorKind::HandlerFailed, 2)]);
    assert_eq!((seven.request_bytes, seven.reply_bytes, seven.busy), (40, 6, Duration::from_micros(20)));
    assert!(seven.p50().unwrap().abs_diff(Duration::from_micros(1)) < Duration::from_nanos(63));
    assert!(seven.p99().unwrap().abs_diff(Duration::from_micros(9)) < Duration::from_nanos(563));
    assert_eq!((others.msg_type, others.calls, others.errors), (None, 2, 2));
    assert_eq!((snapshot.calls(), snapshot.errors(), snapshot.workers), (8, 4, 2));
    assert_eq!(snapshot.pid, std::process::id());
    assert!(snapshot.uptime < Duration::from_mins(1));
    assert!(snapshot.started.elapsed().unwrap() < Duration::from_mins(1));
}

#[test]
fn short_calls_are_measured_now_and_then_and_long_ones_always() {
    let made = writer(1);
    let counters = made.0.worker(0).endpoint(1);
    let mut measured = 0;
    let mut call = |nanos| {
        let due = counters.measures_next();
        measured += u64::from(due);
        counters.record(0, due.then_some(nanos), CallOutcome::Replied(0));
    };
    for _ in 0..70 {
        call(100);
    }
    for _ in 0..30 {
        call(1_000_000);
    }
    assert!((10 + 24..=11 + 30).contains(&measured), "{measured}");
    let one = &read(&made).endpoints[0];
    assert_eq!(one.calls, 100);
    let counted: u64 = one.buckets.iter().sum();
    assert!((94..=100).contains(&counted), "every call counts for a duration, if only its neighbour's: {counted}");
    assert_eq!(one.quantile(0.6), one.p50());
    assert!(one.p50().unwrap() < Duration::from_micros(1) && one.p99().unwrap() > Duration::from_micros(900));
    assert!(one.busy.abs_diff(Duration::from_micros(30_007)) < Duration::from_millis(6), "{:?}", one.busy);
}

#[test]
fn callers_come_and_go() {
    let made = writer(1);
    let writer = &made.0;
    let key = |id| CallerKey { id, pid: Some(40), uid: Some(1000) };
    let rows: Vec<_> = (1..=3).map(|id| writer.take_row(key(id), FRESH, FRESH).unwrap()).collect();
    assert_eq!(writer.take_row(key(4), FRESH, FRESH), None, "there are three rows");
    writer.set_requests(rows[1], 12);
    writer.set_fill(rows[1], Fill { used: 1, slots: 64 }, Fill { used: 2, slots: 128 });
    writer.free_row(rows[0]);
    let snapshot = read(&made);
    assert_eq!(snapshot.callers.iter().map(|caller| caller.id).collect::<Vec<_>>(), [2, 3]);
    let second = &snapshot.callers[0];
    assert_eq!((second.pid, second.uid, second.requests), (Some(40), Some(1000), 12));
    assert_eq!((second.forward, second.reverse), (RingFill { used: 1, slots: 64 }, RingFill { used: 2, slots: 128 }));
    writer.take_row(CallerKey { pid: None, ..key(5) }, FRESH, Fill { used: 0, slots: 256 }).unwrap();
    assert_eq!(
        read(&made).callers[2],
        CallerStats {
            id: 5,
            pid: None,
            uid: Some(1000),
            requests: 0,
            forward: RingFill { used: 0, slots: 64 },
            reverse: RingFill { used: 0, slots: 256 },
        },
        "an observer never sees a row without its rings"
    );
    for _ in 0..3 {
        writer.count_joined();
    }
    writer.count_left();
    writer.count_rejected();
    let snapshot = read(&made);
    assert_eq!((snapshot.callers_now, snapshot.callers_ever, snapshot.rejected), (2, 3, 1));
}

#[test]
fn a_forked_child_writes_nothing() {
    let mut made = writer(1);
    let row = made.0.take_row(CallerKey { id: 9, pid: None, uid: Some(0) }, FRESH, FRESH).unwrap();
    made.0.count_joined();
    let before = words(&made);
    // A child has these statistics, with another process as the owner.
    made.0.disown();
    made.0.free_row(row);
    made.0.count_left();
    made.0.count_rejected();
    assert_eq!(made.0.take_row(CallerKey { id: 10, pid: None, uid: Some(0) }, FRESH, FRESH), None);
    assert_eq!(words(&made), before);
}

#[test]
fn a_row_that_is_being_written_is_left_out() {
    let made = writer(1);
    let row = made.0.take_row(CallerKey { id: 9, pid: None, uid: Some(0) }, FRESH, FRESH).unwrap();
    let mut copy = words(&made);
    let dimensions = dimensions(&copy).unwrap();
    copy[dimensions.caller(row) + caller::ID_AGAIN] = 10;
    assert!(Snapshot::parse(&copy, PathBuf::new(), 0).unwrap().callers.is_empty());
}

#[test]
fn impossible_rows_are_left_out_or_made_plausible() {
    let made = writer(1);
    for id in 1..=3 {
        made.0.take_row(CallerKey { id, pid: Some(40), uid: Some(1000) }, FRESH, FRESH).unwrap();
    }
    let mut copy = words(&made);
    let dimensions = dimensions(&copy).unwrap();
    let word = |index: usize, place: usize| dimensions.caller(index) + place;
    (copy[word(1, caller::ID)], copy[word(1, caller::ID_AGAIN)]) = (1, 1);
    (copy[word(2, caller::FORWARD_USED)], copy[word(2, caller::FORWARD_SLOTS)]) = (u64::MAX, 64);
    copy[word(2, caller::PID)] = 1 << 31;
    let snapshot = Snapshot::parse(&copy, PathBuf::new(), 0).unwrap();
    let [first, third] = &snapshot.callers[..] else { panic!("{:?}", snapshot.callers) };
    assert_eq!((first.id, third.id, third.pid), (1, 3, None));
    assert_eq!(third.forward, RingFill { used: 64, slots: 64 });
    copy[header::PID] = 0;
    assert!(Snapshot::parse(&copy, PathBuf::new(), 0).is_err());
}

#[test]
fn every_kind_has_a_count_of_its_own() {
    let made = writer(1);
    for (count, kind) in (1..).zip(ErrorKind::all()) {
        (0..count).for_each(|_| record(made.0.worker(0), 0, 1, CallOutcome::Failed(kind)));
    }
    let counted = &read(&made).endpoints[1].errors_by_kind;
    assert_eq!(*counted, ErrorKind::all().zip(1..).collect::<Vec<_>>());
}

#[test]
fn an_interval_is_the_difference_of_two_snapshots() {
    let made = writer(1);
    let counters = made.0.worker(0);
    let row = made.0.take_row(CallerKey { id: 1, pid: None, uid: Some(0) }, FRESH, FRESH).unwrap();
    record(counters, 0, 100, CallOutcome::Failed(ErrorKind::BadRequest));
    made.0.set_requests(row, 5);
    let before = read(&made);
    record(counters, 0, 4000, CallOutcome::Failed(ErrorKind::BadReply));
    record(counters, 0, 4000, CallOutcome::Replied(1));
    made.0.set_requests(row, 7);
    let after = read(&made);
    let interval = after.since(&before);
    let seven = &interval.endpoints[1];
    assert_eq!((seven.calls, seven.errors, interval.calls(), interval.errors()), (2, 1, 2, 1));
    assert_eq!(seven.errors_by_kind, [(ErrorKind::BadReply, 1)]);
    assert!(seven.quantile(0.0).unwrap() > Duration::from_micros(3), "the first call is not part of it");
    assert_eq!(interval.callers, [(1, 2)]);
    assert!(interval.over > Duration::ZERO && interval.per_second(2) > 0.0);
    assert!(after.since(&after).per_second(3) < f64::MIN_POSITIVE, "no time has passed");
    let other = read(&writer(1));
    assert_eq!(after.since(&other).calls(), 3, "another server's counts are not subtracted");
}

#[test]
fn names_are_cut_and_made_printable() {
    let long = "ä".repeat(40);
    let endpoints = vec![(1, "bell\x07\x1b[31m"), (2, long.as_str()), (3, "a\u{202e}b\u{2028}\u{feff}")];
    let made = StatsWriter::create(endpoints.into_iter(), 0, 1).unwrap();
    let snapshot = read(&made);
    assert_eq!(snapshot.endpoints[0].name, "bell\\u{7}\\u{1b}[31m");
    assert_eq!(snapshot.endpoints[1].name, "ä".repeat(27));
    assert_eq!(snapshot.endpoints[2].name, "a\\u{202e}b\\u{2028}\\u{feff}");
}

#[test]
fn a_segment_of_another_size_or_kind_is_refused() {
    let whole = words(&writer(1));
    for len in [0, 1, header::LEN - 1, header::LEN, whole.len() - 1] {
        assert!(Snapshot::parse(&whole[..len], PathBuf::new(), 0).is_err(), "{len}");
    }
    for place in [header::MAGIC, header::ENDPOINTS, header::CALLERS, header::WORKERS, header::PID] {
        let mut spoilt = whole.clone();
        spoilt[place] = u64::MAX;
        assert!(Snapshot::parse(&spoilt, PathBuf::new(), 0).is_err(), "{place}");
    }
}

proptest! {
    #[test]
    fn any_words_are_harmless(
        endpoints in 1usize..4, callers in 0usize..4, workers in 1usize..3,
        filling in prop::collection::vec(prop_oneof![any::<u64>(), Just(0), Just(u64::MAX), 0u64..100], 64),
        now in any::<u64>(),
    ) {
        let dimensions = Dimensions::new(endpoints, callers, workers).unwrap();
        let mut words: Vec<u64> = filling.iter().copied().cycle().take(dimensions.len()).collect();
        words[header::MAGIC] = MAGIC;
        words[header::PID] = (words[header::PID] & 0xFFFF).max(1);
        words[header::ENDPOINTS] = endpoints as u64;
        words[header::CALLERS] = callers as u64;
        words[header::WORKERS] = workers as u64;
        let snapshot = Snapshot::parse(&words, PathBuf::new(), now).unwrap();
        prop_assert_eq!(snapshot.endpoints.len(), endpoints);
        prop_assert!(snapshot.callers.len() <= callers);
        words.rotate_right(1);
        words.truncate(dimensions.len());
        drop(Snapshot::parse(&words, PathBuf::new(), now));
        let interval = snapshot.since(&snapshot);
        prop_assert_eq!((interval.calls(), interval.errors()), (0, 0));
        for row in &snapshot.endpoints {
            let _ = (row.p50(), row.p99(), row.quantile(f64::NAN));
            prop_assert!(!row.name.chars().any(char::is_control));
        }
    }
}
