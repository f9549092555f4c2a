//! The caller for async code.

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
use super::session::Session;
use crate::connection::Established;
use crate::handshake::{ConnectError, absolute};
use crate::options::Options;
use crate::rpc::{Attempts, CallError, connecting_by};
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
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("rpc.sock");
/// use tachyon::AsyncCaller;
/// use tachyon::{Callee, Dispatcher};
/// # let listen_at = path.clone();
///
/// # let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
/// # let mut callee = Callee::listen(&listen_at, 4096, 4096)?;
/// # let mut dispatcher = Dispatcher::default();
/// # dispatcher.register(1, "echo", <[u8]>::to_vec)?;
/// # dispatcher.serve_forever(&mut callee)?;
/// # Ok(()) });
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let caller = AsyncCaller::connect(&path).await?;
/// let other = caller.clone();
/// let task = tokio::spawn(async move { other.call(1, b"from a task").await });
/// assert_eq!(caller.call(1, b"from here").await?, b"from here");
/// assert_eq!(task.await??, b"from a task");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # callee.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use = "dropping the last handle closes the connection"]
pub struct AsyncCaller {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    options: Options,
    link: Mutex<Arc<Link>>,
    /// Held by the task that reconnects.
    reconnecting: tokio::sync::Mutex<()>,
}

/// A session and its driver task. The drop ends the task.
struct Link {
    session: Arc<Session>,
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
        let link = Link::connect(path, options, Deadline::never()).await?;
        Ok(Self {
            shared: Arc::new(Shared {
                path: absolute(path),
                options: options.clone(),
                link: Mutex::new(Arc::new(link)),
                reconnecting: tokio::sync::Mutex::default(),
            }),
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
        let link = Mutex::new(Arc::new(Link::over(established, &options)?));
        let reconnecting = tokio::sync::Mutex::default();
        Ok(Self { shared: Arc::new(Shared { path: PathBuf::new(), options, link, reconnecting }) })
    }

    /// Calls, and awaits a copy of the reply.
    ///
    /// # Errors
    /// As [`Caller::call`](crate::Caller::call).
    pub async fn call(&self, msg_type: u16, payload: &[u8]) -> Result<Vec<u8>, CallError> {
        self.persist(msg_type, payload, Deadline::never(), false).await
    }

    /// As [`call`](Self::call), within `timeout`. The deadline travels with the request, so that the callee does not
    /// begin a call whose reply would come too late.
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`CallError::TimedOut`].
    ///
    /// # Panics
    /// In a runtime without its time driver.
    pub async fn call_timeout(&self, msg_type: u16, payload: &[u8], timeout: Duration) -> Result<Vec<u8>, CallError> {
        self.persist(msg_type, payload, Deadline::after(timeout), false).await
    }

    /// As [`call`](Self::call), for an endpoint that may safely run twice; see
    /// [`Caller::idempotent`](crate::Caller::idempotent).
    ///
    /// # Errors
    /// As [`Caller::call`](crate::Caller::call).
    pub async fn call_idempotent(&self, msg_type: u16, payload: &[u8]) -> Result<Vec<u8>, CallError> {
        self.persist(msg_type, payload, Deadline::never(), true).await
    }

    /// As [`call_idempotent`](Self::call_idempotent), within `timeout` for all attempts.
    ///
    /// # Errors
    /// As [`call_idempotent`](Self::call_idempotent), and [`CallError::TimedOut`].
    ///
    /// # Panics
    /// In a runtime without its time driver.
    pub async fn call_idempotent_timeout(
        &self,
        msg_type: u16,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<Vec<u8>, CallError> {
        self.persist(msg_type, payload, Deadline::after(timeout), true).await
    }

    /// Number of calls in flight.
    pub fn outstanding(&self) -> usize {
        self.shared.link().session.outstanding()
    }

    /// Length of the longest possible request, in bytes.
    pub fn max_len(&self) -> usize {
        self.shared.link().session.max_len()
    }

    async fn persist(
        &self,
        msg_type: u16,
        payload: &[u8],
        deadline: Deadline,
        idempotent: bool,
    ) -> Result<Vec<u8>, CallError> {
        let mut attempts = Attempts::new(self.shared.options.reconnects(), idempotent, deadline);
        loop {
            let link = self.shared.living(deadline).await.map_err(|error| attempts.outcome(error))?;
            let outcome = exchange(&link.session, msg_type, payload, deadline).await;
            match outcome {
                Err(error) if attempts.again(&error) => {
                    // A callee that stops closes the connection.
                    let ended = within(deadline, link.session.ended()).await;
                    ended.ok_or_else(|| attempts.outcome(CallError::TimedOut { sent: false }))?;
                }
                outcome => return outcome.map_err(|error| attempts.outcome(error)),
            }
        }
    }
}

/// Awaits a future until a deadline; `None` after it.
async fn within<F: Future>(deadline: Deadline, future: F) -> Option<F::Output> {
    match deadline.remaining() {
        None => Some(future.await),
        Some(left) => tokio::time::timeout(left, future).await.ok(),
    }
}

async fn exchange(session: &Session, msg_type: u16, payload: &[u8], deadline: Deadline) -> Result<Vec<u8>, CallError> {
    let call = within(deadline, session.call(msg_type, payload, deadline)).await;
    let call = call.unwrap_or(Err(CallError::TimedOut { sent: false }))?;
    within(deadline, call).await.unwrap_or(Err(CallError::TimedOut { sent: true }))
}

impl Shared {
    fn link(&self) -> Arc<Link> {
        // Ignores poisoning: one pointer is always consistent.
        Arc::clone(&self.link.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The link, or a new one after its end, if the options allow to reconnect.
    async fn living(&self, deadline: Deadline) -> Result<Arc<Link>, CallError> {
        let link = self.link();
        if !self.options.reconnects() || !link.session.has_ended() {
            return Ok(link);
        }
        let reconnecting = within(deadline, self.reconnecting.lock()).await;
        let _reconnecting = reconnecting.ok_or(CallError::TimedOut { sent: false })?;
        // Another task may have reconnected meanwhile.
        let link = self.link();
        if !link.session.has_ended() {
            return Ok(link);
        }
        let reconnected = Link::connect(&self.path, &self.options, deadline).await;
        let link = Arc::new(reconnected.map_err(|source| CallError::reconnecting(source, deadline))?);
        *self.link.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&link);
        Ok(link)
    }
}

impl Link {
    async fn connect(path: &Path, options: &Options, deadline: Deadline) -> Result<Self, ConnectError> {
        let system = |source: io::Error| ConnectError::system("watch the connection to", path, source);
        let mut connecting = connecting_by(path, options, deadline)?;
        let link = loop {
            if let Some(link) = connecting.step()? {
                break link;
            }
            if options.interrupt_hook().is_some_and(|asked| asked()) {
                return Err(ConnectError::Interrupted { path: path.to_owned() });
            }
            let (socket, left) = connecting.as_awaited();
            let socket = socket.map(|socket| socket.try_clone_to_owned().and_then(Readable::new)).transpose();
            readable_within(socket.map_err(system)?, left).await.map_err(system)?;
        };
        Self::over(&Established::new(link, options), options).map_err(system)
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

impl Drop for Link {
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
