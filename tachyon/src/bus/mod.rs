//! One direction between two processes: a ring, the way to wait on it, and the life of its connection.

mod batch;
mod connection;
mod end;
mod exchange;
pub(crate) mod fork;
mod incoming;
mod message;
mod outgoing;
mod parking;
mod receiver;
mod sender;
mod undecided;

pub use batch::{Iter as BatchIter, RxBatchGuard, RxMsgView};
pub use connection::State;
pub(crate) use connection::{Connection, Established};
pub(crate) use end::End;
pub(crate) use exchange::{MOST_PER_LOOK, room_while_taking};
pub(crate) use incoming::{Incoming, look_for_data};
pub use message::Message;
pub(crate) use outgoing::Outgoing;
pub(crate) use parking::{is_due, park, unpark};
pub use receiver::{Messages, Receiver, RxGuard};
pub use sender::{Sender, TxGuard};
pub use undecided::Bus;
