//! Calls of Python code that users wrote.
#![allow(unsafe_code, reason = "calls without a tuple, and fetches the exception")]

use core::ptr;

use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::runtime::interpreter_shutdown::park_on_shutdown;

unsafe extern "C-unwind" {
    /// As in `pyo3::ffi`, which declares that it does not unwind: see
    /// [`interpreter_shutdown`](crate::runtime::interpreter_shutdown).
    fn PyObject_CallFunctionObjArgs(callable: *mut ffi::PyObject, ...) -> *mut ffi::PyObject;
    /// As above.
    fn PyObject_Call(
        callable: *mut ffi::PyObject,
        arguments: *mut ffi::PyObject,
        keywords: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
    /// As above.
    fn PyObject_GetIter(iterable: *mut ffi::PyObject) -> *mut ffi::PyObject;
    /// As above.
    fn PyIter_Next(iterator: *mut ffi::PyObject) -> *mut ffi::PyObject;
}

/// Calls with one argument.
///
/// Unlike `call1` under the limited API of 3.11 this makes no tuple, which the callee would unpack again. A panic of
/// this crate that comes back through Python, as `PanicException`, is returned as an exception and not resumed: the
/// caller still has to release the views it exported.
#[inline]
pub(crate) fn call_one<'py>(function: &Bound<'py, PyAny>, argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let (callable, argument) = (function.as_ptr(), argument.as_ptr());
    let returned = park_on_shutdown(|| {
        // SAFETY: the references keep both objects alive, and a null ends the list.
        unsafe { PyObject_CallFunctionObjArgs(callable, argument, ptr::null_mut::<ffi::PyObject>()) }
    });
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_opt(function.py(), returned) }.ok_or_else(|| raised(function.py()))
}

/// Calls with a tuple of arguments, as [`call_one`] does with one.
#[inline]
pub(crate) fn call_all<'py>(
    function: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    let (callable, arguments) = (function.as_ptr(), arguments.as_ptr());
    let returned = park_on_shutdown(|| {
        // SAFETY: live objects, the second of them a tuple, and no dict.
        unsafe { PyObject_Call(callable, arguments, ptr::null_mut()) }
    });
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_opt(function.py(), returned) }.ok_or_else(|| raised(function.py()))
}

/// Calls without arguments.
pub(crate) fn call_none<'py>(function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    call_all(function, &PyTuple::empty(function.py()))
}

/// The iterator over the items of an object.
pub(crate) fn iterator<'py>(iterable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a live object.
    let found = park_on_shutdown(|| unsafe { PyObject_GetIter(iterable.as_ptr()) });
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_opt(iterable.py(), found) }.ok_or_else(|| raised(iterable.py()))
}

/// The next item of an iterator; `None` after the last one.
pub(crate) fn next<'py>(iterator: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = iterator.py();
    // SAFETY: an iterator, from `iterator` above.
    let found = park_on_shutdown(|| unsafe { PyIter_Next(iterator.as_ptr()) });
    // SAFETY: a new reference, or null with an exception set or at the end.
    match unsafe { Bound::from_owned_ptr_or_opt(py, found) } {
        Some(item) => Ok(Some(item)),
        // SAFETY: asks for the exception of this thread, which holds the GIL.
        None if unsafe { ffi::PyErr_Occurred() }.is_null() => Ok(None),
        None => Err(raised(py)),
    }
}

/// The exception that is set.
#[cold]
fn raised(py: Python<'_>) -> PyErr {
    let (mut kind, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: three places to write to.
    unsafe { ffi::PyErr_Fetch(&raw mut kind, &raw mut value, &raw mut traceback) };
    // SAFETY: the three fetched parts; normalising replaces them with a full exception.
    unsafe { ffi::PyErr_NormalizeException(&raw mut kind, &raw mut value, &raw mut traceback) };
    // SAFETY: an owned reference, or null.
    let kind = unsafe { Bound::from_owned_ptr_or_opt(py, kind) };
    // SAFETY: as for `kind`.
    let value = unsafe { Bound::from_owned_ptr_or_opt(py, value) };
    // SAFETY: as for `kind`.
    let traceback = unsafe { Bound::from_owned_ptr_or_opt(py, traceback) };
    drop(kind);
    let Some(value) = value else {
        return PySystemError::new_err("a call failed without an exception set");
    };
    if let Some(traceback) = traceback {
        // SAFETY: an exception and a traceback, as fetched.
        unsafe { ffi::PyException_SetTraceback(value.as_ptr(), traceback.as_ptr()) };
    }
    PyErr::from_value(value)
}

/// An object of `class`, made by the `__new__` of `base`, a class of this extension from which `class` derives. A
/// `__new__` of `class` itself is not called.
#[inline]
pub(crate) fn new<'py>(
    base: &Bound<'py, PyType>,
    class: &Bound<'py, PyType>,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: two types. Unlike `issubclass` this runs no code of theirs.
    if unsafe { ffi::PyType_IsSubtype(class.as_type_ptr(), base.as_type_ptr()) } == 0 {
        return Err(PySystemError::new_err("an object is made of a class that does not derive from its own"));
    }
    // SAFETY: a heap type, as all classes of this extension are.
    let slot = unsafe { ffi::PyType_GetSlot(base.as_type_ptr(), ffi::Py_tp_new) };
    if slot.is_null() {
        return Err(PySystemError::new_err("the class cannot be instantiated"));
    }
    // SAFETY: the function in this slot has this type.
    let make = unsafe { core::mem::transmute::<*mut core::ffi::c_void, ffi::newfunc>(slot) };
    // SAFETY: `class` derives from `base`, as checked above, and the arguments are a tuple.
    let made = unsafe { make(class.as_type_ptr(), arguments.as_ptr(), ptr::null_mut()) };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(class.py(), made) }
}
