//! A crate that defines every name of generated code, which therefore uses full paths.
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
struct Payload;
struct Layout;
struct Needs;
struct Method;
struct Implementor;
struct ReplySlot;
struct Value;
struct Fixed;
struct Head;
struct Writer;
struct Scratch;
struct List;
struct Malformed;
struct Future;
struct Send;
struct Sync;
struct Arc;
struct Context;
struct Ok;
struct Select;
struct Slot;
struct String;
struct Vec;
struct Debug;
struct Clone;
struct Copy;
struct PartialEq;
struct From;
struct Error;
struct Display;
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
#[derive(::std::fmt::Debug, ::std::cmp::PartialEq)]
struct field {
    r#fn: u64,
    core: [f32; 2],
}

#[::tachyon::payload]
#[derive(::std::fmt::Debug, ::std::cmp::PartialEq)]
#[repr(u64)]
enum Payloads {
    Some = 1,
    None = 18_446_744_073_709_551_615,
}

/// Names that the code of a variable payload uses.
#[::tachyon::payload]
#[derive(::std::fmt::Debug, ::std::clone::Clone, ::std::cmp::PartialEq)]
struct variable {
    head: ::std::string::String,
    writer: ::std::vec::Vec<field>,
    scratch: ::std::option::Option<::std::vec::Vec<::std::string::String>>,
    part: ::core::primitive::u64,
    view: Payloads,
    place: more,
    end: [field; 2],
    out: bool,
    f: ::std::vec::Vec<u8>,
}

/// More names that the code of a variable payload uses.
#[::tachyon::payload(extensible)]
#[derive(::std::fmt::Debug, ::std::clone::Clone, ::std::cmp::PartialEq)]
struct more {
    len: f64,
    read: f64,
    write: f64,
    own: f64,
}

/// Names that the code of a declared error uses.
#[::tachyon::error]
enum errors {
    #[error("{name} {fields:?} {f}")]
    Ok { name: ::std::string::String, fields: ::std::vec::Vec<more>, f: u8, writer: Payloads },
    #[error("err")]
    Err,
    #[error("some")]
    Some,
    #[error("none")]
    None,
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

#[tachyon_rpc(msg_type = 5)]
async fn task(#[state] state: &state, value: u64, context: ::std::option::Option<::std::string::String>) -> u64 {
    ::std::mem::drop((state, context));
    ::std::future::ready(value).await
}

struct Iterator;
struct Items;
struct OpenStream;
struct Replies;
trait open {}
trait replies {}

#[tachyon_rpc(msg_type = 6)]
fn stream(
    #[state] state: &state,
    items: u64,
    sender: &[f32],
) -> ::std::result::Result<impl ::std::iter::Iterator<Item = more>, errors> {
    let _ = (state, sender);
    if items == 0 {
        return ::std::result::Result::Err(errors::Err);
    }
    ::std::result::Result::Ok(::std::iter::empty())
}

#[tachyon_rpc]
trait Streams {
    #[rpc(msg_type = 1)]
    fn open(&self, caller: &u64) -> impl ::std::iter::Iterator<Item = u64> + 'static;
}

impl Streams for state {
    fn open(&self, caller: &u64) -> impl ::std::iter::Iterator<Item = u64> + 'static {
        ::std::iter::once(*caller)
    }
}

#[tachyon_rpc]
trait Tasks {
    #[rpc(msg_type = 1)]
    async fn start(&self, reply: ::std::string::String) -> ::std::option::Option<u64>;

    #[rpc(msg_type = 2)]
    async fn request(&self) {}
}

impl Tasks for state {
    async fn start(&self, reply: ::std::string::String) -> ::std::option::Option<u64> {
        ::std::future::ready(::std::option::Option::Some(reply.len() as u64)).await
    }
}

#[tachyon_rpc]
trait Service {
    #[rpc(msg_type = 1)]
    fn request(&self, reply: &u64) -> u64;
    #[rpc(msg_type = 2)]
    fn caller(&mut self, timeout: &[f64], slot: ::tachyon::dispatch::ReplySlot<'_, f64>);
}

fn main() {
    let _ = endpoints![echo, handle, answer, contract, task, stream];
    ::std::mem::drop(StreamsService::dispatcher(state {}));
    ::std::mem::drop(TasksService::shared(::std::sync::Arc::new(state {})));
    let one = field { r#fn: 1, core: [0.0; 2] };
    let variable = variable {
        head: ::std::string::String::new(),
        writer: ::std::vec![one],
        scratch: ::std::option::Option::None,
        part: 1,
        view: Payloads::Some,
        place: more { len: 1.0, read: 0.0, write: 0.0, own: 0.0 },
        end: [one; 2],
        out: true,
        f: ::std::vec![1],
    };
    let lent: variableRef<'_> = ::std::convert::From::from(&variable);
    ::std::assert!(lent.into_owned() == variable);
    ::std::assert_eq!(::std::string::ToString::to_string(&errors::Err), "err");
}

/// Constructs the values that no other code constructs.
fn unused() -> [errors; 3] {
    let name = ::std::string::String::new();
    [errors::Some, errors::None, errors::Ok { name, fields: ::std::vec![], f: 1, writer: Payloads::None }]
}
