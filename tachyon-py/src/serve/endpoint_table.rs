//! The endpoints of an `RpcDispatcher`: the core's dispatch table, filled with Python callables.

use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use tachyon::{Dispatcher, HandlerError as CoreHandlerError, RegisterError, ServeError, Stopper};

use crate::errors::{BusyError, Raise};
use crate::rpc::endpoint::RpcEndpoint;
use crate::runtime::interpreter_shutdown;
use crate::runtime::logging::{Level, Reports, log_or_print};
use crate::runtime::worker_thread::keep_state;
use crate::serve::current_call::CallScope;
use crate::serve::handler::{self, take_cause};
use crate::serve::layer::PyLayer;
use crate::serve::rust_endpoint::RustEndpoint;
use crate::serve::stream::{self, OpenedStream};

/// State that the table's handlers and the serving loop share.
#[derive(Default)]
pub(crate) struct Shared {
    /// Handlers refer to their endpoint by its index here, so that the garbage collector sees each reference once.
    pub(super) endpoints: Mutex<Vec<Py<RpcEndpoint>>>,
    /// The indices of coroutine functions, by message type.
    pub(super) coroutines: Mutex<HashMap<u16, usize>>,
    /// Streams whose handlers an event loop is about to run.
    opened: Mutex<Vec<OpenedStream>>,
    /// The message types of endpoints in Rust.
    pub(super) rust: Mutex<Vec<u16>>,
    /// Layers in Python.
    pub(super) layers: Mutex<Vec<Py<PyAny>>>,
    /// Stops the server that is being served.
    pub(super) stopper: Mutex<Option<Stopper>>,
    /// An exception of a handler or a layer that ends the serving, not only its call.
    pub(super) ended: Mutex<Option<PyErr>>,
    /// Whether `ended` has an exception.
    pub(super) has_ended: Arc<AtomicBool>,
    /// Reports of requests that failed without Python code.
    pub(super) reports: Reports,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn endpoint(&self, py: Python<'_>, place: usize) -> Option<Py<RpcEndpoint>> {
        lock(&self.endpoints).get(place).map(|endpoint| endpoint.clone_ref(py))
    }

    /// Whether the table has endpoints in Rust, which must not wait for the GIL.
    pub(crate) fn has_rust(&self) -> bool {
        !lock(&self.rust).is_empty()
    }

    /// Whether the endpoint of a message type is a coroutine function.
    pub(crate) fn is_coroutine(&self, msg_type: u16) -> bool {
        lock(&self.coroutines).contains_key(&msg_type)
    }

    /// The endpoint of a message type, if it is a coroutine function.
    pub(crate) fn coroutine(&self, py: Python<'_>, msg_type: u16) -> Option<Py<RpcEndpoint>> {
        let place = lock(&self.coroutines).get(&msg_type).copied()?;
        self.endpoint(py, place)
    }

    /// Keeps a stream until the event loop takes it.
    pub(super) fn put_opened(&self, opened: OpenedStream) {
        lock(&self.opened).push(opened);
    }

    /// Takes the stream that was opened last.
    pub(crate) fn take_opened(&self) -> Option<OpenedStream> {
        lock(&self.opened).pop()
    }

    /// Makes `stopper` the stopper of a handler that ends the serving.
    pub(crate) fn begin(&self, stopper: Stopper) {
        *lock(&self.stopper) = Some(stopper);
    }

    /// Ends the serving that `begin` began.
    ///
    /// # Errors
    /// The exception of a handler that ended the serving.
    pub(crate) fn finish(&self) -> PyResult<()> {
        *lock(&self.stopper) = None;
        self.ended()
    }

    /// Whether an exception of a handler or a layer ends the serving.
    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Fails with the exception that ends the serving.
    #[inline]
    pub(super) fn ended(&self) -> PyResult<()> {
        if self.has_ended() { self.take_ended() } else { Ok(()) }
    }

    #[cold]
    fn take_ended(&self) -> PyResult<()> {
        self.has_ended.store(false, Ordering::Relaxed);
        lock(&self.ended).take().map_or(Ok(()), Err)
    }

    /// Ends the serving with an exception.
    pub(super) fn end(&self, end: PyErr) {
        lock(&self.ended).get_or_insert(end);
        self.has_ended.store(true, Ordering::Relaxed);
        if let Some(stopper) = &*lock(&self.stopper) {
            stopper.stop();
        }
    }

    /// Reports a request that a server answered with an error.
    pub(super) fn note(&self, failure: &ServeError) {
        let cause = take_cause();
        if cause.is_none() {
            return self.reports.add(Level::Error, failure.to_string());
        }
        interpreter_shutdown::attach(|py| {
            match cause {
                // KeyboardInterrupt, SystemExit: the caller has its answer, and the exception propagates.
                Some(end) if !end.is_instance_of::<PyException>(py) => self.end(end),
                cause => log_or_print(py, Level::Error, &failure.to_string(), cause),
            }
        });
    }
}

/// Routes requests to the endpoints registered for their message type.
///
/// One thread at a time may serve with it, or the workers of one server; threads that serve at the same time need a
/// dispatcher each. With `hide_error_text` error replies carry no text of the error; those of raw endpoints never do.
#[pyclass(module = "tachyon", frozen, weakref)]
pub(crate) struct RpcDispatcher {
    pub(super) table: Mutex<Dispatcher>,
    pub(super) shared: Arc<Shared>,
}

impl RpcDispatcher {
    pub(crate) fn table(&self) -> PyResult<MutexGuard<'_, Dispatcher>> {
        match self.table.try_lock() {
            Ok(table) => Ok(table),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(BusyError::new_err(
                "this dispatcher is serving, in this thread or another; give every thread that serves its own",
            )),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Adds an endpoint.
    pub(crate) fn add(&self, endpoint: &Bound<'_, RpcEndpoint>) -> PyResult<()> {
        let py = endpoint.py();
        let name = RpcEndpoint::name(endpoint)?;
        let mut table = self.table()?;
        let place = lock(&self.shared.endpoints).len();
        let shared = Arc::clone(&self.shared);
        let handler = move |(): &(), request: tachyon::Request<'_>, reply: tachyon::Reply<'_>| {
            keep_state();
            interpreter_shutdown::attach(|py| {
                let Some(endpoint) = shared.endpoint(py, place) else {
                    return Err(CoreHandlerError::failed("the dispatcher was garbage collected"));
                };
                let _call = CallScope::begin(endpoint.clone_ref(py), request);
                handler::run(py, endpoint.get(), request, reply)
            })
        };
        let description = endpoint.get().describe(py, &name)?;
        let own = endpoint.get();
        let registered = if !own.is_stream() {
            table.register_described(description, Box::new(handler))
        } else if own.is_async() {
            table.register_described_task(description, stream::in_loop(&self.shared, place))
        } else if description.items.is_some() {
            table.register_described_thread(description, stream::on_thread(&self.shared, place))
        } else {
            table.register_described_stream(description, stream::inline(&self.shared, place))
        };
        registered.map_err(Raise::raise)?;
        lock(&self.shared.endpoints).push(endpoint.clone().unbind());
        if endpoint.get().is_async() {
            lock(&self.shared.coroutines).insert(endpoint.get().type_number(), place);
        }
        Ok(())
    }

    /// Adds the endpoints of a service: all of them, or none.
    pub(super) fn add_service(&self, endpoints: &[Bound<'_, RpcEndpoint>]) -> PyResult<()> {
        for endpoint in endpoints {
            let py = endpoint.py();
            let msg_type = endpoint.get().type_number();
            let named = self.table()?.endpoints().find_map(|(own, name)| (own == msg_type).then(|| name.to_owned()));
            let Some(named) = named else { continue };
            let added = lock(&self.shared.endpoints)
                .iter()
                .find_map(|added| (added.get().type_number() == msg_type).then(|| added.clone_ref(py)));
            let existing = match added {
                Some(added) => added.bind(py).getattr(intern!(py, "__qualname__"))?.to_string(),
                None => named,
            };
            let refused = endpoint.getattr(intern!(py, "__qualname__"))?.to_string();
            return Err(RegisterError::Duplicate { msg_type, existing, refused }.raise());
        }
        endpoints.iter().try_for_each(|endpoint| self.add(endpoint))
    }

    /// Adds a layer.
    pub(super) fn add_layer(&self, layer: Bound<'_, PyAny>) -> PyResult<()> {
        let mut table = self.table()?;
        let mut layers = lock(&self.shared.layers);
        table.layer(PyLayer { shared: Arc::clone(&self.shared), place: layers.len() });
        layers.push(layer.unbind());
        Ok(())
    }

    /// Adds an endpoint of an extension in Rust.
    pub(super) fn add_rust(&self, endpoint: &Bound<'_, RustEndpoint>) -> PyResult<()> {
        let mut table = self.table()?;
        let (description, handler) = endpoint.get().entry(endpoint.py())?;
        let msg_type = description.msg_type;
        table.register_described(description, handler).map_err(Raise::raise)?;
        lock(&self.shared.rust).push(msg_type);
        Ok(())
    }
}
