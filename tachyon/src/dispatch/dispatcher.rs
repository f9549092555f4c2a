//! The serving loop: takes requests, finds their endpoint, sees that every caller is answered.

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::control;
use super::endpoint::{Endpoint, Entry};
use super::handler::{HandlerError, Replied, Reply, Request};
use super::into_reply::IntoReply;
use super::layer::{Layer, Layers};
use super::table::{OwnedHandler, Registered, Table};
use super::watched::Origin;
use crate::bus::{Incoming, Outgoing};
use crate::error::{HandlerFailure, RegisterError, ServeError};
use crate::ring::Frame;
use crate::rpc::{Callee, ErrorKind, OpenRequest, is_control, open_request, send_error};
use crate::slice;
use crate::type_id::{msg_type, route_id};
use crate::wait::Deadline;

/// What [`Dispatcher::on_failure`] sets.
type FailureHook = Box<dyn Fn(&ServeError) + Send + Sync>;

/// A table of endpoints and the loop that serves them.
///
/// ```
/// use tachyon::{Callee, Caller, Dispatcher, endpoints, tachyon_rpc};
///
/// /// Sends back what came.
/// #[tachyon_rpc(msg_type = 1)]
/// fn echo(payload: &[u8]) -> Vec<u8> {
///     payload.to_vec()
/// }
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("rpc.sock");
/// # let listen_at = path.clone();
/// let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
///     let mut callee = Callee::listen(&listen_at, 1 << 16, 1 << 16)?;
///     let mut dispatcher = Dispatcher::new(endpoints![echo]);
///     dispatcher.register(2, "length", |payload: &[u8]| payload.len().to_string())?;
///     dispatcher.serve_forever(&mut callee)?; // returns when the caller closes
///     Ok(())
/// });
///
/// let mut caller = Caller::connect(&path)?;
/// assert_eq!(&*echo::call(&mut caller, b"hello")?, b"hello");
/// assert_eq!(&*caller.request(2, b"hello")?, b"5");
/// drop(caller);
/// callee.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Dispatcher<S: ?Sized = ()> {
    pub(super) table: Table<S>,
    pub(super) layers: Layers,
    pub(super) send_text: bool,
    on_failure: Option<FailureHook>,
    state: S,
}

impl Dispatcher {
    /// A dispatcher of endpoints without state; `endpoints![]` for an empty one.
    ///
    /// # Panics
    /// As [`with_state`](Self::with_state).
    pub fn new(endpoints: &[Entry<()>]) -> Self {
        Self::with_state((), endpoints)
    }
}

impl Default for Dispatcher {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl<S> Dispatcher<S> {
    /// A dispatcher whose handlers share `state`.
    ///
    /// # Panics
    /// When two entries have one message type, or one has 65535. A table made by
    /// [`endpoints!`](crate::endpoints) cannot: there it does not compile.
    pub fn with_state(state: S, endpoints: &[Entry<S>]) -> Self {
        let mut table = Table::new();
        for entry in endpoints {
            if let Err(refusal) = table.insert_entry(*entry) {
                panic!("{refusal}");
            }
        }
        Self { table, layers: Layers::new(), send_text: false, on_failure: None, state }
    }

    /// The state, to look at or to take back what handlers left there.
    pub fn state(&self) -> &S {
        &self.state
    }
}

impl<S: ?Sized> Dispatcher<S> {
    /// Adds a closure as the endpoint `msg_type`. It gets the request's bytes, in place, and returns a reply, or a
    /// `Result` of one.
    ///
    /// # Errors
    /// [`RegisterError`]: the message type is taken or reserved. The table is as it was.
    pub fn register<R: IntoReply>(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: impl Fn(&[u8]) -> R + Send + Sync + 'static,
    ) -> Result<&mut Self, RegisterError> {
        self.register_handler(
            msg_type,
            name,
            Box::new(move |_, request, reply| handler(request.payload()).into_reply(reply)),
        )
    }

    /// Adds an endpoint made by `#[tachyon_rpc]`, as `dispatcher.register_endpoint::<echo>()`.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_endpoint<E: Endpoint<State = S>>(&mut self) -> Result<&mut Self, RegisterError> {
        self.table.insert_entry(E::ENTRY)?;
        Ok(self)
    }

    /// Adds a handler that sees the state, and answers by itself.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_handler(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: OwnedHandler<S>,
    ) -> Result<&mut Self, RegisterError> {
        self.table.insert_owned(msg_type, name, handler)?;
        Ok(self)
    }

    /// Number of endpoints.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no endpoint at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The endpoints' message types and names, ascending.
    pub fn endpoints(&self) -> impl Iterator<Item = (u16, &str)> {
        self.table.iter().map(|(msg_type, registered)| (msg_type, registered.name()))
    }

    /// Whether error replies carry the error's text. Off by default: texts may tell a caller more than it should
    /// know, and a caller of another make may expect exactly two bytes.
    pub fn send_error_text(&mut self, send: bool) -> &mut Self {
        self.send_text = send;
        self
    }

    /// What [`serve_forever`](Self::serve_forever) tells of requests it answered with an error; nothing by default.
    pub fn on_failure(&mut self, hook: impl Fn(&ServeError) + Send + Sync + 'static) -> &mut Self {
        self.on_failure = Some(Box::new(hook));
        self
    }

    /// Adds what sees every request before and after its handler. Without any, calls cost nothing more: not even the
    /// clock is read.
    pub fn layer(&mut self, layer: impl Layer + 'static) -> &mut Self {
        self.layers.push(Box::new(layer));
        self
    }

    /// The endpoints' message types and names, in the order of their ordinals.
    pub(crate) fn endpoints_in_order(&self) -> impl ExactSizeIterator<Item = (u16, &str)> {
        let mut all: Vec<_> = self.table.iter().collect();
        all.sort_by_key(|(_, registered)| registered.ordinal());
        all.into_iter().map(|(msg_type, registered)| (msg_type, registered.name()))
    }

    /// Serves one request, waiting for it. Its caller is answered whatever happens: by the handler, or with an error
    /// when there is no handler, or it fails, panics or returns what cannot be sent.
    ///
    /// # Errors
    /// [`ServeError::NoHandler`] and [`ServeError::Handler`] after an error reply, with the connection usable;
    /// [`ServeError::NeedsRuntime`] when an endpoint is async; otherwise the caller closed or died.
    pub fn serve_once(&mut self, callee: &mut Callee) -> Result<(), ServeError> {
        self.check_blocking()?;
        self.serve_until(callee, Deadline::never())
    }

    /// As [`serve_once`](Self::serve_once), waiting at most `timeout` for the request.
    ///
    /// # Errors
    /// As [`serve_once`](Self::serve_once), and [`ServeError::TimedOut`].
    pub fn serve_once_timeout(&mut self, callee: &mut Callee, timeout: Duration) -> Result<(), ServeError> {
        self.check_blocking()?;
        self.serve_until(callee, Deadline::after(timeout))
    }

    /// Serves a [`Callee`] until its caller closes, or a [`RpcServer`](crate::RpcServer) until it is stopped. Requests
    /// that end in an error reply are told to [`on_failure`](Self::on_failure) and do not end the loop.
    ///
    /// # Errors
    /// The caller died, the memory is corrupted, the wait was interrupted, or an endpoint is async
    /// ([`ServeError::NeedsRuntime`]). An orderly close, or a stop, is no error.
    pub fn serve_forever(&mut self, served: &mut impl Served) -> Result<(), ServeError> {
        self.check_blocking()?;
        served.serve_with(self)
    }

    /// Refuses a table with async endpoints: whoever serves it without a runtime could not run them.
    ///
    /// # Errors
    /// [`ServeError::NeedsRuntime`], with nothing taken from any caller.
    pub(crate) fn check_blocking(&self) -> Result<(), ServeError> {
        match self.table.first_async() {
            None => Ok(()),
            Some((msg_type, name)) => Err(ServeError::NeedsRuntime { name: name.to_owned(), msg_type }),
        }
    }

    /// Tells of a request that was answered with an error.
    pub(crate) fn tell_failure(&self, failure: &ServeError) {
        if let Some(hook) = &self.on_failure {
            hook(failure);
        }
    }

    #[inline]
    fn serve_until(&mut self, callee: &mut Callee, deadline: Deadline) -> Result<(), ServeError> {
        self.serve_on(&mut callee.incoming, &mut callee.outgoing, deadline)
    }

    /// As [`serve_once`](Self::serve_once), over the two directions of a callee.
    #[inline]
    pub(crate) fn serve_on(
        &mut self,
        incoming: &mut Incoming,
        outgoing: &mut Outgoing,
        deadline: Deadline,
    ) -> Result<(), ServeError> {
        // A caller may be waiting for what an interrupted wait left behind, and would send nothing more until it comes.
        outgoing.settle()?;
        loop {
            let frame = incoming.take(deadline)?;
            let control = is_control(&frame);
            let outcome = self.serve_frame(incoming, outgoing, frame);
            if !control || outcome.is_err() {
                return outcome;
            }
            incoming.check_patience(deadline)?;
        }
    }

    /// Serves a message that was taken before, and releases it.
    #[inline]
    pub(crate) fn serve_frame(
        &self,
        incoming: &mut Incoming,
        outgoing: &mut Outgoing,
        frame: Frame,
    ) -> Result<(), ServeError> {
        let request = open_request(incoming, frame)?;
        let outcome = self.answer(&Origin::default(), incoming, outgoing, &request);
        incoming.release(frame.position);
        outcome
    }

    /// Runs the endpoint of one request, or answers it with an error.
    #[inline]
    pub(crate) fn answer(
        &self,
        origin: &Origin<'_>,
        incoming: &Incoming,
        outgoing: &mut Outgoing,
        request: &OpenRequest,
    ) -> Result<(), ServeError> {
        if self.layers.is_empty() && origin.bank.is_none() {
            self.answer_plainly(self.find(request.frame.type_id), origin, incoming, outgoing, request).map(drop)
        } else {
            self.answer_watched(origin, incoming, outgoing, request)
        }
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
                control::answer(outgoing, frame)?;
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
            caller: origin.caller,
            peer: &incoming.connection.peer,
        };
        let reply = Reply { outgoing, msg_type, correlation_id };
        self.run(registered, reply, |reply| registered.run(&self.state, request, reply)).map(Some)
    }

    /// Has an endpoint's `handler` answer, or answers with the error it ends in. Gives the size of the reply.
    #[inline]
    pub(super) fn run(
        &self,
        registered: &Registered<S>,
        reply: Reply<'_>,
        handler: impl FnOnce(Reply<'_>) -> Result<Replied, HandlerError>,
    ) -> Result<usize, ServeError> {
        let Reply { outgoing, msg_type, correlation_id } = reply;
        let answered = outgoing.accepted();
        let reply = Reply { outgoing: &mut *outgoing, msg_type, correlation_id };
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

/// What a dispatcher can serve: a [`Callee`] or a [`RpcServer`](crate::RpcServer). Only this crate implements it.
pub trait Served: sealed::Sealed {
    /// Serves with a dispatcher's table until the other side ends it.
    ///
    /// # Errors
    /// As [`Dispatcher::serve_forever`].
    fn serve_with<S: ?Sized>(&mut self, dispatcher: &mut Dispatcher<S>) -> Result<(), ServeError>;
}

pub(crate) mod sealed {
    /// Keeps the trait to this crate.
    pub trait Sealed {}
}

impl sealed::Sealed for Callee {}

impl Served for Callee {
    fn serve_with<S: ?Sized>(&mut self, dispatcher: &mut Dispatcher<S>) -> Result<(), ServeError> {
        loop {
            match dispatcher.serve_until(self, Deadline::never()) {
                Ok(()) => {}
                Err(ServeError::Closed) => return Ok(()),
                Err(failure @ (ServeError::NoHandler { .. } | ServeError::Handler(_))) => {
                    dispatcher.tell_failure(&failure);
                }
                Err(end) => return Err(end),
            }
        }
    }
}

/// Makes a failure's report and, unless it has been answered, tells the caller.
#[cold]
pub(super) fn fail(
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

impl<S: ?Sized> fmt::Debug for Dispatcher<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.endpoints()).finish()
    }
}
