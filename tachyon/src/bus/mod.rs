//! A bus: one ring, by which one process sends messages to another.
//!
//! [`Sender`] and [`Receiver`] are the two ends, and either end may listen. [`Sender`] has an example of both. A
//! message is bytes and a type id, a number that both sides agree on.

mod batch;
mod error;
mod message;
mod receiver;
mod sender;
mod unassigned;

pub use crate::ring::MAX_CAPACITY;
pub use batch::{Iter as BatchIter, RxBatchGuard, RxMsgView};
pub use error::{RecvError, SendError};
pub use message::Message;
pub use receiver::{Messages, Receiver, RxGuard};
pub use sender::{Sender, TxGuard};
pub use unassigned::Bus;
