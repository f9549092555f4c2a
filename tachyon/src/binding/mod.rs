//! The interface for bindings to other languages: no part of the public API, free to change in any release.
//!
//! A guard of this crate borrows its direction. A language without borrows holds the parts of a guard side by side, and
//! checks at run time what the borrow checker checks in Rust. This module has the parts: take and release, reserve and
//! publish, and handles that keep a mapping or a connection alive.

mod attempts;
mod calling;
mod control;
mod readiness;
mod streams;

use core::ptr::NonNull;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::{Bus, RecvError, SendError};
use crate::connection::{Connection, Rx, State, Tx, WrongDirection, in_process};
use crate::dispatch::{AsyncReply, Dispatcher, HandlerError, HandlerFuture, HandlerResult, Reply};
use crate::engine::{ErrorBody, ErrorKind, RpcError, send_error};
use crate::metadata::Metadata;
use crate::ring::{Frame, MessageHeader, Reservation, RingMemory};
use crate::rpc::{Caller, RpcBus, ServeError, check_correlation};
use crate::shm::NumaError;
use crate::type_id::MSG_TYPE_ERROR;
use crate::wait::{Budget, PollingMode};

pub use crate::client::pool::{FairQueue, Lease, LeaseRequest, NoLease, QueueClosed};
pub use crate::dispatch::{Deferred, Detached};
pub use crate::extension::{NativeError, adopt};
pub use crate::metadata::METADATA;
pub use crate::rpc::{Agreement, Attempts};
pub use crate::schema::payload::plan::{
    Build, Bytes, Node, Place, Plan, PlanError, PlanField, Source, TooLong, read_message,
};
pub use crate::schema::payload::tensor::MAX_NDIM;
pub use crate::server::{Driven, Next, Offload};
pub use attempts::{
    CallWatch, context_deadline, monotonic_now, needs_no_wait, request_deadline, request_mapping, request_metadata,
    serve_taken,
};
pub use calling::{CallerSteps, Limit, ReplyTaken, RequestRoom};
pub use control::answer_own;
pub use readiness::{ConnectedBus, ConnectingBus, Readiness, Reconnecting};
pub use streams::{ItemSent, StreamSteps, StreamTaken};

/// A declared error by its kind and name, with its encoded fields.
#[cold]
pub fn declared_error(kind: ErrorKind, name: &str, text: &str, fields: Vec<u8>) -> HandlerError {
    HandlerError::named(kind, name, text, fields)
}

/// The handler of a stream that runs outside of the serving thread, as the future of its start function.
pub fn handler_future(handler: impl Future<Output = AsyncReply> + Send + 'static) -> HandlerFuture {
    HandlerFuture::new(handler)
}

/// The outcome of such a handler, which `send` sends on the serving thread.
pub fn later_reply(send: impl FnOnce(Reply<'_>) -> HandlerResult + Send + 'static) -> AsyncReply {
    AsyncReply::new(send)
}

/// The kind of this number.
pub fn error_kind(number: u16) -> ErrorKind {
    ErrorKind::from_number(number)
}

/// The message of a request with metadata; its type identifier has [`METADATA`].
pub fn with_metadata(payload: &[u8], metadata: &Metadata) -> Vec<u8> {
    let mut message = payload.to_vec();
    message.resize(payload.len() + metadata.tail_len(), 0);
    metadata.write_tail(payload.len(), &mut message[payload.len()..]);
    message
}

/// The encoded fields of a received declared error; empty without fields.
pub fn error_fields(error: &RpcError) -> &[u8] {
    &error.fields
}

/// Keeps the memory of a ring mapped, for views that outlive the connection.
#[derive(Debug, Clone)]
pub struct Mapping(#[allow(dead_code, reason = "held for its drop")] Arc<RingMemory>);

/// Closes a connection from any thread, also while another thread waits on it.
#[derive(Debug, Clone)]
pub struct Closer(Arc<Connection>);

impl Closer {
    /// Closes in good order. A second close does nothing.
    pub fn close(&self) {
        self.0.close();
    }

    /// The state of the connection.
    pub fn state(&self) -> State {
        self.0.state()
    }

    /// Moves all memory of the connection to a NUMA node.
    ///
    /// # Errors
    /// [`NumaError`]: the node does not exist, or the system refuses.
    pub fn set_numa_node(&self, node: u32) -> Result<(), NumaError> {
        self.0.rings().iter().try_for_each(|ring| ring.segment().bind_to_node(node))
    }
}

/// The place of one reserved message. Valid until it is published, or until the direction's next reservation.
#[derive(Debug, Clone, Copy)]
pub struct Room(Reservation);

impl Room {
    /// The first byte.
    pub fn data(&self) -> NonNull<u8> {
        self.0.as_ptr()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the length is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A taken message, in place until the release of its position.
#[derive(Debug, Clone, Copy)]
pub struct Taking(Frame);

impl Taking {
    /// The position to release.
    pub fn position(&self) -> u64 {
        self.0.position
    }

    /// The correlation id of the call; 0 on a one-way bus.
    pub fn correlation_id(&self) -> u64 {
        self.0.correlation_id
    }

    /// Route and message type.
    pub fn type_id(&self) -> u32 {
        self.0.type_id
    }

    /// The payload's first byte.
    pub fn data(&self) -> NonNull<u8> {
        self.0.data
    }

    /// The payload's length in bytes.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The sending direction of a bus, or of one end of RPC.
#[derive(Debug)]
pub struct Sending(Tx);

impl Sending {
    /// Sends a copy of `data`, waiting for room.
    ///
    /// # Errors
    /// As [`Sender::send`](crate::Sender::send).
    pub fn send(
        &mut self,
        data: &[u8],
        type_id: u32,
        correlation_id: u64,
        timeout: Option<Duration>,
    ) -> Result<(), SendError> {
        Ok(self.0.send(data, MessageHeader::new(type_id, correlation_id), timeout.into())?)
    }

    /// Sends a copy of `data` if there is room.
    ///
    /// # Errors
    /// As [`Sender::try_send`](crate::Sender::try_send); without room the result is `false`.
    pub fn try_send(&mut self, data: &[u8], type_id: u32, correlation_id: u64) -> Result<bool, SendError> {
        Ok(self.0.try_send(data, MessageHeader::new(type_id, correlation_id))?)
    }

    /// Takes room for `size` bytes, waiting for it.
    ///
    /// # Errors
    /// As [`Sender::reserve`](crate::Sender::reserve).
    pub fn reserve(&mut self, size: usize, timeout: Option<Duration>) -> Result<Room, SendError> {
        Ok(Room(self.0.reserve(size, timeout.into())?))
    }

    /// Publishes the first `len` bytes of the latest reservation.
    ///
    /// # Errors
    /// [`SendError::Forked`] in a forked child.
    ///
    /// # Panics
    /// When `len` is more than was reserved.
    pub fn publish(&mut self, room: Room, len: usize, type_id: u32, correlation_id: u64) -> Result<(), SendError> {
        assert!(len <= room.len(), "the binding publishes at most the reserved length");
        self.0.connection.check_process()?;
        self.0.publish(room.0, len, MessageHeader::new(type_id, correlation_id));
        Ok(())
    }

    /// Sends a deferred reply, which an interrupted wait has left, waiting for room.
    ///
    /// # Errors
    /// As [`Callee::reply`](crate::Callee::reply).
    #[inline]
    pub fn flush_deferred(&mut self) -> Result<(), ServeError> {
        if self.0.has_deferred() {
            self.0.flush_deferred()?;
        }
        Ok(())
    }

    /// Checks that a request with this id has come.
    ///
    /// # Errors
    /// [`ServeError::InvalidCorrelation`] when no request has the id.
    pub fn check_correlation(&self, correlation_id: u64) -> Result<(), ServeError> {
        check_correlation(&self.0, correlation_id)
    }

    /// Sends an error reply.
    ///
    /// # Errors
    /// As [`Callee::reply_error`](crate::Callee::reply_error).
    pub fn send_error(
        &mut self,
        correlation_id: u64,
        msg_type: u16,
        kind: ErrorKind,
        text: &str,
    ) -> Result<(), ServeError> {
        Ok(send_error(&mut self.0, correlation_id, msg_type, kind, ErrorBody::text(text))?)
    }

    /// Length of the longest possible message, in bytes.
    pub fn max_len(&self) -> usize {
        self.0.max_len()
    }

    /// A handle that keeps the memory of the ring mapped.
    pub fn mapping(&self) -> Mapping {
        Mapping(Arc::clone(self.0.ring()))
    }

    /// Sets the polling mode of this direction.
    pub fn set_polling_mode(&mut self, mode: PollingMode) {
        self.0.waiter.budget.set_mode(mode);
    }

    /// Sets the polling mode of this direction, and returns the old one.
    pub fn swap_polling_mode(&mut self, mode: PollingMode) -> PollingMode {
        swap(&mut self.0.waiter.budget, mode)
    }
}

/// The receiving direction of a bus, or of one end of RPC.
#[derive(Debug)]
pub struct Receiving(Rx);

impl Receiving {
    /// Takes the next message, waiting for it.
    ///
    /// # Errors
    /// As [`Receiver::recv`](crate::Receiver::recv).
    pub fn take(&mut self, timeout: Option<Duration>) -> Result<Taking, RecvError> {
        Ok(Taking(self.0.take(timeout.into())?))
    }

    /// Takes the next message if there is one.
    ///
    /// # Errors
    /// As [`Receiver::try_recv`](crate::Receiver::try_recv).
    pub fn try_take(&mut self) -> Result<Option<Taking>, RecvError> {
        Ok(self.0.try_take()?.map(Taking))
    }

    /// Takes up to `max` messages, waiting for the first.
    ///
    /// # Errors
    /// As [`Receiver::recv_batch`](crate::Receiver::recv_batch).
    ///
    /// # Panics
    /// When `max` is 0.
    pub fn take_batch(&mut self, max: usize, timeout: Option<Duration>) -> Result<Vec<Taking>, RecvError> {
        Ok(self.0.take_batch(max, timeout.into())?.into_iter().map(Taking).collect())
    }

    /// Releases a taken message, in any order.
    pub fn release(&mut self, position: u64) {
        self.0.release(position);
    }

    /// Number of messages taken and not released.
    pub fn held(&self) -> usize {
        self.0.consumer.held()
    }

    /// A handle that keeps the memory of the ring mapped.
    pub fn mapping(&self) -> Mapping {
        Mapping(Arc::clone(self.0.ring()))
    }

    /// Sets the polling mode of this direction.
    pub fn set_polling_mode(&mut self, mode: PollingMode) {
        self.0.waiter.budget.set_mode(mode);
    }

    /// Sets the polling mode of this direction, and returns the old one.
    pub fn swap_polling_mode(&mut self, mode: PollingMode) -> PollingMode {
        swap(&mut self.0.waiter.budget, mode)
    }
}

fn swap(budget: &mut Budget, mode: PollingMode) -> PollingMode {
    let before = budget.mode();
    if before != mode {
        budget.set_mode(mode);
    }
    before
}

/// Reads an error reply; `None` for any other reply.
pub fn decode_error(type_id: u32, payload: &[u8]) -> Option<RpcError> {
    RpcError::decode(type_id, payload)
}

/// The message type as clients of the first protocol see it: without the error kind in the route of an error reply.
pub const fn plain_type_id(type_id: u32) -> u32 {
    if crate::type_id::msg_type(type_id) == MSG_TYPE_ERROR { MSG_TYPE_ERROR as u32 } else { type_id }
}

/// Takes the sending end of a bus without a role. The bus stays open while a handle of it lives.
///
/// # Errors
/// [`WrongDirection`] when the peer has the end.
pub fn bus_sending(bus: &Bus) -> Result<Sending, WrongDirection> {
    bus.established().take_source("sender")?;
    Ok(Sending(bus.established().tx(0)))
}

/// Takes the receiving end of a bus without a role.
///
/// # Errors
/// [`WrongDirection`] when the peer has the end.
pub fn bus_receiving(bus: &Bus) -> Result<Receiving, WrongDirection> {
    bus.established().take_sink("receiver")?;
    Ok(Receiving(bus.established().rx(0)))
}

/// The closer of a bus without a role, and of both its ends.
pub fn bus_closer(bus: &Bus) -> Closer {
    Closer(Arc::clone(&bus.established().connection))
}

/// Both ends of a connection within this process, as buses without a role: the first answers, the second calls. Each
/// ring has `capacity` bytes.
///
/// # Errors
/// The capacity is not a power of two, or the system has no memory or no descriptors for the connection.
pub fn rpc_pair(capacity: usize) -> io::Result<[RpcBus; 2]> {
    Ok(in_process(capacity)?.map(RpcBus::over))
}

/// Takes the calling end of a connection without a role.
///
/// # Errors
/// [`WrongDirection`] when the peer has the end.
pub fn rpc_caller(bus: &RpcBus) -> Result<Caller, WrongDirection> {
    bus.to_caller()
}

/// Takes the answering end of a connection without a role, as its two directions: requests in, replies out.
///
/// # Errors
/// [`WrongDirection`] when the peer has the end.
pub fn rpc_callee(bus: &RpcBus) -> Result<(Receiving, Sending), WrongDirection> {
    bus.established().take_sink("callee")?;
    Ok((Receiving(bus.established().rx(0)), Sending(bus.established().tx(1))))
}

/// Takes the answering end of a connection without a role, for an event loop to drive.
///
/// # Errors
/// [`WrongDirection`] when the peer has the end. The inner error is the system's.
pub fn rpc_driven(bus: &RpcBus) -> Result<io::Result<Driven>, WrongDirection> {
    bus.established().take_sink("callee")?;
    Ok(Driven::connection(bus.established()))
}

/// The closer of a connection without a role, and of both its ends.
pub fn rpc_closer(bus: &RpcBus) -> Closer {
    Closer(Arc::clone(&bus.established().connection))
}

/// Serves one request over the two directions of a callee, as [`Dispatcher::serve_once`].
///
/// # Errors
/// As [`Dispatcher::serve_once_timeout`].
pub fn serve_once<S: ?Sized>(
    dispatcher: &mut Dispatcher<S>,
    requests: &mut Receiving,
    replies: &mut Sending,
    timeout: Option<Duration>,
) -> Result<(), ServeError> {
    dispatcher.serve_on(&mut requests.0, &mut replies.0, timeout.into()).map_err(|error| *error)
}
