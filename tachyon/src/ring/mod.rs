//! One direction of a connection: a lock-free ring for one producer and one consumer in two processes.
//!
//! Each slot carries a sequence, which the consumer polls, so the two ends share no index. This is the scheme of Dmitry
//! Vyukov's bounded queue, for one producer and one consumer. A payload that fits the slot follows the sequence; a
//! longer payload lies in the arena, in one piece. `docs/internals/wire-format.md` shows the bytes, and
//! `docs/internals/memory-model.md` names the writer, the ordering and the partner of every word.

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
pub(crate) use layout::CELLS;
#[cfg(any(test, fuzzing))]
pub(crate) use layout::HEADER_LEN;
#[cfg(any(test, fuzzing))]
pub(crate) use layout::{halves, joined};
pub use memory::Fault;
pub(crate) use memory::{RingMemory, Side};
pub(crate) use parked::{ParkedWord, arm};
pub(crate) use producer::{MessageHeader, Producer, Reservation};
