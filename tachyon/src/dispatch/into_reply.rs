//! What a handler may return.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use super::handler::{HandlerError, Replied, Reply};
use crate::payload::{Element, Wire};

/// A value that can be sent as a reply.
#[diagnostic::on_unimplemented(
    message = "an endpoint cannot reply with `{Self}`",
    label = "not a reply",
    note = "an endpoint returns bytes (`Vec<u8>`, `&[u8]`, `[u8; N]`, `String`, ..), a payload (a number, `bool`, a \
            type marked with `#[tachyon::payload]`), several of them (`Vec<T>`, `&[T]`, `[T; N]`, `Box<[T]>`, \
            `Cow<[T]>`), nothing for an empty reply, or a `Result` of one of these whose error implements `Display`"
)]
pub trait IntoReply {
    /// What the caller gets.
    type Wire: Wire + ?Sized;

    /// Writes the value into the reply.
    ///
    /// # Errors
    ///
    /// When the value says that the handler failed, and when the reply cannot be sent.
    fn into_reply(self, reply: Reply<'_>) -> Result<Replied, HandlerError>;
}

// The note above lists what is a reply, so that rustc need not list these implementations as well. That for `Result` is
// named by it, because there the type inside is what is wrong.

/// Implements the trait for types that lend the slice that travels.
macro_rules! slices {
    ($([$($generics:tt)*] $ty:ty => $element:ty),* $(,)?) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> IntoReply for $ty {
            type Wire = [$element];

            #[inline]
            fn into_reply(self, reply: Reply<'_>) -> Result<Replied, HandlerError> {
                reply.bytes(Wire::bytes(AsRef::<[$element]>::as_ref(&self)))
            }
        }
    )*};
}

slices! {
    [T: Element] Vec<T> => T,
    [T: Element] &Vec<T> => T,
    [T: Element] &[T] => T,
    [T: Element] Box<[T]> => T,
    [T: Element] Arc<[T]> => T,
    [T: Element + Clone] Cow<'_, [T]> => T,
    [T: Element, const N: usize] [T; N] => T,
    [T: Element, const N: usize] &[T; N] => T,
    [] String => u8,
    [] &String => u8,
    [] &str => u8,
}

/// Implements the trait for payloads of this crate, as `#[tachyon::payload]` does for the user's.
macro_rules! payloads {
    ($($ty:ty),* $(,)?) => {$(
        #[diagnostic::do_not_recommend]
        impl IntoReply for $ty {
            type Wire = Self;

            #[inline]
            fn into_reply(self, reply: Reply<'_>) -> Result<Replied, HandlerError> {
                reply.bytes(Wire::bytes(&self))
            }
        }
    )*};
}

payloads!(u8, u16, u32, u64, i8, i16, i32, i64, f32, f64, bool);

#[diagnostic::do_not_recommend]
impl IntoReply for Cow<'_, str> {
    type Wire = [u8];

    fn into_reply(self, reply: Reply<'_>) -> Result<Replied, HandlerError> {
        reply.bytes(self.as_bytes())
    }
}

#[diagnostic::do_not_recommend]
impl IntoReply for () {
    type Wire = ();

    fn into_reply(self, reply: Reply<'_>) -> Result<Replied, HandlerError> {
        reply.bytes(&[])
    }
}

impl<T: IntoReply, E: Display> IntoReply for Result<T, E> {
    type Wire = T::Wire;

    #[inline]
    fn into_reply(self, reply: Reply<'_>) -> Result<Replied, HandlerError> {
        match self {
            Ok(value) => value.into_reply(reply),
            Err(error) => Err(HandlerError::failed(error)),
        }
    }
}
