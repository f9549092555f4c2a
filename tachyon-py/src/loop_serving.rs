//! `LoopServing`: a server, or a bus, in the hands of an event loop that serves it.
//!
//! `tachyon._serving` has the tasks; here is what touches the rings. None of it waits.

use core::sync::atomic::AtomicBool;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyMemoryView};
use tachyon::__binding::{Deferred, Driven, Next, Offload, monotonic_now};
use tachyon::dispatch::CallerInfo;
use tachyon::server::DisconnectReason;
use tachyon::{Dispatcher, ErrorKind, HandlerError, ServeError};

use crate::contract::Written;
use crate::current::{CurrentCall, Watch};
use crate::dispatcher::{RpcDispatcher, Shared};
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

    /// Answers a request; gives what is to be reported of it. One that was cancelled, or answered before, has no answer.
    fn send(&self, request: &LoopRequest, outcome: Result<Vec<u8>, HandlerError>) -> PyResult<Option<ServeError>> {
        let mut driven = self.driven();
        let Some(driven) = &mut *driven else { return Ok(None) };
        match driven.answer(&*self.dispatcher.get().table()?, request.key, outcome) {
            Err(failure @ ServeError::Handler(_)) => Ok(Some(failure)),
            // The caller's end is for the next turn to find.
            _ => Ok(None),
        }
    }

    /// Answers requests that are not begun, or ends those that are; appends those that were cancelled.
    fn refuse<R>(
        &self,
        cancelled: &Bound<'_, PyList>,
        refuse: impl FnOnce(&mut Driven, &Dispatcher, &mut Taken<'_>) -> R,
    ) -> PyResult<Option<R>> {
        let dispatcher = self.dispatcher.get();
        let mut driven = self.driven();
        let Some(driven) = &mut *driven else { return Ok(None) };
        let mut taken = Taken::of(dispatcher.shared());
        let outcome = refuse(driven, &*dispatcher.table()?, &mut taken);
        taken.cancelled.into_iter().try_for_each(|key| cancelled.append(key))?;
        Ok(Some(outcome))
    }
}

/// What one turn has for the loop: requests of coroutine functions, and the keys of those that are cancelled.
struct Taken<'a> {
    shared: &'a Shared,
    begun: Vec<(Begun, Vec<u8>)>,
    cancelled: Vec<Key>,
}

/// A call, by its caller's number and its correlation id.
type Key = (u64, u64);

/// A request that was handed over.
struct Begun {
    caller: CallerInfo,
    msg_type: u16,
    correlation_id: u64,
    deadline: Option<u64>,
}

impl<'a> Taken<'a> {
    fn of(shared: &'a Shared) -> Self {
        Self { shared, begun: Vec::new(), cancelled: Vec::new() }
    }
}

impl Offload for Taken<'_> {
    fn accepts(&self, msg_type: u16) -> bool {
        self.shared.is_coroutine(msg_type)
    }

    fn start(&mut self, request: &Deferred, payload: Vec<u8>) {
        let begun = Begun {
            caller: request.caller(),
            msg_type: request.msg_type(),
            correlation_id: request.correlation_id(),
            deadline: request.deadline(),
        };
        self.begun.push((begun, payload));
    }

    fn cancel(&mut self, request: &Deferred) {
        self.cancelled.push((request.caller().id, request.correlation_id()));
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

    /// Take a turn: attend to callers, serve requests of plain handlers, append at most `places` requests of coroutine
    /// functions to `into`, and the keys of requests whose callers wait no longer to `cancelled`. Returns the seconds
    /// until the next turn, None for as long as nothing is readable; or a negative number when serving is over.
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
        let mut taken = Taken::of(dispatcher.shared());
        dispatcher.shared().begin(driven.stopper());
        let mut turn = || driven.turn(table, places, &mut taken);
        // Endpoints in Rust may compute for long, which is no reason to keep other threads from the interpreter.
        let next = if dispatcher.shared().has_rust() { py.detach(turn) } else { turn() };
        let ended = dispatcher.shared().finish();
        drop(guard);
        for (begun, payload) in taken.begun {
            if let Some(endpoint) = dispatcher.shared().coroutine(py, begun.msg_type) {
                into.append(LoopRequest::new(endpoint.into_bound(py), &begun, &payload)?)?;
            }
        }
        taken.cancelled.into_iter().try_for_each(|key| cancelled.append(key))?;
        // KeyboardInterrupt, SystemExit: its caller has been answered, and it goes where it wants to.
        ended?;
        match next.map_err(Raise::raise)? {
            Next::Again => Ok(Some(0.0)),
            Next::Sleep(limit) => Ok(limit.map(|limit| limit.as_secs_f64())),
            Next::Ended(_) if self.is_closed_here() => Err(closed()),
            Next::Ended(DisconnectReason::Closed) | Next::Stop => Ok(Some(-1.0)),
            Next::Ended(_) => Err(PeerDeadError::new_err("the peer died; its calls that were under way are cancelled")),
        }
    }

    /// Answer a request with what its handler returned.
    fn answer(&self, request: &Bound<'_, LoopRequest>, response: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = request.py();
        let (outcome, cause) = match request.get().written(response) {
            Ok(bytes) => (Ok(bytes), None),
            Err(Failure { error, cause }) => (Err(error), cause),
        };
        if let Some(failure) = self.send(request.get(), outcome)? {
            report_or_print(py, Level::Error, &failure.to_string(), cause);
        }
        Ok(())
    }

    /// Answer a request with the error that its handler raised.
    fn fail(&self, request: &Bound<'_, LoopRequest>, cause: Bound<'_, PyAny>) -> PyResult<()> {
        let (py, cause) = (request.py(), PyErr::from_value(cause));
        let Failure { error, cause } = Failure::of_handler(request.get().endpoint.get(), py, cause);
        if let Some(failure) = self.send(request.get(), Err(error))? {
            report_or_print(py, Level::Error, &failure.to_string(), cause);
        }
        Ok(())
    }

    /// Answer a request whose handler does not run, or not to its end: its time is over, or its task was cancelled.
    fn turn_down(&self, request: &Bound<'_, LoopRequest>) -> PyResult<()> {
        let error = if request.get().is_past_deadline() {
            HandlerError::new(ErrorKind::DeadlinePassed, "was not done by its caller's deadline")
        } else {
            HandlerError::new(ErrorKind::Cancelled, "was cancelled")
        };
        self.send(request.get(), Err(error)).map(drop)
    }

    /// Plain handlers that returned when the time of a stop was over.
    #[getter]
    fn overran(&self) -> usize {
        self.driven().as_ref().map_or(0, Driven::overran)
    }

    /// The seconds that callers who do not take their last replies are waited for.
    #[getter]
    fn stop_timeout(&self) -> f64 {
        self.driven().as_ref().map_or(0.0, |driven| driven.stop_timeout().as_secs_f64())
    }

    /// Tell the callers of requests that have not begun that the server stops; False when a caller takes no more replies
    /// for now.
    fn refuse_all(&self, cancelled: &Bound<'_, PyList>) -> PyResult<bool> {
        let refused = self.refuse(cancelled, |driven, table, taken| driven.refuse_all(table, taken))?;
        Ok(refused.unwrap_or(true))
    }

    /// Tell the callers of requests that have begun and are not answered that they are cancelled.
    fn abandon(&self, cancelled: &Bound<'_, PyList>) -> PyResult<()> {
        self.refuse(cancelled, |driven, table, taken| driven.abandon(table, taken)).map(drop)
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
    /// The number of its caller, and its correlation id.
    #[pyo3(get)]
    key: Key,
    deadline: Option<u64>,
    endpoint: Py<RpcEndpoint>,
    payload: Py<PyBytes>,
    /// What `current_call` gives the handler.
    #[pyo3(get)]
    call: Py<CurrentCall>,
}

impl LoopRequest {
    fn new(
        endpoint: Bound<'_, RpcEndpoint>,
        &Begun { caller, correlation_id, deadline, .. }: &Begun,
        payload: &[u8],
    ) -> PyResult<Self> {
        let py = endpoint.py();
        let payload = PyBytes::new(py, payload).unbind();
        let watch = Watch::Task(AtomicBool::new(false));
        let call = Py::new(py, CurrentCall::new(&endpoint, caller, correlation_id, deadline, watch)?)?;
        Ok(Self { key: (caller.id, correlation_id), deadline, endpoint: endpoint.unbind(), payload, call })
    }

    /// Whether its caller waits no longer.
    fn is_past_deadline(&self) -> bool {
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
}

#[pymethods]
impl LoopRequest {
    /// Note that the call is cancelled, for `current_call().is_cancelled()`.
    fn cancel(&self) {
        self.call.get().cancel();
    }

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
