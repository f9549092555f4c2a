//! The guards of a one-way bus: `RxGuard`, `TxGuard`, and `RxBatchGuard` with its `RxMsgView`.
#![allow(unsafe_code, reason = "implements the buffer protocol")]

use core::ffi::c_int;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use pyo3::exceptions::PyIndexError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use tachyon::__binding::{Room, Taking};

use crate::args::{self, Integer};
use crate::bus::one_way::Bus;
use crate::bus::try_lock::DelayedRelease;
use crate::memory::buffer_export::{BufferExport, GuardEnd, Region, ViewCount, kept_view_error};
use crate::memory::dlpack;

const RX_GUARD: &str = "RxGuard";

/// A received message, read in place through `memoryview(guard)`; leaving the `with` block gives it back.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct RxGuard {
    bus: Py<Bus>,
    buffer: BufferExport,
    type_id: u32,
}

impl RxGuard {
    pub(crate) fn new(bus: Py<Bus>, taking: Taking) -> Self {
        // SAFETY: the message was just taken. Only `DelayedRelease::Message` releases it, which this guard sends once
        // it has ended without views. Until then `bus` keeps the memory mapped, even when it is closed.
        let buffer = unsafe { BufferExport::new(taking.data(), taking.len(), false) };
        Self { bus, buffer, type_id: taking.type_id() }
    }

    fn give_back(&self) {
        self.bus.get().delay(DelayedRelease::Message);
    }
}

#[pymethods]
impl RxGuard {
    /// Length of the payload in bytes.
    #[getter]
    fn actual_size(&self) -> usize {
        self.buffer.len()
    }

    /// The `type_id` that the sender passed.
    #[getter]
    fn type_id(&self) -> u32 {
        self.type_id
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
        match self.buffer.end() {
            GuardEnd::Free => self.give_back(),
            GuardEnd::OutlivedByViews => {
                self.bus.get().outlived_by_views();
                return kept_view_error(exc_type);
            }
            GuardEnd::EndedBefore => {}
        }
        Ok(())
    }

    fn __repr__(&self) -> String {
        let released = if self.buffer.is_open() { "" } else { " released" };
        format!("<tachyon.RxGuard type_id={} actual_size={}{released}>", self.type_id, self.buffer.len())
    }
}

impl Drop for RxGuard {
    fn drop(&mut self) {
        if self.buffer.abandoned() {
            self.give_back();
        }
    }
}

const TX_GUARD: &str = "TxGuard";

/// Room for one message, written in place through `memoryview(guard)`.
///
/// Leaving the `with` block publishes the first `actual_size` bytes; leaving it by an exception publishes nothing.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct TxGuard {
    bus: Py<Bus>,
    buffer: BufferExport,
    actual_size: AtomicUsize,
    type_id: AtomicU32,
}

impl TxGuard {
    pub(crate) fn new(bus: Py<Bus>, room: Room, type_id: u32) -> Self {
        // SAFETY: the room was just reserved. The bus reserves no other until this guard, ended and without views,
        // publishes it or rolls it back. Until then `bus` keeps the memory mapped.
        let buffer = unsafe { BufferExport::new(room.data(), room.len(), true) };
        Self { bus, buffer, actual_size: AtomicUsize::new(room.len()), type_id: AtomicU32::new(type_id) }
    }

    fn roll_back(&self) {
        self.bus.get().delay(DelayedRelease::Reservation);
    }
}

#[pymethods]
impl TxGuard {
    /// Bytes to publish; all reserved bytes unless set.
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

    /// The `type_id` that the receiver sees.
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
            GuardEnd::Free if exc_type.is_none() => self.bus.get().publish(self.actual_size(), self.type_id()),
            GuardEnd::Free => {
                self.roll_back();
                Ok(())
            }
            GuardEnd::OutlivedByViews => {
                self.bus.get().outlived_by_views();
                kept_view_error(exc_type)
            }
            GuardEnd::EndedBefore => Ok(()),
        }
    }

    fn __repr__(&self) -> String {
        let ended = if self.buffer.is_open() { "" } else { " released" };
        format!("<tachyon.TxGuard type_id={} actual_size={}{ended}>", self.type_id(), self.actual_size())
    }
}

impl Drop for TxGuard {
    fn drop(&mut self) {
        if self.buffer.abandoned() {
            self.roll_back();
        }
    }
}

const BATCH_GUARD: &str = "RxBatchGuard";

/// A sequence of messages, read in place; leaving the `with` block gives all of them back.
#[pyclass(module = "tachyon", frozen, weakref, sequence)]
pub(crate) struct RxBatchGuard {
    bus: Py<Bus>,
    messages: Vec<(Region, u32)>,
    /// Views into all of the messages.
    view_count: ViewCount,
}

impl RxBatchGuard {
    pub(crate) fn new(bus: Py<Bus>, messages: Vec<Taking>) -> Self {
        let messages = messages
            .into_iter()
            .map(|taking| (Region { data: taking.data(), len: taking.len(), writable: false }, taking.type_id()))
            .collect();
        Self { bus, messages, view_count: ViewCount::default() }
    }

    fn give_back(&self) {
        self.bus.get().delay(DelayedRelease::Message);
    }

    fn view(slf: &Bound<'_, Self>, index: usize) -> Option<RxMsgView> {
        let &(region, type_id) = slf.get().messages.get(index)?;
        Some(RxMsgView { batch: slf.clone().unbind(), region, type_id })
    }
}

#[pymethods]
impl RxBatchGuard {
    fn __len__(&self) -> usize {
        self.messages.len()
    }

    fn __getitem__(slf: &Bound<'_, Self>, index: isize) -> PyResult<RxMsgView> {
        let batch = slf.get();
        batch.view_count.check_open(BATCH_GUARD)?;
        let len = batch.messages.len();
        let wanted = if index < 0 { len.checked_add_signed(index) } else { Some(index.unsigned_abs()) };
        wanted
            .and_then(|index| Self::view(slf, index))
            .ok_or_else(|| PyIndexError::new_err(format!("message {index} of a batch of {len}")))
    }

    fn __iter__(slf: Bound<'_, Self>) -> PyResult<BatchIterator> {
        slf.get().view_count.check_open(BATCH_GUARD)?;
        Ok(BatchIterator { batch: slf.unbind(), next: 0 })
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().view_count.check_open(BATCH_GUARD)?;
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
        match self.view_count.end() {
            GuardEnd::Free => self.give_back(),
            GuardEnd::OutlivedByViews => {
                self.bus.get().outlived_by_views();
                return kept_view_error(exc_type);
            }
            GuardEnd::EndedBefore => {}
        }
        Ok(())
    }

    fn __repr__(&self) -> String {
        let released = if self.view_count.is_open() { "" } else { " released" };
        format!("<tachyon.RxBatchGuard len={}{released}>", self.messages.len())
    }
}

impl Drop for RxBatchGuard {
    fn drop(&mut self) {
        if self.view_count.abandoned() {
            self.give_back();
        }
    }
}

/// Iterates over a batch.
#[pyclass(module = "tachyon")]
pub(crate) struct BatchIterator {
    batch: Py<RxBatchGuard>,
    next: usize,
}

#[pymethods]
impl BatchIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<RxMsgView>> {
        let batch = self.batch.bind(py);
        batch.get().view_count.check_open(BATCH_GUARD)?;
        let message = RxBatchGuard::view(batch, self.next);
        self.next += 1;
        Ok(message)
    }
}

/// One message of a batch, in place: a read-only buffer, and a one-dimensional uint8 array to DLPack.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct RxMsgView {
    batch: Py<RxBatchGuard>,
    region: Region,
    type_id: u32,
}

impl RxMsgView {
    /// Counts a view in, and returns the bytes of the view.
    fn view_made(&self) -> PyResult<Region> {
        let view_count = &self.batch.get().view_count;
        view_count.check_open("RxMsgView")?;
        view_count.view_made();
        Ok(self.region)
    }

    /// Counts a view out.
    fn view_gone(&self) {
        let batch = self.batch.get();
        if batch.view_count.view_gone() {
            batch.give_back();
        }
    }
}

#[pymethods]
impl RxMsgView {
    /// Length of the payload in bytes.
    #[getter]
    fn actual_size(&self) -> usize {
        self.region.len
    }

    /// The `type_id` that the sender passed.
    #[getter]
    fn type_id(&self) -> u32 {
        self.type_id
    }

    fn __len__(&self) -> usize {
        self.region.len
    }

    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        let view_count = &this.batch.get().view_count;
        view_count.check_open("RxMsgView")?;
        // SAFETY: Python passed `view`; `__releasebuffer__` below counts the view out. Until then `this.batch` keeps
        // its messages, and the bus of the batch keeps its memory.
        unsafe { this.region.export(view_count, slf.as_any(), view, flags) }
    }

    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        let _ = view;
        self.view_gone();
    }

    /// Export the payload in place as a DLPack capsule.
    ///
    /// The capsule of DLPack 1 is flagged read-only. The older capsule has no such flag: do not write.
    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__<'py>(
        slf: &Bound<'py, Self>,
        stream: Option<&Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        dlpack::check(stream, dl_device, copy)?;
        let region = slf.get().view_made()?;
        let view = slf.clone().unbind();
        let is_versioned = max_version.is_some_and(|(major, _)| major >= 1);
        dlpack::capsule(slf.py(), region, is_versioned, move |py| view.bind(py).get().view_gone())
    }

    /// Return DLPack's device tuple of the CPU.
    #[allow(clippy::unused_self, reason = "a method in Python")]
    fn __dlpack_device__(&self) -> (i32, i32) {
        dlpack::CPU
    }

    fn __repr__(&self) -> String {
        let released = if self.batch.get().view_count.is_open() { "" } else { " released" };
        format!("<tachyon.RxMsgView type_id={} actual_size={}{released}>", self.type_id, self.region.len)
    }
}
