//! Waiting on both directions of a connection at once.

use super::incoming::look_for_data;
use super::outgoing::look_for_room;
use super::{Incoming, Outgoing};
use crate::error::{Halt, Unsent};
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
    outgoing: &mut Outgoing,
    incoming: &mut Incoming,
    len: usize,
    deadline: Deadline,
    mut keep: impl FnMut(&mut Incoming, Frame) -> Result<(), Halt>,
) -> Result<Reservation, Unsent> {
    incoming.release_forgotten();
    let Outgoing { connection, index, producer, waiter, .. } = outgoing;
    let forward = connection.ring(*index);
    // The rings are the connection's, so that `incoming` stays free for the look.
    let reverse = connection.ring(incoming.index);
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
                    match look_for_data(&incoming.connection, reverse, &mut incoming.consumer)? {
                        Some(frame) => keep(incoming, frame)?,
                        // Only a look that leaves nothing may be followed by sleep.
                        None => return Ok(None),
                    }
                }
                incoming.check_patience(deadline)?;
            }
        })
        .map_err(|stop| connection.stopped(stop).into())
}
