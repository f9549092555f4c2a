//! Deadlines on the wire: a request that must be answered in time says until when.
//!
//! Such a request travels on [`ROUTE_DEADLINE`] and begins with eight bytes: the `CLOCK_MONOTONIC` time, in nanoseconds
//! and little-endian, from which on its caller waits no longer. The payload follows. The clock is the machine's, so
//! both processes read it alike, unless one was moved to a time namespace of its own.

use crate::bus::Outgoing;
use crate::error::Unsent;
use crate::ring::Reservation;
use crate::slice;
use crate::type_id::{ROUTE_DEADLINE, make_type_id};
use crate::wait::Deadline;

/// Bytes before the payload of a request with a deadline.
pub(crate) const PREFIX_LEN: usize = 8;

/// What travels before the payload; `None` for a request without a limit, which travels plainly.
#[inline]
pub(crate) fn write_deadline(deadline: Deadline) -> Option<[u8; PREFIX_LEN]> {
    deadline.nanos().map(u64::to_le_bytes)
}

/// What a request's first bytes say. No value does harm: it lies in the past, in the future, or is never reached.
#[inline]
pub(crate) fn read_deadline(prefix: [u8; PREFIX_LEN]) -> Deadline {
    Deadline::at_nanos(u64::from_le_bytes(prefix))
}

/// The shape of one request on the wire: which message type, how long, and until when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    type_id: u32,
    prefix: Option<[u8; PREFIX_LEN]>,
    /// Bytes on the ring.
    len: usize,
}

impl Shape {
    /// The shape of a request of `size` bytes that travels over `outgoing`.
    ///
    /// # Errors
    /// [`Unsent::TooLarge`] when it can never fit.
    #[inline]
    pub(crate) fn new(outgoing: &Outgoing, msg_type: u16, size: usize, deadline: Deadline) -> Result<Self, Unsent> {
        let Some(prefix) = write_deadline(deadline) else {
            return Ok(Self { type_id: make_type_id(0, msg_type), prefix: None, len: size });
        };
        let max = outgoing.max_len();
        match size.checked_add(PREFIX_LEN) {
            Some(len) if len <= max => {
                Ok(Self { type_id: make_type_id(ROUTE_DEADLINE, msg_type), prefix: Some(prefix), len })
            }
            _ => Err(Unsent::TooLarge { size, max: max.saturating_sub(PREFIX_LEN) }),
        }
    }

    /// Bytes on the ring.
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// Sends `payload`, which has the size this shape was made for, if there is room; false when there is none.
    #[inline]
    pub(crate) fn try_send(self, outgoing: &mut Outgoing, payload: &[u8], call: u64) -> Result<bool, Unsent> {
        if self.prefix.is_none() {
            return outgoing.try_send(payload, self.type_id, call);
        }
        let Some(reservation) = outgoing.try_reserve(self.len)? else { return Ok(false) };
        self.send(outgoing, reservation, payload, call);
        Ok(true)
    }

    /// Sends `payload` in a reservation of [`len`](Self::len) bytes, without a copy of it anywhere else.
    pub(crate) fn send(self, outgoing: &mut Outgoing, mut reservation: Reservation, payload: &[u8], call: u64) {
        match self.prefix {
            None => outgoing.fill(reservation, payload),
            Some(prefix) => {
                let (first, rest) = slice::reserved_mut(&mut reservation, outgoing).split_at_mut(PREFIX_LEN);
                first.copy_from_slice(&prefix);
                rest[..payload.len()].copy_from_slice(payload);
            }
        }
        outgoing.publish(reservation, self.len, self.type_id, call);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deadline_survives_the_wire() {
        let deadline = Deadline::after(Duration::from_secs(5));
        assert_eq!(read_deadline(write_deadline(deadline).unwrap()), deadline);
        assert_eq!(write_deadline(Deadline::never()), None);
    }

    #[test]
    fn the_bytes_are_little_endian_nanoseconds() {
        assert_eq!(write_deadline(Deadline::at_nanos(0x0102)), Some([2, 1, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn any_bytes_are_harmless() {
        assert!(read_deadline([0; 8]).has_passed());
        assert_eq!(read_deadline([0; 8]).remaining(), Some(Duration::ZERO));
        assert_eq!(read_deadline([0xFF; 8]), Deadline::never());
        let far = read_deadline((u64::MAX - 1).to_le_bytes());
        assert!(!far.has_passed());
        assert!(far.remaining().unwrap() > Duration::from_secs(1 << 32));
        assert!(read_deadline(1u64.to_le_bytes()).has_passed());
    }
}
