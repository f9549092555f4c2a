//! Building blocks of endpoints with `codec = "msgpack"`.

use core::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::endpoint::ReplyOf;
use super::select::Select;
use crate::dispatch::{HandlerError, HandlerResult, Items, OwnedContext, Reply, StreamSender};
use crate::engine::ErrorKind;
use crate::rpc::{Body, CallError, Encoded, ItemCodec, PackedItems, SingleValue};
use crate::schema::payload::{
    BoxedMalformed, IntoView, ItemEncoding, Message, Msgpack, PackedArguments, PackedRequest, Undeclared, pack,
};

/// Refuses the codec without its feature.
///
/// # Panics
/// Without the feature `msgpack`. The macro calls this function in a constant, so the panic is a compile error.
#[track_caller]
#[allow(clippy::assertions_on_constants, reason = "a user's constant calls it")]
pub const fn assert_msgpack() {
    assert!(
        cfg!(feature = "msgpack"),
        "`codec = \"msgpack\"` needs the cargo feature `msgpack` of the crate `tachyon`"
    );
}

/// A type that the codec packs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel as msgpack",
    label = "not a type of serde that owns its values",
    note = "derive `serde::Serialize` and `serde::Deserialize` for an owned type"
)]
pub trait Packs {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + 'static> Packs for T {}

/// The only place that reports a type that the codec does not pack.
pub const fn can_be_packed<T: Packs>() {}

/// Tests whether the codec packs `T`: [`YES`](Self::YES).
pub struct IsPacked<T>(PhantomData<T>);

impl<T: Packs> IsPacked<T> {
    /// The test passes.
    pub const YES: bool = true;
}

/// The answer for all other types.
pub trait NotPacked {
    /// The test fails.
    const YES: bool = false;
}

impl<T> NotPacked for IsPacked<T> {}

/// The codec for a type, or a stand-in.
pub trait Packed<T> {
    /// The type of a reply on the wire.
    type Message: Message;
    /// The codec of the items of a caller.
    type Items: ItemCodec<T>;

    /// Adds an argument to a request.
    fn put(request: &mut PackedRequest, name: &str, value: &T);

    /// The value of an argument.
    ///
    /// # Errors
    /// The argument is missing, or is no `T`.
    fn take(arguments: &PackedArguments<'_>, name: &str, place: &'static str) -> Result<T, BoxedMalformed>;

    /// The bytes of a reply.
    ///
    /// # Errors
    /// The value cannot be encoded.
    fn encode(value: &T) -> Result<Vec<u8>, HandlerError>;

    /// The items of a caller.
    fn items(context: &OwnedContext) -> Items<T>;

    /// The sender of a handler's items.
    fn sender(context: &OwnedContext) -> StreamSender<T>;
}

impl<T: Serialize + DeserializeOwned + 'static> Packed<T> for Select<true> {
    type Message = Msgpack<T>;
    type Items = PackedItems;

    fn put(request: &mut PackedRequest, name: &str, value: &T) {
        request.put(name, value);
    }

    fn take(arguments: &PackedArguments<'_>, name: &str, place: &'static str) -> Result<T, BoxedMalformed> {
        arguments.take(name, place)
    }

    fn encode(value: &T) -> Result<Vec<u8>, HandlerError> {
        pack(value).map_err(|text| {
            let text = format!("returned a value that cannot be written: {text}");
            HandlerError::new(ErrorKind::BadReply, &text)
        })
    }

    fn items(context: &OwnedContext) -> Items<T> {
        context.items::<Msgpack<T>>()
    }

    fn sender(context: &OwnedContext) -> StreamSender<T> {
        context.sender(ItemEncoding::Msgpack(pack))
    }
}

impl<T> Packed<T> for Select<false> {
    type Message = ();
    type Items = NoItems;

    fn put(_request: &mut PackedRequest, _name: &str, _value: &T) {
        unreachable!("the compiler refuses the type")
    }

    fn take(_arguments: &PackedArguments<'_>, _name: &str, _place: &'static str) -> Result<T, BoxedMalformed> {
        unreachable!("the compiler refuses the type")
    }

    fn encode(_value: &T) -> Result<Vec<u8>, HandlerError> {
        unreachable!("the compiler refuses the type")
    }

    fn items(_context: &OwnedContext) -> Items<T> {
        unreachable!("the compiler refuses the type")
    }

    fn sender(_context: &OwnedContext) -> StreamSender<T> {
        unreachable!("the compiler refuses the type")
    }
}

/// The codec of no item.
pub struct NoItems;

impl<T> ItemCodec<T> for NoItems {
    fn body<'v>(_item: impl IntoView<'v, T>) -> Result<impl Body, String> {
        Ok(SingleValue::<()>::new(()))
    }
}

/// The request of the endpoint `name`, to send.
///
/// # Errors
/// An argument cannot be encoded.
pub fn finish_packed<E>(name: &str, request: PackedRequest) -> Result<Encoded, CallError<E>> {
    request.finish().map(Encoded).map_err(|text| CallError::Unwritable { endpoint: name.to_owned(), text })
}

/// The type of a returned value in msgpack: `S` selects the codec.
pub struct PackedReply<S>(PhantomData<S>);

impl<T, S: Packed<T>> ReplyOf<T> for PackedReply<S> {
    type Message = S::Message;
    type Error = Undeclared;

    fn send(value: T, reply: Reply<'_>) -> Result<HandlerResult, Undeclared> {
        Ok(S::encode(&value).and_then(|bytes| reply.bytes(&bytes)))
    }

    fn encode(value: T) -> Result<Result<Vec<u8>, HandlerError>, Undeclared> {
        Ok(S::encode(&value))
    }
}

/// As [`PackedReply`], of a returned `Result`.
pub struct PackedResult<S>(PhantomData<S>);

impl<T, E, S: Packed<T>> ReplyOf<Result<T, E>> for PackedResult<S> {
    type Message = S::Message;
    type Error = E;

    fn send(outcome: Result<T, E>, reply: Reply<'_>) -> Result<HandlerResult, E> {
        outcome.map(|value| S::encode(&value).and_then(|bytes| reply.bytes(&bytes)))
    }

    fn encode(outcome: Result<T, E>) -> Result<Result<Vec<u8>, HandlerError>, E> {
        outcome.map(|value| S::encode(&value))
    }
}
