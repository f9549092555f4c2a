//! What ends a wait from outside: a signal, or a close by another thread.
//!
//! The core asks [`asked_to_stop`] while it waits, at least every 50 ms and after every signal. Signal handlers run
//! inside that question, as they would between two lines of Python, and what they raise is kept for [`detached`].

use core::cell::RefCell;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use pyo3::prelude::*;

use crate::errors::{BusClosedError, Failure};

thread_local! {
    /// What a signal handler raised during the wait of this thread.
    static RAISED: RefCell<Option<PyErr>> = const { RefCell::new(None) };
    /// Set by `close` on the bus that this thread waits on.
    static CLOSING: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// The hook handed to the core.
pub(crate) fn asked_to_stop() -> bool {
    if CLOSING.with_borrow(|closing| closing.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed))) {
        return true;
    }
    match Python::try_attach(|py| py.check_signals()) {
        Some(Ok(())) => false,
        Some(Err(raised)) => {
            RAISED.with_borrow_mut(|slot| *slot = Some(raised));
            true
        }
        // The interpreter is shutting down; there is nobody left to wait for.
        None => true,
    }
}

/// Runs a blocking operation of the core without the interpreter, and says in Python's terms how it failed.
pub(crate) fn detached<T, E>(
    py: Python<'_>,
    closing: Option<&Arc<AtomicBool>>,
    operation: impl FnOnce() -> Result<T, E> + Send,
) -> PyResult<T>
where
    T: Send,
    E: Into<Failure> + Send,
{
    let outer = CLOSING.replace(closing.cloned());
    let result = py.detach(operation);
    CLOSING.set(outer);
    result.map_err(|error| match error.into() {
        Failure::Interrupted => RAISED.take().unwrap_or_else(|| BusClosedError::new_err(CLOSED_MEANWHILE)),
        Failure::Raise(error) => error,
    })
}

const CLOSED_MEANWHILE: &str = "the bus was closed by another thread while this one waited on it";
