//! `RpcEndpoint` and the decorators that make one.

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyMemoryView, PyString, PyType};
use tachyon::__binding::{Limit, ReplyTaken};
use tachyon::{EndpointDescription, PollingMode};

use crate::args::{self, Integer};
use crate::calling::{Asking, RESENDS};
use crate::contract::{self, Contract};
use crate::dispatcher::RpcDispatcher;
use crate::handler::Takes;
use crate::lent::{copied_from, type_name};
use crate::package::imported;
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
    /// What its hints ask for, if that is more than bytes.
    contract: Option<Contract>,
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
        let contract = Contract::of(function, msg_type, asynchronous)?;
        let this = Self { function: function.clone().unbind(), msg_type, idempotent, asynchronous, contract };
        let endpoint = Bound::new(py, this)?;
        // Callables other than functions have no name of their own; in `__qualname__` their type's will do.
        endpoint.setattr(intern!(py, "__name__"), "")?;
        endpoint.setattr(intern!(py, "__qualname__"), type_name(function)?)?;
        UPDATE_WRAPPER.import(py, "functools", "update_wrapper")?.call1((&endpoint, function))?;
        endpoint.setattr(intern!(py, "__name__"), Self::name(&endpoint)?)?;
        Ok(endpoint)
    }

    pub(crate) fn type_number(&self) -> u16 {
        self.msg_type
    }

    pub(crate) fn is_async(&self) -> bool {
        self.asynchronous
    }

    /// What gets the request's bytes, as it [`takes`](Self::takes) them, and returns those of the reply.
    pub(crate) fn handler(&self) -> &Py<PyAny> {
        self.contract.as_ref().map_or(&self.function, Contract::serve)
    }

    /// How the handler takes a request's bytes.
    pub(crate) fn takes(&self) -> Takes {
        self.contract.as_ref().map_or(Takes::View, Contract::takes)
    }

    /// What it says about itself, under the name it goes by.
    pub(crate) fn describe(&self, py: Python<'_>, name: &str) -> PyResult<EndpointDescription> {
        let mut description = match &self.contract {
            Some(contract) => contract.description().clone(),
            None => EndpointDescription {
                doc: contract::doc(self.function.bind(py))?,
                ..EndpointDescription::bytes(self.msg_type, name)
            },
        };
        name.clone_into(&mut description.name);
        Ok(description)
    }

    /// Its `__name__`, or `endpoint_2` for message type 2 if that is no identifier, as with a lambda.
    pub(crate) fn name(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        if let Ok(name) = slf.getattr(intern!(py, "__name__"))?.cast::<PyString>()
            && name.call_method0(intern!(py, "isidentifier"))?.is_truthy()?
        {
            return Ok(name.to_string_lossy().into_owned());
        }
        Ok(format!("endpoint_{}", slf.get().msg_type))
    }
}

/// A call of bytes without any.
fn no_payload() -> PyErr {
    PyTypeError::new_err("this endpoint takes bytes: endpoint.call(bus, payload)")
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

impl RpcEndpoint {
    /// Sends bytes, and gives those of the reply or what `on_response` makes of them.
    #[inline]
    fn exchange<'py>(
        &self,
        bus: &Bound<'py, RpcBus>,
        payload: &Bound<'py, PyAny>,
        on_response: Option<&Bound<'py, PyAny>>,
        spins: Option<PollingMode>,
        limit: Limit,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = bus.py();
        let payload = Payload::of(payload)?;
        let contract = self.contract.as_ref().filter(|contract| contract.is_typed());
        let asking = Asking { msg_type: self.msg_type, spins, limit, idempotent: self.idempotent, contract };
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
}

#[pymethods]
impl RpcEndpoint {
    #[new]
    #[pyo3(signature = (fn_, msg_type, *, idempotent=false), text_signature = "(fn, msg_type, *, idempotent=False)")]
    fn new<'py>(fn_: &Bound<'py, PyAny>, msg_type: Integer, idempotent: bool) -> PyResult<Bound<'py, Self>> {
        Self::bind(fn_, args::msg_type(msg_type)?, idempotent)
    }

    #[classmethod]
    fn __class_getitem__<'py>(cls: &Bound<'py, PyType>, item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        static ALIAS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        ALIAS.import(cls.py(), "types", "GenericAlias")?.call1((cls, item))
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

    #[pyo3(signature = (payload=None))]
    fn __call__<'py>(&self, py: Python<'py>, payload: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let function = self.function.bind(py);
        let payload = match (payload, &self.contract) {
            (Some(payload), None) => payload,
            (Some(payload), Some(_)) => return function.call1((payload,)),
            (None, _) => return function.call0(),
        };
        if payload.is_instance_of::<PyMemoryView>() {
            return function.call1((payload,));
        }
        // What cannot be sent should not work here either.
        Payload::of(payload)?;
        function.call1((PyMemoryView::from(payload)?,))
    }

    /// Call the peer's function.
    ///
    /// Returns a copy of its reply, or what `on_response` makes of it: that gets a memoryview of the reply in place,
    /// valid during the call only. An error reply raises `RpcError`, or `NoHandlerError` if the peer does not know
    /// the message type. The `timeout` travels with the request: its handler sees it in `current_call()`.
    ///
    /// A typed endpoint takes and returns what its function does. Its first call on a connection asks the peer what it means
    /// by the endpoint; if that differs, this raises `LayoutMismatchError` and calls nothing.
    #[pyo3(signature = (bus, payload=None, on_response=None, spin_threshold=None, *, timeout=None))]
    fn call<'py>(
        &self,
        bus: &Bound<'py, RpcBus>,
        payload: Option<&Bound<'py, PyAny>>,
        on_response: Option<&Bound<'py, PyAny>>,
        spin_threshold: Option<Integer>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let spins = args::spins(spin_threshold)?;
        let limit = args::limit(timeout)?;
        let Some(contract) = &self.contract else {
            let Some(payload) = payload else {
                return Err(no_payload());
            };
            return self.exchange(bus, payload, on_response, spins, limit);
        };
        let Some(request) = contract.encode(bus.py(), payload)? else {
            return Err(no_payload());
        };
        let reply = self.exchange(bus, &request, on_response, spins, limit)?;
        if on_response.is_some() { Ok(reply) } else { contract.decode(bus.py(), reply) }
    }

    /// Call the peer's function from a coroutine, and return a copy of its reply.
    ///
    /// Any number of calls may be under way on one bus, which belongs to the running event loop from the first one on;
    /// calls wait their turn while the ring is full. A call that is cancelled or times out is forgotten: the bus stays
    /// usable, and its late reply is dropped. Errors are those of `call`.
    #[pyo3(signature = (bus, payload=None, *, timeout=None))]
    fn acall<'py>(
        slf: &Bound<'py, Self>,
        bus: &Bound<'py, RpcBus>,
        payload: Option<&Bound<'py, PyAny>>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Self { msg_type, idempotent, contract, .. } = slf.get();
        let resends = if *idempotent { RESENDS } else { 0 };
        let contract = contract.as_ref().map(Contract::object);
        if contract.is_none() && payload.is_none() {
            return Err(no_payload());
        }
        let acall = match contract {
            None => imported!(slf.py(), "tachyon._calls", "exchange")?,
            Some(_) => imported!(slf.py(), "tachyon._calls", "acall_typed")?,
        };
        acall.call1((bus, payload, msg_type, resends, timeout, contract))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let name = slf.getattr(intern!(slf.py(), "__name__"))?.repr()?;
        Ok(format!("RpcEndpoint(msg_type={}, fn={name})", slf.get().msg_type))
    }

    /// Pickles as functions do, by the name that it is imported by; copies of it are itself.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.getattr(intern!(slf.py(), "__qualname__"))
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)?;
        self.contract.as_ref().map_or(Ok(()), |contract| contract.traverse(&visit))
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

/// Bind a function to a message type, 0 to 65534.
///
/// Its type hints say what travels. Without hints the function gets a memoryview of the request in place, valid during
/// the call only, and returns any bytes-like object. A `Struct`, an `Array`, a number or a numpy array as the hint of
/// the parameter, or of the result, is what it gets, or returns, instead; a function without a parameter takes an empty
/// request. A request that is no such thing never reaches the function. An `async def` function gets a copy of the
/// request, and is served by `serve_async`.
///
/// The function's name is the endpoint's. A lambda, a `functools.partial` or another callable whose name is no identifier
/// becomes `endpoint_2` for message type 2. A function that no request can be passed to is refused: one with `self`,
/// `*args`, keyword-only parameters, or a generator.
///
/// The endpoint this makes is still callable as the function was; its `call` and `acall` methods call the peer's. An
/// endpoint is `idempotent` if a request that was lost with its peer may be sent again to the next one, by a bus that
/// reconnects.
#[pyfunction]
#[pyo3(signature = (msg_type, *, idempotent=false))]
pub(crate) fn tachyon_rpc(msg_type: Integer, idempotent: bool) -> PyResult<EndpointDecorator> {
    Ok(EndpointDecorator { msg_type: args::msg_type(msg_type)?, idempotent, dispatcher: None })
}
