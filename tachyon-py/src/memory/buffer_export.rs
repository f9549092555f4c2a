//! Slots exported to Python: the one place that gives out addresses of shared memory.
//!
//! Every memoryview, array or capsule into a slot is counted here. A guard that ends while views are left keeps its
//! slot until the last view is gone, so no view shows a later message. A slot in use keeps the mapping, so no view
//! shows unmapped memory. A hostile peer may change the bytes of a view at any time: copy first, then check.
#![allow(unsafe_code, reason = "implements the buffer protocol")]

use core::ffi::c_int;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use tachyon::__binding::Taking;

use crate::errors::{ReleasedError, ViewError};

const OPEN: u8 = 0;
/// The guard ended while views were left; the last view gives the slot back.
const OUTLIVED: u8 = 1;
const RETURNED: u8 = 2;

/// How a guard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GuardEnd {
    /// No view is left: give the slot back now.
    Free,
    /// Views are left; the last one gives the slot back.
    OutlivedByViews,
    /// The guard had ended before.
    EndedBefore,
}

/// Counts the views into the slot of one guard, and holds the state of the guard.
#[derive(Debug, Default)]
pub(crate) struct ViewCount {
    views: AtomicUsize,
    state: AtomicU8,
}

impl ViewCount {
    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::Relaxed) == OPEN
    }

    /// Fails unless the guard `name` is open.
    pub(crate) fn check_open(&self, name: &str) -> PyResult<()> {
        if self.is_open() {
            return Ok(());
        }
        Err(ReleasedError::new_err(format!("this {name} has been released; use it inside its `with` block")))
    }

    /// Counts a view in.
    pub(crate) fn view_made(&self) {
        self.views.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a view out. On `true` the owner gives its slot back now.
    #[must_use]
    pub(crate) fn view_gone(&self) -> bool {
        let left = self.views.fetch_sub(1, Ordering::AcqRel) - 1;
        left == 0 && self.state.compare_exchange(OUTLIVED, RETURNED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn has_views(&self) -> bool {
        self.views.load(Ordering::Acquire) != 0
    }

    /// Ends the guard.
    #[must_use]
    pub(crate) fn end(&self) -> GuardEnd {
        let next = if self.has_views() { OUTLIVED } else { RETURNED };
        match self.state.compare_exchange(OPEN, next, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) if next == RETURNED => GuardEnd::Free,
            Ok(_) => GuardEnd::OutlivedByViews,
            Err(_) => GuardEnd::EndedBefore,
        }
    }

    /// Ends the guard when its owner is collected. On `true` the owner gives its slot back now.
    #[must_use]
    pub(crate) fn abandoned(&mut self) -> bool {
        core::mem::replace(self.state.get_mut(), RETURNED) != RETURNED
    }
}

/// Bytes that Python may see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Region {
    pub(crate) data: NonNull<u8>,
    pub(crate) len: usize,
    pub(crate) writable: bool,
}

// SAFETY: a region is an address without an owner. The owner of the bytes proves that they are mapped, on every thread.
unsafe impl Send for Region {}
// SAFETY: as for Send.
unsafe impl Sync for Region {}

impl Region {
    /// Fills in a buffer request on behalf of `owner`. A result other than 0 is a failure, with an exception set.
    ///
    /// # Safety
    /// The thread is attached. `view` is the request's, as the buffer protocol passes it. Until the buffer is released
    /// the region stays mapped and, if writable, is this process's to write.
    #[inline]
    pub(crate) unsafe fn fill(self, owner: *mut ffi::PyObject, view: *mut ffi::Py_buffer, flags: c_int) -> c_int {
        // A Python object's size is an isize, and no ring is larger.
        let len = self.len.cast_signed();
        let data = self.data.as_ptr().cast();
        // SAFETY: by our contract `view` is valid for writing and the region stays mapped until the release. The call
        // takes its own reference to `owner`.
        unsafe { ffi::PyBuffer_FillInfo(view, owner, data, len, c_int::from(!self.writable), flags) }
    }

    /// Fills in a buffer request on behalf of `owner` and counts it in `view_count`.
    ///
    /// # Safety
    /// `view` is the request's, as `__getbuffer__` gets it. `owner` counts the view out in its `__releasebuffer__`;
    /// until then the region stays mapped and, if writable, is this process's to write.
    pub(crate) unsafe fn export(
        self,
        view_count: &ViewCount,
        owner: &Bound<'_, PyAny>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        // SAFETY: a `Bound` proves that the thread is attached; the rest is our contract.
        if unsafe { self.fill(owner.as_ptr(), view, flags) } != 0 {
            return Err(PyErr::fetch(owner.py()));
        }
        view_count.view_made();
        Ok(())
    }
}

/// The bytes of one slot and the count of the views into them.
#[derive(Debug)]
pub(crate) struct BufferExport {
    region: Region,
    view_count: ViewCount,
}

impl BufferExport {
    /// Exports `len` bytes at `data`.
    ///
    /// # Safety
    /// The bytes are mapped, and only the ring's protocol uses them otherwise, until the guard has ended without views:
    /// [`GuardEnd::Free`], or `true` from [`view_gone`](ViewCount::view_gone) or [`abandoned`](Self::abandoned). If
    /// `writable`, the bytes are this process's to write.
    pub(crate) unsafe fn new(data: NonNull<u8>, len: usize, writable: bool) -> Self {
        Self { region: Region { data, len, writable }, view_count: ViewCount::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.region.len
    }

    /// Fills in a buffer request on behalf of `owner`, the guard called `name` that holds this export.
    ///
    /// # Safety
    /// `view` is the request's, as `__getbuffer__` gets it; `owner` keeps `self` alive and calls `view_gone` in its
    /// `__releasebuffer__`.
    pub(crate) unsafe fn export(
        &self,
        owner: &Bound<'_, PyAny>,
        name: &str,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        self.view_count.check_open(name)?;
        // SAFETY: by our contract, and that of `new`, which holds while views are counted.
        unsafe { self.region.export(&self.view_count, owner, view, flags) }
    }

    pub(crate) fn abandoned(&mut self) -> bool {
        self.view_count.abandoned()
    }

    /// A copy of the bytes.
    pub(crate) fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        // SAFETY: the bytes are mapped by the contract of `new`.
        unsafe { copied(py, self.region.data, self.region.len) }
    }
}

impl Deref for BufferExport {
    type Target = ViewCount;

    fn deref(&self) -> &ViewCount {
        &self.view_count
    }
}

/// A `bytes` with a copy of shared memory.
///
/// # Safety
/// `len` bytes at `data` are mapped. A peer that writes meanwhile leaves a mixture of old and new bytes in the copy.
#[inline]
pub(crate) unsafe fn copied(py: Python<'_>, data: NonNull<u8>, len: usize) -> PyResult<Bound<'_, PyBytes>> {
    // SAFETY: readable by our contract. The interpreter copies the bytes, and no Rust reference to bytes that another
    // process may write exists.
    let bytes = unsafe { ffi::PyBytes_FromStringAndSize(data.as_ptr().cast(), len.cast_signed()) };
    // SAFETY: a new reference, or null with an exception set.
    let bytes = unsafe { Bound::from_owned_ptr_or_err(py, bytes) }?;
    // SAFETY: the function returns a `bytes`.
    Ok(unsafe { bytes.cast_into_unchecked() })
}

/// Reads a taken message in its slot.
pub(crate) fn read_from<R>(taking: Taking, read: impl FnOnce(&[u8]) -> R) -> R {
    // SAFETY: the bytes of a taken message are mapped until the release, which follows this call. A peer may write to
    // them meanwhile, as to those of every message that is read in place.
    read(unsafe { core::slice::from_raw_parts(taking.data().as_ptr(), taking.len()) })
}

/// A `bytes` with a copy of a taken message.
pub(crate) fn copied_from(py: Python<'_>, taking: Taking) -> PyResult<Bound<'_, PyBytes>> {
    // SAFETY: the bytes of a taken message are mapped until the release, which follows this call.
    unsafe { copied(py, taking.data(), taking.len()) }
}

/// The error of a `with` block that leaves views behind; none while another exception leaves the block.
pub(crate) fn kept_view_error(exc_type: &Bound<'_, PyAny>) -> PyResult<()> {
    if !exc_type.is_none() {
        return Ok(());
    }
    Err(ViewError::new_err(
        "a memoryview or array still looks into this slot; release or delete it inside the `with` block, or copy what \
         you keep. Until the last one is gone the slot stays occupied, and what was written into it is not sent",
    ))
}

/// The name of an object's type, for error texts.
pub(crate) fn type_name<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
    object.get_type().name()
}
