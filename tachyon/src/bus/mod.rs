//! A one-way bus: the end that sends, the end that receives, and what they lend.

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
