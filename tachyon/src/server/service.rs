//! What answers the requests of a server's callers when every handler answers at once.

use core::convert::Infallible;

use super::slow::SlowEndpoints;
use crate::connection::Halt;
use crate::connection::{Rx, Tx};
use crate::dispatch::{Desk, Lent, Origin, Outcome};
use crate::engine::{CallerInfo, ErrorKind, Handled, OpenRequest, Service, Why};
use crate::stats::Bank;
use crate::wait::monotonic_nanos;

/// The handlers of a table, run where they are served.
pub(super) struct Blocking<'a, S: ?Sized> {
    pub(super) desk: &'a Desk<S>,
    pub(super) state: Lent<'a, S>,
    pub(super) bank: Option<Bank<'a>>,
}

impl<S: ?Sized> Blocking<'_, S> {
    /// Answers a request.
    pub(super) fn answer(
        &mut self,
        caller: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        request: &OpenRequest,
    ) -> Result<(), Halt> {
        let origin = Origin { caller: Some(caller), bank: self.bank };
        let OpenRequest { frame, deadline } = request;
        self.desk.report(self.desk.answer(self.state.again(), &origin, rx, tx, frame, *deadline))
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

    fn cancel(&mut self, call: Infallible, _: Why) {
        match call {}
    }
}

/// The same for one of several workers, which learn what endpoints are slow.
pub(super) struct Sharing<'a, S: ?Sized> {
    pub(super) blocking: Blocking<'a, S>,
    pub(super) slow: &'a SlowEndpoints,
}

impl<S: ?Sized> Service for Sharing<'_, S> {
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

    fn cancel(&mut self, call: Infallible, _: Why) {
        match call {}
    }
}

/// How layers and statistics see a cancelled call.
pub(super) fn outcome_of(why: Why) -> Outcome {
    match why {
        Why::CallerGone => Outcome::CallerGone,
        Why::Caller | Why::Stop => Outcome::Failed(ErrorKind::Cancelled),
    }
}

/// Begins nothing: what is left when a server has stopped.
pub(super) struct Nothing;

impl Service for Nothing {
    type Begun = Infallible;

    fn admit(&self, _: u32, _: usize) -> bool {
        false
    }

    fn handle(&mut self, _: &CallerInfo, _: &Rx, _: &mut Tx, _: &OpenRequest) -> Result<Handled<Infallible>, Halt> {
        Ok(Handled::Replied)
    }

    fn cancel(&mut self, call: Infallible, _: Why) {
        match call {}
    }
}
