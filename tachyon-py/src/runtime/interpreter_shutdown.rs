//! Attaching to an interpreter that may shut down.
//!
//! The interpreter ends a thread that requests the GIL during the shutdown: before 3.14 with `pthread_exit`, which
//! unwinds the stack from the point where Python code requests the GIL again, in a handler or in a report to `logging`.
//! The frames on that stack would release objects that are gone, and the process would abort. So such a thread parks
//! until the process ends. `PyO3` parks a thread only where `PyO3` itself takes the GIL.
#![allow(unsafe_code, reason = "asks the interpreter a question that needs no GIL")]

use pyo3::ffi;
use pyo3::prelude::*;

/// Parks a thread that unwinds for another reason than a panic. Forgotten when the call returns.
struct ParkOnUnwind;

impl Drop for ParkOnUnwind {
    #[cold]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            loop {
                std::thread::park();
            }
        }
    }
}

/// Runs a function that calls Python; an unwind by the interpreter's shutdown does not leave it.
#[inline]
pub(crate) fn park_on_shutdown<R>(call: impl FnOnce() -> R) -> R {
    let park = ParkOnUnwind;
    let returned = call();
    core::mem::forget(park);
    returned
}

/// As `Python::attach`, on a thread that may outlive the interpreter.
#[inline]
pub(crate) fn attach<R>(run: impl for<'py> FnOnce(Python<'py>) -> R) -> R {
    Python::attach(|py| park_on_shutdown(|| run(py)))
}

/// As `Python::try_attach`, on a thread that may outlive the interpreter.
pub(crate) fn try_attach<R>(run: impl for<'py> FnOnce(Python<'py>) -> R) -> Option<R> {
    Python::try_attach(|py| park_on_shutdown(|| run(py)))
}

/// Whether the shutdown of the interpreter has begun, after which no thread may attach.
pub(crate) fn has_begun() -> bool {
    // SAFETY: reads a flag; may be called at any time on any thread.
    unsafe { ffi::Py_IsInitialized() == 0 }
}
