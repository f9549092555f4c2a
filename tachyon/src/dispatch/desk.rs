//! Where requests are answered: all of a dispatcher but its state, which is lent for each request.

use std::sync::OnceLock;

use super::control;
use super::handler::{Asked, Due, Failure, HandlerError, Replied, Reply, Request};
use super::layer::Layers;
use super::table::{Registered, Table};
use super::watched::Origin;
use crate::connection::Halt;
use crate::connection::slice;
use crate::connection::{Rx, Tx};
use crate::engine::{ErrorBody, ErrorKind, Watch, is_control, send_error};
use crate::foreign::{self, Panicked};
use crate::ring::Frame;
use crate::rpc::{HandlerFailure, ServeError};
use crate::type_id::{msg_type, route_id};
use crate::wait::Deadline;

/// What [`Dispatcher::on_failure`](crate::Dispatcher::on_failure) sets.
pub(super) type FailureHook = Box<dyn Fn(&ServeError) + Send + Sync>;

/// The state, as far as a request may have it.
#[derive(Debug)]
pub(crate) enum Lent<'a, S: ?Sized> {
    /// Others have it too.
    Shared(&'a S),
    /// Nobody else has it meanwhile.
    Exclusive(&'a mut S),
}

impl<'a, S: ?Sized> Lent<'a, S> {
    /// The same for a shorter time.
    #[inline]
    pub(crate) fn again(&mut self) -> Lent<'_, S> {
        match self {
            Self::Shared(state) => Lent::Shared(state),
            Self::Exclusive(state) => Lent::Exclusive(state),
        }
    }

    /// The state to look at.
    #[inline]
    pub(super) fn look(self) -> &'a S {
        match self {
            Self::Shared(state) => state,
            Self::Exclusive(state) => state,
        }
    }
}

/// What came of a request. The error is boxed: it is rare and large, and what is nearly always returned fits a register.
pub(crate) type Answered = Result<(), Box<ServeError>>;

/// In the place of a reply's size: the request came too late to be handled. No ring holds so many bytes.
pub(super) const LATE: usize = usize::MAX;

/// A dispatcher without its state.
pub(crate) struct Desk<S: ?Sized> {
    pub(super) table: Table<S>,
    pub(super) layers: Layers,
    pub(super) hide_text: bool,
    pub(super) on_failure: Option<FailureHook>,
    /// The description of the whole table, once somebody has asked for it. Emptied when the table grows.
    pub(super) described: OnceLock<String>,
}

impl<S: ?Sized> Desk<S> {
    pub(super) fn new(table: Table<S>) -> Self {
        Self { table, layers: Layers::new(), hide_text: false, on_failure: None, described: OnceLock::new() }
    }

    /// Tells of a request that was answered with an error.
    pub(crate) fn tell_failure(&self, failure: &ServeError) {
        if let Some(hook) = &self.on_failure {
            // A hook that panics has been reported by the panic hook.
            drop(foreign::run(|| hook(failure)));
        }
    }

    /// Reports a request that was answered with an error.
    ///
    /// # Errors
    /// The connection has ended.
    #[inline]
    pub(crate) fn report(&self, answered: Answered) -> Result<(), Halt> {
        let Err(error) = answered else { return Ok(()) };
        match *error {
            failure @ (ServeError::NoHandler { .. } | ServeError::Handler(_)) => {
                self.tell_failure(&failure);
                Ok(())
            }
            end => Err(end.into_halt()),
        }
    }

    /// Runs the endpoint of one request, or answers it with an error. A reply that nobody is left to take is dropped: what
    /// the caller sent before its end is served all the same, and the end is for the next look at the ring to find.
    #[inline]
    #[allow(clippy::too_many_arguments, reason = "as for `answer_plainly`")]
    pub(crate) fn answer(
        &self,
        state: Lent<'_, S>,
        origin: &Origin<'_>,
        rx: &Rx,
        tx: &mut Tx,
        frame: &Frame,
        deadline: Deadline,
    ) -> Answered {
        let outcome = if self.layers.is_empty() && origin.bank.is_none() {
            self.answer_plainly(state, self.find(frame.type_id), origin, rx, tx, frame, deadline)
        } else {
            self.answer_watched(state, origin, rx, tx, frame, deadline)
        };
        match outcome {
            Ok(_) => Ok(()),
            Err(error) => unless_answered(error),
        }
    }

    /// The endpoint that a request is for.
    #[inline]
    pub(super) fn find(&self, type_id: u32) -> Option<&Registered<S>> {
        if route_id(type_id) == 0 { self.table.get(msg_type(type_id)) } else { None }
    }

    /// Gives the size of the reply; [`LATE`] for a request that came too late.
    #[inline]
    #[allow(clippy::too_many_arguments, reason = "a struct of them would be written to memory and read again")]
    pub(super) fn answer_plainly(
        &self,
        state: Lent<'_, S>,
        registered: Option<&Registered<S>>,
        origin: &Origin<'_>,
        rx: &Rx,
        tx: &mut Tx,
        frame: &Frame,
        deadline: Deadline,
    ) -> Result<usize, Box<ServeError>> {
        let due = Due { msg_type: msg_type(frame.type_id), correlation_id: frame.correlation_id };
        let Some(registered) = registered else { return self.answer_nobodys(rx, tx, frame, due) };
        if deadline.has_passed() {
            return Self::answer_past_deadline(tx, due);
        }
        let watch = Some(Watch(&rx.connection));
        let asked = Asked { payload: slice::payload(frame, rx), due, deadline, caller: origin.caller, watch };
        self.run(registered, tx, &asked.due, |reply| registered.run(state, Request::new(&asked), reply))
    }

    /// Answers a request that no endpoint is for: a control request, or one that goes wrong.
    #[cold]
    fn answer_nobodys(
        &self,
        rx: &Rx,
        tx: &mut Tx,
        frame: &Frame,
        Due { msg_type, correlation_id }: Due,
    ) -> Result<usize, Box<ServeError>> {
        if is_control(frame) {
            control::answer(self, rx, tx, frame).map_err(ServeError::from)?;
            return Ok(0);
        }
        let nothing = ErrorBody::default();
        send_error(tx, correlation_id, msg_type, ErrorKind::NoHandler, nothing).map_err(ServeError::from)?;
        Err(Box::new(ServeError::NoHandler { msg_type }))
    }

    #[cold]
    fn answer_past_deadline(tx: &mut Tx, due: Due) -> Result<usize, Box<ServeError>> {
        let Due { msg_type, correlation_id } = due;
        let nothing = ErrorBody::default();
        send_error(tx, correlation_id, msg_type, ErrorKind::DeadlinePassed, nothing).map_err(ServeError::from)?;
        Ok(LATE)
    }

    /// Has an endpoint's `handler` answer, or answers with the error it ends in. Gives the size of the reply.
    #[inline]
    pub(super) fn run(
        &self,
        registered: &Registered<S>,
        tx: &mut Tx,
        due: &Due,
        handler: impl FnOnce(Reply<'_>) -> Result<Replied, HandlerError>,
    ) -> Result<usize, Box<ServeError>> {
        let accepted = tx.accepted();
        let reply = Reply::over(tx, due);
        let outcome = foreign::run(|| handler(reply));
        let answered = tx.accepted() != accepted;
        match outcome {
            Ok(Ok(replied)) if answered => Ok(replied.size),
            outcome => Err(self.fail(registered, tx, due, answered, outcome)),
        }
    }

    /// Makes a failure's report and, unless it has been answered, tells the caller.
    #[cold]
    #[allow(clippy::unnecessary_box_returns, reason = "boxed where it is made, off the short way")]
    fn fail(
        &self,
        registered: &Registered<S>,
        tx: &mut Tx,
        &Due { msg_type, correlation_id }: &Due,
        answered: bool,
        outcome: Result<Result<Replied, HandlerError>, Panicked>,
    ) -> Box<ServeError> {
        let error = match outcome {
            Ok(Ok(_)) => HandlerError::failed("returned the proof of another request's answer"),
            Ok(Err(error)) => error,
            Err(panicked) => HandlerError::failed(panicked),
        };
        let mut failure = error.into_failure();
        if let Some(halt) = failure.halt.take() {
            return Box::new(halt.into());
        }
        let Failure { kind, .. } = failure;
        if !answered {
            let mut body = failure.body();
            // A declared error's name is part of the contract; a raw endpoint's error reply is two bytes.
            if self.hide_text || registered.is_raw() && body.name.is_empty() {
                body.text = "";
            }
            if let Err(unsent) = send_error(tx, correlation_id, msg_type, kind, body) {
                return Box::new(unsent.into());
            }
        }
        let name = registered.name().to_owned();
        let Failure { text, declared, .. } = failure;
        let declared = declared.map(|(name, _)| name);
        Box::new(ServeError::Handler(HandlerFailure { name, msg_type, kind, text, declared }))
    }
}

/// Takes a reply without a taker for sent, and an error that is an answer for one.
#[cold]
fn unless_answered(error: Box<ServeError>) -> Answered {
    match &*error {
        ServeError::Closed | ServeError::PeerDead => Ok(()),
        ServeError::Handler(failure) if failure.is_answer() => Ok(()),
        _ => Err(error),
    }
}
