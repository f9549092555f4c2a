//! Requests and replies in place.

use core::fmt;
use core::ops::{Deref, DerefMut};

use super::aligned::AlignedBytes;
use super::fault::RpcError;
use super::pending::{Arrived, Pending};
use crate::bus::{Incoming, Outgoing};
use crate::error::CommitError;
use crate::ring::{Frame, Reservation};
use crate::slice;
use crate::type_id::msg_type;

/// A received request or reply. Derefs to its payload; dropping it releases its room to the peer.
pub struct RpcRxGuard<'a> {
    correlation_id: u64,
    type_id: u32,
    payload: Payload<'a>,
}

enum Payload<'a> {
    InPlace {
        incoming: &'a mut Incoming,
        frame: Frame,
        /// Whether the peer may be waiting for room.
        awaited: bool,
    },
    /// A reply that came before it was waited for, and had to make room for others.
    Kept(AlignedBytes),
}

impl<'a> RpcRxGuard<'a> {
    #[inline]
    pub(super) fn in_place(incoming: &'a mut Incoming, frame: Frame) -> Self {
        Self::over(incoming, frame, true)
    }

    /// A reply from a callee that owes no other one, so that it does not wait for room.
    #[inline]
    pub(super) fn last_owed(incoming: &'a mut Incoming, frame: Frame) -> Self {
        Self::over(incoming, frame, false)
    }

    #[inline]
    fn over(incoming: &'a mut Incoming, frame: Frame, awaited: bool) -> Self {
        Self {
            correlation_id: frame.correlation_id,
            type_id: frame.type_id,
            payload: Payload::InPlace { incoming, frame, awaited },
        }
    }

    pub(super) fn kept(correlation_id: u64, arrived: Arrived) -> Self {
        Self { correlation_id, type_id: arrived.type_id, payload: Payload::Kept(arrived.payload) }
    }

    /// Which call this belongs to; a callee passes it to `reply`.
    pub fn correlation_id(&self) -> u64 {
        self.correlation_id
    }

    /// The message type; [`MSG_TYPE_ERROR`](crate::MSG_TYPE_ERROR) in an error reply.
    pub fn msg_type(&self) -> u16 {
        msg_type(self.type_id)
    }

    /// The whole type identifier: route and message type.
    pub fn type_id(&self) -> u32 {
        self.type_id
    }

    /// The error this reply reports, if it is an error reply.
    #[inline]
    pub fn error(&self) -> Option<RpcError> {
        RpcError::decode(self.type_id, self)
    }
}

impl Deref for RpcRxGuard<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.payload {
            Payload::InPlace { incoming, frame, .. } => slice::payload(frame, incoming),
            Payload::Kept(payload) => payload,
        }
    }
}

impl Drop for RpcRxGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        match &mut self.payload {
            Payload::InPlace { incoming, frame, awaited: true } => incoming.release(frame.position),
            Payload::InPlace { incoming, frame, awaited: false } => incoming.release_quietly(frame.position),
            Payload::Kept(_) => {}
        }
    }
}

impl fmt::Debug for RpcRxGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcRxGuard")
            .field("correlation_id", &self.correlation_id)
            .field("type_id", &self.type_id)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Room for one request or reply, to be written in place. Derefs to its bytes, which hold whatever was there before.
///
/// Dropping it publishes nothing and gives the room back; a dropped request has used up no correlation id.
#[derive(Debug)]
#[must_use = "a guard that is not committed publishes nothing"]
pub struct RpcTxGuard<'a> {
    outgoing: &'a mut Outgoing,
    reservation: Reservation,
    type_id: u32,
    target: Target<'a>,
}

#[derive(Debug)]
enum Target<'a> {
    Request(&'a mut Pending),
    Reply(u64),
}

impl<'a> RpcTxGuard<'a> {
    pub(super) fn request(
        outgoing: &'a mut Outgoing,
        reservation: Reservation,
        type_id: u32,
        pending: &'a mut Pending,
    ) -> Self {
        Self { outgoing, reservation, type_id, target: Target::Request(pending) }
    }

    pub(super) fn reply(outgoing: &'a mut Outgoing, reservation: Reservation, type_id: u32, call: u64) -> Self {
        Self { outgoing, reservation, type_id, target: Target::Reply(call) }
    }

    /// Publishes the first `actual` bytes and gives the correlation id they travel under.
    ///
    /// # Errors
    /// [`CommitError`] when `actual` is more than was reserved, or in a forked child; nothing is published then.
    pub fn commit(self, actual: usize) -> Result<u64, CommitError> {
        let reserved = self.reservation.len();
        if actual > reserved {
            return Err(CommitError::TooLong { actual, reserved });
        }
        self.outgoing.connection.check_process().map_err(|_| CommitError::Forked)?;
        let correlation_id = match self.target {
            Target::Request(pending) => pending.sent(),
            Target::Reply(correlation_id) => correlation_id,
        };
        self.outgoing.publish(self.reservation, actual, self.type_id, correlation_id);
        Ok(correlation_id)
    }
}

impl Deref for RpcTxGuard<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        slice::reserved(&self.reservation, self.outgoing)
    }
}

impl DerefMut for RpcTxGuard<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        slice::reserved_mut(&mut self.reservation, self.outgoing)
    }
}
