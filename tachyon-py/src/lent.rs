//! Slots lent to Python: the one place that hands out addresses of shared memory.
//!
//! Every memoryview, array or capsule into a slot is counted here. A guard that ends while some are left keeps its
//! slot until the last one is gone, so no view can see a later message or, since a slot in use keeps the mapping,
//! unmapped memory. A view's contents may be changed by a hostile peer at any time; copy before checking what matters.
#![allow(unsafe_code, reason = "implements the buffer protocol")]

use core::ffi::c_int;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::errors::ReleasedError;

const OPEN: u8 = 0;
/// Ended while views were left; the last one gives the slot back.
const LINGERING: u8 = 1;
const BACK: u8 = 2;

/// How a guard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nobody looks at the slot any more: give it back now.
    Now,
    /// Views are left; the last one gives it back.
    Lingers,
    /// It had ended before.
    Before,
}

/// The bytes of one slot and the views into them.
#[derive(Debug)]
pub(crate) struct Lent {
    data: NonNull<u8>,
    len: usize,
    writable: bool,
    views: AtomicUsize,
    state: AtomicU8,
}

// SAFETY: the address belongs to a mapping that the owner of this keeps alive; it is only handed to Python through
// `export`, which needs the interpreter, and the counters are atomics.
unsafe impl Send for Lent {}
// SAFETY: as for Send.
unsafe impl Sync for Lent {}

impl Lent {
    /// Lends `len` bytes at `data`.
    ///
    /// # Safety
    /// They are mapped, and nobody but the ring's protocol uses them otherwise, until this says it has ended
    /// ([`Ending::Now`], or `true` from [`view_gone`](Self::view_gone)) or is dropped. If `writable`, they are this
    /// process's to write.
    pub(crate) unsafe fn new(data: NonNull<u8>, len: usize, writable: bool) -> Self {
        Self { data, len, writable, views: AtomicUsize::new(0), state: AtomicU8::new(OPEN) }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::Relaxed) == OPEN
    }

    /// Fails unless the guard `name` is still open.
    pub(crate) fn check_open(&self, name: &str) -> PyResult<()> {
        if self.is_open() {
            return Ok(());
        }
        Err(ReleasedError::new_err(format!("this {name} has been released; use it inside its `with` block")))
    }

    /// Fills in a buffer request on behalf of `owner`, the guard that holds this.
    ///
    /// # Safety
    /// `view` is the request's, as `__getbuffer__` gets it; `owner` keeps `self` alive and calls
    /// [`view_gone`](Self::view_gone) from its `__releasebuffer__`.
    pub(crate) unsafe fn export(
        &self,
        owner: &Bound<'_, PyAny>,
        name: &str,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        self.check_open(name)?;
        // A Python object's size is an isize, and no ring is larger.
        let len = self.len as ffi::Py_ssize_t;
        let data = self.data.as_ptr().cast();
        // SAFETY: `view` is valid for writing by our contract; the bytes stay mapped while views are counted, by the
        // contract of `new`; the call takes its own reference to `owner`.
        let filled =
            unsafe { ffi::PyBuffer_FillInfo(view, owner.as_ptr(), data, len, c_int::from(!self.writable), flags) };
        if filled != 0 {
            return Err(PyErr::fetch(owner.py()));
        }
        self.views.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Counts a view that is no buffer, and gives the address for it.
    pub(crate) fn add_view(&self) -> NonNull<u8> {
        self.views.fetch_add(1, Ordering::Relaxed);
        self.data
    }

    /// Counts a view out; `true` tells the owner to give the slot back now.
    #[must_use]
    pub(crate) fn view_gone(&self) -> bool {
        let left = self.views.fetch_sub(1, Ordering::AcqRel) - 1;
        left == 0
            && self.state.compare_exchange(LINGERING, BACK, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn has_views(&self) -> bool {
        self.views.load(Ordering::Acquire) != 0
    }

    /// Ends the lending.
    #[must_use]
    pub(crate) fn end(&self) -> Ending {
        let next = if self.has_views() { LINGERING } else { BACK };
        match self.state.compare_exchange(OPEN, next, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) if next == BACK => Ending::Now,
            Ok(_) => Ending::Lingers,
            Err(_) => Ending::Before,
        }
    }

    /// What is left to do when the owner is collected: `true` tells it to give the slot back.
    pub(crate) fn abandoned(&mut self) -> bool {
        core::mem::replace(self.state.get_mut(), BACK) != BACK
    }

    /// A copy of the bytes.
    pub(crate) fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        // SAFETY: the bytes are mapped by the contract of `new`.
        unsafe { copied(py, self.data, self.len) }
    }
}

/// A `bytes` with a copy of shared memory.
///
/// # Safety
/// `len` bytes at `data` are mapped. The peer may change them meanwhile; the copy then holds some mixture.
pub(crate) unsafe fn copied(py: Python<'_>, data: NonNull<u8>, len: usize) -> PyResult<Bound<'_, PyBytes>> {
    // SAFETY: readable by our contract; the interpreter copies them without ever making a Rust reference to bytes that
    // another process may write.
    let bytes = unsafe { ffi::PyBytes_FromStringAndSize(data.as_ptr().cast(), len as ffi::Py_ssize_t) };
    // SAFETY: a new reference, or null with an exception set; the function makes nothing but `bytes`.
    unsafe { Bound::from_owned_ptr_or_err(py, bytes).map(|bytes| bytes.cast_into_unchecked()) }
}

/// The name of an object's type, for messages.
pub(crate) fn type_name<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    object.get_type().name()
}
