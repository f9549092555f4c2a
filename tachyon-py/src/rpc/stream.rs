//! `Stream`: an open stream at its caller.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use core::time::Duration;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::{PyResourceWarning, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyType};
use tachyon::__binding::{Limit, ReplyTaken, StreamSteps, StreamTaken};
use tachyon::CallError;

use crate::args::{self, Integer};
use crate::errors::{BusClosedError, InvalidArgumentError, Raise};
use crate::memory::buffer_export::{copied_from, read_from};
use crate::memory::payload::Payload;
use crate::rpc::caller_end::CallOptions;
use crate::rpc::contract::{Contract, Encoded};
use crate::rpc::error_reply::raised;
use crate::rpc::metadata::Metadata;
use crate::rpc::rpc_bus::RpcBus;
use crate::runtime::interpreter_shutdown;
use crate::runtime::package::imported;

const OPEN: u8 = 0;
/// The outcome was taken.
const ENDED: u8 = 1;
const CLOSED: u8 = 2;

/// The settings of one stream.
pub(crate) struct Opening<'a, 'py> {
    pub(crate) msg_type: u16,
    /// The endpoint's name; empty for a stream by number.
    pub(crate) name: &'a str,
    /// Seconds for the whole stream.
    pub(crate) timeout: Option<f64>,
    /// Seconds for each wait.
    pub(crate) item_timeout: Option<f64>,
    pub(crate) window: Option<Integer>,
    pub(crate) metadata: Option<Bound<'py, Metadata>>,
    pub(crate) contract: Option<&'a Py<Contract>>,
}

impl<'py> Opening<'_, 'py> {
    /// The `AsyncStream` of a coroutine on `bus`, with the bytes of the request at the time of the call.
    pub(crate) fn awaited(&self, bus: &Bound<'py, PyAny>, payload: &Payload<'_, '_>) -> PyResult<Bound<'py, PyAny>> {
        let py = bus.py();
        args::timeout(self.timeout)?;
        args::timeout(self.item_timeout)?;
        let payload = PyBytes::new(py, payload.as_slice());
        let window = args::window(self.window)?;
        let parts = (bus, payload, self.msg_type, self.name, self.metadata.as_ref(), self.contract);
        let settings = PyDict::new(py);
        settings.set_item("timeout", self.timeout)?;
        settings.set_item("item_timeout", self.item_timeout)?;
        settings.set_item("window", window)?;
        imported!(py, "tachyon._streams", "AsyncStream")?.call(parts, Some(&settings))
    }
}

/// An open stream: an iterator of the callee's items, and the sender of this side's.
///
/// Leaving the `with` block closes the stream, which cancels it at the callee unless it has ended. A stream whose items
/// are all taken is closed. Other calls and streams of the bus go on beside it.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct Stream {
    bus: Py<RpcBus>,
    contract: Option<Py<Contract>>,
    id: u64,
    msg_type: u16,
    item_timeout: Option<Duration>,
    state: AtomicU8,
    /// Whether `end` or `finish` was called.
    has_end: AtomicBool,
    /// Called once at the end of the stream.
    on_end: Mutex<Option<Py<PyAny>>>,
}

impl Stream {
    /// Opens a stream.
    pub(crate) fn open<'py>(
        bus: &Bound<'py, RpcBus>,
        payload: &Payload<'_, '_>,
        opening: &Opening<'_, 'py>,
    ) -> PyResult<Self> {
        let py = bus.py();
        let Opening { msg_type, name, timeout, contract, .. } = *opening;
        let (window, item_timeout) = (args::window(opening.window)?, args::timeout(opening.item_timeout)?);
        let options = CallOptions {
            type_id: u32::from(msg_type),
            spins: None,
            limit: args::limit(timeout)?,
            idempotent: false,
            contract: contract.map(Py::get).filter(|contract| contract.is_typed()),
        };
        let id = bus.get().send_shown(
            py,
            name,
            payload,
            options,
            timeout,
            opening.metadata.clone(),
            |calling, payload, options| calling.open(py, payload, options, window),
        )?;
        Ok(Self {
            bus: bus.clone().unbind(),
            contract: contract.map(|contract| contract.clone_ref(py)),
            id,
            msg_type,
            item_timeout,
            state: AtomicU8::new(OPEN),
            has_end: AtomicBool::new(false),
            on_end: Mutex::default(),
        })
    }

    fn contract(&self) -> Option<&Contract> {
        self.contract.as_ref().map(Py::get)
    }

    /// Notes that the outcome was taken: the size of the last message, or the error that the stream raises.
    fn ended(&self, py: Python<'_>, outcome: Result<usize, &PyErr>) -> PyResult<()> {
        if self.state.compare_exchange(OPEN, ENDED, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Ok(());
        }
        let shown = self.bus.get().layers().take(self.id);
        let shown = match (shown, outcome) {
            (None, _) => Ok(()),
            (Some(shown), Ok(size)) => shown.replied(py, size),
            (Some(shown), Err(error)) => shown.failed(py, error),
        };
        self.give_bus_back(py)?;
        shown
    }

    /// Cancels the stream. False when it has ended before.
    fn cancel(&self, py: Python<'_>) -> PyResult<bool> {
        if self.state.swap(CLOSED, Ordering::Relaxed) != OPEN {
            return Ok(false);
        }
        self.bus.get().abandon_stream(self.id);
        let shown = self.bus.get().layers().take(self.id);
        let shown = shown.map_or(Ok(()), |shown| shown.given_up(py));
        self.give_bus_back(py)?;
        shown.map(|()| true)
    }

    fn give_bus_back(&self, py: Python<'_>) -> PyResult<()> {
        let on_end = self.on_end.lock().unwrap_or_else(PoisonError::into_inner).take();
        on_end.map_or(Ok(()), |on_end| on_end.call0(py).map(drop))
    }

    /// The exception for an error of an operation. `is_over` says that the stream has ended by the error.
    #[cold]
    fn failed(&self, py: Python<'_>, error: CallError, is_over: bool) -> PyErr {
        let error = match error {
            CallError::UnknownCorrelation(_) => BusClosedError::new_err(
                "this stream was given up with all calls of its bus, which has another user now",
            ),
            error => error.raise(),
        };
        if is_over && let Err(raised) = self.ended(py, Err(&error)) {
            return raised;
        }
        error
    }

    /// Ends the stream by an error reply.
    #[cold]
    fn refused(&self, py: Python<'_>, type_id: u32, payload: &Bound<'_, PyBytes>) -> PyErr {
        let error = raised(type_id, payload, self.contract());
        match self.ended(py, Err(&error)) {
            Ok(()) => error,
            Err(raised) => raised,
        }
    }

    /// The value of an item or of a reply.
    #[inline]
    fn value<'py>(&self, py: Python<'py>, bytes: &[u8], is_private: bool) -> PyResult<Bound<'py, PyAny>> {
        match self.contract() {
            Some(contract) => contract.value(py, bytes, is_private),
            None => Ok(PyBytes::new(py, bytes).into_any()),
        }
    }

    /// Sends an item, or END. False when the callee takes nothing more.
    fn send_or_end(&self, py: Python<'_>, item: Option<&Payload<'_, '_>>) -> PyResult<bool> {
        let mut forward = self.bus.get().forward()?;
        let calling = forward.calling_beside_layers()?;
        calling.requests.check()?;
        match calling.send_item(py, self.id, item, self.item_timeout) {
            Ok(sent) => Ok(sent),
            Err(error) => {
                let is_over = !calling.caller.is_stream(self.id);
                drop(forward);
                Err(self.failed(py, error, is_over))
            }
        }
    }

    /// Fails for an endpoint whose callee sends no items.
    fn check_streams(&self) -> PyResult<()> {
        match self.contract() {
            Some(contract) if !contract.streams() => Err(PyTypeError::new_err(format!(
                "the callee of {} sends one reply and no items; `finish()` takes the reply",
                contract.name()
            ))),
            _ => Ok(()),
        }
    }

    /// Fails for an endpoint whose callee takes no items.
    fn check_takes_items(&self) -> PyResult<()> {
        match self.contract() {
            Some(contract) if !contract.takes_items() => Err(PyTypeError::new_err(format!(
                "the callee of {} takes no items; iterate over its own",
                contract.name()
            ))),
            _ => Ok(()),
        }
    }

    /// Fails for a stream that this side has closed.
    fn check_open(&self) -> PyResult<()> {
        if self.state.load(Ordering::Relaxed) != CLOSED {
            return Ok(());
        }
        Err(InvalidArgumentError::new_err("this stream is closed; open another one"))
    }
}

/// The bytes of an item: a value of the contract's items, or any bytes-like object.
#[pyfunction]
#[pyo3(signature = (item, contract))]
pub(crate) fn item_bytes<'py>(
    item: &Bound<'py, PyAny>,
    contract: Option<&Bound<'py, Contract>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = item.py();
    let written = match contract {
        Some(contract) => contract.get().item(item)?,
        None => Encoded::Object(item.clone()),
    };
    match written.as_object() {
        Some(object) if object.is_exact_instance_of::<PyBytes>() => Ok(object.clone().cast_into()?),
        _ => Ok(PyBytes::new(py, written.payload()?.as_slice())),
    }
}

#[pymethods]
impl Stream {
    #[classmethod]
    fn __class_getitem__<'py>(cls: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        static ALIAS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        ALIAS.import(cls.py(), "types", "GenericAlias")?.call1((cls, item))
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.state.load(Ordering::Relaxed) != OPEN {
            return Ok(None);
        }
        self.check_streams()?;
        let mut forward = self.bus.get().forward()?;
        let calling = forward.calling_beside_layers()?;
        calling.replies.check()?;
        match calling.next_item(py, self.id, self.item_timeout) {
            Ok(StreamTaken::Item(ReplyTaken::InPlace(taking))) => {
                let value = match self.contract() {
                    Some(contract) => read_from(taking, |bytes| contract.value(py, bytes, false)),
                    None => copied_from(py, taking).map(Bound::into_any),
                };
                calling.release(taking.position());
                value.map(Some)
            }
            Ok(StreamTaken::Item(ReplyTaken::Kept(_, payload))) => {
                drop(forward);
                self.value(py, &payload, true).map(Some)
            }
            Ok(StreamTaken::End) => {
                // A stream that ends in a reply stays for `finish`.
                let is_over = !calling.caller.is_stream(self.id);
                drop(forward);
                if is_over {
                    self.ended(py, Ok(0))?;
                }
                Ok(None)
            }
            Ok(StreamTaken::Error(reply)) => {
                let (type_id, payload) = calling.own(py, reply)?;
                drop(forward);
                Err(self.refused(py, type_id, &payload))
            }
            Err(error) => {
                let is_over = !calling.caller.is_stream(self.id);
                drop(forward);
                Err(self.failed(py, error, is_over))
            }
        }
    }

    /// Send an item, waiting for credit and for room.
    ///
    /// Returns False when the callee has ended the stream, or is gone: the outcome, of `finish` or of the
    /// next item, says why.
    ///
    /// A callee of a two-way stream may wait until its own items are taken, and take none meanwhile: take them between
    /// sends, or limit the time of the stream.
    fn send(&self, item: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = item.py();
        self.check_takes_items()?;
        self.check_open()?;
        if self.has_end.load(Ordering::Relaxed) {
            return Err(InvalidArgumentError::new_err("no item follows `end()`; send it before"));
        }
        let written = match self.contract() {
            Some(contract) => contract.item(item)?,
            None => Encoded::Object(item.clone()),
        };
        let payload = written.payload()?;
        if self.state.load(Ordering::Relaxed) != OPEN {
            return Ok(false);
        }
        self.send_or_end(py, Some(&payload))
    }

    /// Tell the callee that no further item comes. A second call does nothing.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        self.check_takes_items()?;
        self.check_open()?;
        if self.state.load(Ordering::Relaxed) == OPEN {
            self.send_or_end(py, None)?;
        }
        self.has_end.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Tell the callee that no further item comes, and wait for its reply.
    ///
    /// For streams of this side's items alone. Items of the callee that were not taken are dropped.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(contract) = self.contract()
            && contract.streams()
        {
            let name = contract.name();
            return Err(PyTypeError::new_err(format!(
                "the callee of {name} sends items and no single reply; iterate over them"
            )));
        }
        self.end(py)?;
        if self.state.load(Ordering::Relaxed) != OPEN {
            return Err(InvalidArgumentError::new_err("this stream has ended, and its outcome was taken"));
        }
        let mut forward = self.bus.get().forward()?;
        let calling = forward.calling_beside_layers()?;
        calling.replies.check()?;
        let (type_id, payload) = match calling.take_last(py, self.id, Limit::after(self.item_timeout)) {
            Ok(reply) => calling.own(py, reply)?,
            Err(error) => {
                let is_over = !calling.caller.is_stream(self.id);
                drop(forward);
                return Err(self.failed(py, error, is_over));
            }
        };
        drop(forward);
        if tachyon::type_id::msg_type(type_id) == tachyon::type_id::MSG_TYPE_ERROR {
            return Err(self.refused(py, type_id, &payload));
        }
        self.ended(py, Ok(payload.as_bytes().len()))?;
        match self.contract() {
            Some(contract) => contract.value(py, payload.as_bytes(), true),
            None => Ok(payload.into_any()),
        }
    }

    /// Close the stream. One that has not ended is cancelled: its handler is told, and items under way are dropped.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.cancel(py).map(drop)
    }

    /// Whether the stream has ended, or was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.state.load(Ordering::Relaxed) != OPEN
    }

    /// Call a function once at the end of the stream.
    #[setter(__tachyon_on_end__)]
    fn set_on_end(&self, on_end: Py<PyAny>) {
        let before = self.on_end.lock().unwrap_or_else(PoisonError::into_inner).replace(on_end);
        drop(before);
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        slf.get().check_open()?;
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
        self.close(exc_type.py())
    }

    fn __repr__(&self) -> String {
        let state = if self.closed() { " closed" } else { "" };
        format!("<tachyon.Stream msg_type={}{state}>", self.msg_type)
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.bus)?;
        visit.call(&self.contract)?;
        // The collector visits next time an object that another thread has locked.
        match self.on_end.try_lock() {
            Ok(on_end) => visit.call(&*on_end),
            Err(_) => Ok(()),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if *self.state.get_mut() != OPEN {
            return;
        }
        interpreter_shutdown::try_attach(|py| {
            // The object may die while an exception is under way.
            let under_way = PyErr::take(py);
            let is_closed = self.bus.get().is_closed();
            let cancelled = self.cancel(py).and_then(|_| {
                if is_closed {
                    return Ok(());
                }
                let text = c"a tachyon.Stream was dropped before its end; use `with`, or close it";
                PyErr::warn(py, &py.get_type::<PyResourceWarning>(), text, 1)
            });
            if let Err(error) = cancelled {
                error.write_unraisable(py, None);
            }
            if let Some(error) = under_way {
                error.restore(py);
            }
        });
    }
}
