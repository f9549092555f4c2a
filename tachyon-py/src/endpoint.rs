//! `RpcEndpoint` and the decorators that make one.

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyMemoryView;
use tachyon::__binding::ReplyTaken;

use crate::args::{self, Integer};
use crate::dispatcher::RpcDispatcher;
use crate::lent::{copied_from, type_name};
use crate::payload::Payload;
use crate::rpc_bus::{RpcBus, lend_reply};
use crate::rpc_rx_guard::RpcRxGuard;

/// A function bound to a message type. Calling it runs it here; `call` runs it in the peer.
#[pyclass(module = "tachyon", frozen, dict, weakref)]
pub(crate) struct RpcEndpoint {
    function: Py<PyAny>,
    msg_type: u16,
}

impl RpcEndpoint {
    /// Binds a function, and makes the endpoint look like it.
    pub(crate) fn bind<'py>(function: &Bound<'py, PyAny>, msg_type: u16) -> PyResult<Bound<'py, Self>> {
        static UPDATE_WRAPPER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = function.py();
        if !function.is_callable() {
            let name = type_name(function)?;
            return Err(PyTypeError::new_err(format!("an endpoint's handler is a function, not {name}")));
        }
        let endpoint = Bound::new(py, Self { function: function.clone().unbind(), msg_type })?;
        // Callables other than functions have no name of their own; their type's will do.
        endpoint.setattr(intern!(py, "__name__"), type_name(function)?)?;
        endpoint.setattr(intern!(py, "__qualname__"), type_name(function)?)?;
        UPDATE_WRAPPER.import(py, "functools", "update_wrapper")?.call1((&endpoint, function))?;
        Ok(endpoint)
    }

    pub(crate) fn type_number(&self) -> u16 {
        self.msg_type
    }

    pub(crate) fn function(&self) -> &Py<PyAny> {
        &self.function
    }

    pub(crate) fn name(slf: &Bound<'_, Self>) -> PyResult<String> {
        Ok(slf.getattr(intern!(slf.py(), "__name__"))?.str()?.to_string_lossy().into_owned())
    }
}

#[pymethods]
impl RpcEndpoint {
    #[new]
    #[pyo3(signature = (fn_, msg_type), text_signature = "(fn, msg_type)")]
    fn new<'py>(fn_: &Bound<'py, PyAny>, msg_type: Integer) -> PyResult<Bound<'py, Self>> {
        Self::bind(fn_, args::msg_type(msg_type)?)
    }

    /// The message type its requests and replies carry.
    #[getter]
    fn msg_type(&self) -> u16 {
        self.msg_type
    }

    fn __call__<'py>(&self, payload: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = payload.py();
        if payload.is_instance_of::<PyMemoryView>() {
            return self.function.bind(py).call1((payload,));
        }
        // What cannot be sent should not work here either.
        Payload::of(payload)?;
        self.function.bind(py).call1((PyMemoryView::from(payload)?,))
    }

    /// Call the peer's function.
    ///
    /// Returns a copy of its reply, or what `on_response` makes of it: that gets a memoryview of the reply in place,
    /// valid during the call only. An error reply raises `RpcError`, or `NoHandlerError` if the peer does not know
    /// the message type.
    #[pyo3(signature = (bus, payload, on_response=None, spin_threshold=None, *, timeout=None))]
    fn call<'py>(
        &self,
        bus: &Bound<'py, RpcBus>,
        payload: &Bound<'py, PyAny>,
        on_response: Option<&Bound<'py, PyAny>>,
        spin_threshold: Option<Integer>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = bus.py();
        let payload = Payload::of(payload)?;
        let spins = args::spins(spin_threshold)?;
        let timeout = args::timeout(timeout)?;
        let mut forward = bus.get().forward()?;
        let calling = forward.calling()?;
        let (correlation_id, reply) = calling.request(py, &payload, self.msg_type, spins, timeout)?;
        if let (ReplyTaken::InPlace(taking), None) = (&reply, on_response)
            && tachyon::msg_type(taking.type_id()) != tachyon::MSG_TYPE_ERROR
        {
            let copy = copied_from(py, *taking);
            calling.release(taking.position());
            return copy.map(Bound::into_any);
        }
        let guard = Bound::new(py, lend_reply(bus, calling, correlation_id, reply))?;
        drop(forward);
        if let Some(error) = guard.get().error(py)? {
            return Err(error);
        }
        match on_response {
            Some(function) => RpcRxGuard::lend_to(&guard, function),
            None => guard.get().to_bytes(py).map(Bound::into_any),
        }
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let name = slf.getattr(intern!(slf.py(), "__name__"))?.repr()?;
        Ok(format!("RpcEndpoint(msg_type={}, fn={name})", slf.get().msg_type))
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)
    }
}

/// Turns a function into an endpoint; what `tachyon_rpc(...)` and `dispatcher.handler(...)` return.
#[pyclass(module = "tachyon", frozen)]
pub(crate) struct EndpointDecorator {
    msg_type: u16,
    dispatcher: Option<Py<RpcDispatcher>>,
}

impl EndpointDecorator {
    pub(crate) fn registering(msg_type: u16, dispatcher: Py<RpcDispatcher>) -> Self {
        Self { msg_type, dispatcher: Some(dispatcher) }
    }
}

#[pymethods]
impl EndpointDecorator {
    fn __call__<'py>(&self, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, RpcEndpoint>> {
        let endpoint = RpcEndpoint::bind(function, self.msg_type)?;
        if let Some(dispatcher) = &self.dispatcher {
            dispatcher.get().add(&endpoint)?;
        }
        Ok(endpoint)
    }

    fn __repr__(&self) -> String {
        format!("tachyon_rpc(msg_type={})", self.msg_type)
    }
}

/// Bind a `memoryview -> bytes` function to a message type, 0 to 65534.
///
/// The function gets a memoryview of the request in place, valid during the call only, and returns any bytes-like
/// object. The endpoint this makes is still callable as the function was; its `call` method calls the peer's.
#[pyfunction]
#[pyo3(text_signature = "(msg_type)")]
pub(crate) fn tachyon_rpc(msg_type: Integer) -> PyResult<EndpointDecorator> {
    Ok(EndpointDecorator { msg_type: args::msg_type(msg_type)?, dispatcher: None })
}
