//! The layers of a bus that calls: kept here, run by `tachyon.layers`.

use std::collections::HashMap;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::rpc::metadata::Metadata;
use crate::runtime::package::imported;

/// The layers of a bus, and its calls by `start` whose outcome they have not seen.
#[derive(Default)]
pub(crate) struct Layers {
    all: Option<Py<PyTuple>>,
    in_flight: HashMap<u64, ShownCall>,
}

/// A call that the layers have seen: a `ShownCall` of `tachyon.layers`.
pub(crate) struct ShownCall(Py<PyAny>);

/// A call for layers.
pub(crate) struct Shown<'a, 'py> {
    pub(crate) msg_type: u16,
    /// The endpoint's name; empty for a call by number.
    pub(crate) name: &'a str,
    /// Bytes of the request.
    pub(crate) size: usize,
    /// Seconds that the call may take.
    pub(crate) timeout: Option<f64>,
    pub(crate) metadata: Option<&'a Bound<'py, Metadata>>,
}

impl Layers {
    /// The layers, if there are any.
    pub(crate) fn get(&self, py: Python<'_>) -> Option<Py<PyTuple>> {
        self.all.as_ref().map(|all| all.clone_ref(py))
    }

    /// Replaces the layers, and returns what is to be dropped without the lock.
    pub(crate) fn set(&mut self, all: Option<Py<PyTuple>>) -> Option<Py<PyTuple>> {
        core::mem::replace(&mut self.all, all)
    }

    /// Notes that a call was sent; an earlier one with its number, of a connection that ended, is returned.
    pub(crate) fn sent(&mut self, correlation_id: u64, call: ShownCall) -> Option<ShownCall> {
        self.in_flight.insert(correlation_id, call)
    }

    /// Takes a call whose outcome is known.
    pub(crate) fn take(&mut self, correlation_id: u64) -> Option<ShownCall> {
        self.in_flight.remove(&correlation_id)
    }

    /// Takes all calls.
    pub(crate) fn take_all(&mut self) -> HashMap<u64, ShownCall> {
        core::mem::take(&mut self.in_flight)
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.all)?;
        self.in_flight.values().try_for_each(|call| visit.call(&call.0))
    }
}

impl ShownCall {
    /// Shows a call to layers before it is sent.
    ///
    /// # Errors
    /// The exception of a layer that refuses the call.
    pub(crate) fn new(py: Python<'_>, layers: &Py<PyTuple>, shown: &Shown<'_, '_>) -> PyResult<Self> {
        let Shown { msg_type, name, size, timeout, metadata } = *shown;
        let call = imported!(py, "tachyon.layers", "ShownCall")?;
        Ok(Self(call.call1((layers, msg_type, name, size, timeout, metadata))?.unbind()))
    }

    /// The metadata of the call, with that of the layers.
    pub(crate) fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, Metadata>>> {
        let metadata = self.0.bind(py).getattr(intern!(py, "sent"))?;
        Ok(if metadata.is_none() { None } else { Some(metadata.cast_into()?) })
    }

    /// Shows the layers that a reply of `size` bytes came.
    pub(crate) fn replied(&self, py: Python<'_>, size: usize) -> PyResult<()> {
        self.0.bind(py).call_method1(intern!(py, "replied"), (size,)).map(drop)
    }

    /// Shows the layers that the call failed, or was given up.
    pub(crate) fn failed(&self, py: Python<'_>, error: &PyErr) -> PyResult<()> {
        self.0.bind(py).call_method1(intern!(py, "failed"), (error.value(py),)).map(drop)
    }

    /// Shows the layers that the call was given up.
    pub(crate) fn given_up(&self, py: Python<'_>) -> PyResult<()> {
        self.0.bind(py).call_method0(intern!(py, "given_up")).map(drop)
    }
}
