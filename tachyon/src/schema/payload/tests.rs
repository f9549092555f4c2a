//! Round trips of values, and messages that a reader refuses, with payloads of the macro.

use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::head::{Head, Writer, offsets};
use super::list::{List, own_list};
use super::scratch::{Scratch, Words};
use super::*;

#[crate::payload(crate = crate)]
#[derive(Debug, Clone, PartialEq)]
struct Scan {
    taken_at: u64,
    frame: String,
    points: Vec<[f32; 2]>,
    note: Option<String>,
    flags: Vec<bool>,
}

#[crate::payload(crate = crate)]
#[derive(Debug, PartialEq)]
#[repr(i16)]
enum Kind {
    Lidar = -1,
    Radar = 300,
}

#[crate::payload(crate = crate)]
#[derive(Debug, PartialEq)]
struct Point {
    at: [f32; 3],
    kind: Kind,
    is_ground: bool,
    _pad: [u8; 1],
}

type Name = String;

#[crate::payload(extensible, crate = crate)]
#[derive(Debug, Clone, PartialEq)]
struct Tag {
    name: Name,
    kind: Kind,
}

/// Every kind of value, nested.
#[crate::payload(crate = crate)]
#[derive(Debug, Clone, PartialEq)]
struct Survey {
    origin: Point,
    corners: [Point; 2],
    first: Tag,
    tags: Vec<Tag>,
    points: Vec<Point>,
    scans: Vec<Scan>,
    best: Option<Scan>,
    kind: Option<Kind>,
    rows: Vec<Vec<Point>>,
    last: Option<Vec<Tag>>,
}

fn point(x: f32) -> Point {
    Point { at: [x; 3], kind: Kind::Radar, is_ground: x > 1.0, _pad: [0] }
}

fn tag(name: &str) -> Tag {
    Tag { name: name.into(), kind: Kind::Lidar }
}

fn survey() -> Survey {
    Survey {
        origin: point(0.0),
        corners: [point(1.0), point(2.0)],
        first: tag("first"),
        tags: vec![tag(""), tag("second")],
        points: vec![point(3.0); 3],
        scans: vec![scan(), Scan { note: Some("n".into()), flags: vec![true], ..scan() }],
        best: Some(scan()),
        kind: Some(Kind::Lidar),
        rows: vec![vec![], vec![point(4.0)]],
        last: Some(vec![tag("last")]),
    }
}

fn scan() -> Scan {
    Scan { taken_at: 7, frame: "ab".into(), points: vec![], note: None, flags: vec![] }
}

/// The bytes of a whole message, at an address that is a multiple of 8. The memory is not zero before.
fn message<T: Value>(value: &T) -> Vec<u64> {
    let len = T::message_len(value.view());
    let mut words = vec![u64::MAX; len.div_ceil(8)];
    T::write_message(value.view(), &mut words.as_mut_bytes()[..len]);
    words
}

fn read<T: Value>(bytes: &[u8]) -> Result<T, BoxedMalformed> {
    let mut words = Words::default();
    T::read_message(bytes, &mut words.room(bytes.len()), "the request").map(T::own)
}

fn there_and_back<T: Value + PartialEq + core::fmt::Debug>(value: &T) {
    let len = T::message_len(value.view());
    let words = message(value);
    let bytes = &words.as_bytes()[..len];
    assert_eq!(&read::<T>(bytes).unwrap(), value);
    let private = T::read_message(bytes, &mut Scratch::private(), "the request").map(T::own);
    assert_eq!(&private.unwrap(), value);
}

#[test]
fn a_payload_lies_as_the_wire_format_says() {
    let value = scan();
    let words = message(&value);
    let head: Vec<u8> = [
        &[0x30, 0, 0, 0, 0, 0, 0, 0][..],
        &[7, 0, 0, 0, 0, 0, 0, 0],
        &[0x30, 0, 0, 0, 2, 0, 0, 0],
        &[0x38, 0, 0, 0, 0, 0, 0, 0],
        &[0; 8],
        &[0x38, 0, 0, 0, 0, 0, 0, 0],
        b"ab\0\0\0\0\0\0",
    ]
    .concat();
    assert_eq!(words.as_bytes(), head);
}

#[test]
fn values_come_back_as_they_were_sent() {
    there_and_back(&scan());
    let full =
        Scan { points: vec![[1.0, 2.0]; 3], note: Some(String::new()), flags: vec![true, false, true], ..scan() };
    there_and_back(&full);
    there_and_back(&vec![full.clone(), scan()]);
    there_and_back(&vec!["a".to_owned(), String::new(), "ä".to_owned()]);
    there_and_back(&vec![vec!["a".to_owned()], vec![]]);
    there_and_back(&vec![vec![1u16, 2], vec![]]);
    there_and_back(&Some(5u8));
    there_and_back(&None::<Scan>);
    there_and_back(&Some(full));
    there_and_back(&String::from("text"));
    there_and_back(&vec![true, false]);
    there_and_back(&17.5f64);
    there_and_back(&survey());
    there_and_back(&Survey { tags: vec![], best: None, kind: None, last: None, rows: vec![], ..survey() });
    there_and_back(&vec![survey(); 2]);
}

/// A payload in an older and in newer builds.
mod builds {
    use super::Tag;

    #[crate::payload(crate = crate)]
    #[derive(Debug, Clone, PartialEq)]
    pub(super) struct Older {
        pub(super) taken_at: u64,
        pub(super) frame: String,
    }

    #[crate::payload(crate = crate)]
    #[derive(Debug, Clone, PartialEq)]
    pub(super) struct Newer {
        pub(super) taken_at: u64,
        pub(super) frame: String,
        pub(super) gain: Option<u8>,
        pub(super) tags: Option<Vec<Tag>>,
    }

    /// Adds fields that are not optional.
    #[crate::payload(crate = crate)]
    #[derive(Debug)]
    pub(super) struct Stricter {
        pub(super) taken_at: u64,
        pub(super) frame: String,
        pub(super) gain: u8,
        pub(super) tag: Tag,
    }
}

/// Sends `value` to a peer that knows its type as `B`.
fn sent<A: Value, B: Value>(value: &A) -> Result<B, BoxedMalformed> {
    let len = A::message_len(value.view());
    read(&message(value).as_bytes()[..len])
}

#[test]
fn fields_are_added_at_the_end_on_either_side_first() {
    use builds::{Newer, Older, Stricter};
    let older = Older { taken_at: 1, frame: "f".into() };
    let newer = Newer { taken_at: 1, frame: "f".into(), gain: Some(3), tags: Some(vec![tag("t")]) };
    assert_eq!(sent(&older), Ok(Newer { gain: None, tags: None, ..newer.clone() }));
    assert_eq!(sent(&newer), Ok(older.clone()));
    // Also in lists: each value has a head of its own.
    assert_eq!(sent(&vec![newer.clone(), newer.clone()]), Ok(vec![older.clone(), older.clone()]));
    assert_eq!(sent(&Some(newer)), Ok(Some(older.clone())));
    let problem = sent::<_, Stricter>(&older).map(drop).unwrap_err().to_string();
    assert!(problem.starts_with("Stricter.gain is missing"), "{problem}");
}

#[test]
fn payloads_say_what_reading_them_takes() {
    fn takes<T: Value>() -> (bool, bool, usize) {
        (T::COPIES, T::LEND_COPIES, T::DEPTH)
    }
    assert_eq!(takes::<Numbers>(), (false, false, 3));
    assert_eq!(takes::<Vec<Numbers>>(), (true, true, 4));
    assert_eq!(takes::<Tag>(), (true, true, 2));
    assert_eq!(takes::<Survey>(), (true, true, 5));
    assert_eq!(takes::<Point>(), (false, true, 1));
    let ValueType::Variable(head) = Survey::TYPE else { panic!("a variable payload") };
    assert_eq!((head.fields[2].name, head.fields[2].value_type), ("first", Tag::TYPE));
    assert!(head.fields.is_sorted_by_key(|field| field.offset));
}

/// A variable payload that is read without copies.
#[crate::payload(crate = crate)]
#[derive(Debug)]
struct Numbers {
    all: Vec<u32>,
    one: Option<f64>,
}

#[test]
fn a_list_of_borrowed_texts_is_one_of_owned_texts() {
    let owned = vec!["a".to_owned(), "bc".to_owned()];
    let texts = ["a", "bc"];
    let borrowed = List::<String>::from(texts.as_slice());
    assert_eq!(borrowed, List::from(&owned));
    assert_eq!(borrowed.get(2), None);
    let mut out = vec![1u8; borrowed.part_len()];
    borrowed.write(&mut out);
    assert_eq!(out, message(&owned).as_bytes());
}

/// The error of a message with the byte at `at` changed.
fn changed<T: Value>(value: &T, at: usize, byte: u8) -> String {
    let mut words = message(value);
    words.as_mut_bytes()[at] = byte;
    read::<T>(words.as_bytes()).map(drop).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_is_named() {
    let full = Scan { points: vec![[1.0, 2.0]], note: Some("x".into()), flags: vec![true], ..scan() };
    assert_eq!(changed(&full, 0, 3), "the head of Scan gives its length as 3 bytes, and 80 came");
    assert_eq!(changed(&full, 3, 1), "the head of Scan gives its length as 16777264 bytes, and 80 came");
    assert_eq!(
        changed(&full, 0, 38),
        "Scan.note is cut: the head ends inside of it; declare the same fields on both sides"
    );
    assert_eq!(changed(&full, 0, 24), "Scan.points is missing; if the other side may leave it out, make it optional");
    assert_eq!(changed(&full, 16, 0), "Scan.frame points to 2 bytes at offset 0 of 80, and there is no part");
    assert_eq!(changed(&full, 16, 0x31), "Scan.frame points to 2 bytes at offset 49 of 80, and there is no part");
    assert_eq!(changed(&full, 20, 99), "Scan.frame points to 99 bytes at offset 48 of 80, and there is no part");
    // The same part twice.
    assert_eq!(changed(&full, 24, 0x30), "Scan.points points to 8 bytes at offset 48 of 80, and there is no part");
    assert_eq!(changed(&full, 28, 7), "Scan.points: 7 bytes came, which is no multiple of the 8 bytes of [f32; 2]");
    assert_eq!(changed(&full, 0x31, 0xff), "Scan.frame is no UTF-8 from byte 1 on");
    assert_eq!(changed(&full, 72, 2), "Scan.flags: bool is 2, and bool has no such value");
    let texts = vec!["a".to_owned()];
    assert_eq!(changed(&texts, 0, 3), "the request gives its length as 3 values, and has 24 bytes");
    assert_eq!(changed(&texts, 3, 0xff), "the request gives its length as 4278190081 values, and has 24 bytes");
    assert_eq!(changed(&texts, 8, 0), "the request points to 1 bytes at offset 0 of 24, and there is no part");
    assert_eq!(changed(&texts, 16, 0xff), "the request is no UTF-8 from byte 0 on");
}

#[test]
fn a_reader_skips_what_a_newer_sender_adds_and_does_without_what_an_older_one_lacks() {
    const NEWER: [usize; 3] = offsets([u32::HEAD, <Option<String>>::HEAD]);
    const OLDER: [usize; 2] = offsets([u32::HEAD]);
    let mut words = [u64::MAX; 3];
    let mut writer = Writer::new(words.as_mut_bytes(), NEWER[2]);
    u32::put(&mut writer, NEWER[0], 5);
    <Option<String>>::put(&mut writer, NEWER[1], Some("hi"));
    let mut head = Head::<[u8; OLDER[1]]>::open(words.as_bytes(), "f").unwrap();
    assert_eq!(u32::get(&mut head, OLDER[0], &mut Scratch::private(), "a"), Ok(5));

    let mut words = [u64::MAX; 1];
    u32::put(&mut Writer::new(words.as_mut_bytes(), OLDER[1]), OLDER[0], 5);
    let mut head = Head::<[u8; NEWER[2]]>::open(words.as_bytes(), "f").unwrap();
    let scratch = &mut Scratch::private();
    assert_eq!(u32::get(&mut head, NEWER[0], scratch, "a"), Ok(5));
    assert_eq!(<Option<String>>::get(&mut head, NEWER[1], scratch, "b"), Ok(None));
    assert!(String::get(&mut head, NEWER[1], scratch, "b").is_err());
}

proptest! {
    #[test]
    fn both_ways_of_reading_judge_alike(
        frame in ".{0,9}", points in 0usize..4, note in proptest::option::of(".{0,9}"), flags in 0usize..4,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in 0usize..9,
    ) {
        let value = Scan { taken_at: 1, frame, points: vec![[0.5; 2]; points], note, flags: vec![true; flags] };
        let mut words = message(&vec![value.clone(), value]);
        let bytes = words.as_mut_bytes();
        for (at, byte) in changes {
            bytes[at.index(bytes.len())] = byte;
        }
        let bytes = &words.as_bytes()[..words.as_bytes().len().saturating_sub(cut)];
        let copied = read::<Vec<Scan>>(bytes);
        let private = <Vec<Scan>>::read_message(bytes, &mut Scratch::private(), "the request").map(own_list);
        // A value that is accepted has no more bytes than the message.
        if let Ok(scans) = &copied {
            let total: usize = scans.iter().map(|scan| scan.frame.len() + 8 * scan.points.len()).sum();
            prop_assert!(total <= bytes.len());
            there_and_back(scans);
        }
        prop_assert_eq!(copied, private);
    }

    #[test]
    fn a_changed_survey_is_refused_or_another_survey(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0u8..64), 1..6), cut in 0usize..40,
    ) {
        let mut words = message(&survey());
        let bytes = words.as_mut_bytes();
        for (at, byte) in changes {
            bytes[at.index(bytes.len())] = byte;
        }
        let bytes = &words.as_bytes()[..words.as_bytes().len().saturating_sub(cut)];
        let copied = read::<Survey>(bytes);
        let private = Survey::read_message(bytes, &mut Scratch::private(), "the request").map(<Survey as Value>::own);
        if let Ok(survey) = &copied {
            let text: usize = survey.tags.iter().map(|tag| tag.name.len()).sum();
            prop_assert!(text + 16 * survey.points.len() + 32 * survey.scans.len() <= bytes.len());
            let lent = <Survey as Value>::view(survey);
            prop_assert_eq!(lent.tags.iter().count(), survey.tags.len());
            prop_assert!(lent.rows.iter().flatten().all(|point| matches!(point.kind, Kind::Lidar | Kind::Radar)));
        }
        // NaN does not equal itself, but its text does.
        prop_assert_eq!(format!("{copied:?}"), format!("{private:?}"));
    }
}
