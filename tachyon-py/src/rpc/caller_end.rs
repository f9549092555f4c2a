//! The calling end of an RPC bus, as a Python object holds it.

use core::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tachyon::__binding::{CallerSteps, ItemSent, Limit, ReplyTaken, Room, StreamSteps, StreamTaken};
use tachyon::{CallError, Caller, PollingMode};

use crate::bus::lifetime::{SharedCloser, closed};
use crate::bus::ring_ends::{InUse, POLLS};
use crate::errors::Raise;
use crate::memory::buffer_export::copied_from;
use crate::memory::payload::Payload;
use crate::rpc::contract::Contract;

/// The parameters of one request.
#[derive(Clone, Copy)]
pub(crate) struct CallOptions<'a> {
    /// The message type, and whether metadata lies behind the payload.
    pub(crate) type_id: u32,
    pub(crate) spins: Option<PollingMode>,
    pub(crate) limit: Limit,
    /// Whether the callee may handle the request twice.
    pub(crate) idempotent: bool,
    /// The contract that the callee must share before the request is sent on a connection.
    pub(crate) contract: Option<&'a Contract>,
}

/// A caller with at most one guard per direction.
pub(crate) struct CallerEnd {
    pub(crate) caller: Caller,
    closer: SharedCloser,
    /// Position of the reply that a guard uses.
    taken: Option<u64>,
    /// The reservation that a guard uses.
    room: Option<Room>,
    /// The use of the replies' direction and of the requests' direction.
    pub(crate) replies: InUse,
    pub(crate) requests: InUse,
}

impl CallerEnd {
    pub(crate) fn new(caller: Caller, closer: SharedCloser) -> Self {
        Self { caller, closer, taken: None, room: None, replies: InUse::No, requests: InUse::No }
    }

    pub(crate) fn set_polling_mode(&mut self, mode: PollingMode) {
        self.caller.set_polling_mode(mode);
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.replies == InUse::No && self.requests == InUse::No
    }

    /// Sends a copy of `payload` and returns the correlation id. The bytes are read only while the thread is attached.
    #[inline]
    pub(crate) fn call(
        &mut self,
        py: Python<'_>,
        payload: &Payload<'_, '_>,
        options: &CallOptions<'_>,
    ) -> PyResult<u64> {
        self.requests.check()?;
        self.send(py, payload, options).map_err(Raise::raise)
    }

    #[inline]
    fn send(&mut self, py: Python<'_>, payload: &Payload<'_, '_>, options: &CallOptions<'_>) -> Result<u64, CallError> {
        let CallOptions { type_id, spins, limit, contract, .. } = *options;
        let data = payload.as_slice();
        // A reconnect waits, and so does the comparison of a contract with the callee: a call that may need one of them
        // releases the GIL first.
        if !self.caller.may_reconnect()
            && contract.is_none_or(|contract| contract.is_agreed(&mut self.caller))
            && let Some(correlation_id) = self.caller.try_call(type_id, data, limit)?
        {
            return Ok(correlation_id);
        }
        let size = data.len();
        let verify = contract.map(Contract::verified);
        let room = self.wait_detached(py, spins, |caller| caller.wait_to_call(type_id, size, limit, verify))?;
        self.caller.call_in(room, payload.as_slice())
    }

    /// Reserves room for a request of a guard.
    pub(crate) fn reserve(
        &mut self,
        py: Python<'_>,
        msg_type: u16,
        size: usize,
        timeout: Option<Duration>,
    ) -> PyResult<Room> {
        self.requests.check()?;
        let room = self
            .wait_detached(py, None, |caller| caller.reserve_room(msg_type, size, timeout))
            .map_err(Raise::raise)?;
        self.room = Some(room);
        self.requests = InUse::ByGuard;
        Ok(room)
    }

    /// Sends the first `size` bytes of the reservation and returns the correlation id.
    pub(crate) fn publish(&mut self, size: usize, msg_type: u16) -> PyResult<u64> {
        self.requests = InUse::No;
        let room = self.room.take().ok_or_else(closed)?;
        self.caller.publish_call(room, size, msg_type).map_err(Raise::raise)
    }

    /// Gives the reservation back unused.
    pub(crate) fn roll_back(&mut self) {
        self.room = None;
        self.requests = InUse::No;
    }

    /// Waits for the reply to a call. The calling function puts a reply in place in use or releases it.
    #[inline]
    pub(crate) fn take(
        &mut self,
        py: Python<'_>,
        correlation_id: u64,
        spins: Option<PollingMode>,
        limit: Limit,
    ) -> PyResult<ReplyTaken> {
        self.replies.check()?;
        let outcome = self.await_reply(py, correlation_id, spins, limit);
        if let Err(CallError::TimedOut { .. }) = outcome {
            // The callee does not know the deadline of this wait.
            self.caller.give_up(correlation_id, true);
        }
        outcome.map_err(Raise::raise)
    }

    #[inline]
    fn await_reply(
        &mut self,
        py: Python<'_>,
        correlation_id: u64,
        spins: Option<PollingMode>,
        limit: Limit,
    ) -> Result<ReplyTaken, CallError> {
        match self.caller.look_for_reply(correlation_id, POLLS)? {
            Some(reply) => Ok(reply),
            None => self.wait_detached(py, spins, |caller| caller.take_reply(correlation_id, limit)),
        }
    }

    /// Sends a request and waits for its reply, both within its limit. A call that fails is forgotten.
    #[inline]
    pub(crate) fn request(
        &mut self,
        py: Python<'_>,
        payload: &Payload<'_, '_>,
        options: &CallOptions<'_>,
    ) -> PyResult<(u64, ReplyTaken)> {
        self.replies.check()?;
        self.requests.check()?;
        let outcome = self.exchange(py, payload, options);
        if outcome.as_ref().is_ok_and(|(_, reply)| !reply.is_stopping()) || !self.caller.may_reconnect() {
            return outcome.map_err(Raise::raise);
        }
        self.try_again(py, payload, options, outcome).map_err(Raise::raise)
    }

    /// Repeats a failed call while the rule of its attempts allows it.
    #[cold]
    fn try_again(
        &mut self,
        py: Python<'_>,
        payload: &Payload<'_, '_>,
        options: &CallOptions<'_>,
        mut outcome: Result<(u64, ReplyTaken), CallError>,
    ) -> Result<(u64, ReplyTaken), CallError> {
        let mut attempts = options.limit.attempts(self.caller.may_reconnect(), options.idempotent);
        loop {
            match outcome {
                Ok((_, ref reply)) if reply.is_stopping() && attempts.again_elsewhere() => {
                    if let ReplyTaken::InPlace(taking) = reply {
                        self.release(taking.position());
                    }
                    let left = self.wait_detached(py, options.spins, |caller| caller.leave(options.limit));
                    left.map_err(|error| attempts.outcome(error))?;
                }
                Err(ref error) if attempts.again(error) => {}
                outcome => return outcome.map_err(|error| attempts.outcome(error)),
            }
            outcome = self.exchange(py, payload, options);
        }
    }

    #[inline]
    fn exchange(
        &mut self,
        py: Python<'_>,
        payload: &Payload<'_, '_>,
        options: &CallOptions<'_>,
    ) -> Result<(u64, ReplyTaken), CallError> {
        let correlation_id = self.send(py, payload, options)?;
        match self.await_reply(py, correlation_id, options.spins, options.limit) {
            Ok(reply) => Ok((correlation_id, reply)),
            Err(error) => {
                // The callee knows the deadline of the call.
                self.caller.give_up(correlation_id, !matches!(error, CallError::TimedOut { .. }));
                Err(error)
            }
        }
    }

    /// Opens a stream, and returns its correlation id.
    pub(crate) fn open(
        &mut self,
        py: Python<'_>,
        payload: &Payload<'_, '_>,
        options: &CallOptions<'_>,
        window: Option<u32>,
    ) -> PyResult<u64> {
        self.requests.check()?;
        self.send_open(py, payload, options, window).map_err(Raise::raise)
    }

    fn send_open(
        &mut self,
        py: Python<'_>,
        payload: &Payload<'_, '_>,
        options: &CallOptions<'_>,
        window: Option<u32>,
    ) -> Result<u64, CallError> {
        let CallOptions { type_id, limit, contract, .. } = *options;
        let data = payload.as_slice();
        // As in `send`.
        if !self.caller.may_reconnect()
            && contract.is_none_or(|contract| contract.is_agreed(&mut self.caller))
            && let Some(id) = self.caller.try_open(type_id, data, limit, window)?
        {
            return Ok(id);
        }
        let size = data.len();
        let verify = contract.map(Contract::verified);
        let room = self.wait_detached(py, None, |caller| caller.wait_to_open(type_id, size, limit, verify))?;
        self.caller.open_in(room, type_id, payload.as_slice(), limit, window)
    }

    /// Takes the next message of a stream, waiting for it. The calling function releases an item in place.
    #[inline]
    pub(crate) fn next_item(
        &mut self,
        py: Python<'_>,
        id: u64,
        timeout: Option<Duration>,
    ) -> Result<StreamTaken, CallError> {
        if let Some(taken) = self.caller.look_for_item(id, POLLS)? {
            return Ok(taken);
        }
        let limit = Limit::after(timeout);
        self.wait_detached(py, None, |caller| caller.take_item(id, limit))
    }

    /// Takes the last message of a stream, waiting for it.
    pub(crate) fn take_last(&mut self, py: Python<'_>, id: u64, limit: Limit) -> Result<ReplyTaken, CallError> {
        self.wait_detached(py, None, |caller| caller.take_last(id, limit))
    }

    /// Sends an item of a stream, or END, waiting for credit and for room. False when the stream has ended.
    pub(crate) fn send_item(
        &mut self,
        py: Python<'_>,
        id: u64,
        item: Option<&Payload<'_, '_>>,
        timeout: Option<Duration>,
    ) -> Result<bool, CallError> {
        match self.caller.try_send_item(id, item.map(Payload::as_slice))? {
            ItemSent::Sent => return Ok(true),
            ItemSent::Ended => return Ok(false),
            ItemSent::Full => {}
        }
        let (len, limit) = (item.map(|item| item.as_slice().len()), Limit::after(timeout));
        let Some(room) = self.wait_detached(py, None, |caller| caller.wait_to_send(id, len, limit))? else {
            return Ok(false);
        };
        self.caller.send_in(id, room, item.map(Payload::as_slice))?;
        Ok(true)
    }

    /// Copies a reply, and releases one in place: type identifier and bytes.
    pub(crate) fn own<'py>(&mut self, py: Python<'py>, reply: ReplyTaken) -> PyResult<(u32, Bound<'py, PyBytes>)> {
        match reply {
            ReplyTaken::Kept(type_id, payload) => Ok((type_id, PyBytes::new(py, &payload))),
            ReplyTaken::InPlace(taking) => {
                let payload = copied_from(py, taking);
                self.release(taking.position());
                Ok((taking.type_id(), payload?))
            }
        }
    }

    /// Waits without the GIL, in the polling mode of one call.
    #[cold]
    pub(crate) fn wait_detached<T: Send>(
        &mut self,
        py: Python<'_>,
        spins: Option<PollingMode>,
        operation: impl FnOnce(&mut Caller) -> Result<T, CallError> + Send,
    ) -> Result<T, CallError> {
        let before = spins.map(|spins| self.caller.swap_polling_mode(spins));
        let outcome = py.detach(|| operation(&mut self.caller));
        if let Some(before) = before {
            self.caller.swap_polling_mode(before);
        }
        self.update_closer()?;
        outcome
    }

    /// Makes the bus close the present connection, which may be a new one.
    pub(crate) fn update_closer(&self) -> Result<(), CallError> {
        if self.caller.may_reconnect() && !self.closer.replace(self.caller.closer()) {
            return Err(CallError::ClosedHere);
        }
        Ok(())
    }

    /// Marks a reply in place as in use by a guard.
    pub(crate) fn mark_in_use(&mut self, position: u64) {
        self.taken = Some(position);
        self.replies = InUse::ByGuard;
    }

    /// Releases a reply in place that no guard uses.
    #[inline]
    pub(crate) fn release(&mut self, position: u64) {
        self.caller.release_reply(position);
    }

    /// Releases the guard's reply.
    pub(crate) fn give_back(&mut self) {
        self.replies = InUse::No;
        if let Some(position) = self.taken.take() {
            self.caller.release_reply(position);
        }
    }
}
