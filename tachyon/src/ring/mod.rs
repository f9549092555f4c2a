//! One direction of a connection: a lock-free ring for one producer and one consumer in two processes.
//!
//! The slot carries its own sequence, which the consumer polls, so no index is shared (the scheme of Dmitry Vyukov's
//! bounded queue, narrowed to one producer and one consumer), and right behind it a payload that fits. A longer payload
//! lies in the arena, contiguous. `docs/internals/wire-format.md` draws the bytes, `docs/internals/memory-model.md`
//! pairs the orderings.

mod consumer;
mod geometry;
mod layout;
mod memory;
mod parked;
mod producer;
#[cfg(test)]
mod tests;

pub(crate) use consumer::{Consumer, Frame, Look, unreleased};
pub use geometry::{CapacityError, MAX_CAPACITY};
pub(crate) use geometry::{Geometry, Use};
#[cfg(any(test, fuzzing))]
pub(crate) use layout::HEADER_LEN;
#[cfg(any(test, fuzzing))]
pub(crate) use layout::{halves, joined};
pub use memory::Fault;
pub(crate) use memory::{RingMemory, Side};
pub(crate) use parked::{ParkedWord, arm};
pub(crate) use producer::{MessageHeader, Producer, Reservation};
