//! Pools of callers, for programs with many threads.
//!
//! A [`Pool`] lends each thread a connected [`Caller`], makes up to a limited number of them, and queues
//! threads fairly while all are in use. [`PoolOptions`] sets the limit and the longest wait.

// Existing pools do not fit: r2d2 connects on threads of its own and reports a failed connect only as a text, deadpool
// waits in async code only, object-pool neither waits nor limits. None of them checks that a caller is connected, or
// survives a fork. `fair_queue` serves the pools of all languages; this file has the pool of Rust's callers.
mod fair_queue;

use core::fmt;
use core::ops::{Deref, DerefMut};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

// Bindings name these.
#[doc(hidden)]
pub use fair_queue::{FairQueue, Lease, LeaseRequest, NoLease, QueueClosed};

use thiserror::Error;

use crate::connection::State;
use crate::handshake::{ConnectError, absolute};
use crate::metadata::Metadata;
use crate::options::Options;
use crate::rpc::{
    Attempts, Body, CallError, CallSettings, Caller, CallerLayer, CallerLayers, Calls, Contract, HasCaller, Owned,
    With, deadline, metadata, sealed,
};
use crate::wait::Deadline;

/// The default of [`PoolOptions::wait`].
const WAIT: Duration = Duration::from_secs(5);

/// Settings of a [`Pool`].
///
/// ```
/// use std::time::Duration;
/// use tachyon::PoolOptions;
///
/// let limits = PoolOptions::new().max(8).wait(Duration::from_millis(500));
/// # let _ = limits;
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing until they are passed to `Pool::new`"]
pub struct PoolOptions {
    max: usize,
    wait: Duration,
}

impl PoolOptions {
    /// The defaults: as many callers as processors, and a wait of at most 5 seconds.
    pub fn new() -> Self {
        Self { max: std::thread::available_parallelism().map_or(1, usize::from), wait: WAIT }
    }

    /// Most callers at a time. Each caller is a connection with two rings of its own.
    ///
    /// # Panics
    /// When `max` is 0.
    pub fn max(mut self, max: usize) -> Self {
        assert!(max > 0, "max must be at least 1");
        self.max = max;
        self
    }

    /// Longest wait of [`Pool::get`] while all callers are in use.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a pool lent no caller. A call through the pool reports a [`CallError`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PoolError {
    /// All callers stayed in use.
    #[error("all {max} callers of the pool stayed in use for {waited:?}; allow more, wait longer or hold them shorter")]
    Exhausted {
        /// Callers in use.
        max: usize,
        /// Time waited.
        waited: Duration,
    },
    /// The interrupt hook ended the wait.
    #[error("interrupted while waiting for a caller")]
    Interrupted,
    /// A new caller could not connect.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl PoolError {
    /// The error of a call with `deadline` that got no caller.
    fn of_call<E>(self, deadline: Deadline) -> CallError<E> {
        match self {
            Self::Exhausted { max, waited } => CallError::Exhausted { max, waited },
            Self::Interrupted => CallError::Interrupted { sent: false },
            Self::Connect(source) => CallError::reconnecting(source, deadline).widen(),
        }
    }
}

/// A set of callers connected to one path, for any number of threads. Share it by reference or in an
/// [`Arc`].
///
/// The pool connects callers on demand, up to a limit, and keeps a caller that comes back. It drops a caller whose
/// callee has gone, and connects a new one. Waiting threads get callers in the order in which they began to wait. The
/// listener at the path must accept many callers, as an [`RpcServer`](crate::RpcServer) does.
///
/// In a forked child the pool is empty, and connects anew. The parent's pool is unaffected.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("rpc.sock");
/// use std::time::Duration;
/// use tachyon::{Callee, Dispatcher, Options, Pool, PoolOptions, endpoints, tachyon_rpc};
/// # let listen_at = path.clone();
///
/// #[tachyon_rpc(msg_type = 1)]
/// fn add(a: u64, b: u64) -> u64 {
///     a + b
/// }
///
/// # let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
/// # let mut callee = Callee::listen(&listen_at, 4096, 4096)?;
/// # Dispatcher::new(endpoints![add]).serve_forever(&mut callee)?;
/// # Ok(()) });
/// let pool = Pool::new(&path, &Options::new(), &PoolOptions::new().max(1));
/// std::thread::scope(|scope| {
///     for number in 0..4 {
///         let mut pool = &pool;
///         scope.spawn(move || assert_eq!(add::call(&mut pool, number, 1).unwrap(), number + 1));
///     }
/// });
/// assert_eq!(add::call(&mut pool.within(Duration::from_secs(5)), 1, 2)?, 3);
/// let mut caller = pool.get()?; // for several calls in a row, or replies read in place
/// assert_eq!(add::call(&mut caller, 1, 2)?, 3);
/// # drop(caller);
/// # drop(pool);
/// # callee.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool {
    path: PathBuf,
    options: Options,
    limits: PoolOptions,
    layers: CallerLayers,
    queue: FairQueue<Caller>,
}

impl Pool {
    /// A pool of callers that connect to `path` with `options`. The first [`get`](Self::get) connects.
    pub fn new(path: impl AsRef<Path>, options: &Options, limits: &PoolOptions) -> Self {
        Self {
            path: absolute(path.as_ref()),
            options: options.clone(),
            limits: limits.clone(),
            layers: CallerLayers::default(),
            queue: FairQueue::new(limits.max),
        }
    }

    /// Adds a layer to every caller that the pool lends from now on, as [`Caller::layer`] does.
    pub fn layer(&mut self, layer: impl CallerLayer + 'static) -> &mut Self {
        self.layers.push(layer);
        self
    }

    /// Lends a caller: an idle one, a new one below the limit, or the next one that comes back.
    ///
    /// # Errors
    /// [`PoolError::Exhausted`] when all callers stay in use for [`PoolOptions::wait`], [`PoolError::Connect`] when a
    /// new caller cannot connect.
    pub fn get(&self) -> Result<PooledCaller<'_>, PoolError> {
        self.get_timeout(self.limits.wait)
    }

    /// As [`get`](Self::get), within `timeout` for the wait and for the connection together.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<PooledCaller<'_>, PoolError> {
        let deadline = Deadline::after(timeout);
        let lease = self.queue.request().wait(Some(timeout), self.options.interrupt_hook());
        let mut lease = lease.map_err(|no_lease| match no_lease {
            NoLease::Interrupted => PoolError::Interrupted,
            NoLease::TimedOut | NoLease::Closed => PoolError::Exhausted { max: self.limits.max, waited: timeout },
        })?;
        // The callee may have gone while the caller was idle.
        while let Some(caller) = lease.next_idle() {
            if caller.state() == State::Open {
                return Ok(self.lend(caller, lease));
            }
        }
        let caller = Caller::connect_by(&self.path, &self.options, deadline)?;
        Ok(self.lend(caller, lease))
    }

    fn lend(&self, mut caller: Caller, lease: Lease<Caller>) -> PooledCaller<'_> {
        caller.set_layers(&self.layers);
        PooledCaller { pool: self, held: Some((caller, lease)) }
    }

    /// Calls through a caller of the pool, and returns a copy of the reply.
    ///
    /// # Errors
    /// [`CallError::Exhausted`] when all callers stay in use for [`PoolOptions::wait`], [`CallError::Unreachable`] or
    /// [`CallError::Reconnect`] when a new caller cannot connect; otherwise as [`Caller::call`].
    pub fn call(&self, msg_type: u16, payload: &[u8]) -> Result<Vec<u8>, CallError> {
        self.call_with(msg_type, payload, None)
    }

    /// As [`call`](Self::call), within `timeout` for the wait for a caller and the call together.
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`CallError::TimedOut`].
    pub fn call_timeout(&self, msg_type: u16, payload: &[u8], timeout: Duration) -> Result<Vec<u8>, CallError> {
        self.within(timeout).call(msg_type, payload)
    }

    /// This pool with `timeout` for each call, the wait for a caller included. See [`Caller::within`].
    pub fn within(&self, timeout: Duration) -> With<&Self> {
        With::new(self).within(timeout)
    }

    /// This pool with a text that travels with each request. See [`With::metadata`].
    pub fn metadata(&self, key: &str, value: &str) -> With<&Self> {
        With::new(self).metadata(key, value)
    }

    /// This pool for calls that may run twice. See [`With::idempotent`].
    pub fn idempotent(&self) -> With<&Self> {
        With::new(self).idempotent()
    }

    fn call_with(&self, msg_type: u16, payload: &[u8], settings: Option<&CallSettings>) -> Result<Vec<u8>, CallError> {
        self.exchange(settings, |caller, metadata, deadline| {
            caller.attempt(msg_type, payload, metadata, deadline)?;
            Ok(caller.lend().to_vec())
        })
    }

    /// Makes a call on a caller of the pool, and repeats it on another caller as [`Attempts`] allows.
    fn exchange<T, E>(
        &self,
        settings: Option<&CallSettings>,
        attempt: impl Fn(&mut Caller, Option<&Metadata>, Deadline) -> Result<T, CallError<E>>,
    ) -> Result<T, CallError<E>> {
        let (deadline, metadata) = (deadline(settings), metadata(settings).map_err(CallError::widen)?);
        let mut attempts = Attempts::new(true, settings.is_some_and(CallSettings::is_idempotent), deadline);
        loop {
            // A call with a deadline waits for as long as the call may take.
            let wait = deadline.remaining().unwrap_or(self.limits.wait);
            let lent = self.get_timeout(wait);
            let mut caller = lent.map_err(|error| attempts.outcome(error.of_call(deadline)))?;
            match attempt(&mut caller, metadata, deadline) {
                Err(error) if attempts.again(&error) => caller.retire(),
                outcome => return outcome.map_err(|error| attempts.outcome(error)),
            }
        }
    }

    /// Number of connected callers, lent or idle.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no caller is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Resets a caller for its next user; `None` when it is not connected. Makes a system call.
    fn refresh(&self, mut caller: Caller) -> Option<Caller> {
        if caller.state() != State::Open {
            return None;
        }
        caller.forget_all();
        caller.restore(&self.options);
        Some(caller)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("path", &self.path)
            .field("max", &self.limits.max)
            .field("callers", &self.len())
            .finish_non_exhaustive()
    }
}

/// A caller lent from a [`Pool`]. The drop gives it back, forgets its outstanding calls, and restores the pool's
/// settings.
#[must_use = "dropping it gives the caller back"]
pub struct PooledCaller<'a> {
    pool: &'a Pool,
    /// `None` only during the drop.
    held: Option<(Caller, Lease<Caller>)>,
}

impl PooledCaller<'_> {
    /// Ends the lease without the caller, whose callee has gone or stops.
    fn retire(mut self) {
        if let Some((caller, lease)) = self.held.take() {
            drop((caller, lease));
        }
    }
}

impl Deref for PooledCaller<'_> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.held.as_ref().expect("the caller is taken out only by `drop`").0
    }
}

impl DerefMut for PooledCaller<'_> {
    fn deref_mut(&mut self) -> &mut Caller {
        &mut self.held.as_mut().expect("the caller is taken out only by `drop`").0
    }
}

impl sealed::Sealed for PooledCaller<'_> {}

impl Calls for PooledCaller<'_> {
    fn call_contract_with<C: Contract>(
        &mut self,
        settings: Option<&CallSettings>,
        body: &impl Body,
    ) -> Result<Owned<C>, CallError<C::Error>> {
        (**self).call_contract_with::<C>(settings, body)
    }
}

impl HasCaller for PooledCaller<'_> {
    fn parts(&mut self) -> (&mut Caller, Option<Cow<'_, CallSettings>>) {
        (self, None)
    }
}

impl sealed::Sealed for Pool {}

impl Calls for Pool {
    fn call_contract_with<C: Contract>(
        &mut self,
        settings: Option<&CallSettings>,
        body: &impl Body,
    ) -> Result<Owned<C>, CallError<C::Error>> {
        (&*self).call_contract_with::<C>(settings, body)
    }
}

impl sealed::Sealed for &Pool {}

impl Calls for &Pool {
    fn call_contract_with<C: Contract>(
        &mut self,
        settings: Option<&CallSettings>,
        body: &impl Body,
    ) -> Result<Owned<C>, CallError<C::Error>> {
        self.exchange(settings, |caller, metadata, deadline| caller.attempt_contract::<C>(body, metadata, deadline))
    }
}

impl sealed::Sealed for Arc<Pool> {}

impl Calls for Arc<Pool> {
    fn call_contract_with<C: Contract>(
        &mut self,
        settings: Option<&CallSettings>,
        body: &impl Body,
    ) -> Result<Owned<C>, CallError<C::Error>> {
        (&**self).call_contract_with::<C>(settings, body)
    }
}

impl With<&Pool> {
    /// As [`Pool::call`], with the settings.
    ///
    /// # Errors
    /// As [`Pool::call`], and [`CallError::TimedOut`], [`CallError::Metadata`].
    pub fn call(self, msg_type: u16, payload: &[u8]) -> Result<Vec<u8>, CallError> {
        self.calls.call_with(msg_type, payload, Some(&self.settings))
    }
}

impl Drop for PooledCaller<'_> {
    fn drop(&mut self) {
        let Some((caller, lease)) = self.held.take() else { return };
        if lease.is_inherited() {
            return;
        }
        // An unusable caller is dropped before the lease: the end of the lease lets the next thread connect.
        if let Some(caller) = self.pool.refresh(caller) {
            drop(lease.give_back(caller));
        }
    }
}

impl fmt::Debug for PooledCaller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PooledCaller").field(&**self).finish()
    }
}
