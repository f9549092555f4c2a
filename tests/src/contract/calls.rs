//! Calls of every endpoint of the contract, with the expected replies. Rust or Python serves the contract.

#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test fails by panicking, and values are exact")]
#![allow(clippy::missing_panics_doc, reason = "a test fails by panicking")]
#![allow(clippy::needless_borrows_for_generic_args, reason = "every form")]

use std::fmt::Debug;
use std::time::Duration;

use tachyon::rpc::HasCaller;
use tachyon::{CallError, Caller, ErrorKind, List, RpcError};

use super::{
    Everything, Frame, Grade, OriginRef, Point, Scan, ScanError, ScanRef, SensorsClient, a_frame, a_mark, a_scan,
    a_small, add_slowly, an_empty_scan, an_origin, boxed, char_code, constant, counted, cow_marks, cow_text,
    everything, fails, fails_in_words, fails_raw, fallible, gives_small, long_text, moved, nothing, one, parses,
    reached, shared_text, shared_texts, split, takes_flags, takes_grade, takes_maybe, takes_one, takes_several,
    takes_tensor, takes_text, takes_texts, transposed, zeros,
};

pub(super) fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Calls an endpoint that sends its argument back, for an owned reply and for a view.
macro_rules! same {
    ($calls:expr, $endpoint:ident, $value:expr) => {
        same!($calls, $endpoint, $value, $value)
    };
    ($calls:expr, $endpoint:ident, $value:expr, $expected:expr) => {
        assert_eq!(one::$endpoint::call($calls, $value).unwrap(), $expected, stringify!($endpoint));
        let reply = one::$endpoint::call_in_place($calls, $value).unwrap();
        let first = format!("{:?}", reply.get());
        assert_eq!(first, format!("{:?}", reply.get()), "each view of a reply is the same");
        assert_eq!(reply.into_owned(), $expected, stringify!($endpoint));
    };
}

/// Passes endpoints and values of every form to `$same`: values that fit a slot of 232 bytes, and larger values.
macro_rules! every_form {
    ($same:ident, $calls:expr) => {
        $same!($calls, value_u8, u8::MAX);
        $same!($calls, value_u16, u16::MAX);
        $same!($calls, value_u32, u32::MAX);
        $same!($calls, value_u64, u64::MAX);
        $same!($calls, value_i8, i8::MIN);
        $same!($calls, value_i16, i16::MIN);
        $same!($calls, value_i32, i32::MIN);
        $same!($calls, value_i64, i64::MIN);
        $same!($calls, value_f32, f32::NEG_INFINITY);
        $same!($calls, value_f64, f64::MIN_POSITIVE);
        $same!($calls, value_bool, true);
        $same!($calls, value_bool, false);
        $same!($calls, value_enum, Grade::Poor);
        $same!($calls, value_enum, &Grade::Good, Grade::Good);
        $same!($calls, value_array, [1, 2, 3]);
        $same!($calls, value_grid, [[1, 2], [3, -4]]);
        $same!($calls, value_marks, [a_mark(), a_mark()]);
        $same!($calls, value_point, Point { x: 1.0, y: 2.0 });
        $same!($calls, value_mark, &a_mark(), a_mark());
        $same!($calls, lent_u64, &7, 7);
        $same!($calls, lent_bool, &true, true);
        $same!($calls, lent_enum, &Grade::Poor, Grade::Poor);
        $same!($calls, lent_array, &[1, 2, 3], [1, 2, 3]);
        $same!($calls, lent_point, &Point { x: 1.0, y: 2.0 }, Point { x: 1.0, y: 2.0 });
        $same!($calls, lent_mark, &a_mark(), a_mark());
        for len in [0, 1, 7, 8, 100, 232, 233, 300, 5000] {
            let text = "\u{e9}".repeat(len);
            $same!($calls, text, &text, text);
            $same!($calls, owned_text, &text, text);
            let bytes = crate::message::message(1, len);
            $same!($calls, bytes, &bytes, bytes);
            $same!($calls, owned_bytes, &bytes, bytes);
            let numbers = vec![0.5; len / 8];
            $same!($calls, numbers, &numbers, numbers);
            let bools: Vec<bool> = (0..len).map(|at| at % 3 == 0).collect();
            $same!($calls, bools, &bools, bools);
            let enums = vec![Grade::Poor; len / 2];
            $same!($calls, enums, &enums, enums);
            let points = vec![Point { x: 0.0, y: 1.0 }; len / 8];
            $same!($calls, points, &points, points);
            let marks = vec![a_mark(); len / 16];
            $same!($calls, marks, &marks, marks);
            $same!($calls, owned_marks, &marks, marks);
            let arrays = vec![[1, 2, 3]; len];
            $same!($calls, arrays, &arrays, arrays);
            let names: Vec<String> = (0..len / 8).map(|at| "n".repeat(at % 11)).collect();
            let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
            $same!($calls, texts, borrowed.as_slice(), names);
            $same!($calls, texts, List::from(names.as_slice()), names);
            $same!($calls, owned_texts, &names, names);
            let rows: Vec<Vec<f32>> = (0..len / 8).map(|at| vec![0.25; at % 5]).collect();
            $same!($calls, rows, &rows, rows);
            let rows: Vec<Vec<bool>> = (0..len / 8).map(|at| vec![true; at % 5]).collect();
            $same!($calls, owned_rows, &rows, rows);
            let rows = vec![vec![names.clone(), vec![]], vec![]];
            $same!($calls, deep_rows, &rows, rows);
        }
        for scan in [an_empty_scan(), a_scan(0), a_scan(1), a_scan(500)] {
            $same!($calls, scan, &scan, scan);
            $same!($calls, scan, ScanRef::from(&scan), scan);
            $same!($calls, owned_scan, &scan, scan);
            $same!($calls, lent_scan, &scan, scan);
            let scans = vec![scan.clone(), an_empty_scan(), scan.clone()];
            $same!($calls, scans, &scans, scans);
            $same!($calls, scans, List::from(scans.as_slice()), scans);
            $same!($calls, owned_scans, &scans, scans);
            $same!($calls, maybe_scan, Some(ScanRef::from(&scan)), Some(scan.clone()));
            $same!($calls, maybe_owned_scan, Some((&scan).into()), Some(scan.clone()));
            $same!($calls, maybe_scans, Some(scans.as_slice().into()), Some(scans.clone()));
            $same!($calls, maybe_owned_scans, Some(scans.as_slice().into()), Some(scans.clone()));
        }
        for (height, width) in [(0, 0), (2, 0), (1, 1), (2, 3), (40, 50)] {
            let image = counted([height, width], f32::from);
            $same!($calls, tensor, &image, image);
            $same!($calls, tensor, image.view(), image);
            let bytes = counted([width, 1, height], |at| at.to_le_bytes()[0]);
            $same!($calls, owned_tensor, &bytes, bytes);
            let tensors = vec![counted([height], |at| -i16::from(at.to_le_bytes()[0])); width.min(9)];
            $same!($calls, tensors, &tensors, tensors);
            let four = counted([1, height, 1, width], f64::from);
            $same!($calls, maybe_tensor, Some(four.view()), Some(four.clone()));
            let frame = a_frame(height, width);
            $same!($calls, frame, &frame, frame);
            let without_depth = Frame { depth: None, ..frame };
            $same!($calls, frame, &without_depth, without_depth);
        }
        $same!($calls, maybe_tensor, None, None);
        let origins = vec![an_origin(); 30];
        $same!($calls, origins, &origins, origins);
        for value in [None, Some(0), Some(u32::MAX)] {
            $same!($calls, maybe_u32, value);
        }
        for value in [None, Some(false), Some(true)] {
            $same!($calls, maybe_bool, value);
        }
        $same!($calls, maybe_enum, Some(Grade::Poor));
        $same!($calls, maybe_enum, None, None);
        $same!($calls, maybe_array, Some([1, 2, 3]));
        $same!($calls, maybe_mark, Some(a_mark()));
        $same!($calls, maybe_mark, None, None);
        for value in [None, Some(""), Some("text"), Some("a text that is longer than any slot ".repeat(9).as_str())] {
            $same!($calls, maybe_text, value, value.map(str::to_owned));
            $same!($calls, maybe_owned_text, value, value.map(str::to_owned));
        }
        $same!($calls, maybe_text, None, None);
        $same!($calls, maybe_numbers, Some(&[1.0, 2.0]), Some(vec![1.0, 2.0]));
        $same!($calls, maybe_numbers, None, None);
        $same!($calls, maybe_marks, Some(&[a_mark()]), Some(vec![a_mark()]));
        $same!($calls, maybe_owned_marks, Some(&[a_mark()]), Some(vec![a_mark()]));
        $same!($calls, maybe_texts, Some(["a", ""].as_slice().into()), Some(texts(&["a", ""])));
        $same!($calls, maybe_scan, None, None);
        $same!($calls, maybe_owned_scans, None, None);
    };
}
pub(super) use every_form;

/// Values of every form.
pub fn call_every_form(calls: &mut impl HasCaller) {
    every_form!(same, calls);
}

/// Calls `everything`, whose reply is its arguments.
fn call_everything(calls: &mut impl HasCaller, maybe: Option<&str>, other: Option<&Scan>) {
    let (scan, empty) = (a_scan(3), an_empty_scan());
    let expected = Everything {
        byte: 200,
        number: u64::MAX,
        flag: true,
        grade: Grade::Poor,
        text: "text".to_owned(),
        owned: "owned".to_owned(),
        marks: vec![a_mark(), a_mark()],
        numbers: vec![0.5, 0.25],
        texts: texts(&["one", ""]),
        rows: vec![vec![1], vec![]],
        scan: scan.clone(),
        second: empty.clone(),
        third: scan.clone(),
        scans: vec![empty.clone(), scan.clone()],
        maybe: maybe.map(str::to_owned),
        other: other.cloned(),
        point: Point { x: 1.0, y: 2.0 },
        mark: a_mark(),
        array: [1, 2, 3],
        name: "everything".to_owned(),
        msg_type: 101,
    };
    let found = everything::call(
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
    );
    assert_eq!(found.unwrap(), expected);
}

/// Endpoints of several arguments and of none. 13 calls reach a handler with state.
pub fn call_several_arguments(calls: &mut impl HasCaller) {
    let scan = a_scan(3);
    for maybe in [None, Some(""), Some("maybe")] {
        call_everything(calls, maybe, None);
        call_everything(calls, maybe, Some(&scan));
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
        let reply = moved::call_in_place(calls, ScanRef::from(&scan), 0.5, None).unwrap();
        let view = reply.get();
        assert_eq!((view.tags.get(0), view.points.len(), view.frame), (Some("moved"), points.into(), "gr\u{fc}n"));
        let origins: Vec<OriginRef<'_>> = view.sources.iter().collect();
        assert_eq!((origins.len(), origins[0].sensor, origins[1].more), (2, "north", None));
        assert_eq!(view, ScanRef::from(&by("moved")));
        assert_eq!(reply.into_owned(), by("moved"));
    }
    let code = char_code::Code { number: b',' };
    assert_eq!(split::call(calls, "a,,bc", code).unwrap(), ["a", "", "bc"]);
    assert!(matches!(split::call(calls, "", &code), Err(CallError::Failed(ScanError::Busy))));
}

/// Endpoints that take tensors. 4 calls reach a handler with state.
pub fn call_with_tensors(calls: &mut impl HasCaller) {
    for (height, width) in [(2, 3), (0, 4), (30, 70)] {
        let image = counted([height, width], f32::from);
        let reply = transposed::call_in_place(calls, &image, 2.0).unwrap();
        let turned = reply.get();
        assert_eq!(turned.shape(), [width, height]);
        for row in 0..height {
            for column in 0..width {
                assert_eq!(turned[[column, row]], 2.0 * image[[row, column]]);
            }
        }
    }
    assert!(takes_tensor::call(calls, &counted([2, 2], |at| at)).unwrap() >= 6 + 4);
}

/// Endpoints that take one form each. 9 calls reach a handler with state.
pub fn call_every_taker(calls: &mut impl HasCaller) {
    let before = reached::call(calls).unwrap();
    let small = a_small();
    assert_eq!(takes_one::call(calls, &small).unwrap(), before + 1 + 3);
    let rows = [vec![true], vec![]];
    let several =
        takes_several::call(calls, true, Grade::Good, "text", &[a_mark()], rows.as_slice(), &small, Some("maybe"));
    assert_eq!(several.unwrap(), before + 2);
    assert_eq!(takes_texts::call(calls, &["a", "", "gr\u{fc}n"]).unwrap(), before + 3 + 6);
    assert_eq!(takes_flags::call(calls, &[true, false]).unwrap(), before + 4 + 2);
    assert_eq!(takes_grade::call(calls, &Grade::Poor).unwrap(), before + 5 + 700);
    assert_eq!(takes_text::call(calls, "gr\u{fc}n").unwrap(), before + 6 + 5);
    assert_eq!(takes_maybe::call(calls, Some(9)).unwrap(), before + 7 + 9);
    assert_eq!(takes_maybe::call(calls, None).unwrap(), before + 8);
    assert_eq!(reached::call(calls).unwrap(), before + 8);
    assert_eq!(long_text::call(calls, 35_000, "end").unwrap().len(), 35_003);
    assert_eq!(gives_small::call(calls).unwrap(), small);
}

/// Replies that are shared, borrowed, boxed, static, and absent.
pub fn call_every_reply(calls: &mut impl HasCaller) {
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

pub(super) fn remote<T: Debug, E: Debug + std::error::Error>(outcome: Result<T, CallError<E>>) -> RpcError {
    match outcome {
        Err(CallError::Remote(error)) => error,
        other => panic!("{other:?}"),
    }
}

pub(super) fn failed<T: Debug>(outcome: Result<T, CallError<ScanError>>) -> ScanError {
    match outcome {
        Err(CallError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// One call for each outcome: a reply, a declared error, an error with a text, a panic, and no endpoint.
pub fn call_every_outcome(caller: &mut Caller) {
    nothing::call(caller).unwrap();
    takes_one::call(caller, &a_small()).unwrap();
    assert_eq!(failed(fails::call(caller, 0, "")), ScanError::Busy);
    remote(fails_in_words::call(caller, "word", 2));
    remote(fails::call(caller, 9, "thrown"));
    remote(caller.call(404, &[]).map(drop));
}

/// The service `Sensors`, whose state lasts between calls.
pub fn call_service(caller: &mut Caller) {
    let mut client = SensorsClient::new(caller).within(PATIENCE);
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
}

/// Calls in flight at the same time, to a peer that answers one after the other.
pub fn finish_in_any_order(caller: &mut Caller) {
    let scan = a_scan(200);
    let sums: Vec<_> = (0..8).map(|at| add_slowly::start(caller, at, 1, 0).unwrap()).collect();
    let scans = [0.5, 1.5].map(|by| moved::start(caller, &scan, by, None).unwrap());
    let failing = fails::start(caller, 1, "").unwrap();
    let last = split::start(caller, "a b", char_code::Code { number: b' ' }).unwrap();
    assert_eq!(caller.outstanding(), 12);
    let numbers: Vec<u64> = sums.iter().map(tachyon::rpc::Started::correlation_id).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert_eq!(last.finish(caller).unwrap(), ["a", "b"]);
    for (at, sum) in sums.into_iter().enumerate().rev() {
        if at == 3 {
            // A call while others are in flight.
            assert_eq!(zeros::call(caller, 300).unwrap(), [0; 300]);
        }
        assert_eq!(sum.finish(caller).unwrap(), at as u64 + 1);
    }
    assert!(matches!(failing.finish(caller), Err(CallError::Failed(ScanError::NoSensor { sensor: 3 }))));
    let [first, second] = scans;
    let reply = second.finish_in_place(caller).unwrap();
    assert_eq!((reply.get().points[0].x.to_bits(), reply.get().points.len()), (1.5f32.to_bits(), 200));
    drop(reply);
    assert_eq!(first.finish(caller).unwrap().points.len(), 200);
    assert_eq!(caller.outstanding(), 0);
    // A forgotten call is no longer outstanding.
    let given_up = add_slowly::start(caller, 1, 1, 0).unwrap();
    assert!(caller.forget(given_up.correlation_id()));
    assert!(matches!(given_up.finish(caller), Err(CallError::UnknownCorrelation(_))));
}

/// Requests and replies that can never fit rings of 4096 bytes. 6 calls reach a handler with state.
pub fn exceed_rings(caller: &mut Caller) {
    let ends = "e".repeat(5000);
    for _ in 0..3 {
        match long_text::call(caller, 1, &ends) {
            Err(CallError::TooLarge { size: 5016, max: 4096 }) => {}
            other => panic!("{other:?}"),
        }
        let error = remote(split::call(caller, &",".repeat(1000), char_code::Code { number: b',' }));
        assert_eq!(error.kind, ErrorKind::ReplyTooLarge, "{error}");
        assert!(error.text.contains("can never fit the reverse ring of 4096"), "{error}");
        let error = remote(long_text::call(caller, 5000, ""));
        assert_eq!(error.kind, ErrorKind::ReplyTooLarge, "{error}");
        let error = remote(zeros::call(caller, 5000));
        assert_eq!(error.kind, ErrorKind::ReplyTooLarge, "{error}");
        assert_eq!(long_text::call(caller, 3000, "end").unwrap().len(), 3003);
    }
    assert_eq!(reached::call(caller).unwrap(), 6);
}

pub(super) fn odd(why: &str) -> ScanError {
    ScanError::Odd { why: why.to_owned(), origin: None, marks: vec![] }
}

/// Declared errors arrive typed.
pub fn fail_as_declared(caller: &mut Caller) {
    let long = "why ".repeat(400);
    assert_eq!(failed(fails::call(caller, 0, "")), ScanError::Busy);
    assert_eq!(failed(fails::call(&mut caller.within(PATIENCE), 1, "")), ScanError::NoSensor { sensor: 3 });
    assert_eq!(failed(fails::call(caller, 2, "because")), odd("because"));
    // The fields are complete although the text is cut.
    assert_eq!(failed(fails::call(caller, 2, &long)), odd(&long));
    let with_more = ScanError::Odd { why: String::new(), origin: Some(an_origin()), marks: vec![a_mark()] };
    assert_eq!(failed(fails::call(caller, 3, "")), with_more);
    assert_eq!(failed(fails::call_in_place(caller, 1, "")), ScanError::NoSensor { sensor: 3 });
    // A malformed request is no failure of the handler.
    assert_eq!(remote(caller.call(110, &[1]).map(drop)).kind, ErrorKind::BadRequest);
    // Fields that do not fit an error reply are dropped. The name and the text arrive.
    let error = remote(fails::call(caller, 4, "because"));
    assert_eq!((error.kind, error.name.as_str(), error.text.as_str()), (ErrorKind::HandlerFailed, "Odd", "because"));
    let error = remote(fails::call(caller, 4, &long));
    assert!(error.text.ends_with('\u{2026}') && error.text.starts_with("why why"), "{error}");
    assert!(error.text.len() <= 1024 && error.text.len() > 1018, "{}", error.text.len());
    assert_eq!(error.name, "Odd");
}

/// Undeclared errors. `failed` precedes the text of an error, and `panicked` the text of a panic or exception.
pub fn fail_in_words(caller: &mut Caller, failed: &str, panicked: &str) {
    let failing = |outcome| {
        let error: RpcError = outcome;
        assert_eq!((error.kind, error.name.as_str()), (ErrorKind::HandlerFailed, ""));
        error.text
    };
    assert_eq!(fails_in_words::call(caller, "word", 0).unwrap(), 0);
    assert_eq!(failing(remote(fails_in_words::call(caller, "word", 2))), format!("{failed}wordword"));
    let text = failing(remote(fails_in_words::call(caller, "\u{e9}", 2000)));
    assert_eq!(text, format!("{failed}{}\u{2026}", "\u{e9}".repeat((1021 - failed.len()) / 2)));
    assert_eq!(failing(remote(fails_raw::call(caller, b"raw"))), "", "raw endpoints send no text");
    assert_eq!(parses::call(caller, "7f", 16).unwrap(), 0x7f);
    assert_eq!(failing(remote(parses::call(caller, "x", 10))), format!("{failed}invalid digit found in string"));
    assert_eq!(failing(remote(fails::call(caller, 9, "thrown"))), format!("{panicked}thrown"));
    let error = remote(caller.call(404, &[]).map(drop));
    assert_eq!((error.kind, error.text.as_str()), (ErrorKind::NoHandler, ""), "a missing endpoint sends no text");
}

/// Errors of a peer that hides their texts. Names and fields arrive.
pub fn fail_without_texts(caller: &mut Caller) {
    assert_eq!(failed(fails::call(caller, 1, "")), ScanError::NoSensor { sensor: 3 });
    assert_eq!(failed(fails::call(caller, 2, "because")), odd("because"));
    let error = remote(fails::call(caller, 4, "because"));
    assert_eq!((error.name.as_str(), error.text.as_str()), ("Odd", ""));
    for error in [
        remote(fails_in_words::call(caller, "word", 2)),
        remote(fails::call(caller, 9, "thrown")),
        remote(long_text::call(caller, 1 << 20, "")),
        remote(caller.call(110, &[1]).map(drop)),
    ] {
        assert_eq!((error.name.as_str(), error.text.as_str()), ("", ""), "{error}");
    }
}

/// Timeout of each call.
pub const PATIENCE: Duration = Duration::from_mins(1);
