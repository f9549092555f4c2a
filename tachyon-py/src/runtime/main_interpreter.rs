//! The extension works in the main interpreter of a process only.
#![allow(unsafe_code, reason = "no safe call says which interpreter runs")]

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Fails in a sub-interpreter. Threads of the core attach through `PyGILState`, which knows only the main interpreter,
/// and sub-interpreters would share the classes and exceptions that are made once.
///
/// # Errors
/// `ImportError`.
pub(crate) fn check(py: Python<'_>) -> PyResult<()> {
    let _ = py;
    // SAFETY: `py` proves that this thread is attached, the only condition.
    let interpreter = unsafe { ffi::PyInterpreterState_Get() };
    // SAFETY: the state of the running interpreter.
    let id = unsafe { ffi::PyInterpreterState_GetID(interpreter) };
    if id == 0 {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "tachyon cannot be used in a sub-interpreter; import it in the main one, or use a process of its own",
    ))
}
