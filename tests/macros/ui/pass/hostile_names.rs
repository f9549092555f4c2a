//! A crate that has taken every name which generated code would use, were it not written with full paths.
#![no_implicit_prelude]
#![allow(
    non_camel_case_types,
    dead_code,
    unused_macros,
    clippy::trivially_copy_pass_by_ref,
    clippy::upper_case_acronyms,
    reason = "the names are the point"
)]

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
struct Wire;
struct Value;
struct Select;
struct String;
struct Vec;
struct Payload;
struct Layout;
struct Needs;
struct Method;
struct Implementor;
struct ReplySlot;
struct state {}
struct slot {}
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

#[::tachyon::payload]
struct field {
    r#fn: u64,
    core: [f32; 2],
}

#[::tachyon::payload]
#[repr(u64)]
enum Payloads {
    Some = 1,
    None = 18_446_744_073_709_551_615,
}

#[tachyon_rpc(msg_type = 3)]
fn answer(request: &[Payloads]) -> &[Payloads] {
    request
}

#[tachyon_rpc(msg_type = 4)]
fn contract(#[state] state: &state, reply: &u64, argument_0: u64, head: &[f32], scratch: u8) -> u64 {
    let _ = (argument_0, head, scratch);
    let _ = state;
    *reply
}

#[tachyon_rpc]
trait Service {
    #[rpc(msg_type = 1)]
    fn request(&self, reply: &u64) -> u64;
    #[rpc(msg_type = 2)]
    fn caller(&mut self, timeout: &[f64], slot: ::tachyon::ReplySlot<'_, f64>);
}

fn main() {
    let _ = endpoints![echo, handle, answer, contract];
}
