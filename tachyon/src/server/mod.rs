//! Servers: one path, any number of callers, one table of endpoints.
//!
//! An [`RpcServer`] listens at a path and gives every caller a pair of rings of its own. Threads
//! ([`serve_forever`](crate::Dispatcher::serve_forever), [`serve_workers`](crate::Dispatcher::serve_workers)) or a
//! tokio task ([`serve_async`](crate::Dispatcher::serve_async)) serve the callers with a dispatcher. This module adds
//! the settings of a server and its events.

mod acceptor;
mod acceptor_driver;
pub(crate) mod control;
mod driven;
mod events;
#[cfg(feature = "tokio")]
mod handlers;
mod options;
mod parked;
pub(crate) mod poll_schedule;
mod poller;
mod quota;
pub(crate) mod service;
pub(crate) mod session;
mod slow;
mod stats_row;
#[cfg(feature = "tokio")]
mod tasks;
pub(crate) mod worker;

use std::path::Path;
use std::sync::Arc;

// Bindings name these.
#[doc(hidden)]
pub use driven::{Driven, Next, Offload};
pub use events::{DisconnectReason, ServerEvent};
pub use options::{AcceptorMode, ServerOptions};

use self::acceptor_driver::AcceptorDriver;
use self::control::Control;
use self::parked::ParkedSessions;
use self::service::{Blocking, SharedBlocking};
use self::slow::SlowEndpoints;
use self::worker::{GRACE, Worker, handlers_left, worker_lost};
use crate::dispatch::{Dispatcher, Served, StateRef, sealed};
use crate::foreign::Panicked;
use crate::handshake::ListenError;
use crate::rpc::ServeError;
use crate::stats::Publication;
use crate::wait::PollingMode;

/// The serving end of RPC for many callers.
///
/// The server keeps listening at its path. Every [`Caller`](crate::Caller) that connects gets a pair of rings of its
/// own; the end or the crash of a caller does not affect the others. One thread serves all callers: it polls the busy
/// ones, and sleeps without busy ones. [`Dispatcher::serve_workers`] shares the callers among several threads.
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
    /// `None` while an event loop drives the server, and after a stop.
    acceptor: Option<AcceptorDriver>,
    options: ServerOptions,
    control: Arc<Control>,
}

/// Stops a server from another thread, or from a handler.
#[derive(Debug, Clone)]
pub struct Stopper {
    control: Arc<Control>,
}

impl Stopper {
    /// Stops the server. From now on no request begins. Running handlers end and reply, for at most
    /// [`stop_timeout`](crate::ServerOptions::stop_timeout); waiting requests get an error reply of kind
    /// [`Stopping`](crate::ErrorKind::Stopping). Then every connection closes in good order, and the serving call
    /// returns. A second stop does nothing.
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Number of connected callers.
    pub fn callers(&self) -> usize {
        self.control.callers()
    }
}

impl RpcServer {
    /// Listens at `path`. Callers may connect from now on, and are served once a dispatcher serves.
    ///
    /// # Errors
    /// [`ListenError`]: the path is invalid, or another live listener has it.
    pub fn listen(path: impl AsRef<Path>) -> Result<Self, ListenError> {
        Self::listen_with(path, ServerOptions::new())
    }

    /// As [`listen`](Self::listen), with [`ServerOptions`].
    ///
    /// # Errors
    /// As [`listen`](Self::listen), and for ring sizes that are not powers of two.
    pub fn listen_with(path: impl AsRef<Path>, options: ServerOptions) -> Result<Self, ListenError> {
        let acceptor = AcceptorDriver::new(path.as_ref(), &options)?;
        let control = Arc::new(Control::new(options.stop_timeout, options.stream_threads));
        Ok(Self { acceptor: Some(acceptor), options, control })
    }

    /// A handle that stops this server from another thread, or from a handler.
    pub fn stopper(&self) -> Stopper {
        Stopper { control: Arc::clone(&self.control) }
    }

    /// Sets the hook for events: callers that come and go, and rejected clients. None by default. The serving threads
    /// call the hook, so it must not wait.
    ///
    /// ```
    /// use tachyon::RpcServer;
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("service.sock");
    /// let mut server = RpcServer::listen(&path)?;
    /// server.on_event(|event| eprintln!("{event}"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Panics
    /// When a [`Stopper`] exists already: set the hook first.
    pub fn on_event(&mut self, hook: impl Fn(&ServerEvent<'_>) + Send + Sync + 'static) -> &mut Self {
        let control = Arc::get_mut(&mut self.control).expect("the hook is set before a stopper is taken");
        control.set_hook(Box::new(hook));
        self
    }

    /// Sets how long the serving threads poll an idle caller before they park it.
    pub fn set_polling_mode(&mut self, mode: PollingMode) {
        self.options.connection = self.options.connection.clone().polling(mode);
    }

    /// The path that callers connect to; `None` after a stop.
    pub fn path(&self) -> Option<&Path> {
        self.acceptor.as_ref().map(AcceptorDriver::path)
    }

    /// Publishes statistics, if the options say so. On an error the server goes on without.
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
                self.control.report(&ServerEvent::Error(&error));
                None
            }
        }
    }

    fn serve<S: ?Sized>(&mut self, dispatcher: &mut Dispatcher<S>) -> Result<(), ServeError> {
        let Some(mut acceptor) = self.acceptor.take() else { return Ok(()) };
        let publication = self.publish(dispatcher, acceptor.path(), 1);
        let counters = publication.as_ref().map(|publication| publication.writer.worker(0));
        let (responder, state, shared) = dispatcher.exclusive_with_threads();
        let threads = &self.control.threads;
        let mut service = Blocking { responder, state, counters, shared, threads };
        let outcome = Worker::new(&*self.control, Some(&mut acceptor), self.options.connection.clone())
            .and_then(|mut worker| worker.start_acceptor(&self.control).map(|()| worker))
            .map_err(ServeError::Io)
            .and_then(|worker| worker.run(&mut service));
        self.finish(acceptor, outcome)
    }

    /// Ends the acceptor's thread and removes the workers. An interrupted server keeps its path.
    fn finish(&mut self, mut acceptor: AcceptorDriver, outcome: Result<(), ServeError>) -> Result<(), ServeError> {
        let outcome = both(outcome, acceptor.stop_thread());
        self.control.remove_workers();
        let outcome = match outcome {
            Err(ServeError::Interrupted | ServeError::Forked) => outcome,
            _ => both(outcome, handlers_left(self.control.threads.wait_idle(GRACE))),
        };
        if matches!(outcome, Err(ServeError::Interrupted)) && !self.control.is_stopping() {
            self.acceptor = Some(acceptor);
        }
        outcome
    }

    fn serve_workers<S: ?Sized + Sync>(
        &mut self,
        dispatcher: &Dispatcher<S>,
        workers: usize,
    ) -> Result<(), ServeError> {
        dispatcher.check_shared()?;
        let Some(mut acceptor) = self.acceptor.take() else { return Ok(()) };
        let publication = self.publish(dispatcher, acceptor.path(), workers);
        let (responder, state) = dispatcher.shared();
        let of_threads = dispatcher.state_of_tasks();
        let counters = |worker| publication.as_ref().map(|publication| publication.writer.worker(worker));
        let (control, options) = (&*self.control, &self.options.connection);
        let slow = SlowEndpoints::new();
        // With an inline acceptor, each caller stays with one worker.
        let shared = (self.options.acceptor == AcceptorMode::Thread).then(|| ParkedSessions::new(control)).transpose();
        let shared = match shared {
            Ok(shared) => shared,
            Err(error) => return self.finish(acceptor, Err(ServeError::Io(error))),
        };
        let worker = |acceptor, options| match &shared {
            Some(shared) => Worker::sharing(shared, control, acceptor, options),
            None => Worker::new(control, acceptor, options),
        };
        let outcome = std::thread::scope(|scope| {
            let run = |worker: Worker<&Control, &mut AcceptorDriver, _>, index| {
                let (state, counters, threads) = (StateRef::Shared(state), counters(index), &control.threads);
                let blocking = Blocking { responder, state, counters, shared: of_threads, threads };
                let outcome = worker.run(&mut SharedBlocking { blocking, slow: &slow });
                control.stop();
                outcome
            };
            // The first worker has the acceptor and the interrupt hook.
            let mut first = worker(Some(&mut acceptor), options.clone()).map_err(ServeError::Io)?;
            let uninterrupted = options.clone().without_interrupt();
            let mut others = Vec::new();
            let mut outcome = Ok(());
            for index in 1..workers {
                let started = worker(None, uninterrupted.clone()).and_then(|worker| {
                    let name = format!("tachyon-work-{index}");
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
            // All threads exist before the first caller.
            if outcome.is_ok()
                && let Err(error) = first.start_acceptor(&self.control)
            {
                outcome = Err(ServeError::Io(error));
                control.stop();
            }
            // For a stopped server, this refuses the callers that have connected.
            outcome = both(outcome, run(first, 0));
            for other in others {
                outcome = both(outcome, other.join().unwrap_or_else(|thrown| Err(worker_lost(&Panicked::new(thrown)))));
            }
            outcome
        });
        self.finish(acceptor, outcome)
    }
}

/// Combines the outcomes of two serving threads.
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
    /// Serves a server's callers with `workers` threads, the calling thread included, until the server is stopped. One
    /// thread at a time serves a caller, so the requests of one caller run in order; handlers of different callers run
    /// in parallel. A request waits for another caller's handler only while all workers are busy, or while an endpoint
    /// that was fast in its last 16 runs takes long for once.
    ///
    /// ```
    /// use tachyon::{Caller, Dispatcher, RpcServer, endpoints, tachyon_rpc};
    ///
    /// #[tachyon_rpc(msg_type = 1)]
    /// fn square(number: u64) -> u64 {
    ///     number * number
    /// }
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("service.sock");
    /// let mut server = RpcServer::listen(&path)?;
    /// let stopper = server.stopper();
    /// let service =
    ///     std::thread::spawn(move || Dispatcher::new(endpoints![square]).serve_workers(&mut server, 4));
    ///
    /// assert_eq!(square::call(&mut Caller::connect(&path)?, 12)?, 144);
    /// stopper.stop();
    /// service.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ServeError::Exclusive`] when an endpoint changes the state, for any number of workers; the server is unchanged
    /// and has served no request. Otherwise as [`serve_forever`](Self::serve_forever).
    ///
    /// # Panics
    /// When `workers` is 0.
    pub fn serve_workers(&self, server: &mut RpcServer, workers: usize) -> Result<(), ServeError> {
        assert!(workers > 0, "workers must be at least 1");
        self.check_blocking()?;
        server.serve_workers(self, workers)
    }
}
