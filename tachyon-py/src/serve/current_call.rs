//! `CurrentCall`: what a handler may know of the request it handles.
//!
//! A handler that runs on the thread that serves finds it on that thread. One that runs as a task carries it in its
//! context, which `tachyon._context` sees to.

use core::cell::RefCell;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyString;
use tachyon::__binding::{CallWatch, monotonic_now, request_deadline};
use tachyon::{CallerInfo, Request};

use crate::rpc::endpoint::RpcEndpoint;

/// The request that a handler is busy with.
#[pyclass(module = "tachyon", frozen)]
pub(crate) struct CurrentCall {
    /// The endpoint's message type.
    #[pyo3(get)]
    msg_type: u16,
    /// The call's number, which its caller counts up from 1.
    #[pyo3(get)]
    correlation_id: u64,
    /// The endpoint's name.
    #[pyo3(get)]
    name: Py<PyString>,
    caller: CallerInfo,
    deadline: Option<u64>,
    watch: Watch,
}

/// What tells whether a call is cancelled.
pub(crate) enum Watch {
    /// The handler keeps the thread that serves: it looks at the ring by itself.
    Ring(CallWatch),
    /// The handler is a task, and the loop says so.
    Task(AtomicBool),
}

impl CurrentCall {
    pub(crate) fn new(
        endpoint: &Bound<'_, RpcEndpoint>,
        caller: CallerInfo,
        correlation_id: u64,
        deadline: Option<u64>,
        watch: Watch,
    ) -> PyResult<Self> {
        let name = PyString::new(endpoint.py(), &RpcEndpoint::name(endpoint)?).unbind();
        Ok(Self { msg_type: endpoint.get().type_number(), correlation_id, name, caller, deadline, watch })
    }

    /// Notes that the call of a task is cancelled.
    pub(crate) fn cancel(&self) {
        if let Watch::Task(cancelled) = &self.watch {
            cancelled.store(true, Ordering::Relaxed);
        }
    }
}

#[pymethods]
impl CurrentCall {
    /// The caller's number, from 1 up; a server never uses one again. The one caller of a bus is 1.
    #[getter]
    fn caller_id(&self) -> u64 {
        self.caller.id
    }

    /// The caller's process id; None where it is not visible from here.
    #[getter]
    fn caller_pid(&self) -> Option<u32> {
        self.caller.pid
    }

    /// The caller's user id; None where this process's user namespace does not map it.
    #[getter]
    fn caller_uid(&self) -> Option<u32> {
        self.caller.uid
    }

    /// The `time.monotonic()` until when the caller waits; None when it set no timeout.
    #[getter]
    fn deadline(&self) -> Option<f64> {
        self.deadline.map(|at| Duration::from_nanos(at).as_secs_f64())
    }

    /// The seconds that the caller still waits, 0.0 when it has given up; None when it set no timeout.
    #[getter]
    fn remaining(&self) -> Option<f64> {
        self.deadline.map(|at| Duration::from_nanos(at.saturating_sub(monotonic_now())).as_secs_f64())
    }

    /// Whether the answer is wanted no more: the caller cancelled the call, closed or died, or its timeout is over.
    ///
    /// A plain handler that runs for long asks this now and then, and ends early. A coroutine function need not: its task
    /// is cancelled.
    fn is_cancelled(&self) -> bool {
        self.deadline.is_some_and(|at| monotonic_now() >= at)
            || match &self.watch {
                Watch::Ring(watch) => watch.is_cancelled(),
                Watch::Task(cancelled) => cancelled.load(Ordering::Relaxed),
            }
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let Self { msg_type, caller, .. } = self;
        format!("<tachyon.CurrentCall {} msg_type={msg_type} caller_id={}>", self.name.bind(py), caller.id)
    }
}

/// What is kept of a request while its handler runs: nothing that costs a thing unless somebody asks.
struct Running {
    endpoint: Py<RpcEndpoint>,
    caller: CallerInfo,
    correlation_id: u64,
    deadline: Option<u64>,
    watch: CallWatch,
}

thread_local! {
    /// The requests being handled on this thread; more than one when a handler serves, too.
    static RUNNING: RefCell<Vec<Running>> = const { RefCell::new(Vec::new()) };
}

/// A handler runs, until this is dropped.
pub(crate) struct CallScope(());

impl CallScope {
    pub(crate) fn begin(endpoint: Py<RpcEndpoint>, request: Request<'_>, caller: CallerInfo) -> Self {
        let running = Running {
            endpoint,
            caller,
            correlation_id: request.correlation_id(),
            deadline: request_deadline(request),
            watch: CallWatch::new(request),
        };
        RUNNING.with_borrow_mut(|all| all.push(running));
        Self(())
    }
}

impl Drop for CallScope {
    fn drop(&mut self) {
        // Outside the borrow: it may be the last reference.
        drop(RUNNING.with_borrow_mut(Vec::pop));
    }
}

/// Whether a handler runs on this thread.
pub(crate) fn is_handling() -> bool {
    RUNNING.with_borrow(|all| !all.is_empty())
}

/// The request that the handler on this thread is busy with.
#[pyfunction]
#[pyo3(name = "_current_call")]
pub(crate) fn current_call(py: Python<'_>) -> PyResult<Option<CurrentCall>> {
    let running = RUNNING.with_borrow(|all| {
        all.last().map(|last| {
            (last.endpoint.clone_ref(py), last.caller, last.correlation_id, last.deadline, last.watch.clone())
        })
    });
    running
        .map(|(endpoint, caller, correlation_id, deadline, watch)| {
            CurrentCall::new(endpoint.bind(py), caller, correlation_id, deadline, Watch::Ring(watch))
        })
        .transpose()
}
