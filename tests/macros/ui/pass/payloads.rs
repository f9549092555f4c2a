//! Fixed payloads of every form, in a crate that denies all warnings.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, unused_lifetimes)]
#![deny(rust_2018_idioms, single_use_lifetimes, let_underscore_drop, clippy::all, clippy::pedantic)]
#![allow(clippy::trivially_copy_pass_by_ref, reason = "a handler borrows the request")]

use tachyon::dispatch::{ReplySlot, SlotError};
use tachyon::payload::{Fixed, Layout, Primitive, Value};
use tachyon::{endpoints, tachyon_rpc};

mod vendored {
    pub(crate) use ::tachyon as ipc;
}

/// Every type of number.
#[tachyon::payload]
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Numbers {
    /// Unsigned.
    a: u64,
    b: i64,
    c: f64,
    d: u32,
    e: i32,
    f: f32,
    g: u16,
    h: i16,
    i: u8,
    j: i8,
    k: bool,
    l: [u8; 5],
}

/// Of a number with a sign.
#[tachyon::payload]
#[repr(i16)]
#[derive(Debug, Clone, Copy, PartialEq)]
enum Level {
    /// Low.
    Low = -300,
    r#High = 300,
}

const COUNT: usize = 2;

/// A nested payload with keywords and padding.
#[tachyon::payload]
#[derive(Debug, Clone, Copy)]
struct Nested {
    r#type: Level,
    levels: [Level; COUNT],
    _pad: [u8; 2],
    numbers: [Numbers; COUNT],
}

/// Every bit pattern is a value.
#[vendored::ipc::payload(crate = crate::vendored::ipc)]
struct Plain {
    value: [[u16; 3]; 2],
}

/// Aliases with the names of numbers: a field is checked by its type.
#[allow(non_camel_case_types, reason = "it is the point")]
mod aliases {
    use super::Level;

    type u16 = Level;
    type u8 = bool;

    #[tachyon::payload]
    pub(super) struct Aliased {
        pub(super) level: u16,
        pub(super) flags: [u8; 2],
    }

    #[tachyon::payload(extensible)]
    pub(super) struct InHead {
        pub(super) level: u16,
        pub(super) flag: u8,
    }
}

/// Arrays without elements, and so without bytes.
#[tachyon::payload]
#[derive(Debug, PartialEq)]
struct Hollow {
    none: [[bool; 0]; 3],
    level: Level,
    never: [Level; 0],
}

/// Only the compiler can check this layout.
#[tachyon::payload]
#[repr(C)]
struct Wrapped {
    plain: Plain,
}

macro_rules! made {
    ($name:ident, $ty:ty) => {
        /// Written by a macro.
        #[tachyon::payload]
        struct $name {
            value: $ty,
        }
    };
}
made!(Made, u32);

/// The state of a dispatcher.
struct State {
    calls: u64,
}

/// Takes a payload, and returns another.
#[tachyon_rpc(msg_type = 1)]
fn nested(request: &Nested) -> Result<Numbers, String> {
    request.numbers.first().copied().ok_or_else(String::new)
}

/// Takes and returns slices.
#[tachyon_rpc(msg_type = 2)]
fn levels(request: &[Nested]) -> Vec<Level> {
    request.iter().map(|nested| nested.r#type).collect()
}

/// Returns a payload borrowed from the state.
#[tachyon_rpc(msg_type = 3)]
fn plain(request: &Plain) -> &Plain {
    request
}

/// Takes and returns numbers.
#[tachyon_rpc(msg_type = 4)]
fn number(request: &u64) -> f64 {
    if *request == 0 { 0.0 } else { 1.0 }
}

/// Takes an array, and returns a slice.
#[tachyon_rpc(msg_type = 5)]
fn array(request: &[f64; 3]) -> [f64; 3] {
    *request
}

/// Changes the state.
#[tachyon_rpc(msg_type = 6)]
fn count(#[state] state: &mut State) -> u64 {
    state.calls += 1;
    state.calls
}

/// Reads the state.
#[tachyon_rpc(msg_type = 7)]
fn calls(#[state] state: &State, _request: &[u8]) -> u64 {
    state.calls
}

/// Writes a payload in place.
#[tachyon_rpc(msg_type = 8)]
fn in_place(#[state] state: &State, request: &Made, reply: ReplySlot<'_, Numbers>) -> Result<(), SlotError> {
    let mut numbers = reply.reserve()?;
    numbers.a = state.calls + u64::from(request.value);
    numbers.commit();
    Ok(())
}

/// Writes bytes in place.
#[tachyon_rpc(msg_type = 9)]
fn bytes_in_place(reply: ReplySlot<'_>) {
    if let Ok(mut bytes) = reply.reserve(100) {
        bytes.fill(1);
        bytes.commit_first(10);
    }
}

/// Takes a wrapped array, and returns a payload that a macro wrote.
#[tachyon_rpc(msg_type = 10)]
fn wrapped(request: &Wrapped) -> Made {
    Made { value: u32::from(request.plain.value[0][0]) }
}

fn main() {
    let table = endpoints![nested, levels, plain, number, array, count, calls, in_place, bytes_in_place, wrapped];
    assert_eq!(table.iter().filter(|entry| entry.is_exclusive()).count(), 1);
    let dispatcher = tachyon::Dispatcher::with_state(State { calls: 0 }, table);
    assert!(dispatcher.is_exclusive());
    assert!(!tachyon::Dispatcher::new(endpoints![nested, number]).is_exclusive());

    let Layout::Struct(layout) = Nested::LAYOUT else { panic!("a struct") };
    assert_eq!(layout.fields[0].name, "type");
    assert_eq!(layout.fields[3].offset, 8);
    assert!(!Nested::LAYOUT.accepts_any_bytes());
    assert!(Wrapped::LAYOUT.accepts_any_bytes());
    let Layout::Enum(layout) = Level::LAYOUT else { panic!("an enum") };
    assert_eq!((layout.repr, layout.variants[0].value, layout.variants[1].name), (Primitive::I16, -300, "High"));
    assert_eq!(layout.doc, "Of a number with a sign.");

    let aliased = aliases::Aliased::from_bytes(&[44, 1, 1, 0]).expect("it is one");
    assert!(aliased.level == Level::High && aliased.flags == [true, false]);
    assert!(aliases::Aliased::from_bytes(&[44, 1, 1, 2]).is_err());
    assert!(aliases::Aliased::from_bytes(&[45, 1, 1, 0]).is_err());
    let bytes = aliases::InHead { level: Level::Low, flag: true }.to_bytes();
    let in_head = aliases::InHead::from_bytes(&bytes).expect("it is one");
    assert!(in_head.level == Level::Low && in_head.flag);
    for (at, byte) in [(4, 0), (6, 2)] {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        assert!(aliases::InHead::from_bytes(&bytes).is_err());
    }
    let hollow = Hollow { none: [[]; 3], level: Level::High, never: [] };
    assert_eq!(Hollow::from_bytes(&hollow.to_bytes()), Ok(hollow));

    // The functions are unchanged.
    let numbers = Numbers { a: 7, k: true, ..Numbers::default() };
    let one = Nested { r#type: Level::Low, levels: [Level::r#High; 2], _pad: [0; 2], numbers: [numbers; 2] };
    assert_eq!(nested(&one), Ok(numbers));
    assert_eq!(levels(&[one]), [Level::Low]);
    let mut state = State { calls: 0 };
    assert_eq!((count(&mut state), calls(&state, b"")), (1, 1));
    assert_eq!(wrapped(&Wrapped { plain: Plain { value: [[9; 3]; 2] } }).value, 9);
    let _ = (plain, number, array, in_place, bytes_in_place);
}
