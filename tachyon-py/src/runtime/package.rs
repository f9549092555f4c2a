//! The package's Python modules, looked up at each use.
//!
//! A test runner or a notebook may import the package a second time. The extension stays loaded, and must use the new
//! classes and functions from then on: callers catch the new `TimedOutError`, and new Structs come from the new
//! `Struct`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};

/// The attribute `name` of a module of the package, at the cost of a look into `sys.modules`.
pub(crate) fn get<'py>(
    py: Python<'py>,
    module: &Bound<'py, PyString>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let modules = MODULES.import(py, "sys", "modules")?;
    if let Some(found) = modules.get_item(module)?
        && let Some(value) = found.getattr_opt(name)?
    {
        return Ok(value);
    }
    // Another thread may import the module at this moment: an import waits for it.
    py.import(module)?.getattr(name)
}

/// An attribute of a module of the package, both given as literals.
macro_rules! imported {
    ($py:expr, $module:literal, $name:literal) => {
        $crate::runtime::package::get($py, ::pyo3::intern!($py, $module), ::pyo3::intern!($py, $name))
    };
}
pub(crate) use imported;
