//! What a handler is given and what it gives back.

use core::fmt;
use core::ops::{Deref, DerefMut};
use std::time::Duration;

use super::layer::Context;
use super::slot::SlotError;
use crate::aligned::AlignedBytes;
use crate::connection::Tx;
use crate::connection::slice;
use crate::connection::{Halt, Unsent};
use crate::engine::{CallerInfo, ErrorBody, ErrorKind, Watch};
#[cfg(feature = "python")]
use crate::extension::{HostReply, HostRoom};
use crate::ring::{MessageHeader, Reservation};
use crate::schema::payload::{
    BoxedMalformed, DeclaredError, Message, ReplyValue, SHORT, Value, on_stack, with_scratch,
};
use crate::type_id::make_type_id;
use crate::wait::Deadline;

/// What was asked, by whom, and until when. It lies with whoever serves: a [`Request`] and its [`Reply`] are handed on by
/// reference, in registers.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(super) payload: &'a [u8],
    pub(super) due: Due,
    pub(super) deadline: Deadline,
    /// The caller, where there are several.
    pub(super) caller: Option<&'a CallerInfo>,
    /// Where it came from, if that is here.
    pub(super) watch: Option<Watch<'a>>,
}

/// The answer that is owed: to which call, of which endpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    pub(crate) msg_type: u16,
    pub(crate) correlation_id: u64,
}

/// A request, in place.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    asked: &'a Asked<'a>,
}

#[cfg(feature = "python")]
impl<'a> Asked<'a> {
    /// A request that another copy of this crate has taken from a ring.
    pub(crate) fn elsewhere(payload: &'a [u8], due: Due, deadline: Deadline, caller: &'a CallerInfo) -> Self {
        Self { payload, due, deadline, caller: Some(caller), watch: None }
    }
}

impl<'a> Request<'a> {
    #[inline]
    pub(crate) fn new(asked: &'a Asked<'a>) -> Self {
        Self { asked }
    }

    /// The request's bytes, in the ring. They are released when the handler returns.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.asked.payload
    }

    /// Reads the request as a `T` and lends it to `handler`.
    ///
    /// # Errors
    /// The request is no `T`: its caller gets [`BadRequest`](ErrorKind::BadRequest). Otherwise what `handler` returns.
    #[inline]
    pub fn read<T: Value>(
        &self,
        handler: impl FnOnce(T::View<'_>) -> Result<Replied, HandlerError>,
    ) -> Result<Replied, HandlerError> {
        let message = self.asked.payload;
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
            request_size: self.asked.payload.len(),
            overlaps: false,
            deadline: self.asked.deadline,
            watch: self.asked.watch,
        }
    }

    /// The endpoint's message type.
    pub fn msg_type(&self) -> u16 {
        self.asked.due.msg_type
    }

    /// The call's correlation id.
    pub fn correlation_id(&self) -> u64 {
        self.asked.due.correlation_id
    }

    /// Who calls.
    pub fn caller(&self) -> CallerInfo {
        match (self.asked.caller, &self.asked.watch) {
            (Some(caller), _) => *caller,
            (None, Some(watch)) => CallerInfo::new(1, &watch.0.peer),
            (None, None) => unreachable!("a request comes from a ring, or with its caller"),
        }
    }

    /// Whether the answer is wanted no more: the caller cancelled the call, closed or died, its deadline has passed, or
    /// the server stops and its `stop_timeout` is over. A handler that runs for long asks this now and then, and ends
    /// early. Reads the clock, and makes a system call.
    pub fn is_cancelled(&self) -> bool {
        let Asked { due, deadline, watch, .. } = self.asked;
        is_cancelled(*watch, due.correlation_id, *deadline)
    }

    /// Where it came from, if that is here.
    pub(crate) fn watch(self) -> Option<Watch<'a>> {
        self.asked.watch
    }

    /// How long the caller still waits: `None` when it set no deadline, zero when the deadline has passed and the reply
    /// will be dropped.
    pub fn remaining(&self) -> Option<Duration> {
        self.asked.deadline.remaining()
    }

    /// Until when the caller waits.
    pub(crate) fn deadline(self) -> Deadline {
        self.asked.deadline
    }
}

/// Whether a call is cancelled; of a request that another copy of this crate has taken, only the deadline is known.
#[cold]
pub(super) fn is_cancelled(watch: Option<Watch<'_>>, call: u64, deadline: Deadline) -> bool {
    watch.map_or_else(|| deadline.has_passed(), |watch| watch.is_cancelled(call, deadline))
}

/// The obligation to answer one request. Only answering gives the [`Replied`] that a handler must return.
#[derive(Debug)]
pub struct Reply<'a> {
    way: Way<'a>,
    due: &'a Due,
}

/// Where an answer goes.
#[derive(Debug)]
enum Way<'a> {
    Ring(&'a mut Tx),
    /// To the copy of this crate that has the ring.
    #[cfg(feature = "python")]
    Host(HostReply<'a>),
}

impl<'a> Reply<'a> {
    #[inline]
    pub(super) fn over(tx: &'a mut Tx, due: &'a Due) -> Self {
        Self { way: Way::Ring(tx), due }
    }

    /// The answer to a request that another copy of this crate has taken from a ring.
    #[cfg(feature = "python")]
    pub(crate) fn through(host: HostReply<'a>, due: &'a Due) -> Self {
        Self { way: Way::Host(host), due }
    }

    /// The ring it goes to, if that is here.
    #[cfg_attr(not(feature = "python"), allow(clippy::unnecessary_wraps, reason = "there is no other way then"))]
    pub(crate) fn ring(&self) -> Option<&Tx> {
        match &self.way {
            Way::Ring(tx) => Some(tx),
            #[cfg(feature = "python")]
            Way::Host(_) => None,
        }
    }

    /// As [`ring`](Self::ring).
    #[cfg_attr(not(feature = "python"), allow(clippy::unnecessary_wraps, reason = "there is no other way then"))]
    pub(crate) fn ring_mut(&mut self) -> Option<&mut Tx> {
        match &mut self.way {
            Way::Ring(tx) => Some(tx),
            #[cfg(feature = "python")]
            Way::Host(_) => None,
        }
    }

    /// Answers with a value, waiting for room.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    #[inline]
    pub fn value<T: ReplyValue>(self, value: &T) -> Result<Replied, HandlerError> {
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

    /// Answers with a copy of `payload`, waiting for room.
    ///
    /// # Errors
    /// When the payload can never fit the reverse ring (the caller is told so), and when the caller is gone.
    #[inline]
    pub fn bytes(self, payload: &[u8]) -> Result<Replied, HandlerError> {
        let Due { msg_type, correlation_id } = *self.due;
        let type_id = make_type_id(0, msg_type);
        let sent = match self.way {
            Way::Ring(tx) => tx.send_reply(payload, MessageHeader::new(type_id, correlation_id)),
            #[cfg(feature = "python")]
            Way::Host(host) => host.send(payload),
        };
        match sent {
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
        let Self { way, due } = self;
        let place = match way {
            Way::Ring(tx) => match tx.reserve_reply(len) {
                Ok(Some(reservation)) => Place::Ring(tx, reservation),
                Ok(None) => Place::Heap(tx, AlignedBytes::zeroed(len)),
                Err(unsent) => return Err(HandlerError::unsent(unsent)),
            },
            #[cfg(feature = "python")]
            Way::Host(host) => Place::Host(host.reserve(len).map_err(HandlerError::unsent)?),
        };
        Ok(ReplyRoom { place, apart: None, due: *due })
    }
}

/// Room for one reply. Derefs to its bytes, which hold whatever was there before. Dropping it gives the room back.
#[derive(Debug)]
#[must_use = "room that is not committed is no answer"]
pub struct ReplyRoom<'a> {
    place: Place<'a>,
    /// The bytes until they are committed, if the caller must not be able to change them.
    apart: Option<AlignedBytes>,
    due: Due,
}

/// Where a reply is written.
#[derive(Debug)]
enum Place<'a> {
    Ring(&'a mut Tx, Reservation),
    /// There was no room in the ring, and no waiting for it.
    Heap(&'a mut Tx, AlignedBytes),
    #[cfg(feature = "python")]
    Host(HostRoom<'a>),
}

impl ReplyRoom<'_> {
    /// Takes the bytes out of the caller's reach until they are committed; they are zeros then. For values of a type of
    /// which not all bytes are one: a hostile caller could write others between a check and the use.
    pub(super) fn kept_apart(self) -> Self {
        Self { apart: Some(AlignedBytes::zeroed(self.len())), ..self }
    }

    /// Sends the first `len` bytes.
    ///
    /// # Panics
    /// When `len` is more than was reserved.
    pub fn commit(self, len: usize) -> Replied {
        assert!(len <= self.len(), "cannot commit {len} bytes of {}", self.len());
        let Self { mut place, apart, due: Due { msg_type, correlation_id } } = self;
        if let Some(bytes) = apart {
            place.bytes_mut()[..len].copy_from_slice(&bytes[..len]);
        }
        let type_id = make_type_id(0, msg_type);
        match place {
            Place::Ring(tx, reservation) => {
                tx.publish(reservation, len, MessageHeader::new(type_id, correlation_id));
            }
            // One that is neither sent nor kept leaves the request unanswered, which the dispatcher sees and finds the
            // reason of; an interrupted one is kept, and the next wait is asked for the interruption again.
            Place::Heap(tx, bytes) => {
                drop(tx.send_reply(&bytes[..len], MessageHeader::new(type_id, correlation_id)));
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

impl Deref for ReplyRoom<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.apart.as_deref().unwrap_or_else(|| self.place.bytes())
    }
}

impl DerefMut for ReplyRoom<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.apart.as_deref_mut().unwrap_or_else(|| self.place.bytes_mut())
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
pub struct HandlerError(Box<Failure>);

/// What a [`HandlerError`] says. Boxed, so that what a handler returns fits the registers.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) text: String,
    /// A declared error's name and fields.
    pub(super) declared: Option<(String, Vec<u8>)>,
    pub(super) halt: Option<Halt>,
    /// Size of a reply and of the ring that can never hold it.
    too_large: Option<(usize, usize)>,
}

impl Failure {
    /// What travels besides the kind.
    pub(super) fn body(&self) -> ErrorBody<'_> {
        let (name, fields) = self.declared.as_ref().map_or(("", &[][..]), |(name, fields)| (name, fields));
        ErrorBody { name, text: &self.text, fields }
    }
}

/// A request that is not what its endpoint takes.
impl From<BoxedMalformed> for HandlerError {
    #[cold]
    #[inline(never)]
    fn from(problem: BoxedMalformed) -> Self {
        Self::new(ErrorKind::BadRequest, problem)
    }
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
        Self(Box::new(Failure { kind, text: text.to_string(), declared: None, halt: None, too_large: None }))
    }

    /// An error that the endpoint declares. It is an answer: the dispatcher does not report it as a failure.
    #[cold]
    pub fn declared<E: DeclaredError>(error: &E) -> Self {
        let (name, fields) = error.encode();
        Self::named(name, error, fields)
    }

    /// An error by its name, with its fields as a head.
    #[cold]
    pub(crate) fn named(name: &str, text: impl fmt::Display, fields: Vec<u8>) -> Self {
        let mut error = Self::failed(text);
        error.0.declared = Some((name.to_owned(), fields));
        error
    }

    /// The reply could not be sent.
    #[cold]
    fn unsent(unsent: Unsent) -> Self {
        match unsent {
            Unsent::TooLarge { size, max } => {
                let mut error = Self::new(ErrorKind::ReplyTooLarge, SlotError::TooLarge { size, max });
                error.0.too_large = Some((size, max));
                error
            }
            // The connection ended under the reply; there is nobody to tell.
            Unsent::Halted(halt) => {
                let mut error = Self::new(ErrorKind::Unspecified, "");
                error.0.halt = Some(halt);
                error
            }
        }
    }

    /// All that is known of it.
    pub(super) fn into_failure(self) -> Failure {
        *self.0
    }

    /// What the caller is told.
    #[cfg(feature = "python")]
    pub(crate) fn parts(&self) -> (ErrorKind, ErrorBody<'_>) {
        (self.0.kind, self.0.body())
    }

    /// The ring that can never hold the reply, in bytes, if that is what is wrong.
    pub(crate) fn reply_limit(&self) -> Option<usize> {
        self.0.too_large.map(|(_, max)| max)
    }

    /// The same to the handler, which cannot keep what the dispatcher has to be told.
    pub(super) fn slot_error(&self) -> SlotError {
        match self.0.too_large {
            Some((size, max)) => SlotError::TooLarge { size, max },
            None => SlotError::Gone,
        }
    }
}
