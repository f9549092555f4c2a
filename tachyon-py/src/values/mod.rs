//! Conversions between Python values and messages.

pub(crate) mod access;
pub(crate) mod objects;
pub(crate) mod plan;
pub(crate) mod read;
pub(crate) mod write;
