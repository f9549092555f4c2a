//! A connection between two processes: its two directions (`Rx`, `Tx`), the waits on them, its life and its end.

mod end;
mod error;
mod established;
mod exchange;
pub(crate) mod fork;
mod life;
mod open;
mod parking;
mod process_mutex;
mod rx;
pub(crate) mod slice;
mod tx;

pub(crate) use end::End;
pub use error::{CommitError, WrongDirection};
pub(crate) use error::{Halt, Unsent, family};
pub(crate) use established::Established;
pub(crate) use exchange::{MAX_PER_LOOK, room_while_taking};
pub(crate) use life::Connection;
pub use life::State;
pub(crate) use open::{connect, in_process, listen};
pub(crate) use parking::{is_due, park, unpark};
pub(crate) use process_mutex::ProcessMutex;
pub(crate) use rx::{Rx, look_for_data};
pub(crate) use tx::{Tx, look_for_room};
