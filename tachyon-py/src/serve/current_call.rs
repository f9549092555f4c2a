//! `CurrentCall`: the caller and the deadline of the request that a handler handles.
//!
//! A handler on the serving thread finds its request in a thread-local. A handler that runs as a task has it in its
//! context, which `tachyon._context` sets.

use core::cell::RefCell;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyString;
use tachyon::__binding::{CallWatch, context_deadline, monotonic_now, request_deadline, request_metadata};
use tachyon::dispatch::{CallerInfo, OwnedContext};
use tachyon::{Context, Request};

use crate::rpc::endpoint::RpcEndpoint;
use crate::rpc::metadata::mapping;

/// The request that a handler handles.
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
    /// Bytes of the request, without the metadata.
    #[pyo3(get)]
    request_size: usize,
    caller: CallerInfo,
    deadline: Option<u64>,
    metadata: Option<Box<tachyon::Metadata>>,
    watch: Watch,
}

/// The parts of a request that its `CurrentCall` shows.
#[derive(Clone)]
pub(crate) struct CallParts {
    pub(crate) caller: CallerInfo,
    pub(crate) correlation_id: u64,
    pub(crate) request_size: usize,
    /// In `CLOCK_MONOTONIC` nanoseconds.
    pub(crate) deadline: Option<u64>,
    /// Boxed, and absent where it is empty: few calls have metadata.
    pub(crate) metadata: Option<Box<tachyon::Metadata>>,
}

/// The source of a call's cancellation.
#[derive(Clone)]
pub(crate) enum Watch {
    /// The handler runs on the serving thread and reads the ring.
    Ring(CallWatch),
    /// As `Ring`, for a stream: its end, which takes a CANCEL from the ring, sets the flag.
    Stream(CallWatch, Arc<AtomicBool>),
    /// The handler is a task, and the loop sets the flag.
    Task(Arc<AtomicBool>),
    /// A layer sees the call, or the handler of a stream runs outside of the serving thread.
    Context(OwnedContext),
}

impl CallParts {
    pub(crate) fn of(request: Request<'_>) -> Self {
        Self {
            caller: request.caller(),
            correlation_id: request.correlation_id(),
            request_size: request.payload().len(),
            deadline: request_deadline(request),
            metadata: request_metadata(request).map(|metadata| Box::new(metadata.clone())),
        }
    }
}

impl CurrentCall {
    pub(crate) fn new(endpoint: &Bound<'_, RpcEndpoint>, parts: CallParts, watch: Watch) -> PyResult<Self> {
        let name = RpcEndpoint::name(endpoint)?;
        Ok(Self::of_parts(endpoint.py(), endpoint.get().type_number(), &name, parts, watch))
    }

    /// The call that a layer sees.
    pub(crate) fn of_layer(py: Python<'_>, call: &Context<'_>) -> Self {
        let metadata = call.metadata();
        let parts = CallParts {
            caller: call.caller,
            correlation_id: call.correlation_id,
            request_size: call.request_size,
            deadline: context_deadline(call),
            metadata: (!metadata.is_empty()).then(|| Box::new(metadata.clone())),
        };
        Self::of_parts(py, call.msg_type, call.name, parts, Watch::Context(call.to_owned()))
    }

    fn of_parts(py: Python<'_>, msg_type: u16, name: &str, parts: CallParts, watch: Watch) -> Self {
        let name = PyString::new(py, name).unbind();
        let CallParts { caller, correlation_id, request_size, deadline, metadata } = parts;
        Self { msg_type, correlation_id, name, request_size, caller, deadline, metadata, watch }
    }

    /// Marks the call of a task as cancelled.
    pub(crate) fn cancel(&self) {
        if let Watch::Task(cancelled) = &self.watch {
            cancelled.store(true, Ordering::Relaxed);
        }
    }
}

#[pymethods]
impl CurrentCall {
    /// The caller's number, from 1 up; a server never reuses one. The only caller of a bus is 1.
    #[getter]
    fn caller_id(&self) -> u64 {
        self.caller.id
    }

    /// The caller's process id; None where it is not visible from this process.
    #[getter]
    fn caller_pid(&self) -> Option<u32> {
        self.caller.pid
    }

    /// The caller's user id; None where this process's user namespace does not map it.
    #[getter]
    fn caller_uid(&self) -> Option<u32> {
        self.caller.uid
    }

    /// The `time.monotonic()` at which the caller stops waiting; None when it set no timeout.
    #[getter]
    fn deadline(&self) -> Option<f64> {
        self.deadline.map(|at| Duration::from_nanos(at).as_secs_f64())
    }

    /// The seconds until the caller stops waiting, 0.0 after that; None when it set no timeout.
    #[getter]
    fn remaining(&self) -> Option<f64> {
        self.deadline.map(|at| Duration::from_nanos(at.saturating_sub(monotonic_now())).as_secs_f64())
    }

    /// The texts that the caller sent beside the request, as a read-only mapping.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        mapping(py, self.metadata.as_deref())
    }

    /// Whether the caller cancelled the call, closed, died, or timed out.
    ///
    /// A plain handler that runs for long asks this now and then, and ends early. A coroutine function need not: its
    /// task is cancelled.
    fn is_cancelled(&self) -> bool {
        self.deadline.is_some_and(|at| monotonic_now() >= at)
            || match &self.watch {
                Watch::Ring(watch) => watch.is_cancelled(),
                Watch::Stream(watch, ended) => ended.load(Ordering::Relaxed) || watch.is_cancelled(),
                Watch::Task(cancelled) => cancelled.load(Ordering::Relaxed),
                Watch::Context(context) => context.get().is_cancelled(),
            }
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let Self { msg_type, caller, .. } = self;
        format!("<tachyon.CurrentCall {} msg_type={msg_type} caller_id={}>", self.name.bind(py), caller.id)
    }
}

/// The parts of a request that `current_call` may need; a handler that never asks pays only for these.
struct Running {
    endpoint: Py<RpcEndpoint>,
    parts: CallParts,
    watch: Watch,
}

thread_local! {
    /// The requests in flight on this thread; several when a handler serves too.
    static RUNNING: RefCell<Vec<Running>> = const { RefCell::new(Vec::new()) };
}

/// Marks a handler as running until dropped.
pub(crate) struct CallScope(());

impl CallScope {
    pub(crate) fn begin(endpoint: Py<RpcEndpoint>, request: Request<'_>) -> Self {
        Self::enter(endpoint, CallParts::of(request), Watch::Ring(CallWatch::new(request)))
    }

    pub(crate) fn enter(endpoint: Py<RpcEndpoint>, parts: CallParts, watch: Watch) -> Self {
        RUNNING.with_borrow_mut(|all| all.push(Running { endpoint, parts, watch }));
        Self(())
    }
}

impl Drop for CallScope {
    fn drop(&mut self) {
        // Outside the borrow: this may drop the last reference.
        drop(RUNNING.with_borrow_mut(Vec::pop));
    }
}

/// The call of a stream, whose handler runs in steps.
pub(crate) struct StreamCall {
    /// `None` while a step runs.
    running: Option<Running>,
    ended: Arc<AtomicBool>,
}

impl StreamCall {
    pub(crate) fn new(endpoint: Py<RpcEndpoint>, request: Request<'_>) -> Self {
        let ended = Arc::<AtomicBool>::default();
        let watch = Watch::Stream(CallWatch::new(request), Arc::clone(&ended));
        Self { running: Some(Running { endpoint, parts: CallParts::of(request), watch }), ended }
    }

    /// Runs a step of the handler.
    pub(crate) fn step<R>(&mut self, run: impl FnOnce() -> R) -> R {
        /// Takes the call back, also after a panic.
        struct Step<'a>(&'a mut Option<Running>);

        impl Drop for Step<'_> {
            fn drop(&mut self) {
                *self.0 = RUNNING.with_borrow_mut(Vec::pop);
            }
        }

        if let Some(running) = self.running.take() {
            RUNNING.with_borrow_mut(|all| all.push(running));
        }
        let _step = Step(&mut self.running);
        run()
    }

    /// Marks the call as cancelled.
    pub(crate) fn cancel(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Whether a handler runs on this thread.
pub(crate) fn is_handling() -> bool {
    RUNNING.with_borrow(|all| !all.is_empty())
}

/// The request of the handler on this thread.
#[pyfunction]
#[pyo3(name = "_current_call")]
pub(crate) fn current_call(py: Python<'_>) -> PyResult<Option<CurrentCall>> {
    let running = RUNNING.with_borrow(|all| {
        all.last().map(|last| (last.endpoint.clone_ref(py), last.parts.clone(), last.watch.clone()))
    });
    running.map(|(endpoint, parts, watch)| CurrentCall::new(endpoint.bind(py), parts, watch)).transpose()
}
