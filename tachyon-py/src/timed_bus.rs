//! `TimedBus`: a bus with a limit for each call on it.

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::lent::type_name;
use crate::rpc_bus::RpcBus;

/// A bus from `RpcBus.within`: calls on it have so many seconds each.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct TimedBus {
    bus: Py<RpcBus>,
    seconds: f64,
}

impl TimedBus {
    pub(crate) fn new(bus: Py<RpcBus>, seconds: f64) -> Self {
        Self { bus, seconds }
    }

    /// The bus to call on, and the seconds that a call has.
    #[inline]
    pub(crate) fn open<'py>(bus: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, RpcBus>, Option<f64>)> {
        if let Ok(bus) = bus.cast::<RpcBus>() {
            return Ok((bus.clone(), None));
        }
        if let Ok(timed) = bus.cast::<Self>() {
            let Self { bus, seconds } = timed.get();
            return Ok((bus.bind(timed.py()).clone(), Some(*seconds)));
        }
        Err(PyTypeError::new_err(format!("calls are made on an RpcBus, not on {}", type_name(bus)?)))
    }
}

#[pymethods]
impl TimedBus {
    fn __repr__(&self) -> String {
        format!("<tachyon.RpcBus within {} seconds>", self.seconds)
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.bus)
    }
}
