//! Services whose calls run on the serving thread.

use core::convert::Infallible;
use std::sync::Arc;

use super::slow::SlowEndpoints;
use crate::connection::{Halt, Rx, Tx};
use crate::dispatch::{
    Deferring, Detached, Outcome, RequestContext, Responder, Runs, ServedStream, SharedState, StateRef, StreamThreads,
    place,
};
use crate::engine::{
    CallerInfo, CancelReason, ErrorKind, Handled, OpenRequest, Service, StreamBody, StreamStep, is_open,
};
use crate::stats::WorkerCounters;
use crate::wait::monotonic_nanos;

/// A call that has begun, by the driver's handle `T`, or an open stream.
#[derive(Debug)]
pub(crate) enum Begun<T> {
    Call(T),
    Stream(Box<ServedStream>),
}

impl<T> Begun<T> {
    /// The stream.
    #[allow(clippy::unnecessary_box_returns, reason = "as the engine keeps it")]
    pub(crate) fn stream(self) -> Box<ServedStream> {
        match self {
            Self::Stream(stream) => stream,
            Self::Call(_) => unreachable!("the engine keeps streams apart from calls"),
        }
    }

    fn stream_mut(&mut self) -> &mut Box<ServedStream> {
        match self {
            Self::Stream(stream) => stream,
            Self::Call(_) => unreachable!("the engine keeps streams apart from calls"),
        }
    }
}

impl<T> StreamBody for Begun<T> {
    fn takes_items(&self) -> bool {
        matches!(self, Self::Stream(stream) if stream.takes_items())
    }

    fn step(&mut self, tx: &mut Tx, may_send: bool) -> StreamStep {
        self.stream_mut().step(tx, may_send)
    }

    fn take_item(&mut self, item: &[u8]) {
        self.stream_mut().take_item(item);
    }

    fn end_items(&mut self) {
        self.stream_mut().end_items();
    }

    fn taken(&self) -> u64 {
        match self {
            Self::Stream(stream) => stream.taken(),
            Self::Call(_) => 0,
        }
    }

    fn has_changed(&self, is_blocked: bool) -> bool {
        matches!(self, Self::Stream(stream) if stream.has_changed(is_blocked))
    }
}

/// Runs handlers on the serving thread.
pub(crate) struct Blocking<'a, S: ?Sized> {
    pub(crate) responder: &'a Responder<S>,
    pub(crate) state: StateRef<'a, S>,
    pub(crate) counters: Option<WorkerCounters<'a>>,
    /// The state for handlers that run elsewhere, if one of them takes it.
    pub(crate) shared: Option<&'a SharedState<S>>,
    pub(crate) threads: &'a Arc<StreamThreads>,
}

impl<S: ?Sized> Blocking<'_, S> {
    pub(crate) fn answer(
        &mut self,
        caller: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        request: &OpenRequest,
    ) -> Result<(), Halt> {
        let context = RequestContext { caller: Some(caller), counters: self.counters };
        let OpenRequest { frame, deadline } = request;
        self.responder.report(self.responder.answer::<{ place::SERVER }>(
            self.state.reborrow(),
            &context,
            rx,
            tx,
            frame,
            *deadline,
        ))
    }
}

impl<S: ?Sized> Blocking<'_, S> {
    /// Opens a stream, or refuses the request.
    #[cold]
    pub(crate) fn open<T>(
        &mut self,
        caller: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        request: &OpenRequest,
        spawn: Option<&mut dyn FnMut(Detached)>,
    ) -> Result<Handled<Begun<T>>, Halt> {
        let Self { responder, state, counters, shared, threads } = self;
        let spawn = spawn.map(|spawn| spawn as &mut dyn FnMut(Detached));
        let mut runs = Runs { shared: *shared, threads, spawn };
        match responder.open_stream(state.reborrow(), (caller, *counters), (rx, tx), request, &mut runs) {
            Deferring::Begun(stream) => Ok(Handled::Stream(Begun::Stream(Box::new(stream)))),
            Deferring::Answered(outcome) => responder.report(outcome).map(|()| Handled::Replied),
            Deferring::Declined => Ok(Handled::Replied),
        }
    }

    /// Sends the last message of a stream.
    #[allow(clippy::boxed_local, reason = "as the engine keeps it")]
    pub(crate) fn end_stream(&self, tx: &mut Tx, stream: Box<ServedStream>) -> Result<(), Halt> {
        self.responder.report(self.responder.end_stream(self.counters, tx, *stream))
    }

    /// Drops the handler of a stream.
    pub(crate) fn cancel_stream(&self, stream: &ServedStream, why: CancelReason) {
        stream.deferred().cancel();
        self.responder.record_deferred(self.counters, stream.deferred(), outcome_of(why));
    }
}

impl<S: ?Sized> Service for Blocking<'_, S> {
    type Begun = Begun<Infallible>;

    fn admit(&self, _: u32, _: usize) -> bool {
        true
    }

    fn handle(
        &mut self,
        caller: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        request: &OpenRequest,
    ) -> Result<Handled<Self::Begun>, Halt> {
        if is_open(&request.frame) {
            return self.open(caller, rx, tx, request, None);
        }
        self.answer(caller, rx, tx, request).map(|()| Handled::Replied)
    }

    fn end(&mut self, tx: &mut Tx, stream: Self::Begun) -> Result<(), Halt> {
        self.end_stream(tx, stream.stream())
    }

    fn cancel(&mut self, call: Self::Begun, why: CancelReason) {
        match call {
            Begun::Call(never) => match never {},
            Begun::Stream(stream) => self.cancel_stream(&stream, why),
        }
    }
}

/// As [`Blocking`], for one of several workers, which record slow endpoints.
pub(super) struct SharedBlocking<'a, S: ?Sized> {
    pub(super) blocking: Blocking<'a, S>,
    pub(super) slow: &'a SlowEndpoints,
}

impl<S: ?Sized> Service for SharedBlocking<'_, S> {
    type Begun = Begun<Infallible>;

    const POSTPONES: bool = true;

    fn is_slow(&self, type_id: u32) -> bool {
        self.slow.is_slow(type_id)
    }

    fn admit(&self, _: u32, _: usize) -> bool {
        true
    }

    fn handle(
        &mut self,
        caller: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        request: &OpenRequest,
    ) -> Result<Handled<Self::Begun>, Halt> {
        let began = monotonic_nanos();
        let outcome = self.blocking.handle(caller, rx, tx, request);
        self.slow.note(request.frame.type_id, monotonic_nanos().saturating_sub(began));
        outcome
    }

    fn end(&mut self, tx: &mut Tx, stream: Self::Begun) -> Result<(), Halt> {
        self.blocking.end(tx, stream)
    }

    fn cancel(&mut self, call: Self::Begun, why: CancelReason) {
        self.blocking.cancel(call, why);
    }
}

/// The outcome of a cancelled call for layers and statistics.
pub(super) fn outcome_of(why: CancelReason) -> Outcome {
    match why {
        CancelReason::CallerGone => Outcome::CallerGone,
        CancelReason::Caller | CancelReason::Stop => Outcome::Failed(ErrorKind::Cancelled),
        CancelReason::Deadline => Outcome::Failed(ErrorKind::DeadlinePassed),
    }
}

/// Admits no request: the service of a stopped server.
pub(super) struct NoService;

impl Service for NoService {
    type Begun = Infallible;

    fn admit(&self, _: u32, _: usize) -> bool {
        false
    }

    fn handle(&mut self, _: &CallerInfo, _: &Rx, _: &mut Tx, _: &OpenRequest) -> Result<Handled<Infallible>, Halt> {
        Ok(Handled::Replied)
    }

    fn end(&mut self, _: &mut Tx, stream: Infallible) -> Result<(), Halt> {
        match stream {}
    }

    fn cancel(&mut self, call: Infallible, _: CancelReason) {
        match call {}
    }
}
