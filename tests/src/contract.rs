//! A contract with every form: each kind of argument alone, with others, and optional; each kind of reply and of error.

#![allow(clippy::missing_errors_doc, clippy::missing_panics_doc, reason = "endpoints of tests")]
#![allow(clippy::too_many_arguments, clippy::needless_pass_by_value, reason = "every form is the point")]
#![allow(clippy::pub_underscore_fields, reason = "gaps")]

pub mod async_calls;
pub mod calls;

use core::fmt;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tachyon::dispatch::{Entry, ReplySlot, SlotError};
use tachyon::{Context, List, Tensor, TensorRef, endpoints, tachyon_rpc};

/// The quality of a measurement.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Grade {
    /// Good.
    Good = 1,
    /// Poor.
    Poor = 700,
}

/// A fixed payload without invalid bit patterns.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Coordinate to the right.
    pub x: f32,
    /// Coordinate upwards.
    pub y: f32,
}

/// A fixed payload with invalid bit patterns.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// Position.
    pub at: Point,
    /// Quality.
    pub grade: Grade,
    /// Whether the mark is still there.
    pub valid: bool,
    /// Padding.
    pub _pad: [u8; 5],
}

/// A payload with a head and every kind of field.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// Nanoseconds since the epoch.
    pub taken_at: u64,
    /// Name of the coordinate frame.
    pub frame: String,
    /// The points.
    pub points: Vec<Point>,
    /// A remark.
    pub note: Option<String>,
    /// The marks.
    pub marks: Vec<Mark>,
    /// The tags.
    pub tags: Vec<String>,
    /// The sensor.
    pub origin: Origin,
    /// Further sensors.
    pub sources: Vec<Origin>,
    /// Numbers in rows.
    pub rows: Vec<Vec<i32>>,
    /// Whether the scan is complete.
    pub complete: bool,
    /// Quality.
    pub grade: Option<Grade>,
    /// A corrected origin.
    pub corrected: Option<Origin>,
}

/// A payload with a head, inside of another payload.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// Name of the sensor.
    pub sensor: String,
    /// Position of the sensor.
    pub at: Point,
    /// Further positions.
    pub more: Option<Vec<Point>>,
}

/// A payload with tensors.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Name of the camera.
    pub camera: String,
    /// Grey values, in rows.
    pub image: Tensor<u8, 2>,
    /// Distances.
    pub depth: Option<Tensor<f32, 3>>,
    /// Further numbers.
    pub layers: Vec<Tensor<u64, 2>>,
}

/// One field of every kind that can be malformed.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub struct Small {
    /// A type with invalid bit patterns.
    pub flag: bool,
    /// An enum.
    pub grade: Grade,
    /// Text.
    pub text: String,
    /// A length that is a multiple of 4.
    pub numbers: Vec<u32>,
    /// A list.
    pub names: Vec<String>,
    /// Elements with invalid bit patterns.
    pub marks: Vec<Mark>,
    /// An option.
    pub maybe: Option<Grade>,
    /// A payload with a head.
    pub inner: Option<Origin>,
}

/// The arguments of `everything`, and values of its context.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
pub struct Everything {
    /// A number.
    pub byte: u8,
    /// A number by reference.
    pub number: u64,
    /// A flag.
    pub flag: bool,
    /// An enum.
    pub grade: Grade,
    /// Text by reference.
    pub text: String,
    /// Owned text.
    pub owned: String,
    /// Payloads by reference.
    pub marks: Vec<Mark>,
    /// Owned numbers.
    pub numbers: Vec<f64>,
    /// Texts by reference.
    pub texts: Vec<String>,
    /// Owned rows.
    pub rows: Vec<Vec<u8>>,
    /// A view of a scan.
    pub scan: Scan,
    /// An owned scan.
    pub second: Scan,
    /// A scan by reference.
    pub third: Scan,
    /// Owned scans.
    pub scans: Vec<Scan>,
    /// Optional text.
    pub maybe: Option<String>,
    /// An optional scan.
    pub other: Option<Scan>,
    /// A payload.
    pub point: Point,
    /// A payload by reference.
    pub mark: Mark,
    /// An array.
    pub array: [u16; 3],
    /// The endpoint's name.
    pub name: String,
    /// The endpoint's number.
    pub msg_type: u16,
}

/// The state of the endpoints.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Requests that reached a handler with state.
    pub reached: AtomicU64,
}

impl Ledger {
    fn note(&self) -> u64 {
        self.reached.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A declared error.
#[tachyon::error]
#[derive(Clone, PartialEq)]
pub enum ScanError {
    /// No sensor has this number.
    #[error("no sensor {sensor}")]
    NoSensor {
        /// The requested number.
        sensor: u32,
    },
    /// Another scan is running.
    #[error("busy")]
    Busy,
    /// Fields of every kind.
    #[error("{why}")]
    Odd {
        /// A text.
        why: String,
        /// A payload.
        origin: Option<Origin>,
        /// Payloads.
        marks: Vec<Mark>,
    },
}

/// An error without a declaration.
#[derive(Debug)]
pub struct Plain(pub String);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A `Result` behind an alias.
pub type Scanned<T> = Result<T, ScanError>;

/// Defines endpoints that send their one argument back.
macro_rules! echoes {
    ($($number:literal $name:ident: $taken:ty => $returned:ty = |$value:ident| $made:expr;)*) => {
        $(
            /// Sends its argument back.
            #[tachyon_rpc(msg_type = $number)]
            pub fn $name($value: $taken) -> $returned {
                $made
            }
        )*

        /// All endpoints that send their one argument back.
        pub const ECHOES: &[Entry<()>] = endpoints![$($name),*];
    };
}

/// Endpoints of one argument.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "every form")]
pub mod one {
    use super::{
        Entry, FrameRef, Grade, List, Mark, Origin, Point, Scan, ScanRef, Tensor, TensorRef, endpoints, tachyon_rpc,
    };

    echoes! {
        1 value_u8: u8 => u8 = |v| v;
        2 value_u16: u16 => u16 = |v| v;
        3 value_u32: u32 => u32 = |v| v;
        4 value_u64: u64 => u64 = |v| v;
        5 value_i8: i8 => i8 = |v| v;
        6 value_i16: i16 => i16 = |v| v;
        7 value_i32: i32 => i32 = |v| v;
        8 value_i64: i64 => i64 = |v| v;
        9 value_f32: f32 => f32 = |v| v;
        10 value_f64: f64 => f64 = |v| v;
        11 value_bool: bool => bool = |v| v;
        12 value_enum: Grade => Grade = |v| v;
        13 value_array: [u16; 3] => [u16; 3] = |v| v;
        14 value_grid: [[i8; 2]; 2] => [[i8; 2]; 2] = |v| v;
        15 value_marks: [Mark; 2] => [Mark; 2] = |v| v;
        16 value_point: Point => Point = |v| v;
        17 value_mark: Mark => Mark = |v| v;
        18 lent_u64: &u64 => u64 = |v| *v;
        19 lent_bool: &bool => bool = |v| *v;
        20 lent_enum: &Grade => Grade = |v| *v;
        21 lent_array: &[u16; 3] => [u16; 3] = |v| *v;
        22 lent_point: &Point => Point = |v| *v;
        23 lent_mark: &Mark => Mark = |v| *v;
        24 text: &str => &str = |v| v;
        25 owned_text: String => String = |v| v;
        26 bytes: &[u8] => &[u8] = |v| v;
        27 owned_bytes: Vec<u8> => Vec<u8> = |v| v;
        28 numbers: &[f64] => &[f64] = |v| v;
        29 bools: &[bool] => &[bool] = |v| v;
        30 enums: &[Grade] => &[Grade] = |v| v;
        31 points: &[Point] => &[Point] = |v| v;
        32 marks: &[Mark] => &[Mark] = |v| v;
        33 arrays: &[[u8; 3]] => &[[u8; 3]] = |v| v;
        34 owned_marks: Vec<Mark> => Vec<Mark> = |v| v;
        35 texts: List<'_, String> => List<'_, String> = |v| v;
        36 owned_texts: Vec<String> => Vec<String> = |v| v;
        37 rows: List<'_, Vec<f32>> => List<'_, Vec<f32>> = |v| v;
        38 owned_rows: Vec<Vec<bool>> => Vec<Vec<bool>> = |v| v;
        39 deep_rows: Vec<Vec<Vec<String>>> => Vec<Vec<Vec<String>>> = |v| v;
        40 scan: ScanRef<'_> => ScanRef<'_> = |v| v;
        41 owned_scan: Scan => Scan = |v| v;
        42 lent_scan: &Scan => Scan = |v| v.clone();
        43 scans: List<'_, Scan> => List<'_, Scan> = |v| v;
        44 owned_scans: Vec<Scan> => Vec<Scan> = |v| v;
        45 maybe_u32: Option<u32> => Option<u32> = |v| v;
        46 maybe_bool: Option<bool> => Option<bool> = |v| v;
        47 maybe_enum: Option<Grade> => Option<Grade> = |v| v;
        48 maybe_array: Option<[u16; 3]> => Option<[u16; 3]> = |v| v;
        49 maybe_mark: Option<Mark> => Option<Mark> = |v| v;
        50 maybe_text: Option<&str> => Option<&str> = |v| v;
        51 maybe_owned_text: Option<String> => Option<String> = |v| v;
        52 maybe_numbers: Option<&[f32]> => Option<&[f32]> = |v| v;
        53 maybe_marks: Option<&[Mark]> => Option<&[Mark]> = |v| v;
        54 maybe_owned_marks: Option<Vec<Mark>> => Option<Vec<Mark>> = |v| v;
        55 maybe_texts: Option<List<'_, String>> => Option<List<'_, String>> = |v| v;
        56 maybe_scan: Option<ScanRef<'_>> => Option<ScanRef<'_>> = |v| v;
        57 maybe_owned_scan: Option<Scan> => Option<Scan> = |v| v;
        58 maybe_scans: Option<List<'_, Scan>> => Option<List<'_, Scan>> = |v| v;
        59 maybe_owned_scans: Option<Vec<Scan>> => Option<Vec<Scan>> = |v| v;
        60 origins: Vec<Origin> => Vec<Origin> = |v| v;
        61 tensor: TensorRef<'_, f32, 2> => TensorRef<'_, f32, 2> = |v| v;
        62 owned_tensor: Tensor<u8, 3> => Tensor<u8, 3> = |v| v;
        63 tensors: List<'_, Tensor<i16, 1>> => List<'_, Tensor<i16, 1>> = |v| v;
        64 maybe_tensor: Option<TensorRef<'_, f64, 4>> => Option<TensorRef<'_, f64, 4>> = |v| v;
        65 frame: FrameRef<'_> => FrameRef<'_> = |v| v;
    }
}

/// Takes and returns nothing.
#[tachyon_rpc(msg_type = 100)]
pub fn nothing(#[state] ledger: &Ledger) {
    ledger.note();
}

/// An argument of every kind, with state and context between them.
#[tachyon_rpc(msg_type = 101)]
pub fn everything(
    byte: u8,
    #[state] ledger: &Ledger,
    number: &u64,
    flag: bool,
    grade: Grade,
    #[context] cx: &Context<'_>,
    text: &str,
    owned: String,
    marks: &[Mark],
    numbers: Vec<f64>,
    texts: List<'_, String>,
    rows: Vec<Vec<u8>>,
    scan: ScanRef<'_>,
    second: Scan,
    third: &Scan,
    scans: Vec<Scan>,
    maybe: Option<&str>,
    other: Option<ScanRef<'_>>,
    point: Point,
    mark: &Mark,
    array: [u16; 3],
) -> Everything {
    ledger.note();
    Everything {
        byte,
        number: *number,
        flag,
        grade,
        text: text.to_owned(),
        owned,
        marks: marks.to_vec(),
        numbers,
        texts: texts.iter().map(str::to_owned).collect(),
        rows,
        scan: scan.into_owned(),
        second,
        third: third.clone(),
        scans,
        maybe: maybe.map(str::to_owned),
        other: other.map(ScanRef::into_owned),
        point,
        mark: *mark,
        array,
        name: cx.name.to_owned(),
        msg_type: cx.msg_type,
    }
}

/// Moves all points. The reply is written into a slot.
#[tachyon_rpc(msg_type = 102)]
pub fn moved(
    #[state] ledger: &Ledger,
    scan: ScanRef<'_>,
    #[context] cx: &Context<'_>,
    by: f32,
    tag: Option<&str>,
    reply: ReplySlot<'_, Scan>,
) -> Result<(), SlotError> {
    ledger.note();
    let points: Vec<Point> = scan.points.iter().map(|point| Point { x: point.x + by, y: point.y + by }).collect();
    let tags = [tag.unwrap_or(cx.name)];
    reply.write(ScanRef { points: &points, tags: tags.as_slice().into(), ..scan.shorten() })
}

/// Splits a text. The reply is written into a slot, or is a declared error.
#[tachyon_rpc(msg_type = 103)]
pub fn split(text: &str, at: char_code::Code, reply: ReplySlot<'_, Vec<String>>) -> Result<(), ScanError> {
    if text.is_empty() {
        return Err(ScanError::Busy);
    }
    let parts: Vec<&str> = text.split(char::from(at.number)).collect();
    // The slot keeps the error of a reply that cannot be sent.
    drop(reply.write(parts.as_slice()));
    Ok(())
}

/// A type in a module of its own.
pub mod char_code {
    /// One byte of text.
    #[tachyon::payload]
    #[derive(Debug, Clone, Copy)]
    pub struct Code {
        /// The byte.
        pub number: u8,
    }
}

/// The sum, after `milliseconds`.
#[tachyon_rpc(msg_type = 104)]
pub fn add_slowly(a: u64, b: u64, milliseconds: u64) -> u64 {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
    a + b
}

/// The number of requests that have reached a handler with state.
#[tachyon_rpc(msg_type = 105)]
pub fn reached(#[state] ledger: &Ledger) -> u64 {
    ledger.reached.load(Ordering::Relaxed)
}

/// `count` zeros.
#[tachyon_rpc(msg_type = 106)]
pub fn zeros(count: u32) -> Vec<u8> {
    vec![0; count as usize]
}

/// A text of `count` bytes and `end`.
#[tachyon_rpc(msg_type = 107)]
pub fn long_text(count: u32, #[state] ledger: &Ledger, end: &str) -> String {
    ledger.note();
    "x".repeat(count as usize) + end
}

/// Takes one payload with a head.
#[tachyon_rpc(msg_type = 108)]
pub fn takes_one(#[state] ledger: &Ledger, value: SmallRef<'_>) -> u64 {
    ledger.note() + value.numbers.len() as u64
}

/// Takes values of every kind as fields.
#[tachyon_rpc(msg_type = 109)]
pub fn takes_several(
    #[state] ledger: &Ledger,
    flag: bool,
    grade: Grade,
    text: &str,
    marks: &[Mark],
    rows: Vec<Vec<bool>>,
    value: Small,
    maybe: Option<&str>,
) -> u64 {
    drop((flag, grade, text, marks, rows, value, maybe));
    ledger.note()
}

/// Takes texts alone.
#[tachyon_rpc(msg_type = 130)]
pub fn takes_texts(#[state] ledger: &Ledger, texts: List<'_, String>) -> u64 {
    texts.iter().map(|text| text.len() as u64).sum::<u64>() + ledger.note()
}

/// Takes flags alone.
#[tachyon_rpc(msg_type = 131)]
pub fn takes_flags(#[state] ledger: &Ledger, flags: &[bool]) -> u64 {
    flags.len() as u64 + ledger.note()
}

/// Takes a grade by reference.
#[tachyon_rpc(msg_type = 132)]
pub fn takes_grade(#[state] ledger: &Ledger, grade: &Grade) -> u64 {
    *grade as u64 + ledger.note()
}

/// Takes text alone.
#[tachyon_rpc(msg_type = 133)]
pub fn takes_text(#[state] ledger: &Ledger, text: &str) -> u64 {
    text.len() as u64 + ledger.note()
}

/// Takes an option alone.
#[tachyon_rpc(msg_type = 134)]
pub fn takes_maybe(#[state] ledger: &Ledger, number: Option<u32>) -> u64 {
    u64::from(number.unwrap_or(0)) + ledger.note()
}

/// Returns a payload with a head.
#[tachyon_rpc(msg_type = 135)]
pub fn gives_small() -> Small {
    a_small()
}

/// Multiplies an image, and writes the rows as columns into a slot.
#[tachyon_rpc(msg_type = 136)]
pub fn transposed(
    #[state] ledger: &Ledger,
    image: TensorRef<'_, f32, 2>,
    by: f32,
    reply: ReplySlot<'_, Tensor<f32, 2>>,
) -> Result<(), SlotError> {
    ledger.note();
    let [height, width] = image.shape();
    let mut turned = reply.reserve([width, height])?;
    for row in 0..height {
        for column in 0..width {
            turned[[column, row]] = image[[row, column]] * by;
        }
    }
    turned.commit();
    Ok(())
}

/// Takes a tensor alone.
#[tachyon_rpc(msg_type = 137)]
pub fn takes_tensor(#[state] ledger: &Ledger, image: TensorRef<'_, u16, 2>) -> u64 {
    image.as_slice().iter().copied().map(u64::from).sum::<u64>() + ledger.note()
}

/// Fails in every way.
#[tachyon_rpc(msg_type = 110)]
pub fn fails(#[state] ledger: &Ledger, how: u32, text: &str) -> Scanned<Scan> {
    ledger.note();
    Err(match how {
        0 => ScanError::Busy,
        1 => ScanError::NoSensor { sensor: 3 },
        2 => ScanError::Odd { why: text.to_owned(), origin: None, marks: vec![] },
        3 => ScanError::Odd { why: text.to_owned(), origin: Some(an_origin()), marks: vec![a_mark()] },
        // More bytes of fields than an error reply holds.
        4 => ScanError::Odd { why: text.to_owned(), origin: None, marks: vec![a_mark(); 300] },
        _ => panic!("{text}"),
    })
}

/// Fails with a text.
#[tachyon_rpc(msg_type = 111)]
pub fn fails_in_words(text: &str, times: u32) -> Result<u32, Plain> {
    if times == 0 { Ok(0) } else { Err(Plain(text.repeat(times as usize))) }
}

/// Fails with a text, in a raw endpoint.
#[tachyon_rpc(msg_type = 112)]
pub fn fails_raw(payload: &[u8]) -> Result<Vec<u8>, Plain> {
    Err(Plain(String::from_utf8_lossy(payload).into_owned()))
}

/// Fails with an error of the standard library.
#[tachyon_rpc(msg_type = 113)]
pub fn parses(text: &str, radix: u32) -> Result<u64, std::num::ParseIntError> {
    u64::from_str_radix(text, radix)
}

/// Returns shared text.
#[tachyon_rpc(msg_type = 120)]
pub fn shared_text(upper: bool) -> Arc<str> {
    if upper { "TEXT".into() } else { "text".into() }
}

/// Returns text that may be borrowed.
#[tachyon_rpc(msg_type = 121)]
pub fn cow_text(text: &str) -> Cow<'_, str> {
    if text.is_ascii() { Cow::Borrowed(text) } else { Cow::Owned(text.replace(|c: char| !c.is_ascii(), "?")) }
}

/// Returns payloads that may be borrowed.
#[tachyon_rpc(msg_type = 122)]
pub fn cow_marks(marks: &[Mark]) -> Cow<'_, [Mark]> {
    Cow::Borrowed(&marks[..marks.len().min(2)])
}

/// Returns a box.
#[tachyon_rpc(msg_type = 123)]
pub fn boxed(points: &[Point]) -> Box<[Point]> {
    points.into()
}

/// Returns a shared slice.
#[tachyon_rpc(msg_type = 124)]
pub fn shared_texts(texts: List<'_, String>) -> Arc<[String]> {
    texts.iter().map(str::to_owned).collect()
}

/// Returns a static array.
#[tachyon_rpc(msg_type = 125)]
pub fn constant() -> &'static [u16; 3] {
    &[1, 2, 3]
}

/// Returns an error, nothing, or a scan.
#[tachyon_rpc(msg_type = 126)]
pub fn fallible(scan: ScanRef<'_>, take: bool) -> Result<Option<ScanRef<'_>>, ScanError> {
    if scan.frame.is_empty() { Err(ScanError::Busy) } else { Ok(take.then_some(scan)) }
}

/// Sensors, as a service.
#[tachyon_rpc]
pub trait Sensors {
    /// Several arguments.
    #[rpc(msg_type = 201)]
    fn filter(&self, scan: ScanRef<'_>, radius: f32, tags: &[u32], limit: Option<u64>) -> Result<Scan, ScanError>;

    /// Changes the state, with a context.
    #[rpc(msg_type = 202)]
    fn rename(&mut self, #[context] cx: &Context<'_>, from: &str, to: &str) -> Option<String>;

    /// One payload with a head, and a slot.
    #[rpc(msg_type = 203)]
    fn doubled(&self, scan: ScanRef<'_>, reply: ReplySlot<'_, Vec<Scan>>) -> Result<(), SlotError> {
        reply.write(&[scan.into_owned(), scan.into_owned()])
    }

    /// No argument.
    #[rpc(msg_type = 204)]
    fn reset(&mut self);

    /// Borrowed from the implementor.
    #[rpc(msg_type = 205)]
    fn name(&self) -> &str;
}

/// The one sensor of the tests.
#[derive(Debug, Default)]
pub struct Sensor {
    name: String,
}

impl Sensors for Sensor {
    fn filter(&self, scan: ScanRef<'_>, radius: f32, tags: &[u32], limit: Option<u64>) -> Result<Scan, ScanError> {
        if let Some(&sensor) = tags.iter().find(|tag| **tag > 100) {
            return Err(ScanError::NoSensor { sensor });
        }
        let mut scan = scan.into_owned();
        scan.points.retain(|point| point.x.hypot(point.y) <= radius);
        scan.taken_at = limit.unwrap_or(scan.taken_at);
        Ok(scan)
    }

    fn rename(&mut self, cx: &Context<'_>, from: &str, to: &str) -> Option<String> {
        assert_eq!((cx.name, cx.msg_type), ("rename", 202));
        let renamed = self.name == from;
        if renamed {
            to.clone_into(&mut self.name);
        }
        renamed.then(|| self.name.clone())
    }

    fn reset(&mut self) {
        self.name.clear();
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// All endpoints whose state is the ledger, or that have none.
pub const TABLE: &[Entry<Ledger>] = endpoints![
    nothing,
    everything,
    moved,
    split,
    add_slowly,
    reached,
    zeros,
    long_text,
    fails,
    fails_in_words,
    fails_raw,
    parses,
    shared_text,
    cow_text,
    cow_marks,
    boxed,
    shared_texts,
    constant,
    fallible,
    takes_one,
    takes_several,
    takes_texts,
    takes_flags,
    takes_grade,
    takes_text,
    takes_maybe,
    gives_small,
    transposed,
    takes_tensor,
];

/// A mark.
pub const fn a_mark() -> Mark {
    Mark { at: Point { x: 0.5, y: -1.0 }, grade: Grade::Poor, valid: true, _pad: [0; 5] }
}

/// An origin.
pub fn an_origin() -> Origin {
    Origin { sensor: "north".to_owned(), at: Point { x: 1.0, y: 2.0 }, more: Some(vec![Point { x: 3.0, y: 4.0 }]) }
}

/// A value with every field set.
pub fn a_small() -> Small {
    Small {
        flag: true,
        grade: Grade::Good,
        text: "gr\u{fc}n".to_owned(),
        numbers: vec![1, 2, 3],
        names: vec!["a".to_owned(), "bc".to_owned()],
        marks: vec![a_mark()],
        maybe: Some(Grade::Poor),
        inner: Some(Origin { sensor: "n".to_owned(), more: None, ..an_origin() }),
    }
}

/// A scan of `points` points, with every field set.
pub fn a_scan(points: u16) -> Scan {
    Scan {
        taken_at: 7,
        frame: "gr\u{fc}n".to_owned(),
        points: (0..points).map(|at| Point { x: at.into(), y: 1.0 }).collect(),
        note: Some(String::new()),
        marks: vec![a_mark(); 2],
        tags: vec!["a".to_owned(), String::new(), "long ".repeat(9)],
        origin: an_origin(),
        sources: vec![an_origin(), Origin { more: None, ..an_origin() }],
        rows: vec![vec![1, -2], vec![], vec![3]],
        complete: true,
        grade: Some(Grade::Good),
        corrected: None,
    }
}

/// A scan whose fields are empty.
pub fn an_empty_scan() -> Scan {
    Scan {
        taken_at: 0,
        frame: String::new(),
        points: vec![],
        note: None,
        marks: vec![],
        tags: vec![],
        origin: Origin { sensor: String::new(), at: Point { x: 0.0, y: 0.0 }, more: None },
        sources: vec![],
        rows: vec![],
        complete: false,
        grade: None,
        corrected: Some(an_origin()),
    }
}

/// A tensor of these values, counted from 0.
pub fn counted<T: tachyon::payload::Number, const N: usize>(
    shape: [usize; N],
    value: impl Fn(u16) -> T,
) -> Tensor<T, N> {
    let count = u16::try_from(shape.iter().product::<usize>()).expect("a small tensor");
    Tensor::new(shape, (0..count).map(value).collect()).expect("a value for each index")
}

/// A frame of an image of this shape.
pub fn a_frame(height: usize, width: usize) -> Frame {
    Frame {
        camera: "left".to_owned(),
        image: counted([height, width], |at| at.to_le_bytes()[0]),
        depth: Some(counted([height, width, 1], |at| f32::from(at) / 2.0)),
        layers: vec![counted([1, 1], u64::from), counted([0, 3], u64::from)],
    }
}
