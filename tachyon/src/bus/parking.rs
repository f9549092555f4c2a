//! A connection that is parked while an epoll, or an event loop, sleeps for it and for others.

use super::incoming::Incoming;
use super::outgoing::Outgoing;
use crate::ring::ParkedWord;
use crate::wait::{Armed, SECOND_LOOK, arm_and_look};

/// Asks the peer to ring and looks for 5 us more. If there is still nothing, gives the time of the second look: until
/// then the socket and the peer's end have to be watched, and [`unpark`] follows when they tell of something, or when
/// the time has come. Otherwise the peer rings no more.
///
/// A parked connection waits for messages, unless too many replies are deferred, and for room, if any are.
pub(crate) fn park(incoming: &Incoming, outgoing: &mut Outgoing) -> Option<u64> {
    // The ring is the connection's, so that `outgoing` stays free for the look.
    let words: [&ParkedWord; 2] = [
        &incoming.ring().header().consumer_parked.0,
        &incoming.connection.ring(outgoing.index).header().producer_parked.0,
    ];
    let waits_for = usize::from(outgoing.is_overfull())..=usize::from(outgoing.has_deferred());
    let mut look = || Ok::<_, core::convert::Infallible>(is_due(incoming, outgoing));
    let Ok(Armed::Sleep { since }) = arm_and_look(&words[waits_for], &mut look) else {
        unpark(incoming, outgoing);
        return None;
    };
    Some(since + SECOND_LOOK)
}

/// Whether a parked connection has to be looked at: what it waits for is there, or the connection has ended.
pub(crate) fn is_due(incoming: &Incoming, outgoing: &mut Outgoing) -> Option<()> {
    let full = outgoing.is_overfull();
    let due = !incoming.ring().is_open()
        || incoming.connection.peer.was_gone()
        || (!full && incoming.consumer.is_ready())
        // An error is for the next turn to find.
        || (outgoing.has_deferred() && (!matches!(outgoing.flush(), Ok(false)) || outgoing.is_overfull() != full));
    due.then_some(())
}

/// Asks the peer to ring no more: the connection is looked at again.
pub(crate) fn unpark(incoming: &Incoming, outgoing: &Outgoing) {
    incoming.ring().header().consumer_parked.0.clear();
    outgoing.ring().header().producer_parked.0.clear();
}
