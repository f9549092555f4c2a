//! Threads of the core that run Python handlers.
#![allow(unsafe_code, reason = "keeps the interpreter's state of a thread that Python did not start")]

use core::cell::OnceCell;
use std::thread;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::runtime::interpreter_shutdown;
use crate::runtime::package::imported;

/// The interpreter's state of this thread, kept between handlers.
struct ThreadState {
    ensured: ffi::PyGILState_STATE,
    state: *mut ffi::PyThreadState,
}

thread_local! {
    static THREAD_STATE: OnceCell<ThreadState> = const { OnceCell::new() };
}

/// Keeps this thread's state in the interpreter until the thread ends.
///
/// Without it every handler on a thread of the core would make a new state, which costs more than the call, and
/// `threading.local` would lose its values between calls. The thread gets its name in `threading`, and the trace and
/// profile functions that `threading` has for new threads.
#[inline]
pub(crate) fn keep_state() {
    THREAD_STATE.with(|kept| {
        if kept.get().is_some() {
            return;
        }
        // SAFETY: may be called on any thread at any time; null for a thread that the interpreter does not know.
        if unsafe { ffi::PyGILState_GetThisThreadState() }.is_null() {
            // SAFETY: the interpreter runs, since a handler is about to; any thread may attach.
            let ensured = unsafe { ffi::PyGILState_Ensure() };
            interpreter_shutdown::attach(|py| {
                let current = thread::current();
                let entered = imported!(py, "tachyon._threads", "enter")
                    .and_then(|enter| enter.call1((current.name().unwrap_or("tachyon"),)));
                report(py, entered);
            });
            // SAFETY: attached just now.
            let state = unsafe { ffi::PyEval_SaveThread() };
            // The cell was empty above.
            drop(kept.set(ThreadState { ensured, state }));
        }
    });
}

/// Reports an exception that has no caller.
fn report(py: Python<'_>, outcome: PyResult<Bound<'_, PyAny>>) {
    if let Err(error) = outcome {
        error.write_unraisable(py, None);
    }
}

impl Drop for ThreadState {
    fn drop(&mut self) {
        // SAFETY: reads a flag of the interpreter.
        if unsafe { ffi::Py_IsInitialized() } == 0 {
            return;
        }
        // SAFETY: the state is this thread's own, detached except while handlers ran. The serving call joins this
        // thread, so the interpreter still runs.
        unsafe { ffi::PyEval_RestoreThread(self.state) };
        interpreter_shutdown::attach(|py| {
            report(py, imported!(py, "tachyon._threads", "leave").and_then(|leave| leave.call0()));
        });
        // SAFETY: ends the `Ensure` of this thread, attached as it was then.
        unsafe { ffi::PyGILState_Release(self.ensured) };
    }
}
