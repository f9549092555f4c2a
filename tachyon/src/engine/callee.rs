//! The answering end of one connection: which request is next, what becomes of it, and which calls have begun.
//!
//! Nothing here waits but [`take_one`], the driver of a callee that has one caller. All other drivers (a server's
//! worker, its task of tokio, an event loop) call [`CalleeCore::turn`] and park the connection when it is idle.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::callee_streams::{
    CalleeStreams, OpenStream, Stepped, StreamBody, StreamEnd, is_open, is_stream_message, misplaced, opens,
};
use super::caller_info::CallerInfo;
use super::error_reply::{ErrorBody, send_error};
use super::request::{OpenRequest, is_cancel, is_control, is_plain, open_current, open_metadata, refused_type};
use crate::aligned::AlignedBytes;
use crate::connection::{Halt, MAX_PER_LOOK, Rx, Tx, Unsent, is_due, look_for_data, park, slice, unpark};
use crate::error_kind::ErrorKind;
use crate::metadata::Metadata;
use crate::ring::{Fault, Frame};
use crate::type_id::{ROUTE_END, msg_type, route_id};
use crate::wait::Deadline;

/// Time for steps of streams in a row while a server stops. The end of that time has to be noticed between two items,
/// however slow they are, and other callers have their turns.
const STEPS: Duration = Duration::from_millis(1);

/// The table and the tasks behind a callee: they answer its requests.
pub(crate) trait Service {
    /// The driver's handle of a call that has begun and is answered later, or of an open stream. `Infallible` if there
    /// is neither.
    type Begun: StreamBody;

    /// Whether a turn ends before a request of a slow endpoint, so that the driver can see to its other callers first.
    const POSTPONES: bool = false;

    /// Whether requests of this type are not known to be fast.
    fn is_slow(&self, _type_id: u32) -> bool {
        false
    }

    /// Whether a request of this type may begin, from a caller with `begun` calls in flight.
    fn admit(&self, type_id: u32, begun: usize) -> bool;

    /// As [`admit`](Self::admit), for an OPEN, from a caller with `begun` calls in flight and open streams.
    fn admit_open(&self, type_id: u32, begun: usize) -> bool {
        self.admit(type_id, begun)
    }

    /// Answers a request, or begins it.
    ///
    /// # Errors
    /// The connection has ended.
    fn handle(
        &mut self,
        caller: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        request: &OpenRequest,
    ) -> Result<Handled<Self::Begun>, Halt>;

    /// Sends the last message of an open stream whose handler is done.
    ///
    /// # Errors
    /// The connection has ended.
    fn end(&mut self, tx: &mut Tx, stream: Self::Begun) -> Result<(), Halt>;

    /// The kind of the error reply to a call that has begun, when the server stops before its end.
    fn kind_of_stop(&self, _call: &Self::Begun) -> ErrorKind {
        ErrorKind::Cancelled
    }

    /// Ends a call that has begun, or an open stream, whose caller is told.
    fn cancel(&mut self, call: Self::Begun, why: CancelReason);
}

/// Why a call that has begun is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelReason {
    /// Its caller said so, and waits no longer.
    Caller,
    /// Its caller is gone.
    CallerGone,
    /// The server stops, and the time of its handlers is over.
    Stop,
    /// The deadline of a stream has passed.
    Deadline,
}

/// How a request was handled.
#[derive(Debug)]
pub(crate) enum Handled<B> {
    /// It was answered.
    Replied,
    /// It has begun, and is answered later.
    Later(B),
    /// It opened a stream.
    Stream(B),
}

/// The result of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TurnResult {
    /// A request was served or begun, or there may be more.
    Served,
    /// The next request is for an endpoint that is not known as fast; the next turn serves it.
    Slow,
    /// There is nothing to do until the peer rings, or a held request gets a place.
    Idle,
}

/// A request that waits for a place.
#[derive(Debug)]
struct HeldRequest {
    correlation_id: u64,
    type_id: u32,
    deadline: Deadline,
    payload: AlignedBytes,
    metadata: Metadata,
    /// For an OPEN: whether the END of the caller's items has come.
    has_ended_items: bool,
}

/// The answering end of one connection of several. `B` stands for a call that has begun.
#[derive(Debug)]
pub(crate) struct CalleeCore<B> {
    pub(crate) info: CallerInfo,
    pub(crate) rx: Rx,
    pub(crate) tx: Tx,
    /// The fault of a peer that sent something else than a ring over the socket.
    pub(crate) fault: Option<Fault>,
    /// Whether the current frame is a request for a slow endpoint, taken and not yet served.
    postponed: bool,
    /// Requests without a place, the oldest first. They are out of the ring, so that a CANCEL behind them is seen.
    held: VecDeque<HeldRequest>,
    held_bytes: usize,
    /// Calls that have begun, by correlation id, with their message type.
    begun: HashMap<u64, (u16, B)>,
    streams: CalleeStreams<B>,
    /// Whether the streams have the next turn.
    streams_first: bool,
}

impl<B: StreamBody> CalleeCore<B> {
    /// Takes both ends of a connection. Replies without room are deferred from now on.
    pub(crate) fn new(info: CallerInfo, rx: Rx, mut tx: Tx) -> Self {
        tx.never_wait();
        Self {
            info,
            rx,
            tx,
            fault: None,
            postponed: false,
            held: VecDeque::new(),
            held_bytes: 0,
            begun: HashMap::new(),
            streams: CalleeStreams::new(),
            streams_first: false,
        }
    }

    /// Serves one request, if there is one and a place for it, or sends one item of a stream: a caller that floods, or
    /// has an endless stream, gets as many turns as all others.
    ///
    /// # Errors
    /// The connection has ended, and nothing that was committed before is left to serve.
    #[inline]
    pub(crate) fn turn<S: Service<Begun = B>>(&mut self, service: &mut S) -> Result<TurnResult, Halt> {
        if self.streams.is_empty() { self.turn_of_requests(service) } else { self.turn_beside_streams(service) }
    }

    /// Requests and streams take turns.
    #[inline(never)]
    fn turn_beside_streams<S: Service<Begun = B>>(&mut self, service: &mut S) -> Result<TurnResult, Halt> {
        if core::mem::take(&mut self.streams_first) || !self.has_requests() {
            return if self.step(service)? { Ok(TurnResult::Served) } else { self.turn_of_requests(service) };
        }
        let outcome = self.turn_of_requests(service)?;
        self.streams_first = outcome == TurnResult::Served;
        if outcome == TurnResult::Idle && self.step(service)? { Ok(TurnResult::Served) } else { Ok(outcome) }
    }

    /// Whether there may be something else to do than steps of streams. A look for a frame costs more: it reads words
    /// that were just written one by one, and so waits for the item before to leave this core.
    fn has_requests(&self) -> bool {
        self.rx.consumer.has_changed()
            || self.postponed
            || !self.held.is_empty()
            || self.tx.has_deferred()
            || self.fault.is_some()
            || self.rx.connection.peer.was_gone()
    }

    /// Takes one step of one open stream; false when no stream has a step to take.
    pub(crate) fn step<S: Service<Begun = B>>(&mut self, service: &mut S) -> Result<bool, Halt> {
        match self.streams.step(&mut self.rx, &mut self.tx)? {
            Stepped::Nothing => Ok(false),
            Stepped::Sent => Ok(true),
            Stepped::Left(stream, StreamEnd::Done) => {
                unless_gone(service.end(&mut self.tx, stream.body)).map(|()| true)
            }
            Stepped::Left(stream, StreamEnd::DeadlinePassed) => {
                self.leave(service, stream, CancelReason::Deadline, ErrorKind::DeadlinePassed).map(|()| true)
            }
        }
    }

    /// Takes steps of open streams for [`STEPS`], for a server that stops. True when no stream is open.
    ///
    /// # Errors
    /// The caller is gone.
    pub(crate) fn step_streams<S: Service<Begun = B>>(&mut self, service: &mut S) -> Result<bool, Halt> {
        let until = Deadline::after(STEPS);
        for _ in 0..MAX_PER_LOOK {
            if !self.step(service)? || until.has_passed() {
                break;
            }
        }
        Ok(self.streams.is_empty())
    }

    /// Ends a stream that its handler has not ended, and tells the caller.
    fn leave<S: Service<Begun = B>>(
        &mut self,
        service: &mut S,
        stream: OpenStream<B>,
        why: CancelReason,
        kind: ErrorKind,
    ) -> Result<(), Halt> {
        let OpenStream { call, msg_type, body, .. } = stream;
        service.cancel(body, why);
        self.refuse(call, msg_type, kind)
    }

    /// The earliest deadline of an open stream.
    pub(crate) fn stream_deadline(&self) -> Deadline {
        self.streams.deadline()
    }

    /// Asks the peer to ring, as [`park`] does, and handlers of streams to wake the driver.
    pub(crate) fn park(&mut self) -> Option<u64> {
        let Self { rx, tx, streams, .. } = self;
        let wake = rx.connection.peer.wake().cloned();
        if let Some(wake) = &wake {
            wake.arm();
        }
        let second_look = park(rx, tx, streams.is_blocked(), |tx| streams.is_due(tx));
        if let Some(wake) = wake.filter(|_| second_look.is_none()) {
            wake.disarm();
        }
        second_look
    }

    /// Whether a parked connection has work.
    pub(crate) fn is_due(&mut self) -> bool {
        is_due(&self.rx, &mut self.tx).is_some()
            || self.streams.is_due(&mut self.tx)
            || self.streams.deadline().has_passed()
    }

    /// Asks the peer not to ring, and handlers of streams not to wake the driver: it polls the connection again.
    pub(crate) fn unpark(&self) {
        unpark(&self.rx, &self.tx);
        if let Some(wake) = self.rx.connection.peer.wake() {
            wake.disarm();
            wake.reset();
        }
    }

    #[inline]
    fn turn_of_requests<S: Service<Begun = B>>(&mut self, service: &mut S) -> Result<TurnResult, Halt> {
        if let Some(fault) = self.fault {
            return Err(self.rx.connection.broken(fault));
        }
        // Asked before the look: nothing committed before an end seen here can escape that look.
        let gone = self.rx.connection.peer.was_gone();
        if self.tx.has_deferred() && !self.flush()? && self.tx.is_overfull() {
            return Ok(TurnResult::Idle);
        }
        if !self.held.is_empty()
            && let Some(at) = self.next_held(service)
        {
            return self.serve_held(at, service);
        }
        for _ in 0..MAX_PER_LOOK {
            if self.holds_enough() {
                return self.check_caller().map(|()| TurnResult::Idle);
            }
            let postponed = self.take_postponed::<S>();
            if !postponed && !self.take()? {
                return if gone { Err(Halt::PeerDead) } else { Ok(TurnResult::Idle) };
            }
            if !is_plain(&self.rx.current) && (self.open(service)? || self.hold_open(service)?) {
                continue;
            }
            if service.admit(self.rx.current.type_id, self.begun.len()) {
                let type_id = self.rx.current.type_id;
                if S::POSTPONES && !postponed && !is_control(&self.rx.current) && service.is_slow(type_id) {
                    self.postponed = true;
                    return Ok(TurnResult::Slow);
                }
                return self.serve(service);
            }
            self.hold()?;
        }
        Ok(TurnResult::Served)
    }

    /// The held request that may begin: the oldest one, or behind an OPEN without a place the oldest call.
    #[cold]
    fn next_held<S: Service<Begun = B>>(&self, service: &S) -> Option<usize> {
        let may_begin = |held: &HeldRequest| {
            if opens(held.type_id) {
                self.may_open(held.type_id, service)
            } else {
                service.admit(held.type_id, self.begun.len())
            }
        };
        let first = self.held.front()?;
        if may_begin(first) {
            return Some(0);
        }
        let at = self.held.iter().position(|held| opens(held.type_id) != opens(first.type_id))?;
        may_begin(&self.held[at]).then_some(at)
    }

    /// Whether an OPEN may begin.
    fn may_open<S: Service<Begun = B>>(&self, type_id: u32, service: &S) -> bool {
        service.admit_open(type_id, self.begun.len() + self.streams.len())
    }

    /// Opens a current frame that is no call without metadata. True after a CANCEL, or a message of a stream, which is
    /// then taken.
    #[cold]
    fn open(&mut self, service: &mut impl Service<Begun = B>) -> Result<bool, Halt> {
        open_metadata(&mut self.rx);
        if is_cancel(&self.rx.current) {
            self.take_cancel(service)?;
            return Ok(true);
        }
        let of_stream = is_stream_message(&self.rx.current);
        if of_stream {
            self.take_stream_message()?;
        }
        Ok(of_stream)
    }

    /// Holds the current frame if it is an OPEN without a place. True if it did so.
    #[cold]
    fn hold_open(&mut self, service: &impl Service<Begun = B>) -> Result<bool, Halt> {
        let has_no_place = is_open(&self.rx.current) && !self.may_open(self.rx.current.type_id, service);
        if has_no_place {
            self.hold()?;
        }
        Ok(has_no_place)
    }

    /// Takes the current frame, a message of an open stream.
    fn take_stream_message(&mut self) -> Result<(), Halt> {
        open_current(&self.rx)?;
        let Frame { correlation_id, type_id, .. } = self.rx.current;
        let mut held = self.held.iter_mut();
        match held.find(|held| held.correlation_id == correlation_id && opens(held.type_id)) {
            None => self.streams.take(&self.rx)?,
            Some(held) if route_id(type_id) == ROUTE_END && !held.has_ended_items => held.has_ended_items = true,
            // An item has no credit before its stream is open.
            Some(_) => return Err(misplaced(&self.rx.current, &self.rx)),
        }
        self.rx.release_current();
        Ok(())
    }

    /// Whether the current frame is the next request.
    #[inline]
    fn take_postponed<S: Service>(&mut self) -> bool {
        S::POSTPONES && core::mem::take(&mut self.postponed)
    }

    /// Takes the next message as the current frame of the forward ring, if there is one.
    fn take(&mut self) -> Result<bool, Halt> {
        self.rx.connection.check_process()?;
        let Rx { connection, index, consumer, .. } = &mut self.rx;
        let Some(frame) = look_for_data(connection, connection.ring(*index), consumer)? else { return Ok(false) };
        self.rx.set_current(frame);
        Ok(true)
    }

    /// Serves the current frame.
    fn serve(&mut self, service: &mut impl Service<Begun = B>) -> Result<TurnResult, Halt> {
        if is_open(&self.rx.current) {
            let deadline = open_current(&self.rx)?;
            return self.serve_open(deadline, false, service);
        }
        let Self { info, rx, tx, .. } = self;
        let (call, of) = (rx.current.correlation_id, msg_type(rx.current.type_id));
        let handled = serve_current(rx, tx, |rx, tx, frame, deadline| {
            service.handle(info, rx, tx, &OpenRequest { frame: *frame, deadline })
        })?;
        self.note(call, of, handled, service);
        Ok(TurnResult::Served)
    }

    /// Opens a stream by the current frame.
    #[cold]
    fn serve_open(
        &mut self,
        deadline: Deadline,
        has_ended_items: bool,
        service: &mut impl Service<Begun = B>,
    ) -> Result<TurnResult, Halt> {
        let frame = self.rx.current;
        let cell = self.streams.check_open(&frame, &self.rx)?;
        let handled = service.handle(&self.info, &self.rx, &mut self.tx, &OpenRequest { frame, deadline });
        self.rx.release_current();
        if let Handled::Stream(mut body) = handled? {
            if has_ended_items {
                body.end_items();
            }
            self.streams.add(&frame, cell, deadline, body, &mut self.rx);
        }
        Ok(TurnResult::Served)
    }

    fn note(&mut self, call: u64, of: u16, handled: Handled<B>, service: &mut impl Service<Begun = B>) {
        if let Handled::Later(begun) = handled
            && let Some((_, before)) = self.begun.insert(call, (of, begun))
        {
            // A caller that uses an id twice waits for one answer.
            service.cancel(before, CancelReason::Caller);
        }
    }

    /// Serves a request that is held.
    #[cold]
    fn serve_held(&mut self, at: usize, service: &mut impl Service<Begun = B>) -> Result<TurnResult, Halt> {
        let Some(held) = self.held.remove(at) else { return Ok(TurnResult::Idle) };
        self.held_bytes -= held.payload.len();
        self.rx.set_current_copied(held.correlation_id, held.type_id, held.payload);
        self.rx.set_metadata(self.rx.current.position, held.metadata);
        if is_open(&self.rx.current) {
            let outcome = self.serve_open(held.deadline, held.has_ended_items, service);
            drop(self.rx.take_metadata());
            return outcome;
        }
        let request = OpenRequest { frame: self.rx.current, deadline: held.deadline };
        let handled = service.handle(&self.info, &self.rx, &mut self.tx, &request);
        self.rx.release_current();
        drop(self.rx.take_metadata());
        self.note(held.correlation_id, msg_type(held.type_id), handled?, service);
        Ok(TurnResult::Served)
    }

    /// Takes the current frame out of the ring, to be served when there is a place.
    #[cold]
    fn hold(&mut self) -> Result<(), Halt> {
        let deadline = open_current(&self.rx)?;
        let Frame { correlation_id, type_id, .. } = self.rx.current;
        let payload = AlignedBytes::from(slice::payload(&self.rx.current, &self.rx));
        let metadata = self.rx.take_metadata();
        self.rx.release_current();
        self.held_bytes += payload.len();
        self.held.push_back(HeldRequest {
            correlation_id,
            type_id,
            deadline,
            payload,
            metadata,
            has_ended_items: false,
        });
        Ok(())
    }

    /// Whether requests wait for a place.
    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether the held requests would fill a ring. Further requests stay in the ring, and their caller waits for room.
    fn holds_enough(&self) -> bool {
        let geometry = self.rx.ring().geometry();
        self.held.len() >= geometry.slots() || self.held_bytes >= geometry.capacity()
    }

    /// Asks whether the caller is still there, for a turn that does not look at the ring.
    #[cold]
    fn check_caller(&self) -> Result<(), Halt> {
        match self.tx.check(0) {
            Err(Unsent::Halted(halt)) => Err(halt),
            Ok(()) | Err(Unsent::TooLarge { .. }) => Ok(()),
        }
    }

    /// Takes the current frame, which cancels a call. A call that is answered already has no entry.
    #[cold]
    fn take_cancel(&mut self, service: &mut impl Service<Begun = B>) -> Result<(), Halt> {
        open_current(&self.rx)?;
        let call = self.rx.current.correlation_id;
        self.rx.release_current();
        if let Some((_, begun)) = self.begun.remove(&call) {
            service.cancel(begun, CancelReason::Caller);
        } else if let Some(at) = self.held.iter().position(|held| held.correlation_id == call) {
            let Some(held) = self.held.remove(at) else { return Ok(()) };
            self.held_bytes -= held.payload.len();
            if opens(held.type_id) {
                return self.refuse(call, msg_type(held.type_id), ErrorKind::Cancelled);
            }
        } else if let Some(stream) = self.streams.take_out(call, &self.rx) {
            return self.leave(service, stream, CancelReason::Caller, ErrorKind::Cancelled);
        }
        Ok(())
    }

    /// Ends a call that has begun and frees its place. `None` when the call was cancelled.
    pub(crate) fn finish(&mut self, call: u64) -> Option<B> {
        self.begun.remove(&call).map(|(_, begun)| begun)
    }

    /// Ends all calls that have begun: the caller is gone.
    pub(crate) fn cancel_all(&mut self, service: &mut impl Service<Begun = B>) {
        for (_, (_, begun)) in self.begun.drain() {
            service.cancel(begun, CancelReason::CallerGone);
        }
        while let Some(stream) = self.streams.pop(&self.rx) {
            service.cancel(stream.body, CancelReason::CallerGone);
        }
    }

    /// Ends all calls that have begun, for a server that stops, and tells the caller of each.
    ///
    /// # Errors
    /// The caller is gone.
    pub(crate) fn abandon(&mut self, service: &mut impl Service<Begun = B>) -> Result<(), Halt> {
        let begun = core::mem::take(&mut self.begun);
        let mut outcome = Ok(());
        for (call, (of, begun)) in begun {
            let kind = service.kind_of_stop(&begun);
            service.cancel(begun, CancelReason::Stop);
            outcome = outcome.and(self.refuse(call, of, kind));
        }
        while let Some(stream) = self.streams.pop(&self.rx) {
            outcome = outcome.and(self.leave(service, stream, CancelReason::Stop, ErrorKind::Cancelled));
        }
        outcome
    }

    /// Sends replies that had no room; true when none is left.
    fn flush(&mut self) -> Result<bool, Halt> {
        match self.tx.flush() {
            Ok(flushed) => Ok(flushed),
            Err(Unsent::Halted(halt)) => Err(halt),
            // It fitted the ring when it was deferred, and rings do not shrink.
            Err(Unsent::TooLarge { .. }) => Ok(true),
        }
    }

    /// Answers requests that have not begun with `Stopping`, for a server that stops. True when none is left and no
    /// reply is deferred. One call refuses a bounded number: a caller that goes on sending does not keep the server.
    ///
    /// # Errors
    /// The connection has ended.
    pub(crate) fn refuse_all(&mut self, service: &mut impl Service<Begun = B>) -> Result<bool, Halt> {
        self.held_bytes = 0;
        while let Some(held) = self.held.pop_front() {
            self.refuse(held.correlation_id, msg_type(held.type_id), ErrorKind::Stopping)?;
        }
        for _ in 0..MAX_PER_LOOK {
            if !self.flush()? {
                return Ok(false);
            }
            if !core::mem::take(&mut self.postponed) && !self.take()? {
                return Ok(true);
            }
            if !is_plain(&self.rx.current) && self.open(service)? {
                continue;
            }
            open_current(&self.rx)?;
            let (call, of) = (self.rx.current.correlation_id, refused_type(&self.rx));
            self.rx.release_current();
            self.refuse(call, of, ErrorKind::Stopping)?;
        }
        Ok(false)
    }

    /// Ends the connection of a server that stops. The caller can send no further request, and those that it sent
    /// before are refused, as far as their replies have room.
    pub(crate) fn shut(&mut self, service: &mut impl Service<Begun = B>) {
        let connection = Arc::clone(&self.rx.connection);
        if connection.check_process().is_ok() {
            connection.close_ring(0);
            while let Ok(false) = self.refuse_all(service)
                && !self.tx.has_deferred()
            {}
            connection.close();
        }
    }

    fn refuse(&mut self, call: u64, of: u16, kind: ErrorKind) -> Result<(), Halt> {
        match send_error(&mut self.tx, call, of, kind, ErrorBody::default()) {
            Err(Unsent::Halted(halt)) => unless_gone(Err(halt)),
            Ok(()) | Err(Unsent::TooLarge { .. }) => Ok(()),
        }
    }
}

/// Drops the news that the caller is gone: the look at the ring finds the end, after the last requests.
fn unless_gone(outcome: Result<(), Halt>) -> Result<(), Halt> {
    match outcome {
        Err(Halt::Closed | Halt::PeerDead) => Ok(()),
        outcome => outcome,
    }
}

/// Serves the current frame of the forward ring by `serve`, and releases the frame.
#[inline]
pub(crate) fn serve_current<R, E: From<Halt>>(
    rx: &mut Rx,
    tx: &mut Tx,
    handle: impl FnOnce(&Rx, &mut Tx, &Frame, Deadline) -> Result<R, E>,
) -> Result<R, E> {
    let deadline = open_current(rx)?;
    let outcome = handle(rx, tx, &rx.current, deadline);
    rx.release_current();
    outcome
}

/// The message that [`take_one`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakenOne {
    /// A call.
    Call,
    /// A control request.
    Control,
    /// A request that opens a stream.
    Open,
}

/// Waits for one request and takes it as the current frame, for a callee that has one caller. The caller of this
/// function releases the frame.
#[inline]
pub(crate) fn take_one(rx: &mut Rx, tx: &mut Tx, deadline: Deadline) -> Result<TakenOne, Halt> {
    // A caller may be waiting for a reply that an interrupted wait left behind, and would send nothing more until then.
    if tx.has_deferred() {
        tx.flush_deferred()?;
    }
    loop {
        rx.take_current(deadline)?;
        if is_plain(&rx.current) {
            return Ok(TakenOne::Call);
        }
        if let Some(taken) = take_other(rx, deadline)? {
            return Ok(taken);
        }
    }
}

/// Opens a current frame that is no call without metadata. `None` after a message of a stream that has ended.
#[cold]
fn take_other(rx: &mut Rx, deadline: Deadline) -> Result<Option<TakenOne>, Halt> {
    open_metadata(rx);
    if is_open(&rx.current) {
        return Ok(Some(TakenOne::Open));
    }
    if !is_stream_message(&rx.current) {
        return Ok(Some(if is_control(&rx.current) { TakenOne::Control } else { TakenOne::Call }));
    }
    open_current(rx)?;
    rx.release_current();
    rx.check_deadline(deadline)?;
    Ok(None)
}
