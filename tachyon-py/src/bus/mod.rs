//! The one-way bus, and the parts that both kinds of bus share.

pub(crate) mod guards;
pub(crate) mod lifetime;
pub(crate) mod message;
pub(crate) mod one_way;
pub(crate) mod ring_ends;
pub(crate) mod try_lock;
