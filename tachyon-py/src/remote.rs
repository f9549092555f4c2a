//! Error replies as Python sees them.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tachyon::ErrorKind;

use crate::errors::{InvalidArgumentError, NoHandlerError, RpcError};
use crate::package::imported;
use crate::payload::Payload;

/// The member of `tachyon.ErrorKind`.
pub(crate) fn error_kind(py: Python<'_>, kind: ErrorKind) -> PyResult<Bound<'_, PyAny>> {
    imported!(py, "tachyon.errors", "ErrorKind")?.call1((kind as u16,))
}

/// The exception that a caller gets for an error reply.
#[cold]
pub(crate) fn remote_error(error: &tachyon::RpcError, payload: Bound<'_, PyBytes>) -> PyErr {
    let parts = (error.kind as u16, error.msg_type, error.text.clone(), payload.unbind());
    if error.kind == ErrorKind::NoHandler { NoHandlerError::new_err(parts) } else { RpcError::new_err(parts) }
}

/// Return the message type of the request that an error reply, or the error raised for it, is about.
#[pyfunction]
#[pyo3(name = "_decode_error")]
pub(crate) fn decode_error(payload: &Bound<'_, PyAny>) -> PyResult<u16> {
    let py = payload.py();
    if payload.is_instance(&py.get_type::<RpcError>())? {
        return payload.getattr(pyo3::intern!(py, "msg_type"))?.extract();
    }
    let payload = Payload::of(payload)?;
    match payload.as_slice().first_chunk() {
        Some(of) => Ok(u16::from_be_bytes(*of)),
        None => Err(InvalidArgumentError::new_err("an error reply begins with 2 bytes, the msg_type of its request")),
    }
}
