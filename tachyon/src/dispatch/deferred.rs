//! Requests that are answered later than their turn, by somebody who runs their handlers elsewhere.

use std::time::Duration;

use super::desk::{Answered, Desk};
use super::handler::{Due, HandlerError, Replied, Reply};
use super::layer::{self, Context, Outcome};
use crate::connection::slice;
use crate::connection::{Rx, Tx};
use crate::engine::{CallerInfo, OpenRequest};
use crate::rpc::ServeError;
use crate::stats::Bank;
use crate::type_id::msg_type;
use crate::wait::{Deadline, monotonic_nanos};

/// A request that was taken from its ring and is owed an answer.
#[derive(Debug)]
pub struct Deferred {
    caller: CallerInfo,
    msg_type: u16,
    correlation_id: u64,
    deadline: Deadline,
    payload: Vec<u8>,
    size: usize,
    began: u64,
}

impl Deferred {
    /// Who calls.
    pub fn caller(&self) -> CallerInfo {
        self.caller
    }

    /// The endpoint's message type.
    pub fn msg_type(&self) -> u16 {
        self.msg_type
    }

    /// The call's correlation id.
    pub fn correlation_id(&self) -> u64 {
        self.correlation_id
    }

    /// The `CLOCK_MONOTONIC` time, in nanoseconds, until when the answer is wanted; `None` when it may take long.
    pub fn deadline(&self) -> Option<u64> {
        self.deadline.nanos()
    }

    /// The request's bytes, which are gone from here afterwards.
    pub fn take_payload(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.payload)
    }

    /// As layers see it.
    fn info<'a>(&self, name: &'a str) -> Context<'a> {
        Context {
            msg_type: self.msg_type,
            name,
            caller: self.caller,
            correlation_id: self.correlation_id,
            request_size: self.size,
            overlaps: true,
            deadline: self.deadline,
            watch: None,
        }
    }
}

impl<S: ?Sized> Desk<S> {
    /// Copies a request whose endpoint is to be run elsewhere, if `wanted` says so of its message type; `None` leaves it
    /// to [`answer`](Self::answer).
    pub(crate) fn defer(
        &self,
        caller: &CallerInfo,
        rx: &Rx,
        request: &OpenRequest,
        wanted: impl FnOnce(u16) -> bool,
    ) -> Option<Deferred> {
        let OpenRequest { frame, deadline } = request;
        let msg_type = msg_type(frame.type_id);
        let registered = self.find(frame.type_id)?;
        if !wanted(msg_type) || deadline.has_passed() {
            return None;
        }
        let deferred = Deferred {
            caller: *caller,
            msg_type,
            correlation_id: frame.correlation_id,
            deadline: *deadline,
            payload: slice::payload(frame, rx).to_vec(),
            size: frame.len,
            began: monotonic_nanos(),
        };
        if !self.layers.is_empty() {
            layer::before(&self.layers, &deferred.info(registered.name()));
        }
        Some(deferred)
    }

    /// Answers a request that was deferred, by what makes its reply.
    pub(crate) fn conclude(
        &self,
        bank: Option<Bank<'_>>,
        tx: &mut Tx,
        deferred: &Deferred,
        handler: impl FnOnce(Reply<'_>) -> Result<Replied, HandlerError>,
    ) -> Answered {
        let Deferred { msg_type, correlation_id, .. } = *deferred;
        // A table never loses an endpoint, and this one was found when the request was deferred.
        let Some(registered) = self.find(u32::from(msg_type)) else { return Ok(()) };
        let result = self.run(registered, tx, &Due { msg_type, correlation_id }, handler);
        let outcome = match &result {
            Ok(size) => Outcome::Replied(*size),
            Err(error) => match &**error {
                ServeError::Handler(failure) => Outcome::Failed(failure.kind),
                _ => Outcome::CallerGone,
            },
        };
        self.end(bank, deferred, outcome);
        match result {
            Err(error) if matches!(&*error, ServeError::Handler(failure) if failure.is_answer()) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Counts the end of a request that was deferred, and shows it to the layers.
    pub(crate) fn end(&self, bank: Option<Bank<'_>>, deferred: &Deferred, outcome: Outcome) {
        let Some(registered) = self.find(u32::from(deferred.msg_type)) else { return };
        let took = monotonic_nanos().saturating_sub(deferred.began);
        if let Some(bank) = bank {
            bank.tally(registered.ordinal()).record(deferred.size, Some(took), outcome.into());
        }
        if !self.layers.is_empty() {
            let call = deferred.info(registered.name());
            layer::after(&self.layers, &call, &outcome, Duration::from_nanos(took));
        }
    }
}
