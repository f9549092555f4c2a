//! Calling what users wrote.
#![allow(unsafe_code, reason = "calls without a tuple, and fetches what was raised")]

use core::ptr;

use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::runtime::interpreter_shutdown::park_on_shutdown;

unsafe extern "C-unwind" {
    /// As in `pyo3::ffi`, which says of it that it does not unwind: see [`attached`](crate::runtime::interpreter_shutdown).
    fn PyObject_CallFunctionObjArgs(callable: *mut ffi::PyObject, ...) -> *mut ffi::PyObject;
    /// As above.
    fn PyObject_Call(
        callable: *mut ffi::PyObject,
        arguments: *mut ffi::PyObject,
        keywords: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
}

/// Calls with one argument.
///
/// Unlike `call1` under the limited API of 3.11 it makes no tuple, which the callee would take apart again. And a panic
/// of ours that comes back through Python, as `PanicException`, is an exception like others, and not resumed: whoever
/// called still has to take back what it lent.
#[inline]
pub(crate) fn call_one<'py>(function: &Bound<'py, PyAny>, argument: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let (callable, argument) = (function.as_ptr(), argument.as_ptr());
    let returned = park_on_shutdown(|| {
        // SAFETY: live objects, which is what the references are for, and a null at the end.
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

/// The exception that is set.
#[cold]
fn raised(py: Python<'_>) -> PyErr {
    let (mut kind, mut value, mut traceback) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: three places to write to.
    unsafe { ffi::PyErr_Fetch(&raw mut kind, &raw mut value, &raw mut traceback) };
    // SAFETY: what was fetched, to be replaced by what an exception's parts are when it has been made.
    unsafe { ffi::PyErr_NormalizeException(&raw mut kind, &raw mut value, &raw mut traceback) };
    // SAFETY: a reference that is ours now, or null.
    let kind = unsafe { Bound::from_owned_ptr_or_opt(py, kind) };
    // SAFETY: as before.
    let value = unsafe { Bound::from_owned_ptr_or_opt(py, value) };
    // SAFETY: as before.
    let traceback = unsafe { Bound::from_owned_ptr_or_opt(py, traceback) };
    drop(kind);
    let Some(value) = value else {
        return PySystemError::new_err("a call failed without an exception set");
    };
    if let Some(traceback) = traceback {
        // SAFETY: an exception and a traceback, as they were fetched.
        unsafe { ffi::PyException_SetTraceback(value.as_ptr(), traceback.as_ptr()) };
    }
    PyErr::from_value(value)
}

/// An object of `class`, made by the `__new__` of `base`, a class of this extension that `class` derives from: what
/// `class` has put in its place is not asked.
#[inline]
pub(crate) fn new<'py>(
    base: &Bound<'py, PyType>,
    class: &Bound<'py, PyType>,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: two types. Unlike `issubclass` this asks neither of them.
    if unsafe { ffi::PyType_IsSubtype(class.as_type_ptr(), base.as_type_ptr()) } == 0 {
        return Err(PySystemError::new_err("an object is made of a class that does not derive from its own"));
    }
    // SAFETY: a type on the heap, as all of this extension are.
    let slot = unsafe { ffi::PyType_GetSlot(base.as_type_ptr(), ffi::Py_tp_new) };
    if slot.is_null() {
        return Err(PySystemError::new_err("the class cannot be instantiated"));
    }
    // SAFETY: the function in this slot has this type.
    let make = unsafe { core::mem::transmute::<*mut core::ffi::c_void, ffi::newfunc>(slot) };
    // SAFETY: `class` derives from `base`, as was just seen, and the arguments are a tuple.
    let made = unsafe { make(class.as_type_ptr(), arguments.as_ptr(), ptr::null_mut()) };
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(class.py(), made) }
}
