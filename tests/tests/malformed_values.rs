//! Malformed requests and replies between two processes: each is refused with the name of the wrong field, reaches no
//! handler, and leaves the connection usable.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Debug;

use tachyon::payload::Value;
use tachyon::{CallError, Caller, ErrorKind};
use tachyon_tests::contract::{a_small, gives_small, nothing, one, reached, takes_one, takes_tensor, transposed};
use tachyon_tests::process::Program;
use tachyon_tests::temporary::socket;

const CONTRACT: Program = Program(env!("CARGO_BIN_EXE_contract"));

/// Bytes with the word at `at` replaced.
fn with(bytes: &[u8], at: usize, word: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    bytes
}

fn with_byte(bytes: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = byte;
    bytes
}

/// The bytes of `a_small`:
///
/// | offset | length | part |
/// |---|---|---|
/// | 0 | 56 | head: length, flag at 4, grade at 6, pairs of text, numbers, names, marks, maybe and inner from 8 on |
/// | 56 | 5 | text |
/// | 64 | 12 | numbers |
/// | 80 | 40 | names: a count, pairs at 88 and 96, parts at 104 and 112 |
/// | 120 | 16 | marks: one, with its grade at 128 and its flag at 130 |
/// | 136 | 2 | maybe |
/// | 144 | 40 | inner: a head of 28 with pairs at 148 and 164, a text at 176 |
fn small() -> Vec<u8> {
    let bytes = a_small().to_bytes();
    assert_eq!((bytes.len(), bytes[56], bytes[176]), (184, b'g', b'n'));
    bytes
}

/// A number of bytes to keep of `small`, and the error.
const CUT: &[(usize, &str)] = &[
    (0, "the head of Small gives its length as 0 bytes, and 0 came"),
    (3, "the head of Small gives its length as 0 bytes, and 3 came"),
    (4, "the head of Small gives its length as 56 bytes, and 4 came"),
    (55, "the head of Small gives its length as 56 bytes, and 55 came"),
    (56, "Small.text points to 5 bytes at offset 56 of 56, and there is no part"),
    (60, "Small.text points to 5 bytes at offset 56 of 60, and there is no part"),
    (176, "Small.inner points to 40 bytes at offset 144 of 176, and there is no part"),
    (183, "Small.inner points to 40 bytes at offset 144 of 183, and there is no part"),
];

/// The offset of a word of `small`, its new value, and the error.
const WORDS: &[(usize, u32, &str)] = &[
    // The length of the head.
    (0, 0, "the head of Small gives its length as 0 bytes, and 184 came"),
    (0, 3, "the head of Small gives its length as 3 bytes, and 184 came"),
    (0, 185, "the head of Small gives its length as 185 bytes, and 184 came"),
    (0, u32::MAX, "the head of Small gives its length as 4294967295 bytes, and 184 came"),
    (0, 4, "Small.flag is missing; if the other side may leave it out, make it optional"),
    (0, 5, "Small.grade is missing; if the other side may leave it out, make it optional"),
    (0, 12, "Small.text is cut: the head ends inside of it; declare the same fields on both sides"),
    (0, 55, "Small.inner is cut: the head ends inside of it; declare the same fields on both sides"),
    (144, 3, "the head of Origin gives its length as 3 bytes, and 40 came"),
    (144, 41, "the head of Origin gives its length as 41 bytes, and 40 came"),
    (144, u32::MAX, "the head of Origin gives its length as 4294967295 bytes, and 40 came"),
    (144, 27, "Origin.more is cut: the head ends inside of it; declare the same fields on both sides"),
    // Offsets: 0 with a length, into the head, unaligned, into another part, behind the end.
    (8, 0, "Small.text points to 5 bytes at offset 0 of 184, and there is no part"),
    (8, 48, "Small.text points to 5 bytes at offset 48 of 184, and there is no part"),
    (8, 57, "Small.text points to 5 bytes at offset 57 of 184, and there is no part"),
    (8, 60, "Small.text points to 5 bytes at offset 60 of 184, and there is no part"),
    (8, 64, "Small.numbers points to 12 bytes at offset 64 of 184, and there is no part"),
    (8, 200, "Small.text points to 5 bytes at offset 200 of 184, and there is no part"),
    (8, u32::MAX, "Small.text points to 5 bytes at offset 4294967295 of 184, and there is no part"),
    (16, 56, "Small.numbers points to 12 bytes at offset 56 of 184, and there is no part"),
    (16, 68, "Small.numbers points to 12 bytes at offset 68 of 184, and there is no part"),
    (24, 64, "Small.names points to 40 bytes at offset 64 of 184, and there is no part"),
    (32, 80, "Small.marks points to 16 bytes at offset 80 of 184, and there is no part"),
    (40, 8, "Small.maybe points to 2 bytes at offset 8 of 184, and there is no part"),
    (48, 136, "Small.inner points to 40 bytes at offset 136 of 184, and there is no part"),
    (148, 24, "Origin.sensor points to 1 bytes at offset 24 of 40, and there is no part"),
    (148, 40, "Origin.sensor points to 1 bytes at offset 40 of 40, and there is no part"),
    (164, 32, "Origin.more points to 0 bytes at offset 32 of 40, and there is no part"),
    (164, 8, "Origin.more points to 0 bytes at offset 8 of 40, and there is no part"),
    (88, 0, "Small.names points to 1 bytes at offset 0 of 40, and there is no part"),
    (88, 8, "Small.names points to 1 bytes at offset 8 of 40, and there is no part"),
    (88, 25, "Small.names points to 1 bytes at offset 25 of 40, and there is no part"),
    (88, 32, "Small.names points to 2 bytes at offset 32 of 40, and there is no part"),
    (96, 24, "Small.names points to 2 bytes at offset 24 of 40, and there is no part"),
    (96, 40, "Small.names points to 2 bytes at offset 40 of 40, and there is no part"),
    // Lengths: too long, no multiple of the element's size, not the size of the type.
    (12, 1_048_576, "Small.text points to 1048576 bytes at offset 56 of 184, and there is no part"),
    (12, u32::MAX, "Small.text points to 4294967295 bytes at offset 56 of 184, and there is no part"),
    (20, u32::MAX, "Small.numbers points to 4294967295 bytes at offset 64 of 184, and there is no part"),
    (28, u32::MAX, "Small.names points to 4294967295 bytes at offset 80 of 184, and there is no part"),
    (36, u32::MAX, "Small.marks points to 4294967295 bytes at offset 120 of 184, and there is no part"),
    (44, u32::MAX, "Small.maybe points to 4294967295 bytes at offset 136 of 184, and there is no part"),
    (52, u32::MAX, "Small.inner points to 4294967295 bytes at offset 144 of 184, and there is no part"),
    (52, 41, "Small.inner points to 41 bytes at offset 144 of 184, and there is no part"),
    (12, 122, "Small.text is no UTF-8 from byte 70 on"),
    (20, 11, "Small.numbers: 11 bytes came, which is no multiple of the 4 bytes of u32"),
    (36, 15, "Small.marks: 15 bytes came, which is no multiple of the 16 bytes of Mark"),
    (44, 1, "Small.maybe: 1 bytes came, and Grade has 2"),
    (44, 3, "Small.maybe: 3 bytes came, and Grade has 2"),
    (52, 3, "the head of Origin gives its length as 0 bytes, and 3 came"),
    (52, 32, "Origin.sensor points to 1 bytes at offset 32 of 32, and there is no part"),
    (92, 9, "Small.names points to 2 bytes at offset 32 of 40, and there is no part"),
    (92, u32::MAX, "Small.names points to 4294967295 bytes at offset 24 of 40, and there is no part"),
    (152, u32::MAX, "Origin.sensor points to 4294967295 bytes at offset 32 of 40, and there is no part"),
    (168, 4, "Origin.more points to 4 bytes at offset 0 of 40, and there is no part"),
    // Counts.
    (28, 0, "Small.names gives its length as 0 values, and has 0 bytes"),
    (28, 7, "Small.names gives its length as 2 values, and has 7 bytes"),
    (28, 20, "Small.names gives its length as 2 values, and has 20 bytes"),
    (80, 3, "Small.names points to 1 bytes at offset 24 of 40, and there is no part"),
    (80, u32::MAX, "Small.names gives its length as 4294967295 values, and has 40 bytes"),
];

/// The offset of a byte of `small`, its new value, and the error.
const BYTES: &[(usize, u8, &str)] = &[
    (4, 2, "Small.flag: bool is 2, and bool has no such value"),
    (4, 255, "Small.flag: bool is 255, and bool has no such value"),
    (6, 0, "Small.grade: Grade is 0, and Grade has no such value"),
    (7, 1, "Small.grade: Grade is 257, and Grade has no such value"),
    (58, 255, "Small.text is no UTF-8 from byte 2 on"),
    (60, 195, "Small.text is no UTF-8 from byte 4 on"),
    (104, 255, "Small.names is no UTF-8 from byte 0 on"),
    (128, 0, "Small.marks: Mark.grade is 512, and Grade has no such value"),
    (130, 2, "Small.marks: Mark.valid is 2, and bool has no such value"),
    (136, 0, "Small.maybe: Grade is 512, and Grade has no such value"),
    (176, 128, "Origin.sensor is no UTF-8 from byte 0 on"),
];

/// The values of the three tables, each with its error.
fn malformed() -> impl Iterator<Item = (Vec<u8>, &'static str)> {
    let small = small();
    let cut = CUT.iter().map(|(len, text)| (small[..*len].to_vec(), *text)).collect::<Vec<_>>();
    let words = WORDS.iter().map(|(at, word, text)| (with(&small, *at, *word), *text)).collect::<Vec<_>>();
    let bytes = BYTES.iter().map(|(at, byte, text)| (with_byte(&small, *at, *byte), *text)).collect::<Vec<_>>();
    cut.into_iter().chain(words).chain(bytes)
}

/// A message: a head of its length and `words`, then the parts, each padded to 8 bytes.
fn message(words: &[u32], parts: &[&[u8]]) -> Vec<u8> {
    let len = 4 + 4 * words.len();
    let mut bytes = u32::try_from(len).unwrap().to_le_bytes().to_vec();
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    for part in parts {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(*part);
    }
    bytes
}

fn refused(caller: &mut Caller, msg_type: u16, request: &[u8]) -> String {
    match caller.call(msg_type, request).map(|reply| reply.to_vec()) {
        Err(CallError::Remote(error)) if error.kind == ErrorKind::BadRequest => error.text,
        other => panic!("{other:?} for {request:?}"),
    }
}

#[test]
fn malformed_values_reach_no_handler() {
    let (_folder, path) = socket();
    let callee = CONTRACT.start("many", &path, &["65536"]);
    let mut caller = Caller::connect(&path).unwrap();
    for (request, text) in malformed() {
        assert_eq!(refused(&mut caller, takes_one::MSG_TYPE, &request), text);
    }
    assert_eq!(reached::call(&mut caller).unwrap(), 0);
    assert_eq!(takes_one::call(&mut caller, &a_small()).unwrap(), 4);
    // Unknown bytes behind the last part are allowed: a newer caller's fields, or the rest of a shortened list.
    for request in [[small(), vec![0xFF; 40]].concat(), with(&small(), 80, 0), with(&small(), 80, 1)] {
        caller.call(takes_one::MSG_TYPE, &request).unwrap();
    }
    assert_eq!(reached::call(&mut caller).unwrap(), 4);
    drop(caller);
    assert_eq!(callee.finish(), "", "no failure is reported");
}

#[test]
fn malformed_arguments_reach_no_handler() {
    let (_folder, path) = socket();
    let callee = CONTRACT.start("many", &path, &["65536"]);
    let mut caller = Caller::connect(&path).unwrap();
    let small = small();
    // A list of one list of two flags.
    let rows = [1u32, 0, 16, 2].map(u32::to_le_bytes).concat();
    let rows = |flag: u8| [rows.clone(), vec![1, flag]].concat();
    let mark = &small[120..136];
    // Flag and grade share the first word. Then text, marks, rows, value, and the option.
    let words = [0x0001_0001, 48, 1, 56, 16, 72, 18, 96, 184, 280, 2];
    let right = |flag| message(&words, &[b"t", mark, &rows(flag), &small, b"ok"]);
    caller.call(109, &right(1)).unwrap();
    let right = right(1);
    let place = |text: &str| text.replace('@', "argument `").replace('#', "` of takes_several");
    for (request, text) in [
        (vec![], "the head of takes_several gives its length as 0 bytes, and 0 came"),
        (right[..47].to_vec(), "the head of takes_several gives its length as 48 bytes, and 47 came"),
        (right[..281].to_vec(), "@maybe# points to 2 bytes at offset 280 of 281, and there is no part"),
        (with(&right, 0, u32::MAX), "the head of takes_several gives its length as 4294967295 bytes, and 282 came"),
        (with(&right, 0, 4), "@flag# is missing; if the other side may leave it out, make it optional"),
        (with(&right, 0, 40), "@maybe# is absent"),
        (with(&right, 0, 44), "@maybe# is cut: the head ends inside of it; declare the same fields on both sides"),
        (with_byte(&right, 4, 2), "@flag#: bool is 2, and bool has no such value"),
        (with_byte(&right, 6, 0), "@grade#: Grade is 0, and Grade has no such value"),
        (with(&right, 12, u32::MAX), "@text# points to 4294967295 bytes at offset 48 of 282, and there is no part"),
        (with(&right, 16, 52), "@marks# points to 16 bytes at offset 52 of 282, and there is no part"),
        (with_byte(&right, 66, 2), "@marks#: Mark.valid is 2, and bool has no such value"),
        (with_byte(&right, 89, 3), "@rows#: bool is 3, and bool has no such value"),
        (with(&right, 72, 1 << 29), "@rows# gives its length as 536870912 values, and has 18 bytes"),
        (with(&right, 96, 100_000), "the head of Small gives its length as 100000 bytes, and 184 came"),
        (with_byte(&right, 281, 0xFF), "@maybe# is no UTF-8 from byte 1 on"),
    ] {
        if text.ends_with("absent") {
            // An option that the sender does not know is allowed.
            caller.call(109, &request).unwrap();
            continue;
        }
        assert_eq!(refused(&mut caller, 109, &request), place(text));
    }
    assert_eq!(reached::call(&mut caller).unwrap(), 2);
    drop(caller);
    assert_eq!(callee.finish(), "");
}

#[test]
fn malformed_tensors_reach_no_handler() {
    let (_folder, path) = socket();
    let callee = CONTRACT.start("many", &path, &["65536"]);
    let mut caller = Caller::connect(&path).unwrap();
    let whole = |words: &[u64], values: usize| {
        let words = words.iter().flat_map(|word| word.to_le_bytes());
        words.chain((0..values).map(|_| 1)).collect::<Vec<u8>>()
    };
    let small = 1 << 20;
    for (request, text) in [
        (vec![], "the request has 0 bytes, and its shape of 2 dimensions has more"),
        (whole(&[2, 1], 0), "the request has 16 bytes, and its shape of 2 dimensions has more"),
        (whole(&[0, 1, 1], 2), "the number of dimensions of the request is 2, and 0 came"),
        (whole(&[3, 1, 1, 1], 2), "the number of dimensions of the request is 2, and 3 came"),
        (whole(&[2, 1, 1], 0), "the request gives its shape as [1, 1] of u16, and 0 bytes of values came"),
        (whole(&[2, 1, 1], 3), "the request gives its shape as [1, 1] of u16, and 3 bytes of values came"),
        (whole(&[2, 1, 1], 4), "the request gives its shape as [1, 1] of u16, and 4 bytes of values came"),
        (
            whole(&[2, small, small], 2),
            "the request gives its shape as [1048576, 1048576] of u16, and 2 bytes of values came",
        ),
        // The product overflows, to 0 and to 2.
        (
            whole(&[2, 1 << 32, 1 << 32], 0),
            "the request gives its shape as [4294967296, 4294967296] of u16, and 0 bytes of values came",
        ),
        (
            whole(&[2, 1 << 63, 2], 0),
            "the request gives its shape as [9223372036854775808, 2] of u16, and 0 bytes of values came",
        ),
        (
            whole(&[2, 0, u64::MAX], 0),
            "the request gives its shape as [0, 18446744073709551615] of u16, and 0 bytes of values came",
        ),
    ] {
        assert_eq!(refused(&mut caller, takes_tensor::MSG_TYPE, &request), text);
    }
    // The pair of the image, the number, and the image of two values.
    let right = message(&[16, 32, 2.0_f32.to_bits()], &[&whole(&[2, 1, 2], 8)]);
    caller.call(transposed::MSG_TYPE, &right).unwrap();
    for (request, text) in [
        (with(&right, 16, 1), "the number of dimensions of argument `image` of transposed is 2, and 1 came"),
        (with(&right, 20, 1), "the number of dimensions of argument `image` of transposed is 2, and 4294967298 came"),
        (
            with(&right, 24, 9),
            "argument `image` of transposed gives its shape as [9, 2] of f32, and 8 bytes of values came",
        ),
        (
            with(&right, 8, 28),
            "argument `image` of transposed gives its shape as [1, 2] of f32, and 4 bytes of values came",
        ),
        (with(&right, 8, 16), "argument `image` of transposed has 16 bytes, and its shape of 2 dimensions has more"),
        (
            with(&right, 8, 40),
            "argument `image` of transposed points to 40 bytes at offset 16 of 48, and there is no part",
        ),
    ] {
        assert_eq!(refused(&mut caller, transposed::MSG_TYPE, &request), text);
    }
    assert_eq!(reached::call(&mut caller).unwrap(), 1);
    drop(caller);
    assert_eq!(callee.finish(), "");
}

#[test]
fn malformed_messages_reach_no_handler() {
    let (_folder, path) = socket();
    let callee = CONTRACT.start("many", &path, &["65536"]);
    let mut caller = Caller::connect(&path).unwrap();
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    for (msg_type, request, text) in [
        (130, vec![], "the request gives its length as 0 values, and has 0 bytes"),
        (130, words(&[1]), "the request gives its length as 1 values, and has 4 bytes"),
        (130, words(&[u32::MAX, 0]), "the request gives its length as 4294967295 values, and has 8 bytes"),
        (130, words(&[1, 0, 0, 0]), "the request is missing"),
        (130, words(&[1, 0, 16, 1]), "the request points to 1 bytes at offset 16 of 16, and there is no part"),
        (130, words(&[1, 0, 16, 4, 0xFF]), "the request is no UTF-8 from byte 0 on"),
        (131, vec![1, 0, 2], "the request: bool is 2, and bool has no such value"),
        (132, vec![1], "1 bytes came, and Grade has 2"),
        (132, vec![2, 0], "Grade is 2, and Grade has no such value"),
        (133, vec![b'a', 0xC3], "the request is no UTF-8 from byte 1 on"),
        (134, vec![], "the head of takes_maybe gives its length as 0 bytes, and 0 came"),
        (134, words(&[12, 16, 2, 0, 7]), "argument `number` of takes_maybe: 2 bytes came, and u32 has 4"),
        (
            134,
            words(&[12, 0, 1]),
            "argument `number` of takes_maybe points to 1 bytes at offset 0 of 12, and there is no part",
        ),
        (
            134,
            words(&[12, 12, 4, 7]),
            "argument `number` of takes_maybe points to 4 bytes at offset 12 of 16, and there is no part",
        ),
        (100, vec![0], ""),
    ] {
        let found = refused(&mut caller, msg_type, &request);
        assert!(found.starts_with(text), "{found}, not {text}");
    }
    assert_eq!(reached::call(&mut caller).unwrap(), 0);
    // A head without the option, and empty texts and lists, are allowed.
    caller.call(134, &words(&[4])).unwrap();
    caller.call(133, &[]).unwrap();
    caller.call(131, &[]).unwrap();
    caller.call(130, &words(&[0, 0])).unwrap();
    assert_eq!(reached::call(&mut caller).unwrap(), 4);
    drop(caller);
    assert_eq!(callee.finish(), "");
}

/// Makes the role `hostile` reply with these bytes from now on.
fn set_reply(caller: &mut Caller, reply: &[u8]) {
    assert!(caller.call(9999, reply).unwrap().is_empty());
}

fn unreadable<T: Debug, E: Debug + std::error::Error>(outcome: Result<T, CallError<E>>) -> String {
    match outcome {
        Err(error @ CallError::BadReply { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn malformed_replies_reach_no_caller() {
    let (_folder, path) = socket();
    let callee = CONTRACT.start("hostile", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    let c = &mut caller;
    for (reply, text) in malformed() {
        set_reply(c, &reply);
        if reply.is_empty() {
            // The callee then has no reply to give.
            continue;
        }
        let expected = format!("gives_small: the reply cannot be read: {text}");
        assert_eq!(unreadable(gives_small::call(c)), expected);
        assert_eq!(unreadable(gives_small::call_in_place(c)), expected);
        let started = gives_small::start(c).unwrap();
        assert_eq!(unreadable(started.finish(c)), expected);
    }
    set_reply(c, &small());
    assert_eq!(gives_small::call(c).unwrap(), a_small());
    set_reply(c, &[2]);
    let flag = unreadable(one::value_bool::call(c, true));
    assert_eq!(flag, "value_bool: the reply cannot be read: bool is 2, and bool has no such value");
    let found = unreadable(nothing::call(c));
    assert_eq!(found, "nothing: the reply cannot be read: 1 bytes came where none are expected");
    let found = unreadable(one::numbers::call(c, &[]));
    assert_eq!(
        found,
        "numbers: the reply cannot be read: the reply: 1 bytes came, which is no multiple of the 8 bytes of f64"
    );
    set_reply(c, &[0xFF; 9]);
    let found = unreadable(one::text::call(c, "t"));
    assert_eq!(found, "text: the reply cannot be read: the reply is no UTF-8 from byte 0 on");
    let found = unreadable(one::texts::call(c, &["t"]));
    assert_eq!(
        found,
        "texts: the reply cannot be read: the reply gives its length as 4294967295 values, and has 9 bytes"
    );
    let found = unreadable(one::maybe_text::call(c, None));
    assert!(found.contains("cannot be read: the head of") && found.ends_with("bytes, and 9 came"), "{found}");
    set_reply(c, &[4, 0, 0, 0]);
    assert_eq!(one::maybe_text::call(c, None).unwrap(), None);
    set_reply(c, &[2, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
    let image = tachyon::Tensor::new([1, 1], vec![0.5]).unwrap();
    let found = unreadable(one::tensor::call(c, &image));
    assert_eq!(
        found,
        "tensor: the reply cannot be read: the reply gives its shape as [9, 9] of f32, and 0 bytes of values came"
    );
    assert_eq!(caller.outstanding(), 0);
    drop(caller);
    callee.finish();
}
