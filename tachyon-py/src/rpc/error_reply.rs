//! Error replies as Python exceptions.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tachyon::{CallError, ErrorKind};

use crate::errors::{BadReplyError, InvalidArgumentError, Raise, RpcError, remote};
use crate::memory::payload::Payload;
use crate::rpc::contract::Contract;
use crate::runtime::package::imported;

/// The member of `tachyon.ErrorKind`.
pub(crate) fn error_kind(py: Python<'_>, kind: ErrorKind) -> PyResult<Bound<'_, PyAny>> {
    imported!(py, "tachyon.errors", "ErrorKind")?.call1((kind as u16,))
}

/// The exception for an error reply; an error that `contract` declares becomes its class.
#[cold]
pub(crate) fn remote_error(
    error: &tachyon::RpcError,
    payload: &Bound<'_, PyBytes>,
    contract: Option<&Contract>,
) -> PyErr {
    let py = payload.py();
    if let Some(contract) = contract {
        match contract.declared(py, error) {
            Ok(Some(declared)) => return PyErr::from_value(declared),
            Ok(None) => {}
            Err(raised) => return raised,
        }
    }
    remote(error, payload)
}

/// The exception that the caller gets for an error reply, by its type identifier and bytes.
#[cold]
pub(crate) fn raised(type_id: u32, payload: &Bound<'_, PyBytes>, contract: Option<&Contract>) -> PyErr {
    match tachyon::__binding::decode_error(type_id, payload.as_bytes()) {
        // The callee saw the deadline first; this side would have seen it next.
        Some(error) if error.kind == ErrorKind::DeadlinePassed => CallError::TimedOut { sent: true }.raise(),
        Some(error) => remote_error(&error, payload, contract),
        None => BadReplyError::new_err("the callee sent a reply in place of an error"),
    }
}

/// Give the exception for an error reply of a kind.
#[pyfunction]
pub(crate) fn read_error<'py>(kind: u16, payload: &Bound<'py, PyBytes>) -> Option<Bound<'py, PyAny>> {
    let type_id = tachyon::type_id::make_type_id(kind, tachyon::type_id::MSG_TYPE_ERROR);
    let error = tachyon::__binding::decode_error(type_id, payload.as_bytes())?;
    let py = payload.py();
    Some(remote_error(&error, payload, None).into_value(py).into_bound(py).into_any())
}

/// Return the message type of the request of an error reply, or of the error raised for it.
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

/// The error reply behind an exception: type id and payload.
pub(crate) fn error_reply<'py>(raised: &Bound<'py, PyAny>) -> PyResult<(u32, Bound<'py, PyBytes>)> {
    let py = raised.py();
    let kind: u16 = raised.getattr(pyo3::intern!(py, "kind"))?.extract()?;
    let payload = raised.getattr(pyo3::intern!(py, "payload"))?.cast_into::<PyBytes>()?;
    Ok((tachyon::type_id::make_type_id(kind, tachyon::type_id::MSG_TYPE_ERROR), payload))
}
