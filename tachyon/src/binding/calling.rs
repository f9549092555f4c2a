//! Steps of the calling end, besides the methods of [`Caller`]: attempts that never wait, and the waits between them.
//!
//! A binding tries with the GIL held, and releases the GIL to wait. It writes with the GIL held, since the bytes belong
//! to Python objects. An event loop never waits: it takes the messages in the ring, [arms](CallerSteps::arm), and
//! sleeps on a [`Readiness`](super::Readiness).

use std::sync::Arc;
use std::time::Duration;

use super::attempts::look;
use super::streams::detach_reply;
use super::{Closer, Mapping, Room, Taking, swap};
use crate::connection::State;
use crate::engine::{CallState, ErrorKind, Reply};
use crate::ring::{MessageHeader, Reservation};
use crate::rpc::{Agreement, Attempts, CallError, Caller};
use crate::schema::describe::{EndpointDescription, Operation};
use crate::type_id::{MSG_TYPE_ERROR, ROUTE_CONTROL, make_type_id, msg_type};
use crate::wait::{Deadline, PollingMode};

/// The time limit of a call.
#[derive(Debug, Clone, Copy)]
pub struct Limit(pub(super) Deadline);

impl Limit {
    /// `timeout` from now; `None` for no limit.
    #[inline]
    pub fn after(timeout: Option<Duration>) -> Self {
        Self(timeout.into())
    }

    /// The attempts at a call, of a caller that may reconnect. An `idempotent` call may run twice.
    pub fn attempts(self, reconnects: bool, idempotent: bool) -> Attempts {
        Attempts::new(reconnects, idempotent, self.0)
    }

    /// Time left; `None` without a limit.
    #[inline]
    pub fn left(self) -> Option<Duration> {
        self.0.remaining()
    }
}

/// Room for one request, with the header of the request. Valid until it is sent, or until the next reservation.
#[derive(Debug, Clone, Copy)]
pub struct RequestRoom {
    pub(super) reservation: Reservation,
    pub(super) header: MessageHeader,
}

/// A reply: in the ring, or a copy, because it came before its waiter.
#[derive(Debug)]
pub enum ReplyTaken {
    /// In the ring until the release.
    InPlace(Taking),
    /// A copy: type identifier and payload.
    Kept(u32, Vec<u8>),
}

impl ReplyTaken {
    /// Whether the callee refused the call because it stops.
    pub fn is_stopping(&self) -> bool {
        let type_id = match self {
            Self::InPlace(taking) => taking.type_id(),
            Self::Kept(type_id, _) => *type_id,
        };
        type_id == make_type_id(ErrorKind::Stopping as u16, MSG_TYPE_ERROR)
    }
}

/// Steps of the calling end.
pub trait CallerSteps {
    /// Sends a request if there is room, and returns its correlation id; `None` means: wait. Does not reconnect, since
    /// that waits. `type_id` is the message type, with [`METADATA`](super::METADATA) for a payload of
    /// [`with_metadata`](super::with_metadata).
    ///
    /// # Errors
    /// As [`Caller::call_timeout`].
    fn try_call(&mut self, type_id: u32, payload: &[u8], limit: Limit) -> Result<Option<u64>, CallError>;
    /// Takes room for a request of `size` bytes with the deadline `limit`, waiting for it. `verify` is an endpoint and
    /// its key, an odd number: its contract is compared with the callee's once per connection. `type_id` is that of
    /// [`try_call`](Self::try_call).
    ///
    /// # Errors
    /// As [`Caller::call_timeout`]; [`CallError::Mismatch`] when the two contracts differ.
    fn wait_to_call(
        &mut self,
        type_id: u32,
        size: usize,
        limit: Limit,
        verify: Option<(&EndpointDescription, usize)>,
    ) -> Result<RequestRoom, CallError>;
    /// Sends `payload`, which has the size of the room, and returns the correlation id.
    ///
    /// # Errors
    /// [`CallError::Forked`] in a forked child.
    fn call_in(&mut self, room: RequestRoom, payload: &[u8]) -> Result<u64, CallError>;
    /// Takes room for a request to be written in place, waiting for it.
    ///
    /// # Errors
    /// As [`Caller::reserve_call`].
    fn reserve_room(&mut self, msg_type: u16, size: usize, timeout: Option<Duration>) -> Result<Room, CallError>;
    /// Publishes the first `len` bytes of the latest reservation, and returns the correlation id.
    ///
    /// # Errors
    /// [`CallError::Forked`] in a forked child.
    ///
    /// # Panics
    /// When `len` is more than was reserved.
    fn publish_call(&mut self, room: Room, len: usize, msg_type: u16) -> Result<u64, CallError>;
    /// Takes the reply to a call if one of `looks` looks finds it.
    ///
    /// # Errors
    /// As [`Caller::finish`].
    fn look_for_reply(&mut self, correlation_id: u64, looks: u32) -> Result<Option<ReplyTaken>, CallError>;
    /// Takes the reply to a call, waiting for it.
    ///
    /// # Errors
    /// As [`Caller::finish`].
    fn take_reply(&mut self, correlation_id: u64, limit: Limit) -> Result<ReplyTaken, CallError>;
    /// Whether the contract of the endpoint `key` was compared on this connection.
    fn has_agreed(&mut self, key: usize) -> bool;
    /// Sends the next request of a comparison if there is room, and returns its correlation id.
    ///
    /// # Errors
    /// As [`Caller::describe_timeout`]; [`CallError::TooLarge`] when no request is needed.
    fn ask(&mut self, agreement: &Agreement, limit: Limit) -> Result<Option<u64>, CallError>;
    /// Reads the callee's rings from the socket; true when the callee has gone, in which case the replies now in the
    /// ring are the last. Call it before a look.
    ///
    /// # Errors
    /// [`CallError::FatalError`]: the callee sent other bytes than a ring.
    fn hear(&self) -> Result<bool, CallError>;
    /// Takes the next reply, of any call, if there is one, and ends that call. Drops replies to abandoned calls on the
    /// way, at most 256: after `None` there [may be more](Self::may_have_more).
    ///
    /// # Errors
    /// As [`Caller::try_finish`].
    fn next_reply(&mut self) -> Result<Option<Taking>, CallError>;
    /// Asks the callee to ring for the next reply, and for `room` bytes of room if a request waits. True means: sleep,
    /// and look again after a ring, or after 10 ms.
    fn arm(&mut self, room: Option<usize>) -> bool;
    /// Whether everything that [`arm`](Self::arm) asked for is still to come.
    fn is_armed(&self, room: bool) -> bool;
    /// Asks the callee not to ring any more.
    fn disarm(&self);
    /// Abandons a call. With `cancel`, sends a cancellation; true when the cancellation waits for room.
    fn give_up(&mut self, correlation_id: u64, cancel: bool) -> bool;
    /// Whether the reply ring has a message, or a fault that ends the connection.
    fn may_have_more(&self) -> bool;
    /// Releases a reply that is in place.
    fn release_reply(&mut self, position: u64);
    /// A handle that keeps the memory of the request ring mapped.
    fn request_mapping(&self) -> Mapping;
    /// A handle that keeps the memory of the reply ring mapped.
    fn reply_mapping(&self) -> Mapping;
    /// Sets the polling mode of both directions, and returns the old one.
    fn swap_polling_mode(&mut self, mode: PollingMode) -> PollingMode;
    /// Whether this caller reconnects after the end of its connection, and so may have another connection after each
    /// wait.
    fn may_reconnect(&self) -> bool;
    /// Waits for the end of the connection, whose callee stops.
    ///
    /// # Errors
    /// As [`Caller::finish`].
    fn leave(&mut self, limit: Limit) -> Result<(), CallError>;
    /// The closer of the connection.
    fn closer(&self) -> Closer;
    /// Abandons all calls, for the caller's next user; false when the connection has ended.
    fn recycle(&mut self) -> bool;
}

impl CallerSteps for Caller {
    #[inline]
    fn try_call(&mut self, type_id: u32, payload: &[u8], limit: Limit) -> Result<Option<u64>, CallError> {
        match self.core.send_fast(type_id, payload, limit.0, ()) {
            Some(call) => Ok(Some(call)),
            None => Ok(self.core.try_send(type_id, payload, limit.0, ())?.ok()),
        }
    }

    fn wait_to_call(
        &mut self,
        type_id: u32,
        size: usize,
        limit: Limit,
        verify: Option<(&EndpointDescription, usize)>,
    ) -> Result<RequestRoom, CallError> {
        let reservation = self.reserve_until(msg_type(type_id), size, limit.0, verify)?;
        Ok(RequestRoom { reservation, header: self.core.header(type_id, limit.0) })
    }

    fn call_in(&mut self, room: RequestRoom, payload: &[u8]) -> Result<u64, CallError> {
        self.core.tx.connection.check_process()?;
        self.core.tx.fill(room.reservation, payload);
        Ok(self.core.commit(room.reservation, payload.len(), room.header, ()))
    }

    fn reserve_room(&mut self, msg_type: u16, size: usize, timeout: Option<Duration>) -> Result<Room, CallError> {
        Ok(Room(self.reserve_until(msg_type, size, timeout.into(), None)?))
    }

    fn publish_call(&mut self, room: Room, len: usize, msg_type: u16) -> Result<u64, CallError> {
        assert!(len <= room.len(), "the binding publishes at most the reserved length");
        self.core.tx.connection.check_process()?;
        let header = self.header(msg_type, Deadline::never());
        Ok(self.core.commit(room.0, len, header, ()))
    }

    #[inline]
    fn look_for_reply(&mut self, correlation_id: u64, looks: u32) -> Result<Option<ReplyTaken>, CallError> {
        if self.core.standing(correlation_id) != CallState::Awaited {
            return Ok(None);
        }
        match look(&mut self.core.rx, looks)? {
            None => Ok(None),
            Some(frame) if frame.correlation_id == correlation_id => {
                self.core.end(correlation_id, false);
                Ok(Some(ReplyTaken::InPlace(Taking(frame))))
            }
            Some(other) => {
                self.core.file(other)?;
                Ok(None)
            }
        }
    }

    fn take_reply(&mut self, correlation_id: u64, limit: Limit) -> Result<ReplyTaken, CallError> {
        self.take(correlation_id, limit.0)?;
        Ok(detach_reply(self))
    }

    #[inline]
    fn has_agreed(&mut self, key: usize) -> bool {
        self.core.verified.contains(key)
    }

    fn ask(&mut self, agreement: &Agreement, limit: Limit) -> Result<Option<u64>, CallError> {
        let type_id = make_type_id(ROUTE_CONTROL, Operation::Describe as u16);
        Ok(self.core.try_send(type_id, &agreement.question()?, limit.0, ())?.ok())
    }

    fn hear(&self) -> Result<bool, CallError> {
        Ok(self.core.hear()?)
    }

    fn next_reply(&mut self) -> Result<Option<Taking>, CallError> {
        Ok(self.core.next()?.map(|Reply { tag: (), frame }| Taking(frame)))
    }

    fn arm(&mut self, room: Option<usize>) -> bool {
        self.core.arm(room)
    }

    fn is_armed(&self, room: bool) -> bool {
        self.core.is_armed(room)
    }

    fn disarm(&self) {
        self.core.disarm();
    }

    fn give_up(&mut self, correlation_id: u64, cancel: bool) -> bool {
        self.core.end(correlation_id, cancel);
        self.core.has_pending_cancellations()
    }

    fn may_have_more(&self) -> bool {
        self.core.may_have_more()
    }

    fn release_reply(&mut self, position: u64) {
        self.core.rx.release(position);
    }

    fn request_mapping(&self) -> Mapping {
        Mapping(Arc::clone(self.core.tx.ring()))
    }

    fn reply_mapping(&self) -> Mapping {
        Mapping(Arc::clone(self.core.rx.ring()))
    }

    fn swap_polling_mode(&mut self, mode: PollingMode) -> PollingMode {
        swap(&mut self.core.tx.waiter.budget, mode);
        swap(&mut self.core.rx.waiter.budget, mode)
    }

    fn may_reconnect(&self) -> bool {
        self.reconnects()
    }

    fn leave(&mut self, limit: Limit) -> Result<(), CallError> {
        self.await_end(limit.0)
    }

    fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.core.tx.connection))
    }

    fn recycle(&mut self) -> bool {
        self.forget_all();
        self.state() == State::Open
    }
}
