//! `RpcRxGuard`: a request or a reply, in place.
#![allow(unsafe_code, reason = "implements the buffer protocol")]

use core::ffi::c_int;
use core::ptr::NonNull;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};
use tachyon::__binding::{Taking, decode_error, plain_type_id};
use tachyon::{CallError, ErrorKind};

use crate::contract::Contract;
use crate::errors::Raise;
use crate::lent::{Ending, Lent, kept_view};
use crate::remote::{error_kind, remote_error};
use crate::rpc_bus::RpcBus;
use crate::turn::Debt;

const NAME: &str = "RpcRxGuard";

/// A request or a reply, read in place through `memoryview(guard)`; leaving the `with` block gives it back.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct RpcRxGuard {
    bus: Py<RpcBus>,
    lent: Lent,
    type_id: u32,
    correlation_id: u64,
    /// A reply that came before it was waited for lies here and not in a slot.
    kept: Option<Vec<u8>>,
}

impl RpcRxGuard {
    pub(crate) fn in_place(bus: Py<RpcBus>, taking: Taking) -> Self {
        // SAFETY: the message was just taken, and is released only by `Debt::Release`, which this guard owes when its
        // lending has ended; until then the bus, which `bus` keeps, keeps its memory, even when it is closed.
        let lent = unsafe { Lent::new(taking.data(), taking.len(), false) };
        Self { bus, lent, type_id: taking.type_id(), correlation_id: taking.correlation_id(), kept: None }
    }

    pub(crate) fn kept(bus: Py<RpcBus>, correlation_id: u64, type_id: u32, payload: Vec<u8>) -> Self {
        // SAFETY: the bytes lie on the heap, where nobody moves or changes them while this guard, which owns them,
        // lives; every view keeps it alive.
        let lent = unsafe { Lent::new(NonNull::from(payload.as_slice()).cast(), payload.len(), false) };
        Self { bus, lent, type_id, correlation_id, kept: Some(payload) }
    }

    fn give_back(&self) {
        if self.kept.is_none() {
            self.bus.get().owe_forward(Debt::Release);
        }
    }

    /// A copy of the payload.
    pub(crate) fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.lent.to_bytes(py)
    }

    /// Ends the guard; `false` when views are left.
    pub(crate) fn finish(&self) -> bool {
        match self.lent.end() {
            Ending::Now => self.give_back(),
            // Views into a reply on the heap occupy no direction.
            Ending::Lingers if self.kept.is_none() => {
                self.bus.get().received_lingers();
                return false;
            }
            Ending::Lingers | Ending::Before => {}
        }
        true
    }

    /// What `on_response` makes of the payload, lent for the time of the call.
    pub(crate) fn lend_to<'py>(slf: &Bound<'py, Self>, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let view = PyMemoryView::from(slf.as_any())?;
        let outcome = function.call1((&view,));
        // A release that fails leaves the view counted, which `finish` reports.
        drop(view.call_method0(pyo3::intern!(slf.py(), "release")));
        drop(view);
        let ended = slf.get().finish();
        let outcome = outcome?;
        if !ended {
            kept_view(slf.py().None().bind(slf.py()))?;
        }
        Ok(outcome)
    }

    /// The exception for an error reply; one that `contract` declares is of its class.
    pub(crate) fn error(&self, py: Python<'_>, contract: Option<&Contract>) -> PyResult<Option<PyErr>> {
        if plain_type_id(self.type_id) != u32::from(tachyon::type_id::MSG_TYPE_ERROR) {
            return Ok(None);
        }
        let payload = self.lent.to_bytes(py)?;
        Ok(decode_error(self.type_id, payload.as_bytes()).map(|error| match error.kind {
            // The callee found out first; this side was about to.
            ErrorKind::DeadlinePassed => CallError::TimedOut { sent: true }.raise(),
            _ => remote_error(&error, payload, contract),
        }))
    }
}

#[pymethods]
impl RpcRxGuard {
    /// Length of the payload in bytes.
    #[getter]
    fn actual_size(&self) -> usize {
        self.lent.len()
    }

    /// The message type; 0xFFFF for an error reply.
    #[getter]
    fn type_id(&self) -> u32 {
        plain_type_id(self.type_id)
    }

    /// Which call it belongs to.
    #[getter]
    fn correlation_id(&self) -> u64 {
        self.correlation_id
    }

    /// What went wrong, if this is an error reply.
    #[getter]
    fn error_kind<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match decode_error(self.type_id, &[]) {
            Some(error) => error_kind(py, error.kind).map(Some),
            None => Ok(None),
        }
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
        if self.finish() { Ok(()) } else { kept_view(exc_type) }
    }

    fn __repr__(&self) -> String {
        format!(
            "<tachyon.RpcRxGuard correlation_id={} type_id={} actual_size={}{}>",
            self.correlation_id,
            self.type_id(),
            self.lent.len(),
            if self.lent.is_open() { "" } else { " released" },
        )
    }
}

impl Drop for RpcRxGuard {
    fn drop(&mut self) {
        if self.lent.abandoned() {
            self.give_back();
        }
    }
}
