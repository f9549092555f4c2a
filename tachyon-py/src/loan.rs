//! The view of a request that a handler gets.
#![allow(unsafe_code, reason = "implements the buffer protocol")]

use core::ffi::c_int;
use core::ptr::NonNull;
use std::sync::OnceLock;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
use tachyon::__binding::Mapping;

use crate::lent::Lent;

/// Owner of the memoryview passed to a handler.
///
/// The request's slot goes back to the caller when the handler is done, whatever views it kept. Those then show
/// unspecified bytes, but of memory that stays mapped: a loan with views left is given the mapping to keep.
#[pyclass(module = "tachyon", frozen)]
pub(crate) struct Loan {
    lent: Lent,
    mapping: OnceLock<Mapping>,
}

impl Loan {
    /// Lends a request.
    ///
    /// # Safety
    /// The bytes stay mapped until [`end`](Self::end) has been called; whoever calls it passes what keeps them mapped.
    pub(crate) unsafe fn new<'py>(py: Python<'py>, request: &[u8]) -> PyResult<Bound<'py, Self>> {
        // SAFETY: mapped until `end` by our contract, and after it by the mapping it leaves here. They are not written
        // by anyone but, once released, a later request, as `Loan` says.
        let lent = unsafe { Lent::new(NonNull::from(request).cast(), request.len(), false) };
        Bound::new(py, Self { lent, mapping: OnceLock::new() })
    }

    /// The memoryview for the handler.
    pub(crate) fn view<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyMemoryView>> {
        PyMemoryView::from(slf.as_any())
    }

    /// Whether views are left.
    pub(crate) fn has_views(&self) -> bool {
        self.lent.has_views()
    }

    /// Ends the loan; `mapping` is asked for only if views are left.
    pub(crate) fn end(&self, mapping: impl FnOnce() -> Option<Mapping>) {
        if self.has_views()
            && let Some(mapping) = mapping()
        {
            // Set once: a loan ends once.
            drop(self.mapping.set(mapping));
        }
        let _ = self.lent.end();
    }
}

#[pymethods]
impl Loan {
    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: `view` is what Python passed; the loan counts the view out below.
        unsafe { slf.get().lent.export(slf.as_any(), "request", view, flags) }
    }

    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        let _ = view;
        let _ = self.lent.view_gone();
    }
}
