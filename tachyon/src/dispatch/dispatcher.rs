//! The serving loop: takes requests, finds their endpoint, sees that every caller is answered.

use core::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::control::{self, Described};
use super::endpoint::{Endpoint, Entry};
use super::handler::{HandlerError, Reply, Request};
use super::into_reply::IntoReply;
use super::table::{OwnedHandler, Table};
use crate::bus::{Incoming, Outgoing};
use crate::describe::{Description, EndpointDescription, WHOLE_TABLE};
use crate::error::{HandlerFailure, RegisterError, ServeError};
use crate::ring::Frame;
use crate::rpc::{Callee, ErrorKind, check_request, send_error};
use crate::slice;
use crate::type_id::{ROUTE_CONTROL, msg_type, route_id};
use crate::wait::Deadline;

/// What [`Dispatcher::on_failure`] sets.
type FailureHook = Box<dyn FnMut(&ServeError) + Send>;

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
    table: Table<S>,
    send_text: bool,
    on_failure: Option<FailureHook>,
    described: Described,
    exclusive: bool,
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
        let exclusive = endpoints.iter().any(Entry::is_exclusive);
        Self { table, send_text: false, on_failure: None, described: Described::default(), exclusive, state }
    }

    /// Takes the state back.
    pub fn into_state(self) -> S {
        self.state
    }

    /// The state, to look at or to take back what handlers left there.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The state, to change it between requests.
    pub fn state_mut(&mut self) -> &mut S {
        &mut self.state
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
        mut handler: impl FnMut(&[u8]) -> R + Send + 'static,
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
        self.exclusive |= E::ENTRY.is_exclusive();
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
        self.register_described(EndpointDescription::bytes(msg_type, name), handler)
    }

    /// As [`register_handler`](Self::register_handler), for a handler that says what it takes and gives. Nothing here
    /// checks that it does.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_described(
        &mut self,
        description: EndpointDescription,
        handler: OwnedHandler<S>,
    ) -> Result<&mut Self, RegisterError> {
        self.table.insert_owned(description, handler)?;
        Ok(self)
    }

    /// What this dispatcher offers, as [`Caller::describe`](crate::Caller::describe) gets it.
    pub fn describe(&self) -> Description {
        control::describe(&self.table, WHOLE_TABLE)
    }

    /// Whether an endpoint changes the state, so that the endpoints cannot be served by several threads at once.
    pub fn is_exclusive(&self) -> bool {
        self.exclusive
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
    pub fn on_failure(&mut self, hook: impl FnMut(&ServeError) + Send + 'static) -> &mut Self {
        self.on_failure = Some(Box::new(hook));
        self
    }

    /// Serves one request, waiting for it; questions about the table itself are answered on the way. Its caller is answered whatever happens: by the handler, or with an error
    /// when there is no handler, or it fails, panics or returns what cannot be sent.
    ///
    /// # Errors
    /// [`ServeError::NoHandler`] and [`ServeError::Handler`] after an error reply, with the connection usable;
    /// otherwise the caller closed or died.
    pub fn serve_once(&mut self, callee: &mut Callee) -> Result<(), ServeError> {
        self.serve_until(callee, Deadline::never())
    }

    /// As [`serve_once`](Self::serve_once), waiting at most `timeout` for the request.
    ///
    /// # Errors
    /// As [`serve_once`](Self::serve_once), and [`ServeError::TimedOut`].
    pub fn serve_once_timeout(&mut self, callee: &mut Callee, timeout: Duration) -> Result<(), ServeError> {
        self.serve_until(callee, Deadline::after(timeout))
    }

    /// Serves until the caller closes. Requests that end in an error reply are told to
    /// [`on_failure`](Self::on_failure) and do not end the loop.
    ///
    /// # Errors
    /// The caller died, the memory is corrupted, or the wait was interrupted. An orderly close is no error.
    pub fn serve_forever(&mut self, callee: &mut Callee) -> Result<(), ServeError> {
        loop {
            match self.serve_until(callee, Deadline::never()) {
                Ok(()) => {}
                Err(ServeError::Closed) => return Ok(()),
                Err(failure @ (ServeError::NoHandler { .. } | ServeError::Handler(_))) => {
                    if let Some(hook) = &mut self.on_failure {
                        hook(&failure);
                    }
                }
                Err(end) => return Err(end),
            }
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
        loop {
            let frame = incoming.take(deadline)?;
            if self.serve_frame(incoming, outgoing, &frame)? {
                return Ok(());
            }
        }
    }

    /// Serves a message that was taken before, and releases it. False when it was a control request, which nobody
    /// counts.
    #[inline]
    pub(crate) fn serve_frame(
        &mut self,
        incoming: &mut Incoming,
        outgoing: &mut Outgoing,
        frame: &Frame,
    ) -> Result<bool, ServeError> {
        check_request(incoming, frame)?;
        let outcome = self.answer(incoming, outgoing, frame);
        incoming.release(frame.position);
        outcome
    }

    #[inline]
    fn answer(&mut self, incoming: &Incoming, outgoing: &mut Outgoing, frame: &Frame) -> Result<bool, ServeError> {
        let msg_type = msg_type(frame.type_id);
        let correlation_id = frame.correlation_id;
        let registered = if route_id(frame.type_id) == 0 { self.table.get_mut(msg_type) } else { None };
        let Some(registered) = registered else {
            if route_id(frame.type_id) == ROUTE_CONTROL {
                control::answer(&self.table, &mut self.described, incoming, outgoing, frame)?;
                return Ok(false);
            }
            let text = if self.send_text { "no endpoint is registered for this msg_type" } else { "" };
            send_error(outgoing, correlation_id, msg_type, ErrorKind::NoHandler, text)?;
            return Err(ServeError::NoHandler { msg_type });
        };
        let request = Request { payload: slice::payload(frame, incoming), msg_type, correlation_id };
        let answered = outgoing.producer.position();
        let reply = Reply { outgoing: &mut *outgoing, msg_type, correlation_id };
        // Whatever a handler leaves half done is its own state's affair, as with a handler that returns an error; the
        // ring's state does not pass through it.
        let outcome = catch_unwind(AssertUnwindSafe(|| registered.run(&mut self.state, request, reply)));
        let answered = outgoing.producer.position() != answered;
        let error = match outcome {
            Ok(Ok(_)) if answered => return Ok(true),
            Ok(Ok(_)) => HandlerError::failed("returned the proof of another request's answer"),
            Ok(Err(error)) => error,
            Err(panic) => HandlerError::panicked(&*panic),
        };
        let name = registered.name();
        fail(outgoing, name, self.send_text, (!answered).then_some(correlation_id), msg_type, error)?;
        Ok(true)
    }
}

/// Reports a failure here and, unless it has been answered, to the caller.
#[cold]
fn fail(
    outgoing: &mut Outgoing,
    name: &str,
    send_text: bool,
    unanswered: Option<u64>,
    msg_type: u16,
    error: HandlerError,
) -> Result<(), ServeError> {
    if let Some(halt) = error.halt {
        return Err(halt.into());
    }
    if let Some(correlation_id) = unanswered {
        let text = if send_text { error.text.as_str() } else { "" };
        send_error(outgoing, correlation_id, msg_type, error.kind, text)?;
    }
    Err(ServeError::Handler(HandlerFailure { name: name.to_owned(), msg_type, kind: error.kind, text: error.text }))
}

impl<S: ?Sized> fmt::Debug for Dispatcher<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.endpoints()).finish()
    }
}
