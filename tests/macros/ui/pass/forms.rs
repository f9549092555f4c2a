//! Every form of an endpoint, in a crate that denies all warnings.
#![deny(warnings, missing_docs, unsafe_code, unreachable_pub, unused_qualifications, unused_lifetimes)]
#![deny(rust_2018_idioms, single_use_lifetimes, let_underscore_drop, clippy::all, clippy::pedantic)]

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use tachyon::dispatch::Entry;
use tachyon::{Endpoint, endpoints, tachyon_rpc};

/// Returns a vector.
#[tachyon_rpc(msg_type = 0)]
fn vector(payload: &[u8]) -> Vec<u8> {
    payload.to_vec()
}

/// Returns the request.
#[tachyon_rpc(msg_type = 1)]
pub(crate) fn slice(payload: &[u8]) -> &[u8] {
    payload
}

/// Returns an array.
#[must_use]
#[tachyon_rpc(msg_type = 0x2)]
pub fn array(_payload: &[u8]) -> [u8; 2] {
    [1, 2]
}

/// Returns a borrowed array.
#[tachyon_rpc(msg_type = 3u16)]
fn borrowed_array(_: &[u8]) -> &'static [u8; 2] {
    &[1, 2]
}

/// Returns a string. The parameter list has a trailing comma.
#[rustfmt::skip]
#[tachyon_rpc(msg_type = 4,)]
fn string(payload: &[u8]) -> String {
    format!("{} bytes", payload.len())
}

/// Returns a literal.
#[tachyon_rpc(msg_type = 5)]
fn text(_payload: &'_ [u8]) -> &'static str {
    "text"
}

/// Returns a box.
#[tachyon_rpc(msg_type = 6)]
fn boxed(payload: &[u8]) -> Box<[u8]> {
    payload.into()
}

/// Returns bytes that may be borrowed.
#[tachyon_rpc(msg_type = 7)]
fn cow(payload: &[u8]) -> Cow<'_, [u8]> {
    Cow::Borrowed(payload)
}

/// Returns text that may be borrowed.
#[tachyon_rpc(msg_type = 8)]
fn cow_text(payload: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(payload)
}

/// Returns shared bytes.
#[tachyon_rpc(msg_type = 9)]
fn shared(payload: &[u8]) -> Arc<[u8]> {
    payload.into()
}

/// Returns an explicit `()`.
#[tachyon_rpc(msg_type = 10)]
fn nothing(_payload: &[u8]) {}

/// Returns a type that a macro writes.
#[tachyon_rpc(msg_type = 11)]
fn unit(_payload: &[u8]) -> Unit {}

type Unit = ();

/// The errors.
#[derive(Debug)]
struct Wrong;

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("wrong")
    }
}

type Result<T> = std::result::Result<T, Wrong>;

/// Returns bytes or an error, through an alias with the name of a prelude type.
#[tachyon_rpc(msg_type = 12)]
fn fallible(payload: &[u8]) -> Result<Vec<u8>> {
    if payload.is_empty() { Err(Wrong) } else { Ok(payload.to_vec()) }
}

/// Returns nothing or any error.
#[tachyon_rpc(msg_type = 13)]
fn fallible_unit(payload: &[u8]) -> std::result::Result<(), Box<dyn std::error::Error>> {
    std::str::from_utf8(payload)?;
    Ok(())
}

/// Returns an error of an unnamed type.
#[tachyon_rpc(msg_type = 14)]
fn opaque(payload: &[u8]) -> std::result::Result<&[u8], impl fmt::Display> {
    payload.get(1..).ok_or("too short")
}

/// Binds the request mutably, and has the highest number.
#[tachyon_rpc(msg_type = 65534)]
fn mutable_binding(mut payload: &[u8]) -> &[u8] {
    payload = payload.get(1..).unwrap_or_default();
    payload
}

mod numbers {
    pub(crate) const CONSTANT: u16 = 300;
}

/// Has a constant as its number.
#[tachyon_rpc(msg_type = numbers::CONSTANT)]
const fn constant(payload: &[u8]) -> &[u8] {
    payload
}

fn main() {
    let table: &'static [Entry<()>] = endpoints![
        vector,
        slice,
        array,
        borrowed_array,
        string,
        text,
        boxed,
        cow,
        cow_text,
        shared,
        nothing,
        unit,
        fallible,
        fallible_unit,
        opaque,
        mutable_binding,
        constant,
    ];
    assert_eq!(table.len(), 17);
    for (expected, entry) in (0..15).chain([65_534, 300]).zip(table) {
        assert_eq!(entry.msg_type(), expected);
    }
    assert_eq!(table[3].name(), "borrowed_array");
    assert_eq!(vector(b"x"), slice(b"x"));
    assert_eq!(array(b""), *borrowed_array(b""));
    assert_eq!(<vector as Endpoint>::DOC, "Returns a vector.");
    assert_eq!(constant::MSG_TYPE, 300);
}
