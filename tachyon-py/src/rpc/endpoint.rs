//! `RpcEndpoint`: a function bound to a message type and a contract.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;
use tachyon::describe::EndpointDescription;

use crate::memory::buffer_export::type_name;
use crate::rpc::contract::{self, Contract};
use crate::runtime::package::imported;

/// A function bound to a message type. Calling it runs it here; `call` runs it in the peer.
#[pyclass(module = "tachyon", frozen, dict, weakref)]
pub(crate) struct RpcEndpoint {
    pub(super) function: Py<PyAny>,
    pub(super) msg_type: u16,
    pub(super) idempotent: bool,
    /// Whether an event loop has to run the function.
    asynchronous: bool,
    /// The types of its hints; `None` for bytes in and out.
    pub(super) contract: Option<Py<Contract>>,
}

impl RpcEndpoint {
    /// Binds a function by its hints.
    pub(crate) fn bind<'py>(
        function: &Bound<'py, PyAny>,
        msg_type: u16,
        idempotent: bool,
        raises: Option<&Bound<'py, PyAny>>,
        codec: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Self>> {
        check_callable(function)?;
        Self::by_contract(function, msg_type, idempotent, Contract::of(function, msg_type, raises, codec)?)
    }

    /// Binds a function, and copies its name and docstring to the endpoint.
    pub(crate) fn by_contract<'py>(
        function: &Bound<'py, PyAny>,
        msg_type: u16,
        idempotent: bool,
        contract: Option<Py<Contract>>,
    ) -> PyResult<Bound<'py, Self>> {
        static UPDATE_WRAPPER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = function.py();
        check_callable(function)?;
        let asynchronous = is_async(function)?;
        let this = Self { function: function.clone().unbind(), msg_type, idempotent, asynchronous, contract };
        let endpoint = Bound::new(py, this)?;
        // A callable that is no function has no name of its own; its type's name serves as `__qualname__`.
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

    /// Whether items travel in one of the directions.
    pub(crate) fn is_stream(&self) -> bool {
        self.contract.as_ref().is_some_and(|contract| contract.get().is_stream())
    }

    /// The decorated function.
    pub(crate) fn function(&self) -> &Py<PyAny> {
        &self.function
    }

    pub(crate) fn contract(&self) -> Option<&Py<Contract>> {
        self.contract.as_ref()
    }

    /// The endpoint's description, with this name.
    pub(crate) fn describe(&self, py: Python<'_>, name: &str) -> PyResult<EndpointDescription> {
        let mut description = match &self.contract {
            Some(contract) => contract.get().description().clone(),
            None => EndpointDescription {
                doc: contract::doc(self.function.bind(py))?,
                ..EndpointDescription::bytes(self.msg_type, name)
            },
        };
        name.clone_into(&mut description.name);
        Ok(description)
    }

    /// The endpoint's `__name__`; `endpoint_2` for message type 2 if that is no identifier, as with a lambda.
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

fn check_callable(function: &Bound<'_, PyAny>) -> PyResult<()> {
    if function.is_callable() {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!("an endpoint's handler is a function, not {}", type_name(function)?)))
}

/// Whether an event loop has to run the function.
fn is_async(function: &Bound<'_, PyAny>) -> PyResult<bool> {
    imported!(function.py(), "tachyon._stream_hints", "is_async")?.call1((function,))?.is_truthy()
}
