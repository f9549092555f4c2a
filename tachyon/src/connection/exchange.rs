//! Waiting on both directions of a connection at once.

use super::error::{Halt, Unsent};
use super::life::Connection;
use super::rx::{Rx, look_for_data};
use super::tx::Tx;
use crate::ring::{Frame, Producer, RingMemory};
use crate::wait::Deadline;

/// Most messages that one look takes: a flood from the peer must not keep the look from ending.
pub(crate) const MAX_PER_LOOK: u32 = 256;

/// Waits until `look` finds room in one direction, and passes messages of the other direction to `keep` meanwhile: the
/// peer may make no room here because it waits for room there. Both functions get `shared`.
///
/// # Errors
/// The end of the wait, or an error of `keep`.
pub(crate) fn room_while_taking<C, R>(
    (tx, rx, shared): (&mut Tx, &mut Rx, &mut C),
    deadline: Deadline,
    mut look: impl FnMut(&Connection, &RingMemory, &mut Producer, &mut C) -> Result<Option<R>, Halt>,
    mut keep: impl FnMut(&mut Rx, &mut C, Frame) -> Result<(), Halt>,
) -> Result<R, Unsent> {
    rx.release_forgotten();
    let Tx { connection, index, producer, waiter, .. } = tx;
    let forward = connection.ring(*index);
    // Borrowed from the connection, so that `rx` stays free for the look.
    let reverse = connection.ring(rx.index);
    let words = [&forward.header().producer_parked.0, &reverse.header().consumer_parked.0];
    let awaited = connection.awaited(&words, deadline);
    waiter
        .wait(&awaited, || {
            loop {
                // Room first: if the peer has closed, the look reports it.
                let found = look(connection, forward, producer, shared)?;
                if found.is_some() {
                    return Ok(found);
                }
                for _ in 0..MAX_PER_LOOK {
                    match look_for_data(&rx.connection, reverse, &mut rx.consumer)? {
                        Some(frame) => keep(rx, shared, frame)?,
                        // The ring is empty: the waiter may sleep.
                        None => return Ok(None),
                    }
                }
                rx.check_deadline(deadline)?;
            }
        })
        .map_err(|stop| connection.wait_failed(stop).into())
}
