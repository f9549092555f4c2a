//! Rust source from a description.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tachyon::{Description, codegen};

/// Write the Rust that calls, or serves, what a description in JSON tells of.
#[pyfunction]
#[pyo3(text_signature = "(json, /)")]
pub(crate) fn codegen_rust(json: &str) -> PyResult<String> {
    let description = Description::from_json(json).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(codegen::rust(&description))
}
