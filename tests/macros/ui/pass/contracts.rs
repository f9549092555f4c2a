//! Endpoints in every place and with every form of type: aliases, paths, macros, functions, modules, conditions, and
//! names that generated code uses.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, unreachable_pub, unused_qualifications, unused_lifetimes, non_ascii_idents)]
#![deny(rust_2018_idioms, clippy::all, clippy::pedantic)]
#![allow(
    clippy::too_many_arguments,
    clippy::needless_pass_by_value,
    clippy::trivially_copy_pass_by_ref,
    clippy::large_types_passed_by_value,
    reason = "forms"
)]

use tachyon::dispatch::{Entry, ReplySlot, SlotError};
use tachyon::{CallError, Caller, Context, Dispatcher, endpoints, tachyon_rpc};

mod vendored {
    pub(crate) use ::tachyon as ipc;
}

mod types {
    pub(crate) mod deep {
        #[tachyon::payload]
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct Note {
            pub(crate) text: String,
        }

        #[tachyon::payload]
        #[derive(Debug, PartialEq)]
        pub(crate) struct Point {
            pub(crate) x: u32,
        }
    }

    pub(crate) type Alias = deep::Note;
    pub(crate) type Of<T> = Vec<T>;
    pub(crate) type Maybe<T> = Option<T>;
    pub(crate) type Fallible<T> = Result<T, super::Failure>;
    pub(crate) type Either<T, E> = Result<T, E>;
    pub(crate) type Text<'a> = &'a str;
    pub(crate) type Slice<'a, T> = &'a [T];
    pub(crate) type Lent<'a> = deep::NoteRef<'a>;

    pub(crate) trait Chosen {
        type Type;
    }

    impl Chosen for u8 {
        type Type = deep::Point;
    }
}

use types::deep::{Note, Point};
use types::{Alias, Chosen, Either, Fallible, Lent, Maybe, Of, Slice, Text};

/// The errors.
#[tachyon::error]
enum Failure {
    /// The one error.
    #[error("empty")]
    Empty,
}

#[tachyon_rpc(msg_type = 1)]
fn aliases(
    note: &Alias,
    list: Of<String>,
    maybe: Maybe<u32>,
    text: Text<'_>,
    slice: Slice<'_, u32>,
) -> Fallible<Alias> {
    let known = list.len() + slice.len() + text.len() + usize::from(maybe.is_some());
    if known == 0 { Err(Failure::Empty) } else { Ok(note.clone()) }
}

#[tachyon_rpc(msg_type = 2)]
fn lent(note: Lent<'_>, points: Slice<'_, Point>) -> Either<u64, Failure> {
    if note.text.is_empty() { Err(Failure::Empty) } else { Ok(points.len() as u64) }
}

#[tachyon_rpc(msg_type = 3)]
fn projected(
    one: <u8 as Chosen>::Type,
    lent: &<u8 as Chosen>::Type,
    many: &[<u8 as Chosen>::Type],
    array: [<u8 as Chosen>::Type; 2],
) -> <u8 as Chosen>::Type {
    Point { x: one.x + lent.x + array[0].x + many.iter().map(|point| point.x).sum::<u32>() }
}

#[allow(unused_qualifications, reason = "it is the point")]
#[tachyon_rpc(msg_type = 4)]
fn spelled_out(maybe: core::option::Option<std::string::String>, list: std::vec::Vec<std::string::String>) -> u64 {
    list.len() as u64 + u64::from(maybe.is_some())
}

/// Parameters with keywords, and with names that generated code uses.
#[tachyon_rpc(msg_type = 5)]
fn r#match(
    #[state] calls: &u64,
    caller: &str,
    request: &[u8],
    #[context] timeout: &Context<'_>,
    self_: u8,
    len: u8,
    out: Option<u32>,
    head: f32,
    r#type: bool,
    scratch: Vec<String>,
    body: &Note,
    __state: u8,
    reply: ReplySlot<'_, String>,
) -> Result<(), SlotError> {
    drop((calls, request, timeout, self_, len, out, head, r#type, scratch, body, __state));
    reply.write(caller)
}

/// A payload whose fields have such names.
#[tachyon::payload]
#[derive(Debug, Clone, PartialEq)]
struct Named {
    r#type: String,
    self_: Vec<u8>,
    len: u32,
    out: Option<u32>,
    writer: Vec<String>,
    head: String,
    scratch: Note,
    view: u8,
    end: u8,
    part: u8,
}

/// An error whose fields have such names.
#[tachyon::error]
enum NamedError {
    #[error("{type} {name} {f}")]
    Type { r#type: String, name: String, f: u32, fields: Vec<u8>, head: Option<Note>, error: u8 },
}

#[tachyon_rpc(msg_type = 6)]
fn named(named: NamedRef<'_>, head: u8) -> Result<Named, NamedError> {
    let (name, text) = (named.head.to_owned(), named.r#type.to_owned());
    match head {
        0 => Err(NamedError::Type { r#type: text, name, f: 1, fields: vec![], head: None, error: 0 }),
        _ => Ok(named.into_owned()),
    }
}

#[vendored::ipc::payload(crate = crate::vendored::ipc)]
struct Renamed {
    text: String,
}

#[vendored::ipc::error(crate = crate::vendored::ipc)]
enum RenamedError {
    #[error("{why:?}")]
    Why { why: Option<String> },
}

#[vendored::ipc::tachyon_rpc(msg_type = 7, crate = crate::vendored::ipc)]
fn renamed(texts: vendored::ipc::List<'_, String>, renamed: Option<RenamedRef<'_>>) -> Result<Renamed, RenamedError> {
    let renamed = renamed.map(RenamedRef::into_owned).filter(|_| texts.is_empty());
    renamed.ok_or(RenamedError::Why { why: None })
}

macro_rules! made {
    ($number:literal $name:ident $payload:ident $error:ident { $($field:ident: $ty:ty),* }) => {
        #[tachyon::payload]
        #[derive(Debug, Clone)]
        struct $payload {
            $($field: $ty,)*
            fixed: u32,
        }

        #[tachyon::error]
        enum $error {
            #[error("bad")]
            Bad { $($field: $ty),* },
        }

        #[tachyon_rpc(msg_type = $number)]
        fn $name($($field: $ty,)* request: &$payload, #[state] state: &u64, len: &[u8]) -> Result<$payload, $error> {
            if *state == len.len() as u64 { Ok(request.clone()) } else { Err($error::Bad { $($field),* }) }
        }
    };
}
made!(8 made Made MadeError { a: String, b: Vec<String>, c: Option<String> });

#[cfg(not(any()))]
#[tachyon_rpc(msg_type = 9)]
fn there(a: u32, b: u32) -> u32 {
    a + b
}

#[tachyon_rpc(msg_type = 9)]
#[cfg(any())]
fn there(a: NoSuchType, b: &NoSuchType) -> NoSuchType {
    a
}

#[tachyon_rpc]
trait Conditional {
    #[cfg(any())]
    #[rpc(msg_type = 1)]
    fn gone(&self, a: NoSuchType, b: u32) -> NoSuchType;
    #[rpc(msg_type = 1)]
    #[cfg(not(any()))]
    fn there(&self, a: u32, r#type: &str) -> u32;
}

impl Conditional for () {
    fn there(&self, a: u32, r#type: &str) -> u32 {
        a + u32::from(r#type.is_empty())
    }
}

mod inner {
    use super::{Note, tachyon_rpc};

    #[tachyon_rpc(msg_type = 10)]
    pub(super) fn visible(note: super::types::deep::NoteRef<'_>, point: super::types::deep::Point) -> Note {
        Note { text: format!("{} {}", note.text, point.x) }
    }

    #[tachyon_rpc(msg_type = 11)]
    pub(in crate::inner) fn hidden(a: u8, b: u8) -> u8 {
        a + b
    }

    pub(super) fn table() -> usize {
        tachyon::endpoints![visible, hidden].len()
    }
}

fn inside_a_function() -> usize {
    #[tachyon::payload]
    struct Local {
        text: String,
    }

    #[tachyon_rpc(msg_type = 1)]
    fn local(local: LocalRef<'_>, number: u32) -> Local {
        if number == 0 { Local { text: String::new() } } else { local.into_owned() }
    }

    endpoints![local].len()
}

/// As many parameters as clippy permits.
mod seven {
    #![deny(clippy::too_many_arguments)]

    #[tachyon::tachyon_rpc(msg_type = 15)]
    pub(super) fn seven(a1: u8, a2: u8, a3: u8, a4: u8, a5: u8, a6: u8, a7: u8) -> u8 {
        a1 + a2 + a3 + a4 + a5 + a6 + a7
    }
}

/// The maximum number of arguments.
#[tachyon_rpc(msg_type = 12)]
#[rustfmt::skip]
fn thirty_two(
    a0: u8, a1: u8, a2: u8, a3: u8, a4: u8, a5: u8, a6: u8, a7: u8, b0: &str, b1: &str, b2: &str, b3: &str, b4: &str,
    b5: &str, b6: &str, b7: &str, c0: Option<u8>, c1: Option<u8>, c2: Option<u8>, c3: Option<u8>, c4: Option<u8>,
    c5: Option<u8>, c6: Option<u8>, c7: Option<u8>, d0: &[u8], d1: &[u8], d2: &[u8], d3: &[u8], d4: &[u8], d5: &[u8],
    d6: &[u8], d7: &[u8],
) -> u64 {
    let numbers = [a0, a1, a2, a3, a4, a5, a6, a7].len();
    let options = [c0, c1, c2, c3, c4, c5, c6, c7].len();
    (numbers + options + [b0, b1, b2, b3, b4, b5, b6, b7].len() + [d0, d1, d2, d3, d4, d5, d6, d7].len()) as u64
}

/// The maximum depth of nested types.
macro_rules! nested {
    ($outer:ident $inner:ident $($rest:ident)*) => {
        #[tachyon::payload(extensible)]
        struct $outer {
            inner: $inner,
        }
        nested!($inner $($rest)*);
    };
    ($last:ident) => {
        #[tachyon::payload]
        struct $last {
            text: String,
        }
    };
}
nested!(N16 N15 N14 N13 N12 N11 N10 N9 N8 N7 N6 N5 N4 N3 N2);

#[tachyon_rpc(msg_type = 13)]
fn nested(nested: N16, number: u8) -> u8 {
    let N16 { inner: N15 { inner: N14 { inner } } } = nested;
    drop(inner);
    number
}

/// A head of nearly the maximum size.
#[tachyon_rpc(msg_type = 14)]
fn large(array: [u8; 4080], number: u32) -> u32 {
    number + u32::from(array[0])
}

/// Never called: checks the types of client functions.
fn calls(caller: &mut Caller, note: &Note) -> Result<(), CallError<Failure>> {
    let mut reply: Alias = aliases::call(caller, note, &["a"], Some(1), "text", &[1])?;
    reply.text.clear();
    let _: u64 = lent::call(caller, note, &[Point { x: 1 }])?;
    let point = projected::call(caller, Point { x: 1 }, Point { x: 2 }, &[], [Point { x: 3 }; 2]);
    assert!(point.is_ok_and(|point: Point| point.x > 0));
    assert!(spelled_out::call(caller, Some("text"), &["a", "b"]).is_ok());
    assert!(renamed::call(caller, &["a"], None).is_err());
    Ok(())
}

fn main() {
    let table: &[Entry<()>] = endpoints![
        aliases,
        lent,
        projected,
        spelled_out,
        named,
        renamed,
        there,
        inner::visible,
        thirty_two,
        nested,
        large
    ];
    assert_eq!(table.len(), 11);
    assert_eq!(endpoints![r#match, made].len(), 2);
    assert_eq!(endpoints![seven::seven].len(), 1);
    assert_eq!((inner::table(), inside_a_function()), (2, 1));
    assert_eq!(ConditionalService::dispatcher(()).len(), 1);
    let shown: Vec<String> = Dispatcher::with_state(7, endpoints![r#match, made])
        .describe()
        .endpoints
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        shown,
        [
            "match(caller: str, request: list[u8], self_: u8, len: u8, out: option[u32], head: f32, type: bool, \
             scratch: list[str], body: Note, state: u8) -> str",
            "made(a: str, b: list[str], c: option[str], request: Made, len: list[u8]) -> Made raises Bad",
        ]
    );
    let _ = calls;
}
