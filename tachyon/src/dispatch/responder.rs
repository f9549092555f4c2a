//! The responder: finds the endpoint of a request, runs its handler, and sends the reply or an error reply.
//!
//! A request without layers and counters takes the fast path, [`Responder::handle`]. With either it goes through
//! [`Responder::handle_observed`], which measures and reports around `handle`.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::deferred::Deferred;
use super::error::{Failure, HandlerError};
use super::layer::{self, Context, Layers, Origin, Outcome, Refused};
use super::pipe::Pipe;
#[cfg(feature = "tokio")]
use super::reply::AsyncReply;
use super::reply::{HandlerResult, Replied, Reply, ReplyTarget};
use super::request::{Request, RequestParts};
use super::state::{SharedState, StateRef};
use super::stream::ServedStream;
use super::table::{NO_ORDINAL, Registered, StreamPlace, Table};
#[cfg(feature = "tokio")]
use super::task::HandlerFuture;
use super::threads::{Detached, STREAM_THREADS, StreamThreads};
use crate::connection::{Halt, Rx, Tx, Unsent, slice};
use crate::engine::{
    BAD_METADATA, CallerInfo, ErrorBody, ErrorKind, OpenRequest, has_metadata, is_cancel, is_control, send_error,
};
use crate::foreign::{self, Panicked};
#[cfg(feature = "python")]
use crate::metadata::Metadata;
use crate::ring::{Frame, MessageHeader};
use crate::rpc::{HandlerFailure, ServeError, control_reply, refusal};
use crate::schema::describe::{CalleeLimits, Operation, Query, WHOLE_TABLE, chunk};
use crate::stats::{CallOutcome, EndpointCounters, WorkerCounters};
#[cfg(feature = "tokio")]
use crate::type_id::ROUTE_CONTROL;
use crate::type_id::{msg_type, route_id};
use crate::wait::{Deadline, monotonic_nanos};

/// The hook that [`Dispatcher::on_failure`](crate::Dispatcher::on_failure) sets.
pub(super) type FailureHook = Box<dyn Fn(&ServeError) + Send + Sync>;

/// Caller and counters of a request, for layers and statistics.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestContext<'a> {
    /// The caller, of a server.
    pub(crate) caller: Option<&'a CallerInfo>,
    /// The counters of the serving worker.
    pub(crate) counters: Option<WorkerCounters<'a>>,
}

/// In place of a reply's size: the deadline passed before the request's turn. No ring holds so many bytes.
const DEADLINE_PASSED: usize = usize::MAX;

/// The places that answer requests, as constants for [`Responder::answer`]. Each has a guard of its own around its
/// handlers: a guard that two places share is a function, and each call gets slower by some 25 instructions.
pub(crate) mod place {
    /// A callee that waits for a request.
    pub(crate) const LONE: u8 = 0;
    /// A callee whose request was taken already.
    pub(crate) const TAKEN: u8 = 1;
    /// A callee with open streams.
    pub(crate) const BESIDE_STREAMS: u8 = 2;
    /// A server.
    pub(crate) const SERVER: u8 = 3;
    /// Layers and counters.
    pub(super) const OBSERVED: u8 = 4;
}

/// A dispatcher without its state.
pub(crate) struct Responder<S: ?Sized> {
    pub(super) table: Table<S>,
    pub(super) layers: Layers,
    pub(super) hide_text: bool,
    pub(super) on_failure: Option<FailureHook>,
    /// The threads of stream handlers, where no server has its own.
    pub(super) threads: Arc<StreamThreads>,
    /// The description of the whole table as JSON, and its version, once a peer has asked for it. Emptied when the
    /// table grows.
    pub(super) description: OnceLock<(String, u64)>,
}

impl<S: ?Sized> Responder<S> {
    pub(super) fn new(table: Table<S>) -> Self {
        Self {
            table,
            layers: Layers::new(),
            hide_text: false,
            on_failure: None,
            threads: StreamThreads::new(STREAM_THREADS),
            description: OnceLock::new(),
        }
    }

    /// Reports a request that ended in an error reply to the failure hook.
    pub(crate) fn report_failure(&self, failure: &ServeError) {
        if let Some(hook) = &self.on_failure {
            // The panic hook has reported a panic of this hook.
            drop(foreign::run(|| hook(failure)));
        }
    }

    /// Reports the outcome of a request to the failure hook.
    ///
    /// # Errors
    /// The connection has ended.
    #[inline]
    pub(crate) fn report(&self, outcome: Result<(), Box<ServeError>>) -> Result<(), Halt> {
        let Err(error) = outcome else { return Ok(()) };
        match *error {
            failure @ (ServeError::NoHandler { .. } | ServeError::Handler(_)) => {
                self.report_failure(&failure);
                Ok(())
            }
            end => Err(end.into_halt()),
        }
    }

    /// Answers a request: runs its handler, or sends an error reply. A reply whose caller has closed or died is dropped
    /// without an error: requests that the caller sent before its end are served, and the next look at the ring finds
    /// the end.
    ///
    /// The error is boxed, so that the usual result fits a register.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "each place that answers has its own copy: one of them is the fast path")]
    #[allow(clippy::too_many_arguments, reason = "as for `handle`")]
    pub(crate) fn answer<const PLACE: u8>(
        &self,
        state: StateRef<'_, S>,
        context: &RequestContext<'_>,
        rx: &Rx,
        tx: &mut Tx,
        frame: &Frame,
        deadline: Deadline,
    ) -> Result<(), Box<ServeError>> {
        let outcome = if self.layers.is_empty() && context.counters.is_none() {
            self.handle::<PLACE>(state, self.find(frame.type_id), context, rx, tx, frame, deadline)
        } else {
            self.handle_observed(state, context, rx, tx, frame, deadline)
        };
        match outcome {
            Ok(_) => Ok(()),
            Err(error) => unless_answered(error),
        }
    }

    #[inline]
    fn find(&self, type_id: u32) -> Option<&Registered<S>> {
        if route_id(type_id) == 0 { self.table.of_call(msg_type(type_id)) } else { None }
    }

    /// Returns the size of the reply, or [`DEADLINE_PASSED`].
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as for `answer`")]
    #[allow(clippy::too_many_arguments, reason = "a struct of them would be written to memory and read again")]
    fn handle<const PLACE: u8>(
        &self,
        state: StateRef<'_, S>,
        registered: Option<&Registered<S>>,
        context: &RequestContext<'_>,
        rx: &Rx,
        tx: &mut Tx,
        frame: &Frame,
        deadline: Deadline,
    ) -> Result<usize, Box<ServeError>> {
        let target = ReplyTarget { type_id: frame.type_id, correlation_id: frame.correlation_id };
        let Some(registered) = registered else { return self.handle_without_endpoint(rx, tx, frame, target) };
        if deadline.has_passed() {
            return Self::refuse_expired(tx, target);
        }
        let parts = request_parts(rx, frame, target, deadline, context.caller);
        self.run(registered, tx, &parts.target, |reply| registered.run(state, Request::new(&parts), reply))
    }

    /// As [`handle`](Self::handle), with layers and counters.
    #[inline(never)]
    #[allow(clippy::too_many_arguments, reason = "as for `handle`")]
    fn handle_observed(
        &self,
        state: StateRef<'_, S>,
        context: &RequestContext<'_>,
        rx: &Rx,
        tx: &mut Tx,
        frame: &Frame,
        deadline: Deadline,
    ) -> Result<usize, Box<ServeError>> {
        if is_control(frame) {
            self.answer_control(rx, tx, frame).map_err(ServeError::from)?;
            return Ok(0);
        }
        let msg_type = msg_type(frame.type_id);
        let registered = self.find(frame.type_id);
        let call = (!self.layers.is_empty()).then(|| {
            let caller = context.caller.copied();
            Context {
                msg_type,
                name: registered.map_or("", Registered::name),
                caller: caller.unwrap_or_else(|| CallerInfo::new(1, &rx.connection.peer)),
                correlation_id: frame.correlation_id,
                request_size: frame.len,
                is_concurrent: false,
                deadline,
                origin: Origin::Ring(rx),
            }
        });
        let refusal = call.as_ref().and_then(|call| layer::before(&self.layers, call).err());
        let passed = refusal.as_ref().map_or(self.layers.len(), |refusal| refusal.passed);
        let counters =
            context.counters.map(|counters| counters.endpoint(registered.map_or(NO_ORDINAL, Registered::ordinal)));
        let measured = call.is_some() || counters.is_some_and(EndpointCounters::measures_next);
        let began = measured.then(monotonic_nanos);
        let result = match refusal {
            None => self.handle::<{ place::OBSERVED }>(state, registered, context, rx, tx, frame, deadline),
            Some(refusal) => {
                let target = ReplyTarget::call(msg_type, frame.correlation_id);
                Err(self.fail(registered, tx, &target, false, Ok(Err(refusal.error))))
            }
        };
        let took = began.map(|began| monotonic_nanos().saturating_sub(began));
        let outcome = match &result {
            Ok(DEADLINE_PASSED) => Outcome::Failed(ErrorKind::DeadlinePassed),
            Ok(size) => Outcome::Replied(*size),
            Err(error) => match &**error {
                ServeError::NoHandler { .. } => Outcome::Failed(ErrorKind::NoHandler),
                ServeError::Handler(failure) => Outcome::Failed(failure.kind),
                _ => Outcome::CallerGone,
            },
        };
        // A handler may have forked. Then the parent counts the call, in the memory that both processes share.
        let forked = matches!(&result, Err(error) if matches!(**error, ServeError::Forked));
        if let Some(counters) = counters
            && !forked
        {
            counters.record(frame.len, took, outcome.into());
        }
        if let (Some(call), Some(took)) = (&call, took) {
            layer::after(&self.layers[..passed], call, &outcome, Duration::from_nanos(took));
        }
        result
    }

    /// Answers a control request, or refuses a request without an endpoint or with malformed metadata.
    #[cold]
    fn handle_without_endpoint(
        &self,
        rx: &Rx,
        tx: &mut Tx,
        frame: &Frame,
        target: ReplyTarget,
    ) -> Result<usize, Box<ServeError>> {
        if is_control(frame) {
            self.answer_control(rx, tx, frame).map_err(ServeError::from)?;
            return Ok(0);
        }
        if has_metadata(frame) {
            let error = HandlerError::new(ErrorKind::BadRequest, BAD_METADATA);
            return Err(self.fail(self.table.get(target.msg_type()), tx, &target, false, Ok(Err(error))));
        }
        let nothing = ErrorBody::default();
        let msg_type = target.msg_type();
        send_error(tx, target.correlation_id, msg_type, ErrorKind::NoHandler, nothing).map_err(ServeError::from)?;
        Err(Box::new(ServeError::NoHandler { msg_type }))
    }

    #[cold]
    fn refuse_expired(tx: &mut Tx, target: ReplyTarget) -> Result<usize, Box<ServeError>> {
        let nothing = ErrorBody::default();
        send_error(tx, target.correlation_id, target.msg_type(), ErrorKind::DeadlinePassed, nothing)
            .map_err(ServeError::from)?;
        Ok(DEADLINE_PASSED)
    }

    /// Answers a control request. Layers and counters do not see it: its sender is a tool, or a health check.
    #[cold]
    fn answer_control(&self, rx: &Rx, tx: &mut Tx, frame: &Frame) -> Result<(), Unsent> {
        if is_cancel(frame) {
            return Ok(());
        }
        let max_len = tx.max_len();
        let (type_id, payload) = match Operation::of(msg_type(frame.type_id)) {
            Some(Operation::Describe) => match self.description_chunk(slice::payload(frame, rx), max_len) {
                Ok(chunk) => (frame.type_id, chunk),
                Err(kind) => refusal(frame, kind, "", max_len),
            },
            Some(Operation::Limits) => {
                let (max_request, version) = (rx.max_len() as u64, self.whole_description().1);
                let limits = CalleeLimits { max_request, max_reply: max_len as u64, version };
                (frame.type_id, limits.encode().to_vec())
            }
            _ => control_reply(frame, max_len),
        };
        tx.send_reply(&payload, MessageHeader::new(type_id, frame.correlation_id))
    }

    /// The chunk of the description that a query asks for. The description of the whole table is cached, since it may
    /// have many chunks.
    fn description_chunk(&self, query: &[u8], max_len: usize) -> Result<Vec<u8>, ErrorKind> {
        let query = Query::decode(query).ok_or(ErrorKind::BadRequest)?;
        let endpoint;
        let json = if query.msg_type == WHOLE_TABLE {
            &self.whole_description().0
        } else {
            endpoint = self.table.describe(query.msg_type).to_json();
            &endpoint
        };
        chunk(json.as_bytes(), query.offset, max_len).ok_or(ErrorKind::ReplyTooLarge)
    }

    fn whole_description(&self) -> &(String, u64) {
        self.description.get_or_init(|| {
            let json = self.table.describe(WHOLE_TABLE).to_json();
            let version = CalleeLimits::version_of(&json);
            (json, version)
        })
    }

    /// Runs `handler`, and sends an error reply if it does not reply. Returns the size of the reply.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as for `answer`")]
    fn run(
        &self,
        registered: &Registered<S>,
        tx: &mut Tx,
        target: &ReplyTarget,
        handler: impl FnOnce(Reply<'_>) -> HandlerResult,
    ) -> Result<usize, Box<ServeError>> {
        let accepted = tx.accepted();
        let reply = Reply::over(tx, target);
        let outcome = foreign::run(|| handler(reply));
        let answered = tx.accepted() != accepted;
        match outcome {
            Ok(Ok(replied)) if answered => Ok(replied.size),
            outcome => Err(self.fail(Some(registered), tx, target, answered, outcome)),
        }
    }

    /// Returns the report of a failure and, without an answer so far, sends the error reply.
    #[cold]
    #[allow(clippy::unnecessary_box_returns, reason = "boxed off the fast path")]
    fn fail(
        &self,
        registered: Option<&Registered<S>>,
        tx: &mut Tx,
        target: &ReplyTarget,
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
        let (kind, msg_type) = (failure.kind, target.msg_type());
        if !answered {
            let mut body = failure.body();
            // A declared error's name is part of the contract. The error reply of a raw endpoint, and of a number
            // without an endpoint, is two bytes.
            if self.hide_text || registered.is_none_or(Registered::is_raw) && body.name.is_empty() {
                body.text = "";
            }
            if let Err(unsent) = send_error(tx, target.correlation_id, msg_type, kind, body) {
                return Box::new(unsent.into());
            }
        }
        let name = registered.map_or("", Registered::name).to_owned();
        let Failure { text, declared, .. } = failure;
        let declared = declared.map(|(name, _)| name);
        Box::new(ServeError::Handler(HandlerFailure { name, msg_type, kind, text, declared }))
    }

    /// Opens a stream: runs its handler, or refuses the request.
    #[cold]
    pub(crate) fn open_stream(
        &self,
        state: StateRef<'_, S>,
        (caller, counters): (&CallerInfo, Option<WorkerCounters<'_>>),
        (rx, tx): (&Rx, &mut Tx),
        request: &OpenRequest,
        runs: &mut Runs<'_, S>,
    ) -> Deferring<ServedStream> {
        let OpenRequest { frame, deadline } = request;
        let target = ReplyTarget::call(msg_type(frame.type_id), frame.correlation_id);
        let Some(registered) = self.table.of_open(target.msg_type()) else {
            return Deferring::Answered(self.handle_without_endpoint(rx, tx, frame, target).map(drop));
        };
        if deadline.has_passed() {
            return Deferring::Answered(Self::refuse_expired(tx, target).map(drop));
        }
        let pipe = match registered.stream_place() {
            Some(StreamPlace::Thread | StreamPlace::Task) => match rx.connection.peer.make_wake() {
                Ok(wake) => Some(Pipe::new(wake, tx.max_len())),
                Err(error) => {
                    return Deferring::Answered(Err(self.refuse(registered, tx, &target, no_descriptor(&error))));
                }
            },
            Some(StreamPlace::Inline) | None => None,
        };
        let deferred = Deferred::new(caller, rx, request, registered.shared_name(), pipe.as_ref());
        if let Err(Refused { passed, error }) = layer::before(&self.layers, &deferred.context()) {
            return Deferring::Answered(self.answer_through(passed, counters, tx, &deferred, &target, |_| Err(error)));
        }
        let parts = request_parts(rx, frame, target, *deadline, Some(caller));
        let request = Request::new(&parts);
        let error = match &pipe {
            None => match foreign::run(|| registered.open(state, request)) {
                Ok(Ok(replies)) => return Deferring::Begun(ServedStream::inline(deferred, replies)),
                Ok(Err(error)) => error,
                Err(panicked) => HandlerError::failed(panicked),
            },
            Some(pipe) => match Self::detach(registered, runs, request, &deferred, pipe) {
                Ok(is_task) => {
                    let has = (registered.takes_items(), registered.streams());
                    return Deferring::Begun(ServedStream::detached(deferred, Arc::clone(pipe), has, is_task));
                }
                Err(error) => error,
            },
        };
        Deferring::Answered(self.answer_deferred(counters, tx, &deferred, |_| Err(error)))
    }

    /// Starts a handler that runs outside of the serving thread. True for a task.
    fn detach(
        registered: &Registered<S>,
        runs: &mut Runs<'_, S>,
        request: Request<'_>,
        deferred: &Deferred,
        pipe: &Arc<Pipe>,
    ) -> Result<bool, HandlerError> {
        let place = match registered.stream_place() {
            Some(StreamPlace::Thread) => Some(runs.threads.take_place().ok_or_else(|| too_many(runs.threads))?),
            _ => None,
        };
        let context = deferred.owned_context();
        let started = foreign::run(|| registered.start(runs.shared, request, context.clone()));
        let future = started.unwrap_or_else(|panicked| Err(HandlerError::failed(panicked)))?;
        #[cfg(feature = "tracing")]
        let future = future.in_span_of(context.clone());
        let handler = Detached::new(future, pipe);
        if let Some(place) = place {
            return place.run(handler).map(|()| false).map_err(|error| no_thread(&error));
        }
        match &mut runs.spawn {
            Some(spawn) => spawn(handler),
            // Unreachable: serving without a runtime refuses the table first.
            None => return Err(HandlerError::failed("is async, and there is no runtime to run it")),
        }
        Ok(true)
    }

    #[cold]
    #[allow(clippy::unnecessary_box_returns, reason = "as for `fail`")]
    fn refuse(
        &self,
        registered: &Registered<S>,
        tx: &mut Tx,
        target: &ReplyTarget,
        error: HandlerError,
    ) -> Box<ServeError> {
        self.fail(Some(registered), tx, target, false, Ok(Err(error)))
    }

    /// Whether the handlers of a message type are tasks of streams.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_task(&self, msg_type: u16) -> bool {
        self.table.of_open(msg_type).and_then(Registered::stream_place) == Some(StreamPlace::Task)
    }

    /// Sends the last message of a stream whose handler is done.
    pub(crate) fn end_stream(
        &self,
        counters: Option<WorkerCounters<'_>>,
        tx: &mut Tx,
        stream: ServedStream,
    ) -> Result<(), Box<ServeError>> {
        let (deferred, target, last) = stream.into_last();
        self.answer_through(self.layers.len(), counters, tx, &deferred, &target, |reply| last.send(reply))
    }

    /// Takes a request whose handler runs elsewhere, if `accepts` takes its message type and the layers let it pass.
    pub(crate) fn defer(
        &self,
        (caller, counters): (&CallerInfo, Option<WorkerCounters<'_>>),
        (rx, tx): (&Rx, &mut Tx),
        request: &OpenRequest,
        accepts: impl FnOnce(u16) -> bool,
    ) -> Deferring<Deferred> {
        let OpenRequest { frame, deadline } = request;
        // A call of a stream is refused.
        let Some(registered) = self.find(frame.type_id).filter(|found| found.stream_place().is_none()) else {
            return Deferring::Declined;
        };
        if !accepts(msg_type(frame.type_id)) || deadline.has_passed() {
            return Deferring::Declined;
        }
        let deferred = Deferred::new(caller, rx, request, registered.shared_name(), None);
        match layer::before(&self.layers, &deferred.context()) {
            Ok(()) => Deferring::Begun(deferred),
            Err(Refused { passed, error }) => {
                let target = ReplyTarget::call(msg_type(frame.type_id), frame.correlation_id);
                Deferring::Answered(self.answer_through(passed, counters, tx, &deferred, &target, |_| Err(error)))
            }
        }
    }

    /// Whether a request is for an async endpoint, or for the fallback.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_async(&self, type_id: u32) -> bool {
        self.find(type_id).is_some_and(Registered::is_async)
            || (self.table.fallback().is_some()
                && route_id(type_id) == ROUTE_CONTROL
                && matches!(Operation::of(msg_type(type_id)), Some(Operation::Describe | Operation::Limits)))
    }

    /// Starts the answer to a control request that the fallback has a part in. `None` if the table has the answer.
    #[cfg(feature = "tokio")]
    pub(crate) fn start_control(&self, rx: &Rx, tx: &Tx, frame: &Frame) -> Option<HandlerFuture> {
        if route_id(frame.type_id) != ROUTE_CONTROL {
            return None;
        }
        let (fallback, max_len) = (self.table.fallback()?, tx.max_len());
        match Operation::of(msg_type(frame.type_id))? {
            Operation::Ping => None,
            Operation::Describe => {
                let query = Query::decode(slice::payload(frame, rx))?;
                let own = self.table.describe(query.msg_type).endpoints;
                if query.msg_type != WHOLE_TABLE && !own.is_empty() {
                    return None;
                }
                let describing = fallback.describe(query, own, max_len);
                Some(HandlerFuture::new(async move {
                    let described = describing.await;
                    AsyncReply::new(move |reply| {
                        let too_large = || HandlerError::new(ErrorKind::ReplyTooLarge, "");
                        reply.bytes(&chunk(described?.as_bytes(), query.offset, max_len).ok_or_else(too_large)?)
                    })
                }))
            }
            Operation::Limits => {
                let (max_request, own) = (rx.max_len() as u64, self.whole_description().1);
                let asking = fallback.version();
                Some(HandlerFuture::new(async move {
                    let version = asking.await.map(|version| own.rotate_left(1) ^ version);
                    AsyncReply::new(move |reply| {
                        let limits = CalleeLimits { max_request, max_reply: max_len as u64, version: version? };
                        reply.bytes(&limits.encode())
                    })
                }))
            }
        }
    }

    /// Answers a control request whose answer took time. Layers and counters do not see it. An error reply names the
    /// message type `of`.
    ///
    /// # Errors
    /// The connection has ended.
    #[cfg(feature = "tokio")]
    pub(crate) fn answer_control_later(
        &self,
        tx: &mut Tx,
        target: ReplyTarget,
        of: u16,
        returned: Result<AsyncReply, Panicked>,
    ) -> Result<(), Halt> {
        let sent = returned.and_then(|returned| foreign::run(|| returned.send(Reply::over(tx, &target))));
        let Err(error) = sent.unwrap_or_else(|panicked| Err(HandlerError::failed(panicked))) else { return Ok(()) };
        let mut failure = error.into_failure();
        if let Some(halt) = failure.halt.take() {
            return Err(halt);
        }
        let mut body = failure.body();
        if self.hide_text {
            body.text = "";
        }
        match send_error(tx, target.correlation_id, of, failure.kind, body) {
            Err(Unsent::Halted(halt)) => Err(halt),
            Ok(()) | Err(Unsent::TooLarge { .. }) => Ok(()),
        }
    }

    /// Starts the handler of an async endpoint.
    #[cfg(feature = "tokio")]
    pub(crate) fn start_async(
        &self,
        state: Option<&SharedState<S>>,
        (caller, counters): (&CallerInfo, Option<WorkerCounters<'_>>),
        (rx, tx): (&Rx, &mut Tx),
        request: &OpenRequest,
    ) -> Deferring<(Deferred, HandlerFuture)> {
        let OpenRequest { frame, deadline } = request;
        let Some(registered) =
            self.find(frame.type_id).filter(|found| found.is_async() && found.stream_place().is_none())
        else {
            return Deferring::Declined;
        };
        let deferred = match self.defer((caller, counters), (rx, tx), request, |_| true) {
            Deferring::Begun(deferred) => deferred,
            Deferring::Declined => return Deferring::Declined,
            Deferring::Answered(outcome) => return Deferring::Answered(outcome),
        };
        let target = ReplyTarget::call(deferred.msg_type(), frame.correlation_id);
        let parts = request_parts(rx, frame, target, *deadline, Some(caller));
        match registered.start(state, Request::new(&parts), deferred.owned_context().clone()) {
            Ok(future) => {
                #[cfg(feature = "tracing")]
                let future = future.in_span_of(deferred.owned_context().clone());
                Deferring::Begun((deferred, future))
            }
            Err(error) => Deferring::Answered(self.answer_deferred(counters, tx, &deferred, |_| Err(error))),
        }
    }

    /// Answers a deferred request with `handler`.
    pub(crate) fn answer_deferred(
        &self,
        counters: Option<WorkerCounters<'_>>,
        tx: &mut Tx,
        deferred: &Deferred,
        handler: impl FnOnce(Reply<'_>) -> HandlerResult,
    ) -> Result<(), Box<ServeError>> {
        let target = ReplyTarget::call(deferred.msg_type(), deferred.correlation_id());
        self.answer_through(self.layers.len(), counters, tx, deferred, &target, handler)
    }

    /// Answers a deferred request that the first `passed` layers let pass.
    fn answer_through(
        &self,
        passed: usize,
        counters: Option<WorkerCounters<'_>>,
        tx: &mut Tx,
        deferred: &Deferred,
        target: &ReplyTarget,
        handler: impl FnOnce(Reply<'_>) -> HandlerResult,
    ) -> Result<(), Box<ServeError>> {
        // `defer` found the endpoint, and a table never loses one.
        let Some(registered) = self.table.of_call(target.msg_type()) else { return Ok(()) };
        let result = self.run(registered, tx, target, handler);
        let outcome = match &result {
            Ok(size) => Outcome::Replied(*size),
            Err(error) => match &**error {
                ServeError::Handler(failure) => Outcome::Failed(failure.kind),
                _ => Outcome::CallerGone,
            },
        };
        self.record_through(passed, counters, deferred, outcome);
        match result {
            Err(error) if matches!(&*error, ServeError::Handler(failure) if failure.is_answer()) => Ok(()),
            result => result.map(drop),
        }
    }

    /// Counts the end of a deferred request, and runs the layers.
    pub(crate) fn record_deferred(&self, counters: Option<WorkerCounters<'_>>, deferred: &Deferred, outcome: Outcome) {
        self.record_through(self.layers.len(), counters, deferred, outcome);
    }

    fn record_through(
        &self,
        passed: usize,
        counters: Option<WorkerCounters<'_>>,
        deferred: &Deferred,
        outcome: Outcome,
    ) {
        let call = deferred.context();
        let Some(registered) = self.table.of_call(call.msg_type) else { return };
        let took = monotonic_nanos().saturating_sub(deferred.taken_at);
        if let Some(counters) = counters {
            counters.endpoint(registered.ordinal()).record(call.request_size, Some(took), outcome.into());
        }
        layer::after(&self.layers[..passed], &call, &outcome, Duration::from_nanos(took));
    }
}

/// The parts of the request in a frame.
#[inline]
fn request_parts<'a>(
    rx: &'a Rx,
    frame: &Frame,
    target: ReplyTarget,
    deadline: Deadline,
    caller: Option<&'a CallerInfo>,
) -> RequestParts<'a> {
    RequestParts {
        payload: slice::payload(frame, rx),
        target,
        deadline,
        caller,
        rx: Some(rx),
        #[cfg(feature = "python")]
        foreign: Metadata::none(),
    }
}

/// Where the handlers of streams run that do not run on the serving thread.
pub(crate) struct Runs<'a, S: ?Sized> {
    /// The state, if such a handler takes it.
    pub(crate) shared: Option<&'a SharedState<S>>,
    pub(crate) threads: &'a Arc<StreamThreads>,
    /// Spawns a task; `None` without a runtime.
    pub(crate) spawn: Option<&'a mut dyn FnMut(Detached)>,
}

#[cold]
fn no_descriptor(error: &io::Error) -> HandlerError {
    HandlerError::new(
        ErrorKind::ResourceExhausted,
        format_args!("the callee has no descriptor for the stream: {error}"),
    )
}

#[cold]
fn no_thread(error: &io::Error) -> HandlerError {
    HandlerError::new(ErrorKind::ResourceExhausted, format_args!("the callee has no thread for the stream: {error}"))
}

#[cold]
fn too_many(threads: &StreamThreads) -> HandlerError {
    let text = format_args!(
        "all {} threads for handlers of streams run; try again when one has returned, or serve with more \
         `stream_threads`",
        threads.most()
    );
    HandlerError::new(ErrorKind::ResourceExhausted, text)
}

/// The first step of a request whose handler may run elsewhere.
#[derive(Debug)]
pub(crate) enum Deferring<T> {
    /// [`Responder::answer`] has to answer it.
    Declined,
    /// It was answered: a layer, or the reading of the request, refused it.
    Answered(Result<(), Box<ServeError>>),
    /// It has begun, and is answered later.
    Begun(T),
}

/// Drops an error that needs no report: a reply without a caller, and an error that is an answer.
#[cold]
fn unless_answered(error: Box<ServeError>) -> Result<(), Box<ServeError>> {
    match &*error {
        ServeError::Closed | ServeError::PeerDead => Ok(()),
        ServeError::Handler(failure) if failure.is_answer() => Ok(()),
        _ => Err(error),
    }
}

impl From<Outcome> for CallOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Replied(len) => Self::Replied(len),
            Outcome::Failed(kind) => Self::Failed(kind),
            Outcome::CallerGone => Self::CallerGone,
        }
    }
}
