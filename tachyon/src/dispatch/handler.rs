//! What a handler is given and what it gives back.

use core::any::Any;
use core::fmt;
use core::ops::{Deref, DerefMut};
use std::time::Duration;

use super::caller_info::CallerInfo;
use super::slot::SlotError;
use crate::bus::Outgoing;
use crate::error::{Halt, Unsent};
use crate::payload::{Wire, view};
use crate::ring::Reservation;
use crate::rpc::{AlignedBytes, ErrorKind};
use crate::slice;
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

    /// Hands the request to `handler` as what the endpoint takes. One that is nothing of the kind never gets there.
    ///
    /// # Errors
    /// The request is no `W`: its caller gets [`BadRequest`](ErrorKind::BadRequest). Otherwise what `handler` says.
    #[inline]
    pub fn read<W: Wire + ?Sized>(
        &self,
        handler: impl FnOnce(&W) -> Result<Replied, HandlerError>,
    ) -> Result<Replied, HandlerError> {
        match view::<W>(self.payload) {
            Ok(request) => handler(&request),
            Err(problem) => Err(HandlerError::new(ErrorKind::BadRequest, problem)),
        }
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

impl<'a> Reply<'a> {
    /// Answers with a copy of `payload`, waiting for room.
    ///
    /// # Errors
    /// When the payload can never fit the reverse ring (the caller is told so), and when the caller is gone.
    #[inline]
    pub fn bytes(self, payload: &[u8]) -> Result<Replied, HandlerError> {
        let type_id = make_type_id(0, self.msg_type);
        match self.outgoing.send_owed(payload, type_id, self.correlation_id) {
            Ok(()) => Ok(Replied { size: payload.len() }),
            Err(unsent) => Err(HandlerError::unsent(unsent)),
        }
    }

    /// Takes `len` bytes of the reverse ring to write the reply in place, waiting for room. Who serves several callers
    /// does not wait for one of them: without room there, the reply is written elsewhere and sent once there is some.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn reserve(self, len: usize) -> Result<ReplyRoom<'a>, HandlerError> {
        let place = match self.outgoing.reserve_owed(len) {
            Ok(Some(reservation)) => Place::Ring(reservation),
            Ok(None) => Place::Heap(AlignedBytes::zeroed(len)),
            Err(unsent) => return Err(HandlerError::unsent(unsent)),
        };
        Ok(ReplyRoom { reply: self, place })
    }
}

/// Room for one reply. Derefs to its bytes, which hold whatever was there before. Dropping it gives the room back.
#[derive(Debug)]
#[must_use = "room that is not committed is no answer"]
pub struct ReplyRoom<'a> {
    reply: Reply<'a>,
    place: Place,
}

/// Where a reply is written.
#[derive(Debug)]
enum Place {
    Ring(Reservation),
    /// There was no room in the ring, and no waiting for it.
    Heap(AlignedBytes),
}

impl ReplyRoom<'_> {
    /// Sends the first `len` bytes.
    ///
    /// # Panics
    /// When `len` is more than was reserved.
    pub fn commit(self, len: usize) -> Replied {
        assert!(len <= self.len(), "cannot commit {len} bytes of {}", self.len());
        let Reply { outgoing, msg_type, correlation_id } = self.reply;
        let type_id = make_type_id(0, msg_type);
        match self.place {
            Place::Ring(reservation) => outgoing.publish(reservation, len, type_id, correlation_id),
            // One that is neither sent nor kept leaves the request unanswered, which the dispatcher sees and finds the
            // reason of; an interrupted one is kept, and the next wait is asked for the interruption again.
            Place::Heap(bytes) => drop(outgoing.send_owed(&bytes[..len], type_id, correlation_id)),
        }
        Replied { size: len }
    }
}

impl Deref for ReplyRoom<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.place {
            Place::Ring(reservation) => slice::reserved(reservation, self.reply.outgoing),
            Place::Heap(bytes) => bytes,
        }
    }
}

impl DerefMut for ReplyRoom<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.place {
            Place::Ring(reservation) => slice::reserved_mut(reservation, self.reply.outgoing),
            Place::Heap(bytes) => bytes,
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
    /// Size of a reply and of the ring that can never hold it.
    too_large: Option<(usize, usize)>,
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
        Self { kind, text: text.to_string(), halt: None, too_large: None }
    }

    /// The reply could not be sent.
    #[cold]
    fn unsent(unsent: Unsent) -> Self {
        match unsent {
            Unsent::TooLarge { size, max } => Self {
                too_large: Some((size, max)),
                ..Self::new(ErrorKind::ReplyTooLarge, SlotError::TooLarge { size, max })
            },
            // The connection ended under the reply; there is nobody to tell.
            Unsent::Halted(halt) => Self { halt: Some(halt), ..Self::new(ErrorKind::Unspecified, "") },
        }
    }

    /// The same to the handler, which cannot keep what the dispatcher has to be told.
    pub(super) fn slot_error(&self) -> SlotError {
        match self.too_large {
            Some((size, max)) => SlotError::TooLarge { size, max },
            None => SlotError::Gone,
        }
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
