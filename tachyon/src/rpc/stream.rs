//! Streams of typed endpoints at their caller.

use core::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;

use super::body::{Body, Contents, Encoded, SingleValue};
use super::caller::{Caller, Target};
use super::calls::HasCaller;
use super::error::CallError;
use super::in_place::InPlace;
use super::settings::{CallSettings, deadline, metadata};
use super::streams::StreamMessage;
use super::typed::{Contract, Owned};
use crate::schema::payload::{IntoView, ItemEncoding, Value, pack};
use crate::wait::Deadline;

/// An endpoint that replies with a stream of items, of the type of its reply.
#[diagnostic::on_unimplemented(
    message = "the callee of `{Self}` sends one reply and no items",
    label = "no stream of replies",
    note = "`finish` takes the reply"
)]
pub trait StreamsReplies: Contract {}

/// An endpoint that takes a stream of items from its caller.
#[diagnostic::on_unimplemented(message = "`{Self}` takes no items", label = "its caller sends no items")]
pub trait TakesItems: Contract {
    /// The type of the caller's items.
    type Item;
    /// The codec of the items.
    type Codec: ItemCodec<Self::Item>;
}

/// A codec of the items that a caller sends.
pub trait ItemCodec<T> {
    /// The contents of an item, or the text of the codec.
    ///
    /// # Errors
    /// The item cannot be encoded.
    fn body<'v>(item: impl IntoView<'v, T>) -> Result<impl Body, String>;
}

/// The items are of types of this library.
#[derive(Debug)]
pub struct TypedItems;

impl<T: Value> ItemCodec<T> for TypedItems {
    #[inline]
    fn body<'v>(item: impl IntoView<'v, T>) -> Result<impl Body, String> {
        Ok(SingleValue::<T>::new(item.into_view()))
    }
}

/// The codec of the items is msgpack.
#[derive(Debug)]
pub struct PackedItems;

impl<T: Serialize> ItemCodec<T> for PackedItems {
    fn body<'v>(item: impl IntoView<'v, T>) -> Result<impl Body, String> {
        item.encode_item(ItemEncoding::Msgpack(pack)).map(Encoded)
    }
}

/// An endpoint that takes a stream of items and sends one reply.
#[diagnostic::on_unimplemented(
    message = "the callee of `{Self}` sends items and no single reply",
    label = "no single reply",
    note = "the stream is an iterator of the callee's items"
)]
pub trait RepliesOnce: TakesItems {}

/// An open stream of the endpoint `C`. Dropping it cancels the stream.
///
/// It is an iterator of the callee's items, as far as the callee sends items, and sends the caller's items with
/// [`send`](Self::send), as far as the callee takes items. [`caller`](Self::caller) makes other calls meanwhile.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("rpc.sock");
/// use tachyon::{Callee, Caller, Dispatcher, endpoints, tachyon_rpc};
/// # let listen_at = path.clone();
///
/// #[tachyon_rpc(msg_type = 1)]
/// fn count(to: u32) -> impl Iterator<Item = u32> {
///     0..to
/// }
///
/// # let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
/// # let mut callee = Callee::listen(&listen_at, 1 << 16, 1 << 16)?;
/// # Dispatcher::new(endpoints![count]).serve_forever(&mut callee)?;
/// # Ok(()) });
/// let mut caller = Caller::connect(&path)?;
/// let mut sum = 0;
/// for number in count::open(&mut caller, 5)? {
///     sum += number?;
/// }
/// assert_eq!(sum, 10);
/// # drop(caller);
/// # callee.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping a stream cancels it"]
pub struct OpenStream<'c, C: Contract> {
    caller: &'c mut Caller,
    /// `None` once the stream is done.
    id: Option<u64>,
    contract: PhantomData<fn() -> C>,
}

/// Opens a stream.
///
/// # Errors
/// As the generated function says.
#[inline]
pub fn open<'c, C: Contract>(
    calls: &'c mut impl HasCaller,
    body: &impl Body,
) -> Result<OpenStream<'c, C>, CallError<C::Error>> {
    let (caller, settings) = calls.parts();
    let settings = settings.as_deref();
    let deadline = deadline(settings);
    let metadata = metadata(settings).map_err(CallError::widen)?;
    let target = Target::typed(C::SIGNATURE).opening(settings.and_then(CallSettings::window));
    let write = |out: &mut [u8]| body.write(out);
    let contents = body.bytes().map_or(Contents::Written(body.size(), &write), Contents::Bytes);
    let id = caller.start_slow(target, contents, metadata, deadline).map_err(CallError::widen)?;
    Ok(OpenStream { caller, id: Some(id), contract: PhantomData })
}

impl<C: Contract> OpenStream<'_, C> {
    /// The correlation id of the stream; `None` once the stream is done.
    pub fn correlation_id(&self) -> Option<u64> {
        self.id
    }

    /// The caller, for other calls and streams while this one is open.
    pub fn caller(&mut self) -> &mut Caller {
        self.caller
    }

    /// Cancels the stream, as dropping it does: its handler is told, and items under way are dropped.
    pub fn cancel(self) {}

    /// Takes the next message of the stream. True for an item, which lies in the current frame.
    fn take(&mut self, deadline: Deadline) -> Result<bool, CallError<C::Error>> {
        let Some(id) = self.id else { return Ok(false) };
        match self.caller.take_message(id, deadline) {
            Ok(StreamMessage::Item) => Ok(true),
            Ok(StreamMessage::End) => {
                self.id = None;
                // A reply in place of END, from a callee with another endpoint than the one compared.
                self.caller.forget(id);
                Ok(false)
            }
            Ok(StreamMessage::Error) => {
                self.id = None;
                Err(self.caller.refused_typed(C::SIGNATURE))
            }
            Err(error) => Err(self.failed(id, error)),
        }
    }

    /// The error of an operation. A stream that is not open any more is done.
    fn failed(&mut self, id: u64, error: CallError) -> CallError<C::Error> {
        if self.caller.core.calls.stream(id).is_none() {
            self.id = None;
        }
        error.widen()
    }
}

impl<C: StreamsReplies> OpenStream<'_, C> {
    /// The next item, where it lies. `None` after the last one.
    ///
    /// # Errors
    /// The declared error of the endpoint, after all items before it; otherwise as [`Caller::next_item`]. After an
    /// error the stream is done, but for [`CallError::Interrupted`] and an item that cannot be read.
    #[inline]
    pub fn next_in_place(&mut self) -> Result<Option<InPlace<'_, C::Reply>>, CallError<C::Error>> {
        if self.take(Deadline::never())? { self.caller.lend_reply::<C>().map(Some) } else { Ok(None) }
    }

    /// The next item, owned, if it comes within `timeout`. `None` after the last one.
    ///
    /// # Errors
    /// As [`next_in_place`](Self::next_in_place), and [`CallError::TimedOut`]: the stream stays open, unless the time
    /// of the whole stream is over.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Owned<C>>, CallError<C::Error>> {
        if self.take(Deadline::after(timeout))? { self.caller.own_reply::<C>().map(Some) } else { Ok(None) }
    }
}

impl<C: StreamsReplies> Iterator for OpenStream<'_, C> {
    type Item = Result<Owned<C>, CallError<C::Error>>;

    /// As [`next_in_place`](Self::next_in_place), owned.
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.take(Deadline::never()) {
            Ok(true) => Some(self.caller.own_reply::<C>()),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl<C: TakesItems> OpenStream<'_, C> {
    /// Sends an item: a reference to a value, or its view, such as `&str` for a `String`. Waits for credit and for
    /// room. False when the callee has ended the stream, or is gone: the outcome of the stream says why.
    ///
    /// A callee of a two-way stream may wait until its own items are taken, and take none meanwhile: take them between
    /// sends, or limit the time of the stream.
    ///
    /// # Errors
    /// As [`Caller::send_item`], and [`CallError::Unwritable`]: the codec cannot write the item, and the stream stays
    /// open.
    pub fn send<'v>(&mut self, item: impl IntoView<'v, C::Item>) -> Result<bool, CallError<C::Error>> {
        let Some(id) = self.id else { return Ok(false) };
        let body = C::Codec::body(item).map_err(unwritable::<C>)?;
        let sent = self.caller.send_item_of(id, body.size(), |out| body.write(out));
        sent.map_err(|error| self.failed(id, error))
    }

    /// Says that no further item comes.
    ///
    /// # Errors
    /// As [`Caller::end_items`].
    pub fn end(&mut self) -> Result<(), CallError<C::Error>> {
        let Some(id) = self.id else { return Ok(()) };
        self.caller.end_items(id).map_err(|error| self.failed(id, error))
    }
}

impl<C: RepliesOnce> OpenStream<'_, C> {
    /// Says that no further item comes, and waits for the reply.
    ///
    /// # Errors
    /// As the generated `call`.
    pub fn finish(mut self) -> Result<Owned<C>, CallError<C::Error>> {
        self.end()?;
        let Some(id) = self.id.take() else { return Err(CallError::UnknownCorrelation(0)) };
        self.caller.take_typed(C::SIGNATURE, id, Deadline::never())?;
        self.caller.own_reply::<C>()
    }
}

/// The error of an item that the codec cannot write.
#[cold]
pub(crate) fn unwritable<C: Contract>(text: String) -> CallError<C::Error> {
    CallError::Unwritable { endpoint: C::SIGNATURE.name().to_owned(), text }
}

impl<C: Contract> Drop for OpenStream<'_, C> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.caller.forget(id);
        }
    }
}
