//! Names for generated code: no part of the public API, free to change in any release.
//!
//! The macros and this crate are pinned to the same version, so both sides always match.

mod declared;
mod endpoint;
mod gaps;
mod message;
mod msgpack;
mod select;
mod table;

pub use core::clone::Clone;
pub use core::cmp::PartialEq;
pub use core::convert::From;
pub use core::error::Error;
pub use core::fmt::{self, Debug};
pub use core::future::Future;
pub use core::marker::{Copy, PhantomData, Send, Sized, Sync};
pub use core::mem::{MaybeUninit, align_of, size_of};
pub use core::option::Option;
pub use core::primitive::{bool, i8, i16, i32, i64, i128, str, u8, u16, u32, u64, usize};
pub use core::result::Result;
pub use core::time::Duration;
pub use core::{concat, format_args};
pub use std::string::String;
pub use std::sync::Arc;
pub use std::vec::{IntoIter, Vec};

pub use tachyon_macros::{DeclaredError, Emit, Payload};

pub use self::declared::{declared, zeros};
pub use self::endpoint::{
    CallsStream, ErrorTravels, InSlot, IsDeclared, IsInSlot, IsInto, IsReply, IsShown, NeverChanged, NotDeclared,
    NotInSlot, NotInto, NotReply, NotShown, ReplyOf, Serves, Spelled, answer, answer_later, answer_slot,
    can_be_in_slot, can_be_reply, context, empty, error_form, error_travels, fallible, handle, replies,
    replies_or_error, send_all, send_all_or_error, start_shared, start_stateless, task, thread_shared,
    thread_stateless,
};
pub use self::gaps::{
    Asked, Defined, IsDefined, IsFixed, NotDefined, NotFixed, Shape, assert_aligned, assert_fixed,
    assert_fixed_element, assert_no_gap_after, assert_no_gap_before, assert_not_empty, assert_number, is_valid,
    never_compiled, number, shape,
};
pub use self::message::Opaque;
pub use self::msgpack::{
    IsPacked, NotPacked, Packed, PackedReply, PackedResult, Packs, assert_msgpack, can_be_packed, finish_packed,
};
pub use self::select::{
    HasItems, IsArgument, IsValue, Lendable, NotArgument, NotValue, Parameter, PassSlice, Select, Slot, Take, Travels,
    can_be_element, can_be_in_tensor, can_be_lent, can_be_parameter, travels,
};
pub use self::table::{Listed, NotAnEndpoint, Probe, Table, assert_own_msg_type, entries, numbers, total};
#[cfg(feature = "tokio")]
pub use crate::client::tokio::{AsyncCaller, AsyncStream, call_async, stream};
pub use crate::dispatch::{
    AsyncReply, Context, ConvertError, Dispatcher, Endpoint, Entry, EntryHandler, ErrorForm, HandlerError,
    HandlerFuture, IntoReply, Items, OwnedContext, Replied, Reply, Request, Requires, SlotOf, SlotResult, Stateless,
    StreamHandler, StreamSender,
};
pub use crate::error_kind::ErrorKind;
pub use crate::rpc::{
    Body, Borrowed, CallError, Caller, Calls, Contract, Fields, HasCaller, InPlace, OpenStream, Owned, RepliesOnce,
    SingleValue, Started, StreamsReplies, TakesItems, TypedItems, With, call, call_in_place, open, start,
};
pub use crate::schema::describe::Signature;
/// The error of readers.
pub use crate::schema::payload::BoxedMalformed as Malformed;
pub use crate::schema::payload::{
    Argument, DeclaredError, EnumLayout, ErrorLayout, Field, Fixed, Form, Head, HeadField, HeadLayout, IntoView,
    ItemEncoding, Layout, List, Message, NoOption, PackedArguments, PackedRequest, Primitive, ReplyValue, Scratch,
    StructLayout, TensorRef, Undeclared, Value, ValueType, Variant, Writer, align8, assert_by_value, assert_ndim,
    assert_place, list_len, max_depth, offsets, outer_depth, own_list, read_list, write_list,
};

/// Passes on the code that needs the feature `tokio`: the macros do not know the features of this crate.
#[cfg(feature = "tokio")]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_tokio {
    ($($code:tt)*) => { $($code)* };
}

/// Drops the code that needs the feature `tokio`.
#[cfg(not(feature = "tokio"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_tokio {
    ($($code:tt)*) => {};
}

/// An error if no runtime can run the futures of an `async` endpoint.
#[cfg(feature = "tokio")]
#[doc(hidden)]
#[macro_export]
macro_rules! __needs_tokio {
    () => {};
}

#[cfg(not(feature = "tokio"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __needs_tokio {
    () => {
        compile_error! {
            "an `async` endpoint needs the feature `tokio` of `tachyon`: add it in Cargo.toml, or remove `async`"
        }
    };
}

pub use crate::{__needs_tokio as needs_tokio, __with_tokio as with_tokio};

/// The `msg_type` that marks an error reply.
const RESERVED: u16 = u16::MAX;

/// Checks the value of a user's constant.
///
/// # Panics
///
/// When the value is reserved. The macro calls this in a constant only, so the panic is a compile error, and
/// `#[track_caller]` puts it at the path of the user's constant.
#[track_caller]
pub const fn assert_msg_type(value: u16) {
    assert!(
        value != RESERVED,
        "tachyon_rpc: msg_type 65535 is reserved for error replies: a `msg_type` is a number from 0 to 65534"
    );
}
