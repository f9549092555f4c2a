//! Requests whose handler runs outside the serving thread: in an event loop, or as a task.

use std::sync::Arc;

use super::layer::{Context, Origin};
use super::owned_context::OwnedContext;
use super::pipe::Pipe;
use crate::connection::Rx;
use crate::engine::{CallerInfo, OpenRequest};
use crate::metadata::Metadata;
use crate::type_id::msg_type;
use crate::wait::monotonic_nanos;

/// A request that was taken from its ring and has no answer yet.
#[derive(Debug)]
pub struct Deferred {
    context: OwnedContext,
    /// When the server took the request, in `CLOCK_MONOTONIC` nanoseconds.
    pub(super) taken_at: u64,
}

impl Deferred {
    /// `pipe` joins the handler of a stream.
    pub(super) fn new(
        caller: &CallerInfo,
        rx: &Rx,
        request: &OpenRequest,
        name: &Arc<str>,
        pipe: Option<&Arc<Pipe>>,
    ) -> Self {
        let OpenRequest { frame, deadline } = request;
        let context = Context {
            msg_type: msg_type(frame.type_id),
            name,
            caller: *caller,
            correlation_id: frame.correlation_id,
            request_size: frame.len,
            is_concurrent: true,
            deadline: *deadline,
            origin: Origin::Ring(rx),
        };
        let context = OwnedContext::named(&context, Arc::clone(name), Some(&rx.connection), pipe);
        Self { context, taken_at: monotonic_nanos() }
    }

    /// The caller.
    pub fn caller(&self) -> CallerInfo {
        self.context().caller
    }

    /// The endpoint's message type.
    pub fn msg_type(&self) -> u16 {
        self.context().msg_type
    }

    /// The call's correlation id.
    pub fn correlation_id(&self) -> u64 {
        self.context().correlation_id
    }

    /// The call's deadline, in `CLOCK_MONOTONIC` nanoseconds; `None` without a deadline.
    pub fn deadline(&self) -> Option<u64> {
        self.context().deadline.nanos()
    }

    /// The metadata of the request.
    pub fn metadata(&self) -> &Metadata {
        self.context.own_metadata()
    }

    pub(super) fn context(&self) -> Context<'_> {
        self.context.get()
    }

    /// The context for a handler that owns it.
    pub(super) fn owned_context(&self) -> &OwnedContext {
        &self.context
    }

    /// Marks the call as cancelled, for a handler that goes on.
    pub(crate) fn cancel(&self) {
        self.context.cancel();
    }
}
