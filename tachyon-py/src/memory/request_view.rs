//! The view of a request that a handler gets.
//!
//! The object behind it is made once for each thread that serves, and lends one request after the other: nothing but
//! the memoryview itself is made for a call. It is a class of the interpreter's own making and none of `pyo3`'s, whose
//! slots would each note that they run and catch panics, which costs more than what they do here.
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

/// Owner of the memoryview passed to a handler.
///
/// The request's slot goes back to the caller when the handler is done, whatever views it kept. Those then show
/// unspecified bytes, but of memory that stays mapped: an owner with views left is given the mapping to keep, and lends
/// nothing any more.
#[repr(C)]
struct ViewOwner {
    base: ffi::PyObject,
    exports: Exports,
}

/// What an owner lends.
///
/// It is reached with the interpreter's lock only, which is what keeps threads apart here: by the owner's slots, which
/// the interpreter calls, and by a [`RequestView`], which is bound to it.
#[derive(Default)]
struct Exports {
    /// The request, while its handler runs.
    region: Cell<Option<Region>>,
    views: Cell<usize>,
    mapping: Cell<Option<Mapping>>,
}

/// Where an owner has it.
fn exports(owner: *mut ffi::PyObject) -> *mut Exports {
    owner.wrapping_byte_add(const { offset_of!(ViewOwner, exports) }).cast()
}

/// Exports the request that is lent, and counts the view in.
///
/// # Safety
/// Python's to call, with an [`ViewOwner`], attached.
unsafe extern "C" fn get_buffer(owner: *mut ffi::PyObject, view: *mut ffi::Py_buffer, flags: c_int) -> c_int {
    // SAFETY: an `ViewOwner` that is alive, and of whose fields there are shared references only.
    let exports = unsafe { &*exports(owner) };
    let Some(region) = exports.region.get() else {
        return refuse();
    };
    // SAFETY: `view` is what Python passed; the bytes stay mapped while a view is counted, by the contract of
    // `RequestView::new`, and are not to be written.
    let filled = unsafe { region.fill(owner, view, flags) };
    if filled == 0 {
        exports.views.set(exports.views.get() + 1);
    }
    filled
}

/// Raises for a request that is not lent any more.
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
/// Python's to call, with an [`ViewOwner`], attached, and once for each buffer it gave.
unsafe extern "C" fn release_buffer(owner: *mut ffi::PyObject, _: *mut ffi::Py_buffer) {
    // SAFETY: as in `get_buffer`.
    let Exports { views, .. } = unsafe { &*exports(owner) };
    views.set(views.get() - 1);
}

/// Ends an owner that nobody refers to.
///
/// # Safety
/// Python's to call, with an [`ViewOwner`], attached, and once.
unsafe extern "C" fn dealloc(owner: *mut ffi::PyObject) {
    // SAFETY: a live object has a type.
    let class = unsafe { ffi::Py_TYPE(owner) };
    // SAFETY: nobody refers to it any more, and no view does; this is the last use.
    unsafe { ptr::drop_in_place(exports(owner)) };
    // SAFETY: this is where `PyType_GenericAlloc` has the memory from, for a class that is not garbage collected.
    unsafe { ffi::PyObject_Free(owner.cast()) };
    // SAFETY: an object of a class on the heap holds a reference to it.
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
        // A type's flags are an unsigned long, of which a specification takes those that fit.
        flags: flags.try_into()?,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the slots' functions have the types that their numbers ask for and end with a zero, the name is static,
    // and the size is that of what the functions take the object for.
    let made = unsafe { ffi::PyType_FromSpec(&raw mut spec) };
    // SAFETY: a new reference, or null with an exception set.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, made) }?;
    Ok(made.cast_into::<PyType>()?.unbind())
}

thread_local! {
    /// An owner that lends nothing, and that nothing but this refers to.
    static SPARE: Cell<Option<Py<PyAny>>> = const { Cell::new(None) };
}

/// A request in the hands of a handler, until this is dropped.
pub(crate) struct RequestView<'py, M: Fn() -> Mapping> {
    /// An [`ViewOwner`].
    owner: Bound<'py, PyAny>,
    mapping: M,
}

impl<'py, M: Fn() -> Mapping> RequestView<'py, M> {
    /// Lends a request; `mapping` gives what keeps it mapped, and is asked only if views are left in the end.
    ///
    /// # Safety
    /// The bytes stay mapped until this is dropped, and after it as long as what `mapping` gave.
    #[inline]
    pub(crate) unsafe fn new(py: Python<'py>, request: &[u8], mapping: M) -> PyResult<Self> {
        // While the thread ends, nothing is spared any more.
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
        // SAFETY: an `ViewOwner` that is alive, and of whose fields there are shared references only; a `Bound` proves that
        // this thread has the lock that all users of it have.
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
            // Who kept the owner of a view could otherwise look into a later request with it.
            let owner = self.owner.clone().unbind();
            // While the thread ends, it goes instead. One that is spared already is that of a handler further in.
            let _ = SPARE.try_with(|spare| drop(spare.replace(Some(owner))));
        }
    }
}

/// A new owner, which lends nothing yet.
#[cold]
fn make(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: a type, whose objects are all of one size.
    let made = unsafe { ffi::PyType_GenericAlloc(class(py)?.as_type_ptr(), 0) };
    // SAFETY: a new reference, or null with an exception set.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, made) }?;
    // SAFETY: an object is as large as its class says, which is as an `ViewOwner` is, and this one is nobody else's yet.
    unsafe { exports(made.as_ptr()).write(Exports::default()) };
    Ok(made)
}

/// Whether nothing else refers to an object. A count that cannot be read, as a later interpreter may store it, is taken
/// for more than one.
#[inline]
pub(crate) fn is_only(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a live object; the lock keeps its count as it is.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) == 1 }
}
