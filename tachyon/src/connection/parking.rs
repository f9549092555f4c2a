//! Parks a connection for a driver with many connections, which sleeps in an epoll or an event loop.

use super::rx::Rx;
use super::tx::Tx;
use crate::ring::ParkedWord;
use crate::wait::{Armed, SECOND_LOOK, arm_and_look};

/// Asks the peer to ring and looks for 5 us more. If all looks fail, returns the time of the second look in
/// nanoseconds: until then the driver watches the socket and the peer's end, and calls [`unpark`] when one of them is
/// ready, or at that time. If a look succeeds, returns `None`, and the peer does not ring.
///
/// A parked connection waits for messages, unless too many replies are deferred, and for room, if any are, or if
/// `wants_room` says so. `has_room` is a further look.
pub(crate) fn park(rx: &Rx, tx: &mut Tx, wants_room: bool, mut has_room: impl FnMut(&mut Tx) -> bool) -> Option<u64> {
    // Borrowed from the connection, so that `tx` stays free for the look.
    let words: [&ParkedWord; 2] =
        [&rx.ring().header().consumer_parked.0, &rx.connection.ring(tx.index).header().producer_parked.0];
    let waits_for = usize::from(tx.is_overfull())..=usize::from(tx.has_deferred() || wants_room);
    let mut look = || Ok::<_, core::convert::Infallible>(is_due(rx, tx).or_else(|| has_room(tx).then_some(())));
    let Ok(Armed::Sleep { since }) = arm_and_look(&words[waits_for], &mut look) else {
        unpark(rx, tx);
        return None;
    };
    Some(since + SECOND_LOOK)
}

/// Whether a parked connection has work: a message or room that it waits for, or its end.
pub(crate) fn is_due(rx: &Rx, tx: &mut Tx) -> Option<()> {
    let full = tx.is_overfull();
    let due = !rx.ring().is_open()
        || rx.connection.peer.was_gone()
        || (!full && rx.consumer.is_ready())
        // An error counts as work: the next pass reports it.
        || (tx.has_deferred() && (!matches!(tx.flush(), Ok(false)) || tx.is_overfull() != full));
    due.then_some(())
}

/// Asks the peer not to ring: the driver polls the connection again.
pub(crate) fn unpark(rx: &Rx, tx: &Tx) {
    rx.ring().header().consumer_parked.0.clear();
    tx.ring().header().producer_parked.0.clear();
}
