//! `LoopServing`: a server, or a bus, in the hands of an event loop that serves it.
//!
//! `tachyon._serving` has the tasks; here is what touches the rings. None of it waits.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyMemoryView};
use tachyon::__binding::{Deferred, Driven, Next, monotonic_now};
use tachyon::{ErrorKind, HandlerError, Leaving, ServeError};

use crate::contract::Written;
use crate::current::CurrentCall;
use crate::dispatcher::RpcDispatcher;
use crate::endpoint::RpcEndpoint;
use crate::errors::{PeerDeadError, Raise};
use crate::handler::{Failure, no_bytes};
use crate::invoke::call_one;
use crate::lent::type_name;
use crate::lifetime::closed;
use crate::payload::Payload;
use crate::report::{Level, report_or_print};
use crate::rpc_bus::RpcBus;
use crate::rpc_server::RpcServer;

/// What is served.
enum Target {
    Server(Py<RpcServer>),
    Bus(Py<RpcBus>),
}

/// What an event loop has of a server or a bus it serves.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct LoopServing {
    driven: Mutex<Option<Driven>>,
    dispatcher: Py<RpcDispatcher>,
    target: Target,
}

impl LoopServing {
    fn driven(&self) -> MutexGuard<'_, Option<Driven>> {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this side closed the bus, a handler for instance.
    fn is_closed_here(&self) -> bool {
        matches!(&self.target, Target::Bus(bus) if bus.get().is_closed())
    }

    /// Answers a request; gives what is to be reported of it.
    fn settle(&self, request: &LoopRequest, outcome: Result<Vec<u8>, HandlerError>) -> PyResult<Option<ServeError>> {
        let Some(deferred) = request.take() else { return Ok(None) };
        let mut driven = self.driven();
        let Some(driven) = &mut *driven else { return Ok(None) };
        match driven.answer(&*self.dispatcher.get().table()?, &deferred, outcome) {
            Err(failure @ ServeError::Handler(_)) => Ok(Some(failure)),
            // The caller's end is for the next turn to find.
            _ => Ok(None),
        }
    }
}

#[pymethods]
impl LoopServing {
    /// Take a server, or a bus, for the running event loop.
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
        Ok(Self { driven: Mutex::new(driven), dispatcher: dispatcher.clone().unbind(), target })
    }

    /// What to watch: readable when a turn is due; -1 when it is over.
    fn fileno(&self) -> i32 {
        self.driven().as_ref().map_or(-1, |driven| driven.as_fd().as_raw_fd())
    }

    /// Take a turn: attend to callers, serve requests of plain handlers, and append at most `places` requests of coroutine
    /// functions to `into`. Returns the seconds until the next turn, None for as long as nothing is readable;
    /// or a negative number when serving is over.
    fn turn(&self, py: Python<'_>, into: &Bound<'_, PyList>, places: usize) -> PyResult<Option<f64>> {
        let dispatcher = self.dispatcher.get();
        let mut driven = self.driven();
        let Some(driven) = &mut *driven else { return Ok(Some(-1.0)) };
        let taken = Mutex::new(Vec::new());
        let guard = dispatcher.table()?;
        let table = &*guard;
        dispatcher.shared().begin(driven.stopper());
        let mut turn = || {
            driven.turn(table, places, &|msg_type| dispatcher.shared().is_coroutine(msg_type), &|deferred| {
                taken.lock().unwrap_or_else(PoisonError::into_inner).push(deferred);
            })
        };
        // Endpoints in Rust may compute for long, which is no reason to keep other threads from the interpreter.
        let next = if dispatcher.shared().has_rust() { py.detach(turn) } else { turn() };
        let ended = dispatcher.shared().finish();
        drop(guard);
        for deferred in taken.into_inner().unwrap_or_else(PoisonError::into_inner) {
            if let Some(endpoint) = dispatcher.shared().coroutine(py, deferred.msg_type()) {
                into.append(LoopRequest::new(endpoint.into_bound(py), deferred)?)?;
            }
        }
        // KeyboardInterrupt, SystemExit: its caller has been answered, and it goes where it wants to.
        ended?;
        match next.map_err(Raise::raise)? {
            Next::Again => Ok(Some(0.0)),
            Next::Sleep(limit) => Ok(limit.map(|limit| limit.as_secs_f64())),
            Next::Ended(Leaving::Closed) | Next::Stop => Ok(Some(-1.0)),
            Next::Ended(_) if self.is_closed_here() => Err(closed()),
            Next::Ended(_) => Err(PeerDeadError::new_err("the peer died; what it had committed has been served")),
        }
    }

    /// Answer a request with what its handler returned.
    fn answer(&self, request: &Bound<'_, LoopRequest>, response: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = request.py();
        let (outcome, cause) = match request.get().written(response) {
            Ok(bytes) => (Ok(bytes), None),
            Err(Failure { error, cause }) => (Err(error), cause),
        };
        if let Some(failure) = self.settle(request.get(), outcome)? {
            report_or_print(py, Level::Error, &failure.to_string(), cause);
        }
        Ok(())
    }

    /// Answer a request with the error that its handler raised.
    fn fail(&self, request: &Bound<'_, LoopRequest>, cause: Bound<'_, PyAny>) -> PyResult<()> {
        let (py, cause) = (request.py(), PyErr::from_value(cause));
        let Failure { error, cause } = Failure::of_handler(request.get().endpoint.get(), py, cause);
        if let Some(failure) = self.settle(request.get(), Err(error))? {
            report_or_print(py, Level::Error, &failure.to_string(), cause);
        }
        Ok(())
    }

    /// Answer a request whose handler is not to run, or not to its end: it is too late for it, or the server stops.
    fn turn_down(&self, request: &Bound<'_, LoopRequest>) -> PyResult<()> {
        let error = if request.get().is_late() {
            HandlerError::new(ErrorKind::DeadlinePassed, "the deadline had passed before the request's turn came")
        } else {
            HandlerError::new(ErrorKind::Stopping, "the server is stopping")
        };
        self.settle(request.get(), Err(error)).map(drop)
    }

    /// The seconds that callers who do not take their last replies are waited for.
    #[getter]
    fn stop_timeout(&self) -> f64 {
        self.driven().as_ref().map_or(0.0, |driven| driven.stop_timeout().as_secs_f64())
    }

    /// Tell callers with requests that the server stops; False when one of them takes no more replies for now.
    fn turn_away(&self) -> bool {
        self.driven().as_mut().is_none_or(Driven::turn_away)
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

/// A request that a coroutine function is to handle.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct LoopRequest {
    /// Taken when it is answered.
    deferred: Mutex<Option<Deferred>>,
    deadline: Option<u64>,
    endpoint: Py<RpcEndpoint>,
    payload: Py<PyBytes>,
    /// What `current_call` gives the handler.
    #[pyo3(get)]
    call: Py<CurrentCall>,
}

impl LoopRequest {
    fn new(endpoint: Bound<'_, RpcEndpoint>, mut deferred: Deferred) -> PyResult<Self> {
        let py = endpoint.py();
        let payload = PyBytes::new(py, &deferred.take_payload()).unbind();
        let deadline = deferred.deadline();
        let call = CurrentCall::new(&endpoint, deferred.caller(), deferred.correlation_id(), deadline)?;
        let call = Py::new(py, call)?;
        Ok(Self { deferred: Mutex::new(Some(deferred)), deadline, endpoint: endpoint.unbind(), payload, call })
    }

    /// Whether its caller waits no longer.
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| monotonic_now() >= deadline)
    }

    /// The bytes of what the handler returned.
    fn written(&self, response: &Bound<'_, PyAny>) -> Result<Vec<u8>, Failure> {
        let py = response.py();
        let endpoint = self.endpoint.get();
        let written = match endpoint.contract() {
            None => Written::Object(response.clone()),
            Some(contract) => {
                let answer = contract.get().answer(response.clone());
                answer.map_err(|raised| Failure::of_handler(endpoint, py, raised))?
            }
        };
        match written {
            Written::Nothing => Ok(Vec::new()),
            Written::Room(room) => Ok(room.to_vec()),
            Written::Object(object) => match Payload::of(&object) {
                Ok(payload) => Ok(payload.as_slice().to_vec()),
                Err(cause) => Err(Failure {
                    error: HandlerError::new(ErrorKind::BadReply, no_bytes(&object, &cause)),
                    cause: Some(cause),
                }),
            },
        }
    }

    fn take(&self) -> Option<Deferred> {
        self.deferred.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl LoopRequest {
    /// Call the handler, which makes its coroutine.
    fn start<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (endpoint, payload) = (self.endpoint.get(), self.payload.bind(py));
        let function = endpoint.function().bind(py);
        let view = || PyMemoryView::from(payload.as_any());
        match endpoint.contract() {
            None => call_one(function, view()?.as_any()),
            Some(contract) => {
                let contract = contract.get();
                let view = if contract.lends() { Some(view()?) } else { None };
                contract.call(function, payload.as_bytes(), view.as_ref(), true)
            }
        }
    }
}
