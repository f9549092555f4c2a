//! The steps of an event loop, none of which waits.

pub(crate) mod loop_calls;
pub(crate) mod loop_serving;
pub(crate) mod loop_streams;
