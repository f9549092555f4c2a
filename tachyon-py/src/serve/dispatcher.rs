//! `RpcDispatcher`: its methods in Python, and how it serves a bus or a server from threads.

use core::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use tachyon::__binding::{serve_once, serve_taken};
use tachyon::{Dispatcher, ServeError};

use crate::args::{self, Integer};
use crate::bus::ring_ends::{RemainingTimeout, RxEnd, TxEnd};
use crate::errors::{HandlerError, InvalidArgumentError, NoHandlerError, PeerClosedError, Raise};
use crate::memory::buffer_export::type_name;
use crate::rpc::endpoint::RpcEndpoint;
use crate::rpc::rpc_bus::RpcBus;
use crate::runtime::gil_free_serving;
use crate::runtime::interrupt::{self, detached};
use crate::runtime::logging::{Level, log};
use crate::runtime::package::imported;
use crate::serve::decorator::EndpointDecorator;
use crate::serve::endpoint_table::{RpcDispatcher, Shared, lock};
use crate::serve::handler::take_cause;
use crate::serve::rpc_server::RpcServer;
use crate::serve::rust_endpoint::RustEndpoint;

impl RpcDispatcher {
    /// Fails when a handler is a coroutine function, which only an event loop can run.
    fn check_sync(&self) -> PyResult<()> {
        if lock(&self.shared.coroutines).is_empty() {
            return Ok(());
        }
        Err(InvalidArgumentError::new_err(
            "a handler of this dispatcher is `async def`; serve with `await dispatcher.aserve(...)`",
        ))
    }

    /// Takes both directions of a bus, and serves.
    fn serving(
        &self,
        bus: &RpcBus,
        serve: impl FnOnce(&mut Dispatcher, &mut RxEnd, &mut TxEnd) -> PyResult<()>,
    ) -> PyResult<()> {
        self.check_sync()?;
        let mut table = self.table()?;
        let mut forward = bus.to_serve()?;
        let rx_end = forward.serving()?;
        let mut reverse = bus.reverse()?;
        let tx_end = reverse.replying()?;
        tx_end.in_use.check()?;
        serve(&mut table, rx_end, tx_end)
    }

    /// Serves one request. `Ok(Err(..))` is a failure that was answered, with the exception of `serve_once`.
    #[inline]
    fn serve_one(
        &self,
        py: Python<'_>,
        table: &mut Dispatcher,
        rx_end: &mut RxEnd,
        tx_end: &mut TxEnd,
        spins: Option<tachyon::PollingMode>,
        timeout: Option<core::time::Duration>,
    ) -> PyResult<Result<(), FailedRequest>> {
        // A caller may wait for a reply that an interrupted wait left behind, and send nothing until it comes.
        tx_end.ring.flush_deferred().map_err(Raise::raise)?;
        let remaining = RemainingTimeout::new(timeout);
        let mut taking = rx_end.take(py, spins, timeout)?;
        while !taking.is_plain() {
            taking = rx_end.ring.open_metadata(taking);
            if !taking.is_control() {
                break;
            }
            // A control request calls no handler, and its reply may wait for room.
            let (table, requests, replies) = (&mut *table, &mut rx_end.ring, &mut tx_end.ring);
            detached(py, move || serve_taken(table, requests, replies, taking))?;
            taking = rx_end.take(py, spins, remaining.left(py)?)?;
        }
        let (requests, replies) = (&mut rx_end.ring, &mut tx_end.ring);
        let outcome = if !taking.is_plain() {
            // An OPEN is served until its stream has ended, with waits between the items.
            let serve = || serve_taken(table, requests, replies, taking);
            py.detach(|| interrupt::until_ended(&self.shared.has_ended, serve))
        } else if self.shared.has_rust() {
            py.detach(move || serve_taken(table, requests, replies, taking))
        } else {
            serve_taken(table, requests, replies, taking)
        };
        self.shared.ended()?;
        match outcome {
            Ok(()) => Ok(Ok(())),
            Err(failure) => FailedRequest::new(py, failure).map(Err),
        }
    }

    /// Serves a bus until its end, without the GIL except in Python handlers.
    fn serve_gil_free(
        &self,
        py: Python<'_>,
        table: &mut Dispatcher,
        rx_end: &mut RxEnd,
        tx_end: &mut TxEnd,
        spins: Option<tachyon::PollingMode>,
    ) -> PyResult<()> {
        rx_end.in_use.check()?;
        let (requests, replies) = (&mut rx_end.ring, &mut tx_end.ring);
        let before = spins.map(|spins| requests.swap_polling_mode(spins));
        self.shared.reports.defer(true);
        let outcome = gil_free_serving::serve(
            py,
            |py| self.shared.reports.flush(py),
            |stop| stop.store(true, Ordering::Relaxed),
            || {
                interrupt::until_ended(&self.shared.has_ended, || {
                    while interrupt::stop_requested() != Some(true) {
                        match serve_once(table, requests, replies, None) {
                            Ok(()) | Err(ServeError::Interrupted) if self.shared.has_ended() => return Ok(()),
                            Ok(()) => {}
                            Err(failure @ (ServeError::NoHandler { .. } | ServeError::Handler(_))) => {
                                self.shared.note(&failure);
                                if self.shared.has_ended() {
                                    return Ok(());
                                }
                            }
                            Err(end) => return Err(end),
                        }
                    }
                    Err(ServeError::Interrupted)
                })
            },
        );
        self.shared.reports.defer(false);
        if let Some(before) = before {
            rx_end.ring.swap_polling_mode(before);
        }
        outcome.and(self.shared.ended())
    }

    /// Serves the callers of a server until it is stopped.
    fn serve_callers(
        &self,
        py: Python<'_>,
        server: &RpcServer,
        spins: Option<tachyon::PollingMode>,
        workers: usize,
    ) -> PyResult<()> {
        self.check_sync()?;
        let mut table = self.table()?;
        self.shared.begin(server.stopper().clone());
        let table = &mut *table;
        let rust_reports = self.shared.has_rust().then_some(&self.shared.reports);
        let outcome = server.serve(py, spins, rust_reports, |core| {
            if workers == 1 { table.serve_forever(core) } else { table.serve_workers(core, workers) }
        });
        outcome.and(self.shared.finish())
    }
}

/// A request that was answered with an error.
struct FailedRequest {
    text: String,
    cause: Option<PyErr>,
    /// The exception of `serve_once`.
    error: PyErr,
}

impl FailedRequest {
    #[cold]
    fn new(py: Python<'_>, failure: ServeError) -> PyResult<Self> {
        let cause = take_cause();
        if let Some(cause) = &cause
            && !cause.is_instance_of::<PyException>(py)
        {
            // KeyboardInterrupt, SystemExit: the caller has its answer, and the exception propagates.
            return Err(cause.clone_ref(py));
        }
        let text = failure.to_string();
        match failure {
            ServeError::NoHandler { msg_type } => {
                let parts = (tachyon::ErrorKind::NoHandler as u16, msg_type, text.clone());
                Ok(Self { text, cause: None, error: NoHandlerError::new_err(parts) })
            }
            ServeError::Handler(failure) => {
                let error = HandlerError::new_err((failure.kind as u16, failure.msg_type, text.clone()));
                error.set_cause(py, cause.as_ref().map(|cause| cause.clone_ref(py)));
                Ok(Self { text, cause, error })
            }
            end => Err(end.raise()),
        }
    }

    /// Reports the failure, with the traceback of its cause.
    fn log(self, py: Python<'_>) -> PyResult<()> {
        log(py, Level::Error, &self.text, self.cause)
    }
}

#[pymethods]
impl RpcDispatcher {
    #[new]
    #[pyo3(signature = (*, hide_error_text=false))]
    fn new(hide_error_text: bool) -> Self {
        let mut table = Dispatcher::default();
        let shared = Arc::<Shared>::default();
        let noting = Arc::clone(&shared);
        table.hide_error_text(hide_error_text).on_failure(move |failure| noting.note(failure));
        Self { table: Mutex::new(table), shared }
    }

    /// Add an endpoint, or all endpoints of an object that implements a `Service`; return the dispatcher.
    ///
    /// Endpoints that an extension in Rust exported go into the same table; see `RustEndpoint`.
    fn register<'py>(slf: Bound<'py, Self>, endpoint: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        if let Ok(endpoint) = endpoint.cast::<RpcEndpoint>() {
            slf.get().add(endpoint)?;
        } else if let Ok(endpoint) = endpoint.cast::<RustEndpoint>() {
            slf.get().add_rust(endpoint)?;
        } else {
            let endpoints = imported!(slf.py(), "tachyon._service", "endpoints_of")?.call1((endpoint,))?;
            let Some(endpoints) = endpoints.extract::<Option<Vec<Bound<'py, RpcEndpoint>>>>()? else {
                let name = type_name(endpoint)?;
                let message = format!(
                    "an RpcEndpoint, a RustEndpoint or an object of a Service is registered, not {name}; decorate it: \
                     @tachyon_rpc(msg_type=1)"
                );
                return Err(PyTypeError::new_err(message));
            };
            slf.get().add_service(&endpoints)?;
        }
        Ok(slf)
    }

    /// Add a layer, which sees each request before and after its handler, and may refuse it; return the dispatcher.
    ///
    /// `tachyon.layers.Layer` has the methods of a layer. Layers run in the order of their addition, and see endpoints
    /// in Rust too: with a layer, each request takes the GIL. They do not see `describe` and `ping`.
    fn layer<'py>(slf: Bound<'py, Self>, layer: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Self>> {
        let layer = imported!(slf.py(), "tachyon.layers", "checked")?.call1((layer,))?;
        slf.get().add_layer(layer)?;
        Ok(slf)
    }

    /// Do what `tachyon_rpc` does, and register the endpoint.
    #[pyo3(signature = (msg_type, *, idempotent=false, raises=None, codec=None))]
    fn handler(
        slf: Bound<'_, Self>,
        msg_type: &Bound<'_, PyAny>,
        idempotent: bool,
        raises: Option<Py<PyAny>>,
        codec: Option<Py<PyAny>>,
    ) -> PyResult<EndpointDecorator> {
        if msg_type.is_instance_of::<RpcEndpoint>() || msg_type.is_instance_of::<RustEndpoint>() {
            let message =
                "dispatcher.handler decorates a function; an endpoint is added by dispatcher.register(endpoint)";
            return Err(PyTypeError::new_err(message));
        }
        let msg_type = args::decorated_msg_type("dispatcher.handler", msg_type)?;
        Ok(EndpointDecorator::registering(msg_type, idempotent, raises, codec, slf.unbind()))
    }

    /// Wait for one request, run its handler and reply.
    ///
    /// The caller always gets an answer. After an error reply this raises `NoHandlerError` (a `KeyError`) or
    /// `HandlerError` (a `RuntimeError`) here as well.
    #[pyo3(signature = (bus, spin_threshold=None, *, timeout=None))]
    fn serve_once(
        &self,
        bus: &Bound<'_, RpcBus>,
        spin_threshold: Option<Integer>,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let py = bus.py();
        let spins = args::spins(spin_threshold)?;
        let timeout = args::timeout(timeout)?;
        self.serving(bus.get(), |table, rx_end, tx_end| {
            self.serve_one(py, table, rx_end, tx_end, spins, timeout)?.map_err(|failed| failed.error)
        })
    }

    /// Serve a bus until its peer closes, or the callers of a server until it is stopped.
    ///
    /// Failing handlers are logged, with traceback, on the logger `tachyon`. `KeyboardInterrupt`, and on a bus
    /// `PeerDeadError`, end the serving and propagate; a server finishes the calls in flight first. With several
    /// `workers` the callers of a server are shared among as many threads, this thread among them, and handlers of
    /// different callers run in parallel as far as the GIL allows.
    ///
    /// Endpoints in Rust are served even while other threads hold the GIL: a separate thread serves and runs Python
    /// handlers too, while this thread handles signals and the log.
    ///
    /// The signals of `stop_on`, such as `(signal.SIGTERM, signal.SIGINT)`, stop a server as `stop` does, and the call
    /// returns. Their handlers are those from before again when the call ends, and the handler of `SIGINT` is so from
    /// the first signal on: a second Ctrl-C interrupts a handler that hangs. Only the main thread may pass `stop_on`.
    #[pyo3(
        signature = (bus, spin_threshold=None, *, workers=Integer::Fits(1), stop_on=None),
        text_signature = "($self, bus, spin_threshold=None, *, workers=1, stop_on=None)"
    )]
    fn serve_forever(
        &self,
        bus: &Bound<'_, PyAny>,
        spin_threshold: Option<Integer>,
        workers: Integer,
        stop_on: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = bus.py();
        let spins = args::spins(spin_threshold)?;
        let workers = args::count("workers", workers)?;
        let restore = match stop_on {
            Some(signals) => Some(imported!(py, "tachyon._signals", "install")?.call1((signals, bus))?),
            None => None,
        };
        if let Ok(server) = bus.cast::<RpcServer>() {
            let outcome = self.serve_callers(py, server.get(), spins, workers);
            let restored = restore.map_or(Ok(()), |restore| restore.call0().map(drop));
            return outcome.and(restored);
        }
        let Ok(bus) = bus.cast::<RpcBus>() else {
            let message = format!("an RpcBus or an RpcServer is served, not {}", type_name(bus)?);
            return Err(PyTypeError::new_err(message));
        };
        if workers != 1 {
            return Err(InvalidArgumentError::new_err(
                "a bus has one caller and one worker; a server can have several",
            ));
        }
        let outcome = self.serving(bus.get(), |table, rx_end, tx_end| {
            if self.shared.has_rust() {
                return self.serve_gil_free(py, table, rx_end, tx_end, spins);
            }
            loop {
                if let Err(failed) = self.serve_one(py, table, rx_end, tx_end, spins, None)? {
                    failed.log(py)?;
                }
                // A handler written in C never lets the interpreter check for signals.
                py.check_signals()?;
            }
        });
        match outcome {
            Err(end) if end.is_instance_of::<PeerClosedError>(py) => Ok(()),
            outcome => outcome,
        }
    }

    /// Serve a bus until its peer closes, or the callers of a server until it is stopped, from a coroutine.
    ///
    /// Handlers that are coroutine functions run as tasks, up to `concurrency` at a time; other handlers run between
    /// them and block the loop. Cancelling this also cancels handlers that still run, and their callers get an error
    /// reply of kind `CANCELLED`. The bus is closed afterwards. `stop_on` is as in `serve_forever`.
    #[pyo3(
        signature = (bus, *, concurrency=Integer::Fits(100), stop_on=None),
        text_signature = "($self, bus, *, concurrency=100, stop_on=None)"
    )]
    fn aserve<'py>(
        slf: &Bound<'py, Self>,
        bus: &Bound<'py, PyAny>,
        concurrency: Integer,
        stop_on: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let concurrency = args::count("concurrency", concurrency)?;
        imported!(slf.py(), "tachyon._serving", "aserve")?.call1((slf, bus, concurrency, stop_on))
    }

    fn __len__(&self) -> usize {
        lock(&self.shared.endpoints).len() + lock(&self.shared.rust).len()
    }

    fn __contains__(&self, msg_type: Integer) -> bool {
        let Integer::Fits(wanted) = msg_type else { return false };
        let is_wanted = |msg_type: u16| u64::from(msg_type) == wanted;
        lock(&self.shared.endpoints).iter().any(|endpoint| is_wanted(endpoint.get().type_number()))
            || lock(&self.shared.rust).iter().any(|msg_type| is_wanted(*msg_type))
    }

    fn __repr__(&self) -> String {
        format!("<tachyon.RpcDispatcher endpoints={}>", self.__len__())
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Locked only for moments, and never while objects are made: a locked table is visited next time.
        if let Ok(endpoints) = self.shared.endpoints.try_lock() {
            for endpoint in endpoints.iter() {
                visit.call(endpoint)?;
            }
        }
        if let Ok(layers) = self.shared.layers.try_lock() {
            for layer in layers.iter() {
                visit.call(layer)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let endpoints = core::mem::take(&mut *lock(&self.shared.endpoints));
        let layers = core::mem::take(&mut *lock(&self.shared.layers));
        drop((endpoints, layers));
    }
}
