//! Waiting on both directions of a connection at once.

use super::incoming::{data_source, look_for_data};
use super::outgoing::{look_for_room, room_source};
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
    let Outgoing { connection, index, producer, waiter, .. } = outgoing;
    let forward = connection.channel(*index);
    // The words and bells are the connection's, so that `incoming` stays free for the look.
    let reverse = connection.channel(incoming.index);
    let sources = [room_source(forward), data_source(reverse)];
    waiter
        .wait(deadline, &connection.peer, &sources, || {
            // Room first: a peer that closed after making it is for `look_for_room` to report.
            let found = look_for_room(connection, forward, producer, len)?;
            if found.is_none() {
                for _ in 0..MOST_PER_LOOK {
                    match look_for_data(&incoming.connection, reverse, &mut incoming.consumer)? {
                        Some(frame) => keep(incoming, frame)?,
                        None => break,
                    }
                }
            }
            Ok(found)
        })
        .map_err(|stop| Halt::from(stop).into())
}
