//! Conversions between Python values and messages.

pub(crate) mod fields;
pub(crate) mod items;
pub(crate) mod plan;
pub(crate) mod read;
pub(crate) mod struct_memory;
pub(crate) mod write;
