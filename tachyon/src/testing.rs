//! Unit tests of endpoints: a served dispatcher and its caller in one process, without a path.
//!
//! An endpoint's function is a plain function, and most tests call it as one. [`pair`] is for tests of the rest:
//! the arguments and the reply as they travel, errors as the caller gets them, layers, deadlines, clients.
//!
//! ```
//! use tachyon::{CallError, Dispatcher, ErrorKind, HandlerError, endpoints, testing, tachyon_rpc};
//!
//! #[tachyon_rpc(msg_type = 1)]
//! fn half(number: u64) -> Result<u64, HandlerError> {
//!     if number % 2 == 0 { Ok(number / 2) } else { Err(HandlerError::new(ErrorKind::InvalidArgument, "odd")) }
//! }
//!
//! let mut caller = testing::pair(Dispatcher::new(endpoints![half]))?;
//! assert_eq!(half::call(&mut caller, 8)?, 4);
//! match half::call(&mut caller, 7) {
//!     Err(CallError::Remote(error)) => assert_eq!(error.kind, ErrorKind::InvalidArgument),
//!     other => panic!("{other:?}"),
//! }
//! # Ok::<(), tachyon::Error>(())
//! ```
//!
//! The two ends speak through shared memory, as two processes do; only the handshake is left out. Tests of two
//! processes, and of [`RpcServer`](crate::RpcServer), listen at a path in a temporary folder.

use std::thread;

#[cfg(feature = "tokio")]
use crate::client::tokio::AsyncCaller;
use crate::connection::in_process;
use crate::dispatch::Dispatcher;
use crate::rpc::{Callee, Caller, ServeError};

/// Capacity of each ring, in bytes. Memory that is never written takes none.
const CAPACITY: usize = 1 << 20;

/// Serves `dispatcher` in a new thread, and returns the only caller. Each ring holds 1 MiB.
///
/// The thread ends when the caller is dropped, and drops the dispatcher with its state. A test that looks at the state
/// afterwards shares the state with an [`Arc`](std::sync::Arc). The failure hook and the layers of the dispatcher are
/// called in the thread.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use tachyon::{Dispatcher, endpoints, testing, tachyon_rpc};
///
/// #[tachyon_rpc(msg_type = 1)]
/// fn note(#[state] log: &Arc<Mutex<Vec<String>>>, line: &str) {
///     log.lock().unwrap().push(line.to_owned());
/// }
///
/// let log = Arc::new(Mutex::new(Vec::new()));
/// let mut caller = testing::pair(Dispatcher::with_state(Arc::clone(&log), endpoints![note]))?;
/// note::call(&mut caller, "first")?;
/// assert_eq!(*log.lock().unwrap(), ["first"]);
/// # Ok::<(), tachyon::Error>(())
/// ```
///
/// # Errors
/// [`ServeError::NeedsRuntime`] for a table with an async endpoint: use `pair_async`. [`ServeError::Io`] when the
/// system has no memory, no descriptors or no thread.
///
/// # Panics
/// In the new thread, when serving ends for another reason than the end of the caller. The panic hook reports that
/// panic as every other panic of a thread, and calls fail with [`CallError::Closed`](crate::CallError::Closed).
pub fn pair<S: Send + 'static>(mut dispatcher: Dispatcher<S>) -> Result<Caller, ServeError> {
    dispatcher.check_blocking()?;
    let [callee, caller] = in_process(CAPACITY).map_err(ServeError::Io)?;
    let mut callee = Callee::over(&callee);
    let serving = move || dispatcher.serve_forever(&mut callee).expect("a pair is served until its caller is dropped");
    thread::Builder::new().name("tachyon-pair".to_owned()).spawn(serving).map_err(ServeError::Io)?;
    Ok(Caller::over(&caller))
}

/// As [`pair`], from a task of the present tokio runtime: for async endpoints, and for callers in tasks. Needs the
/// cargo feature `tokio`.
///
/// The task ends when the last handle of the caller is dropped.
///
/// ```
/// use tachyon::{Dispatcher, testing};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let mut dispatcher = Dispatcher::default();
/// dispatcher.register_async(1, "echo", |request: Vec<u8>| async move { request })?;
/// let caller = testing::pair_async(dispatcher)?;
/// assert_eq!(caller.call(1, b"ab").await?, b"ab");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ServeError::Exclusive`] for an endpoint that changes the state. [`ServeError::Io`] as with [`pair`].
///
/// # Panics
/// Outside a tokio runtime, or in one without its I/O or time driver.
#[cfg(feature = "tokio")]
pub fn pair_async<S: Send + Sync + 'static>(dispatcher: Dispatcher<S>) -> Result<AsyncCaller, ServeError> {
    dispatcher.check_shared()?;
    let [callee, caller] = in_process(CAPACITY).map_err(ServeError::Io)?;
    let caller = AsyncCaller::over(&caller).map_err(ServeError::Io)?;
    tokio::spawn(async move {
        let served = dispatcher.serve_connection(&callee).await;
        served.expect("a pair is served until its caller is dropped");
    });
    Ok(caller)
}
