//! The directions of a connection, without what is public of them.

#[path = "../../../../tachyon/src/connection/end.rs"]
mod end;
mod error;
#[path = "../../../../tachyon/src/connection/established.rs"]
mod established;
#[path = "../../../../tachyon/src/connection/exchange.rs"]
mod exchange;
#[path = "../../../../tachyon/src/connection/life.rs"]
mod life;
#[path = "../../../../tachyon/src/connection/parking.rs"]
mod parking;
#[path = "../../../../tachyon/src/connection/rx.rs"]
mod rx;
#[path = "../../../../tachyon/src/connection/slice.rs"]
pub(crate) mod slice;
#[path = "../../../../tachyon/src/connection/tx.rs"]
mod tx;

/// No thread of a model forks.
mod fork {
    pub(super) fn generation() -> u32 {
        0
    }

    pub(super) fn watch() -> u32 {
        0
    }
}

pub(crate) use end::End;
pub(crate) use error::{Halt, Unsent, WrongDirection};
pub(crate) use established::Established;
pub(crate) use exchange::{MAX_PER_LOOK, room_while_taking};
pub(crate) use life::Connection;
pub(crate) use parking::{is_due, park, unpark};
pub(crate) use rx::{Rx, look_for_data};
pub(crate) use tx::{Tx, look_for_room};
