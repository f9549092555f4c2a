//! Where requests are answered: all of a dispatcher but its state, which is lent for each request.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use super::control;
use super::handler::{HandlerError, Replied, Reply, Request, Who};
use super::layer::Layers;
use super::table::{Registered, Table};
use super::watched::Origin;
use crate::bus::{Incoming, Outgoing};
use crate::error::{HandlerFailure, ServeError};
use crate::rpc::{ErrorKind, OpenRequest, is_control, send_error};
use crate::slice;
use crate::type_id::{msg_type, route_id};

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
    /// The state to look at.
    #[inline]
    pub(super) fn look(self) -> &'a S {
        match self {
            Self::Shared(state) => state,
            Self::Exclusive(state) => state,
        }
    }
}

/// A dispatcher without its state.
pub(crate) struct Desk<S: ?Sized> {
    pub(super) table: Table<S>,
    pub(super) layers: Layers,
    pub(super) send_text: bool,
    pub(super) on_failure: Option<FailureHook>,
    /// The description of the whole table, once somebody has asked for it. Emptied when the table grows.
    pub(super) described: OnceLock<String>,
}

impl<S: ?Sized> Desk<S> {
    pub(super) fn new(table: Table<S>) -> Self {
        Self { table, layers: Layers::new(), send_text: false, on_failure: None, described: OnceLock::new() }
    }

    /// Tells of a request that was answered with an error.
    pub(crate) fn tell_failure(&self, failure: &ServeError) {
        if let Some(hook) = &self.on_failure {
            hook(failure);
        }
    }

    /// Runs the endpoint of one request, or answers it with an error. A reply that nobody is left to take is dropped: what
    /// the caller sent before its end is served all the same, and the end is for the next look at the ring to find.
    #[inline]
    pub(crate) fn answer(
        &self,
        state: Lent<'_, S>,
        origin: &Origin<'_>,
        incoming: &Incoming,
        outgoing: &mut Outgoing,
        request: &OpenRequest,
    ) -> Result<(), ServeError> {
        let outcome = if self.layers.is_empty() && origin.bank.is_none() {
            self.answer_plainly(state, self.find(request.frame.type_id), origin, incoming, outgoing, request).map(drop)
        } else {
            self.answer_watched(state, origin, incoming, outgoing, request)
        };
        outcome.or_else(unless_caller_is_gone)
    }

    /// The endpoint that a request is for.
    #[inline]
    pub(super) fn find(&self, type_id: u32) -> Option<&Registered<S>> {
        if route_id(type_id) == 0 { self.table.get(msg_type(type_id)) } else { None }
    }

    /// Gives the size of the reply; `None` for a request that came too late.
    #[inline]
    pub(super) fn answer_plainly(
        &self,
        state: Lent<'_, S>,
        registered: Option<&Registered<S>>,
        origin: &Origin<'_>,
        incoming: &Incoming,
        outgoing: &mut Outgoing,
        request: &OpenRequest,
    ) -> Result<Option<usize>, ServeError> {
        let OpenRequest { frame, deadline } = request;
        let msg_type = msg_type(frame.type_id);
        let correlation_id = frame.correlation_id;
        let Some(registered) = registered else {
            if is_control(frame) {
                control::answer(self, incoming, outgoing, frame)?;
                return Ok(Some(0));
            }
            let text = if self.send_text { "no endpoint is registered for this msg_type" } else { "" };
            send_error(outgoing, correlation_id, msg_type, ErrorKind::NoHandler, text)?;
            return Err(ServeError::NoHandler { msg_type });
        };
        if deadline.has_passed() {
            let text = if self.send_text { "the deadline had passed before the request's turn came" } else { "" };
            send_error(outgoing, correlation_id, msg_type, ErrorKind::DeadlinePassed, text)?;
            return Ok(None);
        }
        let request = Request {
            payload: slice::payload(frame, incoming),
            msg_type,
            correlation_id,
            deadline: *deadline,
            who: origin.caller.map_or(Who::Only(&incoming.connection.peer), Who::Known),
        };
        self.run(registered, outgoing, msg_type, correlation_id, |reply| registered.run(state, request, reply))
            .map(Some)
    }

    /// Has an endpoint's `handler` answer, or answers with the error it ends in. Gives the size of the reply.
    #[inline]
    pub(super) fn run(
        &self,
        registered: &Registered<S>,
        outgoing: &mut Outgoing,
        msg_type: u16,
        correlation_id: u64,
        handler: impl FnOnce(Reply<'_>) -> Result<Replied, HandlerError>,
    ) -> Result<usize, ServeError> {
        let answered = outgoing.accepted();
        let reply = Reply::over(outgoing, msg_type, correlation_id);
        // Whatever a handler leaves half done is its own state's affair, as with a handler that returns an error; the
        // ring's state does not pass through it.
        let outcome = catch_unwind(AssertUnwindSafe(|| handler(reply)));
        let answered = outgoing.accepted() != answered;
        let error = match outcome {
            Ok(Ok(replied)) if answered => return Ok(replied.size),
            Ok(Ok(_)) => HandlerError::failed("returned the proof of another request's answer"),
            Ok(Err(error)) => error,
            Err(panic) => HandlerError::panicked(&*panic),
        };
        let name = registered.name();
        Err(fail(outgoing, name, self.send_text, (!answered).then_some(correlation_id), msg_type, error))
    }
}

/// Takes a reply without a taker for sent.
#[cold]
fn unless_caller_is_gone(error: ServeError) -> Result<(), ServeError> {
    if matches!(error, ServeError::Closed | ServeError::PeerDead) { Ok(()) } else { Err(error) }
}

/// Makes a failure's report and, unless it has been answered, tells the caller.
#[cold]
fn fail(
    outgoing: &mut Outgoing,
    name: &str,
    send_text: bool,
    unanswered: Option<u64>,
    msg_type: u16,
    error: HandlerError,
) -> ServeError {
    if let Some(halt) = error.halt {
        return halt.into();
    }
    if let Some(correlation_id) = unanswered {
        let text = if send_text { error.text.as_str() } else { "" };
        if let Err(unsent) = send_error(outgoing, correlation_id, msg_type, error.kind, text) {
            return unsent.into();
        }
    }
    ServeError::Handler(HandlerFailure { name: name.to_owned(), msg_type, kind: error.kind, text: error.text })
}
