//! The calling end's steps beside those of [`Caller`] itself: attempts that never wait, and the waits between them.
//!
//! A binding tries with its language's lock held, lets go of the lock to wait, and writes with it held again, for the
//! bytes it sends are its language's.

use std::sync::Arc;
use std::time::Duration;

use super::attempts::look;
use super::{Closer, Mapping, Room, Taking, swap};
use crate::bus::{MOST_PER_LOOK, State};
use crate::error::{CallError, Halt};
use crate::ring::{Fault, MessageHeader, Reservation, arm};
use crate::rpc::{Caller, Meaning, keep};
use crate::type_id::make_type_id;
use crate::wait::{Deadline, PollingMode, look_after_arming, monotonic_nanos};

/// Until when a call is to be answered; possibly never.
#[derive(Debug, Clone, Copy)]
pub struct Limit(pub(super) Deadline);

impl Limit {
    /// `timeout` from now; `None` is never.
    #[inline]
    pub fn after(timeout: Option<Duration>) -> Self {
        Self(timeout.into())
    }

    /// Time left; `None` when there is no limit.
    #[inline]
    pub fn left(self) -> Option<Duration> {
        self.0.remaining()
    }
}

/// Room for one request, and what travels beside its payload. Valid until sent in or replaced.
#[derive(Debug, Clone, Copy)]
pub struct RequestRoom {
    pub(super) reservation: Reservation,
    pub(super) header: MessageHeader,
}

/// A reply: still in the ring, or copied out of it because it came early.
#[derive(Debug)]
pub enum ReplyTaken {
    /// In place until released.
    InPlace(Taking),
    /// A copy: type identifier and payload.
    Kept(u32, Vec<u8>),
}

/// The calling end's steps.
pub trait CallerSteps {
    /// Sends a request if there is room, and gives its correlation id; `None` means: wait. Does not connect again, since
    /// that waits.
    ///
    /// # Errors
    /// As [`Caller::call_timeout`].
    fn try_call(&mut self, msg_type: u16, payload: &[u8], limit: Limit) -> Result<Option<u64>, CallError>;
    /// Takes room for a request of `size` bytes that is due by `limit`, waiting for it.
    ///
    /// # Errors
    /// As [`Caller::call_timeout`].
    fn wait_to_call(&mut self, msg_type: u16, size: usize, limit: Limit) -> Result<RequestRoom, CallError>;
    /// Sends `payload`, of the size that the room was taken for, and gives its correlation id.
    ///
    /// # Errors
    /// [`CallError::Forked`] in a forked child.
    fn call_in(&mut self, room: RequestRoom, payload: &[u8]) -> Result<u64, CallError>;
    /// Takes room for a request to be written in place, waiting for it.
    ///
    /// # Errors
    /// As [`Caller::reserve_call`].
    fn reserve_room(&mut self, msg_type: u16, size: usize, timeout: Option<Duration>) -> Result<Room, CallError>;
    /// Publishes the first `len` bytes of the latest reservation and gives the correlation id.
    ///
    /// # Errors
    /// [`CallError::Forked`] in a forked child.
    ///
    /// # Panics
    /// When `len` is more than was reserved.
    fn publish_call(&mut self, room: Room, len: usize, msg_type: u16) -> Result<u64, CallError>;
    /// Takes the reply to a call if up to `looks` looks find it.
    ///
    /// # Errors
    /// As [`Caller::wait`].
    fn look_for_reply(&mut self, correlation_id: u64, looks: u32) -> Result<Option<ReplyTaken>, CallError>;
    /// Takes the reply to a call.
    ///
    /// # Errors
    /// As [`Caller::wait`].
    fn take_reply(&mut self, correlation_id: u64, limit: Limit) -> Result<ReplyTaken, CallError>;
    /// Takes the next reply if one is there, whichever call it is for. That call is outstanding no longer; replies to
    /// calls that were given up are dropped on the way, at most 256 of them: after `None` there
    /// [may be more](Self::may_have_more).
    ///
    /// # Errors
    /// As [`Caller::try_wait`].
    fn next_reply(&mut self) -> Result<Option<Taking>, CallError>;
    /// Asks the callee to ring for the next reply, and looks for one for 5 us more. `None` means: sleep, and look again
    /// when it rings or 10 ms have passed.
    ///
    /// # Errors
    /// As [`Caller::try_wait`].
    fn next_reply_armed(&mut self) -> Result<Option<Taking>, CallError>;
    /// Whether something lies in the reply ring: a message, or a reason to give the connection up.
    fn may_have_more(&self) -> bool;
    /// Releases a reply that was taken in place.
    fn release_reply(&mut self, position: u64);
    /// A keeper of the request ring's memory.
    fn request_mapping(&self) -> Mapping;
    /// A keeper of the reply ring's memory.
    fn reply_mapping(&self) -> Mapping;
    /// Sets how both directions wait, and gives what it was.
    fn swap_polling_mode(&mut self, mode: PollingMode) -> PollingMode;
    /// Whether this caller connects again when its connection has ended, and so may have another one after each wait.
    fn may_reconnect(&self) -> bool;
    /// Connects again if the connection has ended.
    ///
    /// # Errors
    /// As [`Caller::call_timeout`].
    fn reconnect_if_ended(&mut self, limit: Limit) -> Result<(), CallError>;
    /// What closes the present connection.
    fn closer(&self) -> Closer;
    /// Gives up all calls, for the caller's next user; false when the connection has ended.
    fn recycle(&mut self) -> bool;
}

impl CallerSteps for Caller {
    #[inline]
    fn try_call(&mut self, msg_type: u16, payload: &[u8], limit: Limit) -> Result<Option<u64>, CallError> {
        let sent = self.outgoing.try_send(payload, self.header(msg_type, limit.0))?;
        Ok(sent.then(|| self.pending.sent()))
    }

    fn wait_to_call(&mut self, msg_type: u16, size: usize, limit: Limit) -> Result<RequestRoom, CallError> {
        let reservation = self.reserve_until(msg_type, size, limit.0)?;
        Ok(RequestRoom { reservation, header: self.header(msg_type, limit.0) })
    }

    fn call_in(&mut self, room: RequestRoom, payload: &[u8]) -> Result<u64, CallError> {
        self.outgoing.connection.check_process()?;
        self.outgoing.fill(room.reservation, payload);
        self.outgoing.publish(room.reservation, payload.len(), room.header);
        Ok(self.pending.sent())
    }

    fn reserve_room(&mut self, msg_type: u16, size: usize, timeout: Option<Duration>) -> Result<Room, CallError> {
        Ok(Room(self.reserve_until(msg_type, size, timeout.into())?))
    }

    fn publish_call(&mut self, room: Room, len: usize, msg_type: u16) -> Result<u64, CallError> {
        assert!(len <= room.len(), "the binding checks what it publishes");
        self.outgoing.connection.check_process()?;
        self.outgoing.publish(room.0, len, MessageHeader::new(make_type_id(0, msg_type), self.pending.next()));
        Ok(self.pending.sent())
    }

    #[inline]
    fn look_for_reply(&mut self, correlation_id: u64, looks: u32) -> Result<Option<ReplyTaken>, CallError> {
        let Self { incoming, pending, .. } = self;
        if !pending.is_outstanding(correlation_id) || pending.has_arrived(correlation_id) {
            return Ok(None);
        }
        match look(incoming, looks)? {
            None => Ok(None),
            Some(frame) if frame.correlation_id == correlation_id => {
                pending.end(correlation_id);
                Ok(Some(ReplyTaken::InPlace(Taking(frame))))
            }
            Some(other) => {
                keep(incoming, pending, other)?;
                Ok(None)
            }
        }
    }

    fn take_reply(&mut self, correlation_id: u64, limit: Limit) -> Result<ReplyTaken, CallError> {
        self.take(correlation_id, limit.0)?;
        let kept = self.incoming.take_kept();
        let frame = self.incoming.take_over();
        Ok(match kept {
            None => ReplyTaken::InPlace(Taking(frame)),
            Some(payload) => ReplyTaken::Kept(frame.type_id, payload.to_vec()),
        })
    }

    fn next_reply(&mut self) -> Result<Option<Taking>, CallError> {
        let Self { incoming, pending, .. } = self;
        // A peer that floods with replies that no call waits for is left for the caller's next turn.
        for _ in 0..MOST_PER_LOOK {
            let Some(frame) = look(incoming, 1)? else { return Ok(None) };
            match pending.meaning(frame.correlation_id) {
                Meaning::Awaited => {
                    pending.end(frame.correlation_id);
                    return Ok(Some(Taking(frame)));
                }
                Meaning::Forgotten => incoming.release(frame.position),
                Meaning::Impossible => {
                    incoming.connection.condemn();
                    return Err(Halt::FatalError(Fault::Correlation(frame.correlation_id)).into());
                }
            }
        }
        Ok(None)
    }

    fn next_reply_armed(&mut self) -> Result<Option<Taking>, CallError> {
        arm(&[&self.incoming.ring().header().consumer_parked.0]);
        look_after_arming(monotonic_nanos(), &mut || self.next_reply())
    }

    fn may_have_more(&self) -> bool {
        self.incoming.consumer.is_ready()
    }

    fn release_reply(&mut self, position: u64) {
        self.incoming.release(position);
    }

    fn request_mapping(&self) -> Mapping {
        Mapping(Arc::clone(self.outgoing.ring()))
    }

    fn reply_mapping(&self) -> Mapping {
        Mapping(Arc::clone(self.incoming.ring()))
    }

    fn swap_polling_mode(&mut self, mode: PollingMode) -> PollingMode {
        swap(&mut self.outgoing.waiter.budget, mode);
        swap(&mut self.incoming.waiter.budget, mode)
    }

    fn may_reconnect(&self) -> bool {
        self.reconnects()
    }

    fn reconnect_if_ended(&mut self, limit: Limit) -> Result<(), CallError> {
        self.revive(limit.0)
    }

    fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.outgoing.connection))
    }

    fn recycle(&mut self) -> bool {
        self.forget_all();
        self.state() == State::Open
    }
}
