//! The return types of handlers, and how each becomes a reply.

use core::any::Any;
use core::fmt::Display;

use super::error::HandlerError;
use super::items::ItemError;
use super::reply::{HandlerResult, Reply};
use crate::schema::payload::{DeclaredError, Message, ReplyValue, Undeclared};

/// A return type of an endpoint: a [`ReplyValue`], or a `Result` of one.
#[diagnostic::on_unimplemented(
    message = "an endpoint cannot reply with `{Self}`",
    label = "not a reply",
    note = "an endpoint returns a number, `bool`, `[T; N]`, `String`, `Vec<T>`, `Option<T>`, `Tensor<T, N>`, a type \
            marked with `#[tachyon::payload]`, a borrowed one of these, nothing, or a `Result` of one of these"
)]
pub trait IntoReply {
    /// The type that the caller receives.
    type Message: Message;
    /// The error of a `Result`; otherwise [`Undeclared`].
    type Error;

    /// Sends the value as the reply.
    ///
    /// # Errors
    /// The outer error is the handler's own; the inner error says that the reply cannot be sent.
    fn into_reply(self, reply: Reply<'_>) -> Result<HandlerResult, Self::Error>;

    /// The bytes of the message.
    ///
    /// # Errors
    /// The handler's own.
    #[doc(hidden)]
    fn encode(self) -> Result<Vec<u8>, Self::Error>;
}

/// The bytes of a reply.
fn encode<T: ReplyValue>(value: &T) -> Vec<u8> {
    if let Some(bytes) = value.bytes() {
        return bytes.to_vec();
    }
    let view = value.view();
    let mut bytes = vec![0; <T::Message as Message>::len(view)];
    <T::Message as Message>::write(view, &mut bytes);
    bytes
}

#[diagnostic::do_not_recommend]
impl<T: ReplyValue> IntoReply for T {
    type Message = T::Message;
    type Error = Undeclared;

    #[inline]
    fn into_reply(self, reply: Reply<'_>) -> Result<HandlerResult, Undeclared> {
        Ok(reply.value(&self))
    }

    fn encode(self) -> Result<Vec<u8>, Undeclared> {
        Ok(encode(&self))
    }
}

impl<T: ReplyValue, E> IntoReply for Result<T, E> {
    type Message = T::Message;
    type Error = E;

    #[inline]
    fn into_reply(self, reply: Reply<'_>) -> Result<HandlerResult, E> {
        Ok(reply.value(&self?))
    }

    fn encode(self) -> Result<Vec<u8>, E> {
        Ok(encode(&self?))
    }
}

/// Replies with the value, or with its error: a [`HandlerError`] as it is, an [`ItemError`] by its kind, any other
/// error as its text.
#[inline]
pub(super) fn reply_or_text<R: IntoReply<Error: Display + 'static>>(value: R, reply: Reply<'_>) -> HandlerResult {
    value.into_reply(reply).unwrap_or_else(|error| Err(own_or_text(error)))
}

#[cold]
fn own_or_text<E: Display + 'static>(error: E) -> HandlerError {
    let mut error = Some(error);
    let any = &mut error as &mut dyn Any;
    if let Some(own) = any.downcast_mut::<Option<HandlerError>>().and_then(Option::take) {
        return own;
    }
    if let Some(of_item) = any.downcast_mut::<Option<ItemError>>().and_then(Option::take) {
        return of_item.into();
    }
    error.map_or_else(|| HandlerError::failed(""), HandlerError::failed)
}

/// The form in which an endpoint's error travels. Form 0 stands in for a type that the compiler refuses.
///
/// 3: declared, by name and fields. 2: as the [`HandlerError`] that it becomes, with its kind. 1: as its text.
#[derive(Debug)]
pub struct ErrorForm<const FORM: u8>;

/// Converts an error of type `E` into its form.
pub trait ConvertError<E> {
    /// The type that the caller receives.
    type Error: DeclaredError;

    /// The error for the dispatcher.
    fn error(error: E) -> HandlerError;
}

impl<E: DeclaredError> ConvertError<E> for ErrorForm<3> {
    type Error = E;

    #[cold]
    fn error(error: E) -> HandlerError {
        HandlerError::declared(&error)
    }
}

impl<E: Into<HandlerError>> ConvertError<E> for ErrorForm<2> {
    type Error = Undeclared;

    #[cold]
    fn error(error: E) -> HandlerError {
        error.into()
    }
}

impl<E: Display> ConvertError<E> for ErrorForm<1> {
    type Error = Undeclared;

    #[cold]
    fn error(error: E) -> HandlerError {
        HandlerError::failed(error)
    }
}

impl<E> ConvertError<E> for ErrorForm<0> {
    type Error = Undeclared;

    fn error(_error: E) -> HandlerError {
        unreachable!("the compiler refuses the type")
    }
}
