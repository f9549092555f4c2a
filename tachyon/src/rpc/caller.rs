//! The calling end of RPC.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::guard::{RpcRxGuard, RpcTxGuard};
use super::reconnect::Again;
use super::undecided::RpcBus;
use crate::bus::{Established, MOST_PER_LOOK, State, room_while_taking};
use crate::describe::EndpointDescription;
use crate::engine::{Arrived, CallerCore, Standing, file};
use crate::error::{CallError, ConnectError, Halt, ListenError, Unsent};
use crate::handshake::Role;
use crate::options::Options;
use crate::payload::Words;
use crate::ring::{MessageHeader, Reservation};
use crate::type_id::{MSG_TYPE_ERROR, make_type_id};
use crate::wait::{Deadline, Interrupt, PollingMode};

/// Callers made so far.
static CALLERS: AtomicU64 = AtomicU64::new(0);

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
    pub(crate) core: CallerCore<()>,
    pub(super) again: Option<Box<Again>>,
    /// Tells this caller from all others of the process.
    pub(super) identity: u64,
    /// Where parts of typed replies are copied.
    pub(super) words: Words,
}

impl Caller {
    /// Connects to the callee that listens at `path`, waiting up to 5 seconds for it to appear.
    ///
    /// # Errors
    /// [`ConnectError`]: nobody listens, or the listener is of another kind, version or user.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::connect_with(path, &Options::new())
    }

    /// As [`connect`](Self::connect), with [`Options`]. One that [reconnects](Options::reconnect) also waits past a callee
    /// that ends in the middle of the handshake.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, ConnectError> {
        let path = path.as_ref();
        let mut caller = Self::over(&RpcBus::connect_as(path, Role::Source, options)?);
        caller.again = Again::new(path, options);
        Ok(caller)
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

    pub(crate) fn over(established: &Established) -> Self {
        Self {
            core: CallerCore::over(established),
            again: None,
            identity: CALLERS.fetch_add(1, Ordering::Relaxed),
            words: Words::default(),
        }
    }

    /// Sends a request and gives its correlation id, for [`wait`](Self::wait). Waits for room; meanwhile replies to
    /// other calls are taken off the reverse ring and kept, so any number of calls may be sent before the first wait.
    ///
    /// # Errors
    /// [`CallError`]; in every case nothing was sent.
    #[inline]
    pub fn call(&mut self, msg_type: u16, payload: &[u8]) -> Result<u64, CallError> {
        self.call_until(msg_type, payload, Deadline::never())
    }

    /// As [`call`](Self::call), for a call that is due within `timeout`: the wait for room ends then, and the callee is
    /// told, so that it need not begin work whose result comes too late. [`wait_timeout`](Self::wait_timeout) limits
    /// the wait for the reply.
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`CallError::TimedOut`].
    pub fn call_timeout(&mut self, msg_type: u16, payload: &[u8], timeout: Duration) -> Result<u64, CallError> {
        self.call_until(msg_type, payload, Deadline::after(timeout))
    }

    #[inline]
    pub(crate) fn call_until(&mut self, msg_type: u16, payload: &[u8], deadline: Deadline) -> Result<u64, CallError> {
        match self.call_fast(msg_type, payload, deadline) {
            Some(call) => Ok(call),
            None => self.call_slow(msg_type, payload, deadline),
        }
    }

    /// Sends a request if there is room, a connection, and nothing to be looked at first. `None`, for any reason, says that
    /// nothing was sent, and [`call_until`](Self::call_until) has the answer.
    #[inline]
    pub(super) fn call_fast(&mut self, msg_type: u16, payload: &[u8], deadline: Deadline) -> Option<u64> {
        if msg_type == MSG_TYPE_ERROR || self.again.is_some() {
            return None;
        }
        self.core.send_fast(make_type_id(0, msg_type), payload, deadline, ())
    }

    #[inline(never)]
    fn call_slow(&mut self, msg_type: u16, payload: &[u8], deadline: Deadline) -> Result<u64, CallError> {
        self.connected(deadline, |caller| caller.send(msg_type, payload, deadline))
    }

    /// Sends a request of a user's over the present connection, whatever that is.
    #[inline]
    pub(super) fn send(&mut self, msg_type: u16, payload: &[u8], deadline: Deadline) -> Result<u64, CallError> {
        if msg_type == MSG_TYPE_ERROR {
            return Err(CallError::ReservedMsgType);
        }
        self.send_as(make_type_id(0, msg_type), payload, deadline, deadline)
    }

    /// As [`send`](Self::send), on any route; the callee is told that the call is `due`.
    pub(super) fn send_as(
        &mut self,
        type_id: u32,
        payload: &[u8],
        due: Deadline,
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        if let Ok(id) = self.core.try_send(type_id, payload, due, ())? {
            return Ok(id);
        }
        let reservation = self.wait_for_room(payload.len(), deadline)?;
        self.core.outgoing.fill(reservation, payload);
        let header = self.core.header(type_id, due);
        Ok(self.core.commit(reservation, payload.len(), header, ()))
    }

    /// What travels beside the payload of the next call.
    #[inline]
    pub(crate) fn header(&self, msg_type: u16, deadline: Deadline) -> MessageHeader {
        self.core.header(make_type_id(0, msg_type), deadline)
    }

    /// Takes `size` bytes of the forward ring to write a request in place, waiting for room as [`call`](Self::call)
    /// does. Committing the guard gives the correlation id.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn reserve_call(&mut self, msg_type: u16, size: usize) -> Result<RpcTxGuard<'_>, CallError> {
        let reservation = self.reserve_until(msg_type, size, Deadline::never(), None)?;
        Ok(RpcTxGuard::request(&mut self.core, reservation, make_type_id(0, msg_type)))
    }

    /// Takes room for a request, on a connection where both sides mean the same by its endpoint if there is one to
    /// `verify`, with its key.
    pub(crate) fn reserve_until(
        &mut self,
        msg_type: u16,
        size: usize,
        deadline: Deadline,
        verify: Option<(&EndpointDescription, usize)>,
    ) -> Result<Reservation, CallError> {
        if msg_type == MSG_TYPE_ERROR {
            return Err(CallError::ReservedMsgType);
        }
        self.connected(deadline, |caller| {
            if let Some((here, key)) = verify {
                caller.verify(|| here.clone(), key, deadline)?;
            }
            Ok(caller.take_room(size, deadline)?)
        })
    }

    pub(crate) fn take_room(&mut self, size: usize, deadline: Deadline) -> Result<Reservation, Unsent> {
        match self.core.outgoing.try_reserve(size)? {
            Some(reservation) => Ok(reservation),
            None => self.wait_for_room(size, deadline),
        }
    }

    /// Waits for room on forward while taking replies off reverse: a callee that waits for room on reverse is what
    /// keeps forward full.
    #[cold]
    pub(super) fn wait_for_room(&mut self, len: usize, deadline: Deadline) -> Result<Reservation, Unsent> {
        let CallerCore { outgoing, incoming, calls, .. } = &mut self.core;
        room_while_taking(outgoing, incoming, len, deadline, |incoming, frame| file(incoming, calls, frame))
    }

    /// Waits for the reply to a call. An error reply is a reply: [`RpcRxGuard::error`] tells.
    ///
    /// # Errors
    /// [`CallError::UnknownCorrelation`] for a call that is not outstanding; otherwise the callee closed or died, or
    /// the memory is corrupted. An interrupted call stays outstanding. A call made before the caller
    /// [reconnected](crate::Options::reconnect) ends as its connection did, unless its reply had come.
    #[inline]
    pub fn wait(&mut self, correlation_id: u64) -> Result<RpcRxGuard<'_>, CallError> {
        self.wait_until(correlation_id, Deadline::never())
    }

    /// As [`wait`](Self::wait), waiting at most `timeout`. A call that timed out is forgotten as by
    /// [`forget`](Self::forget): its handler is told, its late reply is dropped, and it cannot be waited for again.
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
        for _ in 0..MOST_PER_LOOK {
            match self.core.standing(correlation_id) {
                Standing::Unknown => return Err(CallError::UnknownCorrelation(correlation_id)),
                Standing::Settled => {
                    self.take_settled(correlation_id)?;
                    return Ok(Some(self.lend()));
                }
                Standing::Awaited => {}
            }
            if !self.core.incoming.try_take_loan()? {
                return Ok(None);
            }
            if self.core.incoming.loan.correlation_id == correlation_id {
                self.core.end(correlation_id, false);
                return Ok(Some(self.lend()));
            }
            let other = self.core.incoming.take_over();
            self.core.file(other)?;
        }
        Ok(None)
    }

    /// Takes what has come of a call that is settled, as the loan of the reverse ring.
    #[cold]
    fn take_settled(&mut self, correlation_id: u64) -> Result<(), CallError> {
        match self.core.take_outcome(correlation_id) {
            Some(Ok(Arrived { type_id, payload })) => {
                self.core.incoming.lend_kept(correlation_id, type_id, payload);
                Ok(())
            }
            Some(Err(end)) => Err(Halt::from(end).into()),
            None => Err(CallError::UnknownCorrelation(correlation_id)),
        }
    }

    #[inline]
    fn wait_until(&mut self, correlation_id: u64, deadline: Deadline) -> Result<RpcRxGuard<'_>, CallError> {
        if let Err(error) = self.take(correlation_id, deadline) {
            // The callee does not know of this wait's deadline.
            if matches!(error, CallError::TimedOut { .. }) {
                self.core.end(correlation_id, true);
            }
            return Err(error);
        }
        Ok(self.lend())
    }

    /// Makes a guard of the reply that was taken.
    #[inline]
    pub(super) fn lend(&mut self) -> RpcRxGuard<'_> {
        RpcRxGuard::over(&mut self.core.incoming)
    }

    /// Takes the reply to a call as the loan of the reverse ring. A call that times out stays outstanding.
    #[inline]
    pub(crate) fn take(&mut self, correlation_id: u64, deadline: Deadline) -> Result<(), CallError> {
        if self.take_lone(correlation_id) {
            return Ok(());
        }
        self.take_slow(correlation_id, deadline)
    }

    /// As [`take`](Self::take), if this is the only call under way and its reply comes soon and lies in its slot. False,
    /// whatever the reason, says that nothing was taken.
    #[inline]
    pub(super) fn take_lone(&mut self, correlation_id: u64) -> bool {
        self.core.take_lone(correlation_id)
    }

    /// As [`take`](Self::take), for one of several calls, or if something has to be looked at closer.
    #[inline(never)]
    pub(super) fn take_slow(&mut self, correlation_id: u64, deadline: Deadline) -> Result<(), CallError> {
        match self.core.standing(correlation_id) {
            Standing::Unknown => return Err(CallError::UnknownCorrelation(correlation_id)),
            Standing::Settled => return self.take_settled(correlation_id),
            Standing::Awaited => {}
        }
        loop {
            if let Err(halt) = self.core.incoming.take_loan(deadline) {
                if self.again.is_some() && matches!(halt, Halt::Closed | Halt::PeerDead) {
                    self.core.end(correlation_id, false);
                }
                return Err(halt.into());
            }
            if self.core.incoming.loan.correlation_id == correlation_id {
                self.core.end(correlation_id, false);
                return Ok(());
            }
            let other = self.core.incoming.take_over();
            self.core.file(other)?;
            // A wait that always finds something never looks at the clock by itself.
            if deadline.has_passed() {
                return Err(CallError::TimedOut { sent: true });
            }
            if self.core.incoming.waiter.interrupt.is_some_and(|interrupt| interrupt()) {
                return Err(CallError::Interrupted { sent: true });
            }
        }
    }

    /// Gives up a call: its handler is told, and its reply will be dropped if it comes. False when no such call is
    /// outstanding.
    pub fn forget(&mut self, correlation_id: u64) -> bool {
        self.core.end(correlation_id, true)
    }

    /// Gives up all calls.
    pub(crate) fn forget_all(&mut self) {
        self.core.end_all(true);
    }

    /// Undoes what a user changed of how this caller waits.
    pub(crate) fn restore(&mut self, options: &Options) {
        for waiter in [&mut self.core.outgoing.waiter, &mut self.core.incoming.waiter] {
            waiter.interrupt = options.interrupt_hook();
            // What the budget has learnt is kept with the mode.
            if waiter.budget.mode() != options.polling_mode() {
                waiter.budget.set_mode(options.polling_mode());
            }
        }
    }

    /// Calls that were sent and neither waited for nor forgotten.
    pub fn outstanding(&self) -> usize {
        self.core.calls.len()
    }

    /// Longest request, in bytes.
    pub fn max_len(&self) -> usize {
        self.core.outgoing.max_len()
    }

    /// How the connection is doing. Costs a system call.
    pub fn state(&self) -> State {
        self.core.outgoing.connection.state()
    }

    /// Chooses what waiting does, for replies and for room: spin, park, or both.
    pub fn set_polling_mode(&mut self, mode: PollingMode) {
        self.core.outgoing.waiter.budget.set_mode(mode);
        self.core.incoming.waiter.budget.set_mode(mode);
    }

    /// Sets what is asked, at least every 50 ms, whether a wait should end as interrupted.
    pub fn set_interrupt(&mut self, interrupt: Option<Interrupt>) {
        self.core.outgoing.waiter.interrupt = interrupt;
        self.core.incoming.waiter.interrupt = interrupt;
    }

    /// Closes the connection in good order, as dropping it does.
    pub fn close(self) {}
}
