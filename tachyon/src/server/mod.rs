//! A service: one path, any number of callers, one table of endpoints.

mod acceptor;
mod control;
mod door;
mod driven;
mod events;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
#[cfg(feature = "tokio")]
mod handlers;
mod lot;
mod options;
mod pace;
mod places;
mod poller;
mod seat;
mod service;
mod session;
mod slow;
#[cfg(feature = "tokio")]
mod tasks;
mod worker;

use std::path::Path;
use std::sync::Arc;

// Bindings name these.
#[doc(hidden)]
pub use driven::{Aside, Driven, Next};
pub use events::{Leaving, ServerEvent};
pub use options::{AcceptorMode, ServerOptions};

use self::control::Control;
use self::door::Door;
use self::lot::Lot;
use self::service::{Blocking, Sharing};
use self::slow::SlowEndpoints;
use self::worker::{Worker, lost};
use crate::dispatch::{Dispatcher, Lent, Served, sealed};
use crate::foreign::Panicked;
use crate::handshake::ListenError;
use crate::rpc::ServeError;
use crate::stats::Publication;
use crate::wait::PollingMode;

/// The serving end of RPC for many callers.
///
/// It keeps listening at its path; every [`Caller`](crate::Caller) that connects gets a pair of rings of its own, and
/// callers come, go and crash without the others noticing. One thread serves them all: busy callers are polled, and
/// with none the thread sleeps. [`Dispatcher::serve_workers`] shares the callers among several threads.
///
/// ```
/// use tachyon::{Caller, Dispatcher, RpcServer, endpoints, tachyon_rpc};
///
/// #[tachyon_rpc(msg_type = 1)]
/// fn double(payload: &[u8]) -> Vec<u8> {
///     payload.repeat(2)
/// }
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("service.sock");
/// let mut server = RpcServer::listen(&path)?;
/// let stopper = server.stopper();
/// let service = std::thread::spawn(move || Dispatcher::new(endpoints![double]).serve_forever(&mut server));
///
/// let mut first = Caller::connect(&path)?;
/// let mut second = Caller::connect(&path)?;
/// assert_eq!(double::call(&mut first, b"ab")?, b"abab");
/// assert_eq!(double::call(&mut second, b"x")?, b"xx");
///
/// stopper.stop();
/// service.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping a server closes its path"]
pub struct RpcServer {
    door: Option<Door>,
    options: ServerOptions,
    control: Arc<Control>,
}

/// Stops a server from another thread, or from a handler.
#[derive(Debug, Clone)]
pub struct Stopper {
    control: Arc<Control>,
}

impl Stopper {
    /// Has the server finish: no request is begun from now on, requests being handled are answered, those that wait get
    /// an error reply of kind [`Stopping`](crate::ErrorKind::Stopping), every connection is closed in good order, and
    /// the serving call returns. Handlers have [`stop_timeout`](crate::ServerOptions::stop_timeout) from now on, in all.
    /// Stopping twice does nothing more.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Callers connected now.
    pub fn callers(&self) -> usize {
        self.control.callers()
    }
}

impl RpcServer {
    /// Makes a server at `path`. Callers may connect from now on; they are served once a dispatcher serves.
    ///
    /// # Errors
    /// [`ListenError`]: a path that cannot be listened at, or is another live listener's.
    pub fn listen(path: impl AsRef<Path>) -> Result<Self, ListenError> {
        Self::listen_with(path, ServerOptions::new())
    }

    /// As [`listen`](Self::listen), with [`ServerOptions`].
    ///
    /// # Errors
    /// As [`listen`](Self::listen), and for ring sizes that are not powers of two.
    pub fn listen_with(path: impl AsRef<Path>, options: ServerOptions) -> Result<Self, ListenError> {
        let door = Door::new(path.as_ref(), &options)?;
        let control = Arc::new(Control::new(options.stop_timeout));
        Ok(Self { door: Some(door), options, control })
    }

    /// What stops this server.
    pub fn stopper(&self) -> Stopper {
        Stopper { control: Arc::clone(&self.control) }
    }

    /// Sets what is told of callers that come and go, and of clients that are turned away; nothing by default. It is
    /// called from the serving threads and must not wait.
    ///
    /// # Panics
    /// When a [`Stopper`] has been taken already: set the hook first.
    pub fn on_event(&mut self, hook: impl Fn(&ServerEvent<'_>) + Send + Sync + 'static) -> &mut Self {
        let control = Arc::get_mut(&mut self.control).expect("the hook is set before a stopper is taken");
        control.set_hook(Box::new(hook));
        self
    }

    /// Chooses how long the serving threads look at a caller that was busy before they sleep on it.
    pub fn set_polling_mode(&mut self, mode: PollingMode) {
        self.options.connection = self.options.connection.clone().polling(mode);
    }

    /// The path that callers connect to; `None` once the server was stopped.
    pub fn path(&self) -> Option<&Path> {
        self.door.as_ref().map(Door::path)
    }

    /// Begins to publish statistics, if the options want any. A server that cannot goes on without.
    fn publish<S: ?Sized>(&self, dispatcher: &Dispatcher<S>, path: &Path, workers: usize) -> Option<Arc<Publication>> {
        if !self.options.stats {
            return None;
        }
        match Publication::new(path, dispatcher.endpoints_in_order(), self.options.max_callers, workers) {
            Ok(publication) => {
                let publication = Arc::new(publication);
                self.control.set_publication(Some(Arc::clone(&publication)));
                Some(publication)
            }
            Err(error) => {
                self.control.tell(&ServerEvent::Trouble(&error));
                None
            }
        }
    }

    fn serve<S: ?Sized>(&mut self, dispatcher: &mut Dispatcher<S>) -> Result<(), ServeError> {
        let Some(mut door) = self.door.take() else { return Ok(()) };
        let publication = self.publish(dispatcher, door.path(), 1);
        let bank = publication.as_ref().map(|publication| publication.board.bank(0));
        let (desk, state) = dispatcher.exclusive();
        let mut service = Blocking { desk, state: Lent::Exclusive(state), bank };
        let outcome = Worker::new(&*self.control, Some(&mut door), self.options.connection.clone())
            .and_then(|mut worker| worker.open(&self.control).map(|()| worker))
            .map_err(ServeError::Io)
            .and_then(|worker| worker.run(&mut service));
        self.finish(door, outcome)
    }

    /// The acceptor and all workers have ended, or do now. A server whose serving was interrupted keeps its path.
    fn finish(&mut self, mut door: Door, outcome: Result<(), ServeError>) -> Result<(), ServeError> {
        let outcome = both(outcome, door.leave());
        self.control.dismiss();
        if matches!(outcome, Err(ServeError::Interrupted)) && !self.control.is_stopping() {
            self.door = Some(door);
        }
        outcome
    }

    fn serve_workers<S: ?Sized + Sync>(
        &mut self,
        dispatcher: &Dispatcher<S>,
        workers: usize,
    ) -> Result<(), ServeError> {
        dispatcher.check_shared()?;
        let Some(mut door) = self.door.take() else { return Ok(()) };
        let publication = self.publish(dispatcher, door.path(), workers);
        let (desk, state) = dispatcher.shared();
        let bank = |worker| publication.as_ref().map(|publication| publication.board.bank(worker));
        let (control, options) = (&*self.control, &self.options.connection);
        let slow = SlowEndpoints::new();
        // An inline acceptor is the first worker's, and hands each caller to one of the workers for good.
        let lot = (self.options.acceptor == AcceptorMode::Thread).then(|| Lot::new(control)).transpose();
        let lot = match lot {
            Ok(lot) => lot,
            Err(error) => return self.finish(door, Err(ServeError::Io(error))),
        };
        let worker = |door, options| match &lot {
            Some(lot) => Worker::at(lot, control, door, options),
            None => Worker::new(control, door, options),
        };
        let outcome = std::thread::scope(|scope| {
            let run = |worker: Worker<&Control, &mut Door, _>, index| {
                let blocking = Blocking { desk, state: Lent::Shared(state), bank: bank(index) };
                let outcome = worker.run(&mut Sharing { blocking, slow: &slow });
                control.stop();
                outcome
            };
            // The first worker has the door and the interrupt hook.
            let mut first = worker(Some(&mut door), options.clone()).map_err(ServeError::Io)?;
            let quiet = options.clone().without_interrupt();
            let mut others = Vec::new();
            let mut outcome = Ok(());
            for index in 1..workers {
                let started = worker(None, quiet.clone()).and_then(|worker| {
                    let name = format!("tachyon-{index}");
                    std::thread::Builder::new().name(name).spawn_scoped(scope, move || run(worker, index))
                });
                match started {
                    Ok(other) => others.push(other),
                    Err(error) => {
                        outcome = Err(ServeError::Io(error));
                        control.stop();
                        break;
                    }
                }
            }
            // All threads are there before the first caller is.
            if outcome.is_ok()
                && let Err(error) = first.open(&self.control)
            {
                outcome = Err(ServeError::Io(error));
                control.stop();
            }
            // Of a server that is stopped already, this turns away the callers that have connected.
            outcome = both(outcome, run(first, 0));
            for other in others {
                outcome = both(outcome, other.join().unwrap_or_else(|thrown| Err(lost(&Panicked::new(thrown)))));
            }
            outcome
        });
        self.finish(door, outcome)
    }
}

/// The outcome of two serving threads.
fn both(one: Result<(), ServeError>, other: Result<(), ServeError>) -> Result<(), ServeError> {
    match (one, other) {
        (Err(ServeError::HandlersLeft { count: one }), Err(ServeError::HandlersLeft { count: other })) => {
            Err(ServeError::HandlersLeft { count: one + other })
        }
        (Err(ServeError::HandlersLeft { .. }), Err(other)) => Err(other),
        (one, other) => one.and(other),
    }
}

impl sealed::Sealed for RpcServer {}

impl Served for RpcServer {
    fn serve_with<S: ?Sized>(&mut self, dispatcher: &mut Dispatcher<S>) -> Result<(), ServeError> {
        self.serve(dispatcher)
    }
}

impl<S: ?Sized + Sync> Dispatcher<S> {
    /// Serves a server's callers with `workers` threads, this one among them, until it is stopped. Each caller is with
    /// one thread at a time, so its requests are handled in order; handlers of different callers run side by side. A
    /// request waits for another caller's handler only while all workers are at work.
    ///
    /// # Errors
    /// [`ServeError::Exclusive`] when an endpoint changes the state, whatever the number of workers: nobody was served,
    /// and the server is as it was. Otherwise as [`serve_forever`](Self::serve_forever).
    ///
    /// # Panics
    /// When `workers` is 0.
    pub fn serve_workers(&self, server: &mut RpcServer, workers: usize) -> Result<(), ServeError> {
        assert!(workers > 0, "somebody has to serve");
        self.check_blocking()?;
        server.serve_workers(self, workers)
    }
}
