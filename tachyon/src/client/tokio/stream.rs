//! Open streams for tasks: by number, and of typed endpoints.

use core::fmt;
use core::future::poll_fn;
use core::marker::PhantomData;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_core::Stream;
use tokio::task::coop::poll_proceed;

use super::caller::{AsyncCaller, LayeredCall, LiveSession};
use super::session::within;
use super::streams::{Message, Wanted};
use super::typed::own;
use crate::aligned::AlignedBytes;
use crate::dispatch::{HandlerError, Items, StreamSender};
use crate::rpc::{
    Body, CallError, CallOutcome, CallerLayers, Contract, ItemCodec, Owned, RepliesOnce, StreamsReplies, TakesItems,
    Target, typed_error, unwritable,
};
use crate::schema::payload::IntoView;
use crate::wait::Deadline;

/// A message of a stream's callee: see [`RawStream::next_message`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RawMessage {
    /// An item.
    Item(Vec<u8>),
    /// The reply to a stream of the caller's items alone.
    Reply(Vec<u8>),
    /// The end of the callee's items.
    End,
}

/// An open stream of an [`AsyncCaller`], by number. Dropping it cancels the stream at once.
///
/// [`recv`](Self::recv) takes the callee's items, [`send`](Self::send) and [`end`](Self::end) send this side's, and
/// [`finish`](Self::finish) takes the reply to a stream of this side's items alone. It is a
/// [`Stream`] of the callee's items, too.
///
/// All operations take `&self`: a task sends while it receives, with `tokio::join!` or `tokio::select!`, and two tasks
/// share the stream in an [`Arc`]. Dropping a future of `recv` or `send` loses no item, and sends no item twice.
///
/// An open stream keeps its connection open, and ends with it: after the items that the callee had published,
/// [`recv`](Self::recv) gives the end of the connection.
///
/// ```
/// use tachyon::{Dispatcher, testing};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let mut dispatcher = Dispatcher::default();
/// dispatcher.register_stream(1, "numbers", |_: &[u8]| 1u32..)?;
/// let caller = testing::pair_async(dispatcher)?;
/// let numbers = caller.open(1, b"").await?;
/// let first = numbers.recv().await.transpose()?;
/// assert_eq!(first, Some(vec![1, 0, 0, 0]));
/// drop(numbers); // the callee drops its iterator
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a stream cancels it"]
pub struct RawStream {
    live: Arc<LiveSession>,
    id: u64,
    /// Until when the whole stream may take.
    deadline: Deadline,
    /// For the layers that have seen the OPEN, until they have seen the outcome.
    layered: Mutex<Option<Box<LayeredCall<CallerLayers>>>>,
}

impl RawStream {
    pub(super) fn new(live: Arc<LiveSession>, id: u64, deadline: Deadline) -> Self {
        Self { live, id, deadline, layered: Mutex::new(None) }
    }

    /// The same stream, whose outcome layers see.
    pub(super) fn layered(self, call: LayeredCall<CallerLayers>) -> Self {
        *self.layered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(call));
        self
    }

    /// The correlation id of the stream.
    pub fn correlation_id(&self) -> u64 {
        self.id
    }

    /// The next item. `None` after the last one, and after an error. A stream that ends in a reply keeps the reply for
    /// [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`CallError::Remote`] when the callee ended the stream with an error, after all items before it;
    /// [`CallError::TimedOut`] when the time of the whole stream is over; otherwise the callee closed or died, after
    /// all items that it published.
    pub async fn recv(&self) -> Option<Result<Vec<u8>, CallError>> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// The next message of the callee, of a stream of any kind, for a proxy that passes it on. No message follows
    /// [`RawMessage::End`], [`RawMessage::Reply`] and an error. Dropping the future loses no message.
    ///
    /// ```
    /// use tachyon::client::tokio::RawMessage;
    /// use tachyon::{Dispatcher, testing};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register_stream(1, "count", |_: &[u8]| 0..1u8)?;
    /// let count = testing::pair_async(dispatcher)?.open(1, b"").await?;
    /// assert_eq!(count.next_message().await?, RawMessage::Item(vec![0]));
    /// assert_eq!(count.next_message().await?, RawMessage::End);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`CallError::UnknownCorrelation`] when the last message was taken before.
    pub async fn next_message(&self) -> Result<RawMessage, CallError> {
        match poll_fn(|context| self.poll_message(Wanted::Items, context)).await {
            Message::Item(item) => return Ok(RawMessage::Item(item.to_vec())),
            Message::Outcome(outcome) => return outcome.map(|_| RawMessage::End),
            Message::Over => {}
        }
        // The reply to a stream of this side's items, which waits to be taken.
        match poll_fn(|context| self.poll_message(Wanted::Reply, context)).await {
            Message::Item(item) => Ok(RawMessage::Item(item.to_vec())),
            Message::Outcome(outcome) => outcome.map(|reply| RawMessage::Reply(reply.to_vec())),
            Message::Over => Err(CallError::UnknownCorrelation(self.id)),
        }
    }

    /// As [`recv`](Self::recv), waiting at most `timeout`. The stream stays open after [`CallError::TimedOut`], unless
    /// the time of the whole stream is over: then `None` follows.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`CallError::TimedOut`].
    ///
    /// # Panics
    /// In a runtime without its time driver.
    pub async fn recv_timeout(&self, timeout: Duration) -> Option<Result<Vec<u8>, CallError>> {
        in_time(timeout, self.recv()).await
    }

    /// Sends an item. Awaits credit of the callee, and room. False when the callee takes nothing more: after
    /// [`end`](Self::end), when the stream has ended, and when the callee is gone. [`recv`](Self::recv) or
    /// [`finish`](Self::finish) has the outcome.
    ///
    /// A callee that waits until its own items are taken gives no credit: the task that sends to such a callee receives
    /// meanwhile.
    ///
    /// # Errors
    /// [`CallError::TooLarge`]: the item can never fit the ring; the stream stays open. [`CallError::TimedOut`] when
    /// the time of the whole stream is over.
    ///
    /// # Panics
    /// With a time limit, in a runtime without its time driver.
    pub async fn send(&self, item: &[u8]) -> Result<bool, CallError> {
        self.live.session.send_item(self.id, item, self.deadline).await
    }

    /// Says that no further item of this side comes. Awaits room. A callee that is gone needs no END: the outcome
    /// reports its end, after what it published.
    ///
    /// # Errors
    /// As [`send`](Self::send), but for the end of the callee.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub async fn end(&self) -> Result<(), CallError> {
        self.live.session.end_items(self.id, self.deadline).await
    }

    /// Says that no further item comes, and awaits the reply to a stream of this side's items. Items of the callee are
    /// dropped, and the reply to a stream with items of the callee is empty. Dropping the future cancels the stream.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`CallError::UnknownCorrelation`] when the outcome was taken before.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub async fn finish(self) -> Result<Vec<u8>, CallError> {
        self.take_reply().await.map(|reply| reply.to_vec())
    }

    /// Cancels the stream, as dropping it does. Tasks that wait for its items find no further item.
    pub fn close(&self) {
        self.live.session.close_stream(self.id);
        self.show(CallOutcome::GivenUp);
    }

    /// Passes the whole stream on, for [`Fallback::open`](crate::dispatch::Fallback::open): the items of a proxy's
    /// caller to the callee, those of the callee to the caller. Both directions go on at once, and the callee's last
    /// message ends them: the outcome is that message. Dropping the future cancels the stream.
    ///
    /// # Errors
    /// The callee's error, or the end of the callee, by [`HandlerError::passed_on`]; an item that can never fit the
    /// ring of its receiver; the end of the proxy's caller.
    pub async fn pass_on(
        self,
        mut items: Items<Vec<u8>>,
        sender: StreamSender<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, HandlerError> {
        let upload = async {
            while let Some(item) = items.recv().await {
                match self.send(&item?).await {
                    Ok(true) => {}
                    Err(error @ CallError::TooLarge { .. }) => return Err(HandlerError::passed_on(error)),
                    Ok(false) | Err(_) => return Ok(()),
                }
            }
            // An error is the stream's, which the next message tells.
            drop(self.end().await);
            Ok(())
        };
        let download = async {
            loop {
                match self.next_message().await.map_err(HandlerError::passed_on)? {
                    RawMessage::Item(item) => sender.send(&item).await?,
                    RawMessage::Reply(reply) => return Ok(Some(reply)),
                    RawMessage::End => return Ok(None),
                }
            }
        };
        let (mut upload, mut download, mut is_sending) = (pin!(upload), pin!(download), true);
        poll_fn(|context| {
            if is_sending && let Poll::Ready(sent) = upload.as_mut().poll(context) {
                is_sending = false;
                if let Err(error) = sent {
                    return Poll::Ready(Err(error));
                }
            }
            download.as_mut().poll(context)
        })
        .await
    }

    async fn take_reply(&self) -> Result<AlignedBytes, CallError> {
        match self.end().await {
            // The outcome follows: it came before, or comes with the end of the time.
            Ok(()) | Err(CallError::TimedOut { .. }) => {}
            Err(error) => return Err(error),
        }
        loop {
            match poll_fn(|context| self.poll_message(Wanted::Reply, context)).await {
                Message::Item(_) => {}
                Message::Outcome(outcome) => return outcome,
                Message::Over => return Err(CallError::UnknownCorrelation(self.id)),
            }
        }
    }

    fn poll_recv(&self, context: &mut Context<'_>) -> Poll<Option<<Self as Stream>::Item>> {
        self.poll_item(context).map(|item| item.map(|item| item.map(|bytes| bytes.to_vec())))
    }

    fn poll_item(&self, context: &mut Context<'_>) -> Poll<Option<Result<AlignedBytes, CallError>>> {
        self.poll_message(Wanted::Items, context).map(|message| match message {
            Message::Item(item) => Some(Ok(item)),
            Message::Outcome(Err(error)) => Some(Err(error)),
            Message::Outcome(Ok(_)) | Message::Over => None,
        })
    }

    fn poll_message(&self, wanted: Wanted, context: &mut Context<'_>) -> Poll<Message> {
        // A task that always finds an item would keep the runtime's thread from others.
        let progress = ready!(poll_proceed(context));
        let message = ready!(self.live.session.poll_message(self.id, self.deadline, wanted, context));
        progress.made_progress();
        match &message {
            Message::Item(_) | Message::Over => {}
            Message::Outcome(Ok(last)) => self.show(CallOutcome::Replied(last.len())),
            Message::Outcome(Err(error)) => self.show(CallOutcome::Failed(error)),
        }
        Poll::Ready(message)
    }

    /// Shows the outcome to the layers.
    fn show(&self, outcome: CallOutcome<'_>) {
        let layered = self.layered.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut layered) = layered {
            layered.ended(outcome);
        }
    }
}

impl Stream for RawStream {
    type Item = Result<Vec<u8>, CallError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(context)
    }
}

impl Drop for RawStream {
    fn drop(&mut self) {
        self.live.session.close_stream(self.id);
    }
}

impl fmt::Debug for RawStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawStream").field("id", &self.id).finish_non_exhaustive()
    }
}

/// An open stream of the endpoint `C`, for tasks. Dropping it cancels the stream at once.
///
/// It is a [`Stream`] of the callee's items, as far as the callee sends items, and sends the caller's items with
/// [`send`](Self::send), as far as the callee takes items. All operations take `&self`, as those of a [`RawStream`] do.
///
/// ```
/// use tachyon::{Dispatcher, endpoints, tachyon_rpc, testing};
///
/// #[tachyon_rpc(msg_type = 1)]
/// fn count(to: u32) -> impl Iterator<Item = u32> {
///     0..to
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let caller = testing::pair_async(Dispatcher::new(endpoints![count]))?;
/// let numbers = count::stream(&caller, 3).await?;
/// let mut sum = 0;
/// while let Some(number) = numbers.recv().await {
///     sum += number?;
/// }
/// assert_eq!(sum, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a stream cancels it"]
pub struct AsyncStream<C: Contract> {
    raw: RawStream,
    contract: PhantomData<fn() -> C>,
}

/// Opens a stream.
///
/// # Errors
/// As the generated function says.
pub async fn stream<C: Contract>(
    caller: &AsyncCaller,
    body: impl Body + Sync,
) -> Result<AsyncStream<C>, CallError<C::Error>> {
    let raw = caller.open_target(Target::typed(C::SIGNATURE), &body).await.map_err(CallError::widen)?;
    Ok(AsyncStream { raw, contract: PhantomData })
}

impl<C: Contract> AsyncStream<C> {
    /// The correlation id of the stream.
    pub fn correlation_id(&self) -> u64 {
        self.raw.id
    }

    /// Cancels the stream, as dropping it does. Tasks that wait for its items find no further item.
    pub fn close(&self) {
        self.raw.close();
    }
}

impl<C: StreamsReplies> AsyncStream<C> {
    /// The next item. `None` after the last one, and after an error.
    ///
    /// # Errors
    /// The declared error of the endpoint, after all items before it; otherwise as [`RawStream::recv`]. After
    /// [`CallError::BadReply`], an item that cannot be read, the stream goes on.
    pub async fn recv(&self) -> Option<Result<Owned<C>, CallError<C::Error>>> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// As [`recv`](Self::recv), waiting at most `timeout`. The stream stays open after [`CallError::TimedOut`], unless
    /// the time of the whole stream is over: then `None` follows.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`CallError::TimedOut`].
    ///
    /// # Panics
    /// In a runtime without its time driver.
    pub async fn recv_timeout(&self, timeout: Duration) -> Option<Result<Owned<C>, CallError<C::Error>>> {
        in_time(timeout, self.recv()).await
    }

    fn poll_recv(&self, context: &mut Context<'_>) -> Poll<Option<<Self as Stream>::Item>> {
        self.raw
            .poll_item(context)
            .map(|item| item.map(|item| item.map_err(typed::<C>).and_then(|item| own::<C>(&item))))
    }
}

impl<C: StreamsReplies> Stream for AsyncStream<C> {
    type Item = Result<Owned<C>, CallError<C::Error>>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(context)
    }
}

impl<C: TakesItems> AsyncStream<C> {
    /// Sends an item: a reference to a value, or its view, such as `&str` for a `String`. Awaits credit and room. False
    /// when the callee takes nothing more, as [`RawStream::send`] says.
    ///
    /// # Errors
    /// As [`RawStream::send`].
    ///
    /// # Panics
    /// As [`RawStream::send`].
    pub async fn send<'v>(&self, item: impl IntoView<'v, C::Item>) -> Result<bool, CallError<C::Error>> {
        let body = C::Codec::body(item).map_err(unwritable::<C>)?;
        let item = bytes_of(&body);
        self.raw.send(&item).await.map_err(CallError::widen)
    }

    /// Says that no further item comes. Awaits room.
    ///
    /// # Errors
    /// As [`RawStream::send`].
    ///
    /// # Panics
    /// As [`RawStream::send`].
    pub async fn end(&self) -> Result<(), CallError<C::Error>> {
        self.raw.end().await.map_err(CallError::widen)
    }
}

impl<C: RepliesOnce> AsyncStream<C> {
    /// Says that no further item comes, and awaits the reply. Dropping the future cancels the stream.
    ///
    /// # Errors
    /// As the generated `call_async`.
    ///
    /// # Panics
    /// As [`RawStream::send`].
    pub async fn finish(self) -> Result<Owned<C>, CallError<C::Error>> {
        let reply = self.raw.take_reply().await.map_err(typed::<C>)?;
        own::<C>(&reply)
    }
}

impl<C: Contract> fmt::Debug for AsyncStream<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncStream")
            .field("endpoint", &C::SIGNATURE.name())
            .field("id", &self.raw.id)
            .finish_non_exhaustive()
    }
}

/// The outcome of a wait for an item, or [`CallError::TimedOut`] after `timeout`.
async fn in_time<T, E>(
    timeout: Duration,
    recv: impl Future<Output = Option<Result<T, CallError<E>>>>,
) -> Option<Result<T, CallError<E>>> {
    within(Deadline::after(timeout), recv).await.unwrap_or(Some(Err(CallError::TimedOut { sent: true })))
}

/// The bytes of an item as it travels.
fn bytes_of(body: &impl Body) -> Cow<'_, [u8]> {
    body.bytes().map_or_else(
        || {
            let mut bytes = vec![0; body.size()];
            body.write(&mut bytes);
            Cow::Owned(bytes)
        },
        Cow::Borrowed,
    )
}

/// An error of the endpoint `C`.
fn typed<C: Contract>(error: CallError) -> CallError<C::Error> {
    match error {
        CallError::Remote(error) => typed_error(error, C::SIGNATURE),
        error => error.widen(),
    }
}
