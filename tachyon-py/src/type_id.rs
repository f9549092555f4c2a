//! Type ids as Python integers.

use pyo3::prelude::*;

use crate::args::{self, Integer};

/// Join a route (upper 16 bits) and a message type (lower 16 bits); routes from 1 up are reserved for RPC.
#[pyfunction]
pub(crate) fn make_type_id(route: Integer, msg_type: Integer) -> PyResult<u32> {
    Ok(tachyon::type_id::make_type_id(args::sixteen_bits("route", route)?, args::sixteen_bits("msg_type", msg_type)?))
}

/// Return the route of a type id: its upper 16 bits.
#[pyfunction]
pub(crate) fn route_id(type_id: Integer) -> PyResult<u16> {
    Ok(tachyon::type_id::route_id(args::type_id(type_id)?))
}

/// Return the message type of a type id: its lower 16 bits.
#[pyfunction]
pub(crate) fn msg_type(type_id: Integer) -> PyResult<u16> {
    Ok(tachyon::type_id::msg_type(args::type_id(type_id)?))
}
