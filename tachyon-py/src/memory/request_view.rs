//! The memoryview of a request that a handler gets.
//!
//! The owner of the memoryview is made once for each serving thread and reused for each request: a call makes nothing
//! but the memoryview itself. The owner's class uses the C API directly. The slots of a `pyo3` class would track the
//! attached state and catch panics, which costs more than the slots' own work.
#![allow(unsafe_code, reason = "implements the buffer protocol")]

use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::mem::offset_of;
use core::ptr::{self, NonNull};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyMemoryView, PyType};
use tachyon::__binding::Mapping;

use crate::errors::ReleasedError;
use crate::memory::buffer_export::Region;

/// The owner of the memoryview that a handler gets.
///
/// The request's slot goes back to the caller when the handler returns, even if the handler kept views. Such views then
/// show unspecified bytes of memory that stays mapped: an owner with views left keeps the mapping, and is not reused.
#[repr(C)]
struct ViewOwner {
    base: ffi::PyObject,
    exports: Exports,
}

/// The exported request and its views.
///
/// Only threads that hold the GIL use this: the interpreter, through the owner's slots, and a [`RequestView`], which is
/// bound to the GIL.
#[derive(Default)]
struct Exports {
    /// The request, while its handler runs.
    region: Cell<Option<Region>>,
    views: Cell<usize>,
    mapping: Cell<Option<Mapping>>,
}

/// The address of the exports in an owner.
fn exports(owner: *mut ffi::PyObject) -> *mut Exports {
    owner.wrapping_byte_add(const { offset_of!(ViewOwner, exports) }).cast()
}

/// Exports the request, and counts the view in.
///
/// # Safety
/// Python calls this, attached, with a [`ViewOwner`].
unsafe extern "C" fn get_buffer(owner: *mut ffi::PyObject, view: *mut ffi::Py_buffer, flags: c_int) -> c_int {
    // SAFETY: a live `ViewOwner`; all references to its fields are shared.
    let exports = unsafe { &*exports(owner) };
    let Some(region) = exports.region.get() else {
        return refuse();
    };
    // SAFETY: Python passed `view`. The bytes stay mapped while a view is counted, by the contract of
    // `RequestView::new`, and are read-only.
    let filled = unsafe { region.fill(owner, view, flags) };
    if filled == 0 {
        exports.views.set(exports.views.get() + 1);
    }
    filled
}

/// Raises for a request whose handler has returned.
#[cold]
fn refuse() -> c_int {
    Python::attach(|py| {
        ReleasedError::new_err("this request has been released; use it while its handler runs").restore(py);
    });
    -1
}

/// Counts a view out.
///
/// # Safety
/// Python calls this, attached, with a [`ViewOwner`], once for each exported buffer.
unsafe extern "C" fn release_buffer(owner: *mut ffi::PyObject, _: *mut ffi::Py_buffer) {
    // SAFETY: as in `get_buffer`.
    let Exports { views, .. } = unsafe { &*exports(owner) };
    views.set(views.get() - 1);
}

/// Frees an owner without references.
///
/// # Safety
/// Python calls this, attached, with a [`ViewOwner`], once.
unsafe extern "C" fn dealloc(owner: *mut ffi::PyObject) {
    // SAFETY: a live object has a type.
    let class = unsafe { ffi::Py_TYPE(owner) };
    // SAFETY: no reference and no view is left; this is the last use.
    unsafe { ptr::drop_in_place(exports(owner)) };
    // SAFETY: `PyType_GenericAlloc` allocates here for a class that is not garbage collected.
    unsafe { ffi::PyObject_Free(owner.cast()) };
    // SAFETY: an object of a heap type holds a reference to the type.
    unsafe { ffi::Py_DECREF(class.cast()) };
}

/// The class of owners.
fn class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    CLASS.get_or_try_init(py, || make_class(py)).map(|class| class.bind(py))
}

fn make_class(py: Python<'_>) -> PyResult<Py<PyType>> {
    let slot = |slot, function: *const c_void| ffi::PyType_Slot { slot, pfunc: function.cast_mut() };
    let mut slots = [
        slot(ffi::Py_bf_getbuffer, get_buffer as *const c_void),
        slot(ffi::Py_bf_releasebuffer, release_buffer as *const c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *const c_void),
        slot(0, ptr::null()),
    ];
    let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION | ffi::Py_TPFLAGS_IMMUTABLETYPE;
    let mut spec = ffi::PyType_Spec {
        name: c"tachyon._tachyon.Request".as_ptr(),
        basicsize: size_of::<ViewOwner>().try_into()?,
        itemsize: 0,
        // A type's flags are an unsigned long; a specification takes an unsigned int.
        flags: flags.try_into()?,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the slots' functions have the types of their slot numbers, the slots end with a zero, the name is static,
    // and the size is that of the functions' object.
    let made = unsafe { ffi::PyType_FromSpec(&raw mut spec) };
    // SAFETY: a new reference, or null with an exception set.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, made) }?;
    Ok(made.cast_into::<PyType>()?.unbind())
}

thread_local! {
    /// An owner that exports nothing and has no other reference.
    static SPARE: Cell<Option<Py<PyAny>>> = const { Cell::new(None) };
}

/// The request in use by a handler, until dropped.
pub(crate) struct RequestView<'py, M: Fn() -> Mapping> {
    /// A [`ViewOwner`].
    owner: Bound<'py, PyAny>,
    mapping: M,
}

impl<'py, M: Fn() -> Mapping> RequestView<'py, M> {
    /// Exports a request. `mapping` returns a handle that keeps the request mapped, and is called only if views are
    /// left at the end.
    ///
    /// # Safety
    /// The bytes stay mapped until this is dropped, and after that as long as the result of `mapping` lives.
    #[inline]
    pub(crate) unsafe fn new(py: Python<'py>, request: &[u8], mapping: M) -> PyResult<Self> {
        // `SPARE` is gone while the thread ends.
        let owner = match SPARE.try_with(Cell::take) {
            Ok(Some(owner)) => owner.into_bound(py),
            _ => make(py)?,
        };
        let request_view = Self { owner, mapping };
        let region = Region { data: NonNull::from(request).cast(), len: request.len(), writable: false };
        request_view.exports().region.set(Some(region));
        Ok(request_view)
    }

    #[inline]
    fn exports(&self) -> &Exports {
        // SAFETY: a live `ViewOwner`; all references to its fields are shared. A `Bound` proves that this thread holds
        // the GIL, as all users of the fields do.
        unsafe { &*exports(self.owner.as_ptr()) }
    }

    /// A memoryview for the handler.
    #[inline]
    pub(crate) fn view(&self) -> PyResult<Bound<'py, PyMemoryView>> {
        PyMemoryView::from(&self.owner)
    }

    /// Whether views are left.
    #[inline]
    pub(crate) fn has_views(&self) -> bool {
        self.exports().views.get() != 0
    }
}

impl<M: Fn() -> Mapping> Drop for RequestView<'_, M> {
    #[inline]
    fn drop(&mut self) {
        self.exports().region.set(None);
        if self.has_views() {
            self.exports().mapping.set(Some((self.mapping)()));
        } else if is_only(&self.owner) {
            // An owner with another reference is not reused: that reference could show a later request.
            let owner = self.owner.clone().unbind();
            // While the thread ends, the owner is freed instead. A spare owner in place is that of a nested handler.
            let _ = SPARE.try_with(|spare| drop(spare.replace(Some(owner))));
        }
    }
}

/// A new owner, which exports nothing.
#[cold]
fn make(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: a type whose objects have one size.
    let made = unsafe { ffi::PyType_GenericAlloc(class(py)?.as_type_ptr(), 0) };
    // SAFETY: a new reference, or null with an exception set.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, made) }?;
    // SAFETY: the object has the size of its class, which is that of `ViewOwner`, and no other reference to it exists.
    unsafe { exports(made.as_ptr()).write(Exports::default()) };
    Ok(made)
}

/// Whether an object has one reference. A count that a later interpreter stores in another way reads as more than one.
#[inline]
pub(crate) fn is_only(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a live object; the GIL keeps its count as it is.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) == 1 }
}
