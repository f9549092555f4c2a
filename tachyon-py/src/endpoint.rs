//! `RpcEndpoint` and the decorators that make one.

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyMemoryView;
use tachyon::__binding::ReplyTaken;

use crate::args::{self, Integer};
use crate::calling::{Asking, RESENDS};
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
    idempotent: bool,
    /// Whether the function is a coroutine function.
    asynchronous: bool,
}

impl RpcEndpoint {
    /// Binds a function, and makes the endpoint look like it.
    pub(crate) fn bind<'py>(
        function: &Bound<'py, PyAny>,
        msg_type: u16,
        idempotent: bool,
    ) -> PyResult<Bound<'py, Self>> {
        static UPDATE_WRAPPER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = function.py();
        if !function.is_callable() {
            let name = type_name(function)?;
            return Err(PyTypeError::new_err(format!("an endpoint's handler is a function, not {name}")));
        }
        let asynchronous = is_async(function)?;
        let endpoint =
            Bound::new(py, Self { function: function.clone().unbind(), msg_type, idempotent, asynchronous })?;
        // Callables other than functions have no name of their own; their type's will do.
        endpoint.setattr(intern!(py, "__name__"), type_name(function)?)?;
        endpoint.setattr(intern!(py, "__qualname__"), type_name(function)?)?;
        UPDATE_WRAPPER.import(py, "functools", "update_wrapper")?.call1((&endpoint, function))?;
        Ok(endpoint)
    }

    pub(crate) fn type_number(&self) -> u16 {
        self.msg_type
    }

    pub(crate) fn is_async(&self) -> bool {
        self.asynchronous
    }

    pub(crate) fn function(&self) -> &Py<PyAny> {
        &self.function
    }

    pub(crate) fn name(slf: &Bound<'_, Self>) -> PyResult<String> {
        Ok(slf.getattr(intern!(slf.py(), "__name__"))?.str()?.to_string_lossy().into_owned())
    }
}

/// Whether calling a function only makes a coroutine, which somebody else has to run.
fn is_async(function: &Bound<'_, PyAny>) -> PyResult<bool> {
    static IS_COROUTINE_FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = function.py();
    let asks = IS_COROUTINE_FUNCTION.import(py, "inspect", "iscoroutinefunction")?;
    // Of an object with an `async def __call__`, that method is what runs.
    Ok(asks.call1((function,))?.is_truthy()?
        || asks.call1((function.get_type().getattr(intern!(py, "__call__"))?,))?.is_truthy()?)
}

#[pymethods]
impl RpcEndpoint {
    #[new]
    #[pyo3(signature = (fn_, msg_type, *, idempotent=false), text_signature = "(fn, msg_type, *, idempotent=False)")]
    fn new<'py>(fn_: &Bound<'py, PyAny>, msg_type: Integer, idempotent: bool) -> PyResult<Bound<'py, Self>> {
        Self::bind(fn_, args::msg_type(msg_type)?, idempotent)
    }

    /// Whether a request may be handled twice where it was made once, and so be sent again to the next peer when the
    /// first is lost with it.
    #[getter]
    fn idempotent(&self) -> bool {
        self.idempotent
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
    /// the message type. The `timeout` travels with the request: its handler sees it in `current_call()`.
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
        let limit = args::limit(timeout)?;
        let asking = Asking { msg_type: self.msg_type, spins, limit, idempotent: self.idempotent };
        let mut forward = bus.get().forward()?;
        let calling = forward.calling()?;
        let (correlation_id, reply) = calling.request(py, &payload, &asking)?;
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

    /// Call the peer's function from a coroutine, and return a copy of its reply.
    ///
    /// Any number of calls may be under way on one bus, which belongs to the running event loop from the first one on;
    /// calls wait their turn while the ring is full. A call that is cancelled or times out is forgotten: the bus stays
    /// usable, and its late reply is dropped. Errors are those of `call`.
    #[pyo3(signature = (bus, payload, *, timeout=None))]
    fn acall<'py>(
        slf: &Bound<'py, Self>,
        bus: &Bound<'py, RpcBus>,
        payload: &Bound<'py, PyAny>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        static ACALL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let acall = ACALL.import(slf.py(), "tachyon._calls", "acall")?;
        let Self { msg_type, idempotent, .. } = slf.get();
        acall.call1((bus, payload, msg_type, if *idempotent { RESENDS } else { 0 }, timeout))
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
    idempotent: bool,
    dispatcher: Option<Py<RpcDispatcher>>,
}

impl EndpointDecorator {
    pub(crate) fn registering(msg_type: u16, idempotent: bool, dispatcher: Py<RpcDispatcher>) -> Self {
        Self { msg_type, idempotent, dispatcher: Some(dispatcher) }
    }
}

#[pymethods]
impl EndpointDecorator {
    fn __call__<'py>(&self, function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, RpcEndpoint>> {
        let endpoint = RpcEndpoint::bind(function, self.msg_type, self.idempotent)?;
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
/// object. An `async def` function gets a memoryview of a copy, and is served by `serve_async`. The endpoint this makes
/// is still callable as the function was; its `call` and `acall` methods call the peer's. An endpoint is `idempotent`
/// if a request that was lost with its peer may be sent again to the next one, by a bus that reconnects.
#[pyfunction]
#[pyo3(signature = (msg_type, *, idempotent=false))]
pub(crate) fn tachyon_rpc(msg_type: Integer, idempotent: bool) -> PyResult<EndpointDecorator> {
    Ok(EndpointDecorator { msg_type: args::msg_type(msg_type)?, idempotent, dispatcher: None })
}
