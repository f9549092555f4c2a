//! A connection that is parked while an epoll, or an event loop, sleeps for it and for others.

use super::incoming::Incoming;
use super::outgoing::Outgoing;
use crate::wait::{Armed, SECOND_LOOK, arm_and_look};

/// What a parked connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// A message that comes in.
    Messages,
    /// Room for replies that are kept.
    Room,
}

/// Asks the peer to ring and looks for 5 us more. If there is still nothing, gives the time of the second look: until
/// then the socket and the peer's end have to be watched, and [`unpark`] follows when they tell of something, or when
/// the time has come. Otherwise the peer rings no more.
pub(crate) fn park(incoming: &Incoming, outgoing: &mut Outgoing, wait_for: WaitFor) -> Option<u64> {
    let word = match wait_for {
        WaitFor::Messages => &incoming.ring().header().consumer_parked.0,
        // The ring is the connection's, so that `outgoing` stays free for the look.
        WaitFor::Room => &incoming.connection.ring(outgoing.index).header().producer_parked.0,
    };
    let mut look = || Ok::<_, core::convert::Infallible>(is_due(incoming, outgoing, wait_for));
    let Ok(Armed::Sleep { since }) = arm_and_look(&[word], &mut look) else {
        unpark(incoming, outgoing);
        return None;
    };
    Some(since + SECOND_LOOK)
}

/// Whether a parked connection has to be looked at: what it waits for is there, or the connection has ended.
pub(crate) fn is_due(incoming: &Incoming, outgoing: &mut Outgoing, wait_for: WaitFor) -> Option<()> {
    let due = !incoming.ring().is_open()
        || incoming.connection.peer.was_gone()
        || match wait_for {
            WaitFor::Messages => incoming.consumer.is_ready(),
            // An error is for the next turn to find.
            WaitFor::Room => !matches!(outgoing.flush(), Ok(false)),
        };
    due.then_some(())
}

/// Asks the peer to ring no more: the connection is looked at again.
pub(crate) fn unpark(incoming: &Incoming, outgoing: &Outgoing) {
    incoming.ring().header().consumer_parked.0.clear();
    outgoing.ring().header().producer_parked.0.clear();
}
