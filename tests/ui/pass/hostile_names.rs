//! A crate that has taken every name which generated code would use, were it not written with full paths.
#![no_implicit_prelude]
#![allow(non_camel_case_types, dead_code, unused_macros, clippy::upper_case_acronyms, reason = "the names are the point")]

use ::tachyon::{endpoints, tachyon_rpc};

struct u16;
struct str;
struct Result;
struct Option;
struct Entry;
struct Endpoint;
struct Request;
struct Reply;
struct IntoReply;
struct Caller;
struct Duration;
struct Sized;
struct LISTED;
trait call {}
mod tachyon {}
mod core {}
mod std {}
macro_rules! concat {
    ($($any:tt)*) => {};
}

/// Documented.
#[doc = ::std::concat!("by a", " macro")]
#[tachyon_rpc(msg_type = 1)]
fn echo(payload: &[u8]) -> &[u8] {
    payload
}

#[tachyon_rpc(msg_type = 2)]
fn handle(payload: &[u8]) -> ::std::vec::Vec<u8> {
    ::std::clone::Clone::clone(&::std::borrow::ToOwned::to_owned(payload))
}

fn main() {
    let _ = endpoints![echo, handle];
}
