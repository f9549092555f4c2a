//! A connection that is parked while an epoll, or an event loop, sleeps for it and for others.

use super::rx::Rx;
use super::tx::Tx;
use crate::ring::ParkedWord;
use crate::wait::{Armed, SECOND_LOOK, arm_and_look};

/// Asks the peer to ring and looks for 5 us more. If there is still nothing, gives the time of the second look: until
/// then the socket and the peer's end have to be watched, and [`unpark`] follows when they tell of something, or when
/// the time has come. Otherwise the peer rings no more.
///
/// A parked connection waits for messages, unless too many replies are deferred, and for room, if any are.
pub(crate) fn park(rx: &Rx, tx: &mut Tx) -> Option<u64> {
    // The ring is the connection's, so that `tx` stays free for the look.
    let words: [&ParkedWord; 2] =
        [&rx.ring().header().consumer_parked.0, &rx.connection.ring(tx.index).header().producer_parked.0];
    let waits_for = usize::from(tx.is_overfull())..=usize::from(tx.has_deferred());
    let mut look = || Ok::<_, core::convert::Infallible>(is_due(rx, tx));
    let Ok(Armed::Sleep { since }) = arm_and_look(&words[waits_for], &mut look) else {
        unpark(rx, tx);
        return None;
    };
    Some(since + SECOND_LOOK)
}

/// Whether a parked connection has to be looked at: what it waits for is there, or the connection has ended.
pub(crate) fn is_due(rx: &Rx, tx: &mut Tx) -> Option<()> {
    let full = tx.is_overfull();
    let due = !rx.ring().is_open()
        || rx.connection.peer.was_gone()
        || (!full && rx.consumer.is_ready())
        // An error is for the next turn to find.
        || (tx.has_deferred() && (!matches!(tx.flush(), Ok(false)) || tx.is_overfull() != full));
    due.then_some(())
}

/// Asks the peer to ring no more: the connection is looked at again.
pub(crate) fn unpark(rx: &Rx, tx: &Tx) {
    rx.ring().header().consumer_parked.0.clear();
    tx.ring().header().producer_parked.0.clear();
}
