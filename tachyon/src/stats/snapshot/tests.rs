use std::os::fd::{AsFd, OwnedFd};

use proptest::prelude::*;

use super::*;
use crate::shm::ObservedWords;
use crate::stats::board::{Bank, Board, Ending, Fill, Tenant};
use crate::wait::monotonic_nanos;

fn board(workers: usize) -> (Board, OwnedFd) {
    let endpoints = vec![(7, "seven"), (1, "one")];
    Board::create(endpoints.into_iter(), 3, workers).unwrap()
}

fn words((board, file): &(Board, OwnedFd)) -> Vec<u64> {
    ObservedWords::adopt(file.as_fd(), board.len()).unwrap().copy()
}

fn read(made: &(Board, OwnedFd)) -> Snapshot {
    Snapshot::parse(&words(made), "/tmp/x.sock".into(), monotonic_nanos()).unwrap()
}

fn record(bank: Bank<'_>, ordinal: usize, nanos: u64, ending: Ending) {
    bank.tally(ordinal).record(10, Some(nanos), ending);
}

#[test]
fn what_workers_count_is_added_up() {
    let made = board(2);
    for worker in [0, 1] {
        let bank = made.0.bank(worker);
        record(bank, 0, 1000, Ending::Replied(3));
        record(bank, 0, 9000, Ending::Failed(ErrorKind::HandlerFailed));
        record(bank, 1, 2000, Ending::CallerGone);
        record(bank, 99, 1, Ending::Failed(ErrorKind::NoHandler));
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
    let made = board(1);
    let tally = made.0.bank(0).tally(1);
    let mut measured = 0;
    let mut call = |nanos| {
        let due = tally.measures();
        measured += u64::from(due);
        tally.record(0, due.then_some(nanos), Ending::Replied(0));
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
    let made = board(1);
    let board = &made.0;
    let tenant = |id| Tenant { id, pid: Some(40), uid: Some(1000) };
    let lines: Vec<_> = (1..=3).map(|id| board.seat(tenant(id)).unwrap()).collect();
    assert_eq!(board.seat(tenant(4)), None, "there are three lines");
    board.note_requests(lines[1], 12);
    board.note_fill(lines[1], Fill { used: 1, slots: 64 }, Fill { used: 2, slots: 128 });
    board.vacate(lines[0]);
    let snapshot = read(&made);
    assert_eq!(snapshot.callers.iter().map(|caller| caller.id).collect::<Vec<_>>(), [2, 3]);
    let second = &snapshot.callers[0];
    assert_eq!((second.pid, second.uid, second.requests), (Some(40), Some(1000), 12));
    assert_eq!((second.forward, second.reverse), (RingFill { used: 1, slots: 64 }, RingFill { used: 2, slots: 128 }));
    board.seat(Tenant { pid: None, ..tenant(5) }).unwrap();
    assert_eq!(
        read(&made).callers[2],
        CallerStats {
            id: 5,
            pid: None,
            uid: Some(1000),
            requests: 0,
            forward: RingFill::default(),
            reverse: RingFill::default(),
        }
    );
    for _ in 0..3 {
        board.note_joined();
    }
    board.note_left();
    board.note_turned_away();
    let snapshot = read(&made);
    assert_eq!((snapshot.callers_now, snapshot.callers_ever, snapshot.turned_away), (2, 3, 1));
}

#[test]
fn a_forked_child_writes_nothing() {
    let mut made = board(1);
    let line = made.0.seat(Tenant { id: 9, pid: None, uid: Some(0) }).unwrap();
    made.0.note_joined();
    let before = words(&made);
    // What a child has is this board, made by a process that it is not.
    made.0.disown();
    made.0.vacate(line);
    made.0.note_left();
    made.0.note_turned_away();
    assert_eq!(made.0.seat(Tenant { id: 10, pid: None, uid: Some(0) }), None);
    assert_eq!(words(&made), before);
}

#[test]
fn a_line_that_changes_hands_is_left_out() {
    let made = board(1);
    let line = made.0.seat(Tenant { id: 9, pid: None, uid: Some(0) }).unwrap();
    let mut copy = words(&made);
    let shape = shape(&copy).unwrap();
    copy[shape.caller(line) + caller::ID_AGAIN] = 10;
    assert!(Snapshot::parse(&copy, PathBuf::new(), 0).unwrap().callers.is_empty());
}

#[test]
fn what_no_server_writes_is_left_out_or_made_plausible() {
    let made = board(1);
    for id in 1..=3 {
        made.0.seat(Tenant { id, pid: Some(40), uid: Some(1000) }).unwrap();
    }
    let mut copy = words(&made);
    let shape = shape(&copy).unwrap();
    let line = |index: usize, place: usize| shape.caller(index) + place;
    (copy[line(1, caller::ID)], copy[line(1, caller::ID_AGAIN)]) = (1, 1);
    (copy[line(2, caller::FORWARD_USED)], copy[line(2, caller::FORWARD_SLOTS)]) = (u64::MAX, 64);
    copy[line(2, caller::PID)] = 1 << 31;
    let snapshot = Snapshot::parse(&copy, PathBuf::new(), 0).unwrap();
    let [first, third] = &snapshot.callers[..] else { panic!("{:?}", snapshot.callers) };
    assert_eq!((first.id, third.id, third.pid), (1, 3, None));
    assert_eq!(third.forward, RingFill { used: 64, slots: 64 });
    copy[header::PID] = 0;
    assert!(Snapshot::parse(&copy, PathBuf::new(), 0).is_err());
}

#[test]
fn an_interval_shows_what_happened_meanwhile() {
    let made = board(1);
    let bank = made.0.bank(0);
    let line = made.0.seat(Tenant { id: 1, pid: None, uid: Some(0) }).unwrap();
    record(bank, 0, 100, Ending::Failed(ErrorKind::BadRequest));
    made.0.note_requests(line, 5);
    let before = read(&made);
    record(bank, 0, 4000, Ending::Failed(ErrorKind::BadReply));
    record(bank, 0, 4000, Ending::Replied(1));
    made.0.note_requests(line, 7);
    let after = read(&made);
    let interval = after.since(&before);
    let seven = &interval.endpoints[1];
    assert_eq!((seven.calls, seven.errors, interval.calls(), interval.errors()), (2, 1, 2, 1));
    assert_eq!(seven.errors_by_kind, [(ErrorKind::BadReply, 1)]);
    assert!(seven.quantile(0.0).unwrap() > Duration::from_micros(3), "the first call is not part of it");
    assert_eq!(interval.callers, [(1, 2)]);
    assert!(interval.over > Duration::ZERO && interval.per_second(2) > 0.0);
    assert!(after.since(&after).per_second(3) < f64::MIN_POSITIVE, "no time has passed");
    let other = read(&board(1));
    assert_eq!(after.since(&other).calls(), 3, "another server's counts are no beginning");
}

#[test]
fn names_are_cut_and_made_printable() {
    let long = "ä".repeat(40);
    let endpoints = vec![(1, "bell\x07\x1b[31m"), (2, long.as_str()), (3, "a\u{202e}b\u{2028}\u{feff}")];
    let made = Board::create(endpoints.into_iter(), 0, 1).unwrap();
    let snapshot = read(&made);
    assert_eq!(snapshot.endpoints[0].name, "bell\\u{7}\\u{1b}[31m");
    assert_eq!(snapshot.endpoints[1].name, "ä".repeat(27));
    assert_eq!(snapshot.endpoints[2].name, "a\\u{202e}b\\u{2028}\\u{feff}");
}

#[test]
fn a_segment_of_another_size_or_kind_is_refused() {
    let whole = words(&board(1));
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
        let shape = Shape::new(endpoints, callers, workers).unwrap();
        let mut words: Vec<u64> = filling.iter().copied().cycle().take(shape.len()).collect();
        words[header::MAGIC] = MAGIC;
        words[header::PID] = (words[header::PID] & 0xFFFF).max(1);
        words[header::ENDPOINTS] = endpoints as u64;
        words[header::CALLERS] = callers as u64;
        words[header::WORKERS] = workers as u64;
        let snapshot = Snapshot::parse(&words, PathBuf::new(), now).unwrap();
        prop_assert_eq!(snapshot.endpoints.len(), endpoints);
        prop_assert!(snapshot.callers.len() <= callers);
        words.rotate_right(1);
        words.truncate(shape.len());
        drop(Snapshot::parse(&words, PathBuf::new(), now));
        let interval = snapshot.since(&snapshot);
        prop_assert_eq!((interval.calls(), interval.errors()), (0, 0));
        for line in &snapshot.endpoints {
            let _ = (line.p50(), line.p99(), line.quantile(f64::NAN));
            prop_assert!(!line.name.chars().any(char::is_control));
        }
    }
}
