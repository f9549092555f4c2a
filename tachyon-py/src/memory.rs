//! `Memory`: what a Struct or an Array is a window on.
#![allow(unsafe_code, reason = "implements the buffer protocol")]

use core::ffi::c_int;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyMemoryView, PySlice, PyString};

use crate::errors::ReleasedError;

/// Some bytes of a memoryview, with a buffer of their own.
///
/// Nothing is exported until somebody asks, so the memoryview can be released under it; whoever reads then is told by
/// the memoryview itself.
#[pyclass(module = "tachyon._tachyon", subclass, frozen)]
pub(crate) struct Memory {
    view: Py<PyMemoryView>,
    at: usize,
    len: usize,
    /// The items that its buffer shows, in the letters of `memoryview.cast`.
    format: Py<PyString>,
}

#[pymethods]
impl Memory {
    #[new]
    #[pyo3(signature = (view, at, length, form, /))]
    fn new(view: Bound<'_, PyMemoryView>, at: usize, length: usize, form: Py<PyString>) -> PyResult<Self> {
        let nbytes: usize = view.getattr(intern!(view.py(), "nbytes"))?.extract()?;
        if at.checked_add(length).is_none_or(|end| end > nbytes) {
            return Err(PyValueError::new_err(format!("{length} bytes at {at} are not within {nbytes}")));
        }
        Ok(Self { view: view.unbind(), at, len: length, format: form })
    }

    /// The whole memoryview.
    #[getter(__tachyon_view__)]
    fn whole<'py>(&self, py: Python<'py>) -> Bound<'py, PyMemoryView> {
        self.view.bind(py).clone()
    }

    /// Where in it this begins.
    #[getter(__tachyon_at__)]
    fn begin(&self) -> usize {
        self.at
    }

    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyTypeError::new_err("a buffer was asked for without a place to describe it"));
        }
        let py = slf.py();
        let this = slf.get();
        let end = this.at + this.len;
        let span = PySlice::new(py, this.at.cast_signed(), end.cast_signed(), 1);
        let window = this.view.bind(py).as_any().get_item(span).map_err(|_| {
            ReleasedError::new_err(
                "this is a view of a request, which was valid during its call only; keep a copy: request.copy()",
            )
        })?;
        let window = window.call_method1(intern!(py, "cast"), (&this.format,))?;
        // SAFETY: `view` is the request's, as Python passed it, and not null; `window` is a live memoryview. It becomes
        // the buffer's owner, so it lives as long as the buffer and is what the release goes to.
        if unsafe { ffi::PyObject_GetBuffer(window.as_ptr(), view, flags) } != 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(())
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.view)
    }
}
