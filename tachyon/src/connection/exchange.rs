//! Waiting on both directions of a connection at once.

use super::error::{Halt, Unsent};
use super::rx::{Rx, look_for_data};
use super::tx::{Tx, look_for_room};
use crate::ring::{Frame, Reservation};
use crate::wait::Deadline;

/// Messages that one look takes: a peer that floods must not keep us from looking at the clock.
pub(crate) const MOST_PER_LOOK: u32 = 256;

/// Waits for `len` bytes of room in one direction while handing what comes in the other to `keep`: a peer that waits for
/// room there is what keeps this direction full.
///
/// # Errors
/// What ends the wait, or what `keep` makes of a message.
pub(crate) fn room_while_taking(
    tx: &mut Tx,
    rx: &mut Rx,
    len: usize,
    deadline: Deadline,
    mut keep: impl FnMut(&mut Rx, Frame) -> Result<(), Halt>,
) -> Result<Reservation, Unsent> {
    rx.release_forgotten();
    let Tx { connection, index, producer, waiter, .. } = tx;
    let forward = connection.ring(*index);
    // The rings are the connection's, so that `rx` stays free for the look.
    let reverse = connection.ring(rx.index);
    let words = [&forward.header().producer_parked.0, &reverse.header().consumer_parked.0];
    let awaited = connection.awaited(&words, deadline);
    waiter
        .wait(&awaited, || {
            loop {
                // Room first: a peer that closed after making it is for `look_for_room` to report.
                let found = look_for_room(connection, forward, producer, len)?;
                if found.is_some() {
                    return Ok(found);
                }
                for _ in 0..MOST_PER_LOOK {
                    match look_for_data(&rx.connection, reverse, &mut rx.consumer)? {
                        Some(frame) => keep(rx, frame)?,
                        // Only a look that leaves nothing may be followed by sleep.
                        None => return Ok(None),
                    }
                }
                rx.check_deadline(deadline)?;
            }
        })
        .map_err(|stop| connection.wait_failed(stop).into())
}
