//! Requests and replies in place.

use core::fmt;
use core::ops::{Deref, DerefMut};

use super::layer::{CallInFlight, CallOutcome, LayeredCalls};
use crate::connection::{CommitError, Rx, Tx, slice};
use crate::engine::{CallerCore, Calls, RpcError};
use crate::metadata::{METADATA, Metadata};
use crate::ring::{MessageHeader, Reservation};
use crate::type_id::msg_type;
use crate::wait::Deadline;

/// A received request or reply. Derefs to its payload, without its metadata; dropping it releases its room to the peer.
pub struct RpcRxGuard<'a> {
    /// The end whose current frame the guard lends.
    rx: &'a mut Rx,
}

impl<'a> RpcRxGuard<'a> {
    /// A guard of the direction's current frame.
    #[inline]
    pub(crate) fn over(rx: &'a mut Rx) -> Self {
        Self { rx }
    }

    /// The call that this belongs to. A callee passes it to `reply`.
    #[inline]
    pub fn correlation_id(&self) -> u64 {
        self.rx.current.correlation_id
    }

    /// The message type; [`MSG_TYPE_ERROR`](crate::type_id::MSG_TYPE_ERROR) in an error reply.
    pub fn msg_type(&self) -> u16 {
        msg_type(self.type_id())
    }

    /// The whole type identifier: route and message type.
    #[inline]
    pub fn type_id(&self) -> u32 {
        self.rx.current.type_id
    }

    /// The metadata of this request. A reply has none.
    pub fn metadata(&self) -> &Metadata {
        self.rx.metadata()
    }

    /// The error this reply reports, if it is an error reply.
    #[inline]
    pub fn error(&self) -> Option<RpcError> {
        RpcError::decode(self.type_id(), self)
    }
}

impl Deref for RpcRxGuard<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        slice::payload(&self.rx.current, self.rx)
    }
}

impl Drop for RpcRxGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.rx.release_current();
    }
}

impl fmt::Debug for RpcRxGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcRxGuard")
            .field("correlation_id", &self.correlation_id())
            .field("type_id", &self.type_id())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Room for one request or reply, to be written in place. Derefs to its bytes, which hold earlier contents of the ring.
///
/// Dropping it publishes nothing and gives the room back; a dropped request uses up no correlation id.
#[derive(Debug)]
#[must_use = "a guard that is not committed publishes nothing"]
pub struct RpcTxGuard<'a> {
    tx: &'a mut Tx,
    reservation: Reservation,
    type_id: u32,
    target: Target<'a>,
}

#[derive(Debug)]
enum Target<'a> {
    Request(&'a mut Calls<()>, Option<Box<Extras<'a>>>),
    Reply(u64),
}

/// A request with settings, or of a caller with layers.
#[derive(Debug)]
pub(super) struct Extras<'a> {
    pub(super) metadata: Metadata,
    pub(super) deadline: Deadline,
    /// Until the request is sent.
    pub(super) seen: Option<(CallInFlight, &'a mut LayeredCalls)>,
}

impl Drop for Extras<'_> {
    fn drop(&mut self) {
        if let Some((flight, layered)) = self.seen.take() {
            layered.layers.after(&flight, CallOutcome::GivenUp);
        }
    }
}

impl<'a> RpcTxGuard<'a> {
    pub(super) fn request(
        core: &'a mut CallerCore<()>,
        reservation: Reservation,
        type_id: u32,
        extras: Option<Box<Extras<'a>>>,
    ) -> Self {
        let CallerCore { tx, calls, .. } = core;
        Self { tx, reservation, type_id, target: Target::Request(calls, extras) }
    }

    pub(super) fn reply(tx: &'a mut Tx, reservation: Reservation, type_id: u32, call: u64) -> Self {
        Self { tx, reservation, type_id, target: Target::Reply(call) }
    }

    /// Publishes the first `actual` bytes and gives the correlation id they travel under.
    ///
    /// # Errors
    /// [`CommitError`] when `actual` is more than was reserved, or in a forked child; nothing is published then.
    pub fn commit(mut self, actual: usize) -> Result<u64, CommitError> {
        let reserved = self.reserved();
        if actual > reserved {
            return Err(CommitError::TooLong { actual, reserved });
        }
        self.tx.connection.check_process().map_err(|_| CommitError::Forked)?;
        let correlation_id = match self.target {
            Target::Request(_, Some(_)) => return Ok(self.commit_with_extras(actual)),
            Target::Request(ref mut calls, None) => calls.sent(()),
            Target::Reply(correlation_id) => correlation_id,
        };
        self.tx.publish(self.reservation, actual, MessageHeader::new(self.type_id, correlation_id));
        Ok(correlation_id)
    }

    #[cold]
    fn commit_with_extras(mut self, actual: usize) -> u64 {
        let Target::Request(calls, Some(extras)) = &mut self.target else { unreachable!("a request with extras") };
        let (mut total, mut type_id) = (actual, self.type_id);
        if !extras.metadata.is_empty() {
            total += extras.metadata.tail_len();
            type_id |= METADATA;
            let room = slice::reserved_mut(&mut self.reservation, self.tx);
            extras.metadata.write_tail(actual, &mut room[actual..total]);
        }
        let header = MessageHeader::due(type_id, calls.next(), extras.deadline.to_wire());
        self.tx.publish(self.reservation, total, header);
        let id = calls.sent(());
        if let Some((flight, layered)) = extras.seen.take() {
            layered.sent(id, flight);
            calls.move_single();
        }
        id
    }

    /// Bytes that the user may write: the reservation without the place of the metadata.
    fn reserved(&self) -> usize {
        let metadata = match &self.target {
            Target::Request(_, Some(extras)) if !extras.metadata.is_empty() => extras.metadata.tail_len(),
            _ => 0,
        };
        self.reservation.len() - metadata
    }
}

impl Deref for RpcTxGuard<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &slice::reserved(&self.reservation, self.tx)[..self.reserved()]
    }
}

impl DerefMut for RpcTxGuard<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        let reserved = self.reserved();
        &mut slice::reserved_mut(&mut self.reservation, self.tx)[..reserved]
    }
}
