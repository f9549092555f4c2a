//! The directions of a connection, without their public types.

#[path = "../../../../tachyon/src/bus/connection.rs"]
mod connection;
#[path = "../../../../tachyon/src/bus/end.rs"]
mod end;
#[path = "../../../../tachyon/src/bus/exchange.rs"]
mod exchange;
#[path = "../../../../tachyon/src/bus/incoming.rs"]
mod incoming;
#[path = "../../../../tachyon/src/bus/outgoing.rs"]
mod outgoing;
#[path = "../../../../tachyon/src/bus/parking.rs"]
mod parking;

/// No thread of a model forks.
mod fork {
    pub(super) fn generation() -> u32 {
        0
    }

    pub(super) fn watch() -> u32 {
        0
    }
}

pub(crate) use connection::{Connection, Established};
pub(crate) use end::End;
pub(crate) use exchange::{MOST_PER_LOOK, room_while_taking};
pub(crate) use incoming::{Incoming, look_for_data};
pub(crate) use outgoing::{Outgoing, look_for_room};
pub(crate) use parking::{is_due, park, unpark};
