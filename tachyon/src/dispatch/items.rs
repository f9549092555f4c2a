//! The streams of a handler that runs outside of the serving thread: the items of its caller, and its own.

use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;

use thiserror::Error;

use super::error::HandlerError;
use super::pipe::{Pipe, Refused};
use crate::aligned::AlignedBytes;
use crate::engine::ErrorKind;
use crate::schema::payload::{IntoView, ItemEncoding, Malformed, Message, Scratch};

/// Why a handler cannot receive or send an item of its stream. Converts into a [`HandlerError`] by `?`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ItemError {
    /// The stream is over: the caller cancelled it, closed or died, its deadline has passed, or the server stops. The
    /// handler gives up what it has begun, and returns.
    #[error("the stream is cancelled: its caller gave it up or is gone, its deadline has passed, or the server stops")]
    Cancelled,
    /// The received item is no value of its type. The next items can be received.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The item to send can never fit the ring. The stream stays open.
    #[error(
        "the item of {size} bytes can never fit the reverse ring of {max}; send smaller ones, or use a larger ring"
    )]
    TooLarge {
        /// Bytes of the item.
        size: usize,
        /// Bytes of the longest item that fits the ring.
        max: usize,
    },
    /// The codec cannot write the item to send. The stream stays open.
    #[error("the item cannot be written: {text}")]
    Unwritable {
        /// The text of the codec.
        text: String,
    },
}

impl From<Refused> for ItemError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Cancelled => Self::Cancelled,
            Refused::TooLarge { size, max } => Self::TooLarge { size, max },
        }
    }
}

impl From<ItemError> for HandlerError {
    #[cold]
    fn from(error: ItemError) -> Self {
        let kind = match error {
            ItemError::Cancelled => ErrorKind::Cancelled,
            ItemError::Malformed(_) => ErrorKind::BadRequest,
            ItemError::TooLarge { .. } => ErrorKind::ReplyTooLarge,
            ItemError::Unwritable { .. } => ErrorKind::BadReply,
        };
        Self::new(kind, error)
    }
}

/// The items that a caller sends to a handler: of a client stream, or of a two-way stream.
///
/// The callee keeps items that the handler has not taken, at most a window of them; then the caller waits. Dropping
/// the items lets the caller go on, and drops what it sends.
///
/// A plain handler runs on a thread of its own, where the items are an iterator:
///
/// ```
/// use tachyon::{Caller, Dispatcher, ItemError, Items, RpcServer};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("service.sock");
/// let mut dispatcher = Dispatcher::default();
/// dispatcher.register_client_stream(1, "total", |_request, items: Items<Vec<u8>>| {
///     let mut total = 0;
///     for item in items {
///         total += item?.len() as u64;
///     }
///     Ok::<u64, ItemError>(total)
/// })?;
/// # let mut server = RpcServer::listen(&path)?;
/// # let stopper = server.stopper();
/// # let service = std::thread::spawn(move || dispatcher.serve_forever(&mut server));
///
/// let mut caller = Caller::connect(&path)?;
/// let upload = caller.open(1, b"")?;
/// caller.send_item(upload, b"some")?;
/// caller.send_item(upload, b" bytes")?;
/// caller.end_items(upload)?;
/// assert_eq!(&*caller.finish(upload)?, 10u64.to_le_bytes());
/// # stopper.stop();
/// # service.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the items of a caller that are dropped are lost"]
pub struct Items<T> {
    pipe: Arc<Pipe>,
    read: ReadItem<T>,
}

/// Reads an item, which no peer can change any more.
type ReadItem<T> = fn(&[u8]) -> Result<T, ItemError>;

impl<T> Items<T> {
    /// The items of a pipe, which travel as `M`.
    pub(super) fn over<M: Message<Owned = T>>(pipe: Arc<Pipe>) -> Self {
        Self { pipe, read: read::<M> }
    }

    /// The next item. `None` once the caller has ended its items, and after [`ItemError::Cancelled`].
    ///
    /// A future that is dropped before its end loses no item.
    ///
    /// # Errors
    /// The inner error: [`ItemError::Cancelled`] when the stream ended before the caller ended its items, and
    /// [`ItemError::Malformed`].
    pub async fn recv(&mut self) -> Option<Result<T, ItemError>> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// As [`recv`](Self::recv), for an executor.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T, ItemError>>> {
        self.pipe.poll_take(context).map(|received| received.map(|item| self.read(item)))
    }

    /// As [`recv`](Self::recv), on a thread that waits. Never for use in an async handler.
    pub fn blocking_recv(&mut self) -> Option<Result<T, ItemError>> {
        self.pipe.wait_take().map(|item| self.read(item))
    }

    fn read(&self, received: Result<AlignedBytes, Refused>) -> Result<T, ItemError> {
        (self.read)(&received?)
    }
}

fn read<M: Message>(item: &[u8]) -> Result<M::Owned, ItemError> {
    M::read_owned(item, &mut Scratch::private(), "the item").map_err(|problem| ItemError::Malformed(problem.into()))
}

impl<T> Iterator for Items<T> {
    type Item = Result<T, ItemError>;

    /// As [`blocking_recv`](Self::blocking_recv).
    fn next(&mut self) -> Option<Self::Item> {
        self.blocking_recv()
    }
}

impl<T> Drop for Items<T> {
    fn drop(&mut self) {
        self.pipe.stop_taking();
    }
}

impl<T> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}

/// Sends the items of a handler to its caller: of a server stream, or of a two-way stream. Clones send to the same
/// caller.
///
/// A sender waits while the caller takes no items: some 32 items of the handler wait for their caller. The stream ends
/// when the handler returns; then each send fails.
///
/// ```
/// use tachyon::{Caller, Dispatcher, ItemError, Items, RpcServer, StreamSender};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("service.sock");
/// let mut dispatcher = Dispatcher::default();
/// dispatcher.register_two_way(1, "shout", |_request, items: Items<Vec<u8>>, out: StreamSender<Vec<u8>>| {
///     for item in items {
///         out.blocking_send(&item?.to_ascii_uppercase())?;
///     }
///     Ok::<(), ItemError>(())
/// })?;
/// # let mut server = RpcServer::listen(&path)?;
/// # let stopper = server.stopper();
/// # let service = std::thread::spawn(move || dispatcher.serve_forever(&mut server));
///
/// let mut caller = Caller::connect(&path)?;
/// let chat = caller.open(1, b"")?;
/// caller.send_item(chat, b"hello")?;
/// assert_eq!(&*caller.next_item(chat)?.unwrap(), b"HELLO");
/// caller.end_items(chat)?;
/// assert!(caller.next_item(chat)?.is_none());
/// # stopper.stop();
/// # service.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct StreamSender<T> {
    pipe: Arc<Pipe>,
    encoding: ItemEncoding<T>,
}

impl<T> StreamSender<T> {
    pub(super) fn over(pipe: Arc<Pipe>, encoding: ItemEncoding<T>) -> Self {
        Self { pipe, encoding }
    }

    /// Sends an item: a reference to a value, or its view, such as `&str` for a `String`. Waits while the caller takes
    /// no items. The item is encoded at once; a future that is dropped before its end sends nothing.
    ///
    /// # Errors
    /// [`ItemError::Cancelled`] when the stream is over, [`ItemError::TooLarge`] and [`ItemError::Unwritable`].
    pub fn send<'v>(&self, item: impl IntoView<'v, T>) -> Sending<'_> {
        Sending { pipe: &self.pipe, item: self.encode(item) }
    }

    /// As [`send`](Self::send), on a thread that waits. Never for use in an async handler.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn blocking_send<'v>(&self, item: impl IntoView<'v, T>) -> Result<(), ItemError> {
        Ok(self.pipe.wait_send(self.encode(item)?)?)
    }

    fn encode<'v>(&self, item: impl IntoView<'v, T>) -> Result<Vec<u8>, ItemError> {
        item.encode_item(self.encoding).map_err(|text| ItemError::Unwritable { text })
    }
}

// Not derived: a derive would require `T: Clone`.
impl<T> Clone for StreamSender<T> {
    fn clone(&self) -> Self {
        Self::over(Arc::clone(&self.pipe), self.encoding)
    }
}

impl<T> fmt::Debug for StreamSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSender").finish_non_exhaustive()
    }
}

/// The future of [`StreamSender::send`].
#[must_use = "futures do nothing unless awaited"]
pub struct Sending<'a> {
    pipe: &'a Pipe,
    item: Result<Vec<u8>, ItemError>,
}

impl Future for Sending<'_> {
    type Output = Result<(), ItemError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { pipe, item } = &mut *self;
        match item {
            Ok(item) => pipe.poll_send(item, context).map_err(ItemError::from),
            Err(error) => Poll::Ready(Err(error.clone())),
        }
    }
}

impl fmt::Debug for Sending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}
