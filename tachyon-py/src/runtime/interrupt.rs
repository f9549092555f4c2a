//! Waiting without the interpreter, and signals that end a wait.
//!
//! The core asks [`asked_to_stop`] while it waits, at least every 50 ms and after every signal. Python's signal
//! handlers run inside that question, as they would between two lines of Python; what they raise is kept until the
//! wait has unwound and [`pending_exception`] is asked for it. A server is stopped in good order instead of being interrupted.

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

/// Least time between two looks for signals by a server, which asks all the time while it is busy: attaching to the
/// interpreter costs more than a request.
const SERVING_SLICE: Duration = Duration::from_millis(20);

thread_local! {
    /// What a signal handler raised during the wait of this thread.
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
    /// The server that this thread serves.
    static SERVED: RefCell<Option<Stopper>> = const { RefCell::new(None) };
    /// The flag that ends the serving of this thread, which does not look for signals.
    static STOP: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
    /// When it last looked for signals.
    static LOOKED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Serves this thread without the GIL: `stop` ends the serving, and signals are another thread's.
pub(crate) fn stop_by(stop: Arc<AtomicBool>) {
    STOP.set(Some(stop));
}

/// Whether the GIL-free serving of this thread is to end; `None` on a thread that looks for signals itself.
pub(crate) fn stop_requested() -> Option<bool> {
    STOP.with_borrow(|stop| stop.as_ref().map(|stop| stop.load(Ordering::Relaxed) || interpreter_shutdown::has_begun()))
}

/// The hook handed to the core.
pub(crate) fn asked_to_stop() -> bool {
    if let Some(stop) = stop_requested() {
        return stop;
    }
    match interpreter_shutdown::try_attach(run_handlers) {
        Some(Ok(())) => false,
        Some(Err(raised)) => {
            RAISED.set(Some(raised));
            true
        }
        // The interpreter is shutting down; there is nobody left to wait for.
        None => true,
    }
}

/// The hook handed to servers.
pub(crate) fn asked_to_stop_serving() -> bool {
    let now = Instant::now();
    if LOOKED.get().is_some_and(|looked| now.duration_since(looked) < SERVING_SLICE) {
        return false;
    }
    LOOKED.set(Some(now));
    if !asked_to_stop() {
        return false;
    }
    // What is under way is finished, and the exception raised when that is done.
    SERVED.with_borrow(|served| match served {
        Some(stopper) => {
            stopper.stop();
            false
        }
        None => true,
    })
}

/// Has an exception that is no failure, such as `KeyboardInterrupt`, end the serving of this thread, and gives any other
/// back.
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

/// Serves; a signal handler that raises stops the server, and its exception is what [`pending_exception`] gives.
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

/// Runs the handlers of signals that have arrived; Python does so in its main thread only.
fn run_handlers(py: Python<'_>) -> PyResult<()> {
    py.check_signals()
}

/// The exception that ended a wait which the core calls interrupted.
pub(crate) fn pending_exception() -> PyErr {
    RAISED.take().unwrap_or_else(|| PyKeyboardInterrupt::new_err("the interpreter is shutting down"))
}

/// Runs a blocking operation of the core while other threads use the interpreter.
pub(crate) fn detached<T: Send, E: Raise + Send>(
    py: Python<'_>,
    operation: impl FnOnce() -> Result<T, E> + Send,
) -> PyResult<T> {
    py.detach(operation).map_err(Raise::raise)
}
