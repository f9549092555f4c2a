//! Bytes that Python code passes to be sent.
#![allow(unsafe_code, reason = "reads through the buffer protocol")]

use core::slice;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PyString};

use crate::memory::buffer_export::type_name;

/// Whether an object is indexed by position, as lists are and sets are not.
pub(crate) fn is_sequence(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: `object` is a live object, the only condition of the check.
    unsafe { pyo3::ffi::PySequence_Check(object.as_ptr()) != 0 }
}

/// A C-contiguous buffer, borrowed from its owner while this lives.
///
/// The callers of [`as_slice`](Self::as_slice) read the bytes only while the thread is attached, so no Python code that
/// could change a `bytearray` runs meanwhile.
pub(crate) enum Payload<'a, 'py> {
    Bytes(&'a Bound<'py, PyBytes>),
    Buffer(PyUntypedBuffer),
    /// Bytes that this extension wrote.
    Written(&'a [u8]),
}

/// Whether an object has a buffer.
pub(crate) fn has_buffer(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: `object` is a live object, the only condition of the check.
    unsafe { pyo3::ffi::PyObject_CheckBuffer(object.as_ptr()) != 0 }
}

/// The buffer of an object.
pub(crate) fn buffer_of(object: &Bound<'_, PyAny>) -> PyResult<PyUntypedBuffer> {
    // A ctypes array gives no strides; a memoryview of the array fills them in.
    PyUntypedBuffer::get(object).or_else(|_| PyUntypedBuffer::get(PyMemoryView::from(object)?.as_any()))
}

impl<'a, 'py> Payload<'a, 'py> {
    /// The bytes of any bytes-like object.
    ///
    /// # Errors
    /// `TypeError` for an object without a buffer, `BufferError` for one whose bytes are not contiguous.
    #[inline]
    pub(crate) fn of(object: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        match object.cast::<PyBytes>() {
            Ok(bytes) => Ok(Self::Bytes(bytes)),
            Err(_) => Self::of_buffer(object),
        }
    }

    fn of_buffer(object: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("a payload is bytes, not str; encode the text first: text.encode()"));
        }
        if !has_buffer(object) {
            let message = format!("a payload is any bytes-like object, not {}", type_name(object)?);
            return Err(PyTypeError::new_err(message));
        }
        let buffer = buffer_of(object)?;
        if !buffer.is_c_contiguous() {
            return Err(PyBufferError::new_err(
                "a payload is one C-contiguous run of bytes, and this buffer is not contiguous; \
                 copy it first: bytes(view) or numpy.ascontiguousarray(array)",
            ));
        }
        Ok(Self::Buffer(buffer))
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.as_bytes(),
            Self::Written(bytes) => bytes,
            Self::Buffer(buffer) if buffer.len_bytes() == 0 => &[],
            // SAFETY: a C-contiguous buffer has `len_bytes` readable bytes from its pointer on. Its exporter may
            // neither move nor free them until the release, which dropping `self` does.
            Self::Buffer(buffer) => unsafe { slice::from_raw_parts(buffer.buf_ptr().cast(), buffer.len_bytes()) },
        }
    }
}
