//! `Message`, an owned message, and the parts of a type id.

use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::args::{self, Integer};

/// A received message that owns its bytes. Compares by value, pickles, and matches positionally.
#[pyclass(module = "tachyon", frozen)]
pub(crate) struct Message {
    /// The `type_id` that the sender passed.
    #[pyo3(get)]
    type_id: u32,
    /// Length of the payload in bytes.
    #[pyo3(get)]
    size: usize,
    /// The payload.
    #[pyo3(get)]
    data: Py<PyAny>,
}

#[pymethods]
impl Message {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str, &'static str) {
        ("type_id", "size", "data")
    }

    #[new]
    pub(crate) fn new(type_id: u32, size: usize, data: Py<PyAny>) -> Self {
        Self { type_id, size, data }
    }

    fn __richcmp__<'py>(&self, other: &Bound<'py, PyAny>, op: CompareOp) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        let Ok(other) = other.cast::<Self>() else { return Ok(py.NotImplemented().into_bound(py)) };
        if !matches!(op, CompareOp::Eq | CompareOp::Ne) {
            return Ok(py.NotImplemented().into_bound(py));
        }
        let other = other.get();
        let same =
            self.type_id == other.type_id && self.size == other.size && self.data.bind(py).eq(other.data.bind(py))?;
        let answer = same == matches!(op, CompareOp::Eq);
        Ok(answer.into_pyobject(py)?.to_owned().into_any())
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        self.parts(py)?.hash()
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
        Ok((py.get_type::<Self>(), self.parts(py)?))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let data = self.data.bind(py).repr()?;
        Ok(format!("Message(type_id={}, size={}, data={data})", self.type_id, self.size))
    }
}

impl Message {
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        (self.type_id, self.size, &self.data).into_pyobject(py)
    }
}

/// Join a route (upper 16 bits) and a message type (lower 16 bits); routes from 1 up are reserved for RPC.
#[pyfunction]
pub(crate) fn make_type_id(route: Integer, msg_type: Integer) -> PyResult<u32> {
    Ok(tachyon::type_id::make_type_id(args::sixteen_bits("route", route)?, args::sixteen_bits("msg_type", msg_type)?))
}

/// Return the route of a type id: its upper 16 bits.
#[pyfunction]
pub(crate) fn route_id(type_id: Integer) -> PyResult<u16> {
    Ok(tachyon::type_id::route_id(args::type_id(type_id)?))
}

/// Return the message type of a type id: its lower 16 bits.
#[pyfunction]
pub(crate) fn msg_type(type_id: Integer) -> PyResult<u16> {
    Ok(tachyon::type_id::msg_type(args::type_id(type_id)?))
}
