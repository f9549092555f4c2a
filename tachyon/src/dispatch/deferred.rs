//! Requests whose handler runs outside the serving thread: in an event loop, or as a task.

use super::layer::Context;
use crate::connection::{Rx, slice};
use crate::engine::{CallerInfo, OpenRequest};
use crate::type_id::msg_type;
use crate::wait::{Deadline, monotonic_nanos};

/// A copy of a request that was taken from its ring and has no answer yet.
#[derive(Debug)]
pub struct Deferred {
    caller: CallerInfo,
    pub(super) msg_type: u16,
    pub(super) correlation_id: u64,
    deadline: Deadline,
    payload: Vec<u8>,
    /// Bytes of the payload, also after `take_payload`.
    pub(super) size: usize,
    /// When the server took the request, in `CLOCK_MONOTONIC` nanoseconds.
    pub(super) taken_at: u64,
}

impl Deferred {
    pub(super) fn new(caller: &CallerInfo, rx: &Rx, request: &OpenRequest) -> Self {
        let OpenRequest { frame, deadline } = request;
        Self {
            caller: *caller,
            msg_type: msg_type(frame.type_id),
            correlation_id: frame.correlation_id,
            deadline: *deadline,
            payload: slice::payload(frame, rx).to_vec(),
            size: frame.len,
            taken_at: monotonic_nanos(),
        }
    }

    /// The caller.
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

    /// The call's deadline, in `CLOCK_MONOTONIC` nanoseconds; `None` without a deadline.
    pub fn deadline(&self) -> Option<u64> {
        self.deadline.nanos()
    }

    /// Moves the request's bytes out.
    pub fn take_payload(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.payload)
    }

    /// The context for layers.
    pub(super) fn context<'a>(&self, name: &'a str) -> Context<'a> {
        Context {
            msg_type: self.msg_type,
            name,
            caller: self.caller,
            correlation_id: self.correlation_id,
            request_size: self.size,
            is_concurrent: true,
            deadline: self.deadline,
            watch: None,
        }
    }
}
