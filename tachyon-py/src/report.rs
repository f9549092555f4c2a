//! What serving reports through Python's `logging`, on the logger `tachyon`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// How much a report matters, as `logging` counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Level {
    Info = 20,
    Warning = 30,
    Error = 40,
}

/// Reports a text, with the traceback of what caused it.
///
/// # Errors
/// What a handler of the logger raised.
pub(crate) fn report(py: Python<'_>, level: Level, text: &str, cause: Option<PyErr>) -> PyResult<()> {
    static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let logger = LOGGER
        .get_or_try_init(py, || py.import("logging")?.call_method1("getLogger", ("tachyon",)).map(Bound::unbind))?;
    let kwargs = PyDict::new(py);
    if let Some(cause) = cause {
        kwargs.set_item("exc_info", cause.into_value(py))?;
    }
    logger.bind(py).call_method("log", (level as u8, "%s", text), Some(&kwargs)).map(drop)
}

/// As `report`, where nobody is left to raise to.
pub(crate) fn report_or_print(py: Python<'_>, level: Level, text: &str, cause: Option<PyErr>) {
    if let Err(error) = report(py, level, text, cause) {
        error.write_unraisable(py, None);
    }
}
