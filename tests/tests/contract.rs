//! Every form of argument, reply and error between two processes.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test fails by panicking, and values are exact")]
#![allow(clippy::needless_borrows_for_generic_args, reason = "every form")]

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tachyon::{CallError, Caller, Calls, ErrorKind, List, Options, Pool, PoolOptions, RpcError};
use tachyon_tests::Peer;
use tachyon_tests::contract::{
    self, Grade, OriginRef, Plain, Point, Scan, ScanError, ScanRef, SensorsClient, a_mark, a_scan, add_slowly,
    an_empty_scan, an_origin, boxed, constant, cow_marks, cow_text, everything, fails, fails_in_words, fails_raw,
    fallible, long_text, moved, nothing, one, parses, reached, shared_text, shared_texts, split, zeros,
};

const PATIENCE: Duration = Duration::from_mins(1);

fn socket() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("contract.sock");
    (folder, path)
}

fn peer(role: &str, path: &Path, argument: &str) -> Peer {
    Peer::start(env!("CARGO_BIN_EXE_contract"), role, path, &[argument])
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Calls an endpoint that sends back its argument in both ways.
macro_rules! same {
    ($calls:expr, $endpoint:ident, $value:expr) => {
        same!($calls, $endpoint, $value, $value)
    };
    ($calls:expr, $endpoint:ident, $value:expr, $expected:expr) => {
        assert_eq!(one::$endpoint::call($calls, $value).unwrap(), $expected, stringify!($endpoint));
        let lent = one::$endpoint::call_in_place($calls, $value).unwrap();
        let first = format!("{:?}", lent.get());
        assert_eq!(first, format!("{:?}", lent.get()), "a view is the same however often it is taken");
        assert_eq!(lent.into_owned(), $expected, stringify!($endpoint));
    };
}

/// Small values, and those that fit no slot of 232 bytes.
fn call_every_form(calls: &mut impl Calls) {
    same!(calls, value_u8, u8::MAX);
    same!(calls, value_u16, u16::MAX);
    same!(calls, value_u32, u32::MAX);
    same!(calls, value_u64, u64::MAX);
    same!(calls, value_i8, i8::MIN);
    same!(calls, value_i16, i16::MIN);
    same!(calls, value_i32, i32::MIN);
    same!(calls, value_i64, i64::MIN);
    same!(calls, value_f32, f32::NEG_INFINITY);
    same!(calls, value_f64, f64::MIN_POSITIVE);
    same!(calls, value_bool, true);
    same!(calls, value_bool, false);
    same!(calls, value_enum, Grade::Poor);
    same!(calls, value_enum, &Grade::Good, Grade::Good);
    same!(calls, value_array, [1, 2, 3]);
    same!(calls, value_grid, [[1, 2], [3, -4]]);
    same!(calls, value_marks, [a_mark(), a_mark()]);
    same!(calls, value_point, Point { x: 1.0, y: 2.0 });
    same!(calls, value_mark, &a_mark(), a_mark());
    same!(calls, lent_u64, &7, 7);
    same!(calls, lent_bool, &true, true);
    same!(calls, lent_enum, &Grade::Poor, Grade::Poor);
    same!(calls, lent_array, &[1, 2, 3], [1, 2, 3]);
    same!(calls, lent_point, &Point { x: 1.0, y: 2.0 }, Point { x: 1.0, y: 2.0 });
    same!(calls, lent_mark, &a_mark(), a_mark());
    for len in [0, 1, 7, 8, 100, 232, 233, 300, 5000] {
        let text = "\u{e9}".repeat(len);
        same!(calls, text, &text, text);
        same!(calls, owned_text, &text, text);
        let bytes = tachyon_tests::message(1, len);
        same!(calls, bytes, &bytes, bytes);
        same!(calls, owned_bytes, &bytes, bytes);
        let numbers = vec![0.5; len / 8];
        same!(calls, numbers, &numbers, numbers);
        let bools: Vec<bool> = (0..len).map(|at| at % 3 == 0).collect();
        same!(calls, bools, &bools, bools);
        let enums = vec![Grade::Poor; len / 2];
        same!(calls, enums, &enums, enums);
        let points = vec![Point { x: 0.0, y: 1.0 }; len / 8];
        same!(calls, points, &points, points);
        let marks = vec![a_mark(); len / 16];
        same!(calls, marks, &marks, marks);
        same!(calls, owned_marks, &marks, marks);
        let arrays = vec![[1, 2, 3]; len];
        same!(calls, arrays, &arrays, arrays);
        let names: Vec<String> = (0..len / 8).map(|at| "n".repeat(at % 11)).collect();
        let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
        same!(calls, texts, borrowed.as_slice(), names);
        same!(calls, texts, List::from(names.as_slice()), names);
        same!(calls, owned_texts, &names, names);
        let rows: Vec<Vec<f32>> = (0..len / 8).map(|at| vec![0.25; at % 5]).collect();
        same!(calls, rows, &rows, rows);
        let rows: Vec<Vec<bool>> = (0..len / 8).map(|at| vec![true; at % 5]).collect();
        same!(calls, owned_rows, &rows, rows);
        let rows = vec![vec![names.clone(), vec![]], vec![]];
        same!(calls, deep_rows, &rows, rows);
    }
    for scan in [an_empty_scan(), a_scan(0), a_scan(1), a_scan(500)] {
        same!(calls, scan, &scan, scan);
        same!(calls, scan, ScanRef::from(&scan), scan);
        same!(calls, owned_scan, &scan, scan);
        same!(calls, lent_scan, &scan, scan);
        let scans = vec![scan.clone(), an_empty_scan(), scan.clone()];
        same!(calls, scans, &scans, scans);
        same!(calls, scans, List::from(scans.as_slice()), scans);
        same!(calls, owned_scans, &scans, scans);
        same!(calls, maybe_scan, Some(ScanRef::from(&scan)), Some(scan.clone()));
        same!(calls, maybe_owned_scan, Some((&scan).into()), Some(scan.clone()));
        same!(calls, maybe_scans, Some(scans.as_slice().into()), Some(scans.clone()));
        same!(calls, maybe_owned_scans, Some(scans.as_slice().into()), Some(scans.clone()));
    }
    let origins = vec![an_origin(); 30];
    same!(calls, origins, &origins, origins);
    for value in [None, Some(0), Some(u32::MAX)] {
        same!(calls, maybe_u32, value);
    }
    for value in [None, Some(false), Some(true)] {
        same!(calls, maybe_bool, value);
    }
    same!(calls, maybe_enum, Some(Grade::Poor));
    same!(calls, maybe_enum, None, None);
    same!(calls, maybe_array, Some([1, 2, 3]));
    same!(calls, maybe_mark, Some(a_mark()));
    same!(calls, maybe_mark, None, None);
    for value in [None, Some(""), Some("text"), Some("a text that is longer than any slot ".repeat(9).as_str())] {
        same!(calls, maybe_text, value, value.map(str::to_owned));
        same!(calls, maybe_owned_text, value, value.map(str::to_owned));
    }
    same!(calls, maybe_text, None, None);
    same!(calls, maybe_numbers, Some(&[1.0, 2.0]), Some(vec![1.0, 2.0]));
    same!(calls, maybe_numbers, None, None);
    same!(calls, maybe_marks, Some(&[a_mark()]), Some(vec![a_mark()]));
    same!(calls, maybe_owned_marks, Some(&[a_mark()]), Some(vec![a_mark()]));
    same!(calls, maybe_texts, Some(["a", ""].as_slice().into()), Some(texts(&["a", ""])));
    same!(calls, maybe_scan, None, None);
    same!(calls, maybe_owned_scans, None, None);
}

#[test]
fn every_form_goes_there_and_back() {
    // Rings that hold many messages, and rings that hold few.
    for size in ["1048576", "65536"] {
        let (_folder, path) = socket();
        let callee = peer("one", &path, size);
        let mut caller = Caller::connect(&path).unwrap();
        call_every_form(&mut caller);
        call_every_form(&mut caller.within(PATIENCE));
        assert_eq!(caller.outstanding(), 0);
        drop(caller);
        assert_eq!(callee.finish(), "");
    }
}

#[test]
fn a_server_with_workers_and_a_pool_do_the_same() {
    let (_folder, path) = socket();
    let _server = peer("one_server", &path, "3");
    let pool = Pool::new(&path, &Options::new().timeout(PATIENCE), &PoolOptions::new().max(3));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut caller = pool.get().unwrap();
                call_every_form(&mut caller);
                call_every_form(&mut caller.within(PATIENCE));
            });
        }
    });
}

/// As `everything` shows it.
fn shown(maybe: Option<&str>, other: Option<&Scan>) -> String {
    let (scan, empty) = (a_scan(3), an_empty_scan());
    format!(
        "200 {} true {:?} text owned {:?} {:?} {:?} {:?} {:?} {empty:?} {scan:?} {:?} {maybe:?} {:?} {:?} {:?} {:?} \
         everything 101",
        u64::MAX,
        Grade::Poor,
        [a_mark(), a_mark()],
        [0.5, 0.25],
        ["one", ""],
        [vec![1u8], vec![]],
        ScanRef::from(&scan),
        [empty.clone(), scan.clone()],
        other.map(ScanRef::from),
        Point { x: 1.0, y: 2.0 },
        a_mark(),
        [1, 2, 3],
    )
}

fn everything_of(calls: &mut impl Calls, maybe: Option<&str>, other: Option<&Scan>) -> String {
    let (scan, empty) = (a_scan(3), an_empty_scan());
    everything::call(
        calls,
        200,
        &u64::MAX,
        true,
        Grade::Poor,
        "text",
        "owned",
        &[a_mark(), a_mark()],
        &[0.5, 0.25],
        &["one", ""],
        &[vec![1], vec![]],
        &scan,
        &empty,
        &scan,
        &[empty.clone(), scan.clone()],
        maybe,
        other.map(ScanRef::from),
        Point { x: 1.0, y: 2.0 },
        &a_mark(),
        [1, 2, 3],
    )
    .unwrap()
}

fn call_several_arguments(calls: &mut impl Calls) {
    let scan = a_scan(3);
    for maybe in [None, Some(""), Some("maybe")] {
        assert_eq!(everything_of(calls, maybe, None), shown(maybe, None));
        assert_eq!(everything_of(calls, maybe, Some(&scan)), shown(maybe, Some(&scan)));
    }
    nothing::call(calls).unwrap();
    for points in [0, 3, 1000] {
        let scan = a_scan(points);
        let by = |tag: &str| Scan {
            points: scan.points.iter().map(|point| Point { x: point.x + 0.5, y: point.y + 0.5 }).collect(),
            tags: texts(&[tag]),
            ..scan.clone()
        };
        assert_eq!(moved::call(calls, &scan, 0.5, Some("tag")).unwrap(), by("tag"));
        let lent = moved::call_in_place(calls, ScanRef::from(&scan), 0.5, None).unwrap();
        let view = lent.get();
        assert_eq!((view.tags.get(0), view.points.len(), view.frame), (Some("moved"), points.into(), "gr\u{fc}n"));
        let origins: Vec<OriginRef<'_>> = view.sources.iter().collect();
        assert_eq!((origins.len(), origins[0].sensor, origins[1].more), (2, "north", None));
        assert_eq!(view, ScanRef::from(&by("moved")));
        assert_eq!(lent.into_owned(), by("moved"));
    }
    let code = contract::char_code::Code { number: b',' };
    assert_eq!(split::call(calls, "a,,bc", code).unwrap(), ["a", "", "bc"]);
    assert!(matches!(split::call(calls, "", &code), Err(CallError::Failed(ScanError::Busy))));
}

fn call_every_reply(calls: &mut impl Calls) {
    assert_eq!(shared_text::call(calls, true).unwrap(), "TEXT");
    assert_eq!(cow_text::call(calls, "text").unwrap(), "text");
    assert_eq!(cow_text::call(calls, "gr\u{fc}n").unwrap(), "gr?n");
    assert_eq!(cow_marks::call(calls, &[a_mark(); 9]).unwrap(), [a_mark(); 2]);
    assert_eq!(boxed::call(calls, &[Point { x: 0.0, y: 0.0 }]).unwrap(), [Point { x: 0.0, y: 0.0 }]);
    assert_eq!(shared_texts::call(calls, &["a", ""]).unwrap(), ["a", ""]);
    assert_eq!(constant::call(calls).unwrap(), [1, 2, 3]);
    assert_eq!(fallible::call(calls, &a_scan(1), true).unwrap(), Some(a_scan(1)));
    assert_eq!(fallible::call(calls, &a_scan(1), false).unwrap(), None);
    assert!(matches!(fallible::call(calls, &an_empty_scan(), true), Err(CallError::Failed(ScanError::Busy))));
}

#[test]
fn several_arguments_travel_with_state_context_and_a_slot() {
    let (_folder, path) = socket();
    let callee = peer("many", &path, "65536");
    let mut caller = Caller::connect(&path).unwrap();
    call_several_arguments(&mut caller);
    call_several_arguments(&mut caller.within(PATIENCE));
    call_every_reply(&mut caller);
    assert_eq!(reached::call(&mut caller).unwrap(), 26);
    drop(caller);
    assert_eq!(callee.finish(), "");

    let _server = peer("many_server", &path, "2");
    let pool = Pool::new(&path, &Options::new().timeout(PATIENCE), &PoolOptions::new().max(2));
    let (mut first, mut second) = (pool.get().unwrap(), pool.get().unwrap());
    call_several_arguments(&mut first);
    call_several_arguments(&mut second.within(PATIENCE));
    call_every_reply(&mut second);
    assert_eq!(reached::call(&mut first).unwrap(), 26);
}

#[test]
fn a_service_takes_several_arguments() {
    let (_folder, path) = socket();
    let callee = peer("sensor", &path, "65536");
    let mut caller = Caller::connect(&path).unwrap();
    let mut client = SensorsClient::new(&mut caller).within(PATIENCE);
    let scan = a_scan(300);
    let filtered = client.filter(&scan, 2.0, &[1, 2], None).unwrap();
    assert_eq!(filtered, Scan { points: scan.points[..2].to_vec(), ..scan.clone() });
    assert_eq!(client.filter(ScanRef::from(&scan), 0.0, &[], Some(9)).unwrap().taken_at, 9);
    let failed = client.filter(&scan, 2.0, &[1, 101], None);
    assert!(matches!(failed, Err(CallError::Failed(ScanError::NoSensor { sensor: 101 }))), "{failed:?}");
    assert_eq!(client.rename("", "first").unwrap().as_deref(), Some("first"));
    assert_eq!(client.rename("", "second").unwrap(), None);
    assert_eq!(client.name().unwrap(), "first");
    assert_eq!(client.doubled(&scan).unwrap(), [scan.clone(), scan]);
    client.reset().unwrap();
    assert_eq!(client.name().unwrap(), "");
    drop(caller);
    assert_eq!(callee.finish(), "");
}

#[test]
fn calls_are_finished_in_any_order() {
    let (_folder, path) = socket();
    let _server = peer("many_server", &path, "1");
    let mut caller = Caller::connect(&path).unwrap();
    let scan = a_scan(200);
    let sums: Vec<_> = (0..8).map(|at| add_slowly::start(&mut caller, at, 1, 0).unwrap()).collect();
    let scans = [0.5, 1.5].map(|by| moved::start(&mut caller, &scan, by, None).unwrap());
    let failing = fails::start(&mut caller, 1, "").unwrap();
    let last = split::start(&mut caller, "a b", contract::char_code::Code { number: b' ' }).unwrap();
    assert_eq!(caller.outstanding(), 12);
    let numbers: Vec<u64> = sums.iter().map(tachyon::Started::correlation_id).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert_eq!(last.finish(&mut caller).unwrap(), ["a", "b"]);
    for (at, sum) in sums.into_iter().enumerate().rev() {
        if at == 3 {
            // A call between them.
            assert_eq!(zeros::call(&mut caller, 300).unwrap(), [0; 300]);
        }
        assert_eq!(sum.finish(&mut caller).unwrap(), at as u64 + 1);
    }
    assert!(matches!(failing.finish(&mut caller), Err(CallError::Failed(ScanError::NoSensor { sensor: 3 }))));
    let [first, second] = scans;
    let lent = second.finish_in_place(&mut caller).unwrap();
    assert_eq!((lent.get().points[0].x.to_bits(), lent.get().points.len()), (1.5f32.to_bits(), 200));
    drop(lent);
    assert_eq!(first.finish(&mut caller).unwrap().points.len(), 200);
    assert_eq!(caller.outstanding(), 0);
    // One that is given up is not outstanding any more.
    let given_up = add_slowly::start(&mut caller, 1, 1, 0).unwrap();
    assert!(caller.forget(given_up.correlation_id()));
    assert!(matches!(given_up.finish(&mut caller), Err(CallError::UnknownCorrelation(_))));
}

#[test]
fn a_deadline_that_passes_leaves_the_connection_usable() {
    let (_folder, path) = socket();
    let _server = peer("many_server", &path, "1");
    let mut caller = Caller::connect(&path).unwrap();
    assert_eq!(add_slowly::call(&mut caller.within(PATIENCE), 1, 2, 0).unwrap(), 3);
    let late = add_slowly::call(&mut caller.within(Duration::from_millis(20)), 1, 2, 500);
    assert!(matches!(late, Err(CallError::TimedOut)), "{late:?}");
    let late = add_slowly::start(&mut caller.within(Duration::from_millis(20)), 1, 2, 0).unwrap().finish(&mut caller);
    // The first call is still under way.
    assert!(matches!(late, Err(CallError::TimedOut)), "{late:?}");
    assert_eq!(add_slowly::call(&mut caller, 1, 2, 0).unwrap(), 3);
    assert_eq!(caller.outstanding(), 0);
}

#[test]
fn what_fits_no_ring_is_refused_on_both_ways() {
    let (_folder, path) = socket();
    let callee = peer("many", &path, "4096");
    let mut caller = Caller::connect(&path).unwrap();
    let ends = "e".repeat(5000);
    for _ in 0..3 {
        match long_text::call(&mut caller, 1, &ends) {
            Err(CallError::TooLarge { size: 5016, max: 4096 }) => {}
            other => panic!("{other:?}"),
        }
        let error = remote(split::call(&mut caller, &",".repeat(1000), contract::char_code::Code { number: b',' }));
        assert_eq!(error.kind, ErrorKind::ReplyTooLarge, "{error}");
        assert!(error.text.contains("can never fit the reverse ring of 4096"), "{error}");
        let error = remote(long_text::call(&mut caller, 5000, ""));
        assert_eq!(error.kind, ErrorKind::ReplyTooLarge, "{error}");
        let error = remote(zeros::call(&mut caller, 5000));
        assert_eq!(error.kind, ErrorKind::ReplyTooLarge, "{error}");
        assert_eq!(long_text::call(&mut caller, 3000, "end").unwrap().len(), 3003);
    }
    assert_eq!(reached::call(&mut caller).unwrap(), 6);
    drop(caller);
    callee.finish();
}

#[test]
fn callers_that_connect_again_call_every_form() {
    let (_folder, path) = socket();
    let mut server = peer("many_server", &path, "2");
    let mut caller = Caller::connect_with(&path, &Options::new().reconnect(true).timeout(PATIENCE)).unwrap();
    for _ in 0..3 {
        loop {
            match split::call(&mut caller, "a,b", contract::char_code::Code { number: b',' }) {
                // Sent before the end was noticed.
                Err(CallError::Closed | CallError::PeerDead) => {}
                outcome => break assert_eq!(outcome.unwrap(), ["a", "b"]),
            }
        }
        call_several_arguments(&mut caller);
        server.kill();
        server = peer("many_server", &path, "2");
    }
}

fn remote<T: Debug, E: Debug + std::error::Error>(outcome: Result<T, CallError<E>>) -> RpcError {
    match outcome {
        Err(CallError::Remote(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn failed<T: Debug>(outcome: Result<T, CallError<ScanError>>) -> ScanError {
    match outcome {
        Err(CallError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn odd(why: &str) -> ScanError {
    ScanError::Odd { why: why.to_owned(), origin: None, marks: vec![] }
}

#[test]
fn declared_errors_arrive_typed_and_are_no_failures() {
    let (_folder, path) = socket();
    let callee = peer("many", &path, "65536");
    let mut caller = Caller::connect(&path).unwrap();
    let long = "why ".repeat(400);
    assert_eq!(failed(fails::call(&mut caller, 0, "")), ScanError::Busy);
    assert_eq!(failed(fails::call(&mut caller.within(PATIENCE), 1, "")), ScanError::NoSensor { sensor: 3 });
    assert_eq!(failed(fails::call(&mut caller, 2, "because")), odd("because"));
    // The fields are whole although the text is cut.
    assert_eq!(failed(fails::call(&mut caller, 2, &long)), odd(&long));
    let with_more = ScanError::Odd { why: String::new(), origin: Some(an_origin()), marks: vec![a_mark()] };
    assert_eq!(failed(fails::call(&mut caller, 3, "")), with_more);
    assert_eq!(failed(fails::call_in_place(&mut caller, 1, "")), ScanError::NoSensor { sensor: 3 });
    // A request that is none is no failure either.
    assert_eq!(remote(caller.request(110, &[1]).map(drop)).kind, ErrorKind::BadRequest);
    // Fields that are too many stay behind, and name and text arrive.
    let error = remote(fails::call(&mut caller, 4, "because"));
    assert_eq!((error.kind, error.name.as_str(), error.text.as_str()), (ErrorKind::HandlerFailed, "Odd", "because"));
    let error = remote(fails::call(&mut caller, 4, &long));
    assert!(error.text.ends_with('\u{2026}') && error.text.starts_with("why why"), "{error}");
    assert!(error.text.len() <= 1024 && error.text.len() > 1018, "{}", error.text.len());
    assert_eq!(error.name, "Odd");
    drop(caller);
    assert_eq!(callee.finish(), "", "no failure is reported");
}

#[test]
fn texts_of_errors_arrive_and_are_reported() {
    let (_folder, path) = socket();
    let mut callee = peer("many", &path, "65536");
    let mut caller = Caller::connect(&path).unwrap();
    assert_eq!(fails_in_words::call(&mut caller, "word", 0).unwrap(), 0);
    let error = remote(fails_in_words::call(&mut caller, "word", 2));
    assert_eq!((error.kind, error.name.as_str(), error.text.as_str()), (ErrorKind::HandlerFailed, "", "wordword"));
    assert_eq!(callee.line(), "failure: endpoint `fails_in_words` (msg_type 111) failed: wordword");
    let error = remote(fails_in_words::call(&mut caller, "\u{e9}", 2000));
    assert_eq!(error.text, format!("{}\u{2026}", "\u{e9}".repeat(510)));
    assert!(callee.line().ends_with(&"\u{e9}".repeat(2000)), "the callee's own report is whole");
    let error = remote(fails_raw::call(&mut caller, b"raw"));
    assert_eq!((error.kind, error.text.as_str()), (ErrorKind::HandlerFailed, ""), "raw endpoints give no words");
    assert_eq!(callee.line(), "failure: endpoint `fails_raw` (msg_type 112) failed: raw");
    assert_eq!(parses::call(&mut caller, "7f", 16).unwrap(), 0x7f);
    let error = remote(parses::call(&mut caller, "x", 10));
    assert_eq!((error.kind, error.text.as_str()), (ErrorKind::HandlerFailed, "invalid digit found in string"));
    assert!(callee.line().contains("invalid digit"));
    let error = remote(fails::call(&mut caller, 9, "thrown"));
    assert_eq!((error.kind, error.text.as_str()), (ErrorKind::HandlerFailed, "panicked: thrown"));
    assert_eq!(callee.line(), "failure: endpoint `fails` (msg_type 110) failed: panicked: thrown");
    assert_eq!(remote(caller.request(404, &[]).map(drop)).text, "", "no endpoint gives no words");
    drop(caller);
    callee.finish();
}

#[test]
fn hidden_texts_leave_names_and_fields() {
    let (_folder, path) = socket();
    let callee = peer("hidden", &path, "65536");
    let mut caller = Caller::connect(&path).unwrap();
    assert_eq!(failed(fails::call(&mut caller, 1, "")), ScanError::NoSensor { sensor: 3 });
    assert_eq!(failed(fails::call(&mut caller, 2, "because")), odd("because"));
    let error = remote(fails::call(&mut caller, 4, "because"));
    assert_eq!((error.name.as_str(), error.text.as_str()), ("Odd", ""));
    for error in [
        remote(fails_in_words::call(&mut caller, "word", 2)),
        remote(fails::call(&mut caller, 9, "thrown")),
        remote(long_text::call(&mut caller, 1 << 20, "")),
        remote(caller.request(110, &[1]).map(drop)),
    ] {
        assert_eq!((error.name.as_str(), error.text.as_str()), ("", ""), "{error}");
    }
    assert_eq!(Plain("text".to_owned()).to_string(), "text");
    drop(caller);
    callee.finish();
}
