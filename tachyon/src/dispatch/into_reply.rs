//! From what a handler returns to a reply on its way.

use core::fmt::Display;

use super::handler::{HandlerError, Replied, Reply};
use crate::schema::payload::{DeclaredError, Message, ReplyValue, Undeclared};

/// What an endpoint may return: a [`ReplyValue`], or a `Result` of one.
#[diagnostic::on_unimplemented(
    message = "an endpoint cannot reply with `{Self}`",
    label = "not a reply",
    note = "an endpoint returns a number, `bool`, `[T; N]`, `String`, `Vec<T>`, `Option<T>`, a type marked with \
            `#[tachyon::payload]`, a borrowed one of these, nothing, or a `Result` of one of these"
)]
pub trait IntoReply {
    /// What the caller gets.
    type Message: Message;
    /// The error, of a `Result`.
    type Error;

    /// Writes the value into the reply.
    ///
    /// # Errors
    /// The outer one is the handler's own; the inner one says that the reply cannot be sent.
    fn into_reply(self, reply: Reply<'_>) -> Result<Result<Replied, HandlerError>, Self::Error>;
}

#[diagnostic::do_not_recommend]
impl<T: ReplyValue> IntoReply for T {
    type Message = T::Message;
    type Error = Undeclared;

    #[inline]
    fn into_reply(self, reply: Reply<'_>) -> Result<Result<Replied, HandlerError>, Undeclared> {
        Ok(reply.value(&self))
    }
}

impl<T: ReplyValue, E> IntoReply for Result<T, E> {
    type Message = T::Message;
    type Error = E;

    #[inline]
    fn into_reply(self, reply: Reply<'_>) -> Result<Result<Replied, HandlerError>, E> {
        Ok(reply.value(&self?))
    }
}

/// As the text of its error, where the endpoint declares none.
#[inline]
pub(super) fn or_text<R: IntoReply<Error: Display>>(value: R, reply: Reply<'_>) -> Result<Replied, HandlerError> {
    value.into_reply(reply).unwrap_or_else(|error| Err(HandlerError::failed(error)))
}

/// How the error of an endpoint travels: 2 by name and fields, 1 as its text, 0 stands in for a type that was refused.
#[derive(Debug)]
pub struct How<const KIND: u8>;

/// An error of type `E`, by how it travels.
pub trait Pick<E> {
    /// The type that the caller gets.
    type Error: DeclaredError;

    /// What the dispatcher answers with.
    fn error(error: E) -> HandlerError;
}

impl<E: DeclaredError> Pick<E> for How<2> {
    type Error = E;

    #[cold]
    fn error(error: E) -> HandlerError {
        HandlerError::declared(&error)
    }
}

impl<E: Display> Pick<E> for How<1> {
    type Error = Undeclared;

    #[cold]
    fn error(error: E) -> HandlerError {
        HandlerError::failed(error)
    }
}

impl<E> Pick<E> for How<0> {
    type Error = Undeclared;

    fn error(_error: E) -> HandlerError {
        unreachable!("the type was refused when this was compiled")
    }
}
