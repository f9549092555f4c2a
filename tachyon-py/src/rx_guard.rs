//! `RxGuard`: a message of a one-way bus, in place.
#![allow(unsafe_code, reason = "implements the buffer protocol")]

use core::ffi::c_int;

use pyo3::ffi;
use pyo3::prelude::*;
use tachyon::__binding::Taking;

use crate::bus::Bus;
use crate::lent::{Ending, Lent, kept_view};
use crate::turn::Debt;

const NAME: &str = "RxGuard";

/// A received message, read in place through `memoryview(guard)`; leaving the `with` block gives it back.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct RxGuard {
    bus: Py<Bus>,
    lent: Lent,
    type_id: u32,
}

impl RxGuard {
    pub(crate) fn new(bus: Py<Bus>, taking: Taking) -> Self {
        // SAFETY: the message was just taken, and is released only by `Debt::Release`, which this guard owes when its
        // lending has ended; until then the bus, which `bus` keeps, keeps its memory, even when it is closed.
        let lent = unsafe { Lent::new(taking.data(), taking.len(), false) };
        Self { bus, lent, type_id: taking.type_id() }
    }

    fn give_back(&self) {
        self.bus.get().owe(Debt::Release);
    }
}

#[pymethods]
impl RxGuard {
    /// Length of the payload in bytes.
    #[getter]
    fn actual_size(&self) -> usize {
        self.lent.len()
    }

    /// What the sender passed as `type_id`.
    #[getter]
    fn type_id(&self) -> u32 {
        self.type_id
    }

    fn __len__(&self) -> usize {
        self.lent.len()
    }

    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: `view` is what Python passed; the guard counts the view out below.
        unsafe { slf.get().lent.export(slf.as_any(), NAME, view, flags) }
    }

    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        let _ = view;
        if self.lent.view_gone() {
            self.give_back();
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().lent.check_open(NAME)?;
        Ok(slf)
    }

    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __exit__(
        &self,
        exc_type: &Bound<'_, PyAny>,
        exc_value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let _ = (exc_value, traceback);
        match self.lent.end() {
            Ending::Now => self.give_back(),
            Ending::Lingers => {
                self.bus.get().lingers();
                return kept_view(exc_type);
            }
            Ending::Before => {}
        }
        Ok(())
    }

    fn __repr__(&self) -> String {
        let released = if self.lent.is_open() { "" } else { " released" };
        format!("<tachyon.RxGuard type_id={} actual_size={}{released}>", self.type_id, self.lent.len())
    }
}

impl Drop for RxGuard {
    fn drop(&mut self) {
        if self.lent.abandoned() {
            self.give_back();
        }
    }
}
