//! What a handler may return.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use super::handler::{HandlerError, Replied, Reply};

/// A value that can be sent as a reply.
#[diagnostic::on_unimplemented(
    message = "an endpoint cannot reply with `{Self}`",
    label = "not a reply",
    note = "an endpoint returns bytes (`Vec<u8>`, `&[u8]`, `[u8; N]`, `Box<[u8]>`, `Cow<[u8]>`, `String`, `&str`), \
            nothing for an empty reply, or a `Result` of one of these whose error implements `Display`"
)]
pub trait IntoReply {
    /// Writes the value into the reply.
    ///
    /// # Errors
    ///
    /// When the value says that the handler failed, and when the reply cannot be sent.
    fn into_reply(self, reply: Reply<'_>) -> Result<Replied, HandlerError>;
}

// The note above lists what is a reply, so that rustc need not list these implementations as well. That for `Result` is
// named by it, because there the type inside is what is wrong.

/// Implements the trait for types that lend their bytes.
macro_rules! bytes {
    ($([$($generics:tt)*] $ty:ty),* $(,)?) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> IntoReply for $ty {
            fn into_reply(self, reply: Reply<'_>) -> Result<Replied, HandlerError> {
                reply.bytes(AsRef::<[u8]>::as_ref(&self))
            }
        }
    )*};
}

bytes! {
    [] Vec<u8>,
    [] &Vec<u8>,
    [] &[u8],
    [] Box<[u8]>,
    [] Arc<[u8]>,
    [] Cow<'_, [u8]>,
    [const N: usize] [u8; N],
    [const N: usize] &[u8; N],
    [] String,
    [] &String,
    [] &str,
}

#[diagnostic::do_not_recommend]
impl IntoReply for Cow<'_, str> {
    fn into_reply(self, reply: Reply<'_>) -> Result<Replied, HandlerError> {
        reply.bytes(self.as_bytes())
    }
}

#[diagnostic::do_not_recommend]
impl IntoReply for () {
    fn into_reply(self, reply: Reply<'_>) -> Result<Replied, HandlerError> {
        reply.bytes(&[])
    }
}

impl<T: IntoReply, E: Display> IntoReply for Result<T, E> {
    fn into_reply(self, reply: Reply<'_>) -> Result<Replied, HandlerError> {
        match self {
            Ok(value) => value.into_reply(reply),
            Err(error) => Err(HandlerError::failed(error)),
        }
    }
}
