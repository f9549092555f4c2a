//! `Attempts`: which failed calls an event loop makes again, by the core's rule.

use std::sync::{Mutex, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use tachyon::__binding::Limit;
use tachyon::{CallError, ErrorKind};

use crate::errors::{PeerClosedError, PeerDeadError, RpcError};

/// The attempts at one call.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct Attempts {
    core: Mutex<tachyon::__binding::Attempts>,
}

#[pymethods]
impl Attempts {
    /// Begin with the attempts of a caller that may reconnect, at a call with `seconds` left.
    #[new]
    fn new(reconnects: bool, idempotent: bool, seconds: Option<f64>) -> PyResult<Self> {
        let limit = Limit::after(crate::args::timeout(seconds)?);
        Ok(Self { core: Mutex::new(limit.attempts(reconnects, idempotent)) })
    }

    /// Whether an earlier attempt may have begun.
    #[getter]
    fn may_have_begun(&self) -> bool {
        self.core.lock().unwrap_or_else(PoisonError::into_inner).may_have_begun()
    }

    /// Whether a call that ended in this error is made again, once the connection has ended. An error that ends the call
    /// says that it is not safe to make it again if an earlier attempt may have begun.
    fn again(&self, error: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = error.py();
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let again = if error.is_instance_of::<PeerClosedError>() || error.is_instance_of::<PeerDeadError>() {
            let is_safe: bool = error.getattr(intern!(py, "safe_to_retry"))?.extract()?;
            core.again::<()>(&CallError::PeerDead { sent: !is_safe })
        } else if error.is_instance_of::<RpcError>() {
            let kind: u16 = error.getattr(intern!(py, "kind"))?.extract()?;
            kind == ErrorKind::Stopping as u16 && core.again_elsewhere()
        } else {
            false
        };
        if !again && core.may_have_begun() {
            error.setattr(intern!(py, "safe_to_retry"), false)?;
        }
        Ok(again)
    }
}
