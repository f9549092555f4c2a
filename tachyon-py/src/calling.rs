//! The calling end of an RPC bus as Python holds it.

use core::time::Duration;
use std::time::Instant;

use pyo3::prelude::*;
use tachyon::__binding::{CallerAttempts, CallerSteps, ReplyTaken, Room};
use tachyon::{Caller, PollingMode};

use crate::ends::{LOOKS, Occupied};
use crate::errors::Raise;
use crate::interrupt::detached;
use crate::payload::Payload;

/// A caller with at most one guard per direction.
pub(crate) struct Calling {
    pub(crate) caller: Caller,
    /// Position of the reply that is lent.
    taken: Option<u64>,
    /// The request's room that is lent.
    room: Option<Room>,
    /// Who occupies the replies' direction, and the requests'.
    pub(crate) replies: Occupied,
    pub(crate) requests: Occupied,
}

impl Calling {
    pub(crate) fn new(caller: Caller) -> Self {
        Self { caller, taken: None, room: None, replies: Occupied::No, requests: Occupied::No }
    }

    pub(crate) fn set_polling_mode(&mut self, mode: PollingMode) {
        self.caller.set_polling_mode(mode);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.replies == Occupied::No && self.requests == Occupied::No
    }

    /// Sends a copy of `payload`, which is read while attached only; gives the correlation id.
    #[inline]
    pub(crate) fn call(
        &mut self,
        py: Python<'_>,
        payload: &Payload<'_, '_>,
        msg_type: u16,
        spins: Option<PollingMode>,
        timeout: Option<Duration>,
    ) -> PyResult<u64> {
        self.requests.check()?;
        let data = payload.as_slice();
        if let Some(correlation_id) = self.caller.try_call(msg_type, data).map_err(Raise::raise)? {
            return Ok(correlation_id);
        }
        let size = data.len();
        let room = self.waiting(py, spins, |caller| caller.reserve_room(msg_type, size, timeout))?;
        self.caller.fill_call(room, payload.as_slice());
        Ok(self.caller.publish_call(room, size, msg_type))
    }

    /// Takes room for a request and lends it.
    pub(crate) fn lend_request(
        &mut self,
        py: Python<'_>,
        msg_type: u16,
        size: usize,
        timeout: Option<Duration>,
    ) -> PyResult<Room> {
        self.requests.check()?;
        let room = self.waiting(py, None, |caller| caller.reserve_room(msg_type, size, timeout))?;
        self.room = Some(room);
        self.requests = Occupied::ByGuard;
        Ok(room)
    }

    /// Sends what was written into the lent room; gives the correlation id.
    /// `None` when no room is lent.
    pub(crate) fn publish(&mut self, size: usize, msg_type: u16) -> Option<u64> {
        self.requests = Occupied::No;
        self.room.take().map(|room| self.caller.publish_call(room, size, msg_type))
    }

    /// Takes the lent room back unused.
    pub(crate) fn roll_back(&mut self) {
        self.room = None;
        self.requests = Occupied::No;
    }

    /// Waits for the reply to a call; if it is in place, it is the caller's to lend or release.
    #[inline]
    pub(crate) fn take(
        &mut self,
        py: Python<'_>,
        correlation_id: u64,
        spins: Option<PollingMode>,
        timeout: Option<Duration>,
    ) -> PyResult<ReplyTaken> {
        self.replies.check()?;
        match self.caller.look_for_reply(correlation_id, LOOKS).map_err(Raise::raise)? {
            Some(reply) => Ok(reply),
            None => self.waiting(py, spins, |caller| caller.take_reply(correlation_id, timeout)),
        }
    }

    /// Sends a request and waits for its reply, both within `timeout`; a call that fails is forgotten.
    #[inline]
    pub(crate) fn request(
        &mut self,
        py: Python<'_>,
        payload: &Payload<'_, '_>,
        msg_type: u16,
        spins: Option<PollingMode>,
        timeout: Option<Duration>,
    ) -> PyResult<(u64, ReplyTaken)> {
        self.replies.check()?;
        let started = timeout.map(|_| Instant::now());
        let correlation_id = self.call(py, payload, msg_type, spins, timeout)?;
        let left = timeout.zip(started).map(|(timeout, started)| timeout.saturating_sub(started.elapsed()));
        match self.take(py, correlation_id, spins, left) {
            Ok(reply) => Ok((correlation_id, reply)),
            Err(error) => {
                self.caller.forget(correlation_id);
                Err(error)
            }
        }
    }

    /// Waits without the interpreter, in the mode of one call.
    #[cold]
    pub(crate) fn waiting<T: Send>(
        &mut self,
        py: Python<'_>,
        spins: Option<PollingMode>,
        operation: impl FnOnce(&mut Caller) -> Result<T, tachyon::CallError> + Send,
    ) -> PyResult<T> {
        let before = spins.map(|spins| self.caller.swap_polling_mode(spins));
        let outcome = detached(py, || operation(&mut self.caller));
        if let Some(before) = before {
            self.caller.swap_polling_mode(before);
        }
        outcome
    }

    /// Marks a reply in place as lent to a guard.
    pub(crate) fn lend(&mut self, position: u64) {
        self.taken = Some(position);
        self.replies = Occupied::ByGuard;
    }

    /// Gives a reply in place back that was not lent.
    #[inline]
    pub(crate) fn release(&mut self, position: u64) {
        self.caller.release_reply(position);
    }

    /// Gives back the reply that is lent.
    pub(crate) fn give_back(&mut self) {
        self.replies = Occupied::No;
        if let Some(position) = self.taken.take() {
            self.caller.release_reply(position);
        }
    }
}
