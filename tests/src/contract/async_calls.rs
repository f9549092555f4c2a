//! Calls of every endpoint of the contract from a task, with the expected replies. Rust or Python serves the contract.

#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test fails by panicking, and values are exact")]
#![allow(clippy::missing_panics_doc, reason = "a test fails by panicking")]
#![allow(clippy::needless_borrows_for_generic_args, reason = "every form")]

use std::pin::Pin;

use tachyon::{AsyncCaller, CallError, ErrorKind, List};

use super::calls::{PATIENCE, every_form, failed, odd, remote, texts};
use super::{
    Everything, Frame, Grade, Point, Scan, ScanError, ScanRef, SensorsAsyncClient, a_frame, a_mark, a_scan, a_small,
    an_empty_scan, an_origin, boxed, char_code, constant, counted, cow_marks, cow_text, everything, fails,
    fails_in_words, fails_raw, fallible, gives_small, long_text, moved, nothing, one, parses, reached, shared_text,
    shared_texts, split, takes_flags, takes_grade, takes_maybe, takes_one, takes_several, takes_tensor, takes_text,
    takes_texts, transposed, zeros,
};

/// A future that a runtime of several threads takes.
fn sendable<'a, F: Future + Send + 'a>(call: F) -> Pin<Box<dyn Future<Output = F::Output> + Send + 'a>> {
    Box::pin(call)
}

/// Calls an endpoint that sends its argument back.
macro_rules! same {
    ($caller:expr, $endpoint:ident, $value:expr) => {
        same!($caller, $endpoint, $value, $value)
    };
    ($caller:expr, $endpoint:ident, $value:expr, $expected:expr) => {
        let reply = sendable(one::$endpoint::call_async($caller, $value)).await;
        assert_eq!(reply.unwrap(), $expected, stringify!($endpoint));
    };
}

/// Values of every form.
pub async fn call_every_form(caller: &AsyncCaller) {
    every_form!(same, caller);
}

/// A payload with its fields in another order.
mod swapped {
    #[tachyon::payload]
    #[derive(Debug, PartialEq)]
    pub(super) struct Point {
        pub(super) y: f32,
        pub(super) x: f32,
    }

    #[tachyon::tachyon_rpc(msg_type = 22)]
    pub(super) fn lent_point(point: Point) -> Point {
        point
    }
}

/// Swapped fields are a mismatch, and the connection stays usable.
pub async fn refuse_swapped_fields(caller: &AsyncCaller) {
    for _ in 0..2 {
        match swapped::lent_point::call_async(caller, swapped::Point { y: 1.0, x: 2.0 }).await {
            Err(error @ CallError::Mismatch(_)) => {
                let text = error.to_string();
                assert!(text.starts_with("lent_point: field `y` of Point is f32 at offset 0 here"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
    let point = Point { x: 2.0, y: 1.0 };
    assert_eq!(one::lent_point::call_async(caller, &point).await.unwrap(), point);
}

/// Endpoints of several arguments and of none.
pub async fn call_several_arguments(caller: &AsyncCaller) {
    let scan = a_scan(3);
    for (maybe, other) in [(None, None), (Some(""), None), (Some("maybe"), Some(&scan)), (None, Some(&scan))] {
        call_everything(caller, maybe, other).await;
    }
    nothing::call_async(caller).await.unwrap();
    for points in [0, 3, 1000] {
        let scan = a_scan(points);
        let by = |tag: &str| Scan {
            points: scan.points.iter().map(|point| Point { x: point.x + 0.5, y: point.y + 0.5 }).collect(),
            tags: texts(&[tag]),
            ..scan.clone()
        };
        assert_eq!(sendable(moved::call_async(caller, &scan, 0.5, Some("tag"))).await.unwrap(), by("tag"));
        assert_eq!(moved::call_async(caller, ScanRef::from(&scan), 0.5, None).await.unwrap(), by("moved"));
    }
    let code = char_code::Code { number: b',' };
    assert_eq!(split::call_async(caller, "a,,bc", code).await.unwrap(), ["a", "", "bc"]);
    let refused = split::call_async(caller, "", &code).await;
    assert!(matches!(refused, Err(CallError::Failed(ScanError::Busy))), "{refused:?}");
}

async fn call_everything(caller: &AsyncCaller, maybe: Option<&str>, other: Option<&Scan>) {
    let (scan, empty) = (a_scan(3), an_empty_scan());
    let found = sendable(everything::call_async(
        caller,
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
    ))
    .await;
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
    assert_eq!(found.unwrap(), expected);
}

/// Endpoints that take one form each.
pub async fn call_every_taker(caller: &AsyncCaller) {
    let before = reached::call_async(caller).await.unwrap();
    let small = a_small();
    assert_eq!(takes_one::call_async(caller, &small).await.unwrap(), before + 1 + 3);
    let (marks, rows) = ([a_mark()], [vec![true], vec![]]);
    let several = takes_several::call_async(caller, true, Grade::Good, "text", &marks, &rows, &small, Some("maybe"));
    assert_eq!(several.await.unwrap(), before + 2);
    assert_eq!(takes_texts::call_async(caller, &["a", "", "gr\u{fc}n"]).await.unwrap(), before + 3 + 6);
    assert_eq!(takes_flags::call_async(caller, &[true, false]).await.unwrap(), before + 4 + 2);
    assert_eq!(takes_grade::call_async(caller, &Grade::Poor).await.unwrap(), before + 5 + 700);
    assert_eq!(takes_text::call_async(caller, "gr\u{fc}n").await.unwrap(), before + 6 + 5);
    assert_eq!(takes_maybe::call_async(caller, Some(9)).await.unwrap(), before + 7 + 9);
    assert_eq!(takes_maybe::call_async(caller, None).await.unwrap(), before + 8);
    assert_eq!(long_text::call_async(caller, 35_000, "end").await.unwrap().len(), 35_003);
    assert_eq!(gives_small::call_async(caller).await.unwrap(), small);
    let image = counted([2, 3], f32::from);
    let turned = sendable(transposed::call_async(caller, &image, 2.0)).await.unwrap();
    assert_eq!((turned.shape(), turned.as_slice()), ([3, 2], &[0.0, 6.0, 2.0, 8.0, 4.0, 10.0][..]));
    assert!(takes_tensor::call_async(caller, &counted([2, 2], |at| at)).await.unwrap() >= 6);
}

/// Replies that are shared, borrowed, boxed, static, and absent.
pub async fn call_every_reply(caller: &AsyncCaller) {
    assert_eq!(shared_text::call_async(caller, true).await.unwrap(), "TEXT");
    assert_eq!(cow_text::call_async(caller, "gr\u{fc}n").await.unwrap(), "gr?n");
    assert_eq!(cow_marks::call_async(caller, &[a_mark(); 9]).await.unwrap(), [a_mark(); 2]);
    let point = Point { x: 0.0, y: 0.0 };
    assert_eq!(boxed::call_async(caller, &[point]).await.unwrap(), [point]);
    assert_eq!(shared_texts::call_async(caller, &["a", ""]).await.unwrap(), ["a", ""]);
    assert_eq!(constant::call_async(caller).await.unwrap(), [1, 2, 3]);
    assert_eq!(fallible::call_async(caller, &a_scan(1), true).await.unwrap(), Some(a_scan(1)));
    assert_eq!(fallible::call_async(caller, &a_scan(1), false).await.unwrap(), None);
}

/// Declared errors arrive typed, and other errors as their texts. `failed` precedes the text of an error, and
/// `panicked` the text of a panic or exception.
pub async fn fail_in_every_way(caller: &AsyncCaller, before: &str, panicked: &str) {
    assert_eq!(failed(fails::call_async(caller, 0, "").await), ScanError::Busy);
    assert_eq!(failed(fails::call_async(&caller.within(PATIENCE), 1, "").await), ScanError::NoSensor { sensor: 3 });
    assert_eq!(failed(fails::call_async(caller, 2, "because").await), odd("because"));
    let with_more = ScanError::Odd { why: String::new(), origin: Some(an_origin()), marks: vec![a_mark()] };
    assert_eq!(failed(fails::call_async(caller, 3, "").await), with_more);
    let error = remote(fails::call_async(caller, 4, "because").await);
    assert_eq!((error.kind, error.name.as_str(), error.text.as_str()), (ErrorKind::HandlerFailed, "Odd", "because"));
    let error = remote(fails_in_words::call_async(caller, "word", 2).await);
    assert_eq!(error.text, format!("{before}wordword"));
    assert_eq!(remote(fails_raw::call_async(caller, b"raw").await).text, "", "raw endpoints send no text");
    assert_eq!(parses::call_async(caller, "7f", 16).await.unwrap(), 0x7f);
    let error = remote(fails::call_async(caller, 9, "thrown").await);
    assert_eq!(error.text, format!("{panicked}thrown"));
}

/// Requests and replies that can never fit rings of 4096 bytes.
pub async fn exceed_rings(caller: &AsyncCaller) {
    for _ in 0..3 {
        match long_text::call_async(caller, 1, &"e".repeat(5000)).await {
            Err(CallError::TooLarge { size: 5016, max: 4096 }) => {}
            other => panic!("{other:?}"),
        }
        let error = remote(zeros::call_async(caller, 5000).await);
        assert_eq!(error.kind, ErrorKind::ReplyTooLarge, "{error}");
        assert_eq!(long_text::call_async(caller, 3000, "end").await.unwrap().len(), 3003);
    }
}

/// The service `Sensors`, whose state lasts between calls.
pub async fn call_service(caller: AsyncCaller) {
    let client = SensorsAsyncClient::new(caller).within(PATIENCE);
    let scan = a_scan(300);
    let filtered = sendable(client.filter(&scan, 2.0, &[1, 2], None)).await.unwrap();
    assert_eq!(filtered, Scan { points: scan.points[..2].to_vec(), ..scan.clone() });
    let failed = client.clone().filter(ScanRef::from(&scan), 2.0, &[1, 101], Some(9)).await;
    assert!(matches!(failed, Err(CallError::Failed(ScanError::NoSensor { sensor: 101 }))), "{failed:?}");
    assert_eq!(client.rename("", "first").await.unwrap().as_deref(), Some("first"));
    assert_eq!(client.rename("", "second").await.unwrap(), None);
    assert_eq!(client.name().await.unwrap(), "first");
    assert_eq!(client.doubled(&scan).await.unwrap(), [scan.clone(), scan]);
    client.reset().await.unwrap();
    let caller = client.into_inner();
    assert_eq!(SensorsAsyncClient::new(caller).idempotent().name().await.unwrap(), "");
}
