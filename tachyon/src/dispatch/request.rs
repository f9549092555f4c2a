//! Requests as handlers receive them.

use std::time::Duration;

use super::layer::{Context, is_cancelled};
use super::reply::{HandlerResult, ReplyTarget};
use crate::engine::{CallerInfo, Watch};
use crate::schema::payload::{Value, with_scratch};
use crate::wait::Deadline;

/// The parts of a request. They lie in the frame of the serving function: a [`Request`] and its
/// [`Reply`](super::Reply) pass references to them, in registers.
#[derive(Debug)]
pub(crate) struct RequestParts<'a> {
    pub(super) payload: &'a [u8],
    pub(super) target: ReplyTarget,
    pub(super) deadline: Deadline,
    /// The caller, of a server.
    pub(super) caller: Option<&'a CallerInfo>,
    /// The connection; `None` for a request that another copy of this crate took from its ring.
    pub(super) watch: Option<Watch<'a>>,
}

#[cfg(feature = "python")]
impl<'a> RequestParts<'a> {
    /// A request that another copy of this crate took from its ring.
    pub(crate) fn foreign(payload: &'a [u8], target: ReplyTarget, deadline: Deadline, caller: &'a CallerInfo) -> Self {
        Self { payload, target, deadline, caller: Some(caller), watch: None }
    }
}

/// A request, in place in the ring.
///
/// ```
/// use tachyon::Dispatcher;
///
/// let mut dispatcher = Dispatcher::default();
/// dispatcher.register_handler(1, "echo", Box::new(|(), request, reply| reply.bytes(request.payload())))?;
/// # Ok::<(), tachyon::RegisterError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    parts: &'a RequestParts<'a>,
}

impl<'a> Request<'a> {
    #[inline]
    pub(crate) fn new(parts: &'a RequestParts<'a>) -> Self {
        Self { parts }
    }

    /// The request's bytes, in the ring. The dispatcher releases them when the handler returns.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.parts.payload
    }

    /// Reads the request as a `T` and passes it to `handler`.
    ///
    /// # Errors
    /// The request is no `T`: its caller gets [`BadRequest`](crate::ErrorKind::BadRequest). Otherwise the error of
    /// `handler`.
    #[inline]
    pub fn read<T: Value>(&self, handler: impl FnOnce(T::View<'_>) -> HandlerResult) -> HandlerResult {
        let message = self.parts.payload;
        with_scratch(T::COPIES, message, |message, scratch| handler(T::read_message(message, scratch, "the request")?))
    }

    /// The context of the request, for the endpoint `name`.
    #[inline]
    pub(crate) fn context<'n>(self, name: &'n str) -> Context<'n>
    where
        'a: 'n,
    {
        Context {
            msg_type: self.msg_type(),
            name,
            caller: self.caller(),
            correlation_id: self.correlation_id(),
            request_size: self.parts.payload.len(),
            is_concurrent: false,
            deadline: self.parts.deadline,
            watch: self.parts.watch,
        }
    }

    /// The endpoint's message type.
    pub fn msg_type(&self) -> u16 {
        self.parts.target.msg_type
    }

    /// The call's correlation id.
    pub fn correlation_id(&self) -> u64 {
        self.parts.target.correlation_id
    }

    /// The caller.
    pub fn caller(&self) -> CallerInfo {
        match (self.parts.caller, &self.parts.watch) {
            (Some(caller), _) => *caller,
            (None, Some(watch)) => CallerInfo::new(1, &watch.0.peer),
            (None, None) => unreachable!("a request comes from a ring, or with its caller"),
        }
    }

    /// Whether the caller no longer wants the reply: it cancelled the call, closed or died, its deadline has passed, or
    /// the server stops and its `stop_timeout` is over. A long handler asks now and then, and returns early. Reads the
    /// clock, and makes a system call.
    pub fn is_cancelled(&self) -> bool {
        let RequestParts { target, deadline, watch, .. } = self.parts;
        is_cancelled(*watch, target.correlation_id, *deadline)
    }

    pub(crate) fn watch(self) -> Option<Watch<'a>> {
        self.parts.watch
    }

    /// How long the caller still waits: `None` without a deadline, zero after the deadline, when the reply is dropped.
    pub fn remaining(&self) -> Option<Duration> {
        self.parts.deadline.remaining()
    }

    pub(crate) fn deadline(self) -> Deadline {
        self.parts.deadline
    }
}
