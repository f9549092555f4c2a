//! The dispatcher: a table of endpoints, the state of their handlers, and the loop that serves a callee.

use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{Endpoint, Entry, EntryHandler};
use super::error::RegisterError;
#[cfg(feature = "tokio")]
use super::fallback::{AnyFallback, Fallback};
use super::into_reply::{IntoReply, reply_or_text};
use super::items::{Items, StreamSender};
use super::layer::{Context, Layer};
#[cfg(feature = "tokio")]
use super::owned_context::OwnedContext;
use super::reply::AsyncReply;
use super::responder::{RequestContext, Responder, place};
use super::state::{SharedState, State, StateRef};
use super::stream::{OwnedOpenReplies, Replies};
use super::table::{OwnedHandler, Table};
use super::task::{HandlerFuture, OwnedStartHandler};
use crate::connection::{Rx, Tx};
use crate::engine::{self, TakenOne, is_open, is_stream_message, open_current};
use crate::ring::Frame;
use crate::rpc::{Callee, ServeError};
use crate::schema::describe::{Description, EndpointDescription, FormDescription, WHOLE_TABLE};
use crate::schema::payload::ItemEncoding;
use crate::wait::Deadline;

/// A table of endpoints, and the loop that serves them.
///
/// ```
/// use tachyon::{Callee, Caller, Dispatcher, endpoints, tachyon_rpc};
///
/// /// Sends the request back.
/// #[tachyon_rpc(msg_type = 1)]
/// fn echo(payload: &[u8]) -> Vec<u8> {
///     payload.to_vec()
/// }
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("rpc.sock");
/// # let listen_at = path.clone();
/// let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
///     let mut callee = Callee::listen(&listen_at, 1 << 16, 1 << 16)?;
///     let mut dispatcher = Dispatcher::new(endpoints![echo]);
///     dispatcher.register(2, "length", |payload: &[u8]| payload.len().to_string())?;
///     dispatcher.serve_forever(&mut callee)?; // returns when the caller closes
///     Ok(())
/// });
///
/// let mut caller = Caller::connect(&path)?;
/// assert_eq!(echo::call(&mut caller, b"hello")?, b"hello");
/// assert_eq!(&*caller.call(2, b"hello")?, b"5");
/// drop(caller);
/// callee.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Dispatcher<S: ?Sized = ()> {
    responder: Responder<S>,
    state: State<S>,
}

impl Dispatcher {
    /// A dispatcher of endpoints without state. `Dispatcher::default()` is an empty one.
    ///
    /// # Panics
    /// As [`with_state`](Self::with_state).
    pub fn new(endpoints: &[Entry<()>]) -> Self {
        Self::with_state((), endpoints)
    }
}

impl Default for Dispatcher {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl<S> Dispatcher<S> {
    /// A dispatcher whose handlers share `state`. With endpoints of `async fn` that take the state, their tasks keep it
    /// alive, and so do the threads of handlers that take the state and a caller's items.
    ///
    /// # Panics
    /// When two entries have the same message type, or an entry has 65535: compile errors in a table made by
    /// [`endpoints!`](crate::endpoints). When one endpoint takes `&mut S`, and the handler of another one reads the
    /// state on a thread of its own.
    pub fn with_state(state: S, endpoints: &[Entry<S>]) -> Self {
        Self::over(State::Own(Box::new(state)), endpoints)
    }

    /// The state, to change it between requests. `None` for a shared state, and for that of a table with an `async`
    /// endpoint, or an endpoint whose handlers run on threads of their own, that takes it.
    pub fn state_mut(&mut self) -> Option<&mut S> {
        self.state.get_mut()
    }

    /// Moves the state out; `None` while others share it.
    pub fn into_state(self) -> Option<S> {
        self.state.into_inner()
    }
}

impl<S: ?Sized> Dispatcher<S> {
    /// A dispatcher whose handlers share `state` with other owners: other dispatchers, threads, tasks. The state may be
    /// a trait object.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use tachyon::{Dispatcher, endpoints, tachyon_rpc};
    ///
    /// #[tachyon_rpc(msg_type = 1)]
    /// fn count(#[state] calls: &AtomicU64) -> u64 {
    ///     calls.fetch_add(1, Ordering::Relaxed) + 1
    /// }
    ///
    /// let calls = Arc::new(AtomicU64::new(0));
    /// let dispatcher = Dispatcher::with_shared(Arc::clone(&calls), endpoints![count]);
    /// # drop(dispatcher);
    /// println!("{} calls so far", calls.load(Ordering::Relaxed));
    /// ```
    ///
    /// # Panics
    /// As [`with_state`](Self::with_state), and when an endpoint takes `&mut S`: other owners may read the state at any
    /// time.
    pub fn with_shared(state: Arc<S>, endpoints: &[Entry<S>]) -> Self
    where
        S: Send + Sync + 'static,
    {
        Self::over(State::Shared(Box::new(state)), endpoints)
    }

    fn over(state: State<S>, endpoints: &[Entry<S>]) -> Self {
        let mut dispatcher = Self { responder: Responder::new(Table::new()), state };
        for entry in endpoints {
            if let Err(refusal) = dispatcher.insert(*entry) {
                panic!("{refusal}");
            }
        }
        dispatcher
    }

    fn insert(&mut self, entry: Entry<S>) -> Result<(), RegisterError> {
        if entry.is_exclusive() && self.state.shared().is_some() {
            return Err(RegisterError::Shared { refused: entry.name().to_owned() });
        }
        if matches!(entry.handler(), EntryHandler::Thread(..))
            && let Some((_, exclusive)) = self.responder.table.first_exclusive()
        {
            return Err(RegisterError::Shared { refused: exclusive.to_owned() });
        }
        self.responder.table.insert_entry(entry)?;
        match entry.handler() {
            EntryHandler::Async(_, share) => self.state.note_async(Some(share)),
            EntryHandler::AsyncStateless(_) => self.state.note_async(None),
            EntryHandler::Thread(_, share) => self.state.share(share),
            _ => {}
        }
        self.responder.description.take();
        Ok(())
    }

    /// The state that the handlers share.
    pub fn state(&self) -> &S {
        self.state.get()
    }

    /// Adds a closure as the endpoint `msg_type`. The closure gets the request's bytes, in place, and returns a reply,
    /// or a `Result` of one. A [`HandlerError`](crate::HandlerError) keeps its kind.
    ///
    /// ```
    /// use tachyon::Dispatcher;
    ///
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher
    ///     .register(1, "double", |request: &[u8]| request.repeat(2))?
    ///     .register(2, "parse", |request: &[u8]| std::str::from_utf8(request).map(str::len).map(|len| len as u64))?;
    /// assert_eq!(dispatcher.endpoints().collect::<Vec<_>>(), [(1, "double"), (2, "parse")]);
    /// # Ok::<(), tachyon::RegisterError>(())
    /// ```
    ///
    /// # Errors
    /// [`RegisterError`]: the message type is taken or reserved. The table is unchanged.
    pub fn register<R: IntoReply<Error: fmt::Display + 'static>>(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: impl Fn(&[u8]) -> R + Send + Sync + 'static,
    ) -> Result<&mut Self, RegisterError> {
        self.register_handler(
            msg_type,
            name,
            Box::new(move |_, request, reply| reply_or_text(handler(request.payload()), reply)),
        )
    }

    /// As [`register`](Self::register), for a closure that also gets the [`Context`] of the call.
    ///
    /// ```
    /// use tachyon::Dispatcher;
    ///
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register_with_context(1, "whoami", |cx, _request| format!("process {:?}", cx.caller.pid))?;
    /// # Ok::<(), tachyon::RegisterError>(())
    /// ```
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_with_context<R: IntoReply<Error: fmt::Display + 'static>>(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: impl Fn(&Context<'_>, &[u8]) -> R + Send + Sync + 'static,
    ) -> Result<&mut Self, RegisterError> {
        let own = name.to_owned();
        self.register_handler(
            msg_type,
            name,
            Box::new(move |_, request, reply| reply_or_text(handler(&request.context(&own), request.payload()), reply)),
        )
    }

    /// Adds an endpoint made by `#[tachyon_rpc]`, as `dispatcher.register_endpoint::<echo>()`.
    ///
    /// # Errors
    /// As [`register`](Self::register), and [`RegisterError::Shared`] for an endpoint that takes `&mut S`, if others
    /// share the state.
    pub fn register_endpoint<E: Endpoint<State = S>>(&mut self) -> Result<&mut Self, RegisterError> {
        self.insert(E::ENTRY)?;
        Ok(self)
    }

    /// Adds a handler that gets the state, and replies through a [`Reply`](crate::dispatch::Reply).
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_handler(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: OwnedHandler<S>,
    ) -> Result<&mut Self, RegisterError> {
        self.register_described(EndpointDescription::bytes(msg_type, name), handler)
    }

    /// As [`register_handler`](Self::register_handler), with a description of request, reply and errors. The dispatcher
    /// does not check that the handler keeps to it.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_described(
        &mut self,
        description: EndpointDescription,
        handler: OwnedHandler<S>,
    ) -> Result<&mut Self, RegisterError> {
        self.responder.table.insert_owned(description, handler)?;
        self.responder.description.take();
        Ok(self)
    }

    /// Adds a closure that answers with a stream as the endpoint `msg_type`. The closure gets the request's bytes, in
    /// place, and returns an iterator of replies, or of `Result`s of them, which owns what it needs. An error ends the
    /// stream. The serving thread asks the iterator for one item in a turn, while the caller takes items.
    ///
    /// ```
    /// use tachyon::Dispatcher;
    ///
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register_stream(1, "bytes", |request: &[u8]| request.to_vec())?;
    /// # Ok::<(), tachyon::RegisterError>(())
    /// ```
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_stream<I>(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: impl Fn(&[u8]) -> I + Send + Sync + 'static,
    ) -> Result<&mut Self, RegisterError>
    where
        I: IntoIterator<Item: IntoReply<Error: fmt::Display + 'static> + 'static, IntoIter: Send + 'static>,
    {
        self.register_described_stream(
            EndpointDescription { streams: true, ..EndpointDescription::bytes(msg_type, name) },
            Box::new(move |_, request| Ok(Replies::new(handler(request.payload())))),
        )
    }

    /// As [`register_stream`](Self::register_stream), for a handler that gets the state, with a description of request,
    /// items and errors. The dispatcher does not check that the handler keeps to it.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_described_stream(
        &mut self,
        description: EndpointDescription,
        handler: OwnedOpenReplies<S>,
    ) -> Result<&mut Self, RegisterError> {
        self.responder.table.insert_stream(description, handler)?;
        self.responder.description.take();
        Ok(self)
    }

    /// Adds a closure that takes the caller's items, and answers with one reply, as the endpoint `msg_type`. The
    /// closure gets the request's bytes and the [`Items`], and returns a reply, or a `Result` of one. It runs on a
    /// thread of its own, for each stream one, and may block there.
    ///
    /// A stream that ends before its time shows the closure [`ItemError::Cancelled`](crate::ItemError::Cancelled) at
    /// the next item. [`Items`] has an example.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_client_stream<R>(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: impl Fn(Vec<u8>, Items<Vec<u8>>) -> R + Send + Sync + 'static,
    ) -> Result<&mut Self, RegisterError>
    where
        R: IntoReply<Error: fmt::Display + 'static> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.register_described_thread(
            client_stream(msg_type, name),
            Box::new(move |request, context| {
                let (handler, request, items) =
                    (Arc::clone(&handler), request.payload().to_vec(), context.items::<Vec<u8>>());
                Ok(HandlerFuture::new(async move { later(handler(request, items)) }))
            }),
        )
    }

    /// As [`register_client_stream`](Self::register_client_stream), for a closure that answers with items: it also gets
    /// a [`StreamSender`], and returns `()`, or a `Result` of it. [`StreamSender`] has an example.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_two_way<R>(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: impl Fn(Vec<u8>, Items<Vec<u8>>, StreamSender<Vec<u8>>) -> R + Send + Sync + 'static,
    ) -> Result<&mut Self, RegisterError>
    where
        R: IntoReply<Message = (), Error: fmt::Display + 'static> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.register_described_thread(
            two_way(msg_type, name),
            Box::new(move |request, context| {
                let (handler, request) = (Arc::clone(&handler), request.payload().to_vec());
                let (items, sender) = (context.items::<Vec<u8>>(), context.sender(ItemEncoding::VALUE));
                Ok(HandlerFuture::new(async move { later(handler(request, items, sender)) }))
            }),
        )
    }

    /// Adds a handler that runs on a thread of its own, by the function that starts it, with a description of request,
    /// items, reply and errors.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    #[doc(hidden)]
    pub fn register_described_thread(
        &mut self,
        description: EndpointDescription,
        start: OwnedStartHandler,
    ) -> Result<&mut Self, RegisterError> {
        self.responder.table.insert_thread(description, start)?;
        self.responder.description.take();
        Ok(self)
    }

    /// Adds an async closure as the endpoint `msg_type`. The closure gets a copy of the request's bytes and returns a
    /// future of a reply, or of a `Result` of one. Needs the cargo feature `tokio` and a server served with
    /// [`serve_async`](Self::serve_async): every other way to serve refuses the table with
    /// [`ServeError::NeedsRuntime`](crate::ServeError::NeedsRuntime).
    ///
    /// The future is a task of the runtime. Handlers of one caller run concurrently, as handlers of different callers
    /// do, and reply in the order in which they end. The panic of a handler becomes an error reply. The server drops a
    /// handler at its next `await` when the caller no longer waits, because the deadline has passed or the caller is
    /// gone: spawn a task for work that must complete. A handler that computes for long, or blocks, keeps a thread of
    /// the runtime.
    ///
    /// The closure captures its state; clone an `Arc` into the future.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tachyon::Dispatcher;
    ///
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register_async(1, "echo_later", |request: Vec<u8>| async move {
    ///     tokio::time::sleep(Duration::from_millis(10)).await;
    ///     request
    /// })?;
    /// # Ok::<(), tachyon::RegisterError>(())
    /// ```
    ///
    /// # Errors
    /// As [`register`](Self::register).
    #[cfg(feature = "tokio")]
    pub fn register_async<F, R>(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: impl Fn(Vec<u8>) -> F + Send + Sync + 'static,
    ) -> Result<&mut Self, RegisterError>
    where
        F: Future<Output = R> + Send + 'static,
        R: IntoReply<Error: fmt::Display + 'static> + Send + 'static,
    {
        self.register_async_with_context(msg_type, name, move |_, request| handler(request))
    }

    /// As [`register_async`](Self::register_async), for a closure that also gets the context of the call.
    ///
    /// ```
    /// use tachyon::Dispatcher;
    ///
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register_async_with_context(1, "tenant", |cx, _request| async move {
    ///     cx.get().metadata().get("tenant").unwrap_or("none").to_owned()
    /// })?;
    /// # Ok::<(), tachyon::RegisterError>(())
    /// ```
    ///
    /// # Errors
    /// As [`register`](Self::register).
    #[cfg(feature = "tokio")]
    pub fn register_async_with_context<F, R>(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: impl Fn(OwnedContext, Vec<u8>) -> F + Send + Sync + 'static,
    ) -> Result<&mut Self, RegisterError>
    where
        F: Future<Output = R> + Send + 'static,
        R: IntoReply<Error: fmt::Display + 'static> + Send + 'static,
    {
        self.register_described_async(EndpointDescription::bytes(msg_type, name), handler)
    }

    /// As [`register_async_with_context`](Self::register_async_with_context), with a description of request, reply and
    /// errors, for instance of an endpoint of another callee. The dispatcher does not check that the handler keeps to
    /// it, and the reply of a handler is its bytes. The texts of errors travel, unless request and reply are bytes.
    ///
    /// ```
    /// use tachyon::{Dispatcher, HandlerError, endpoints, tachyon_rpc, testing};
    ///
    /// #[tachyon_rpc(msg_type = 1)]
    /// fn double(number: u32) -> u32 {
    ///     number * 2
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let back = testing::pair_async(Dispatcher::new(endpoints![double]))?;
    /// let mut front = Dispatcher::default();
    /// for endpoint in back.describe(None).await?.endpoints {
    ///     let (back, msg_type) = (back.clone(), endpoint.msg_type);
    ///     front.register_described_async(endpoint, move |cx, request| {
    ///         let back = back.on_behalf_of(&cx.get());
    ///         async move { back.call(msg_type, &request).await.map_err(HandlerError::passed_on) }
    ///     })?;
    /// }
    /// let caller = testing::pair_async(front)?;
    /// assert_eq!(double::call_async(&caller, 21).await?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`register`](Self::register).
    #[cfg(feature = "tokio")]
    pub fn register_described_async<F, R>(
        &mut self,
        description: EndpointDescription,
        handler: impl Fn(OwnedContext, Vec<u8>) -> F + Send + Sync + 'static,
    ) -> Result<&mut Self, RegisterError>
    where
        F: Future<Output = R> + Send + 'static,
        R: IntoReply<Error: fmt::Display + 'static> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.register_described_task(
            description,
            Box::new(move |request, context| {
                let (handler, request) = (Arc::clone(&handler), request.payload().to_vec());
                Ok(HandlerFuture::new(async move { later(handler(context, request).await) }))
            }),
        )
    }

    /// As [`register_client_stream`](Self::register_client_stream), for an async closure, which is a task as those of
    /// [`register_async`](Self::register_async) are. Needs the cargo feature `tokio`.
    ///
    /// ```
    /// use tachyon::{AsyncCaller, Dispatcher, ItemError, Items, RpcServer};
    ///
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register_async_client_stream(1, "total", |_request, mut items: Items<Vec<u8>>| async move {
    ///     let mut total = 0;
    ///     while let Some(item) = items.recv().await {
    ///         total += item?.len() as u64;
    ///     }
    ///     Ok::<u64, ItemError>(total)
    /// })?;
    /// # Ok::<(), tachyon::RegisterError>(())
    /// ```
    ///
    /// # Errors
    /// As [`register`](Self::register).
    #[cfg(feature = "tokio")]
    pub fn register_async_client_stream<F, R>(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: impl Fn(Vec<u8>, Items<Vec<u8>>) -> F + Send + Sync + 'static,
    ) -> Result<&mut Self, RegisterError>
    where
        F: Future<Output = R> + Send + 'static,
        R: IntoReply<Error: fmt::Display + 'static> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.register_described_task(
            client_stream(msg_type, name),
            Box::new(move |request, context| {
                let (handler, request, items) =
                    (Arc::clone(&handler), request.payload().to_vec(), context.items::<Vec<u8>>());
                Ok(HandlerFuture::new(async move { later(handler(request, items).await) }))
            }),
        )
    }

    /// As [`register_two_way`](Self::register_two_way), for an async closure. Needs the cargo feature `tokio`.
    ///
    /// ```
    /// use tachyon::{Dispatcher, ItemError, Items, StreamSender};
    ///
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register_async_two_way(
    ///     1,
    ///     "shout",
    ///     |_request, mut items: Items<Vec<u8>>, out: StreamSender<Vec<u8>>| async move {
    ///         while let Some(item) = items.recv().await {
    ///             out.send(&item?.to_ascii_uppercase()).await?;
    ///         }
    ///         Ok::<(), ItemError>(())
    ///     },
    /// )?;
    /// # Ok::<(), tachyon::RegisterError>(())
    /// ```
    ///
    /// # Errors
    /// As [`register`](Self::register).
    #[cfg(feature = "tokio")]
    pub fn register_async_two_way<F, R>(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: impl Fn(Vec<u8>, Items<Vec<u8>>, StreamSender<Vec<u8>>) -> F + Send + Sync + 'static,
    ) -> Result<&mut Self, RegisterError>
    where
        F: Future<Output = R> + Send + 'static,
        R: IntoReply<Message = (), Error: fmt::Display + 'static> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.register_described_task(
            two_way(msg_type, name),
            Box::new(move |request, context| {
                let (handler, request) = (Arc::clone(&handler), request.payload().to_vec());
                let (items, sender) = (context.items::<Vec<u8>>(), context.sender(ItemEncoding::VALUE));
                Ok(HandlerFuture::new(async move { later(handler(request, items, sender).await) }))
            }),
        )
    }

    /// Adds a handler that is a task of a runtime or of an event loop, by the function that starts it, with a
    /// description of request, items, reply and errors.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    #[doc(hidden)]
    pub fn register_described_task(
        &mut self,
        description: EndpointDescription,
        start: OwnedStartHandler,
    ) -> Result<&mut Self, RegisterError> {
        self.responder.table.insert_async(description, start)?;
        self.state.note_async(None);
        self.responder.description.take();
        Ok(self)
    }

    /// Sets the fallback, which answers every request that no endpoint of this table takes, as a proxy does. Requests
    /// for a description go to it, too. Needs the cargo feature `tokio` and a server served with
    /// [`serve_async`](Self::serve_async). [`Fallback`] has an example.
    ///
    /// The server copies each request. Statistics count the requests as those without an endpoint, and layers see them
    /// with an empty name.
    #[cfg(feature = "tokio")]
    pub fn fallback(&mut self, fallback: impl Fallback) -> &mut Self {
        self.responder.table.set_fallback(AnyFallback::new(fallback));
        self.state.note_async(None);
        self
    }

    /// The description of all endpoints, as [`Caller::describe`](crate::Caller::describe) receives it.
    pub fn describe(&self) -> Description {
        self.responder.table.describe(WHOLE_TABLE)
    }

    /// Whether an endpoint changes the state. Several threads cannot serve such a table at the same time.
    pub fn is_exclusive(&self) -> bool {
        self.responder.table.first_exclusive().is_some()
    }

    /// Number of endpoints.
    pub fn len(&self) -> usize {
        self.responder.table.len()
    }

    /// Whether the table has no endpoint.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The endpoints' message types and names, ascending.
    pub fn endpoints(&self) -> impl Iterator<Item = (u16, &str)> {
        self.responder.table.iter().map(|(msg_type, registered)| (msg_type, registered.name()))
    }

    /// Whether error replies omit the error's text, which may reveal more than a caller should know. Off by default.
    /// Declared errors travel by name and fields in either case. An endpoint from bytes to bytes without declared
    /// errors never sends text.
    pub fn hide_error_text(&mut self, hide: bool) -> &mut Self {
        self.responder.hide_text = hide;
        self
    }

    /// Sets the hook that [`serve_forever`](Self::serve_forever) calls for each failed request; none by default. A
    /// declared error, and the refusal of a request of the wrong type, are answers and no failures.
    ///
    /// ```
    /// use tachyon::Dispatcher;
    ///
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.on_failure(|failure| eprintln!("{failure}"));
    /// ```
    pub fn on_failure(&mut self, hook: impl Fn(&ServeError) + Send + Sync + 'static) -> &mut Self {
        self.responder.on_failure = Some(Box::new(hook));
        self
    }

    /// Adds a layer, which sees every request before and after its handler. Without layers a call does not read the
    /// clock.
    pub fn layer(&mut self, layer: impl Layer + 'static) -> &mut Self {
        self.responder.layers.push(Box::new(layer));
        self
    }

    /// The endpoints' message types and names, in the order of their ordinals.
    pub(crate) fn endpoints_in_order(&self) -> impl ExactSizeIterator<Item = (u16, &str)> {
        let mut all: Vec<_> = self.responder.table.iter().collect();
        all.sort_by_key(|(_, registered)| registered.ordinal());
        all.into_iter().map(|(msg_type, registered)| (msg_type, registered.name()))
    }

    /// Serves one request, waiting for it. Control requests on the way are answered and do not count. The caller always
    /// gets an answer: the handler's reply, or an error reply when the request has no endpoint, or its handler fails,
    /// panics or returns a reply that cannot be sent.
    ///
    /// # Errors
    /// [`ServeError::NoHandler`] and [`ServeError::Handler`] after an error reply; the connection stays usable.
    /// [`ServeError::NeedsRuntime`] when an endpoint is async. Otherwise the caller closed or died.
    pub fn serve_once(&mut self, callee: &mut Callee) -> Result<(), ServeError> {
        self.serve_until(callee, Deadline::never()).map_err(|error| *error)
    }

    /// As [`serve_once`](Self::serve_once), waiting at most `timeout` for the request.
    ///
    /// # Errors
    /// As [`serve_once`](Self::serve_once), and [`ServeError::TimedOut`].
    pub fn serve_once_timeout(&mut self, callee: &mut Callee, timeout: Duration) -> Result<(), ServeError> {
        self.serve_until(callee, Deadline::after(timeout)).map_err(|error| *error)
    }

    /// Serves a [`Callee`] until its caller closes, or a [`RpcServer`](crate::RpcServer) until it is stopped. A request
    /// that ends in an error reply is reported to [`on_failure`](Self::on_failure), and the loop goes on.
    ///
    /// # Errors
    /// The caller died, the memory is corrupted, the wait was interrupted, or an endpoint is async
    /// ([`ServeError::NeedsRuntime`]). An orderly close, or a stop, is no error.
    pub fn serve_forever(&mut self, served: &mut impl Served) -> Result<(), ServeError> {
        self.check_blocking()?;
        served.serve_with(self)
    }

    /// Refuses a table with async endpoints, which need a runtime.
    ///
    /// # Errors
    /// [`ServeError::NeedsRuntime`], before any request is taken.
    pub(crate) fn check_blocking(&self) -> Result<(), ServeError> {
        match self.responder.table.first_async() {
            None => Ok(()),
            Some((msg_type, name)) => Err(ServeError::NeedsRuntime { name: name.to_owned(), msg_type }),
        }
    }

    /// Refuses a table with endpoints that change the state, which need it exclusively.
    ///
    /// # Errors
    /// [`ServeError::Exclusive`], before any request is taken.
    pub(crate) fn check_shared(&self) -> Result<(), ServeError> {
        match self.responder.table.first_exclusive() {
            None => Ok(()),
            Some((msg_type, name)) => Err(ServeError::Exclusive { name: name.to_owned(), msg_type }),
        }
    }

    /// The responder, and the state for use beside other requests. Needs a passed [`check_shared`](Self::check_shared).
    #[inline]
    pub(crate) fn shared(&self) -> (&Responder<S>, &S) {
        (&self.responder, self.state.get())
    }

    /// The state for the tasks and threads of handlers, if one of them takes it.
    pub(crate) fn state_of_tasks(&self) -> Option<&SharedState<S>> {
        self.state.shared()
    }

    /// The responder, and the state for one thread.
    #[inline]
    pub(crate) fn exclusive(&mut self) -> (&Responder<S>, StateRef<'_, S>) {
        (&self.responder, self.state.get_ref())
    }

    /// As [`exclusive`](Self::exclusive), and the state for the threads of handlers, if one of them takes it.
    pub(crate) fn exclusive_with_threads(&mut self) -> (&Responder<S>, StateRef<'_, S>, Option<&SharedState<S>>) {
        let (state, shared) = self.state.get_both();
        (&self.responder, state, shared)
    }

    #[inline]
    fn serve_until(&mut self, callee: &mut Callee, deadline: Deadline) -> Result<(), Box<ServeError>> {
        // One branch for both questions: only a table without async endpoints has this state.
        if !matches!(self.state, State::Own(_)) {
            self.check_blocking()?;
        }
        self.serve_on(&mut callee.rx, &mut callee.tx, deadline)
    }

    /// As [`serve_once`](Self::serve_once), over the two directions of a callee.
    #[inline]
    pub(crate) fn serve_on(&mut self, rx: &mut Rx, tx: &mut Tx, deadline: Deadline) -> Result<(), Box<ServeError>> {
        loop {
            let taken = engine::take_one(rx, tx, deadline)?;
            if taken == TakenOne::Open {
                return self.serve_streams(rx, tx);
            }
            let due = open_current(rx)?;
            let (responder, state) = self.exclusive();
            let outcome =
                responder.answer::<{ place::LONE }>(state, &RequestContext::default(), rx, tx, &rx.current, due);
            rx.release_current();
            if taken == TakenOne::Call || outcome.is_err() {
                return outcome;
            }
            rx.check_deadline(deadline)?;
        }
    }

    /// Serves a message that was already taken, and releases it.
    #[inline]
    pub(crate) fn serve_frame(&mut self, rx: &mut Rx, tx: &mut Tx, frame: Frame) -> Result<(), Box<ServeError>> {
        rx.set_current(frame);
        if is_open(&rx.current) {
            return self.serve_streams(rx, tx);
        }
        if is_stream_message(&rx.current) {
            // It was under way when its stream ended.
            open_current(rx)?;
            rx.release_current();
            return Ok(());
        }
        let (responder, state) = self.exclusive();
        engine::serve_current(rx, tx, |rx, tx, frame, deadline| {
            responder.answer::<{ place::TAKEN }>(state, &RequestContext::default(), rx, tx, frame, deadline)
        })
    }
}

/// The description of a client stream of bytes.
fn client_stream(msg_type: u16, name: &str) -> EndpointDescription {
    EndpointDescription { items: Some(FormDescription::Bytes), ..EndpointDescription::bytes(msg_type, name) }
}

/// The description of a two-way stream of bytes.
fn two_way(msg_type: u16, name: &str) -> EndpointDescription {
    EndpointDescription { streams: true, ..client_stream(msg_type, name) }
}

/// The output of a closure, as a reply that is sent later.
fn later<R: IntoReply<Error: fmt::Display + 'static> + Send + 'static>(output: R) -> AsyncReply {
    AsyncReply::new(move |reply| reply_or_text(output, reply))
}

/// An end that a dispatcher can serve: a [`Callee`] or a [`RpcServer`](crate::RpcServer). Only this crate implements
/// it.
pub trait Served: sealed::Sealed {
    /// Serves with a dispatcher's table until the other side ends it.
    ///
    /// # Errors
    /// As [`Dispatcher::serve_forever`].
    fn serve_with<S: ?Sized>(&mut self, dispatcher: &mut Dispatcher<S>) -> Result<(), ServeError>;
}

pub(crate) mod sealed {
    /// Keeps implementations of [`Served`](super::Served) inside this crate.
    pub trait Sealed {}
}

impl sealed::Sealed for Callee {}

impl Served for Callee {
    fn serve_with<S: ?Sized>(&mut self, dispatcher: &mut Dispatcher<S>) -> Result<(), ServeError> {
        loop {
            let Err(error) = dispatcher.serve_until(self, Deadline::never()) else { continue };
            match *error {
                ServeError::Closed => return Ok(()),
                failure @ (ServeError::NoHandler { .. } | ServeError::Handler(_)) => {
                    dispatcher.responder.report_failure(&failure);
                }
                end => return Err(end),
            }
        }
    }
}

impl<S: ?Sized> fmt::Debug for Dispatcher<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.endpoints()).finish()
    }
}
