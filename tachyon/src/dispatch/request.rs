//! Requests as handlers receive them.

use std::time::Duration;

use super::layer::{Context, Origin};
use super::reply::{HandlerResult, ReplyTarget};
use crate::connection::Rx;
use crate::engine::{CallerInfo, Watch};
use crate::metadata::Metadata;
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
    /// The direction of the request; `None` for a request that another copy of this crate took from its ring.
    pub(super) rx: Option<&'a Rx>,
    /// The metadata of a request without `rx`.
    #[cfg(feature = "python")]
    pub(super) foreign: &'a Metadata,
}

#[cfg(feature = "python")]
impl<'a> RequestParts<'a> {
    /// A request that another copy of this crate took from its ring.
    pub(crate) fn foreign(
        payload: &'a [u8],
        target: ReplyTarget,
        deadline: Deadline,
        caller: &'a CallerInfo,
        metadata: &'a Metadata,
    ) -> Self {
        Self { payload, target, deadline, caller: Some(caller), rx: None, foreign: metadata }
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
            origin: self.origin(),
        }
    }

    #[inline]
    fn origin(self) -> Origin<'a> {
        match self.parts.rx {
            Some(rx) => Origin::Ring(rx),
            #[cfg(feature = "python")]
            None => Origin::Foreign(self.parts.foreign),
            #[cfg(not(feature = "python"))]
            None => unreachable!("only an extension has requests without a ring"),
        }
    }

    /// The metadata of a request in a ring, if it has some.
    #[inline]
    pub(crate) fn own_metadata(self) -> Option<&'a Metadata> {
        let rx = self.parts.rx?;
        rx.metadata_at(rx.current.position)
    }

    /// The texts that the caller sent beside the request.
    pub fn metadata(&self) -> &'a Metadata {
        self.context("").metadata()
    }

    /// The endpoint's message type.
    pub fn msg_type(&self) -> u16 {
        self.parts.target.msg_type()
    }

    /// The call's correlation id.
    pub fn correlation_id(&self) -> u64 {
        self.parts.target.correlation_id
    }

    /// The caller.
    pub fn caller(&self) -> CallerInfo {
        match (self.parts.caller, self.parts.rx) {
            (Some(caller), _) => *caller,
            (None, Some(rx)) => CallerInfo::new(1, &rx.connection.peer),
            (None, None) => unreachable!("a request comes from a ring, or with its caller"),
        }
    }

    /// Whether the caller no longer wants the reply: it cancelled the call, closed or died, its deadline has passed, or
    /// the server stops and its `stop_timeout` is over. A long handler asks now and then, and returns early. Reads the
    /// clock, and makes a system call.
    pub fn is_cancelled(&self) -> bool {
        self.context("").is_cancelled()
    }

    pub(crate) fn watch(self) -> Option<Watch<'a>> {
        self.parts.rx.map(|rx| Watch(&rx.connection))
    }

    /// How long the caller still waits: `None` without a deadline, zero after the deadline, when the reply is dropped.
    pub fn remaining(&self) -> Option<Duration> {
        self.parts.deadline.remaining()
    }

    pub(crate) fn deadline(self) -> Deadline {
        self.parts.deadline
    }
}
