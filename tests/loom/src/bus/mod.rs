//! The directions of a connection, without what is public of them.

#[path = "../../../../tachyon/src/bus/connection.rs"]
mod connection;
#[path = "../../../../tachyon/src/bus/exchange.rs"]
mod exchange;
#[path = "../../../../tachyon/src/bus/incoming.rs"]
mod incoming;
#[path = "../../../../tachyon/src/bus/outgoing.rs"]
mod outgoing;
#[path = "../../../../tachyon/src/bus/rest.rs"]
mod rest;

/// Nobody forks in a model.
mod fork {
    pub(super) fn generation() -> u32 {
        0
    }

    pub(super) fn watch() {}
}

pub(crate) use connection::{Channel, Connection, Established};
pub(crate) use exchange::room_while_taking;
pub(crate) use incoming::{Incoming, data_source, look_for_data};
pub(crate) use outgoing::{Outgoing, look_for_room, room_source};
pub(crate) use rest::{Lack, may_rest, rouse};
