//! Attempts that never wait, for a binding that holds its language's lock meanwhile.
//!
//! Letting go of an interpreter costs more than a round trip, so a binding first tries with the lock held, for a
//! bounded number of looks, and only then lets go and waits. `None` from an attempt means: wait.

use super::{Receiving, ReplyTaken, Room, Sending, Taking};
use crate::bus::{Incoming, look_for_data};
use crate::dispatch::{Dispatcher, Reply};
use crate::error::{CallError, Halt, RecvError, SendError, ServeError};
use crate::ring::Frame;
use crate::rpc::{self, Caller, check_request, keep};
use crate::type_id::make_type_id;

/// Up to `looks` looks for a message. A dead peer is not noticed here but by the wait that follows.
#[inline]
fn look(incoming: &mut Incoming, looks: u32) -> Result<Option<Frame>, Halt> {
    incoming.connection.check_process()?;
    let Incoming { connection, index, consumer, .. } = incoming;
    let channel = connection.channel(*index);
    for _ in 0..looks {
        if let Some(found) = look_for_data(connection, channel, consumer)? {
            return Ok(Some(found));
        }
        core::hint::spin_loop();
    }
    Ok(None)
}

impl Receiving {
    /// Takes the next message if up to `looks` looks find one.
    ///
    /// # Errors
    /// As [`Receiver::recv`](crate::Receiver::recv).
    #[inline]
    pub fn look(&mut self, looks: u32) -> Result<Option<Taking>, RecvError> {
        Ok(look(&mut self.0, looks)?.map(Taking))
    }

    /// Gives back a whole batch at once, of which `last` is the last message.
    pub fn release_batch(&mut self, last: Taking) {
        self.0.release_through(last.0.position);
    }

    /// Checks that what was taken is a request.
    ///
    /// # Errors
    /// As [`Callee::serve`](crate::Callee::serve).
    #[inline]
    pub fn check_request(&self, taking: Taking) -> Result<(), ServeError> {
        Ok(check_request(&self.0, &taking.0)?)
    }
}

impl Sending {
    /// Takes room for `size` bytes if there is any.
    ///
    /// # Errors
    /// As [`Sender::reserve`](crate::Sender::reserve).
    pub fn try_reserve(&mut self, size: usize) -> Result<Option<Room>, SendError> {
        Ok(self.0.try_reserve(size)?.map(Room))
    }

    /// Copies `data`, at most as long as the room, into it.
    pub fn fill(&mut self, room: Room, data: &[u8]) {
        self.0.fill(room.0, data);
    }
}

/// The calling end's steps that do not wait.
pub trait CallerAttempts {
    /// Sends a request if there is room, and gives its correlation id.
    ///
    /// # Errors
    /// As [`Caller::call`].
    fn try_call(&mut self, msg_type: u16, payload: &[u8]) -> Result<Option<u64>, CallError>;
    /// Copies `data`, at most as long as the room, into a request's room.
    fn fill_call(&mut self, room: Room, data: &[u8]);
    /// Takes the reply to a call if up to `looks` looks find it.
    ///
    /// # Errors
    /// As [`Caller::wait`].
    fn look_for_reply(&mut self, correlation_id: u64, looks: u32) -> Result<Option<ReplyTaken>, CallError>;
}

impl CallerAttempts for Caller {
    #[inline]
    fn try_call(&mut self, msg_type: u16, payload: &[u8]) -> Result<Option<u64>, CallError> {
        let sent = self.outgoing.try_send(payload, make_type_id(0, msg_type), self.pending.next())?;
        Ok(sent.then(|| self.pending.sent()))
    }

    fn fill_call(&mut self, room: Room, data: &[u8]) {
        self.outgoing.fill(room.0, data);
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
}

/// Serves a request that was taken before, and releases it.
///
/// # Errors
/// As [`Dispatcher::serve_once`].
#[inline]
pub fn serve_taken<S: ?Sized>(
    dispatcher: &mut Dispatcher<S>,
    requests: &mut Receiving,
    replies: &mut Sending,
    taking: Taking,
) -> Result<(), ServeError> {
    dispatcher.serve_frame(&mut requests.0, &mut replies.0, &taking.0).map(drop)
}

/// Answers and releases a message that is a control request, for a loop without a dispatcher; false for any other.
///
/// # Errors
/// As [`Callee::serve`](crate::Callee::serve).
#[inline]
pub fn answer_control(requests: &mut Receiving, replies: &mut Sending, taking: Taking) -> Result<bool, ServeError> {
    Ok(rpc::answer_control(&mut requests.0, &mut replies.0, &taking.0)?)
}

/// Whether answering with `size` bytes needs no wait: there is room, or there never will be.
pub fn answers_at_once(reply: &mut Reply<'_>, size: usize) -> bool {
    !matches!(reply.outgoing.try_reserve(size), Ok(None))
}
