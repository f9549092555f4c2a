//! Bytes that Python hands us to send.
#![allow(unsafe_code, reason = "reads through the buffer protocol")]

use core::slice;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PyString};

use crate::memory::buffer_export::type_name;

/// Whether an object has values by their places, as lists do and sets do not.
pub(crate) fn is_sequence(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: `object` is a live object, which is all the check asks for.
    unsafe { pyo3::ffi::PySequence_Check(object.as_ptr()) != 0 }
}

/// A C-contiguous buffer, borrowed from its owner while this lives.
///
/// The bytes are read only while the thread is attached to the interpreter, in [`as_slice`](Self::as_slice)'s callers,
/// so Python code that could change a `bytearray` does not run meanwhile.
pub(crate) enum Payload<'a, 'py> {
    Bytes(&'a Bound<'py, PyBytes>),
    Buffer(PyUntypedBuffer),
    /// Written by this extension.
    Written(&'a [u8]),
}

/// Whether an object has a buffer.
pub(crate) fn has_buffer(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: `object` is a live object, which is all the check asks for.
    unsafe { pyo3::ffi::PyObject_CheckBuffer(object.as_ptr()) != 0 }
}

/// The buffer of an object.
pub(crate) fn buffer_of(object: &Bound<'_, PyAny>) -> PyResult<PyUntypedBuffer> {
    // An array of ctypes leaves the strides out; a memoryview of it fills them in.
    PyUntypedBuffer::get(object).or_else(|_| PyUntypedBuffer::get(PyMemoryView::from(object)?.as_any()))
}

impl<'a, 'py> Payload<'a, 'py> {
    /// The bytes of any bytes-like object.
    ///
    /// # Errors
    /// `TypeError` for what has no bytes, `BufferError` for what has them scattered.
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

    /// The bytes.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.as_bytes(),
            Self::Written(bytes) => bytes,
            Self::Buffer(buffer) if buffer.len_bytes() == 0 => &[],
            // SAFETY: a C-contiguous buffer has `len_bytes` readable bytes from its pointer on, and its exporter may
            // neither move nor free them until it is released, which dropping `self` does.
            Self::Buffer(buffer) => unsafe { slice::from_raw_parts(buffer.buf_ptr().cast(), buffer.len_bytes()) },
        }
    }
}
