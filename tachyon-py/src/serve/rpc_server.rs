//! `RpcServer`: one path, any number of callers.

use core::mem;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use pyo3::prelude::*;
use tachyon::server::{AcceptorMode, DisconnectReason, ServerEvent};
use tachyon::{Options, PollingMode, ServeError, ServerOptions, Stopper};

use crate::args::{self, Integer, Polling};
use crate::bus::lifetime::options;
use crate::bus::ring_ends::busy;
use crate::errors::{BusClosedError, InvalidArgumentError, Raise};
use crate::runtime::gil_free_serving;
use crate::runtime::interrupt::{asked_to_stop_serving, serve_until_signal};
use crate::runtime::logging::{Level, Reports};
use crate::runtime::package::imported;
use crate::serve::current_call::is_handling;

/// Time between two checks for signals while `close` waits.
const SLICE: Duration = Duration::from_millis(50);

/// The state of the server.
enum Stage {
    /// Callers may connect, and wait to be served.
    Ready(Box<tachyon::RpcServer>),
    Serving(ThreadId),
    /// Stopped; the path is free.
    Over,
}

/// The serving end of RPC for many callers, at one path.
///
/// Every caller that connects gets a pair of rings, and callers come, go and crash without an effect on others.
/// `dispatcher.serve_forever(server)` serves them until `stop`. The rings have `forward` payload bytes for requests and
/// `reverse` for replies (powers of two); a caller may request more, up to `max_forward` and `max_reverse`. A caller
/// beyond `max_callers` gets `ServerBusyError`. A client that does not finish its handshake within `handshake_timeout`
/// seconds is dropped. A server that stops waits up to `stop_timeout` seconds for handlers that run and for callers to
/// take their last replies. One process may be `callers_per_process` of the `max_callers`. The rings of all callers
/// together take at most `ring_bytes`: a caller that requests more than is left gets smaller rings, or
/// `ServerBusyError`. Other users than this process's are refused unless `any_uid` is set. `polling` says how long the
/// serving threads look at a silent caller before they sleep: `"adaptive"`, `"spin"` or `"park"`.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct RpcServer {
    stage: Mutex<Stage>,
    over: Condvar,
    stopper: Stopper,
    path: PathBuf,
    /// Reports of callers that connect and disconnect.
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
                let refusal = if matches!(before, Stage::Over) { stopped() } else { busy() };
                *stage = before;
                Err(refusal)
            }
        }
    }

    /// Serves without the GIL until the server is stopped. A signal whose handler raises stops it too. `rust_reports`
    /// are the reports of a dispatcher with endpoints in Rust, for which no serving thread waits for the GIL.
    pub(crate) fn serve(
        &self,
        py: Python<'_>,
        spins: Option<PollingMode>,
        rust_reports: Option<&Reports>,
        serve: impl FnOnce(&mut tachyon::RpcServer) -> Result<(), ServeError> + Send,
    ) -> PyResult<()> {
        let mut core = self.begin()?;
        let serve = || {
            if let Some(mode) = spins {
                core.set_polling_mode(mode);
            }
            let outcome = serve_until_signal(&self.stopper, || serve(&mut core));
            // Frees the path before `end` wakes the waiters.
            drop(core);
            self.end();
            outcome
        };
        let Some(reports) = rust_reports else { return py.detach(serve).map_err(Raise::raise) };
        let all = [&*self.reports, reports];
        for reports in all {
            reports.defer(true);
        }
        let periodic = |py: Python<'_>| all.iter().map(|reports| reports.flush(py)).fold(Ok(()), PyResult::and);
        let outcome = gil_free_serving::serve(py, periodic, |_| self.stopper.stop(), serve);
        for reports in all {
            reports.defer(false);
        }
        outcome
    }

    /// Ends the serving that `begin` began, after the server is dropped.
    pub(crate) fn end(&self) {
        *self.stage() = Stage::Over;
        self.over.notify_all();
    }
}

/// The error for a use after the end.
#[cold]
fn stopped() -> PyErr {
    BusClosedError::new_err("this server was stopped; make another one")
}

/// Reports an event of a server that is no call.
fn report_event(reports: &Reports, path: &str, event: &ServerEvent<'_>) {
    let level = match event {
        ServerEvent::Left(_, DisconnectReason::Misbehaved) | ServerEvent::Rejected(_) => Level::Warning,
        ServerEvent::Error(_) => Level::Error,
        _ => Level::Info,
    };
    reports.add(level, format!("{path}: {event}"));
}

#[pymethods]
impl RpcServer {
    #[new]
    #[pyo3(
        signature = (
            path, *, forward=Integer::Fits(1 << 16), reverse=Integer::Fits(1 << 16), max_callers=Integer::Fits(64),
            max_forward=Integer::Fits(1 << 24), max_reverse=Integer::Fits(1 << 24), handshake_timeout=1.0,
            stop_timeout=1.0, any_uid=false, acceptor="thread",
            callers_per_process=None, ring_bytes=Integer::Fits(1 << 30), polling=Polling::ADAPTIVE
        ),
        text_signature = "(path, *, forward=65536, reverse=65536, max_callers=64, max_forward=16777216, \
                          max_reverse=16777216, handshake_timeout=1.0, stop_timeout=1.0, any_uid=False, \
                          acceptor='thread', callers_per_process=None, ring_bytes=1073741824, polling='adaptive')"
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
        polling: Polling,
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
        let connection: Options = options(None, any_uid)?
            .interrupt(asked_to_stop_serving)
            .handshake_timeout(limit(handshake_timeout)?)
            .polling(polling.0);
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
        let reported = Arc::clone(&reports);
        core.on_event(move |event| report_event(&reported, &shown, event));
        let stopper = core.stopper();
        Ok(Self { stage: Mutex::new(Stage::Ready(Box::new(core))), over: Condvar::new(), stopper, path, reports })
    }

    /// The socket path.
    #[getter]
    fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// The number of connected callers.
    #[getter]
    fn callers(&self) -> usize {
        self.stopper.callers()
    }

    /// Whether the server has stopped and its path is free.
    #[getter]
    fn closed(&self) -> bool {
        matches!(*self.stage(), Stage::Over)
    }

    /// Stop the server, from any thread or from a handler; return at once.
    ///
    /// Requests being handled are answered, queued requests get an error reply of kind `STOPPING`, connections are
    /// closed in good order, and `serve_forever` returns.
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
                    // A handler, or the serving thread, would wait for itself.
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
        if slf.get().closed() { Err(stopped()) } else { Ok(slf) }
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

    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        if slf.get().closed() {
            return Err(stopped());
        }
        imported!(slf.py(), "tachyon._connecting", "enter")?.call1((slf,))
    }

    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __aexit__<'py>(
        slf: &Bound<'py, Self>,
        exc_type: &Bound<'py, PyAny>,
        exc_value: &Bound<'py, PyAny>,
        traceback: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = (exc_type, exc_value, traceback);
        imported!(slf.py(), "tachyon._connecting", "leave_server")?.call1((slf,))
    }

    /// Whether a thread or an event loop serves.
    #[getter]
    fn __tachyon_serving__(&self) -> bool {
        matches!(*self.stage(), Stage::Serving(_))
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
