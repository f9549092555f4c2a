//! `RustEndpoint`: an endpoint that an extension in Rust exports.
#![allow(unsafe_code, reason = "adopts the export of another copy of the core")]

use core::ffi::CStr;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyCapsuleMethods};
use tachyon::__binding::{NativeError, adopt};
use tachyon::describe::EndpointDescription;
use tachyon::dispatch::OwnedHandler;

use crate::errors::ExtensionError;

/// The name of the capsule of an endpoint.
const CAPSULE: &CStr = c"tachyon.RustEndpoint";

/// An endpoint that an extension in Rust exported with `tachyon::python::export`.
///
/// `RpcDispatcher.register` puts it into the same table as endpoints in Python. It runs on the serving thread, without
/// the GIL.
#[pyclass(module = "tachyon", frozen, dict, weakref)]
pub(crate) struct RustEndpoint {
    capsule: Py<PyCapsule>,
    msg_type: u16,
}

impl RustEndpoint {
    /// The description and the handler for a dispatch table. The handler keeps the endpoint alive.
    pub(crate) fn entry(&self, py: Python<'_>) -> PyResult<(EndpointDescription, OwnedHandler<()>)> {
        entry(self.capsule.bind(py))
    }
}

fn entry(capsule: &Bound<'_, PyCapsule>) -> PyResult<(EndpointDescription, OwnedHandler<()>)> {
    let endpoint = capsule.pointer_checked(Some(CAPSULE)).map_err(|_| refused(&NativeError::Foreign))?;
    // SAFETY: only `tachyon::python` gives a capsule this name. The capsule is kept, and owns the memory that it points
    // to.
    unsafe { adopt(endpoint, capsule.clone().unbind()) }.map_err(|error| refused(&error))
}

#[cold]
fn refused(error: &NativeError) -> PyErr {
    ExtensionError::new_err(error.to_string())
}

#[pymethods]
impl RustEndpoint {
    #[new]
    #[pyo3(signature = (capsule, /))]
    fn new<'py>(capsule: &Bound<'py, PyCapsule>) -> PyResult<Bound<'py, Self>> {
        let py = capsule.py();
        let (description, _) = entry(capsule)?;
        let endpoint = Bound::new(py, Self { capsule: capsule.clone().unbind(), msg_type: description.msg_type })?;
        endpoint.setattr(intern!(py, "__name__"), &description.name)?;
        endpoint.setattr(intern!(py, "__qualname__"), &description.name)?;
        endpoint.setattr(intern!(py, "__doc__"), Some(&description.doc).filter(|doc| !doc.is_empty()))?;
        Ok(endpoint)
    }

    /// The message type of its requests and replies.
    #[getter]
    fn msg_type(&self) -> u16 {
        self.msg_type
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let name = slf.getattr(intern!(slf.py(), "__name__"))?.repr()?;
        Ok(format!("RustEndpoint(msg_type={}, fn={name})", slf.get().msg_type))
    }
}
