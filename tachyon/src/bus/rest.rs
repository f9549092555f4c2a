//! A connection that rests: somebody else sleeps, on its bells among many others.

use super::incoming::data_source;
use super::outgoing::room_source;
use super::{Incoming, Outgoing};

/// What a connection that has nothing to do is in want of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// A message that comes in.
    Messages,
    /// Room for what was kept.
    Room,
}

/// Has the peer ring for what is lacking, and looks a last time. True when that is still not there: from now on both
/// bells and the peer's end have to be watched, and [`rouse`] follows what they tell. Otherwise the peer rings for nothing.
pub(crate) fn may_rest(incoming: &Incoming, outgoing: &mut Outgoing, lack: Lack) -> bool {
    match lack {
        Lack::Messages => data_source(incoming.channel()).arm(),
        Lack::Room => room_source(outgoing.channel()).arm(),
    }
    let rests = incoming.channel().memory.is_open()
        && !incoming.connection.peer.was_gone()
        && match lack {
            Lack::Messages => !incoming.consumer.is_ready(),
            // An error is for the next turn to find.
            Lack::Room => matches!(outgoing.flush(), Ok(false)),
        };
    if !rests {
        rouse(incoming, outgoing);
    }
    rests
}

/// Has the peer ring no more: the connection is looked at again.
pub(crate) fn rouse(incoming: &Incoming, outgoing: &Outgoing) {
    data_source(incoming.channel()).disarm();
    room_source(outgoing.channel()).disarm();
}
