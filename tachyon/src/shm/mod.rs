//! Shared memory: segments both sides can map and nobody can resize.
//!
//! A segment is an anonymous file (`memfd`) whose size is sealed for ever before anyone else sees it. The seals are what
//! makes mapping a peer's segment sound: a file that cannot shrink cannot turn a load of ours into `SIGBUS`.

mod available;
mod cgroup;
mod error;
mod numa;
mod segment;
mod words;

pub use error::{NumaError, ShmError};
pub(crate) use segment::Segment;
pub(crate) use words::{ObservedWords, Words};
