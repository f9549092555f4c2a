//! The calling end for async code.

use core::fmt;
use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::driver::Driver;
use super::session::Session;
use super::watched::Readable;
use crate::connection::Established;
use crate::handshake::ConnectError;
use crate::handshake::absolute;
use crate::options::Options;
use crate::rpc::CallError;
use crate::rpc::{Attempts, connecting_by};
use crate::wait::{Deadline, INTERRUPT_SLICE};

/// The calling end of RPC for tasks of a tokio runtime.
///
/// A handle: clones share one connection, and any number of calls may be under way on it, from any number of tasks.
/// Replies may come in any order. Dropping a call's future before it is done gives the call up: its late reply is
/// dropped, the connection stays usable. Dropping the last handle closes the connection in good order.
///
/// When the callee's ring is full, calls wait their turn without keeping a thread. Options are those of [`Caller`](crate::Caller), with
/// these differences: [`polling`](Options::polling) says how long a task may look for a reply before it awaits one, and
/// then only while its call is the only one under way, since looking keeps the runtime's thread: not at all by default,
/// `Spins(n)` times, or with `PureSpin` for some 50 microseconds. An [`interrupt`](Options::interrupt) hook is asked
/// while connecting only.
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
    /// Held by the one task that connects again.
    renewing: tokio::sync::Mutex<()>,
}

/// A session and the task that drives it, which ends with this.
struct Link {
    session: Arc<Session>,
    driver: AbortHandle,
}

impl AsyncCaller {
    /// Connects to the callee that listens at `path`, waiting up to 5 seconds for it to appear.
    ///
    /// # Errors
    /// As [`Caller::connect`](crate::Caller::connect).
    ///
    /// # Panics
    /// Outside a tokio runtime, or in one without its I/O or its time driver.
    pub async fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::connect_with(path, &Options::new()).await
    }

    /// As [`connect`](Self::connect), with [`Options`]. Dropping the future ends the attempt and leaves nothing behind.
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
                renewing: tokio::sync::Mutex::default(),
            }),
        })
    }

    /// Calls and awaits the reply, which is copied out of the ring.
    ///
    /// # Errors
    /// As [`Caller::call`](crate::Caller::call).
    pub async fn call(&self, msg_type: u16, payload: &[u8]) -> Result<Vec<u8>, CallError> {
        self.persist(msg_type, payload, Deadline::never(), false).await
    }

    /// As [`call`](Self::call), in at most `timeout`. The callee is told when that ends, so that it need not begin
    /// work whose result comes too late.
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`CallError::TimedOut`].
    ///
    /// # Panics
    /// In a runtime without its time driver.
    pub async fn call_timeout(&self, msg_type: u16, payload: &[u8], timeout: Duration) -> Result<Vec<u8>, CallError> {
        self.persist(msg_type, payload, Deadline::after(timeout), false).await
    }

    /// As [`call`](Self::call), for an endpoint that may be called twice where it is called once; see
    /// [`Caller::call_idempotent`](crate::Caller::call_idempotent).
    ///
    /// # Errors
    /// As [`Caller::call_idempotent`](crate::Caller::call_idempotent).
    pub async fn call_idempotent(&self, msg_type: u16, payload: &[u8]) -> Result<Vec<u8>, CallError> {
        self.persist(msg_type, payload, Deadline::never(), true).await
    }

    /// As [`call_idempotent`](Self::call_idempotent), in at most `timeout` for all attempts.
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

    /// Calls under way.
    pub fn outstanding(&self) -> usize {
        self.shared.link().session.outstanding()
    }

    /// Longest request, in bytes.
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
                    // A callee that stops closes soon.
                    let ended = within(deadline, link.session.ended()).await;
                    ended.ok_or_else(|| attempts.outcome(CallError::TimedOut { sent: false }))?;
                }
                outcome => return outcome.map_err(|error| attempts.outcome(error)),
            }
        }
    }
}

/// A future that a deadline ends.
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
        // One pointer is always whole.
        Arc::clone(&self.link.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The present link, or a new one if that has ended and the options allow it.
    async fn living(&self, deadline: Deadline) -> Result<Arc<Link>, CallError> {
        let link = self.link();
        if !self.options.reconnects() || !link.session.has_ended() {
            return Ok(link);
        }
        let renewing = within(deadline, self.renewing.lock()).await;
        let _renewing = renewing.ok_or(CallError::TimedOut { sent: false })?;
        // Another task may have done it meanwhile.
        let link = self.link();
        if !link.session.has_ended() {
            return Ok(link);
        }
        let renewed = Link::connect(&self.path, &self.options, deadline).await;
        let link = Arc::new(renewed.map_err(|source| CallError::reconnecting(source, deadline))?);
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
        let session = Arc::new(Session::new(&Established::new(link, options), options.polling_mode()));
        let driver = Driver::new(&session).map_err(system)?;
        Ok(Self { session, driver: tokio::spawn(driver.run()).abort_handle() })
    }
}

/// Waits until a descriptor is readable, for as long as `left` and no longer than an interrupt hook may wait.
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
        // The driver holds the connection until the runtime has dropped it; the callee learns now.
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
