//! Callers shared by threads: each borrows one for as long as it needs it.
//!
//! Of the crates that could serve, r2d2 connects on threads of its own and reports a failed connect only by its text,
//! deadpool waits in async code only, and object-pool neither waits nor limits. None of the three knows which caller is
//! still good, and none survives a fork. [`stock`] has the places and the queue, for every language; this file has the
//! pool of Rust's callers.

mod stock;

use core::fmt;
use core::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

// Bindings name these.
#[doc(hidden)]
pub use stock::{Lease, LeaseRequest, NoLease, Stock, StockClosed};

use thiserror::Error;

use crate::connection::State;
use crate::handshake::ConnectError;
use crate::handshake::absolute;
use crate::options::Options;
use crate::rpc::CallError;
use crate::rpc::{Attempts, Caller, Calls, sealed};
use crate::wait::Deadline;

/// How long `get` waits unless told otherwise.
const WAIT: Duration = Duration::from_secs(5);

/// How many callers a [`Pool`] has and how long it lets one wait for them.
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
    /// The defaults: a caller for each processor, and 5 seconds of waiting for one.
    pub fn new() -> Self {
        Self { max: std::thread::available_parallelism().map_or(1, usize::from), wait: WAIT }
    }

    /// Most callers there are at one time. Each is a connection with two rings of its own.
    ///
    /// # Panics
    /// When `max` is 0.
    pub fn max(mut self, max: usize) -> Self {
        assert!(max > 0, "a pool of no callers can give none");
        self.max = max;
        self
    }

    /// How long [`Pool::get`] waits for a caller while all are in use.
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

/// Why a pool gave no caller, or no reply.
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
    /// The interrupt hook asked for the end of the wait.
    #[error("interrupted while waiting for a caller")]
    Interrupted,
    /// A new caller could not connect.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl PoolError {
    /// As [`CallError::sent`]: whether the callee may have begun the call. After `false` it can be made again without
    /// running twice.
    pub fn sent(&self) -> bool {
        matches!(self, Self::Call(error) if error.sent())
    }
}

/// A set of callers connected to one path, for any number of threads. Share it by reference or in an
/// [`Arc`](std::sync::Arc).
///
/// The pool makes a caller when it is needed, up to a limit, and keeps the caller when it comes back. A caller whose
/// callee is gone is dropped, and the next one connects anew. Threads that wait are served in the order of their coming.
/// The listener at the path must take many callers, as an `RpcServer` does.
///
/// In a forked child the pool is empty, and connects anew. The parent's pool goes on.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("rpc.sock");
/// use tachyon::{Callee, Dispatcher, Options, Pool, PoolOptions};
/// # let listen_at = path.clone();
///
/// # let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
/// # let mut callee = Callee::listen(&listen_at, 4096, 4096)?;
/// # let mut dispatcher = Dispatcher::default();
/// # dispatcher.register(1, "echo", <[u8]>::to_vec)?;
/// # dispatcher.serve_forever(&mut callee)?;
/// # Ok(()) });
/// let pool = Pool::new(&path, &Options::new(), &PoolOptions::new().max(1));
/// std::thread::scope(|scope| {
///     for number in 0..4u8 {
///         let pool = &pool;
///         scope.spawn(move || assert_eq!(pool.call(1, &[number]).unwrap(), [number]));
///     }
/// });
/// let mut caller = pool.get()?; // for several calls in a row, or replies read in place
/// assert_eq!(&*caller.call(1, b"hello")?, b"hello");
/// # drop(caller);
/// # drop(pool);
/// # callee.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool {
    path: PathBuf,
    options: Options,
    limits: PoolOptions,
    stock: Stock<Caller>,
}

impl Pool {
    /// A pool of callers that connect to `path` with `options`. Connects nothing yet.
    pub fn new(path: impl AsRef<Path>, options: &Options, limits: &PoolOptions) -> Self {
        Self {
            path: absolute(path.as_ref()),
            options: options.clone(),
            limits: limits.clone(),
            stock: Stock::new(limits.max),
        }
    }

    /// Lends a caller: an idle one, a new one if there may be more, or the next to come back.
    ///
    /// # Errors
    /// [`PoolError::Exhausted`] when none came back within the pool's waiting time, [`PoolError::Connect`] when a new
    /// one could not connect.
    pub fn get(&self) -> Result<PooledCaller<'_>, PoolError> {
        self.get_timeout(self.limits.wait)
    }

    /// As [`get`](Self::get), waiting at most `timeout`, for a caller and for its connection together.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<PooledCaller<'_>, PoolError> {
        let deadline = Deadline::after(timeout);
        let lease = self.stock.request().wait(Some(timeout), self.options.interrupt_hook());
        let mut lease = lease.map_err(|why| match why {
            NoLease::Interrupted => PoolError::Interrupted,
            NoLease::TimedOut | NoLease::Closed => PoolError::Exhausted { max: self.limits.max, waited: timeout },
        })?;
        // The callee may have gone while a caller was idle.
        while let Some(caller) = lease.next_idle() {
            if caller.state() == State::Open {
                return Ok(PooledCaller { pool: self, held: Some((caller, lease)) });
            }
        }
        let caller = Caller::connect_by(&self.path, &self.options, deadline)?;
        Ok(PooledCaller { pool: self, held: Some((caller, lease)) })
    }

    /// Makes one call on a caller of the pool, and copies the reply.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`PoolError::Call`].
    pub fn call(&self, msg_type: u16, payload: &[u8]) -> Result<Vec<u8>, PoolError> {
        self.call_until(msg_type, payload, self.limits.wait, None)
    }

    /// As [`call`](Self::call), in at most `timeout`, of which waiting for a caller is a part.
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`CallError::TimedOut`] in [`PoolError::Call`].
    pub fn call_timeout(&self, msg_type: u16, payload: &[u8], timeout: Duration) -> Result<Vec<u8>, PoolError> {
        self.call_until(msg_type, payload, timeout, Some(timeout))
    }

    /// A request that was not begun is made again on another caller.
    fn call_until(
        &self,
        msg_type: u16,
        payload: &[u8],
        wait: Duration,
        timeout: Option<Duration>,
    ) -> Result<Vec<u8>, PoolError> {
        let deadline = Deadline::from(timeout);
        let mut attempts = Attempts::new(true, false, deadline);
        loop {
            let mut caller = self.get_timeout(deadline.remaining().map_or(wait, |left| left.min(wait)))?;
            let outcome = match deadline.remaining() {
                None => caller.call(msg_type, payload),
                Some(left) => caller.call_timeout(msg_type, payload, left),
            };
            match outcome.map(|reply| reply.to_vec()) {
                Err(error) if attempts.again(&error) => caller.retire(),
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Callers that are connected, lent or idle.
    pub fn len(&self) -> usize {
        self.stock.len()
    }

    /// Whether no caller is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes a caller fit for its next user; `None` when it is of no more use. Costs a system call.
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

/// A caller of a [`Pool`], which takes it back when this is dropped.
///
/// Calls that are still outstanding then are forgotten, and settings changed on the caller are the pool's again.
#[must_use = "dropping it gives the caller back"]
pub struct PooledCaller<'a> {
    pool: &'a Pool,
    /// `None` only while it is dropped.
    held: Option<(Caller, Lease<Caller>)>,
}

impl PooledCaller<'_> {
    /// Gives the place back without the caller, whose callee is gone or stops.
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
    fn parts(&mut self) -> (&mut Caller, Option<Duration>) {
        (self, None)
    }
}

impl Drop for PooledCaller<'_> {
    fn drop(&mut self) {
        let Some((caller, lease)) = self.held.take() else { return };
        if lease.is_inherited() {
            return;
        }
        // A caller that is not fit is dropped before the lease, which lets the next thread connect.
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
