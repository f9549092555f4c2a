//! The calling end of RPC.

use std::path::Path;
use std::time::Duration;

use super::guard::{RpcRxGuard, RpcTxGuard};
use super::pending::{Arrived, Meaning, Pending};
use super::typed::Agreed;
use super::undecided::RpcBus;
use crate::bus::{Established, Incoming, Outgoing, State, data_source, look_for_data, look_for_room, room_source};
use crate::error::{CallError, ConnectError, Halt, ListenError, Unsent};
use crate::handshake::Role;
use crate::options::Options;
use crate::ring::{Fault, Frame, Reservation};
use crate::slice;
use crate::type_id::{MSG_TYPE_ERROR, make_type_id};
use crate::wait::{Deadline, Interrupt, PollingMode, Spinner};

/// The calling end of RPC between two processes.
///
/// Calls may be under way together: [`call`](Self::call) sends, [`wait`](Self::wait) takes a call's reply, in whatever
/// order replies come. [`request`](Self::request) does both. Dropping the caller closes the connection in good order.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("rpc.sock");
/// use tachyon::{Callee, Caller};
/// # let listen_at = path.clone();
///
/// let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
///     let mut callee = Callee::listen(&listen_at, 1 << 16, 1 << 16)?;
///     let request = callee.serve()?;
///     let (call, reply) = (request.correlation_id(), request.to_vec());
///     drop(request);
///     callee.reply(call, 2, &reply)?;
///     Ok(())
/// });
/// let mut caller = Caller::connect(&path)?;
/// let call = caller.call(1, b"ping")?;
/// assert_eq!(&*caller.wait(call)?, b"ping");
/// callee.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping a caller closes its connection"]
pub struct Caller {
    pub(crate) outgoing: Outgoing,
    pub(crate) incoming: Incoming,
    pub(crate) pending: Pending,
    pub(crate) agreed: Agreed,
}

/// A reply: still in the ring, or kept from before.
#[derive(Debug)]
pub(crate) enum Taken {
    InPlace(Frame),
    Kept(Arrived),
}

impl Caller {
    /// Connects to the callee that listens at `path`, waiting up to 5 seconds for it to appear.
    ///
    /// # Errors
    /// [`ConnectError`]: nobody listens, or the listener is of another kind, version or user.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::connect_with(path, &Options::new())
    }

    /// As [`connect`](Self::connect), with [`Options`].
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, ConnectError> {
        Ok(Self::over(&RpcBus::connect_as(path.as_ref(), Role::Source, options)?))
    }

    /// Makes a connection with `forward` bytes for requests and `reverse` bytes for replies at `path`, and waits for
    /// its callee.
    ///
    /// # Errors
    /// [`ListenError`]: a capacity that is not a power of two, a path that cannot be listened at, a lack of memory.
    pub fn listen(path: impl AsRef<Path>, forward: usize, reverse: usize) -> Result<Self, ListenError> {
        Self::listen_with(path, forward, reverse, &Options::new())
    }

    /// As [`listen`](Self::listen), with [`Options`].
    ///
    /// # Errors
    /// As [`listen`](Self::listen), and when the options' timeout passes first.
    pub fn listen_with(
        path: impl AsRef<Path>,
        forward: usize,
        reverse: usize,
        options: &Options,
    ) -> Result<Self, ListenError> {
        Ok(Self::over(&RpcBus::listen_as(path.as_ref(), forward, reverse, Role::Source, options)?))
    }

    pub(super) fn over(established: &Established) -> Self {
        Self {
            outgoing: established.outgoing(0),
            incoming: established.incoming(1),
            pending: Pending::new(),
            agreed: Agreed::default(),
        }
    }

    /// Sends a request and gives its correlation id, for [`wait`](Self::wait). Waits for room; meanwhile replies to
    /// other calls are taken off the reverse ring and kept, so any number of calls may be sent before the first wait.
    ///
    /// # Errors
    /// [`CallError`]; in every case nothing was sent.
    pub fn call(&mut self, msg_type: u16, payload: &[u8]) -> Result<u64, CallError> {
        self.call_until(msg_type, payload, Deadline::never())
    }

    /// As [`call`](Self::call), waiting at most `timeout` for room.
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`CallError::TimedOut`].
    pub fn call_timeout(&mut self, msg_type: u16, payload: &[u8], timeout: Duration) -> Result<u64, CallError> {
        self.call_until(msg_type, payload, Deadline::after(timeout))
    }

    #[inline]
    pub(crate) fn call_until(&mut self, msg_type: u16, payload: &[u8], deadline: Deadline) -> Result<u64, CallError> {
        if msg_type == MSG_TYPE_ERROR {
            return Err(CallError::ReservedMsgType);
        }
        self.send_routed(make_type_id(0, msg_type), payload, deadline)
    }

    #[inline]
    fn send_routed(&mut self, type_id: u32, payload: &[u8], deadline: Deadline) -> Result<u64, CallError> {
        if !self.outgoing.try_send(payload, type_id, self.pending.next())? {
            let reservation = self.wait_for_room(payload.len(), deadline)?;
            self.outgoing.fill(reservation, payload);
            self.outgoing.publish(reservation, payload.len(), type_id, self.pending.next());
        }
        Ok(self.pending.sent())
    }

    /// Takes `size` bytes of the forward ring to write a request in place, waiting for room as [`call`](Self::call)
    /// does. Committing the guard gives the correlation id.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn reserve_call(&mut self, msg_type: u16, size: usize) -> Result<RpcTxGuard<'_>, CallError> {
        let reservation = self.reserve_until(msg_type, size, Deadline::never())?;
        Ok(RpcTxGuard::request(&mut self.outgoing, reservation, make_type_id(0, msg_type), &mut self.pending))
    }

    pub(crate) fn reserve_until(
        &mut self,
        msg_type: u16,
        size: usize,
        deadline: Deadline,
    ) -> Result<Reservation, CallError> {
        if msg_type == MSG_TYPE_ERROR {
            return Err(CallError::ReservedMsgType);
        }
        match self.outgoing.try_reserve(size)? {
            Some(reservation) => Ok(reservation),
            None => Ok(self.wait_for_room(size, deadline)?),
        }
    }

    /// Waits for room on forward while taking replies off reverse: a callee that waits for room on reverse is what
    /// keeps forward full.
    #[cold]
    fn wait_for_room(&mut self, len: usize, deadline: Deadline) -> Result<Reservation, Unsent> {
        let Self { outgoing, incoming, pending, .. } = self;
        let Outgoing { connection, index, producer, waiter } = outgoing;
        let forward = connection.channel(*index);
        // The words and bells are the connection's, so that `incoming` stays free for the look.
        let reverse = connection.channel(1);
        let sources = [room_source(forward), data_source(reverse)];
        waiter
            .wait(deadline, &connection.peer, &sources, || {
                // Room first: a callee that closed after making it is for `look_for_room` to report.
                let found = look_for_room(connection, forward, producer, len)?;
                if found.is_none() {
                    while let Some(frame) = look_for_data(&incoming.connection, reverse, &mut incoming.consumer)? {
                        keep(incoming, pending, frame)?;
                    }
                }
                Ok(found)
            })
            .map_err(|stop| connection.halt(stop).into())
    }

    /// Waits for the reply to a call. An error reply is a reply: [`RpcRxGuard::error`] tells.
    ///
    /// # Errors
    /// [`CallError::UnknownCorrelation`] for a call that is not outstanding; otherwise the callee closed or died, or
    /// the memory is corrupted. An interrupted call stays outstanding.
    pub fn wait(&mut self, correlation_id: u64) -> Result<RpcRxGuard<'_>, CallError> {
        self.wait_until(correlation_id, Deadline::never())
    }

    /// As [`wait`](Self::wait), waiting at most `timeout`. A call that timed out is forgotten: its late reply is
    /// dropped, and it cannot be waited for again.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), and [`CallError::TimedOut`].
    pub fn wait_timeout(&mut self, correlation_id: u64, timeout: Duration) -> Result<RpcRxGuard<'_>, CallError> {
        self.wait_until(correlation_id, Deadline::after(timeout))
    }

    /// The reply to a call if it is there already; the call stays outstanding if not.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn try_wait(&mut self, correlation_id: u64) -> Result<Option<RpcRxGuard<'_>>, CallError> {
        if !self.pending.is_outstanding(correlation_id) {
            return Err(CallError::UnknownCorrelation(correlation_id));
        }
        while !self.pending.has_arrived(correlation_id) {
            match self.incoming.try_take()? {
                None => return Ok(None),
                Some(frame) if frame.correlation_id == correlation_id => {
                    self.pending.end(correlation_id);
                    return Ok(Some(RpcRxGuard::in_place(&mut self.incoming, frame)));
                }
                Some(frame) => keep(&mut self.incoming, &mut self.pending, frame)?,
            }
        }
        let arrived = self.pending.end(correlation_id);
        Ok(arrived.map(|arrived| RpcRxGuard::kept(correlation_id, arrived)))
    }

    #[inline]
    fn wait_until(&mut self, correlation_id: u64, deadline: Deadline) -> Result<RpcRxGuard<'_>, CallError> {
        Ok(match self.take(correlation_id, deadline)? {
            Taken::InPlace(frame) => RpcRxGuard::in_place(&mut self.incoming, frame),
            Taken::Kept(arrived) => RpcRxGuard::kept(correlation_id, arrived),
        })
    }

    #[inline]
    pub(crate) fn take(&mut self, correlation_id: u64, deadline: Deadline) -> Result<Taken, CallError> {
        if !self.pending.is_outstanding(correlation_id) {
            return Err(CallError::UnknownCorrelation(correlation_id));
        }
        if self.pending.has_arrived(correlation_id) {
            if let Some(arrived) = self.pending.end(correlation_id) {
                return Ok(Taken::Kept(arrived));
            }
        }
        loop {
            let frame = match self.incoming.take(deadline) {
                Ok(frame) => frame,
                Err(halt) => {
                    if matches!(halt, Halt::TimedOut) {
                        self.pending.end(correlation_id);
                    }
                    return Err(halt.into());
                }
            };
            if frame.correlation_id == correlation_id {
                self.pending.end(correlation_id);
                return Ok(Taken::InPlace(frame));
            }
            keep(&mut self.incoming, &mut self.pending, frame)?;
        }
    }

    /// Calls and waits for the reply.
    ///
    /// # Errors
    /// [`CallError::Remote`] when the callee answered with an error; otherwise as [`call`](Self::call) and
    /// [`wait`](Self::wait). After an error the call is forgotten.
    pub fn request(&mut self, msg_type: u16, payload: &[u8]) -> Result<RpcRxGuard<'_>, CallError> {
        self.request_until(msg_type, payload, Deadline::never())
    }

    /// As [`request`](Self::request), in at most `timeout`.
    ///
    /// # Errors
    /// As [`request`](Self::request), and [`CallError::TimedOut`].
    pub fn request_timeout(
        &mut self,
        msg_type: u16,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<RpcRxGuard<'_>, CallError> {
        self.request_until(msg_type, payload, Deadline::after(timeout))
    }

    #[inline]
    pub(super) fn request_until(
        &mut self,
        msg_type: u16,
        payload: &[u8],
        deadline: Deadline,
    ) -> Result<RpcRxGuard<'_>, CallError> {
        if msg_type == MSG_TYPE_ERROR {
            return Err(CallError::ReservedMsgType);
        }
        self.request_routed(make_type_id(0, msg_type), payload, deadline)
    }

    #[inline]
    pub(super) fn request_routed(
        &mut self,
        type_id: u32,
        payload: &[u8],
        deadline: Deadline,
    ) -> Result<RpcRxGuard<'_>, CallError> {
        let correlation_id = self.send_routed(type_id, payload, deadline)?;
        let taken = match self.take(correlation_id, deadline) {
            Ok(taken) => taken,
            Err(error) => {
                self.pending.end(correlation_id);
                return Err(error);
            }
        };
        let guard = match taken {
            Taken::InPlace(frame) => RpcRxGuard::in_place(&mut self.incoming, frame),
            Taken::Kept(arrived) => RpcRxGuard::kept(correlation_id, arrived),
        };
        match guard.error() {
            None => Ok(guard),
            Some(error) => Err(CallError::Remote(error)),
        }
    }

    /// Gives up a call: its reply will be dropped when it comes. False when no such call is outstanding.
    pub fn forget(&mut self, correlation_id: u64) -> bool {
        let outstanding = self.pending.is_outstanding(correlation_id);
        self.pending.end(correlation_id);
        outstanding
    }

    /// Calls that were sent and neither waited for nor forgotten.
    pub fn outstanding(&self) -> usize {
        self.pending.len()
    }

    /// Longest request, in bytes.
    pub fn max_len(&self) -> usize {
        self.outgoing.max_len()
    }

    /// How the connection is doing. Costs a system call.
    pub fn state(&self) -> State {
        self.outgoing.connection.state()
    }

    /// Chooses what waiting does, for replies and for room: spin, park, or both.
    pub fn set_polling_mode(&mut self, mode: PollingMode) {
        self.outgoing.waiter.spinner = Spinner::new(mode);
        self.incoming.waiter.spinner = Spinner::new(mode);
    }

    /// Sets what is asked, at least every 50 ms, whether a wait should end as interrupted.
    pub fn set_interrupt(&mut self, interrupt: Option<Interrupt>) {
        self.outgoing.waiter.interrupt = interrupt;
        self.incoming.waiter.interrupt = interrupt;
    }

    /// Closes the connection in good order, as dropping it does.
    pub fn close(self) {}
}

/// Files a reply that is not the one waited for: kept for its own waiter, dropped if that gave up.
#[cold]
pub(crate) fn keep(incoming: &mut Incoming, pending: &mut Pending, frame: Frame) -> Result<(), Halt> {
    match pending.meaning(frame.correlation_id) {
        Meaning::Impossible => {
            incoming.connection.condemn();
            return Err(Halt::FatalError(Fault::Correlation(frame.correlation_id)));
        }
        Meaning::Awaited => {
            let payload = slice::payload(&frame, incoming).into();
            pending.keep(frame.correlation_id, Arrived { type_id: frame.type_id, payload });
        }
        Meaning::Forgotten => {}
    }
    incoming.release(frame.position);
    Ok(())
}
