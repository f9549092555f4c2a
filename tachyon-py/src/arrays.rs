//! Arrays of others, numpy's above all: those of exactly the type that is wanted are copied as they are, all others are
//! refused.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyString};
use tachyon::__binding::{Node, Place};
use tachyon::payload::Primitive;

use crate::items::Items;
use crate::lent::type_name;
use crate::payload::{buffer_of, has_buffer};
use crate::plan::{Meta, Plan};

/// A module that has been imported, by others or by us.
fn loaded<'py>(py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let found = MODULES.import(py, "sys", "modules")?.get_item(name)?;
    // A module whose import is forbidden is None.
    Ok(found.filter(|module| !module.is_none()))
}

/// Whether a value is of numpy's class of this name. Without numpy there are none.
#[cold]
pub(crate) fn is_numpy(value: &Bound<'_, PyAny>, class: &str) -> PyResult<bool> {
    is_of(value, "numpy", class)
}

/// Whether a value is of a module's class. A module that another thread is just importing may have no such class yet,
/// and then there are no such values.
fn is_of(value: &Bound<'_, PyAny>, module: &str, class: &str) -> PyResult<bool> {
    let Some(module) = loaded(value.py(), module)? else { return Ok(false) };
    module.getattr_opt(class)?.map_or(Ok(false), |class| value.is_instance(&class))
}

/// Whether a value is an array of any kind, and no sequence of values.
pub(crate) fn is_array(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() {
        return Ok(false);
    }
    let is_bytes = value.is_instance_of::<PyByteArray>();
    Ok(value.is_instance_of::<Items>() || !is_bytes && has_buffer(value) || makes_array(value)?)
}

/// Whether numpy makes an array of a value without looking at each of its values: a Series, for example.
fn makes_array(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.hasattr(pyo3::intern!(value.py(), "__array__"))
}

/// An object with the bytes of an array of exactly the type `of`, one behind the other; `None` for a value that is no
/// array.
///
/// # Errors
/// `TypeError` or `ValueError` for an array of another type or shape.
pub(crate) fn of_exactly<'py>(
    plan: &Plan,
    node: usize,
    of: usize,
    value: &Bound<'py, PyAny>,
    place: &Place<'_>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = value.py();
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() || value.is_instance_of::<PyByteArray>()
    {
        return Ok(None);
    }
    if let Some(numpy) = loaded(py, "numpy")?
        && makes_array(value)?
        && numpy.hasattr("ascontiguousarray")?
    {
        return of_numpy(plan, node, of, &numpy, value, place).map(Some);
    }
    if !has_buffer(value) {
        return Ok(None);
    }
    let Node::Primitive(primitive) = plan.core.node(of) else {
        let (name, found) = (plan.core.name(of), type_name(value)?);
        return Err(PyTypeError::new_err(format!("{place} is values of {name}, and this {found} is of another type")));
    };
    let buffer = buffer_of(value)?;
    let format = buffer.format().to_str().unwrap_or_default();
    if !is_format_of(*primitive, format, buffer.item_size()) {
        let (name, found) = (primitive.name(), type_name(value)?);
        let message = format!("{place} is values of {name}, and this {found} is of {format:?}");
        return Err(PyTypeError::new_err(message));
    }
    if buffer.dimensions() != 1 || !buffer.is_c_contiguous() {
        let found = type_name(value)?;
        let message = format!("{place} has 1 dimension, and this {found} is no contiguous one of 1; copy it first");
        return Err(PyValueError::new_err(message));
    }
    Ok(Some(value.clone()))
}

/// Whether a buffer's items are numbers of this type, in the machine's order.
fn is_format_of(primitive: Primitive, format: &str, size: usize) -> bool {
    let kind = match format.trim_start_matches(['@', '=', '<']) {
        "b" | "h" | "i" | "l" | "q" => 'i',
        "B" | "H" | "I" | "L" | "Q" => 'u',
        "f" | "d" => 'f',
        "?" => '?',
        _ => return false,
    };
    let wanted = match primitive {
        Primitive::I8 | Primitive::I16 | Primitive::I32 | Primitive::I64 => 'i',
        Primitive::U8 | Primitive::U16 | Primitive::U32 | Primitive::U64 => 'u',
        Primitive::F32 | Primitive::F64 => 'f',
        Primitive::Bool => '?',
    };
    kind == wanted && size == primitive.size()
}

fn of_numpy<'py>(
    plan: &Plan,
    node: usize,
    of: usize,
    numpy: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
    place: &Place<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    if is_of(value, "numpy.ma", "MaskedArray")? {
        let message = format!("{place} has no place for a mask; fill it first: array.filled(value)");
        return Err(PyTypeError::new_err(message));
    }
    let array = if is_numpy(value, "ndarray")? { value.clone() } else { numpy.call_method1("asarray", (value,))? };
    let wanted = match &plan.metas[node] {
        Meta::List { dtype, .. } | Meta::Array { dtype, .. } => dtype.get(py)?,
        _ => None,
    };
    let found = array.getattr("dtype")?;
    match wanted {
        Some(wanted) if found.eq(wanted)? => {}
        Some(wanted) => {
            let message = format!("{place} is an array of {wanted}, and this one is of {found}: use astype");
            return Err(PyTypeError::new_err(message));
        }
        None => {
            let name = plan.core.name(of);
            let message = format!("{place} is values of {name}, and this is an array of {found}; pass a list of them");
            return Err(PyTypeError::new_err(message));
        }
    }
    let dimensions: usize = array.getattr("ndim")?.extract()?;
    if dimensions != 1 {
        return Err(PyValueError::new_err(format!("{place} has 1 dimension, and this array has {dimensions}")));
    }
    // As bytes: a buffer of records has a format that not every reader knows.
    numpy.call_method1("ascontiguousarray", (&array,))?.call_method1("view", (numpy.getattr("uint8")?,))
}
