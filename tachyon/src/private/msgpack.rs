//! Building blocks of endpoints with `codec = "msgpack"`.

use core::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::select::Select;
use crate::dispatch::{AsyncReply, ConvertError, HandlerError, HandlerResult, Reply};
use crate::engine::ErrorKind;
use crate::rpc::{CallError, Encoded};
use crate::schema::payload::msgpack::encode;
use crate::schema::payload::{BoxedMalformed, Message, Msgpack, PackedArguments, PackedRequest};

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

    /// Adds an argument to a request.
    fn put(request: &mut PackedRequest, name: &str, value: &T);

    /// The value of an argument.
    ///
    /// # Errors
    /// The argument is missing, or is no `T`.
    fn take(arguments: &PackedArguments<'_>, name: &str, place: &'static str) -> Result<T, BoxedMalformed>;

    /// Sends a reply.
    ///
    /// # Errors
    /// The value cannot be encoded, or the reply cannot be sent.
    fn send(value: &T, reply: Reply<'_>) -> HandlerResult;

    /// The value of a reply.
    fn unwrap(message: Self::Message) -> T;
}

impl<T: Serialize + DeserializeOwned + 'static> Packed<T> for Select<true> {
    type Message = Msgpack<T>;

    fn put(request: &mut PackedRequest, name: &str, value: &T) {
        request.put(name, value);
    }

    fn take(arguments: &PackedArguments<'_>, name: &str, place: &'static str) -> Result<T, BoxedMalformed> {
        arguments.take(name, place)
    }

    fn send(value: &T, reply: Reply<'_>) -> HandlerResult {
        let mut bytes = Vec::new();
        match encode(&mut bytes, value) {
            Ok(()) => reply.bytes(&bytes),
            Err(text) => {
                let text = format!("returned a value that cannot be written: {text}");
                Err(HandlerError::new(ErrorKind::BadReply, &text))
            }
        }
    }

    fn unwrap(Msgpack(value): Msgpack<T>) -> T {
        value
    }
}

impl<T> Packed<T> for Select<false> {
    type Message = ();

    fn put(_request: &mut PackedRequest, _name: &str, _value: &T) {
        unreachable!("the compiler refuses the type")
    }

    fn take(_arguments: &PackedArguments<'_>, _name: &str, _place: &'static str) -> Result<T, BoxedMalformed> {
        unreachable!("the compiler refuses the type")
    }

    fn send(_value: &T, _reply: Reply<'_>) -> HandlerResult {
        unreachable!("the compiler refuses the type")
    }

    fn unwrap((): ()) -> T {
        unreachable!("the compiler refuses the type")
    }
}

/// The request of the endpoint `name`, to send.
///
/// # Errors
/// An argument cannot be encoded.
pub fn finish_packed<E>(name: &str, request: PackedRequest) -> Result<Encoded, CallError<E>> {
    request.finish().map(Encoded).map_err(|text| CallError::Unwritable { endpoint: name.to_owned(), text })
}

/// Replies with the value of a handler: `S` selects its type, `H` the form of its error.
///
/// # Errors
/// The handler's error, or the error of sending the reply.
pub fn answer_packed<H: ConvertError<E>, S: Packed<T>, T, E>(reply: Reply<'_>, outcome: Result<T, E>) -> HandlerResult {
    match outcome {
        Ok(value) => S::send(&value, reply),
        Err(error) => Err(H::error(error)),
    }
}

/// The output of an async handler: [`answer_packed`], later.
pub fn answer_packed_later<H, S, T, E>(outcome: Result<T, E>) -> AsyncReply
where
    H: ConvertError<E>,
    S: Packed<T>,
    T: Send + 'static,
    E: Send + 'static,
{
    AsyncReply::new(|reply| answer_packed::<H, S, T, E>(reply, outcome))
}
