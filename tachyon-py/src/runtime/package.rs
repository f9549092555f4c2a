//! The package's own modules, looked up whenever one is used.
//!
//! A test runner or a notebook may import the package anew. The extension stays the same, and from then on has to use
//! the new classes and functions: callers catch the new `TimedOutError`, and new Structs are made by the new `Struct`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

/// The attribute `name` of one of the package's modules. It costs a look into `sys.modules`.
pub(crate) fn get<'py>(
    py: Python<'py>,
    module: &Bound<'py, PyString>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let modules = MODULES.import(py, "sys", "modules")?;
    match modules.get_item(module)? {
        Some(found) => found.getattr(name),
        None => py.import(module)?.getattr(name),
    }
}

/// An attribute of one of the package's modules, both given as literals.
macro_rules! imported {
    ($py:expr, $module:literal, $name:literal) => {
        $crate::runtime::package::get($py, ::pyo3::intern!($py, $module), ::pyo3::intern!($py, $name))
    };
}
pub(crate) use imported;
