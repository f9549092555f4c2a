//! `RpcTxGuard`: room for a request or a reply.
#![allow(unsafe_code, reason = "implements the buffer protocol")]

use core::ffi::c_int;
use core::sync::atomic::{AtomicU16, AtomicU64, AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use tachyon::__binding::Room;

use crate::args::{self, Integer};
use crate::lent::{Ending, Lent, kept_view};
use crate::rpc_bus::RpcBus;
use crate::turn::Debt;

const NAME: &str = "RpcTxGuard";

/// Room for one request or reply, to be written in place through `memoryview(guard)`.
///
/// Leaving the `with` block sends the first `actual_size` bytes; leaving it by an exception sends nothing.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct RpcTxGuard {
    bus: Py<RpcBus>,
    lent: Lent,
    actual_size: AtomicUsize,
    msg_type: AtomicU16,
    /// The request this answers; `None` if it is one.
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
        // SAFETY: the room was just reserved, and the bus reserves no other on this direction until it is published or
        // rolled back, which this guard asks for when its lending has ended; until then the bus, which `bus` keeps,
        // keeps its memory.
        let lent = unsafe { Lent::new(room.data(), room.len(), true) };
        Self {
            bus,
            lent,
            actual_size: AtomicUsize::new(room.len()),
            msg_type: AtomicU16::new(msg_type),
            answers,
            out_cid: AtomicU64::new(0),
        }
    }

    fn roll_back(&self) {
        let bus = self.bus.get();
        if self.answers.is_some() {
            bus.owe_reverse(Debt::RollBack);
        } else {
            bus.owe_forward(Debt::RollBack);
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
    /// How many of the reserved bytes to send; all of them unless set.
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

    /// The message type it will carry.
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

    /// The correlation id of the call once it is sent; 0 before, and for a reply.
    #[getter]
    fn out_cid(&self) -> u64 {
        self.out_cid.load(Ordering::Relaxed)
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
            Ending::Now if exc_type.is_none() => self.publish(),
            Ending::Now => {
                self.roll_back();
                Ok(())
            }
            Ending::Lingers => {
                self.bus.get().reserved_lingers(self.answers.is_some());
                kept_view(exc_type)
            }
            Ending::Before => Ok(()),
        }
    }

    fn __repr__(&self) -> String {
        let ended = if self.lent.is_open() { "" } else { " released" };
        format!("<tachyon.RpcTxGuard msg_type={} actual_size={}{ended}>", self.msg_type(), self.actual_size())
    }
}

impl Drop for RpcTxGuard {
    fn drop(&mut self) {
        if self.lent.abandoned() {
            self.roll_back();
        }
    }
}
