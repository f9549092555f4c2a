//! The serving loop: takes requests, finds their endpoint, sees that every caller is answered.

use core::fmt;
use std::time::Duration;

use super::control;
use super::desk::{Answered, Desk, Lent};
use super::endpoint::{Endpoint, Entry};
use super::into_reply::{IntoReply, or_text};
use super::layer::Layer;
use super::table::{OwnedHandler, Table};
use super::watched::Origin;
use crate::connection::{Rx, Tx};
use crate::dispatch::RegisterError;
use crate::engine;
use crate::ring::Frame;
use crate::rpc::Callee;
use crate::rpc::ServeError;
use crate::schema::describe::{Description, EndpointDescription, WHOLE_TABLE};
use crate::wait::Deadline;

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
/// assert_eq!(echo::call(&mut caller, b"hello")?, b"hello");
/// assert_eq!(&*caller.call(2, b"hello")?, b"5");
/// drop(caller);
/// callee.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Dispatcher<S: ?Sized = ()> {
    pub(super) desk: Desk<S>,
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
        Self { desk: Desk::new(table), state }
    }

    /// The state, to look at or to take back what handlers left there.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The state, to change it between requests.
    pub fn state_mut(&mut self) -> &mut S {
        &mut self.state
    }

    /// Takes the state back.
    pub fn into_state(self) -> S {
        self.state
    }
}

impl<S: ?Sized> Dispatcher<S> {
    /// Adds a closure as the endpoint `msg_type`. It gets the request's bytes, in place, and returns a reply, or a
    /// `Result` of one.
    ///
    /// # Errors
    /// [`RegisterError`]: the message type is taken or reserved. The table is as it was.
    pub fn register<R: IntoReply<Error: fmt::Display>>(
        &mut self,
        msg_type: u16,
        name: &str,
        handler: impl Fn(&[u8]) -> R + Send + Sync + 'static,
    ) -> Result<&mut Self, RegisterError> {
        self.register_handler(
            msg_type,
            name,
            Box::new(move |_, request, reply| or_text(handler(request.payload()), reply)),
        )
    }

    /// Adds an endpoint made by `#[tachyon_rpc]`, as `dispatcher.register_endpoint::<echo>()`.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_endpoint<E: Endpoint<State = S>>(&mut self) -> Result<&mut Self, RegisterError> {
        self.desk.table.insert_entry(E::ENTRY)?;
        self.desk.described.take();
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
        self.desk.table.insert_owned(description, handler)?;
        self.desk.described.take();
        Ok(self)
    }

    /// What this dispatcher offers, as [`Caller::describe`](crate::Caller::describe) gets it.
    pub fn describe(&self) -> Description {
        control::describe(&self.desk.table, WHOLE_TABLE)
    }

    /// Whether an endpoint changes the state, so that the endpoints cannot be served by several threads at once.
    pub fn is_exclusive(&self) -> bool {
        self.desk.table.first_exclusive().is_some()
    }

    /// Number of endpoints.
    pub fn len(&self) -> usize {
        self.desk.table.len()
    }

    /// Whether there is no endpoint at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The endpoints' message types and names, ascending.
    pub fn endpoints(&self) -> impl Iterator<Item = (u16, &str)> {
        self.desk.table.iter().map(|(msg_type, registered)| (msg_type, registered.name()))
    }

    /// Whether error replies keep back the error's text, which may tell a caller more than it should know. Off by
    /// default. Declared errors travel by name and fields in either case; a raw endpoint, which takes and gives bytes or
    /// nothing and declares no error, never sends text.
    pub fn hide_error_text(&mut self, hide: bool) -> &mut Self {
        self.desk.hide_text = hide;
        self
    }

    /// Sets what [`serve_forever`](Self::serve_forever) calls for each request that failed; nothing by default. A declared
    /// error and a request that is not what its endpoint takes are answers, not failures.
    pub fn on_failure(&mut self, hook: impl Fn(&ServeError) + Send + Sync + 'static) -> &mut Self {
        self.desk.on_failure = Some(Box::new(hook));
        self
    }

    /// Adds what sees every request before and after its handler. Without any, calls cost nothing more: not even the
    /// clock is read.
    pub fn layer(&mut self, layer: impl Layer + 'static) -> &mut Self {
        self.desk.layers.push(Box::new(layer));
        self
    }

    /// The endpoints' message types and names, in the order of their ordinals.
    pub(crate) fn endpoints_in_order(&self) -> impl ExactSizeIterator<Item = (u16, &str)> {
        let mut all: Vec<_> = self.desk.table.iter().collect();
        all.sort_by_key(|(_, registered)| registered.ordinal());
        all.into_iter().map(|(msg_type, registered)| (msg_type, registered.name()))
    }

    /// Serves one request, waiting for it; control requests are answered on the way. Its caller is answered whatever
    /// happens: by the handler, or with an error when there is no handler, or it fails, panics or returns what cannot be
    /// sent.
    ///
    /// # Errors
    /// [`ServeError::NoHandler`] and [`ServeError::Handler`] after an error reply, with the connection usable;
    /// [`ServeError::NeedsRuntime`] when an endpoint is async; otherwise the caller closed or died.
    pub fn serve_once(&mut self, callee: &mut Callee) -> Result<(), ServeError> {
        self.check_blocking()?;
        self.serve_until(callee, Deadline::never()).map_err(|error| *error)
    }

    /// As [`serve_once`](Self::serve_once), waiting at most `timeout` for the request.
    ///
    /// # Errors
    /// As [`serve_once`](Self::serve_once), and [`ServeError::TimedOut`].
    pub fn serve_once_timeout(&mut self, callee: &mut Callee, timeout: Duration) -> Result<(), ServeError> {
        self.check_blocking()?;
        self.serve_until(callee, Deadline::after(timeout)).map_err(|error| *error)
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
        match self.desk.table.first_async() {
            None => Ok(()),
            Some((msg_type, name)) => Err(ServeError::NeedsRuntime { name: name.to_owned(), msg_type }),
        }
    }

    /// Refuses a table with endpoints that change the state: whoever serves it with only a look at the state could not
    /// run them.
    ///
    /// # Errors
    /// [`ServeError::Exclusive`], with nothing taken from any caller.
    pub(crate) fn check_shared(&self) -> Result<(), ServeError> {
        match self.desk.table.first_exclusive() {
            None => Ok(()),
            Some((msg_type, name)) => Err(ServeError::Exclusive { name: name.to_owned(), msg_type }),
        }
    }

    /// What answers requests, and the state to lend it, which others may have too: after
    /// [`check_shared`](Self::check_shared).
    #[inline]
    pub(crate) fn shared(&self) -> (&Desk<S>, &S) {
        (&self.desk, &self.state)
    }

    /// What answers requests, and the state to lend it.
    pub(crate) fn exclusive(&mut self) -> (&Desk<S>, &mut S) {
        (&self.desk, &mut self.state)
    }

    #[inline]
    fn serve_until(&mut self, callee: &mut Callee, deadline: Deadline) -> Answered {
        self.serve_on(&mut callee.rx, &mut callee.tx, deadline)
    }

    /// As [`serve_once`](Self::serve_once), over the two directions of a callee.
    #[inline]
    pub(crate) fn serve_on(&mut self, rx: &mut Rx, tx: &mut Tx, deadline: Deadline) -> Answered {
        let Self { desk, state } = self;
        engine::serve_one(rx, tx, deadline, |rx, tx, frame, deadline| {
            desk.answer(Lent::Exclusive(state), &Origin::default(), rx, tx, frame, deadline)
        })
    }

    /// Serves a message that was taken before, and releases it.
    #[inline]
    pub(crate) fn serve_frame(&mut self, rx: &mut Rx, tx: &mut Tx, frame: Frame) -> Answered {
        rx.set_current(frame);
        let Self { desk, state } = self;
        engine::serve_loan(rx, tx, |rx, tx, frame, deadline| {
            desk.answer(Lent::Exclusive(state), &Origin::default(), rx, tx, frame, deadline)
        })
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
            let Err(error) = dispatcher.serve_until(self, Deadline::never()) else { continue };
            match *error {
                ServeError::Closed => return Ok(()),
                failure @ (ServeError::NoHandler { .. } | ServeError::Handler(_)) => {
                    dispatcher.desk.tell_failure(&failure);
                }
                end => return Err(end),
            }
        }
    }
}

impl<S: ?Sized> fmt::Debug for Dispatcher<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.endpoints()).finish()
    }
}
