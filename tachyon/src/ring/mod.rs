//! One direction of a connection: a lock-free ring for one producer and one consumer in two processes.
//!
//! A small message is one cache line: the slot carries its own sequence number, which the consumer polls, so no index
//! is shared (the scheme of Dmitry Vyukov's bounded queue, narrowed to one producer and one consumer). A longer
//! payload lies in the arena, contiguous. `docs/wire-format.md` draws the bytes, `docs/memory-model.md` pairs the
//! orderings.

mod consumer;
mod geometry;
mod layout;
mod memory;
mod producer;
#[cfg(test)]
mod tests;

pub(crate) use consumer::{Consumer, Frame, Plain};
pub(crate) use geometry::Geometry;
pub use geometry::{CapacityError, MAX_CAPACITY};
#[cfg(any(test, fuzzing))]
pub(crate) use layout::{HEADER_LEN, INLINE_LEN};
pub use memory::Fault;
pub(crate) use memory::{RingMemory, Side};
pub(crate) use producer::{Producer, Reservation};
