//! The Python objects that hold values: `Memory` of a Struct, `Items` of an Array, and `Values` of a Struct without a
//! fixed size.
#![allow(unsafe_code, reason = "implements the buffer protocol, and reads and writes through it")]

use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyMemoryView, PySlice, PyString, PyTuple, PyType};
use pyo3::{ffi, intern};

use crate::errors::ReleasedError;
use crate::memory::buffer_export::type_name;
use crate::runtime::invoke;
use crate::values::plan::Plan;

/// The memory of a value: a memoryview and an offset.
pub(crate) struct Window<'py> {
    pub(crate) view: Bound<'py, PyMemoryView>,
    pub(crate) at: usize,
}

impl<'py> Window<'py> {
    /// A window on a copy of bytes.
    pub(crate) fn copied(py: Python<'py>, bytes: &[u8]) -> PyResult<Self> {
        let copy = PyByteArray::new(py, bytes);
        Ok(Self { view: PyMemoryView::from(copy.as_any())?, at: 0 })
    }
}

/// A part of a memoryview, with a buffer of its own.
///
/// A buffer is exported only during an access, so the memoryview can be released before this object; an access then
/// raises.
#[pyclass(module = "tachyon._tachyon", subclass, frozen)]
pub(crate) struct Memory {
    view: Py<PyMemoryView>,
    at: usize,
    len: usize,
    /// The item format of its buffer, as in `memoryview.cast`.
    format: Py<PyString>,
}

/// An exported buffer, released on drop.
struct Exported(ffi::Py_buffer);

impl Drop for Exported {
    fn drop(&mut self) {
        // SAFETY: a filled-in buffer, released once.
        unsafe { ffi::PyBuffer_Release(&raw mut self.0) };
    }
}

impl Exported {
    /// The buffer of a memoryview; `None` when the memoryview was released.
    #[inline]
    fn of(view: &Bound<'_, PyMemoryView>) -> Option<Self> {
        let mut buffer = MaybeUninit::<ffi::Py_buffer>::uninit();
        // SAFETY: a live object, and memory for the buffer.
        if unsafe { ffi::PyObject_GetBuffer(view.as_ptr(), buffer.as_mut_ptr(), ffi::PyBUF_SIMPLE) } != 0 {
            drop(PyErr::take(view.py()));
            return None;
        }
        // SAFETY: filled in, since the call succeeded.
        Some(Self(unsafe { buffer.assume_init() }))
    }
}

impl Memory {
    /// An instance of `class`, which derives from this class, on a window.
    #[inline]
    pub(crate) fn make<'py>(
        class: &Bound<'py, PyType>,
        window: &Window<'py>,
        len: usize,
        letter: &Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = class.py();
        let arguments = (&window.view, window.at, len, letter).into_pyobject(py)?;
        invoke::new(&py.get_type::<Self>(), class, &arguments)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn window<'py>(&self, py: Python<'py>, at: usize) -> Window<'py> {
        Window { view: self.view.bind(py).clone(), at: self.at + at }
    }

    /// Reads `len` bytes at offset `at`.
    #[inline]
    pub(crate) fn read<R>(
        slf: &Bound<'_, Self>,
        at: usize,
        len: usize,
        read: impl FnOnce(&[u8]) -> PyResult<R>,
    ) -> PyResult<R> {
        let this = slf.get();
        let Some(buffer) = Exported::of(this.view.bind(slf.py())) else { return Err(released(slf.as_any())) };
        let begin = this.at + at;
        check(at + len <= this.len && begin + len <= buffer.0.len.cast_unsigned())?;
        // SAFETY: the exported buffer has these bytes until its release. A peer that writes to them meanwhile changes
        // the values, for which every bit pattern is valid or checked; a thread of this process needs the GIL to write.
        read(unsafe { slice::from_raw_parts(buffer.0.buf.cast::<u8>().wrapping_add(begin), len) })
    }

    /// Writes bytes at offset `at`.
    #[inline]
    pub(crate) fn write(slf: &Bound<'_, Self>, at: usize, bytes: &[u8]) -> PyResult<()> {
        let this = slf.get();
        let Some(buffer) = Exported::of(this.view.bind(slf.py())) else { return Err(released(slf.as_any())) };
        let begin = this.at + at;
        check(at + bytes.len() <= this.len && begin + bytes.len() <= buffer.0.len.cast_unsigned())?;
        if buffer.0.readonly != 0 {
            return Err(PyTypeError::new_err(format!(
                "this {} is a view of a request, which is read-only; change a copy of it",
                type_name(slf.as_any())?
            )));
        }
        // SAFETY: the buffer has room for these bytes and is writable. `bytes` is Rust's own memory, so the two do not
        // overlap.
        unsafe { bytes.as_ptr().copy_to_nonoverlapping(buffer.0.buf.cast::<u8>().wrapping_add(begin), bytes.len()) };
        Ok(())
    }
}

fn check(is_within: bool) -> PyResult<()> {
    if is_within { Ok(()) } else { Err(PyValueError::new_err("these bytes are not within the memory")) }
}

/// The error for a window whose memoryview was released.
#[cold]
fn released(window: &Bound<'_, PyAny>) -> PyErr {
    match type_name(window) {
        Ok(name) => ReleasedError::new_err(format!(
            "this {name} is a view of a request, which was valid during its call only; keep a copy: request.copy()"
        )),
        Err(raised) => raised,
    }
}

#[pymethods]
impl Memory {
    #[new]
    #[pyo3(signature = (view, at, length, form, /))]
    pub(crate) fn new(view: Bound<'_, PyMemoryView>, at: usize, length: usize, form: Py<PyString>) -> PyResult<Self> {
        // A released memoryview has no length; an access raises later.
        if let Some(buffer) = Exported::of(&view) {
            let nbytes = buffer.0.len.cast_unsigned();
            if at.checked_add(length).is_none_or(|end| end > nbytes) {
                return Err(PyValueError::new_err(format!("{length} bytes at {at} are not within {nbytes}")));
            }
        }
        Ok(Self { view: view.unbind(), at, len: length, format: form })
    }

    /// The whole memoryview.
    #[getter(__tachyon_view__)]
    fn whole<'py>(&self, py: Python<'py>) -> Bound<'py, PyMemoryView> {
        self.view.bind(py).clone()
    }

    /// Offset in the memoryview.
    #[getter(__tachyon_at__)]
    fn begin(&self) -> usize {
        self.at
    }

    unsafe fn __getbuffer__(slf: &Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyTypeError::new_err("a buffer was asked for without a place to describe it"));
        }
        let py = slf.py();
        let this = slf.get();
        let end = this.at + this.len;
        let span = PySlice::new(py, this.at.cast_signed(), end.cast_signed(), 1);
        let window = this.view.bind(py).as_any().get_item(span).map_err(|_| released(slf.as_any()))?;
        let window = window.call_method1(intern!(py, "cast"), (&this.format,))?;
        // SAFETY: Python passed `view`, which is not null; `window` is a live memoryview. `window` becomes the buffer's
        // owner: it lives as long as the buffer, and the release goes to it.
        if unsafe { ffi::PyObject_GetBuffer(window.as_ptr(), view, flags) } != 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(())
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.view)
    }
}
/// Values of one type, in place.
#[pyclass(module = "tachyon._tachyon", extends = Memory, subclass, frozen)]
pub(crate) struct Items {
    pub(crate) plan: Py<Plan>,
    /// The type of each value.
    pub(crate) of: usize,
    pub(crate) size: usize,
}

impl Items {
    /// The values in `len` bytes of a window.
    pub(crate) fn make<'py>(
        plan: &Bound<'py, Plan>,
        of: usize,
        class: &Bound<'py, PyType>,
        letter: &Bound<'py, PyString>,
        window: &Window<'py>,
        len: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = plan.py();
        let arguments = (&window.view, window.at, len, letter, plan, of).into_pyobject(py)?;
        invoke::new(&py.get_type::<Self>(), class, &arguments)
    }
}

/// The values of a Struct that has no fixed size, in the order of its fields.
#[pyclass(module = "tachyon._tachyon", subclass, frozen)]
pub(crate) struct Values(Mutex<Vec<Option<Py<PyAny>>>>);

impl Values {
    /// An instance of `class`, which derives from this class.
    #[inline]
    pub(crate) fn make<'py>(class: &Bound<'py, PyType>, values: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let py = class.py();
        let made = invoke::new(&py.get_type::<Self>(), class, &PyTuple::empty(py))?;
        let own = values.into_iter().map(|value| Some(value.unbind())).collect();
        *made.cast::<Self>()?.get().lock() = own;
        Ok(made)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Py<PyAny>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get<'py>(&self, py: Python<'py>, index: usize) -> Option<Bound<'py, PyAny>> {
        Some(self.lock().get(index)?.as_ref()?.bind(py).clone())
    }

    pub(crate) fn set(&self, index: usize, value: Py<PyAny>) {
        let mut values = self.lock();
        if values.len() <= index {
            values.resize_with(index + 1, || None);
        }
        let before = values[index].replace(value);
        // The destructor of the old value may run code that uses this object.
        drop(values);
        drop(before);
    }
}

#[pymethods]
impl Values {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, pyo3::types::PyDict>>) -> Self {
        Self(Mutex::default())
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Locked for moments only: a locked list is visited next time.
        if let Ok(values) = self.0.try_lock() {
            for value in values.iter() {
                visit.call(value)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let values = core::mem::take(&mut *self.lock());
        drop(values);
    }
}
