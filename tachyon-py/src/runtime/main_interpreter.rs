//! One interpreter of a process has this module: the main one.
#![allow(unsafe_code, reason = "no safe call says which interpreter runs")]

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Fails in a sub-interpreter. Threads of the core find the interpreter again by `PyGILState`, which knows only the main
/// one, and the classes and exceptions that are made once would be shared between interpreters.
///
/// # Errors
/// `ImportError`.
pub(crate) fn check(py: Python<'_>) -> PyResult<()> {
    let _ = py;
    // SAFETY: `py` proves that this thread is attached, which is all it asks for.
    let interpreter = unsafe { ffi::PyInterpreterState_Get() };
    // SAFETY: the state of a running interpreter, given just now.
    let id = unsafe { ffi::PyInterpreterState_GetID(interpreter) };
    if id == 0 {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "tachyon cannot be used in a sub-interpreter; import it in the main one, or use a process of its own",
    ))
}
