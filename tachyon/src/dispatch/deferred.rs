//! Requests that are answered later than their turn, by somebody who runs their handlers elsewhere.

use super::caller_info::CallerInfo;
use super::dispatcher::{Dispatcher, fail};
use super::handler::{HandlerError, Reply};
use super::watched::Origin;
use crate::bus::{Incoming, Outgoing};
use crate::error::ServeError;
use crate::rpc::OpenRequest;
use crate::slice;
use crate::stats::Ending;
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
}

impl<S: ?Sized> Dispatcher<S> {
    /// Copies a request whose endpoint is to be run elsewhere, if `wanted` says so of its message type; `None` leaves it
    /// to [`answer`](Self::answer).
    pub(crate) fn defer(
        &self,
        origin: &Origin<'_>,
        incoming: &Incoming,
        request: &OpenRequest,
        wanted: impl FnOnce(u16) -> bool,
    ) -> Option<Deferred> {
        let OpenRequest { frame, deadline } = request;
        let msg_type = msg_type(frame.type_id);
        let caller = origin.caller.copied()?;
        if self.find(frame.type_id).is_none() || !wanted(msg_type) || deadline.has_passed() {
            return None;
        }
        Some(Deferred {
            caller,
            msg_type,
            correlation_id: frame.correlation_id,
            deadline: *deadline,
            payload: slice::payload(frame, incoming).to_vec(),
            size: frame.len,
            began: monotonic_nanos(),
        })
    }

    /// Answers a request that was deferred; one whose caller is gone, and so has no `outgoing`, is only counted.
    pub(crate) fn answer_deferred(
        &self,
        origin: &Origin<'_>,
        outgoing: Option<&mut Outgoing>,
        deferred: &Deferred,
        outcome: Result<Vec<u8>, HandlerError>,
    ) -> Result<(), ServeError> {
        let Deferred { msg_type, correlation_id, .. } = *deferred;
        // A table never loses an endpoint, and this one was found when the request was deferred.
        let Some(registered) = self.find(u32::from(msg_type)) else { return Ok(()) };
        let (result, ending) = match outgoing {
            None => (Ok(()), Ending::CallerGone),
            Some(outgoing) => {
                let reply = Reply { outgoing: &mut *outgoing, msg_type, correlation_id };
                match outcome.and_then(|payload| reply.bytes(&payload)) {
                    Ok(replied) => (Ok(()), Ending::Replied(replied.size)),
                    Err(error) => {
                        let name = registered.name();
                        let told = fail(outgoing, name, self.send_text, Some(correlation_id), msg_type, error);
                        let ending = match &told {
                            ServeError::Handler(failure) => Ending::Failed(failure.kind),
                            _ => Ending::CallerGone,
                        };
                        (Err(told), ending)
                    }
                }
            }
        };
        if let Some(bank) = origin.bank {
            let took = monotonic_nanos().saturating_sub(deferred.began);
            bank.tally(registered.ordinal()).record(deferred.size, Some(took), ending);
        }
        result
    }
}
