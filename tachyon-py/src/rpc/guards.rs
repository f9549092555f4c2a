//! The guards of an RPC bus: `RpcRxGuard` and `RpcTxGuard`.
#![allow(unsafe_code, reason = "implements the buffer protocol")]

use core::ffi::c_int;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};
use tachyon::__binding::{Room, Taking, decode_error, plain_type_id};

use crate::args::{self, Integer};
use crate::bus::try_lock::DelayedRelease;
use crate::memory::buffer_export::{BufferExport, GuardEnd, kept_view_error};
use crate::rpc::contract::Contract;
use crate::rpc::error_reply::{error_kind, raised};
use crate::rpc::metadata::mapping;
use crate::rpc::rpc_bus::RpcBus;

const RX_GUARD: &str = "RpcRxGuard";

/// A request or a reply, read in place through `memoryview(guard)`; leaving the `with` block gives it back.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct RpcRxGuard {
    bus: Py<RpcBus>,
    buffer: BufferExport,
    type_id: u32,
    correlation_id: u64,
    /// The payload of a reply that came before its wait: on the heap and not in a slot.
    kept: Option<Vec<u8>>,
    /// The metadata of a request.
    metadata: Option<Box<tachyon::Metadata>>,
}

impl RpcRxGuard {
    pub(crate) fn in_place(bus: Py<RpcBus>, taking: Taking) -> Self {
        // SAFETY: the message was just taken. Only `DelayedRelease::Message` releases it, which this guard sends once
        // it has ended without views. Until then `bus` keeps the memory mapped, even when it is closed.
        let buffer = unsafe { BufferExport::new(taking.data(), taking.len(), false) };
        let (type_id, correlation_id) = (taking.type_id(), taking.correlation_id());
        Self { bus, buffer, type_id, correlation_id, kept: None, metadata: None }
    }

    /// As [`in_place`](Self::in_place), for a request with metadata.
    pub(crate) fn with_metadata(mut self, metadata: Option<&tachyon::Metadata>) -> Self {
        self.metadata = metadata.map(|metadata| Box::new(metadata.clone()));
        self
    }

    pub(crate) fn kept(bus: Py<RpcBus>, correlation_id: u64, type_id: u32, payload: Vec<u8>) -> Self {
        // SAFETY: this guard owns the bytes on the heap, which neither move nor change while the guard lives. Every
        // view keeps the guard alive.
        let buffer = unsafe { BufferExport::new(NonNull::from(payload.as_slice()).cast(), payload.len(), false) };
        Self { bus, buffer, type_id, correlation_id, kept: Some(payload), metadata: None }
    }

    fn give_back(&self) {
        if self.kept.is_none() {
            self.bus.get().delay_forward(DelayedRelease::Message);
        }
    }

    /// Bytes of the payload.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// A copy of the payload.
    pub(crate) fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.buffer.to_bytes(py)
    }

    /// Ends the guard; `false` when views are left.
    pub(crate) fn finish(&self) -> bool {
        match self.buffer.end() {
            GuardEnd::Free => self.give_back(),
            // Views into a reply on the heap use no direction.
            GuardEnd::OutlivedByViews if self.kept.is_none() => {
                self.bus.get().received_outlived_by_views();
                return false;
            }
            GuardEnd::OutlivedByViews | GuardEnd::EndedBefore => {}
        }
        true
    }

    /// Calls `on_response` with a view of the payload, valid during the call.
    pub(crate) fn call_with_view<'py>(
        slf: &Bound<'py, Self>,
        function: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let view = PyMemoryView::from(slf.as_any())?;
        let outcome = function.call1((&view,));
        // A failed release leaves the view counted, and `finish` reports it.
        drop(view.call_method0(pyo3::intern!(slf.py(), "release")));
        drop(view);
        let ended = slf.get().finish();
        let outcome = outcome?;
        if !ended {
            kept_view_error(slf.py().None().bind(slf.py()))?;
        }
        Ok(outcome)
    }

    /// The exception for an error reply; an error that `contract` declares becomes its class.
    pub(crate) fn error(&self, py: Python<'_>, contract: Option<&Contract>) -> PyResult<Option<PyErr>> {
        if plain_type_id(self.type_id) != u32::from(tachyon::type_id::MSG_TYPE_ERROR) {
            return Ok(None);
        }
        Ok(Some(raised(self.type_id, &self.buffer.to_bytes(py)?, contract)))
    }
}

#[pymethods]
impl RpcRxGuard {
    /// Length of the payload in bytes.
    #[getter]
    fn actual_size(&self) -> usize {
        self.buffer.len()
    }

    /// The message type; 0xFFFF for an error reply.
    #[getter]
    fn type_id(&self) -> u32 {
        plain_type_id(self.type_id)
    }

    /// The correlation id of the call.
    #[getter]
    fn correlation_id(&self) -> u64 {
        self.correlation_id
    }

    /// The texts that the caller sent beside a request, as a read-only mapping.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        mapping(py, self.metadata.as_deref())
    }

    /// The kind of failure, if this is an error reply.
    #[getter]
    fn error_kind<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match decode_error(self.type_id, &[]) {
            Some(error) => error_kind(py, error.kind).map(Some),
            None => Ok(None),
        }
    }

    fn __len__(&self) -> usize {
        self.buffer.len()
    }

    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: Python passed `view`; `__releasebuffer__` below counts the view out.
        unsafe { slf.get().buffer.export(slf.as_any(), RX_GUARD, view, flags) }
    }

    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        let _ = view;
        if self.buffer.view_gone() {
            self.give_back();
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().buffer.check_open(RX_GUARD)?;
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
        if self.finish() { Ok(()) } else { kept_view_error(exc_type) }
    }

    fn __repr__(&self) -> String {
        format!(
            "<tachyon.RpcRxGuard correlation_id={} type_id={} actual_size={}{}>",
            self.correlation_id,
            self.type_id(),
            self.buffer.len(),
            if self.buffer.is_open() { "" } else { " released" },
        )
    }
}

impl Drop for RpcRxGuard {
    fn drop(&mut self) {
        if self.buffer.abandoned() {
            self.give_back();
        }
    }
}

const TX_GUARD: &str = "RpcTxGuard";

/// Room for one request or reply, written in place through `memoryview(guard)`.
///
/// Leaving the `with` block sends the first `actual_size` bytes; leaving it by an exception sends nothing.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct RpcTxGuard {
    bus: Py<RpcBus>,
    buffer: BufferExport,
    actual_size: AtomicUsize,
    msg_type: AtomicU16,
    /// The correlation id of the request that this reply answers; `None` for a request.
    answers: Option<u64>,
    out_cid: AtomicU64,
}

impl RpcTxGuard {
    pub(crate) fn request(bus: Py<RpcBus>, room: Room, msg_type: u16) -> Self {
        Self::new(bus, room, msg_type, None)
    }

    pub(crate) fn reply(bus: Py<RpcBus>, room: Room, msg_type: u16, correlation_id: u64) -> Self {
        Self::new(bus, room, msg_type, Some(correlation_id))
    }

    fn new(bus: Py<RpcBus>, room: Room, msg_type: u16, answers: Option<u64>) -> Self {
        // SAFETY: the room was just reserved. The bus reserves no other on this direction until this guard, ended and
        // without views, publishes it or rolls it back. Until then `bus` keeps the memory mapped.
        let buffer = unsafe { BufferExport::new(room.data(), room.len(), true) };
        Self {
            bus,
            buffer,
            actual_size: AtomicUsize::new(room.len()),
            msg_type: AtomicU16::new(msg_type),
            answers,
            out_cid: AtomicU64::new(0),
        }
    }

    fn roll_back(&self) {
        let bus = self.bus.get();
        if self.answers.is_some() {
            bus.delay_reverse(DelayedRelease::Reservation);
        } else {
            bus.delay_forward(DelayedRelease::Reservation);
        }
    }

    fn publish(&self) -> PyResult<()> {
        let bus = self.bus.get();
        if let Some(correlation_id) = self.answers {
            return bus.publish_reply(self.actual_size(), self.msg_type(), correlation_id);
        }
        let correlation_id = bus.publish_call(self.actual_size(), self.msg_type())?;
        self.out_cid.store(correlation_id, Ordering::Relaxed);
        Ok(())
    }
}

#[pymethods]
impl RpcTxGuard {
    /// Bytes to send; all reserved bytes unless set.
    #[getter]
    fn actual_size(&self) -> usize {
        self.actual_size.load(Ordering::Relaxed)
    }

    #[setter]
    fn set_actual_size(&self, actual_size: Integer) -> PyResult<()> {
        let size = args::at_most("actual_size", actual_size, self.buffer.len())?;
        self.actual_size.store(size, Ordering::Relaxed);
        Ok(())
    }

    /// The message type of the request or reply.
    #[getter]
    fn msg_type(&self) -> u16 {
        self.msg_type.load(Ordering::Relaxed)
    }

    #[setter]
    fn set_msg_type(&self, msg_type: Integer) -> PyResult<()> {
        // Only a reply may be an error reply.
        let msg_type =
            if self.answers.is_some() { args::sixteen_bits("msg_type", msg_type)? } else { args::msg_type(msg_type)? };
        self.msg_type.store(msg_type, Ordering::Relaxed);
        Ok(())
    }

    /// The correlation id of the call after it is sent; 0 before that, and for a reply.
    #[getter]
    fn out_cid(&self) -> u64 {
        self.out_cid.load(Ordering::Relaxed)
    }

    fn __len__(&self) -> usize {
        self.buffer.len()
    }

    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: Python passed `view`; `__releasebuffer__` below counts the view out.
        unsafe { slf.get().buffer.export(slf.as_any(), TX_GUARD, view, flags) }
    }

    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        let _ = view;
        if self.buffer.view_gone() {
            self.roll_back();
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().buffer.check_open(TX_GUARD)?;
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
        match self.buffer.end() {
            GuardEnd::Free if exc_type.is_none() => self.publish(),
            GuardEnd::Free => {
                self.roll_back();
                Ok(())
            }
            GuardEnd::OutlivedByViews => {
                self.bus.get().reserved_outlived_by_views(self.answers.is_some());
                kept_view_error(exc_type)
            }
            GuardEnd::EndedBefore => Ok(()),
        }
    }

    fn __repr__(&self) -> String {
        let ended = if self.buffer.is_open() { "" } else { " released" };
        format!("<tachyon.RpcTxGuard msg_type={} actual_size={}{ended}>", self.msg_type(), self.actual_size())
    }
}

impl Drop for RpcTxGuard {
    fn drop(&mut self) {
        if self.buffer.abandoned() {
            self.roll_back();
        }
    }
}
