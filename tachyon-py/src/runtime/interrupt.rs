//! Waiting without the GIL, and signals that end a wait.
//!
//! The core calls [`asked_to_stop`] while it waits, at least every 50 ms and after every signal. Python's signal
//! handlers run inside that call. An exception of theirs is kept until the wait has returned and [`pending_exception`]
//! takes it. A server finishes the calls in flight instead of being interrupted.

use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use pyo3::exceptions::{PyException, PyKeyboardInterrupt};
use pyo3::prelude::*;
use tachyon::{ServeError, Stopper};

use crate::errors::Raise;
use crate::runtime::interpreter_shutdown;

/// Least time between two checks for signals by a server. A busy server asks all the time, and attaching costs more
/// than a request.
const SERVING_SLICE: Duration = Duration::from_millis(20);

thread_local! {
    /// The exception that a signal handler raised during the wait of this thread.
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
    /// The server that this thread serves.
    static SERVED: RefCell<Option<Stopper>> = const { RefCell::new(None) };
    /// The flag that ends the serving of this thread, which does not look for signals.
    static STOP: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
    /// The flag of an exception that ends the serving of a bus by this thread.
    static ENDED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
    /// The last check for signals by a server on this thread.
    static LOOKED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Makes `stop` the flag that ends the serving of this thread. Another thread handles signals.
pub(crate) fn stop_by(stop: Arc<AtomicBool>) {
    STOP.set(Some(stop));
}

/// Whether the GIL-free serving of this thread is to end; `None` on a thread that checks for signals itself.
pub(crate) fn stop_requested() -> Option<bool> {
    STOP.with_borrow(|stop| stop.as_ref().map(|stop| stop.load(Ordering::Relaxed) || interpreter_shutdown::has_begun()))
}

/// Serves streams of a bus, which go on beside a failed handler. Setting `ended` interrupts the serving.
pub(crate) fn until_ended<R>(ended: &Arc<AtomicBool>, serve: impl FnOnce() -> R) -> R {
    let before = ENDED.replace(Some(Arc::clone(ended)));
    let outcome = serve();
    ENDED.set(before);
    outcome
}

/// The interrupt hook of the core.
pub(crate) fn asked_to_stop() -> bool {
    if ENDED.with_borrow(|ended| ended.as_ref().is_some_and(|ended| ended.load(Ordering::Relaxed))) {
        return true;
    }
    if let Some(stop) = stop_requested() {
        return stop;
    }
    match interpreter_shutdown::try_attach(run_handlers) {
        Some(Ok(())) => false,
        Some(Err(raised)) => {
            RAISED.set(Some(raised));
            true
        }
        // The interpreter is shutting down, so the wait has no caller left.
        None => true,
    }
}

/// The interrupt hook of servers.
pub(crate) fn asked_to_stop_serving() -> bool {
    let now = Instant::now();
    if LOOKED.get().is_some_and(|looked| now.duration_since(looked) < SERVING_SLICE) {
        return false;
    }
    LOOKED.set(Some(now));
    if !asked_to_stop() {
        return false;
    }
    // Calls in flight are finished first; the exception is raised after that.
    SERVED.with_borrow(|served| match served {
        Some(stopper) => {
            stopper.stop();
            false
        }
        None => true,
    })
}

/// Stops the serving of this thread on an exception that is no `Exception`, such as `KeyboardInterrupt`. Returns any
/// other exception.
pub(crate) fn stop_serving_on(py: Python<'_>, error: PyErr) -> Option<PyErr> {
    if error.is_instance_of::<PyException>(py) {
        return Some(error);
    }
    SERVED.with_borrow(|served| match served {
        Some(stopper) => {
            stopper.stop();
            RAISED.set(Some(error));
            None
        }
        None => Some(error),
    })
}

/// Serves. A signal handler that raises stops the server, and [`pending_exception`] returns its exception.
pub(crate) fn serve_until_signal(
    stopper: &Stopper,
    serve: impl FnOnce() -> Result<(), ServeError>,
) -> Result<(), ServeError> {
    let before = SERVED.replace(Some(stopper.clone()));
    let outcome = serve();
    SERVED.set(before);
    if outcome.is_ok() && RAISED.with_borrow(Option::is_some) {
        return Err(ServeError::Interrupted);
    }
    outcome
}

/// Runs the handlers of pending signals; Python does so in its main thread only.
fn run_handlers(py: Python<'_>) -> PyResult<()> {
    py.check_signals()
}

/// The exception that ended an interrupted wait.
pub(crate) fn pending_exception() -> PyErr {
    RAISED.take().unwrap_or_else(|| PyKeyboardInterrupt::new_err("the interpreter is shutting down"))
}

/// Runs a blocking operation of the core without the GIL.
pub(crate) fn detached<T: Send, E: Raise + Send>(
    py: Python<'_>,
    operation: impl FnOnce() -> Result<T, E> + Send,
) -> PyResult<T> {
    py.detach(operation).map_err(Raise::raise)
}
