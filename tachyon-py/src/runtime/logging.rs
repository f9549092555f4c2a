//! Reports of servers and dispatchers through Python's `logging`, on the logger `tachyon`.

use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use crate::runtime::interpreter_shutdown;
use crate::runtime::interrupt::stop_serving_on;

/// The level of a report, with the numbers of `logging`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Level {
    Info = 20,
    Warning = 30,
    Error = 40,
}

/// Reports a text, with the traceback of its cause.
///
/// # Errors
/// The exception that a handler of the logger raised.
pub(crate) fn log(py: Python<'_>, level: Level, text: &str, cause: Option<PyErr>) -> PyResult<()> {
    static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let logger = LOGGER
        .get_or_try_init(py, || py.import("logging")?.call_method1("getLogger", ("tachyon",)).map(Bound::unbind))?;
    let kwargs = PyDict::new(py);
    if let Some(cause) = cause {
        kwargs.set_item("exc_info", cause.into_value(py))?;
    }
    logger.bind(py).call_method("log", (level as u8, "%s", text), Some(&kwargs)).map(drop)
}

/// As `log`, where no caller is left to raise to. A signal that arrived meanwhile ends the serving of this thread.
pub(crate) fn log_or_print(py: Python<'_>, level: Level, text: &str, cause: Option<PyErr>) {
    if let Err(error) = log(py, level, text, cause)
        && let Some(error) = stop_serving_on(py, error)
    {
        error.write_unraisable(py, None);
    }
}

/// Most texts that wait for a thread with the GIL.
const MAX_DEFERRED: usize = 1000;

/// Reports of threads that must not wait for the GIL: deferred for a thread that may wait, while `defer` is on.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    defers: AtomicBool,
    deferred: Mutex<DeferredReports>,
}

#[derive(Debug, Default)]
struct DeferredReports {
    texts: Vec<(Level, String)>,
    /// Texts beyond the limit.
    dropped: usize,
}

impl Reports {
    /// Defers reports from now on, or reports them at once.
    pub(crate) fn defer(&self, defers: bool) {
        self.defers.store(defers, Ordering::Relaxed);
    }

    /// Reports a text, now or later.
    pub(crate) fn add(&self, level: Level, text: String) {
        if !self.defers.load(Ordering::Relaxed) {
            // During the shutdown of the interpreter the report is dropped.
            interpreter_shutdown::try_attach(|py| log_or_print(py, level, &text, None));
            return;
        }
        let mut deferred = self.deferred.lock().unwrap_or_else(PoisonError::into_inner);
        if deferred.texts.len() < MAX_DEFERRED {
            deferred.texts.push((level, text));
        } else {
            deferred.dropped += 1;
        }
    }

    /// Reports the deferred texts.
    ///
    /// # Errors
    /// The exception of a signal handler that ran meanwhile; all texts are reported nevertheless.
    pub(crate) fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let DeferredReports { mut texts, dropped } =
            mem::take(&mut *self.deferred.lock().unwrap_or_else(PoisonError::into_inner));
        if dropped > 0 {
            let text = format!("{dropped} more reports were dropped while the interpreter was busy");
            texts.push((Level::Warning, text));
        }
        let mut raised = Ok(());
        for (level, text) in texts {
            match log(py, level, &text, None) {
                Err(error) if error.is_instance_of::<PyException>(py) => error.write_unraisable(py, None),
                Err(error) => raised = Err(error),
                Ok(()) => {}
            }
        }
        raised
    }
}
