//! Services whose handlers run on the serving thread.

use core::convert::Infallible;

use super::slow::SlowEndpoints;
use crate::connection::{Halt, Rx, Tx};
use crate::dispatch::{Outcome, RequestContext, Responder, StateRef};
use crate::engine::{CallerInfo, CancelReason, ErrorKind, Handled, OpenRequest, Service};
use crate::stats::WorkerCounters;
use crate::wait::monotonic_nanos;

/// Runs handlers on the serving thread.
pub(crate) struct Blocking<'a, S: ?Sized> {
    pub(crate) responder: &'a Responder<S>,
    pub(crate) state: StateRef<'a, S>,
    pub(crate) counters: Option<WorkerCounters<'a>>,
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
        self.responder.report(self.responder.answer(self.state.reborrow(), &context, rx, tx, frame, *deadline))
    }
}

impl<S: ?Sized> Service for Blocking<'_, S> {
    type Begun = Infallible;

    fn admit(&self, _: u32, _: usize) -> bool {
        true
    }

    fn handle(
        &mut self,
        caller: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        request: &OpenRequest,
    ) -> Result<Handled<Infallible>, Halt> {
        self.answer(caller, rx, tx, request).map(|()| Handled::Replied)
    }

    fn cancel(&mut self, call: Infallible, _: CancelReason) {
        match call {}
    }
}

/// As [`Blocking`], for one of several workers, which record slow endpoints.
pub(super) struct SharedBlocking<'a, S: ?Sized> {
    pub(super) blocking: Blocking<'a, S>,
    pub(super) slow: &'a SlowEndpoints,
}

impl<S: ?Sized> Service for SharedBlocking<'_, S> {
    type Begun = Infallible;

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
    ) -> Result<Handled<Infallible>, Halt> {
        let began = monotonic_nanos();
        let outcome = self.blocking.answer(caller, rx, tx, request);
        self.slow.note(request.frame.type_id, monotonic_nanos().saturating_sub(began));
        outcome.map(|()| Handled::Replied)
    }

    fn cancel(&mut self, call: Infallible, _: CancelReason) {
        match call {}
    }
}

/// The outcome of a cancelled call for layers and statistics.
pub(super) fn outcome_of(why: CancelReason) -> Outcome {
    match why {
        CancelReason::CallerGone => Outcome::CallerGone,
        CancelReason::Caller | CancelReason::Stop => Outcome::Failed(ErrorKind::Cancelled),
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

    fn cancel(&mut self, call: Infallible, _: CancelReason) {
        match call {}
    }
}
