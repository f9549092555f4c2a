//! `Comparison`: what an event loop asks a callee before the first request of a typed endpoint.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use tachyon::CallError;

use crate::contract::described;
use crate::errors::Raise;

/// The comparison of one endpoint with the callee's, question by question.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct Comparison {
    core: Mutex<tachyon::__binding::Comparison>,
}

impl Comparison {
    pub(crate) fn core(&self) -> MutexGuard<'_, tachyon::__binding::Comparison> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Comparison {
    /// Compare an endpoint, described in JSON, with the callee's.
    #[new]
    fn new(json: &str) -> PyResult<Self> {
        Ok(Self { core: Mutex::new(tachyon::__binding::Comparison::new(described(json)?)) })
    }

    /// Take the answer to a question; False when another one is due. Raises `LayoutMismatchError` when the two sides do
    /// not mean the same.
    fn take(&self, answer: &[u8]) -> PyResult<bool> {
        self.core().take(answer).map_err(|error: CallError| error.raise())
    }
}
