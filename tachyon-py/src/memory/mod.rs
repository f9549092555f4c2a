//! Buffers: bytes that Python passes in, and views of shared memory that Python gets.

pub(crate) mod buffer_export;
pub(crate) mod dlpack;
pub(crate) mod payload;
pub(crate) mod request_view;
