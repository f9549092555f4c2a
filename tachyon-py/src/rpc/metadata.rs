//! `Metadata`: short texts beside a request.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMappingProxy, PyString};
use tachyon::__binding::with_metadata;

use crate::errors::InvalidArgumentError;
use crate::memory::buffer_export::type_name;

/// The metadata of calls. An object never changes: a new entry makes a new object.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct Metadata(tachyon::Metadata);

impl Metadata {
    /// `before` with one entry more, or with another text for its key.
    pub(crate) fn with_entry(
        before: Option<&Self>,
        key: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<Py<Self>> {
        let mut entries = before.map(|before| before.0.clone()).unwrap_or_default();
        let inserted = entries.insert(text("a key", key)?, text("a value", value)?);
        inserted.map_err(|error| InvalidArgumentError::new_err(error.to_string()))?;
        Py::new(key.py(), Self(entries))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key)
    }

    /// The message of a request with this metadata.
    pub(crate) fn behind(&self, payload: &[u8]) -> Vec<u8> {
        with_metadata(payload, &self.0)
    }
}

fn text<'a>(place: &str, given: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    match given.cast::<PyString>() {
        Ok(text) => text.to_str(),
        Err(_) => Err(PyTypeError::new_err(format!("{place} of metadata is text, not {}", type_name(given)?))),
    }
}

/// Received metadata, as a read-only mapping.
pub(crate) fn mapping<'py>(py: Python<'py>, metadata: Option<&tachyon::Metadata>) -> PyResult<Bound<'py, PyAny>> {
    let entries = PyDict::new(py);
    for (key, value) in metadata.into_iter().flat_map(tachyon::Metadata::iter) {
        entries.set_item(key, value)?;
    }
    Ok(PyMappingProxy::new(py, entries.as_mapping()).into_any())
}

#[pymethods]
impl Metadata {
    /// Make metadata of one entry, behind those of other metadata.
    #[new]
    #[pyo3(signature = (key, value, before=None))]
    fn new(key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>, before: Option<&Bound<'_, Self>>) -> PyResult<Py<Self>> {
        Self::with_entry(before.map(Bound::get), key, value)
    }

    /// The entries, as a read-only mapping.
    fn mapping<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        mapping(py, Some(&self.0))
    }

    /// The message of a request with this metadata.
    fn message<'py>(&self, payload: &Bound<'py, PyBytes>) -> Bound<'py, PyBytes> {
        PyBytes::new(payload.py(), &self.behind(payload.as_bytes()))
    }
}
