//! Attempts that never wait, for a binding that holds its language's lock meanwhile.
//!
//! Letting go of an interpreter costs more than a round trip, so a binding first tries with the lock held, for a
//! bounded number of looks, and only then lets go and waits. `None` from an attempt means: wait.

use std::sync::{Arc, Weak};

use super::{Mapping, Receiving, Room, Sending, Taking};
use crate::bus::{RecvError, SendError};
use crate::connection::Halt;
use crate::connection::{Connection, Rx, look_for_data};
use crate::dispatch::{Dispatcher, Reply, Request};
use crate::engine::{Watch, open_request};
use crate::ring::Frame;
use crate::rpc::ServeError;
use crate::wait::{Deadline, monotonic_nanos};

/// Up to `looks` looks for a message. A dead peer is not noticed here but by the wait that follows.
#[inline]
pub(super) fn look(rx: &mut Rx, looks: u32) -> Result<Option<Frame>, Halt> {
    rx.connection.check_process()?;
    let Rx { connection, index, consumer, .. } = rx;
    let ring = connection.ring(*index);
    for _ in 0..looks {
        if let Some(found) = look_for_data(connection, ring, consumer)? {
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

    /// Checks that what was taken is a request, and takes off what travels before its payload.
    ///
    /// # Errors
    /// As [`Callee::serve`](crate::Callee::serve).
    #[inline]
    pub fn open_request(&self, taking: Taking) -> Result<Taking, ServeError> {
        Ok(Taking(open_request(&self.0, taking.0)?.frame))
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
    dispatcher.serve_frame(&mut requests.0, &mut replies.0, taking.0).map_err(|error| *error)
}

/// Whether answering with `size` bytes needs no wait: there is room, or there never will be.
pub fn needs_no_wait(reply: &mut Reply<'_>, size: usize) -> bool {
    reply.ring_mut().is_none_or(|tx| !matches!(tx.try_reserve(size), Ok(None)))
}

/// Keeps the request that `reply` is for mapped, for views that outlive its handler.
///
/// # Panics
/// When the request was taken from its ring by another copy of this crate, which no binding serves with.
pub fn request_mapping(reply: &Reply<'_>) -> Mapping {
    let ring = reply.ring().expect("a binding answers over the ring itself");
    Mapping(Arc::clone(ring.connection.ring(0)))
}

/// Tells whether a call is cancelled, also when its request is gone from the handler's hands. Keeps no connection open.
#[derive(Debug, Clone)]
pub struct CallWatch {
    connection: Weak<Connection>,
    call: u64,
    deadline: Deadline,
}

impl CallWatch {
    /// Watches the call of a request.
    pub fn new(request: Request<'_>) -> Self {
        let watch = request.watch();
        Self {
            connection: watch.map(|watch| Arc::downgrade(watch.0)).unwrap_or_default(),
            call: request.correlation_id(),
            deadline: request.deadline(),
        }
    }

    /// As [`Context::is_cancelled`](crate::Context::is_cancelled).
    pub fn is_cancelled(&self) -> bool {
        let connection = self.connection.upgrade();
        connection.is_none_or(|connection| Watch(&connection).is_cancelled(self.call, self.deadline))
    }
}

/// The `CLOCK_MONOTONIC` time, in nanoseconds, until when a request is to be answered; `None` when it may take long.
pub fn request_deadline(request: Request<'_>) -> Option<u64> {
    request.deadline().nanos()
}

/// What the clock of [`request_deadline`] shows, in nanoseconds.
pub fn monotonic_now() -> u64 {
    monotonic_nanos()
}
