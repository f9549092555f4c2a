//! What a handler is given and what it gives back.

use core::any::Any;
use core::fmt;
use std::time::Duration;

use super::caller_info::CallerInfo;
use crate::bus::Outgoing;
use crate::error::{Halt, Unsent};
use crate::rpc::ErrorKind;
use crate::type_id::make_type_id;
use crate::wait::{Deadline, Peer};

/// A request, in place.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub(super) payload: &'a [u8],
    pub(super) msg_type: u16,
    pub(super) correlation_id: u64,
    pub(super) deadline: Deadline,
    /// The caller, when the server has several.
    pub(super) caller: Option<&'a CallerInfo>,
    pub(super) peer: &'a Peer,
}

impl<'a> Request<'a> {
    /// The request's bytes, in the ring. They are released when the handler returns.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The endpoint's message type.
    pub fn msg_type(&self) -> u16 {
        self.msg_type
    }

    /// The call's correlation id.
    pub fn correlation_id(&self) -> u64 {
        self.correlation_id
    }

    /// Who calls.
    pub fn caller(&self) -> CallerInfo {
        self.caller.copied().unwrap_or_else(|| CallerInfo::new(1, self.peer))
    }

    /// How long the caller still waits: `None` when it set no deadline, zero when the deadline has passed and the reply
    /// will be dropped.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.remaining()
    }
}

/// The obligation to answer one request. Only answering gives the [`Replied`] that a handler must return.
#[derive(Debug)]
pub struct Reply<'a> {
    pub(crate) outgoing: &'a mut Outgoing,
    pub(super) msg_type: u16,
    pub(super) correlation_id: u64,
}

impl Reply<'_> {
    /// Answers with a copy of `payload`, waiting for room.
    ///
    /// # Errors
    /// When the payload can never fit the reverse ring (the caller is told so), and when the caller is gone.
    #[inline]
    pub fn bytes(self, payload: &[u8]) -> Result<Replied, HandlerError> {
        let type_id = make_type_id(0, self.msg_type);
        match self.outgoing.send_owed(payload, type_id, self.correlation_id) {
            Ok(()) => Ok(Replied { size: payload.len() }),
            Err(Unsent::TooLarge { size, max }) => Err(HandlerError::new(
                ErrorKind::ReplyTooLarge,
                format_args!("the reply is {size} bytes and the reverse ring {max}; listen with a larger one"),
            )),
            Err(Unsent::Halted(halt)) => Err(HandlerError::halted(halt)),
        }
    }
}

/// Proof that a request was answered.
#[derive(Debug)]
pub struct Replied {
    /// Bytes of the reply.
    pub(super) size: usize,
}

/// Why a request was not answered with a reply. Its caller is answered with an error.
#[derive(Debug)]
pub struct HandlerError {
    pub(super) kind: ErrorKind,
    pub(super) text: String,
    pub(super) halt: Option<Halt>,
}

impl HandlerError {
    /// A failure of the handler itself.
    #[cold]
    pub fn failed(error: impl fmt::Display) -> Self {
        Self::new(ErrorKind::HandlerFailed, error)
    }

    /// A failure of the given kind.
    #[cold]
    pub fn new(kind: ErrorKind, text: impl fmt::Display) -> Self {
        Self { kind, text: text.to_string(), halt: None }
    }

    /// The connection ended under the reply; there is nobody to tell.
    #[cold]
    fn halted(halt: Halt) -> Self {
        Self { kind: ErrorKind::Unspecified, text: String::new(), halt: Some(halt) }
    }

    /// A handler that panicked, with what it panicked with.
    #[cold]
    pub(crate) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("with a payload that is not text");
        Self::new(ErrorKind::HandlerFailed, format_args!("panicked: {text}"))
    }
}
