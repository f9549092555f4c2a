//! Threads of the core that run Python handlers.
#![allow(unsafe_code, reason = "keeps the interpreter's state of a thread that Python did not start")]

use core::cell::OnceCell;

use pyo3::ffi;

/// The interpreter's state of this thread, between handlers.
struct ThreadState {
    ensured: ffi::PyGILState_STATE,
    state: *mut ffi::PyThreadState,
}

thread_local! {
    static THREAD_STATE: OnceCell<ThreadState> = const { OnceCell::new() };
}

/// Keeps this thread's state in the interpreter until the thread ends.
///
/// Otherwise every handler on a thread of the core would begin with a new one, which costs more than the call, and
/// `threading.local` would forget from one call to the next.
#[inline]
pub(crate) fn keep_state() {
    THREAD_STATE.with(|kept| {
        if kept.get().is_some() {
            return;
        }
        // SAFETY: may be called on any thread at any time; null for one the interpreter does not know.
        if unsafe { ffi::PyGILState_GetThisThreadState() }.is_null() {
            // SAFETY: the interpreter runs, for a handler is about to; any thread may attach itself.
            let ensured = unsafe { ffi::PyGILState_Ensure() };
            // SAFETY: attached just now.
            let state = unsafe { ffi::PyEval_SaveThread() };
            // It was empty above.
            drop(kept.set(ThreadState { ensured, state }));
        }
    });
}

impl Drop for ThreadState {
    fn drop(&mut self) {
        // SAFETY: asks a flag of the interpreter.
        if unsafe { ffi::Py_IsInitialized() } == 0 {
            return;
        }
        // SAFETY: the state is this thread's own, detached since it was made but for handlers that have returned. Whoever
        // serves joins this thread, so the interpreter is still there.
        unsafe { ffi::PyEval_RestoreThread(self.state) };
        // SAFETY: ends what `Ensure` began on this thread, attached as it was then.
        unsafe { ffi::PyGILState_Release(self.ensured) };
    }
}
