//! Attempts that never wait, for a binding that holds the GIL.
//!
//! Releasing the GIL costs more than a round trip. So a binding first tries with the GIL held, for a bounded number of
//! looks, and then releases it and waits. `None` from an attempt means: wait.

use std::sync::{Arc, Weak};

use super::{Mapping, Receiving, Room, Sending, Taking};
use crate::bus::{RecvError, SendError};
use crate::connection::{Connection, Halt, Rx, look_for_data};
use crate::dispatch::{Context, Dispatcher, Reply, Request};
use crate::engine::{Watch, open_request};
use crate::metadata::Metadata;
use crate::ring::Frame;
use crate::rpc::ServeError;
use crate::wait::{Deadline, monotonic_nanos};

/// Looks for a message up to `looks` times. The wait that follows notices a dead peer.
#[inline]
pub(super) fn look(rx: &mut Rx, looks: u32) -> Result<Option<Frame>, Halt> {
    rx.connection.check_process()?;
    let Rx { connection, index, consumer, .. } = rx;
    let ring = connection.ring(*index);
    for _ in 0..looks {
        if consumer.has_changed()
            && let Some(found) = look_for_data(connection, ring, consumer)?
        {
            return Ok(Some(found));
        }
        core::hint::spin_loop();
    }
    Ok(None)
}

impl Receiving {
    /// Takes the next message if one of `looks` looks finds it.
    ///
    /// # Errors
    /// As [`Receiver::recv`](crate::Receiver::recv).
    #[inline]
    pub fn look(&mut self, looks: u32) -> Result<Option<Taking>, RecvError> {
        Ok(look(&mut self.0, looks)?.map(Taking))
    }

    /// Releases a whole batch, of which `last` is the last message.
    pub fn release_batch(&mut self, last: Taking) {
        self.0.release_through(last.0.position);
    }

    /// Checks that a taken message is a request, and removes the deadline before its payload.
    ///
    /// # Errors
    /// As [`Callee::serve`](crate::Callee::serve).
    #[inline]
    pub fn open_request(&self, taking: Taking) -> Result<Taking, ServeError> {
        Ok(Taking(open_request(&self.0, taking.0)?.frame))
    }
}

impl Sending {
    /// Takes room for `size` bytes if there is room.
    ///
    /// # Errors
    /// As [`Sender::reserve`](crate::Sender::reserve).
    pub fn try_reserve(&mut self, size: usize) -> Result<Option<Room>, SendError> {
        Ok(self.0.try_reserve(size)?.map(Room))
    }

    /// Copies `data` into the room. `data` must not be longer.
    pub fn fill(&mut self, room: Room, data: &[u8]) {
        self.0.fill(room.0, data);
    }
}

/// Serves a taken request, and releases it.
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

/// Whether a reply of `size` bytes needs no wait: there is room, or the reply can never fit.
pub fn needs_no_wait(reply: &mut Reply<'_>, size: usize) -> bool {
    reply.ring_mut().is_none_or(|tx| !matches!(tx.try_reserve(size), Ok(None)))
}

/// Keeps the request of `reply` mapped, for views that outlive its handler.
///
/// # Panics
/// When another copy of this crate took the request. No binding serves such requests.
pub fn request_mapping(reply: &Reply<'_>) -> Mapping {
    let ring = reply.ring().expect("a binding replies over its own ring");
    Mapping(Arc::clone(ring.connection.ring(0)))
}

/// Reports whether a call is cancelled, also after the release of its request. Does not keep the connection alive.
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

/// The deadline of a request, in `CLOCK_MONOTONIC` nanoseconds; `None` without a deadline.
pub fn request_deadline(request: Request<'_>) -> Option<u64> {
    request.deadline().nanos()
}

/// As [`request_deadline`], for a context.
pub fn context_deadline(context: &Context<'_>) -> Option<u64> {
    context.deadline.nanos()
}

/// The metadata of a request, if it has some.
#[inline]
pub fn request_metadata(request: Request<'_>) -> Option<&Metadata> {
    request.own_metadata()
}

/// The time of [`request_deadline`]'s clock, in nanoseconds.
pub fn monotonic_now() -> u64 {
    monotonic_nanos()
}
