//! The steps that bindings to other languages are made of: no part of the public API, free to change in any release.
//!
//! A guard of this crate borrows its direction. A language without borrows has to keep the pieces side by side and
//! check at run time what the types check here, so it gets the pieces: take and release, reserve and publish, and the
//! keepers of the mapping and of the connection. No logic lives here.

mod attempts;
mod calling;
mod control;

mod readiness;

use core::ptr::NonNull;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::bus::Bus;
use crate::bus::{RecvError, SendError};
use crate::connection::WrongDirection;
use crate::connection::{Connection, Rx, State, Tx};
use crate::dispatch::{Dispatcher, HandlerError};
use crate::engine::{ErrorBody, ErrorKind, RpcError, open_request, send_error};
use crate::ring::{Frame, MessageHeader, Reservation, RingMemory};
use crate::rpc::ServeError;
use crate::rpc::{Caller, RpcBus, check_correlation};
use crate::shm::NumaError;
use crate::type_id::MSG_TYPE_ERROR;
use crate::wait::{Budget, Deadline, Interrupt, PollingMode};

pub use crate::client::pool::{Lease, LeaseRequest, NoLease, Stock, StockClosed};
pub use crate::dispatch::Deferred;
pub use crate::extension::{NativeError, adopt};
pub use crate::rpc::{Agreement, Attempts};
pub use crate::schema::payload::plan::{
    Build, Bytes, Node, Place, Plan, PlanError, PlanField, Source, TooLong, read_message,
};
pub use crate::server::{Aside, Driven, Next};
pub use attempts::{CallWatch, monotonic_now, needs_no_wait, request_deadline, request_mapping, serve_taken};
pub use calling::{CallerSteps, Limit, ReplyTaken, RequestRoom};
pub use control::answer_control;
pub use readiness::{ConnectingBus, Readiness, Reconnecting};

/// A declared error, by its name, with its fields as a head.
#[cold]
pub fn declared_error(name: &str, text: &str, fields: Vec<u8>) -> HandlerError {
    HandlerError::named(name, text, fields)
}

/// The fields of a declared error that arrived, as a head; empty without fields.
pub fn error_fields(error: &RpcError) -> &[u8] {
    &error.fields
}

/// Keeps a ring's memory mapped, for views that outlive everything else.
#[derive(Debug, Clone)]
pub struct Mapping(#[allow(dead_code, reason = "held for its drop")] Arc<RingMemory>);

/// Closes a connection from anywhere, also while another thread waits on it.
#[derive(Debug, Clone)]
pub struct Closer(Arc<Connection>);

impl Closer {
    /// Closes in good order; twice does nothing more.
    pub fn close(&self) {
        self.0.close();
    }

    /// How the connection is doing.
    pub fn state(&self) -> State {
        self.0.state()
    }

    /// Whether this process is a forked child of the one that opened the connection.
    pub fn is_forked(&self) -> bool {
        self.0.check_process().is_err()
    }

    /// The peer's process id, when it is visible from here.
    pub fn peer_pid(&self) -> Option<u32> {
        self.0.peer.pid()
    }

    /// Moves all the connection's memory to a NUMA node.
    ///
    /// # Errors
    /// [`NumaError`]: no such node, or the system's refusal.
    pub fn set_numa_node(&self, node: u32) -> Result<(), NumaError> {
        self.0.rings().iter().try_for_each(|ring| ring.segment().bind_to_node(node))
    }
}

/// Room for one message: where it lies. Valid until published or replaced by the direction's next reservation.
#[derive(Debug, Clone, Copy)]
pub struct Room(Reservation);

impl Room {
    /// The first byte.
    pub fn data(&self) -> NonNull<u8> {
        self.0.as_ptr()
    }

    /// Bytes reserved.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was reserved.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A message taken, in place until its position is released.
#[derive(Debug, Clone, Copy)]
pub struct Taking(Frame);

impl Taking {
    /// What to release.
    pub fn position(&self) -> u64 {
        self.0.position
    }

    /// Which call it belongs to; 0 on a one-way bus.
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
    /// As [`Sender::try_send`](crate::Sender::try_send), but no room is `false`.
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
        assert!(len <= room.len(), "the binding checks what it publishes");
        self.0.connection.check_process()?;
        self.0.publish(room.0, len, MessageHeader::new(type_id, correlation_id));
        Ok(())
    }

    /// Sends a reply that an interrupted wait left behind, waiting for room.
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

    /// Checks that a request came with this id.
    ///
    /// # Errors
    /// [`ServeError::InvalidCorrelation`] when none did.
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

    /// Longest message, in bytes.
    pub fn max_len(&self) -> usize {
        self.0.max_len()
    }

    /// A keeper of the ring's memory.
    pub fn mapping(&self) -> Mapping {
        Mapping(Arc::clone(self.0.ring()))
    }

    /// Sets how this direction waits.
    pub fn set_polling_mode(&mut self, mode: PollingMode) {
        self.0.waiter.budget.set_mode(mode);
    }

    /// Sets how this direction waits, and gives what it was.
    pub fn swap_polling_mode(&mut self, mode: PollingMode) -> PollingMode {
        swap(&mut self.0.waiter.budget, mode)
    }

    /// Sets the interrupt hook.
    pub fn set_interrupt(&mut self, interrupt: Option<Interrupt>) {
        self.0.waiter.interrupt = interrupt;
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

    /// Takes the next request, waiting for it. Control requests are answered on the way.
    ///
    /// # Errors
    /// As [`Callee::serve`](crate::Callee::serve).
    pub fn take_request(&mut self, replies: &mut Sending, timeout: Option<Duration>) -> Result<Taking, ServeError> {
        let deadline = Deadline::from(timeout);
        loop {
            let taking = Taking(self.0.take(deadline)?);
            if !taking.is_control() {
                return Ok(Taking(open_request(&self.0, taking.0)?.frame));
            }
            answer_control(self, replies, taking)?;
            self.0.check_deadline(deadline)?;
        }
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

    /// Releases a message that was taken and not yet released, in any order.
    pub fn release(&mut self, position: u64) {
        self.0.release(position);
    }

    /// Messages taken and not released.
    pub fn held(&self) -> usize {
        self.0.consumer.held()
    }

    /// A keeper of the ring's memory.
    pub fn mapping(&self) -> Mapping {
        Mapping(Arc::clone(self.0.ring()))
    }

    /// Sets how this direction waits.
    pub fn set_polling_mode(&mut self, mode: PollingMode) {
        self.0.waiter.budget.set_mode(mode);
    }

    /// Sets how this direction waits, and gives what it was.
    pub fn swap_polling_mode(&mut self, mode: PollingMode) -> PollingMode {
        swap(&mut self.0.waiter.budget, mode)
    }

    /// Sets the interrupt hook.
    pub fn set_interrupt(&mut self, interrupt: Option<Interrupt>) {
        self.0.waiter.interrupt = interrupt;
    }
}

fn swap(budget: &mut Budget, mode: PollingMode) -> PollingMode {
    let before = budget.mode();
    if before != mode {
        budget.set_mode(mode);
    }
    before
}

/// Reads an error reply; `None` when it is another one.
pub fn decode_error(type_id: u32, payload: &[u8]) -> Option<RpcError> {
    RpcError::decode(type_id, payload)
}

/// The message type an existing client sees: without the kind of failure that an error reply carries in its route.
pub const fn plain_type_id(type_id: u32) -> u32 {
    if crate::type_id::msg_type(type_id) == MSG_TYPE_ERROR { MSG_TYPE_ERROR as u32 } else { type_id }
}

/// Takes the sending end of an undecided bus, which stays open as long as a keeper of it lives.
///
/// # Errors
/// [`WrongDirection`] when the peer has it.
pub fn bus_sending(bus: &Bus) -> Result<Sending, WrongDirection> {
    bus.established().take_source("sender")?;
    Ok(Sending(bus.established().tx(0)))
}

/// Takes the receiving end of an undecided bus.
///
/// # Errors
/// [`WrongDirection`] when the peer has it.
pub fn bus_receiving(bus: &Bus) -> Result<Receiving, WrongDirection> {
    bus.established().take_sink("receiver")?;
    Ok(Receiving(bus.established().rx(0)))
}

/// What closes an undecided bus, and everything made from it.
pub fn bus_closer(bus: &Bus) -> Closer {
    Closer(Arc::clone(&bus.established().connection))
}

/// Takes the calling end of an undecided connection.
///
/// # Errors
/// [`WrongDirection`] when the peer has it.
pub fn rpc_caller(bus: &RpcBus) -> Result<Caller, WrongDirection> {
    bus.to_caller()
}

/// Takes the answering end of an undecided connection, as its two directions: requests in, replies out.
///
/// # Errors
/// [`WrongDirection`] when the peer has it.
pub fn rpc_callee(bus: &RpcBus) -> Result<(Receiving, Sending), WrongDirection> {
    bus.established().take_sink("callee")?;
    Ok((Receiving(bus.established().rx(0)), Sending(bus.established().tx(1))))
}

/// Takes the answering end of an undecided connection for somebody else's loop to serve.
///
/// # Errors
/// [`WrongDirection`] when the peer has it; otherwise the system's refusal.
pub fn rpc_driven(bus: &RpcBus) -> Result<io::Result<Driven>, WrongDirection> {
    bus.established().take_sink("callee")?;
    Ok(Driven::connection(bus.established()))
}

/// What closes an undecided connection, and everything made from it.
pub fn rpc_closer(bus: &RpcBus) -> Closer {
    Closer(Arc::clone(&bus.established().connection))
}

/// Serves one request, as [`Dispatcher::serve_once`], over the two directions of a callee.
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
