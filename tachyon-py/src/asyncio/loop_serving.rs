//! `LoopServing`: a server or a bus that an event loop serves.
//!
//! `tachyon._serving` holds the tasks; this module touches the rings, and never waits.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use tachyon::__binding::{Deferred, Detached, Driven, Next, Offload, monotonic_now};
use tachyon::server::DisconnectReason;
use tachyon::{Dispatcher, ErrorKind, HandlerError, ServeError};

use crate::asyncio::loop_streams::{LoopStream, Woken};
use crate::bus::lifetime::closed;
use crate::errors::{PeerDeadError, Raise};
use crate::memory::buffer_export::type_name;
use crate::rpc::endpoint::RpcEndpoint;
use crate::rpc::rpc_bus::RpcBus;
use crate::runtime::logging::{Level, log_or_print};
use crate::serve::current_call::{CallParts, CurrentCall, Watch};
use crate::serve::endpoint_table::{RpcDispatcher, Shared};
use crate::serve::handler::{Failure, call_on_copy, encoded};
use crate::serve::rpc_server::RpcServer;
use crate::serve::stream::OpenedStream;

/// The server or the bus that the loop serves.
enum Target {
    Server(Py<RpcServer>),
    Bus(Py<RpcBus>),
}

/// The event loop's handle of a server or a bus that it serves.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct LoopServing {
    driven: Mutex<Option<Driven>>,
    dispatcher: Py<RpcDispatcher>,
    target: Target,
    woken: Woken,
}

impl LoopServing {
    fn driven(&self) -> MutexGuard<'_, Option<Driven>> {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this side closed the bus, for instance in a handler.
    fn is_closed_here(&self) -> bool {
        matches!(&self.target, Target::Bus(bus) if bus.get().is_closed())
    }

    /// Answers a request, and returns the failure to report. A request that was cancelled, or answered before, has no
    /// answer.
    fn send(&self, request: &LoopRequest, outcome: Result<Vec<u8>, HandlerError>) -> PyResult<Option<ServeError>> {
        let mut driven = self.driven();
        let Some(driven) = &mut *driven else { return Ok(None) };
        match driven.answer(&*self.dispatcher.get().table()?, request.key, outcome) {
            Err(failure @ ServeError::Handler(_)) => Ok(Some(failure)),
            // The next turn finds the end of the caller.
            _ => Ok(None),
        }
    }

    /// Refuses requests that have not begun, or ends those that have; appends the keys of cancelled requests.
    fn with_requests<R>(
        &self,
        cancelled: &Bound<'_, PyList>,
        refuse: impl FnOnce(&mut Driven, &Dispatcher, &mut TurnRequests<'_>) -> R,
    ) -> PyResult<Option<R>> {
        let dispatcher = self.dispatcher.get();
        let mut driven = self.driven();
        let Some(driven) = &mut *driven else { return Ok(None) };
        let mut requests = TurnRequests::of(dispatcher.shared());
        let outcome = refuse(driven, &*dispatcher.table()?, &mut requests);
        requests.cancelled.into_iter().try_for_each(|key| cancelled.append(key))?;
        Ok(Some(outcome))
    }
}

/// The requests of coroutine functions that one turn found, and the keys of cancelled requests.
struct TurnRequests<'a> {
    shared: &'a Shared,
    started: Vec<(TaskRequest, Vec<u8>)>,
    /// Streams of coroutine functions and asynchronous generators.
    opened: Vec<(OpenedStream, Detached)>,
    cancelled: Vec<Key>,
}

/// A call: the caller's number and the correlation id.
pub(super) type Key = (u64, u64);

/// A request that becomes a task.
struct TaskRequest {
    msg_type: u16,
    parts: CallParts,
}

impl<'a> TurnRequests<'a> {
    fn of(shared: &'a Shared) -> Self {
        Self { shared, started: Vec::new(), opened: Vec::new(), cancelled: Vec::new() }
    }
}

impl Offload for TurnRequests<'_> {
    fn accepts(&self, msg_type: u16) -> bool {
        self.shared.is_coroutine(msg_type)
    }

    fn start(&mut self, request: &Deferred, payload: Vec<u8>) {
        let metadata = request.metadata();
        let parts = CallParts {
            caller: request.caller(),
            correlation_id: request.correlation_id(),
            request_size: payload.len(),
            deadline: request.deadline(),
            metadata: (!metadata.is_empty()).then(|| Box::new(metadata.clone())),
        };
        self.started.push((TaskRequest { msg_type: request.msg_type(), parts }, payload));
    }

    fn cancel(&mut self, request: &Deferred) {
        self.cancelled.push((request.caller().id, request.correlation_id()));
    }

    fn spawn(&mut self, handler: Detached) {
        // The start function of this handler ran just now.
        if let Some(opened) = self.shared.take_opened() {
            self.opened.push((opened, handler));
        }
    }
}

#[pymethods]
impl LoopServing {
    /// Make the running event loop the owner of a server or a bus.
    #[new]
    fn new(dispatcher: &Bound<'_, RpcDispatcher>, target: &Bound<'_, PyAny>) -> PyResult<Self> {
        let table = dispatcher.get().table()?;
        let (driven, target) = if let Ok(server) = target.cast::<RpcServer>() {
            let core = server.get().begin()?;
            let driven = Driven::server(core, &table).map_err(|error| ServeError::Io(error).raise());
            if !matches!(driven, Ok(Some(_))) {
                server.get().end();
            }
            (driven?, Target::Server(server.clone().unbind()))
        } else if let Ok(bus) = target.cast::<RpcBus>() {
            (Some(bus.get().drive()?), Target::Bus(bus.clone().unbind()))
        } else {
            let message = format!("an RpcBus or an RpcServer is served, not {}", type_name(target)?);
            return Err(PyTypeError::new_err(message));
        };
        Ok(Self {
            driven: Mutex::new(driven),
            dispatcher: dispatcher.clone().unbind(),
            target,
            woken: Woken::default(),
        })
    }

    /// Return the descriptor to watch: readable when a turn is due; -1 after the end.
    fn fileno(&self) -> i32 {
        self.driven().as_ref().map_or(-1, |driven| driven.as_fd().as_raw_fd())
    }

    /// Take a turn: attend to callers, serve requests of plain handlers, append at most `places` requests of coroutine
    /// functions to `into`, and the keys of requests whose callers have stopped waiting to `cancelled`. Returns the
    /// seconds until the next turn, None to wait for the descriptor, or a negative number after the end of the serving.
    fn turn(
        &self,
        py: Python<'_>,
        into: &Bound<'_, PyList>,
        cancelled: &Bound<'_, PyList>,
        places: usize,
    ) -> PyResult<Option<f64>> {
        let dispatcher = self.dispatcher.get();
        let mut driven = self.driven();
        let Some(driven) = &mut *driven else { return Ok(Some(-1.0)) };
        let guard = dispatcher.table()?;
        let table = &*guard;
        let mut requests = TurnRequests::of(dispatcher.shared());
        dispatcher.shared().begin(driven.stopper());
        let mut turn = || driven.turn(table, places, &mut requests);
        // Endpoints in Rust may compute for long, and other threads get the GIL meanwhile.
        let next = if dispatcher.shared().has_rust() { py.detach(turn) } else { turn() };
        let ended = dispatcher.shared().finish();
        drop(guard);
        for (started, payload) in requests.started {
            if let Some(endpoint) = dispatcher.shared().coroutine(py, started.msg_type) {
                into.append(LoopRequest::new(endpoint.into_bound(py), started.parts, &payload)?)?;
            }
        }
        for (opened, handler) in requests.opened {
            into.append(LoopStream::new(py, dispatcher.shared(), opened, handler, &self.woken)?)?;
        }
        requests.cancelled.into_iter().try_for_each(|key| cancelled.append(key))?;
        // KeyboardInterrupt, SystemExit: the caller has its answer, and the exception propagates.
        ended?;
        match next.map_err(Raise::raise)? {
            Next::Again => Ok(Some(0.0)),
            Next::Sleep(limit) => Ok(limit.map(|limit| limit.as_secs_f64())),
            Next::Ended(_) if self.is_closed_here() => Err(closed()),
            Next::Ended(DisconnectReason::Closed) | Next::Stop => Ok(Some(-1.0)),
            Next::Ended(_) => Err(PeerDeadError::new_err("the peer died; its calls in flight are cancelled")),
        }
    }

    /// Answer a request with the result of its handler.
    fn answer(&self, request: &Bound<'_, LoopRequest>, response: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = request.py();
        let endpoint = request.get().endpoint.get();
        let encoded = encoded(endpoint, response.clone()).map_err(|raised| Failure::of_handler(endpoint, py, raised));
        let (outcome, cause) = match encoded {
            Ok(bytes) => (Ok(bytes), None),
            Err(Failure { error, cause }) => (Err(error), cause),
        };
        if let Some(failure) = self.send(request.get(), outcome)? {
            log_or_print(py, Level::Error, &failure.to_string(), cause);
        }
        Ok(())
    }

    /// Answer a request with the exception of its handler.
    fn fail(&self, request: &Bound<'_, LoopRequest>, cause: Bound<'_, PyAny>) -> PyResult<()> {
        let (py, cause) = (request.py(), PyErr::from_value(cause));
        let Failure { error, cause } = Failure::of_handler(request.get().endpoint.get(), py, cause);
        if let Some(failure) = self.send(request.get(), Err(error))? {
            log_or_print(py, Level::Error, &failure.to_string(), cause);
        }
        Ok(())
    }

    /// Answer a request whose handler was not run to its end: the deadline has passed, or its task was cancelled.
    fn refuse(&self, request: &Bound<'_, LoopRequest>) -> PyResult<()> {
        let error = if request.get().is_past_deadline() {
            HandlerError::new(ErrorKind::DeadlinePassed, "was not done by its caller's deadline")
        } else {
            HandlerError::new(ErrorKind::Cancelled, "was cancelled")
        };
        self.send(request.get(), Err(error)).map(drop)
    }

    /// The keys of streams whose handlers can go on, each at most once in a row.
    fn woken(&self) -> Vec<Key> {
        core::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The number of plain handlers that returned after the stop timeout.
    #[getter]
    fn overran(&self) -> usize {
        self.driven().as_ref().map_or(0, Driven::overran)
    }

    /// The seconds that a stopping server waits for callers to take their last replies.
    #[getter]
    fn stop_timeout(&self) -> f64 {
        self.driven().as_ref().map_or(0.0, |driven| driven.stop_timeout().as_secs_f64())
    }

    /// Send error replies of kind `STOPPING` to requests that have not begun; False when a caller has no room for now.
    fn refuse_all(&self, cancelled: &Bound<'_, PyList>) -> PyResult<bool> {
        let refused = self.with_requests(cancelled, |driven, table, requests| driven.refuse_all(table, requests))?;
        Ok(refused.unwrap_or(true))
    }

    /// Send error replies of kind `CANCELLED` to requests that have begun and are not answered.
    fn abandon(&self, cancelled: &Bound<'_, PyList>) -> PyResult<()> {
        self.with_requests(cancelled, |driven, table, requests| driven.abandon(table, requests)).map(drop)
    }

    /// Close every connection in good order, and free the path.
    fn close(&self) {
        drop(self.driven().take());
        match &self.target {
            Target::Server(server) => server.get().end(),
            Target::Bus(bus) => bus.get().undrive(),
        }
    }
}

/// A request for a coroutine function.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct LoopRequest {
    /// The caller's number, and the correlation id.
    #[pyo3(get)]
    key: Key,
    deadline: Option<u64>,
    endpoint: Py<RpcEndpoint>,
    payload: Py<PyBytes>,
    /// The handler's `current_call()`.
    #[pyo3(get)]
    call: Py<CurrentCall>,
}

impl LoopRequest {
    fn new(endpoint: Bound<'_, RpcEndpoint>, parts: CallParts, payload: &[u8]) -> PyResult<Self> {
        let py = endpoint.py();
        let payload = PyBytes::new(py, payload).unbind();
        let watch = Watch::Task(Arc::default());
        let (key, deadline) = ((parts.caller.id, parts.correlation_id), parts.deadline);
        let call = Py::new(py, CurrentCall::new(&endpoint, parts, watch)?)?;
        Ok(Self { key, deadline, endpoint: endpoint.unbind(), payload, call })
    }

    /// Whether the caller's deadline has passed.
    fn is_past_deadline(&self) -> bool {
        self.deadline.is_some_and(|deadline| monotonic_now() >= deadline)
    }
}

#[pymethods]
impl LoopRequest {
    /// Mark the call as cancelled, for `current_call().is_cancelled()`.
    fn cancel(&self) {
        self.call.get().cancel();
    }

    /// Call the handler, which makes its coroutine.
    fn start<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        call_on_copy(self.endpoint.get(), self.payload.bind(py), None)
    }
}
