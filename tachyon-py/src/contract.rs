//! What a typed endpoint's hints ask for: `tachyon._contract` reads them, here they are kept and obeyed.

use core::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use tachyon::__binding::{CallerAgreement, Limit, RequestRoom};
use tachyon::{CallError, Caller, Description, EndpointDescription};

use crate::errors::Raise;
use crate::handler::Takes;
use crate::invoke::call_one;
use crate::package::imported;
use crate::rpc_bus::RpcBus;

/// The contract of one endpoint.
pub(crate) struct Contract {
    /// As `tachyon._contract` made it.
    object: Py<PyAny>,
    /// Gets the bytes of the request, as it `takes` them, and returns those of the reply.
    serve: Py<PyAny>,
    takes: Takes,
    /// What makes the bytes of a request; none where they are the value.
    encode: Option<Py<PyAny>>,
    /// What makes a value of a reply's bytes; none where they are the value.
    decode: Option<Py<PyAny>>,
    description: EndpointDescription,
    key: usize,
    /// Whether the two sides can mean different things.
    is_typed: bool,
}

impl Contract {
    /// The contract in a function's hints; `None` when they ask for nothing but bytes.
    pub(crate) fn of(function: &Bound<'_, PyAny>, msg_type: u16, is_async: bool) -> PyResult<Option<Self>> {
        let py = function.py();
        let found = imported!(py, "tachyon._contract", "contract_of")?.call1((function, is_async))?;
        if found.is_none() {
            return Ok(None);
        }
        let is = |name| found.getattr(name)?.extract::<bool>();
        let json: String = found.call_method1(intern!(py, "describe"), (msg_type,))?.extract()?;
        Ok(Some(Self {
            serve: found.getattr(intern!(py, "serve"))?.unbind(),
            takes: if is("copies")? { Takes::Bytes } else { Takes::View },
            encode: found.getattr(intern!(py, "encoder"))?.extract()?,
            decode: found.getattr(intern!(py, "decoder"))?.extract()?,
            description: described(&json)?,
            key: found.getattr(intern!(py, "key"))?.extract()?,
            is_typed: is("typed")?,
            object: found.unbind(),
        }))
    }

    pub(crate) fn object(&self) -> &Py<PyAny> {
        &self.object
    }

    /// What a dispatcher runs.
    pub(crate) fn serve(&self) -> &Py<PyAny> {
        &self.serve
    }

    /// How that takes a request's bytes.
    pub(crate) fn takes(&self) -> Takes {
        self.takes
    }

    pub(crate) fn description(&self) -> &EndpointDescription {
        &self.description
    }

    /// Whether the two sides can mean different things by it.
    pub(crate) fn is_typed(&self) -> bool {
        self.is_typed
    }

    /// The bytes of a request; none if they should have been given and were not.
    pub(crate) fn encode<'py>(
        &self,
        py: Python<'py>,
        value: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match (&self.encode, value) {
            (None, value) => Ok(value.cloned()),
            (Some(encode), Some(value)) => call_one(encode.bind(py), value).map(Some),
            (Some(encode), None) => encode.bind(py).call0().map(Some),
        }
    }

    /// The value of a reply.
    pub(crate) fn decode<'py>(&self, py: Python<'py>, reply: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match &self.decode {
            None => Ok(reply),
            Some(decode) => call_one(decode.bind(py), &reply),
        }
    }

    /// Whether the callee at the other end of the present connection is known to mean the same.
    #[inline]
    pub(crate) fn is_agreed(&self, caller: &mut Caller) -> bool {
        caller.has_agreed(self.key)
    }

    /// Takes room for a request of `size` bytes, once the callee is known to mean the same.
    pub(crate) fn wait_to_call(
        &self,
        caller: &mut Caller,
        size: usize,
        limit: Limit,
    ) -> Result<RequestRoom, CallError> {
        caller.wait_to_call_agreed(&self.description, self.key, size, limit)
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.object)?;
        visit.call(&self.serve)?;
        visit.call(&self.encode)?;
        visit.call(&self.decode)
    }
}

/// The one endpoint that a contract describes.
pub(crate) fn described(json: &str) -> PyResult<EndpointDescription> {
    let read = Description::from_json(json).map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
    let endpoint = read.endpoints.into_iter().next();
    endpoint.ok_or_else(|| PyRuntimeError::new_err("the contract describes no endpoint"))
}

/// A function's docstring, tidied.
pub(crate) fn doc(function: &Bound<'_, PyAny>) -> PyResult<String> {
    imported!(function.py(), "tachyon._contract", "doc_of")?.call1((function,))?.extract()
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
    calling.waiting(bus.py(), None, ask).map_err(Raise::raise)
}
