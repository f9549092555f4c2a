//! Waiting without the interpreter, and signals that end a wait.
//!
//! The core asks [`asked_to_stop`] while it waits, at least every 50 ms and after every signal. Python's signal
//! handlers run inside that question, as they would between two lines of Python; what they raise is kept until the
//! wait has unwound and [`raised`] is asked for it.

use core::cell::RefCell;

use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::errors::Raise;

thread_local! {
    /// What a signal handler raised during the wait of this thread.
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// The hook handed to the core.
pub(crate) fn asked_to_stop() -> bool {
    match Python::try_attach(run_handlers) {
        Some(Ok(())) => false,
        Some(Err(raised)) => {
            RAISED.set(Some(raised));
            true
        }
        // The interpreter is shutting down; there is nobody left to wait for.
        None => true,
    }
}

/// Runs the handlers of signals that have arrived; Python does so in its main thread only.
fn run_handlers(py: Python<'_>) -> PyResult<()> {
    py.check_signals()
}

/// The exception that ended a wait which the core calls interrupted.
pub(crate) fn raised() -> PyErr {
    RAISED.take().unwrap_or_else(|| PyKeyboardInterrupt::new_err("the interpreter is shutting down"))
}

/// Runs a blocking operation of the core while other threads use the interpreter.
pub(crate) fn detached<T: Send, E: Raise + Send>(
    py: Python<'_>,
    operation: impl FnOnce() -> Result<T, E> + Send,
) -> PyResult<T> {
    py.detach(operation).map_err(Raise::raise)
}
