//! Shared memory: segments that both sides map and no process can resize.
//!
//! A segment is an anonymous file (`memfd`). Its maker seals its size before another process gets the descriptor. The
//! seals make mapping a peer's segment sound: a file that cannot shrink cannot turn a load into `SIGBUS`.

mod available;
mod cgroup;
mod error;
mod numa;
mod segment;
mod words;

pub use error::{NumaError, ShmError};
pub(crate) use segment::Segment;
pub(crate) use words::{ObservedWords, Words};
