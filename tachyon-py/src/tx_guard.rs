//! `TxGuard`: room for a message on a one-way bus.
#![allow(unsafe_code, reason = "implements the buffer protocol")]

use core::ffi::c_int;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use tachyon::__binding::Room;

use crate::args::{self, Integer};
use crate::bus::Bus;
use crate::lent::{Ending, Lent, kept_view};
use crate::turn::Debt;

const NAME: &str = "TxGuard";

/// Room for one message, to be written in place through `memoryview(guard)`.
///
/// Leaving the `with` block publishes the first `actual_size` bytes; leaving it by an exception publishes nothing.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct TxGuard {
    bus: Py<Bus>,
    lent: Lent,
    actual_size: AtomicUsize,
    type_id: AtomicU32,
}

impl TxGuard {
    pub(crate) fn new(bus: Py<Bus>, room: Room, type_id: u32) -> Self {
        // SAFETY: the room was just reserved, and the bus reserves no other until it is published or rolled back, which
        // this guard asks for when its lending has ended; until then the bus, which `bus` keeps, keeps its memory.
        let lent = unsafe { Lent::new(room.data(), room.len(), true) };
        Self { bus, lent, actual_size: AtomicUsize::new(room.len()), type_id: AtomicU32::new(type_id) }
    }

    fn roll_back(&self) {
        self.bus.get().owe(Debt::RollBack);
    }
}

#[pymethods]
impl TxGuard {
    /// How many of the reserved bytes to publish; all of them unless set.
    #[getter]
    fn actual_size(&self) -> usize {
        self.actual_size.load(Ordering::Relaxed)
    }

    #[setter]
    fn set_actual_size(&self, actual_size: Integer) -> PyResult<()> {
        let size = args::at_most("actual_size", actual_size, self.lent.len())?;
        self.actual_size.store(size, Ordering::Relaxed);
        Ok(())
    }

    /// What the receiver sees as `type_id`.
    #[getter]
    fn type_id(&self) -> u32 {
        self.type_id.load(Ordering::Relaxed)
    }

    #[setter]
    fn set_type_id(&self, type_id: Integer) -> PyResult<()> {
        self.type_id.store(args::type_id(type_id)?, Ordering::Relaxed);
        Ok(())
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
            self.roll_back();
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
            Ending::Now if exc_type.is_none() => self.bus.get().publish(self.actual_size(), self.type_id()),
            Ending::Now => {
                self.roll_back();
                Ok(())
            }
            Ending::Lingers => {
                self.bus.get().lingers();
                kept_view(exc_type)
            }
            Ending::Before => Ok(()),
        }
    }

    fn __repr__(&self) -> String {
        let ended = if self.lent.is_open() { "" } else { " released" };
        format!("<tachyon.TxGuard type_id={} actual_size={}{ended}>", self.type_id(), self.actual_size())
    }
}

impl Drop for TxGuard {
    fn drop(&mut self) {
        if self.lent.abandoned() {
            self.roll_back();
        }
    }
}
