//! Descriptions as text: read by the core's rules, and translated to Rust source.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tachyon::codegen;
use tachyon::describe::Description;

/// Write the Rust code that calls or serves the endpoints of a description in JSON.
#[pyfunction]
#[pyo3(text_signature = "(json, /)")]
pub(crate) fn codegen_rust(json: &str) -> PyResult<String> {
    Ok(codegen::rust(&read(json)?))
}

/// Check a description in JSON, of any known schema, and give it in the schema of this version.
#[pyfunction]
#[pyo3(text_signature = "(json, /)")]
pub(crate) fn read_description(json: &str) -> PyResult<String> {
    Ok(read(json)?.to_json())
}

fn read(json: &str) -> PyResult<Description> {
    Description::from_json(json).map_err(|error| PyValueError::new_err(error.to_string()))
}
