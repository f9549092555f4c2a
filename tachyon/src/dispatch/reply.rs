//! Replies of handlers that answer by themselves.

use core::ops::{Deref, DerefMut};

use super::error::HandlerError;
use crate::aligned::AlignedBytes;
use crate::connection::{Tx, slice};
#[cfg(feature = "python")]
use crate::extension::{HostReply, HostRoom};
use crate::foreign::Foreign;
use crate::ring::{MessageHeader, Reservation};
use crate::schema::payload::{Message, ReplyValue, SHORT, on_stack};
use crate::type_id::{ROUTE_END, ROUTE_ITEM, make_type_id, msg_type};

/// The call that a reply is for, and its endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReplyTarget {
    pub(crate) type_id: u32,
    pub(crate) correlation_id: u64,
}

impl ReplyTarget {
    /// The reply to a call.
    #[inline]
    pub(crate) fn call(msg_type: u16, correlation_id: u64) -> Self {
        Self { type_id: make_type_id(0, msg_type), correlation_id }
    }

    /// An item of a stream.
    pub(super) fn item(msg_type: u16, correlation_id: u64) -> Self {
        Self { type_id: make_type_id(ROUTE_ITEM, msg_type), correlation_id }
    }

    /// The end of a stream of replies.
    pub(super) fn end(msg_type: u16, correlation_id: u64) -> Self {
        Self { type_id: make_type_id(ROUTE_END, msg_type), correlation_id }
    }

    #[inline]
    pub(crate) fn msg_type(&self) -> u16 {
        msg_type(self.type_id)
    }

    #[inline]
    fn header(&self) -> MessageHeader {
        MessageHeader::new(self.type_id, self.correlation_id)
    }
}

/// The outcome of a handler that answers by itself: proof of its reply, or the error for its caller.
///
/// Only [`Reply`] makes the proof, so a handler that returns `Ok` has answered.
pub type HandlerResult = Result<Replied, HandlerError>;

/// The reply to one request, not yet sent. Sending it gives the [`HandlerResult`] that a handler returns.
///
/// ```
/// use tachyon::Dispatcher;
/// use tachyon::dispatch::{HandlerResult, Reply, Request};
///
/// fn sum(_state: &(), request: Request<'_>, reply: Reply<'_>) -> HandlerResult {
///     let sum: u64 = request.payload().iter().copied().map(u64::from).sum();
///     reply.value(&sum)
/// }
///
/// let mut dispatcher = Dispatcher::default();
/// dispatcher.register_handler(1, "sum", Box::new(sum))?;
/// # Ok::<(), tachyon::RegisterError>(())
/// ```
#[derive(Debug)]
pub struct Reply<'a> {
    destination: Destination<'a>,
    target: &'a ReplyTarget,
}

#[derive(Debug)]
enum Destination<'a> {
    Ring(&'a mut Tx),
    /// The copy of this crate that has the ring.
    #[cfg(feature = "python")]
    Host(HostReply<'a>),
}

impl<'a> Reply<'a> {
    #[inline]
    pub(super) fn over(tx: &'a mut Tx, target: &'a ReplyTarget) -> Self {
        Self { destination: Destination::Ring(tx), target }
    }

    /// The reply to a request that another copy of this crate took from its ring.
    #[cfg(feature = "python")]
    pub(crate) fn through(host: HostReply<'a>, target: &'a ReplyTarget) -> Self {
        Self { destination: Destination::Host(host), target }
    }

    /// The ring of the reply; `None` if another copy of this crate has it.
    #[cfg_attr(
        not(feature = "python"),
        allow(clippy::unnecessary_wraps, reason = "the ring is the only destination then")
    )]
    pub(crate) fn ring(&self) -> Option<&Tx> {
        match &self.destination {
            Destination::Ring(tx) => Some(tx),
            #[cfg(feature = "python")]
            Destination::Host(_) => None,
        }
    }

    /// As [`ring`](Self::ring).
    #[cfg_attr(
        not(feature = "python"),
        allow(clippy::unnecessary_wraps, reason = "the ring is the only destination then")
    )]
    pub(crate) fn ring_mut(&mut self) -> Option<&mut Tx> {
        match &mut self.destination {
            Destination::Ring(tx) => Some(tx),
            #[cfg(feature = "python")]
            Destination::Host(_) => None,
        }
    }

    /// Replies with a value, waiting for room.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    #[inline]
    pub fn value<T: ReplyValue>(self, value: &T) -> HandlerResult {
        if let Some(bytes) = value.bytes() {
            return self.bytes(bytes);
        }
        let view = value.view();
        let len = <T::Message as Message>::len(view);
        if len <= SHORT {
            return on_stack(len, |bytes| {
                <T::Message as Message>::write(view, bytes);
                self.bytes(bytes)
            });
        }
        let mut room = self.reserve(len)?;
        <T::Message as Message>::write(view, &mut room);
        Ok(room.commit(len))
    }

    /// Replies with a copy of `payload`, waiting for room.
    ///
    /// # Errors
    /// The payload can never fit the reverse ring, in which case the caller gets
    /// [`ReplyTooLarge`](crate::ErrorKind::ReplyTooLarge); or the caller closed or died.
    #[inline]
    pub fn bytes(self, payload: &[u8]) -> HandlerResult {
        let sent = match self.destination {
            Destination::Ring(tx) => tx.send_reply(payload, self.target.header()),
            #[cfg(feature = "python")]
            Destination::Host(host) => host.send(payload),
        };
        match sent {
            Ok(()) => Ok(Replied { size: payload.len() }),
            Err(unsent) => Err(HandlerError::unsent(unsent)),
        }
    }

    /// Writes the reply in place: passes `len` bytes of the reverse ring to `write`, waiting for room, and sends as
    /// many of the first bytes as `write` returns. The bytes hold old data at first.
    ///
    /// ```
    /// use tachyon::Dispatcher;
    ///
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register_handler(1, "shout", Box::new(|(), request, reply| {
    ///     let text = request.payload();
    ///     reply.in_place(text.len(), |bytes| {
    ///         bytes.copy_from_slice(text);
    ///         bytes.make_ascii_uppercase();
    ///         text.len()
    ///     })
    /// }))?;
    /// # Ok::<(), tachyon::RegisterError>(())
    /// ```
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    ///
    /// # Panics
    /// When `write` returns more than `len`.
    pub fn in_place(self, len: usize, write: impl FnOnce(&mut [u8]) -> usize) -> HandlerResult {
        let mut buffer = self.reserve(len)?;
        let used = write(&mut buffer);
        Ok(buffer.commit(used))
    }

    /// Takes `len` bytes of the reverse ring to write the reply in place, waiting for room. A server does not wait for
    /// room of one caller: without room the reply goes to the heap, and is sent once there is room.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub(crate) fn reserve(self, len: usize) -> Result<ReplyBuffer<'a>, HandlerError> {
        let Self { destination, target } = self;
        let place = match destination {
            Destination::Ring(tx) => match tx.reserve_reply(len) {
                Ok(Some(reservation)) => Place::Ring(tx, reservation),
                Ok(None) => Place::Heap(tx, AlignedBytes::zeroed(len)),
                Err(unsent) => return Err(HandlerError::unsent(unsent)),
            },
            #[cfg(feature = "python")]
            Destination::Host(host) => Place::Host(host.reserve(len).map_err(HandlerError::unsent)?),
        };
        Ok(ReplyBuffer { place, private: None, target: *target })
    }
}

/// Room for the bytes of one reply, which hold old data at first. Dropping it gives the room back.
#[derive(Debug)]
#[must_use = "room that is not committed is no reply"]
pub(crate) struct ReplyBuffer<'a> {
    place: Place<'a>,
    /// The bytes until the commit, if the caller must not be able to change them.
    private: Option<AlignedBytes>,
    target: ReplyTarget,
}

#[derive(Debug)]
enum Place<'a> {
    Ring(&'a mut Tx, Reservation),
    /// The ring has no room, and this side does not wait for room.
    Heap(&'a mut Tx, AlignedBytes),
    #[cfg(feature = "python")]
    Host(HostRoom<'a>),
}

impl ReplyBuffer<'_> {
    /// Moves the bytes out of the caller's reach until the commit, and zeroes them. For types that do not accept all
    /// bytes: a hostile caller could write invalid bytes between a check and the use.
    pub(super) fn into_private(self) -> Self {
        Self { private: Some(AlignedBytes::zeroed(self.len())), ..self }
    }

    /// Sends the first `len` bytes.
    ///
    /// # Panics
    /// When `len` is more than was reserved.
    pub(crate) fn commit(self, len: usize) -> Replied {
        assert!(len <= self.len(), "cannot commit {len} bytes of {}", self.len());
        let Self { mut place, private, target } = self;
        if let Some(bytes) = private {
            place.bytes_mut()[..len].copy_from_slice(&bytes[..len]);
        }
        match place {
            Place::Ring(tx, reservation) => tx.publish(reservation, len, target.header()),
            // A reply that is neither sent nor deferred leaves the request unanswered: the dispatcher notices, and
            // finds the reason. An interrupted reply is deferred, and the next wait asks for the interruption again.
            Place::Heap(tx, bytes) => {
                drop(tx.send_reply(&bytes[..len], target.header()));
            }
            #[cfg(feature = "python")]
            Place::Host(room) => room.commit(len),
        }
        Replied { size: len }
    }
}

impl Place<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Ring(tx, reservation) => slice::reserved(reservation, tx),
            Self::Heap(_, bytes) => bytes,
            #[cfg(feature = "python")]
            Self::Host(room) => room.bytes(),
        }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Ring(tx, reservation) => slice::reserved_mut(reservation, tx),
            Self::Heap(_, bytes) => bytes,
            #[cfg(feature = "python")]
            Self::Host(room) => room.bytes_mut(),
        }
    }
}

impl Deref for ReplyBuffer<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.private.as_deref().unwrap_or_else(|| self.place.bytes())
    }
}

impl DerefMut for ReplyBuffer<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.private.as_deref_mut().unwrap_or_else(|| self.place.bytes_mut())
    }
}

/// Proof that a request was answered.
#[derive(Debug)]
pub struct Replied {
    /// In bytes.
    pub(super) size: usize,
}

/// Sends the output of a handler's future as the reply.
type SendReply = Box<dyn FnOnce(Reply<'_>) -> HandlerResult + Send>;

/// The output of a handler's future.
#[derive(Debug)]
pub struct AsyncReply {
    send: Foreign<SendReply>,
    /// Whether a stream of an endpoint that is not known ends in this as its reply, and not in END.
    is_reply_to_stream: bool,
}

impl AsyncReply {
    pub(crate) fn new(send: impl FnOnce(Reply<'_>) -> HandlerResult + Send + 'static) -> Self {
        Self { send: Foreign::new(Box::new(send)), is_reply_to_stream: false }
    }

    /// The reply to a stream of the caller's items, for an endpoint that is not known.
    #[cfg(feature = "tokio")]
    pub(super) fn reply_to_stream(send: impl FnOnce(Reply<'_>) -> HandlerResult + Send + 'static) -> Self {
        Self { is_reply_to_stream: true, ..Self::new(send) }
    }

    pub(super) fn is_reply_to_stream(&self) -> bool {
        self.is_reply_to_stream
    }

    /// Sends the reply. For use within `foreign::run`.
    pub(crate) fn send(self, reply: Reply<'_>) -> HandlerResult {
        self.send.take().map_or_else(|| unreachable!("the reply is taken once"), |send| send(reply))
    }
}
