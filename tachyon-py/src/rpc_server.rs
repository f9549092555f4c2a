//! `RpcServer`: one path, any number of callers.

use core::mem;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use pyo3::prelude::*;
use tachyon::server::{AcceptorMode, DisconnectReason, ServerEvent};
use tachyon::{Options, PollingMode, ServeError, ServerOptions, Stopper};

use crate::args::{self, Integer};
use crate::aside;
use crate::current::is_handling;
use crate::ends::busy;
use crate::errors::{BusClosedError, InvalidArgumentError, Raise};
use crate::interrupt::{asked_to_stop_serving, stopping_instead};
use crate::lifetime::options;
use crate::report::{Level, Reports};

/// How often a wait for the end of serving looks for signals.
const SLICE: Duration = Duration::from_millis(50);

/// What the server is doing.
enum Stage {
    /// Callers may connect, and wait to be served.
    Ready(Box<tachyon::RpcServer>),
    Serving(ThreadId),
    /// Stopped; the path is free.
    Over,
}

/// The serving end of RPC for many callers, at one path.
///
/// Every caller that connects gets a pair of rings of its own, and callers come, go and crash without the others
/// noticing. `dispatcher.serve_forever(server)` serves them, and `stop` ends that. The rings have `forward` payload bytes
/// for requests and `reverse` for replies (powers of two); a caller may ask for more, up to `max_forward` and
/// `max_reverse`. One caller more than `max_callers` is told that the server is busy. A client that does not finish its
/// handshake within `handshake_timeout` seconds is dropped; a server that stops gives what has begun, and callers
/// that do not take their last replies, `stop_timeout` seconds in all. Of `max_callers`, one process may be
/// `callers_per_process`. The rings of all callers together take `ring_bytes` at most: a caller that asks for more than
/// is left gets smaller ones, or is told that the server is busy. Users other than this process's are refused unless
/// `any_uid` is set.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct RpcServer {
    stage: Mutex<Stage>,
    over: Condvar,
    stopper: Stopper,
    path: PathBuf,
    /// What is to be reported of callers that come and go.
    reports: Arc<Reports>,
}

impl RpcServer {
    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stopper(&self) -> &Stopper {
        &self.stopper
    }

    /// Takes the server, for this thread to serve.
    pub(crate) fn begin(&self) -> PyResult<tachyon::RpcServer> {
        let mut stage = self.stage();
        match mem::replace(&mut *stage, Stage::Serving(thread::current().id())) {
            Stage::Ready(core) => Ok(*core),
            before => {
                let refusal = if matches!(before, Stage::Over) { over() } else { busy() };
                *stage = before;
                Err(refusal)
            }
        }
    }

    /// Serves without the interpreter until the server is stopped. A signal whose handler raises stops it, too. With
    /// endpoints in Rust, `aside` has what their dispatcher reports, and nobody who serves waits for the interpreter.
    pub(crate) fn serve(
        &self,
        py: Python<'_>,
        spins: Option<PollingMode>,
        aside: Option<&Reports>,
        serve: impl FnOnce(&mut tachyon::RpcServer) -> Result<(), ServeError> + Send,
    ) -> PyResult<()> {
        let mut core = self.begin()?;
        let serve = || {
            if let Some(mode) = spins {
                core.set_polling_mode(mode);
            }
            let outcome = stopping_instead(&self.stopper, || serve(&mut core));
            // Frees the path before anybody is told that it is free.
            drop(core);
            self.end();
            outcome
        };
        let Some(reports) = aside else { return py.detach(serve).map_err(Raise::raise) };
        let all = [&*self.reports, reports];
        for reports in all {
            reports.keep(true);
        }
        let tend = |py: Python<'_>| all.iter().map(|reports| reports.flush(py)).fold(Ok(()), PyResult::and);
        let outcome = aside::serve(py, tend, |_| self.stopper.stop(), serve);
        for reports in all {
            reports.keep(false);
        }
        outcome
    }

    /// Ends what `begin` began; the server it gave is gone.
    pub(crate) fn end(&self) {
        *self.stage() = Stage::Over;
        self.over.notify_all();
    }
}

/// Use after the end.
#[cold]
fn over() -> PyErr {
    BusClosedError::new_err("this server was stopped; make another one")
}

/// Reports what happens to a server beside its calls.
fn tell(reports: &Reports, path: &str, event: &ServerEvent<'_>) {
    let level = match event {
        ServerEvent::Left(_, DisconnectReason::Misbehaved) | ServerEvent::Rejected(_) => Level::Warning,
        ServerEvent::Error(_) => Level::Error,
        _ => Level::Info,
    };
    reports.tell(level, format!("{path}: {event}"));
}

#[pymethods]
impl RpcServer {
    #[new]
    #[pyo3(
        signature = (
            path, *, forward=Integer::Fits(1 << 16), reverse=Integer::Fits(1 << 16), max_callers=Integer::Fits(64),
            max_forward=Integer::Fits(1 << 24), max_reverse=Integer::Fits(1 << 24), handshake_timeout=1.0,
            stop_timeout=1.0, any_uid=false, acceptor="thread",
            callers_per_process=None, ring_bytes=Integer::Fits(1 << 30)
        ),
        text_signature = "(path, *, forward=65536, reverse=65536, max_callers=64, max_forward=16777216, \
                          max_reverse=16777216, handshake_timeout=1.0, stop_timeout=1.0, any_uid=False, \
                          acceptor='thread', callers_per_process=None, ring_bytes=1073741824)"
    )]
    #[allow(clippy::too_many_arguments, reason = "named ones, in Python")]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        forward: Integer,
        reverse: Integer,
        max_callers: Integer,
        max_forward: Integer,
        max_reverse: Integer,
        handshake_timeout: f64,
        stop_timeout: f64,
        any_uid: bool,
        acceptor: &str,
        callers_per_process: Option<Integer>,
        ring_bytes: Integer,
    ) -> PyResult<Self> {
        let acceptor = match acceptor {
            "thread" => AcceptorMode::Thread,
            "inline" => AcceptorMode::Inline,
            other => {
                return Err(InvalidArgumentError::new_err(format!(
                    "acceptor is \"thread\" or \"inline\", not {other:?}"
                )));
            }
        };
        let limit = |seconds| Ok::<_, PyErr>(args::timeout(Some(seconds))?.unwrap_or(Duration::MAX));
        let connection: Options =
            options(None, any_uid)?.interrupt(asked_to_stop_serving).handshake_timeout(limit(handshake_timeout)?);
        let ring_bytes = args::count("ring_bytes", ring_bytes)? as u64;
        let each_process =
            callers_per_process.map(|callers| args::count("callers_per_process", callers)).transpose()?;
        let options = ServerOptions::new()
            .callers_per_process(each_process.unwrap_or(usize::MAX))
            .ring_bytes(u64::MAX, ring_bytes)
            .connection(connection)
            .max_callers(args::count("max_callers", max_callers)?)
            .ring_sizes(args::size("forward", forward)?, args::size("reverse", reverse)?)
            .max_ring_sizes(args::size("max_forward", max_forward)?, args::size("max_reverse", max_reverse)?)
            .stop_timeout(limit(stop_timeout)?)
            .acceptor(acceptor);
        let mut core = py.detach(|| tachyon::RpcServer::listen_with(&path, options)).map_err(Raise::raise)?;
        let shown = path.display().to_string();
        let reports = Arc::<Reports>::default();
        let told = Arc::clone(&reports);
        core.on_event(move |event| tell(&told, &shown, event));
        let stopper = core.stopper();
        Ok(Self { stage: Mutex::new(Stage::Ready(Box::new(core))), over: Condvar::new(), stopper, path, reports })
    }

    /// Where callers connect.
    #[getter]
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// How many callers are connected.
    #[getter]
    fn callers(&self) -> usize {
        self.stopper.callers()
    }

    /// Whether the server was stopped, and its path is free.
    #[getter]
    fn closed(&self) -> bool {
        matches!(*self.stage(), Stage::Over)
    }

    /// Have the server finish, from any thread or from a handler; return at once.
    ///
    /// Requests being handled are answered, queued ones get an error reply of kind `STOPPING`, connections are closed in
    /// good order, and `serve_forever` returns.
    fn stop(&self) {
        self.stopper.stop();
    }

    /// Stop, and wait until the path is free. In a handler of this server it does not wait. Closing twice is fine.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.stopper.stop();
        py.check_signals()?;
        loop {
            let ended = py.detach(|| {
                let mut stage = self.stage();
                if matches!(*stage, Stage::Ready(_)) {
                    let ready = mem::replace(&mut *stage, Stage::Over);
                    drop(stage);
                    drop(ready);
                    return true;
                }
                match *stage {
                    // Whoever waited here for themselves would wait for ever.
                    Stage::Serving(thread) if thread == thread::current().id() || is_handling() => true,
                    Stage::Serving(_) => {
                        let waited = self.over.wait_timeout(stage, SLICE).unwrap_or_else(PoisonError::into_inner);
                        matches!(*waited.0, Stage::Over)
                    }
                    _ => true,
                }
            });
            if ended {
                return Ok(());
            }
            py.check_signals()?;
        }
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        if slf.get().closed() { Err(over()) } else { Ok(slf) }
    }

    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __exit__(
        &self,
        py: Python<'_>,
        exc_type: &Bound<'_, PyAny>,
        exc_value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let _ = (exc_type, exc_value, traceback);
        self.close(py)
    }

    fn __repr__(&self) -> String {
        let stage = match *self.stage() {
            Stage::Ready(_) => "ready",
            Stage::Serving(_) => "serving",
            Stage::Over => "closed",
        };
        format!("<tachyon.RpcServer path='{}' {stage} callers={}>", self.path.display(), self.callers())
    }
}
