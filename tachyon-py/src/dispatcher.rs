//! `RpcDispatcher`: the core's dispatch table, filled with Python callables.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use pyo3::exceptions::PyException;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tachyon::__binding::{Mapping, serve_taken};
use tachyon::{Dispatcher, HandlerError as CoreHandlerError, ServeError};

use crate::args::{self, Integer};
use crate::control::Patience;
use crate::endpoint::{EndpointDecorator, RpcEndpoint};
use crate::ends::{Inlet, Outlet};
use crate::errors::{BusyError, HandlerError, NoHandlerError, PeerClosedError, Raise};
use crate::handler;
use crate::interrupt::detached;
use crate::rpc_bus::RpcBus;

/// What the table's handlers and the loop around them share.
#[derive(Default)]
struct Shared {
    /// Handlers refer to their endpoint by its place here, so that the garbage collector sees each reference once.
    endpoints: Mutex<Vec<Py<RpcEndpoint>>>,
    /// What made the request just served fail.
    cause: Mutex<Option<PyErr>>,
    /// Keeps the requests being served mapped.
    mapping: Mutex<Option<Mapping>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Routes requests to the endpoints registered for their message type.
///
/// One thread at a time may serve with it; threads that serve at the same time have a dispatcher each. With
/// `send_error_text` error replies carry the text of what went wrong, which otherwise stays on this side.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct RpcDispatcher {
    table: Mutex<Dispatcher>,
    shared: Arc<Shared>,
}

impl RpcDispatcher {
    fn table(&self) -> PyResult<MutexGuard<'_, Dispatcher>> {
        match self.table.try_lock() {
            Ok(table) => Ok(table),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(BusyError::new_err(
                "this dispatcher is serving, in this thread or another; give every thread that serves its own",
            )),
        }
    }

    /// Adds an endpoint.
    pub(crate) fn add(&self, endpoint: &Bound<'_, RpcEndpoint>) -> PyResult<()> {
        let py = endpoint.py();
        let name = RpcEndpoint::name(endpoint)?;
        let mut table = self.table()?;
        let place = lock(&self.shared.endpoints).len();
        let shared = Arc::clone(&self.shared);
        let handler = move |(): &(), request: tachyon::Request<'_>, reply: tachyon::Reply<'_>| {
            Python::attach(|py| {
                let endpoint = lock(&shared.endpoints).get(place).map(|endpoint| endpoint.clone_ref(py));
                let Some(endpoint) = endpoint else {
                    return Err(CoreHandlerError::failed("the dispatcher was garbage collected"));
                };
                let function = endpoint.get().handler().bind(py);
                let mapping = || lock(&shared.mapping).clone();
                let failed = |cause| *lock(&shared.cause) = Some(cause);
                handler::run(py, function, request, reply, mapping, failed)
            })
        };
        let description = endpoint.get().describe(py, &name)?;
        table.register_described(description, Box::new(handler)).map_err(Raise::raise)?;
        lock(&self.shared.endpoints).push(endpoint.clone().unbind());
        Ok(())
    }

    /// Takes a bus to serve on, and serves.
    fn serving(
        &self,
        bus: &RpcBus,
        serve: impl FnOnce(&mut Dispatcher, &mut Inlet, &mut Outlet) -> PyResult<()>,
    ) -> PyResult<()> {
        let mut table = self.table()?;
        let mut forward = bus.to_serve()?;
        let inlet = forward.serving()?;
        let mut reverse = bus.reverse()?;
        let outlet = reverse.replying()?;
        outlet.occupied.check()?;
        *lock(&self.shared.mapping) = Some(inlet.ring.mapping());
        let outcome = serve(&mut table, inlet, outlet);
        *lock(&self.shared.mapping) = None;
        outcome
    }

    /// Serves one request; a failure that was answered is `Ok`, with what `serve_once` raises for it.
    #[inline]
    fn serve_one(
        &self,
        py: Python<'_>,
        table: &mut Dispatcher,
        inlet: &mut Inlet,
        outlet: &mut Outlet,
        spins: Option<tachyon::PollingMode>,
        timeout: Option<core::time::Duration>,
    ) -> PyResult<Result<(), Answered>> {
        let patience = Patience::new(timeout);
        let mut taking = inlet.take(py, spins, timeout)?;
        while taking.is_control() {
            // It calls no handler, and may have to wait for room.
            let (table, requests, replies) = (&mut *table, &mut inlet.ring, &mut outlet.ring);
            detached(py, move || serve_taken(table, requests, replies, taking))?;
            taking = inlet.take(py, spins, patience.left(py)?)?;
        }
        match serve_taken(table, &mut inlet.ring, &mut outlet.ring, taking) {
            Ok(()) => Ok(Ok(())),
            Err(failure) => self.failed(py, failure).map(Err),
        }
    }

    #[cold]
    fn failed(&self, py: Python<'_>, failure: ServeError) -> PyResult<Answered> {
        let cause = lock(&self.shared.cause).take();
        if let Some(cause) = &cause
            && !cause.is_instance_of::<PyException>(py)
        {
            // KeyboardInterrupt, SystemExit: its caller has been answered, and it goes where it wants to.
            return Err(cause.clone_ref(py));
        }
        let text = failure.to_string();
        match failure {
            ServeError::NoHandler { msg_type } => {
                let parts = (tachyon::ErrorKind::NoHandler as u16, msg_type, text.clone());
                Ok(Answered { text, cause: None, error: NoHandlerError::new_err(parts) })
            }
            ServeError::Handler(failure) => {
                let error = HandlerError::new_err((failure.kind as u16, failure.msg_type, text.clone()));
                error.set_cause(py, cause.as_ref().map(|cause| cause.clone_ref(py)));
                Ok(Answered { text, cause, error })
            }
            end => Err(end.raise()),
        }
    }
}

/// A request that was answered with an error.
struct Answered {
    text: String,
    cause: Option<PyErr>,
    /// What `serve_once` raises.
    error: PyErr,
}

impl Answered {
    /// Reports it on the logger `tachyon`, with the traceback of its cause.
    fn log(self, py: Python<'_>) -> PyResult<()> {
        static LOGGER: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let logger = LOGGER
            .get_or_try_init(py, || py.import("logging")?.call_method1("getLogger", ("tachyon",)).map(Bound::unbind))?;
        let kwargs = pyo3::types::PyDict::new(py);
        if let Some(cause) = self.cause {
            kwargs.set_item("exc_info", cause.into_value(py))?;
        }
        logger.bind(py).call_method("error", ("%s", self.text), Some(&kwargs)).map(drop)
    }
}

#[pymethods]
impl RpcDispatcher {
    #[new]
    #[pyo3(signature = (*, send_error_text=false))]
    fn new(send_error_text: bool) -> Self {
        let mut table = Dispatcher::default();
        table.send_error_text(send_error_text);
        Self { table: Mutex::new(table), shared: Arc::default() }
    }

    /// Add an endpoint; return the dispatcher, for chaining.
    fn register<'py>(slf: Bound<'py, Self>, endpoint: &Bound<'py, RpcEndpoint>) -> PyResult<Bound<'py, Self>> {
        slf.get().add(endpoint)?;
        Ok(slf)
    }

    /// Do what `tachyon_rpc` does, and register the endpoint.
    #[pyo3(text_signature = "($self, msg_type)")]
    fn handler(slf: Bound<'_, Self>, msg_type: Integer) -> PyResult<EndpointDecorator> {
        Ok(EndpointDecorator::registering(args::msg_type(msg_type)?, slf.unbind()))
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
        self.serving(bus.get(), |table, inlet, outlet| {
            self.serve_one(py, table, inlet, outlet, spins, timeout)?.map_err(|answered| answered.error)
        })
    }

    /// Serve until the peer closes. Failing handlers are logged, with traceback, on the logger `tachyon`.
    ///
    /// `KeyboardInterrupt` and `PeerDeadError` end it and propagate.
    #[pyo3(signature = (bus, spin_threshold=None))]
    fn serve_forever(&self, bus: &Bound<'_, RpcBus>, spin_threshold: Option<Integer>) -> PyResult<()> {
        let py = bus.py();
        let spins = args::spins(spin_threshold)?;
        let outcome = self.serving(bus.get(), |table, inlet, outlet| {
            loop {
                if let Err(answered) = self.serve_one(py, table, inlet, outlet, spins, None)? {
                    answered.log(py)?;
                }
                // A handler written in C never gives the interpreter a chance to look.
                py.check_signals()?;
            }
        });
        match outcome {
            Err(end) if end.is_instance_of::<PeerClosedError>(py) => Ok(()),
            outcome => outcome,
        }
    }

    fn __len__(&self) -> usize {
        lock(&self.shared.endpoints).len()
    }

    fn __contains__(&self, msg_type: Integer) -> bool {
        let Integer::Fits(wanted) = msg_type else { return false };
        lock(&self.shared.endpoints).iter().any(|endpoint| u64::from(endpoint.get().type_number()) == wanted)
    }

    fn __repr__(&self) -> String {
        format!("<tachyon.RpcDispatcher endpoints={}>", self.__len__())
    }

    #[allow(clippy::missing_errors_doc, reason = "the interpreter's protocol")]
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Held only for moments, and never while objects are made: what is being changed is visited next time.
        if let Ok(endpoints) = self.shared.endpoints.try_lock() {
            for endpoint in endpoints.iter() {
                visit.call(endpoint)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let endpoints = core::mem::take(&mut *lock(&self.shared.endpoints));
        drop(endpoints);
    }
}
