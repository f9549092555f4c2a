//! `Comparison`: what an event loop asks a callee before the first request of a typed endpoint.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tachyon::__binding::Agreement;
use tachyon::CallError;

use crate::contract::described;
use crate::errors::Raise;
use crate::remote::error_reply;

/// The comparison of one endpoint with the callee's, question by question.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct Comparison {
    core: Mutex<Agreement>,
}

impl Comparison {
    pub(crate) fn core(&self) -> MutexGuard<'_, Agreement> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Comparison {
    /// Compare an endpoint, described in JSON, with the callee's.
    #[new]
    fn new(json: &str) -> PyResult<Self> {
        Ok(Self { core: Mutex::new(Agreement::on(described(json)?)) })
    }

    /// Take the answer to a question, `bytes` or the exception of an error reply; False when another question is due.
    /// Raises `LayoutMismatchError` when the two sides do not mean the same.
    fn take(&self, answer: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (type_id, payload) = match answer.cast::<PyBytes>() {
            Ok(payload) => (0, payload.clone()),
            Err(_) => error_reply(answer)?,
        };
        match self.core().answered(type_id, payload.as_bytes()) {
            Err(CallError::Remote(_)) => Err(PyErr::from_value(answer.clone())),
            outcome => outcome.map_err(Raise::raise),
        }
    }
}
