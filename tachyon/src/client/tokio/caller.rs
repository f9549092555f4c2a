//! The caller for async code.

use core::borrow::Borrow;
use core::fmt;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::descriptors::Readable;
use super::driver::Driver;
use super::session::{Bytes, Request, Session, within};
use super::stream::RawStream;
use crate::connection::Established;
use crate::dispatch::Context;
use crate::handshake::{ConnectError, absolute};
use crate::metadata::Metadata;
use crate::options::Options;
use crate::rpc::{
    Attempts, Body, CallError, CallInFlight, CallOutcome, CallSettings, CallerLayer, CallerLayers, Chunks, Endpoint,
    OutgoingCall, Target, connecting_by, deadline, limits_of, patience,
};
use crate::schema::describe::{CalleeLimits, Description, Operation, Signature, WHOLE_TABLE};
use crate::type_id::{MSG_TYPE_ERROR, ROUTE_CONTROL, make_type_id};
use crate::wait::{Deadline, INTERRUPT_SLICE};

/// The calling end of RPC for tasks of a tokio runtime.
///
/// An `AsyncCaller` is a handle: clones share one connection. Any number of calls may be in flight, from any number of
/// tasks, and replies may come in any order. Dropping a call's future cancels the call; the connection stays usable.
/// Dropping the last handle closes the connection in good order.
///
/// When the callee's ring is full, calls queue for room without blocking a thread. The options are those of
/// [`Caller`](crate::Caller), with two differences. The [`polling`](Options::polling) mode limits how long a task polls
/// for a reply before it awaits the reply: not at all by default, `SpinTimes(n)` times, or with `Spin` for some 50
/// microseconds. A task polls only while its call is the only one in flight, since polling keeps the runtime's thread.
/// The [`interrupt`](Options::interrupt) hook is called only while connecting.
///
/// Handles have settings: [`within`](Self::within), [`idempotent`](Self::idempotent) and [`metadata`](Self::metadata)
/// give another handle of the same connection.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("rpc.sock");
/// use std::time::Duration;
/// use tachyon::{AsyncCaller, Callee, Dispatcher, endpoints, tachyon_rpc};
/// # let listen_at = path.clone();
///
/// #[tachyon_rpc(msg_type = 1)]
/// fn shout(text: &str, times: u32) -> String {
///     text.to_uppercase().repeat(times as usize)
/// }
///
/// # let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
/// # let mut callee = Callee::listen(&listen_at, 1 << 16, 1 << 16)?;
/// # Dispatcher::new(endpoints![shout]).serve_forever(&mut callee)?;
/// # Ok(()) });
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let caller = AsyncCaller::connect(&path).await?;
/// assert_eq!(shout::call_async(&caller, "hello", 2).await?, "HELLOHELLO");
///
/// let other = caller.within(Duration::from_secs(1));
/// let task = tokio::spawn(async move { shout::call_async(&other, "task", 1).await });
/// assert_eq!(task.await??, "TASK");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # callee.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "dropping the last handle closes the connection"]
pub struct AsyncCaller {
    shared: Arc<Shared>,
    settings: CallSettings,
    layers: CallerLayers,
}

struct Shared {
    path: PathBuf,
    options: Options,
    live: Mutex<Arc<LiveSession>>,
    /// Held by the task that reconnects.
    reconnecting: tokio::sync::Mutex<()>,
}

/// A session and its driver task. The drop ends the task.
#[derive(Debug)]
pub(super) struct LiveSession {
    pub(super) session: Arc<Session>,
    driver: AbortHandle,
}

impl AsyncCaller {
    /// Connects to the callee at `path`, and waits up to 5 seconds for it to listen.
    ///
    /// # Errors
    /// As [`Caller::connect`](crate::Caller::connect).
    ///
    /// # Panics
    /// Outside a tokio runtime, or in one without its I/O or its time driver.
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::connect_with(path, &Options::new()).await
    }

    /// As [`connect`](Self::connect), with [`Options`]. Dropping the future ends the attempt.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    ///
    /// # Panics
    /// As [`connect`](Self::connect).
    pub async fn connect_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, ConnectError> {
        let path = path.as_ref();
        let live = LiveSession::connect(path, options, Deadline::never()).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: absolute(path),
                options: options.clone(),
                live: Mutex::new(Arc::new(live)),
                reconnecting: tokio::sync::Mutex::default(),
            }),
            settings: CallSettings::default(),
            layers: CallerLayers::default(),
        })
    }

    /// The caller of a connection without a path.
    ///
    /// # Errors
    /// The system cannot watch the connection.
    ///
    /// # Panics
    /// As [`connect`](Self::connect).
    pub(crate) fn over(established: &Established) -> io::Result<Self> {
        let options = Options::new();
        let live = Mutex::new(Arc::new(LiveSession::over(established, &options)?));
        let reconnecting = tokio::sync::Mutex::default();
        Ok(Self {
            shared: Arc::new(Shared { path: PathBuf::new(), options, live, reconnecting }),
            settings: CallSettings::default(),
            layers: CallerLayers::default(),
        })
    }

    /// A handle to the same connection whose calls take at most `timeout` each, the wait for room and all attempts
    /// included. The deadline travels with the request, so that the callee does not begin a call whose reply would come
    /// too late.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use std::time::Duration;
    /// use tachyon::{AsyncCaller, CallError, Callee};
    /// # let listen_at = path.clone();
    ///
    /// # let callee = std::thread::spawn(move || Callee::listen(&listen_at, 4096, 4096)); // serves nothing
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let caller = AsyncCaller::connect(&path).await?;
    /// let hasty = caller.within(Duration::from_millis(20));
    /// assert!(matches!(hasty.call(1, b"").await, Err(CallError::TimedOut { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # drop(callee);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn within(&self, timeout: Duration) -> Self {
        let mut handle = self.clone();
        handle.settings.set_timeout(timeout);
        handle
    }

    /// A handle to the same connection for endpoints that may safely run twice: a request that is lost with its callee
    /// is sent again, at most twice. Only a caller that [reconnects](Options::reconnect) does so.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use tachyon::{AsyncCaller, Callee, Dispatcher, Options};
    /// # let listen_at = path.clone();
    ///
    /// # let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
    /// // One callee takes the request and is gone.
    /// # let path = listen_at;
    /// let mut callee = Callee::listen(&path, 4096, 4096)?;
    /// drop(callee.serve()?);
    /// drop(callee);
    /// // The next one answers.
    /// let mut callee = Callee::listen(&path, 4096, 4096)?;
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register(1, "read", |_: &[u8]| "the page")?;
    /// dispatcher.serve_forever(&mut callee)?;
    /// # Ok(()) });
    ///
    /// // In another process:
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let caller = AsyncCaller::connect_with(&path, &Options::new().reconnect(true)).await?;
    /// assert_eq!(caller.idempotent().call(1, b"index").await?, b"the page");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # callee.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn idempotent(&self) -> Self {
        let mut handle = self.clone();
        handle.settings.set_idempotent();
        handle
    }

    /// A handle to the same connection that sends a text with each request, such as a token or the identity of a trace.
    /// The callee reads the text from the context of the call. The last text of a key counts.
    ///
    /// A call ends with [`CallError::Metadata`] if the key has another character than `a-z0-9._-`, or if all entries
    /// are longer than [`Metadata`] allows.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use tachyon::{AsyncCaller, CallError, Callee, Context, Dispatcher, endpoints, tachyon_rpc};
    /// # let listen_at = path.clone();
    ///
    /// #[tachyon_rpc(msg_type = 1)]
    /// fn greet(#[context] cx: &Context<'_>, name: &str) -> String {
    ///     let language = cx.metadata().get("language").unwrap_or("en");
    ///     format!("{} {name}", if language == "de" { "Hallo" } else { "Hello" })
    /// }
    ///
    /// # let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
    /// # let mut callee = Callee::listen(&listen_at, 4096, 4096)?;
    /// # Dispatcher::new(endpoints![greet]).serve_forever(&mut callee)?;
    /// # Ok(()) });
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let caller = AsyncCaller::connect(&path).await?;
    /// assert_eq!(greet::call_async(&caller.metadata("language", "de"), "Eva").await?, "Hallo Eva");
    /// assert_eq!(greet::call_async(&caller, "Eva").await?, "Hello Eva");
    /// let refused = greet::call_async(&caller.metadata("Language", "de"), "Eva").await;
    /// assert!(matches!(refused, Err(CallError::Metadata(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # callee.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn metadata(&self, key: &str, value: &str) -> Self {
        let mut handle = self.clone();
        handle.settings.insert(key, value);
        handle
    }

    /// A handle to the same connection for the calls of a proxy: they have the metadata of the call `context`, and at
    /// most the time that is left of it. Entries of this handle stay, but for those whose key the call has: add the
    /// proxy's own entries to the new handle, where they win. [`Fallback`](crate::dispatch::Fallback) has an example.
    pub fn on_behalf_of(&self, context: &Context<'_>) -> Self {
        let mut handle = self.clone();
        if let Some(left) = context.remaining() {
            handle.settings.limit_timeout(left);
        }
        for (key, value) in context.metadata().iter() {
            handle.settings.insert(key, value);
        }
        handle
    }

    /// A handle to the same connection whose streams have at most `items` items of the callee under way: sent by the
    /// callee, and not taken by [`RawStream::recv`]. At least one, and at most as many as the other streams of the
    /// connection leave of half of the ring's slots. By default 32, and at most an eighth of the slots.
    ///
    /// ```
    /// use tachyon::{Dispatcher, testing};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register_stream(1, "frames", |_: &[u8]| (0..3u8).map(|frame| vec![frame; 1000]))?;
    /// let caller = testing::pair_async(dispatcher)?;
    /// let frames = caller.window(1).open(1, b"").await?;
    /// while let Some(frame) = frames.recv().await {
    ///     assert_eq!(frame?.len(), 1000);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn window(&self, items: u32) -> Self {
        let mut handle = self.clone();
        handle.settings.set_window(items);
        handle
    }

    /// Adds a layer, which sees every later call of this handle, and of the handles that are made of it afterwards,
    /// before it is sent, and its outcome. A dropped future is [`CallOutcome::GivenUp`]. Without layers a call does not
    /// read the clock.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use std::time::Duration;
    /// use tachyon::rpc::{CallOutcome, CallerLayer, OutgoingCall};
    /// use tachyon::{AsyncCaller, Callee, Dispatcher};
    /// # let listen_at = path.clone();
    ///
    /// #[derive(Default)]
    /// struct Failures(AtomicU64);
    ///
    /// impl CallerLayer for Failures {
    ///     fn after(&self, _call: &OutgoingCall, outcome: CallOutcome<'_>, _took: Duration) {
    ///         if let CallOutcome::Failed(_) = outcome {
    ///             self.0.fetch_add(1, Ordering::Relaxed);
    ///         }
    ///     }
    /// }
    ///
    /// # let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
    /// # let mut callee = Callee::listen(&listen_at, 4096, 4096)?;
    /// # Dispatcher::default().serve_forever(&mut callee)?;
    /// # Ok(()) });
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let failures = Arc::new(Failures::default());
    /// let mut caller = AsyncCaller::connect(&path).await?;
    /// caller.layer(Arc::clone(&failures));
    /// assert!(caller.call(1, b"").await.is_err()); // no such endpoint
    /// assert_eq!(failures.0.load(Ordering::Relaxed), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # callee.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn layer(&mut self, layer: impl CallerLayer + 'static) -> &mut Self {
        self.layers.push(layer);
        self
    }

    /// Calls, and awaits a copy of the reply.
    ///
    /// # Errors
    /// As [`Caller::call`](crate::Caller::call).
    ///
    /// # Panics
    /// With a [time limit](Self::within), in a runtime without its time driver.
    pub async fn call(&self, msg_type: u16, payload: &[u8]) -> Result<Vec<u8>, CallError> {
        if msg_type == MSG_TYPE_ERROR {
            return Err(CallError::ReservedMsgType);
        }
        self.persist(Target::raw(msg_type), &Bytes(payload)).await
    }

    /// Calls the endpoint of a signature, and awaits a copy of the reply.
    pub(super) async fn call_signature(
        &self,
        signature: &'static Signature,
        body: &(dyn Body + Sync),
    ) -> Result<Vec<u8>, CallError> {
        self.persist(Target::typed(signature), body).await
    }

    /// Opens a stream of an endpoint. Calls and other streams go on beside it. The stream keeps the connection open. A
    /// caller that [reconnects](Options::reconnect) opens no stream again that was open: its items end with the
    /// connection.
    ///
    /// The [time](Self::within) of this handle is the time of the whole stream.
    ///
    /// ```
    /// use tachyon::{Dispatcher, testing};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register_stream(1, "count", |request: &[u8]| 0..request[0])?;
    /// let caller = testing::pair_async(dispatcher)?;
    /// let count = caller.open(1, &[3]).await?;
    /// let mut numbers = Vec::new();
    /// while let Some(item) = count.recv().await {
    ///     numbers.push(item?[0]);
    /// }
    /// assert_eq!(numbers, [0, 1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`CallError::TooManyStreams`]; in every case nothing was sent. An endpoint that is
    /// no stream, or that the callee does not have, is the first outcome of [`RawStream::recv`].
    ///
    /// # Panics
    /// As [`call`](Self::call).
    pub async fn open(&self, msg_type: u16, payload: &[u8]) -> Result<RawStream, CallError> {
        if msg_type == MSG_TYPE_ERROR {
            return Err(CallError::ReservedMsgType);
        }
        self.open_target(Target::raw(msg_type), &Bytes(payload)).await
    }

    /// Opens a stream, in as many attempts as [`Attempts`] allows.
    pub(super) async fn open_target(&self, target: Target, body: &(dyn Body + Sync)) -> Result<RawStream, CallError> {
        let (deadline, metadata) = (deadline(Some(&self.settings)), self.settings.metadata()?);
        let call = Call { target, body, metadata, deadline };
        let mut attempts = Attempts::new(self.shared.options.reconnects(), false, deadline);
        loop {
            let mut live = None;
            match self.attempt_open(&call, &mut live).await {
                Err(error) if attempts.again(&error) => {
                    attempts = next_attempt(attempts, error, live, deadline).await?;
                }
                outcome => return outcome,
            }
        }
    }

    /// Makes one attempt at opening a stream, and notes the connection of the attempt.
    async fn attempt_open(&self, call: &Call<'_>, live: &mut Option<Arc<LiveSession>>) -> Result<RawStream, CallError> {
        if self.layers.is_empty() {
            return self.open_unlayered(call, live).await;
        }
        let layers = self.layers.clone();
        let flight = layers.before(call.seen())?;
        let mut layered = LayeredCall { layers, flight: Some(flight) };
        let opened = self.open_unlayered(&Call { metadata: layered.metadata(), ..*call }, live).await;
        match opened {
            Ok(stream) => Ok(stream.layered(layered)),
            Err(error) => {
                layered.ended(CallOutcome::Failed(&error));
                Err(error)
            }
        }
    }

    async fn open_unlayered(
        &self,
        call: &Call<'_>,
        live: &mut Option<Arc<LiveSession>>,
    ) -> Result<RawStream, CallError> {
        let &Call { target, body, metadata, deadline } = call;
        let live = self.agreed(call, live).await?;
        let request = Request { type_id: make_type_id(0, target.msg_type()), body, metadata, due: deadline };
        let id = live.session.open(&request, self.settings.window(), deadline).await?;
        // Without an await in between: from here on a drop cancels the stream.
        Ok(RawStream::new(Arc::clone(live), id, deadline))
    }

    /// Asks the callee for the description of one endpoint, or of all. An endpoint that the callee does not have gives
    /// an empty description.
    ///
    /// ```
    /// use tachyon::{Dispatcher, testing};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register(1, "echo", <[u8]>::to_vec)?;
    /// let caller = testing::pair_async(dispatcher)?;
    /// assert_eq!(caller.describe(None).await?.endpoints[0].name, "echo");
    /// assert!(caller.describe(Some(2)).await?.endpoints.is_empty());
    /// assert_eq!(caller.limits().await?.max_request, caller.max_len() as u64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Caller::describe`](crate::Caller::describe).
    ///
    /// # Panics
    /// As [`call`](Self::call).
    pub async fn describe(&self, endpoint: Option<u16>) -> Result<Description, CallError> {
        let deadline = deadline(Some(&self.settings));
        let live = self.shared.living(deadline).await?;
        let mut chunks = Chunks::of(endpoint.unwrap_or(WHOLE_TABLE));
        loop {
            let reply = control(&live, Operation::Describe, &chunks.query()?, deadline).await?;
            if let Some(description) = chunks.add(&reply)? {
                return Ok(description);
            }
        }
    }

    /// Asks the callee for the longest messages that it takes and gives, and for the version of its description.
    ///
    /// # Errors
    /// As [`Caller::limits`](crate::Caller::limits).
    ///
    /// # Panics
    /// As [`call`](Self::call).
    pub async fn limits(&self) -> Result<CalleeLimits, CallError> {
        let deadline = deadline(Some(&self.settings));
        let live = self.shared.living(deadline).await?;
        limits_of(&control(&live, Operation::Limits, &[], deadline).await?)
    }

    /// Waits until the connection has ended. A caller that [reconnects](Options::reconnect) has another one with its
    /// next call.
    pub async fn ended(&self) {
        self.shared.live().session.ended().await;
    }

    /// Number of calls in flight, and of open streams.
    pub fn outstanding(&self) -> usize {
        self.shared.live().session.outstanding()
    }

    /// Length of the longest possible request, in bytes.
    pub fn max_len(&self) -> usize {
        self.shared.live().session.max_len()
    }

    /// Makes a call, in as many attempts as [`Attempts`] allows.
    async fn persist(&self, target: Target, body: &(dyn Body + Sync)) -> Result<Vec<u8>, CallError> {
        let (deadline, metadata) = (deadline(Some(&self.settings)), self.settings.metadata()?);
        let call = Call { target, body, metadata, deadline };
        let mut attempts = Attempts::new(self.shared.options.reconnects(), self.settings.is_idempotent(), deadline);
        loop {
            let mut live = None;
            match self.attempt(&call, &mut live).await {
                Err(error) if attempts.again(&error) => {
                    attempts = next_attempt(attempts, error, live, deadline).await?;
                }
                outcome => return outcome.map_err(|error| attempts.outcome(error)),
            }
        }
    }

    /// Makes one attempt at a call, and notes the connection of the attempt.
    async fn attempt(&self, call: &Call<'_>, live: &mut Option<Arc<LiveSession>>) -> Result<Vec<u8>, CallError> {
        if self.layers.is_empty() {
            self.attempt_unlayered(call, live).await
        } else {
            // On the heap: the futures of calls without layers keep no room for this.
            Box::pin(self.attempt_layered(call, live)).await
        }
    }

    async fn attempt_layered(
        &self,
        call: &Call<'_>,
        live: &mut Option<Arc<LiveSession>>,
    ) -> Result<Vec<u8>, CallError> {
        let mut flight = LayeredCall { layers: &self.layers, flight: Some(self.layers.before(call.seen())?) };
        let outcome = self.attempt_unlayered(&Call { metadata: flight.metadata(), ..*call }, live).await;
        flight.ended(match &outcome {
            Ok(reply) => CallOutcome::Replied(reply.len()),
            Err(error) => CallOutcome::Failed(error),
        });
        outcome
    }

    async fn attempt_unlayered(
        &self,
        call: &Call<'_>,
        live: &mut Option<Arc<LiveSession>>,
    ) -> Result<Vec<u8>, CallError> {
        let &Call { target, body, metadata, deadline } = call;
        let live = self.agreed(call, live).await?;
        let type_id = make_type_id(0, target.msg_type());
        live.session.exchange(&Request { type_id, body, metadata, due: deadline }, deadline).await
    }

    /// The connection for a call whose endpoint was compared with the callee's.
    async fn agreed<'l>(
        &self,
        call: &Call<'_>,
        live: &'l mut Option<Arc<LiveSession>>,
    ) -> Result<&'l Arc<LiveSession>, CallError> {
        let &Call { target, deadline, .. } = call;
        let live = &*live.insert(self.shared.living(deadline).await?);
        let session = &live.session;
        // The callee may declare the endpoint differently from the callee before.
        if let Endpoint::Typed(signature) = target.endpoint
            && !session.is_verified(signature)
        {
            // On the heap: the futures of all later calls keep no room for a comparison.
            Box::pin(session.verify(signature, deadline)).await?;
        }
        Ok(live)
    }
}

/// Makes a control request, and awaits a copy of the reply.
async fn control(
    live: &LiveSession,
    operation: Operation,
    payload: &[u8],
    deadline: Deadline,
) -> Result<Vec<u8>, CallError> {
    let type_id = make_type_id(ROUTE_CONTROL, operation as u16);
    let request = Request { type_id, body: &Bytes(payload), metadata: None, due: deadline };
    live.session.exchange(&request, deadline).await
}

/// A call for one attempt after the other.
#[derive(Clone, Copy)]
struct Call<'a> {
    target: Target,
    body: &'a (dyn Body + Sync),
    metadata: Option<&'a Metadata>,
    deadline: Deadline,
}

impl Call<'_> {
    /// The call as layers see it.
    fn seen(&self) -> OutgoingCall {
        let metadata = self.metadata.cloned().unwrap_or_default();
        OutgoingCall::new(self.target.msg_type(), self.target.name(), self.body.size(), metadata, self.deadline)
    }
}

/// Waits for the end of the connection of a failed attempt.
async fn next_attempt(
    attempts: Attempts,
    error: CallError,
    live: Option<Arc<LiveSession>>,
    deadline: Deadline,
) -> Result<Attempts, CallError> {
    let Some(live) = live else { return Err(attempts.outcome(error)) };
    // A callee that stops closes the connection.
    let ended = within(deadline, live.session.ended()).await;
    ended.ok_or_else(|| attempts.outcome(CallError::TimedOut { sent: false }))?;
    Ok(attempts)
}

/// A call that layers have seen. Dropping it shows them that the call was given up.
#[derive(Debug)]
pub(super) struct LayeredCall<L: Borrow<CallerLayers>> {
    layers: L,
    flight: Option<CallInFlight>,
}

impl<L: Borrow<CallerLayers>> LayeredCall<L> {
    fn metadata(&self) -> Option<&Metadata> {
        self.flight.as_ref().map(|flight| &flight.call.metadata).filter(|metadata| !metadata.is_empty())
    }

    pub(super) fn ended(&mut self, outcome: CallOutcome<'_>) {
        if let Some(flight) = self.flight.take() {
            self.layers.borrow().after(&flight, outcome);
        }
    }
}

impl<L: Borrow<CallerLayers>> Drop for LayeredCall<L> {
    fn drop(&mut self) {
        self.ended(CallOutcome::GivenUp);
    }
}

impl Shared {
    fn live(&self) -> Arc<LiveSession> {
        // Ignores poisoning: one pointer is always consistent.
        Arc::clone(&self.live.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The live, or a new one after its end, if the options allow to reconnect.
    async fn living(&self, deadline: Deadline) -> Result<Arc<LiveSession>, CallError> {
        let live = self.live();
        if !self.options.reconnects() || !live.session.has_ended() {
            return Ok(live);
        }
        // The time in which another task tries in vain counts: the tasks behind it would wait one after the other.
        let limit = patience(&self.options, deadline);
        let until = Deadline::after(limit);
        let reconnecting = within(deadline, self.reconnecting.lock()).await;
        let _reconnecting = reconnecting.ok_or(CallError::TimedOut { sent: false })?;
        // Another task may have reconnected meanwhile.
        let live = self.live();
        if !live.session.has_ended() {
            return Ok(live);
        }
        let reconnected = LiveSession::connect(&self.path, &self.options, until).await;
        let live = reconnected.map_err(|mut source| {
            if let ConnectError::NoListener { timeout, .. } = &mut source {
                *timeout = limit;
            }
            CallError::reconnecting(source, deadline)
        });
        let live = Arc::new(live?);
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&live);
        Ok(live)
    }
}

impl LiveSession {
    async fn connect(path: &Path, options: &Options, deadline: Deadline) -> Result<Self, ConnectError> {
        let system = |source: io::Error| ConnectError::system("watch the connection to", path, source);
        let mut connecting = connecting_by(path, options, deadline)?;
        let live = loop {
            if let Some(live) = connecting.step()? {
                break live;
            }
            if options.interrupt_hook().is_some_and(|asked| asked()) {
                return Err(ConnectError::Interrupted { path: path.to_owned() });
            }
            let (socket, left) = connecting.as_awaited();
            let socket = socket.map(|socket| socket.try_clone_to_owned().and_then(Readable::new)).transpose();
            readable_within(socket.map_err(system)?, left).await.map_err(system)?;
        };
        Self::over(&Established::new(live, options), options).map_err(system)
    }

    fn over(established: &Established, options: &Options) -> io::Result<Self> {
        let session = Arc::new(Session::new(established, options.polling_mode()));
        let driver = Driver::new(&session)?;
        Ok(Self { session, driver: tokio::spawn(driver.run()).abort_handle() })
    }
}

/// Waits until a descriptor is readable, for at most `left`, and at most the interval of an interrupt hook.
async fn readable_within(descriptor: Option<Readable>, left: Option<Duration>) -> io::Result<()> {
    let mut alarm = pin!(tokio::time::sleep(left.map_or(INTERRUPT_SLICE, |left| left.min(INTERRUPT_SLICE))));
    poll_fn(|context| {
        if let Some(Poll::Ready(readable)) = descriptor.as_ref().map(|descriptor| descriptor.poll_ready(context)) {
            return Poll::Ready(readable);
        }
        alarm.as_mut().poll(context).map(Ok)
    })
    .await
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        self.driver.abort();
        // Closed here: the driver holds the connection until the runtime drops the task.
        self.session.connection.close();
    }
}

impl fmt::Debug for AsyncCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncCaller")
            .field("path", &self.shared.path)
            .field("outstanding", &self.outstanding())
            .finish_non_exhaustive()
    }
}
