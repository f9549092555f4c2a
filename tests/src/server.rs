//! Servers under test: one in a thread of this process, and the programs `peer` and `tokio_service`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tachyon::server::ServerEvent;
use tachyon::{Callee, Caller, Dispatcher, RpcServer, ServeError, ServerOptions, Stopper};

use crate::process::Peer;

/// The endpoint that stops a server.
pub const STOP: u16 = 9;

/// A thread that serves.
pub type Serving = JoinHandle<Result<(), ServeError>>;

/// Serves in a new thread of this process: by that many workers, or by tokio if `workers` is 0.
///
/// # Panics
/// In the new thread, when there can be no runtime of tokio.
pub fn serve<S: Send + Sync + 'static>(
    mut server: RpcServer,
    mut dispatcher: Dispatcher<S>,
    workers: usize,
) -> (Stopper, Serving) {
    let stopper = server.stopper();
    let serving = std::thread::spawn(move || match workers {
        0 => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(dispatcher.serve_async(&mut server))
        }
        1 => dispatcher.serve_forever(&mut server),
        more => dispatcher.serve_workers(&mut server, more),
    });
    (stopper, serving)
}

/// A way to serve.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// A callee with one caller.
    OneCaller,
    /// A server with so many workers, where 0 is tokio.
    Server(usize),
}

/// Each way to serve.
pub const WAYS: [Way; 4] = [Way::OneCaller, Way::Server(1), Way::Server(2), Way::Server(0)];

/// A dispatcher that serves in this process.
#[derive(Debug)]
pub enum Running {
    /// A callee with one caller.
    OneCaller(Serving),
    /// A server.
    Server(Stopper, Serving),
}

impl Running {
    /// Serves at `path`.
    ///
    /// # Panics
    /// When nothing can listen at the path.
    pub fn start<S: Send + Sync + 'static>(path: &Path, way: Way, dispatcher: Dispatcher<S>) -> Self {
        Self::start_with(path, way, dispatcher, ServerOptions::new())
    }

    /// As [`start`](Self::start), with options for the servers.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with<S: Send + Sync + 'static>(
        path: &Path,
        way: Way,
        mut dispatcher: Dispatcher<S>,
        options: ServerOptions,
    ) -> Self {
        let Way::Server(workers) = way else {
            let path = path.to_owned();
            return Self::OneCaller(std::thread::spawn(move || {
                let mut callee = Callee::listen(path, 1 << 16, 1 << 16).expect("the path is free");
                dispatcher.serve_forever(&mut callee)
            }));
        };
        let (stopper, serving) =
            serve(RpcServer::listen_with(path, options).expect("the path is free"), dispatcher, workers);
        Self::Server(stopper, serving)
    }

    /// Stops a server, and returns the outcome of serving. A callee with one caller ends with its caller.
    ///
    /// # Errors
    /// That of serving.
    ///
    /// # Panics
    /// When the serving thread panicked.
    pub fn stopped(self) -> Result<(), ServeError> {
        let serving = match self {
            Self::OneCaller(serving) => serving,
            Self::Server(stopper, serving) => {
                stopper.stop();
                serving
            }
        };
        serving.join().expect("the serving thread does not panic")
    }

    /// Ends serving, after the callers are dropped.
    ///
    /// # Panics
    /// When serving failed.
    pub fn end(self) {
        self.stopped().expect("serving ends in good order");
    }
}

/// Stops a server in another process, and returns the events that it printed.
///
/// # Panics
/// When the server does not answer within `limit`, or fails.
pub fn stop(server: Peer, path: &Path, limit: Duration) -> Vec<String> {
    let mut caller = Caller::connect(path).expect("the server accepts callers");
    drop(caller.call_timeout(STOP, b"", limit).expect("the server answers"));
    server.finish().lines().map(str::to_owned).collect()
}

/// How many of the events are `event`.
pub fn count(events: &[String], event: &str) -> usize {
    events.iter().filter(|found| *found == event).count()
}

/// The events of a server, each as one line.
#[derive(Debug, Clone, Default)]
pub struct EventLog(Arc<Mutex<Vec<String>>>);

impl EventLog {
    /// Logs the events of `server` from now on.
    pub fn of(server: &mut RpcServer) -> Self {
        let log = Self::default();
        let own = log.clone();
        server.on_event(move |event| {
            let line = match event {
                ServerEvent::Joined(_) => "joined".to_owned(),
                ServerEvent::Left(_, how) => format!("{how:?}"),
                other => other.to_string(),
            };
            own.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        });
        log
    }

    /// The lines so far.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}
