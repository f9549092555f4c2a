//! The calling end of RPC.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::agreement::{Agreement, Chunks, limits_of};
use super::attempts::{Attempts, is_stopping};
use super::body::Contents;
use super::error::CallError;
use super::guard::{Extras, RpcRxGuard, RpcTxGuard};
use super::layer::{CallOutcome, CallerLayer, CallerLayers, LayeredCalls, OutgoingCall};
use super::reconnect::{ReconnectPolicy, connect_by, connecting_by, tick};
use super::settings::CallSettings;
use crate::aligned::AlignedBytes;
use crate::connection::{
    self, End, Established, Halt, MAX_PER_LOOK, State, Unsent, look_for_room, room_while_taking, slice,
};
use crate::engine::{Arrived, CallState, CallerCore, ErrorKind, RpcError, file};
use crate::handshake::{ConnectError, Connecting, Kind, ListenError, Pairing, Role};
use crate::metadata::{METADATA, Metadata};
use crate::options::Options;
use crate::ring::{MessageHeader, Reservation};
use crate::schema::describe::{CalleeLimits, Description, EndpointDescription, Operation, Signature, WHOLE_TABLE};
use crate::schema::payload::Words;
use crate::type_id::{MSG_TYPE_ERROR, ROUTE_CONTROL, make_type_id};
use crate::wait::{Deadline, Interrupt, PollingMode};

/// Callers made so far.
static CALLERS: AtomicU64 = AtomicU64::new(0);

/// The calling end of RPC between two processes.
///
/// Several calls may be in flight: [`start`](Self::start) sends, [`finish`](Self::finish) takes a call's reply, in
/// any order. [`call`](Self::call) does both. Dropping the caller closes the connection in good order.
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
/// let call = caller.start(1, b"ping")?;
/// assert_eq!(&*caller.finish(call)?, b"ping");
/// callee.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping a caller closes its connection"]
pub struct Caller {
    pub(crate) core: CallerCore<()>,
    pub(super) reconnect: Option<Box<ReconnectPolicy>>,
    pub(super) layered: Option<Box<LayeredCalls>>,
    /// Whether a request needs no step before it is sent: this caller neither reconnects nor has layers.
    pub(super) sends_at_once: bool,
    /// Unique within the process.
    pub(super) identity: u64,
    /// Scratch memory for the parts of typed replies that are copied.
    pub(super) words: Words,
}

impl Caller {
    /// Connects to the callee that listens at `path`, waiting up to 5 seconds for it to appear.
    ///
    /// # Errors
    /// [`ConnectError`]: no process listens, or the listener is of another kind, version or user.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::connect_with(path, &Options::new())
    }

    /// As [`connect`](Self::connect), with [`Options`]. A caller that [reconnects](Options::reconnect) tries
    /// again when a callee ends in the middle of the handshake.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, ConnectError> {
        let path = path.as_ref();
        Ok(Self::at(path, options, &connection::connect(path, Kind::Rpc, Role::Source, options)?))
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
        Ok(Self::over(&connection::listen(path.as_ref(), Kind::Rpc, Role::Source, &[forward, reverse], options)?))
    }

    /// A caller over a connection to the listener at `path`.
    pub(crate) fn at(path: &Path, options: &Options, established: &Established) -> Self {
        let mut caller = Self::over(established);
        caller.reconnect = ReconnectPolicy::new(path, options);
        caller.sends_at_once = caller.reconnect.is_none();
        caller
    }

    pub(crate) fn over(established: &Established) -> Self {
        Self {
            core: CallerCore::over(established),
            reconnect: None,
            layered: None,
            sends_at_once: true,
            identity: CALLERS.fetch_add(1, Ordering::Relaxed),
            words: Words::default(),
        }
    }

    /// Adds a layer, which sees every later call before it is sent, and its outcome. Without layers a call does not
    /// read the clock.
    pub fn layer(&mut self, layer: impl CallerLayer + 'static) -> &mut Self {
        self.layered.get_or_insert_default().layers.push(layer);
        self.sends_at_once = false;
        self
    }

    /// Replaces all layers. No call is in flight.
    pub(crate) fn set_layers(&mut self, layers: &CallerLayers) {
        self.layered = (!layers.is_empty()).then(|| Box::new(LayeredCalls::new(layers.clone())));
        self.sends_at_once = self.reconnect.is_none() && self.layered.is_none();
    }

    /// Sends a request and gives its correlation id, for [`finish`](Self::finish). Waits for room; meanwhile replies to
    /// other calls are taken off the reverse ring and kept, so any number of calls may be sent before the first wait.
    ///
    /// # Errors
    /// [`CallError`]; in every case nothing was sent.
    #[inline]
    pub fn start(&mut self, msg_type: u16, payload: &[u8]) -> Result<u64, CallError> {
        self.start_until(msg_type, payload, Deadline::never())
    }

    /// As [`start`](Self::start), with a deadline for the call: the wait for room ends after `timeout`, and the request
    /// carries the deadline, so that the callee does not begin work whose result comes too late.
    /// [`finish_timeout`](Self::finish_timeout) limits the wait for the reply.
    ///
    /// # Errors
    /// As [`start`](Self::start), and [`CallError::TimedOut`].
    pub fn start_timeout(&mut self, msg_type: u16, payload: &[u8], timeout: Duration) -> Result<u64, CallError> {
        self.start_until(msg_type, payload, Deadline::after(timeout))
    }

    #[inline]
    pub(crate) fn start_until(&mut self, msg_type: u16, payload: &[u8], deadline: Deadline) -> Result<u64, CallError> {
        if msg_type != MSG_TYPE_ERROR
            && self.sends_at_once
            && let Some(call) = self.core.send_fast(make_type_id(0, msg_type), payload, deadline, ())
        {
            return Ok(call);
        }
        self.start_slow(Target::raw(msg_type), Contents::Bytes(payload), None, deadline)
    }

    /// As [`start`](Self::start), with settings.
    #[cold]
    pub(super) fn start_with(
        &mut self,
        msg_type: u16,
        payload: &[u8],
        settings: &CallSettings,
    ) -> Result<u64, CallError> {
        let (metadata, deadline) = (settings.metadata()?, settings.deadline());
        self.start_slow(Target::raw(msg_type), Contents::Bytes(payload), metadata, deadline)
    }

    /// The slow path of sending: the layers, a new connection, the comparison, metadata, the wait for room.
    #[inline(never)]
    pub(super) fn start_slow(
        &mut self,
        target: Target,
        contents: Contents<'_>,
        metadata: Option<&Metadata>,
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        if self.layered.is_some() {
            return self.start_layered(target, contents, metadata, deadline);
        }
        self.start_unlayered(target, contents, metadata, deadline)
    }

    #[inline]
    fn start_unlayered(
        &mut self,
        target: Target,
        contents: Contents<'_>,
        metadata: Option<&Metadata>,
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        self.connected(deadline, |caller| {
            // The next callee may declare the endpoint differently.
            if let Endpoint::Typed(signature) = target.endpoint
                && signature.is_typed()
            {
                caller.verify(|| signature.into(), key(signature), deadline)?;
            }
            match target.purpose {
                Purpose::Call => caller.send(target.msg_type(), contents, metadata, deadline),
                Purpose::Open { window } => caller.send_open(target.msg_type(), window, contents, metadata, deadline),
            }
        })
    }

    #[cold]
    fn start_layered(
        &mut self,
        target: Target,
        contents: Contents<'_>,
        metadata: Option<&Metadata>,
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        let layers = self.layered.as_ref().map(|layered| layered.layers.clone()).unwrap_or_default();
        let metadata = metadata.cloned().unwrap_or_default();
        let call = OutgoingCall::new(target.msg_type(), target.name(), contents.size(), metadata, deadline);
        let flight = layers.before(call)?;
        let metadata = Some(&flight.call.metadata).filter(|metadata| !metadata.is_empty());
        let sent = self.start_unlayered(target, contents, metadata, deadline);
        match (&sent, &mut self.layered) {
            (Ok(id), Some(layered)) => {
                layered.sent(*id, flight);
                // So that the reply takes the slow path, which shows it to the layers.
                self.core.calls.move_single();
            }
            (Ok(_), None) => {}
            (Err(error), _) => layers.after(&flight, CallOutcome::Failed(error)),
        }
        sent
    }

    /// Shows the layers the outcome of a call whose wait is over: the current frame of the reverse ring, or an error.
    #[inline]
    pub(super) fn show(&mut self, id: u64, outcome: &Result<(), CallError>) {
        if self.layered.is_some() {
            self.show_layers(id, outcome);
        }
    }

    #[cold]
    fn show_layers(&mut self, id: u64, outcome: &Result<(), CallError>) {
        let Some(layered) = &mut self.layered else { return };
        if let Err(error) = outcome {
            return layered.ended(id, CallOutcome::Failed(error));
        }
        let frame = &self.core.rx.current;
        let reply = slice::payload(frame, &self.core.rx);
        match RpcError::decode(frame.type_id, reply) {
            None => layered.ended(id, CallOutcome::Replied(reply.len())),
            Some(error) => layered.ended(id, CallOutcome::Failed(&CallError::refused(error))),
        }
    }

    /// Sends a user's request over the present connection.
    #[inline]
    fn send(
        &mut self,
        msg_type: u16,
        contents: Contents<'_>,
        metadata: Option<&Metadata>,
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        if msg_type == MSG_TYPE_ERROR {
            return Err(CallError::ReservedMsgType);
        }
        let type_id = make_type_id(0, msg_type);
        match (contents, metadata) {
            (Contents::Bytes(payload), None) => self.send_as(type_id, payload, deadline, deadline),
            (Contents::Written(size, write), None) => {
                let mut reservation = self.take_room(size, deadline)?;
                write(slice::reserved_mut(&mut reservation, &self.core.tx));
                let header = self.core.header(type_id, deadline);
                Ok(self.core.commit(reservation, size, header, ()))
            }
            (contents, Some(metadata)) => self.send_with_metadata(type_id, contents, metadata, deadline),
        }
    }

    /// Writes a request and the metadata behind it to the ring.
    #[cold]
    fn send_with_metadata(
        &mut self,
        type_id: u32,
        contents: Contents<'_>,
        metadata: &Metadata,
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        let size = contents.size();
        let total = size + metadata.tail_len();
        let mut reservation = self.take_room(total, deadline)?;
        let (payload, tail) = slice::reserved_mut(&mut reservation, &self.core.tx).split_at_mut(size);
        contents.write(payload);
        metadata.write_tail(size, tail);
        let header = self.core.header(type_id | METADATA, deadline);
        Ok(self.core.commit(reservation, total, header, ()))
    }

    /// Sends a request on any route; the callee is told that the call is `due`.
    fn send_as(&mut self, type_id: u32, payload: &[u8], due: Deadline, deadline: Deadline) -> Result<u64, CallError> {
        if let Ok(id) = self.core.try_send(type_id, payload, due, ())? {
            return Ok(id);
        }
        let reservation = self.wait_for_room(payload.len(), deadline)?;
        self.core.tx.fill(reservation, payload);
        let header = self.core.header(type_id, due);
        Ok(self.core.commit(reservation, payload.len(), header, ()))
    }

    /// The header of the next call.
    #[inline]
    pub(crate) fn header(&self, msg_type: u16, deadline: Deadline) -> MessageHeader {
        self.core.header(make_type_id(0, msg_type), deadline)
    }

    /// Takes `size` bytes of the forward ring to write a request in place, waiting for room as [`start`](Self::start)
    /// does. Committing the guard gives the correlation id.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn reserve_call(&mut self, msg_type: u16, size: usize) -> Result<RpcTxGuard<'_>, CallError> {
        if self.layered.is_some() {
            return self.reserve_with(msg_type, size, &CallSettings::default());
        }
        let reservation = self.reserve_until(msg_type, size, Deadline::never(), None)?;
        Ok(RpcTxGuard::request(&mut self.core, reservation, make_type_id(0, msg_type), None))
    }

    /// As [`reserve_call`](Self::reserve_call), with settings, and for a caller with layers.
    #[cold]
    pub(super) fn reserve_with(
        &mut self,
        msg_type: u16,
        size: usize,
        settings: &CallSettings,
    ) -> Result<RpcTxGuard<'_>, CallError> {
        let (mut metadata, deadline) = (settings.metadata()?.cloned().unwrap_or_default(), settings.deadline());
        let mut seen = None;
        if let Some(layered) = &self.layered {
            let flight = layered.layers.before(OutgoingCall::new(msg_type, "", size, metadata, deadline))?;
            metadata = flight.call.metadata.clone();
            seen = Some(flight);
        }
        let tail = if metadata.is_empty() { 0 } else { metadata.tail_len() };
        let reservation = self.reserve_until(msg_type, size.saturating_add(tail), deadline, None);
        let Self { core, layered, .. } = self;
        let seen = seen.zip(layered.as_deref_mut());
        match reservation {
            Ok(reservation) => {
                let extras = Box::new(Extras { metadata, deadline, seen });
                Ok(RpcTxGuard::request(core, reservation, make_type_id(0, msg_type), Some(extras)))
            }
            Err(error) => {
                if let Some((flight, layered)) = seen {
                    layered.layers.after(&flight, CallOutcome::Failed(&error));
                }
                Err(error)
            }
        }
    }

    /// Takes room for a request. With `verify`, an endpoint and its key, both sides' declarations are compared first.
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
        match self.core.tx.try_reserve(size)? {
            Some(reservation) => Ok(reservation),
            None => self.wait_for_room(size, deadline),
        }
    }

    /// Waits for room on forward while taking replies off reverse: a callee that waits for room on reverse is what
    /// keeps forward full.
    #[cold]
    pub(super) fn wait_for_room(&mut self, len: usize, deadline: Deadline) -> Result<Reservation, Unsent> {
        let CallerCore { tx, rx, calls, .. } = &mut self.core;
        let look = |connection: &_, forward: &_, producer: &mut _, _: &mut _| {
            look_for_room(connection, forward, producer, len)
        };
        room_while_taking((tx, rx, calls), deadline, look, file)
    }

    /// Waits for the reply to a call. An error reply is a reply: see [`RpcRxGuard::error`].
    ///
    /// # Errors
    /// [`CallError::UnknownCorrelation`] for a call that is not outstanding; otherwise the callee closed or died, or
    /// the memory is corrupted. An interrupted call stays outstanding. A call made before the caller
    /// [reconnected](crate::Options::reconnect) ends as its connection did, unless its reply had come.
    #[inline]
    pub fn finish(&mut self, correlation_id: u64) -> Result<RpcRxGuard<'_>, CallError> {
        self.finish_until(correlation_id, Deadline::never())
    }

    /// As [`finish`](Self::finish), waiting at most `timeout`. A call that timed out is forgotten as by
    /// [`forget`](Self::forget): its handler is told, its late reply is dropped, and it cannot be waited for again.
    ///
    /// # Errors
    /// As [`finish`](Self::finish), and [`CallError::TimedOut`].
    pub fn finish_timeout(&mut self, correlation_id: u64, timeout: Duration) -> Result<RpcRxGuard<'_>, CallError> {
        self.finish_until(correlation_id, Deadline::after(timeout))
    }

    /// The reply to a call if it is there already; the call stays outstanding if not.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn try_finish(&mut self, correlation_id: u64) -> Result<Option<RpcRxGuard<'_>>, CallError> {
        let outcome = self.try_take(correlation_id).transpose();
        let Some(outcome) = outcome else { return Ok(None) };
        self.show(correlation_id, &outcome);
        outcome?;
        Ok(Some(self.lend()))
    }

    /// Takes the reply to a call as the current frame of the reverse ring, if it is there already.
    fn try_take(&mut self, correlation_id: u64) -> Result<Option<()>, CallError> {
        for _ in 0..MAX_PER_LOOK {
            match self.core.standing(correlation_id) {
                CallState::Unknown => return Err(CallError::UnknownCorrelation(correlation_id)),
                CallState::Finished => return self.take_finished(correlation_id).map(Some),
                CallState::Stream => return self.try_take_last(correlation_id),
                CallState::Awaited => {}
            }
            if !self.core.rx.try_take_current()? {
                return Ok(None);
            }
            if self.core.rx.current.correlation_id == correlation_id {
                self.core.end(correlation_id, false);
                return Ok(Some(()));
            }
            let other = self.core.rx.detach_current();
            self.core.file(other)?;
        }
        Ok(None)
    }

    /// Takes the outcome of a finished call as the current frame of the reverse ring.
    #[cold]
    pub(super) fn take_finished(&mut self, correlation_id: u64) -> Result<(), CallError> {
        match self.core.take_outcome(correlation_id) {
            Some(outcome) => self.take_outcome(correlation_id, outcome),
            None => Err(CallError::UnknownCorrelation(correlation_id)),
        }
    }

    /// Makes an outcome the current frame of the reverse ring.
    pub(super) fn take_outcome(&mut self, correlation_id: u64, outcome: Result<Arrived, End>) -> Result<(), CallError> {
        match outcome {
            Ok(Arrived { type_id, payload }) => {
                self.core.rx.set_current_copied(correlation_id, type_id, payload);
                Ok(())
            }
            Err(end) => Err(Halt::from(end).into()),
        }
    }

    #[inline]
    fn finish_until(&mut self, correlation_id: u64, deadline: Deadline) -> Result<RpcRxGuard<'_>, CallError> {
        if !self.core.take_reply_fast(correlation_id) {
            self.finish_slow(correlation_id, deadline)?;
        }
        Ok(self.lend())
    }

    #[inline(never)]
    fn finish_slow(&mut self, correlation_id: u64, deadline: Deadline) -> Result<(), CallError> {
        let outcome = self.take_slow(correlation_id, deadline);
        match &outcome {
            // The call stays outstanding.
            Err(CallError::Interrupted { .. }) => return outcome,
            // The callee does not know of this wait's deadline.
            Err(CallError::TimedOut { .. }) => drop(self.core.end(correlation_id, true)),
            _ => {}
        }
        self.show(correlation_id, &outcome);
        outcome
    }

    /// Makes a guard of the reply that was taken.
    #[inline]
    pub(crate) fn lend(&mut self) -> RpcRxGuard<'_> {
        RpcRxGuard::over(&mut self.core.rx)
    }

    /// Takes the reply to a call as the current frame of the reverse ring. A call that times out stays outstanding.
    #[inline]
    pub(crate) fn take(&mut self, correlation_id: u64, deadline: Deadline) -> Result<(), CallError> {
        if self.core.take_reply_fast(correlation_id) {
            return Ok(());
        }
        self.take_slow(correlation_id, deadline)
    }

    /// The slow path of [`take`](Self::take): for one of several calls, and for everything that ends a wait.
    #[inline(never)]
    pub(super) fn take_slow(&mut self, correlation_id: u64, deadline: Deadline) -> Result<(), CallError> {
        match self.core.standing(correlation_id) {
            CallState::Unknown => return Err(CallError::UnknownCorrelation(correlation_id)),
            CallState::Finished => return self.take_finished(correlation_id),
            CallState::Stream => return self.take_last(correlation_id, deadline),
            CallState::Awaited => {}
        }
        loop {
            if let Err(halt) = self.core.rx.take_current(deadline) {
                if self.reconnect.is_some() && matches!(halt, Halt::Closed | Halt::PeerDead) {
                    self.core.end(correlation_id, false);
                }
                return Err(halt.into());
            }
            if self.core.rx.current.correlation_id == correlation_id {
                self.core.end(correlation_id, false);
                return Ok(());
            }
            let other = self.core.rx.detach_current();
            self.core.file(other)?;
            // While replies keep coming the waiter never reads the clock.
            if deadline.has_passed() {
                return Err(CallError::TimedOut { sent: true });
            }
            if self.core.rx.waiter.interrupt.is_some_and(|interrupt| interrupt()) {
                return Err(CallError::Interrupted { sent: true });
            }
        }
    }

    /// Gives up a call: its handler is told, and its reply will be dropped if it comes. False when no such call is
    /// outstanding.
    pub fn forget(&mut self, correlation_id: u64) -> bool {
        if let Some(layered) = &mut self.layered {
            layered.ended(correlation_id, CallOutcome::GivenUp);
        }
        self.core.end(correlation_id, true)
    }

    /// Gives up all calls.
    pub(crate) fn forget_all(&mut self) {
        if let Some(layered) = &mut self.layered {
            layered.give_up_all();
        }
        self.core.end_all(true);
    }

    /// Restores the polling mode and the interrupt hook of `options`.
    pub(crate) fn restore(&mut self, options: &Options) {
        for waiter in [&mut self.core.tx.waiter, &mut self.core.rx.waiter] {
            waiter.interrupt = options.interrupt_hook();
            // A budget keeps what it learnt as long as its mode stays.
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
        self.core.tx.max_len()
    }

    /// How the connection is doing. Costs a system call.
    pub fn state(&self) -> State {
        self.core.tx.connection.state()
    }

    /// Chooses what waiting does, for replies and for room: spin, park, or both.
    pub fn set_polling_mode(&mut self, mode: PollingMode) {
        self.core.tx.waiter.budget.set_mode(mode);
        self.core.rx.waiter.budget.set_mode(mode);
    }

    /// Sets the hook that a wait asks at least every 50 ms. A wait ends as interrupted when the hook returns true.
    pub fn set_interrupt(&mut self, interrupt: Option<Interrupt>) {
        self.core.tx.waiter.interrupt = interrupt;
        self.core.rx.waiter.interrupt = interrupt;
    }

    /// Closes the connection in good order, as dropping it does.
    pub fn close(self) {}

    /// Calls and waits for the reply.
    ///
    /// # Errors
    /// [`CallError::Remote`] when the callee answered with an error; otherwise as [`start`](Self::start) and
    /// [`finish`](Self::finish). After an error the call is forgotten.
    #[inline]
    pub fn call(&mut self, msg_type: u16, payload: &[u8]) -> Result<RpcRxGuard<'_>, CallError> {
        self.call_until(msg_type, payload, Deadline::never())
    }

    /// As [`call`](Self::call), in at most `timeout`. The callee is told when that ends, as by
    /// [`start_timeout`](Self::start_timeout).
    ///
    /// # Errors
    /// As [`call`](Self::call), and [`CallError::TimedOut`].
    pub fn call_timeout(
        &mut self,
        msg_type: u16,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<RpcRxGuard<'_>, CallError> {
        self.call_until(msg_type, payload, Deadline::after(timeout))
    }

    #[inline]
    fn call_until(&mut self, msg_type: u16, payload: &[u8], deadline: Deadline) -> Result<RpcRxGuard<'_>, CallError> {
        let outcome = self.exchange(msg_type, payload, deadline);
        if outcome.is_err() {
            self.try_again(outcome, deadline, false, |caller| caller.exchange(msg_type, payload, deadline))?;
        }
        Ok(self.lend())
    }

    /// As [`call`](Self::call), with settings.
    #[cold]
    pub(super) fn call_with(
        &mut self,
        msg_type: u16,
        payload: &[u8],
        settings: &CallSettings,
    ) -> Result<RpcRxGuard<'_>, CallError> {
        let (metadata, deadline) = (settings.metadata()?, settings.deadline());
        let outcome = self.attempt(msg_type, payload, metadata, deadline);
        if outcome.is_err() {
            let idempotent = settings.is_idempotent();
            let exchange = |caller: &mut Self| caller.attempt(msg_type, payload, metadata, deadline);
            self.try_again(outcome, deadline, idempotent, exchange)?;
        }
        Ok(self.lend())
    }

    /// Calls, and takes the reply as the current frame of the reverse ring, unless it is an error. Makes no other
    /// attempt after the request was sent.
    #[cold]
    pub(crate) fn attempt(
        &mut self,
        msg_type: u16,
        payload: &[u8],
        metadata: Option<&Metadata>,
        deadline: Deadline,
    ) -> Result<(), CallError> {
        let call = self.start_slow(Target::raw(msg_type), Contents::Bytes(payload), metadata, deadline)?;
        self.complete(call, deadline)?;
        if crate::type_id::msg_type(self.core.rx.current.type_id) == MSG_TYPE_ERROR {
            return Err(self.refused());
        }
        Ok(())
    }

    /// Tries a failed call again as [`Attempts`] allows.
    #[cold]
    pub(super) fn try_again<E>(
        &mut self,
        mut outcome: Result<(), CallError<E>>,
        deadline: Deadline,
        idempotent: bool,
        mut exchange: impl FnMut(&mut Self) -> Result<(), CallError<E>>,
    ) -> Result<(), CallError<E>> {
        let mut attempts = Attempts::new(self.reconnects(), idempotent, deadline);
        while let Err(error) = &outcome
            && attempts.again(error)
        {
            if is_stopping(error) {
                self.await_end(deadline).map_err(|error| attempts.outcome(CallError::widen(error)))?;
            }
            outcome = exchange(self);
        }
        outcome.map_err(|error| attempts.outcome(error))
    }

    /// Calls, and takes the reply as the current frame of the reverse ring, unless it is an error.
    #[inline]
    fn exchange(&mut self, msg_type: u16, payload: &[u8], deadline: Deadline) -> Result<(), CallError> {
        let call = self.start_until(msg_type, payload, deadline)?;
        self.complete(call, deadline)?;
        if crate::type_id::msg_type(self.core.rx.current.type_id) == MSG_TYPE_ERROR {
            return Err(self.refused());
        }
        Ok(())
    }

    /// Takes the reply to a call as the current frame of the reverse ring, or gives the call up.
    #[inline]
    pub(super) fn complete(&mut self, call: u64, deadline: Deadline) -> Result<(), CallError> {
        if self.core.take_reply_fast(call) {
            return Ok(());
        }
        self.complete_slow(call, deadline)
    }

    #[inline(never)]
    pub(super) fn complete_slow(&mut self, call: u64, deadline: Deadline) -> Result<(), CallError> {
        let outcome = self.take_slow(call, deadline);
        if let Err(error) = &outcome {
            // The callee knows the call's deadline.
            self.core.end(call, !matches!(error, CallError::TimedOut { .. }));
        }
        self.show(call, &outcome);
        outcome
    }

    /// Releases the error reply that was taken, and gives its error.
    #[cold]
    pub(super) fn refused(&mut self) -> CallError {
        let guard = self.lend();
        match guard.error() {
            Some(error) => CallError::refused(error),
            None => CallError::UnknownCorrelation(guard.correlation_id()),
        }
    }

    /// As [`connect_with`](Self::connect_with), until `deadline`, and again when a server ends in the handshake.
    pub(crate) fn connect_by(path: &Path, options: &Options, deadline: Deadline) -> Result<Self, ConnectError> {
        Ok(Self::at(path, options, &connect_by(path, options, deadline)?))
    }

    /// Whether this caller connects again when its connection has ended.
    pub(crate) fn reconnects(&self) -> bool {
        self.reconnect.is_some()
    }

    /// Runs an operation that sends. Reconnects first if the connection has ended, and again if it ends meanwhile.
    #[inline]
    pub(super) fn connected<T>(
        &mut self,
        deadline: Deadline,
        mut operation: impl FnMut(&mut Self) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        self.revive(deadline)?;
        let error = match operation(self) {
            Err(error) if self.reconnects() => error,
            outcome => return outcome,
        };
        let mut attempts = Attempts::new(true, false, deadline);
        let mut outcome = Err(error);
        while let Err(error) = &outcome
            && attempts.again(error)
        {
            self.reconnect(deadline)?;
            outcome = operation(self);
        }
        outcome
    }

    /// Waits for the end of a connection whose callee stops, and keeps the replies to other calls.
    pub(crate) fn await_end(&mut self, deadline: Deadline) -> Result<(), CallError> {
        loop {
            match self.core.rx.take_current(deadline) {
                Ok(()) => {
                    let frame = self.core.rx.detach_current();
                    self.core.file(frame)?;
                }
                Err(Halt::Closed | Halt::PeerDead) => return Ok(()),
                Err(halt) => return Err(Unsent::Halted(halt).into()),
            }
        }
    }

    /// Connects again if the connection is found at its end, before something is sent over it.
    #[inline]
    pub(crate) fn revive(&mut self, deadline: Deadline) -> Result<(), CallError> {
        if self.reconnect.is_some() { self.look_after(deadline) } else { Ok(()) }
    }

    /// Only a system call shows that a callee was killed, and this makes one per tick: a request that closely follows
    /// another one may still be sent to a dead callee.
    fn look_after(&mut self, deadline: Deadline) -> Result<(), CallError> {
        let Some(policy) = &mut self.reconnect else { return Ok(()) };
        let connection = &self.core.tx.connection;
        let now = tick();
        let seen = !self.core.tx.ring().is_open() || connection.peer.was_gone();
        if !seen && policy.looked == now {
            return Ok(());
        }
        policy.looked = now;
        match connection.state() {
            State::Closed | State::PeerDead => self.reconnect(deadline),
            // The operation reports corrupted memory. Its peer is not trusted with another connection.
            State::Open | State::FatalError => Ok(()),
        }
    }

    /// Replaces a connection that has ended. Calls without a reply are lost with it.
    #[cold]
    fn reconnect(&mut self, deadline: Deadline) -> Result<(), CallError> {
        let Some(connecting) = self.connecting(deadline)? else { return Ok(()) };
        self.replace(connecting.finish()).map_err(|source| CallError::reconnecting(source, deadline))
    }

    /// Begins to connect again. `None` for a caller that does not reconnect.
    pub(crate) fn connecting(&mut self, deadline: Deadline) -> Result<Option<Connecting>, CallError> {
        let Some(policy) = &self.reconnect else { return Ok(None) };
        self.core.tx.connection.check_process()?;
        let connecting = connecting_by(&policy.path, &policy.options, deadline);
        connecting.map(Some).map_err(|source| CallError::reconnecting(source, deadline))
    }

    /// Ends the present connection and takes the new one, if there is one.
    pub(crate) fn replace(&mut self, outcome: Result<Pairing, ConnectError>) -> Result<(), ConnectError> {
        let end = match self.core.tx.connection.state() {
            State::Closed => End::Closed,
            _ => End::PeerDead,
        };
        let options = self.reconnect.as_ref().map_or_else(Options::new, |policy| policy.options.clone());
        let established = outcome.map(|pairing| Established::new(pairing, &options));
        self.core.replace(established.as_ref().ok(), &end);
        established.map(drop)
    }

    /// Measures a round trip to the callee, the wait for earlier requests included. No handler runs. A callee answers
    /// after the handler that it is in.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use std::time::Duration;
    /// use tachyon::{Callee, Caller, Dispatcher};
    /// # let listen_at = path.clone();
    ///
    /// let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
    ///     let mut callee = Callee::listen(&listen_at, 4096, 4096)?;
    ///     Dispatcher::default().serve_forever(&mut callee)?;
    ///     Ok(())
    /// });
    /// let mut caller = Caller::connect(&path)?;
    /// let took = caller.ping(Duration::from_secs(1))?;
    /// assert!(took < Duration::from_secs(1));
    /// # drop(caller);
    /// callee.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CallError::TimedOut`] without an answer in time; otherwise as [`call`](Self::call).
    pub fn ping(&mut self, timeout: Duration) -> Result<Duration, CallError> {
        let began = Instant::now();
        let deadline = Deadline::after(timeout);
        self.revive(deadline)?;
        self.control(Operation::Ping, &[], deadline)?;
        Ok(began.elapsed())
    }

    /// Asks the callee for the longest messages that it takes and gives, and for the version of its description. A
    /// caller that keeps the description compares versions, and asks for the description again only if they differ.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tachyon::{Dispatcher, testing};
    ///
    /// let mut caller = testing::pair(Dispatcher::default())?;
    /// let limits = caller.limits(Duration::from_secs(1))?;
    /// assert_eq!(limits.max_request, caller.max_len() as u64);
    /// assert_eq!(limits.version, caller.limits(Duration::from_secs(1))?.version);
    /// # Ok::<(), tachyon::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`CallError::Remote`] of kind [`NoHandler`](crate::ErrorKind::NoHandler) when no
    /// [`Dispatcher`](crate::Dispatcher) serves there, [`CallError::TimedOut`] without an answer in time;
    /// [`CallError::Describe`] when the answer cannot be read; otherwise as [`call`](Self::call).
    pub fn limits(&mut self, timeout: Duration) -> Result<CalleeLimits, CallError> {
        let deadline = Deadline::after(timeout);
        self.revive(deadline)?;
        limits_of(&self.control(Operation::Limits, &[], deadline)?)
    }

    /// Asks the callee for the description of its endpoints.
    ///
    /// # Errors
    /// [`CallError::Remote`] of kind [`NoHandler`](crate::ErrorKind::NoHandler) when no
    /// [`Dispatcher`](crate::Dispatcher) serves there; [`CallError::Describe`] when the answer is no description;
    /// otherwise as [`call`](Self::call).
    pub fn describe(&mut self) -> Result<Description, CallError> {
        self.describe_until(WHOLE_TABLE, Deadline::never())
    }

    /// As [`describe`](Self::describe), in at most `timeout`.
    ///
    /// # Errors
    /// As [`describe`](Self::describe), and [`CallError::TimedOut`].
    pub fn describe_timeout(&mut self, timeout: Duration) -> Result<Description, CallError> {
        self.describe_until(WHOLE_TABLE, Deadline::after(timeout))
    }

    /// Asks the callee for the description of one endpoint. `None` when the callee does not have the endpoint.
    ///
    /// # Errors
    /// As [`describe`](Self::describe), and [`CallError::TimedOut`].
    pub fn describe_endpoint(
        &mut self,
        msg_type: u16,
        timeout: Option<Duration>,
    ) -> Result<Option<EndpointDescription>, CallError> {
        let description = self.describe_until(msg_type, timeout.into())?;
        Ok(description.endpoints.into_iter().find(|endpoint| endpoint.msg_type == msg_type))
    }

    fn describe_until(&mut self, msg_type: u16, deadline: Deadline) -> Result<Description, CallError> {
        self.revive(deadline)?;
        self.describe_here(msg_type, deadline)
    }

    /// The description of one endpoint, or of the whole table, put together from its chunks. All of them come over the
    /// present connection.
    #[cold]
    fn describe_here(&mut self, msg_type: u16, deadline: Deadline) -> Result<Description, CallError> {
        let mut chunks = Chunks::of(msg_type);
        loop {
            let reply = self.control(Operation::Describe, &chunks.query()?, deadline)?;
            if let Some(description) = chunks.add(&reply)? {
                return Ok(description);
            }
        }
    }

    /// Makes a control request over the present connection and copies its reply.
    fn control(&mut self, operation: Operation, payload: &[u8], deadline: Deadline) -> Result<AlignedBytes, CallError> {
        let (type_id, reply) = self.control_reply(operation, payload, deadline)?;
        match RpcError::decode(type_id, &reply) {
            None => Ok(reply),
            Some(error) => Err(CallError::refused(error)),
        }
    }

    /// As [`control`](Self::control), with an error reply as it came: type identifier and payload.
    fn control_reply(
        &mut self,
        operation: Operation,
        payload: &[u8],
        deadline: Deadline,
    ) -> Result<(u32, AlignedBytes), CallError> {
        let type_id = make_type_id(ROUTE_CONTROL, operation as u16);
        let call = self.send_as(type_id, payload, deadline, deadline)?;
        self.complete(call, deadline)?;
        let guard = self.lend();
        Ok((guard.type_id(), AlignedBytes::from(&*guard)))
    }

    /// Compares the endpoint that goes by `key` with the callee's, once on each connection.
    pub(super) fn verify(
        &mut self,
        here: impl FnOnce() -> EndpointDescription,
        key: usize,
        deadline: Deadline,
    ) -> Result<(), CallError> {
        if self.core.verified.contains(key) {
            return Ok(());
        }
        let mut agreement = Agreement::on(here());
        loop {
            match self.control_reply(Operation::Describe, &agreement.question()?, deadline) {
                Ok((type_id, answer)) if !agreement.answered(type_id, &answer)? => {}
                Ok(_) | Err(CallError::TooLarge { .. }) => break,
                Err(error) => return Err(error.unsent()),
            }
        }
        self.core.verified.insert(key);
        Ok(())
    }
}

/// The target of a request on the slow path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    purpose: Purpose,
}

/// The purpose of a request.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    Call,
    /// Opens a stream, with the wish for a window.
    Open {
        window: Option<u32>,
    },
}

/// The endpoint of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Endpoint {
    /// By number.
    Raw(u16),
    /// By its contract.
    Typed(&'static Signature),
}

impl Target {
    pub(crate) fn raw(msg_type: u16) -> Self {
        Self { endpoint: Endpoint::Raw(msg_type), purpose: Purpose::Call }
    }

    pub(crate) fn typed(signature: &'static Signature) -> Self {
        Self { endpoint: Endpoint::Typed(signature), purpose: Purpose::Call }
    }

    /// The same endpoint, for a request that opens a stream.
    pub(crate) fn opening(self, window: Option<u32>) -> Self {
        Self { purpose: Purpose::Open { window }, ..self }
    }

    pub(crate) fn msg_type(self) -> u16 {
        match self.endpoint {
            Endpoint::Raw(msg_type) => msg_type,
            Endpoint::Typed(signature) => signature.msg_type(),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self.endpoint {
            Endpoint::Raw(_) => "",
            Endpoint::Typed(signature) => signature.name(),
        }
    }
}

/// The key of a signature: its address, which is unique since signatures are statics.
#[inline]
pub(crate) fn key(signature: &'static Signature) -> usize {
    core::ptr::from_ref(signature).addr()
}

impl CallError {
    /// The error of a call whose reply is an error. A callee can report that the deadline passed before the caller has
    /// looked at its own clock.
    #[cold]
    pub(crate) fn refused(error: RpcError) -> Self {
        if error.kind == ErrorKind::DeadlinePassed { Self::TimedOut { sent: true } } else { Self::Remote(error) }
    }
}
