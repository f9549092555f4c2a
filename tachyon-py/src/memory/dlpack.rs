//! Payloads as DLPack tensors: one dimension of uint8 on the CPU, without a copy.
//!
//! A consumer that requests DLPack 1 gets `dltensor_versioned` with the read-only flag set. The older capsule
//! (`dltensor`) has no read-only flag: NumPy treats it as read-only, PyTorch does not, and the documentation warns of
//! that.
#![allow(unsafe_code, reason = "the DLPack ABI is C structs with a destructor")]

use core::ffi::{CStr, c_void};
use core::ptr::{self, NonNull};

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::memory::buffer_export::Region;
use crate::runtime::interpreter_shutdown;

/// DLPack's (type, index) of the CPU.
pub(crate) const CPU: (i32, i32) = (1, 0);

const UINT8: DataType = DataType { code: 1, bits: 8, lanes: 1 };
const READ_ONLY: u64 = 1;
const UNVERSIONED: &CStr = c"dltensor";
const VERSIONED: &CStr = c"dltensor_versioned";

#[repr(C)]
struct DataType {
    code: u8,
    bits: u8,
    lanes: u16,
}

/// `DLTensor` of the DLPack ABI.
#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    ndim: i32,
    dtype: DataType,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

/// `DLManagedTensor`.
#[repr(C)]
struct Managed {
    tensor: Tensor,
    manager_ctx: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Managed)>,
}

/// `DLManagedTensorVersioned`.
#[repr(C)]
struct ManagedVersioned {
    major: u32,
    minor: u32,
    manager_ctx: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut ManagedVersioned)>,
    flags: u64,
    tensor: Tensor,
}

/// A managed tensor together with the memory that it points to.
struct Export<M> {
    managed: M,
    shape: i64,
    stride: i64,
    /// Counts the view out.
    release: Box<dyn FnOnce(Python<'_>) + Send>,
}

trait Kind: Sized {
    const NAME: &'static CStr;
    fn new(tensor: Tensor) -> Self;
    fn context(&mut self) -> &mut *mut c_void;
    fn tensor(&mut self) -> &mut Tensor;
    /// Calls the deleter.
    ///
    /// # Safety
    /// `managed` came from [`capsule`] and has not been deleted.
    unsafe fn delete(managed: *mut Self);
}

impl Kind for Managed {
    const NAME: &'static CStr = UNVERSIONED;

    fn new(tensor: Tensor) -> Self {
        Self { tensor, manager_ctx: ptr::null_mut(), deleter: Some(delete_unversioned) }
    }

    fn context(&mut self) -> &mut *mut c_void {
        &mut self.manager_ctx
    }

    fn tensor(&mut self) -> &mut Tensor {
        &mut self.tensor
    }

    unsafe fn delete(managed: *mut Self) {
        // SAFETY: our contract is the function's.
        unsafe { delete_unversioned(managed) };
    }
}

impl Kind for ManagedVersioned {
    const NAME: &'static CStr = VERSIONED;

    fn new(tensor: Tensor) -> Self {
        Self {
            major: 1,
            minor: 0,
            manager_ctx: ptr::null_mut(),
            deleter: Some(delete_versioned),
            flags: READ_ONLY,
            tensor,
        }
    }

    fn context(&mut self) -> &mut *mut c_void {
        &mut self.manager_ctx
    }

    fn tensor(&mut self) -> &mut Tensor {
        &mut self.tensor
    }

    unsafe fn delete(managed: *mut Self) {
        // SAFETY: our contract is the function's.
        unsafe { delete_versioned(managed) };
    }
}

unsafe extern "C" fn delete_unversioned(managed: *mut Managed) {
    // SAFETY: DLPack calls a tensor's deleter with that tensor, which lives until then.
    let context = unsafe { (*managed).manager_ctx };
    // SAFETY: DLPack calls it once; `capsule` set the context of this kind.
    unsafe { drop_export::<Managed>(context) };
}

unsafe extern "C" fn delete_versioned(managed: *mut ManagedVersioned) {
    // SAFETY: DLPack calls a tensor's deleter with that tensor, which lives until then.
    let context = unsafe { (*managed).manager_ctx };
    // SAFETY: DLPack calls it once; `capsule` set the context of this kind.
    unsafe { drop_export::<ManagedVersioned>(context) };
}

/// Ends an export, on any thread, attached or not.
///
/// # Safety
/// `context` is the `Box<Export<M>>` that `capsule` leaked, and this is the only call for it.
unsafe fn drop_export<M>(context: *mut c_void) {
    // SAFETY: by our contract.
    let export = unsafe { Box::from_raw(context.cast::<Export<M>>()) };
    let mut release = Some(export.release);
    interpreter_shutdown::try_attach(|py| release.take().map(|release| release(py)));
    // After the shutdown of the interpreter nothing is given back, and the reference in the closure is leaked.
    core::mem::forget(release);
}

/// Refuses requests that a CPU buffer without a copy cannot serve.
pub(crate) fn check(
    stream: Option<&Bound<'_, PyAny>>,
    dl_device: Option<(i32, i32)>,
    copy: Option<bool>,
) -> PyResult<()> {
    if stream.is_some() {
        return Err(PyBufferError::new_err("a payload lies in the CPU's memory and has no stream; pass stream=None"));
    }
    if dl_device.is_some_and(|device| device != CPU) {
        return Err(PyBufferError::new_err("a payload lies in the CPU's memory; copy it to a device from there"));
    }
    if copy == Some(true) {
        return Err(PyBufferError::new_err("a payload is exported in place; copy the array you make from it"));
    }
    Ok(())
}

/// A capsule over a region that is counted as a view. `release` counts the view out when the consumer deletes the
/// tensor.
pub(crate) fn capsule(
    py: Python<'_>,
    region: Region,
    versioned: bool,
    release: impl FnOnce(Python<'_>) + Send + 'static,
) -> PyResult<Bound<'_, PyCapsule>> {
    let release = Box::new(release);
    if versioned {
        capsule_of::<ManagedVersioned>(py, region, release)
    } else {
        capsule_of::<Managed>(py, region, release)
    }
}

fn capsule_of<M: Kind>(
    py: Python<'_>,
    region: Region,
    release: Box<dyn FnOnce(Python<'_>) + Send>,
) -> PyResult<Bound<'_, PyCapsule>> {
    let tensor = Tensor {
        data: region.data.as_ptr().cast(),
        device_type: CPU.0,
        device_id: CPU.1,
        ndim: 1,
        dtype: UINT8,
        shape: ptr::null_mut(),
        strides: ptr::null_mut(),
        byte_offset: 0,
    };
    let shape = region.len.cast_signed() as i64;
    let export = Box::new(Export { managed: M::new(tensor), shape, stride: 1, release });
    let context = NonNull::from(Box::leak(export));
    let mut leaked = context;
    // SAFETY: just leaked, so the pointer is valid and unshared; the reference ends before the pointer is shared.
    let export = unsafe { leaked.as_mut() };
    export.managed.tensor().shape = &raw mut export.shape;
    export.managed.tensor().strides = &raw mut export.stride;
    *export.managed.context() = context.as_ptr().cast();
    let managed = NonNull::from(&mut export.managed);
    // SAFETY: the pointer is valid until the tensor is deleted: by the consumer, which renames the capsule, or by the
    // destructor of an unconsumed capsule. The destructor may run on any thread.
    let capsule =
        unsafe { PyCapsule::new_with_pointer_and_destructor(py, managed.cast(), M::NAME, Some(unconsumed::<M>)) };
    if capsule.is_err() {
        // SAFETY: no capsule was made, so this is the only delete.
        unsafe { M::delete(managed.as_ptr()) };
    }
    capsule
}

/// Deletes the tensor of an unconsumed capsule; a consumer renames the capsule.
unsafe extern "C" fn unconsumed<M: Kind>(capsule: *mut ffi::PyObject) {
    // SAFETY: `capsule` is the capsule being destroyed, by the contract of a capsule's destructor.
    if unsafe { ffi::PyCapsule_IsValid(capsule, M::NAME.as_ptr()) } == 0 {
        return;
    }
    // SAFETY: as above; the capsule still has its first name, so its pointer is the first one.
    let managed = unsafe { ffi::PyCapsule_GetPointer(capsule, M::NAME.as_ptr()) };
    // SAFETY: not consumed, so not deleted.
    unsafe { M::delete(managed.cast()) };
}
