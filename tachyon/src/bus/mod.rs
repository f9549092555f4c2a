//! One direction between two processes: a ring, the way to wait on it, and the life of its connection.

mod batch;
mod connection;
mod fork;
mod incoming;
mod message;
mod outgoing;
mod receiver;
mod sender;
mod undecided;

pub use batch::{Iter as BatchIter, RxBatchGuard, RxMsgView};
#[cfg(any(test, fuzzing))]
pub(crate) use connection::Channel;
pub use connection::State;
pub(crate) use connection::{Connection, Established};
pub(crate) use incoming::{Incoming, data_source, look_for_data};
pub use message::Message;
pub(crate) use outgoing::{Outgoing, look_for_room, room_source};
pub use receiver::{Messages, Receiver, RxGuard};
pub use sender::{Sender, TxGuard};
pub use undecided::Bus;
