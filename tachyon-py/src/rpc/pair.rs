//! Both ends of a connection in this process, for `tachyon.testing`.

use std::path::PathBuf;

use pyo3::prelude::*;

use crate::args::{self, Integer, Polling};
use crate::errors::SystemCallError;
use crate::rpc::rpc_bus::RpcBus;

/// Make a connection without a path; return the buses of its callee and of its caller. Each ring has `capacity` bytes.
#[pyfunction]
#[allow(clippy::needless_pass_by_value, reason = "Python's arguments are owned")]
pub(crate) fn rpc_pair(capacity: Integer) -> PyResult<(RpcBus, RpcBus)> {
    let capacity = args::size("capacity", capacity)?;
    let [callee, caller] = tachyon::__binding::rpc_pair(capacity)
        .map_err(|error| SystemCallError::new_err((error.raw_os_error(), error.to_string())))?;
    let bus = |end| RpcBus::over(end, PathBuf::from("(in this process)"), Polling::ADAPTIVE);
    Ok((bus(callee), bus(caller)))
}
