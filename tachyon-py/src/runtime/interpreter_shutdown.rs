//! Attaching to an interpreter that may be ending.
//!
//! A thread that wants the lock of an interpreter that is ending is ended by it: before 3.14 with `pthread_exit`, which
//! unwinds the stack, from wherever Python code gave the lock up and wanted it back. Whoever is on that stack would then
//! give back what is no longer there, and the process would abort. So such a thread stays where it is until the process
//! ends, which it is about to. `PyO3` does so where it takes the lock by its own hand, which is not where this happens:
//! in the middle of a handler, or of a report to `logging`.
#![allow(unsafe_code, reason = "asks the interpreter a question that needs no GIL")]

use pyo3::ffi;
use pyo3::prelude::*;

/// Keeps a thread from unwinding further, but for a panic of ours. To be forgotten.
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

/// Runs what calls Python, and does not let the interpreter's end unwind out of it.
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
