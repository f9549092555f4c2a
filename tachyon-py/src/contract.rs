//! What a typed endpoint's hints ask for: `tachyon._contract` reads them, here they are kept and obeyed.

use core::time::Duration;
use std::time::Instant;

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;
use tachyon::__binding::CallerAgreement;
use tachyon::{CallError, Caller, Description, EndpointDescription};

use crate::errors::Raise;
use crate::remote::remote_error;
use crate::rpc_bus::RpcBus;

/// The contract of one endpoint.
pub(crate) struct Contract {
    /// Gets a view of the request, and returns the bytes of the reply.
    serve: Py<PyAny>,
    encode: Py<PyAny>,
    decode: Py<PyAny>,
    description: EndpointDescription,
    key: usize,
    /// Whether the two sides can mean different things.
    is_typed: bool,
}

impl Contract {
    /// The contract in a function's hints; `None` when they ask for nothing but bytes.
    pub(crate) fn of(function: &Bound<'_, PyAny>, msg_type: u16) -> PyResult<Option<Self>> {
        static CONTRACT_OF: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = function.py();
        let found = CONTRACT_OF.import(py, "tachyon._contract", "contract_of")?.call1((function,))?;
        if found.is_none() {
            return Ok(None);
        }
        let get = |name| found.getattr(name).map(Bound::unbind);
        let json: String = found.call_method1(intern!(py, "describe"), (msg_type,))?.extract()?;
        let read = Description::from_json(&json).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        let description = read.endpoints.into_iter().next();
        let description = description.ok_or_else(|| PyRuntimeError::new_err("the contract describes no endpoint"))?;
        Ok(Some(Self {
            serve: get("serve")?,
            encode: get("encode")?,
            decode: get("decode")?,
            description,
            key: found.getattr(intern!(py, "key"))?.extract()?,
            is_typed: found.getattr(intern!(py, "typed"))?.extract()?,
        }))
    }

    /// What a dispatcher runs.
    pub(crate) fn serve(&self) -> &Py<PyAny> {
        &self.serve
    }

    pub(crate) fn description(&self) -> &EndpointDescription {
        &self.description
    }

    /// The bytes of a request.
    pub(crate) fn encode<'py>(
        &self,
        py: Python<'py>,
        value: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match value {
            Some(value) => self.encode.bind(py).call1((value,)),
            None => self.encode.bind(py).call0(),
        }
    }

    /// The value of a reply.
    pub(crate) fn decode<'py>(&self, py: Python<'py>, reply: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.decode.bind(py).call1((reply,))
    }

    /// Compares the endpoint with the callee's, before its first call on a connection; gives what is left of `timeout`.
    pub(crate) fn agree(&self, bus: &Bound<'_, RpcBus>, timeout: Option<Duration>) -> PyResult<Option<Duration>> {
        if !self.is_typed {
            return Ok(timeout);
        }
        if bus.get().forward()?.calling()?.caller.has_agreed(self.key) {
            return Ok(timeout);
        }
        let began = Instant::now();
        control(bus, |caller| CallerAgreement::agree_on(caller, &self.description, self.key, timeout))?;
        Ok(timeout.map(|timeout| timeout.saturating_sub(began.elapsed())))
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.serve)?;
        visit.call(&self.encode)?;
        visit.call(&self.decode)
    }
}

/// A function's docstring, tidied.
pub(crate) fn doc(function: &Bound<'_, PyAny>) -> PyResult<String> {
    static DOC_OF: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    DOC_OF.import(function.py(), "tachyon._contract", "doc_of")?.call1((function,))?.extract()
}

/// What the callee offers, as the JSON of a description.
pub(crate) fn describe(bus: &Bound<'_, RpcBus>, timeout: Option<Duration>) -> PyResult<String> {
    let description = control(bus, |caller| match timeout {
        Some(timeout) => caller.describe_timeout(timeout),
        None => caller.describe(),
    })?;
    Ok(description.to_json())
}

/// How many seconds the callee takes to say that it is there.
pub(crate) fn ping(bus: &Bound<'_, RpcBus>, timeout: Option<Duration>) -> PyResult<f64> {
    let took = control(bus, |caller| caller.ping(timeout.unwrap_or(Duration::MAX)))?;
    Ok(took.as_secs_f64())
}

/// Asks the callee, without the interpreter.
fn control<T: Send>(
    bus: &Bound<'_, RpcBus>,
    ask: impl FnOnce(&mut Caller) -> Result<T, CallError> + Send,
) -> PyResult<T> {
    let mut forward = bus.get().forward()?;
    let calling = forward.calling()?;
    calling.replies.check()?;
    calling.requests.check()?;
    match calling.waiting(bus.py(), None, |caller| Ok(ask(caller)))? {
        Ok(answer) => Ok(answer),
        Err(CallError::Remote(error)) => Err(remote_error(&error, PyBytes::new(bus.py(), &[]))),
        Err(error) => Err(error.raise()),
    }
}
