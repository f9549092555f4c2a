//! `LoopStream`: a stream whose handler is a task of the event loop.
//!
//! No method waits. A method that has to go on later leaves its waker behind, and the waker notes the stream's key. The
//! loop takes the keys after each turn, and wakes the tasks.

use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use pyo3::exceptions::{PyException, PyRuntimeError, PyStopAsyncIteration};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use tachyon::__binding::Detached;
use tachyon::dispatch::AsyncReply;
use tachyon::payload::ItemEncoding;
use tachyon::{HandlerError, ItemError, Items, StreamSender};

use crate::asyncio::loop_serving::Key;
use crate::rpc::endpoint::RpcEndpoint;
use crate::serve::current_call::{CurrentCall, Watch};
use crate::serve::endpoint_table::Shared;
use crate::serve::handler::{Failure, call_on_copy, encoded};
use crate::serve::items::cancelled;
use crate::serve::stream::{OpenedStream, reply_with};

/// The keys of streams whose handlers can go on.
pub(super) type Woken = Arc<Mutex<Vec<Key>>>;

struct NoteKey {
    key: Key,
    woken: Woken,
}

impl Wake for NoteKey {
    fn wake(self: Arc<Self>) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if woken.last() != Some(&self.key) {
            woken.push(self.key);
        }
    }
}

/// A stream for a coroutine function or an asynchronous generator.
#[pyclass(module = "tachyon._tachyon", frozen)]
pub(crate) struct LoopStream {
    /// The caller's number, and the correlation id.
    #[pyo3(get)]
    key: Key,
    /// The handler's `current_call()`.
    #[pyo3(get)]
    call: Py<CurrentCall>,
    /// Whether the handler takes the caller's items.
    #[pyo3(get)]
    takes_items: bool,
    /// Whether the handler answers with items.
    #[pyo3(get)]
    streams: bool,
    endpoint: Py<RpcEndpoint>,
    payload: Py<PyBytes>,
    outcome: Arc<Mutex<Option<AsyncReply>>>,
    /// `None` when the handler is done, or the stream is over.
    handler: Mutex<Option<Detached>>,
    items: Mutex<Option<Items<Vec<u8>>>>,
    sender: StreamSender<Vec<u8>>,
    waker: Waker,
}

impl LoopStream {
    pub(super) fn new(
        py: Python<'_>,
        shared: &Shared,
        opened: OpenedStream,
        handler: Detached,
        woken: &Woken,
    ) -> PyResult<Self> {
        let endpoint = opened.endpoint(py, shared);
        let endpoint = endpoint.ok_or_else(|| PyRuntimeError::new_err("the dispatcher was garbage collected"))?;
        let OpenedStream { payload, parts, context, outcome, .. } = opened;
        let contract = endpoint.get().contract();
        let takes_items = contract.is_some_and(|contract| contract.get().takes_items());
        let streams = contract.is_some_and(|contract| contract.get().streams());
        let key = (parts.caller.id, parts.correlation_id);
        let (items, sender) =
            (Mutex::new(takes_items.then(|| context.items::<Vec<u8>>())), context.sender(ItemEncoding::VALUE));
        let call = Py::new(py, CurrentCall::new(endpoint.bind(py), parts, Watch::Context(context))?)?;
        let payload = PyBytes::new(py, &payload).unbind();
        let waker = Waker::from(Arc::new(NoteKey { key, woken: Arc::clone(woken) }));
        let handler = Mutex::new(Some(handler));
        Ok(Self { key, call, takes_items, streams, endpoint, payload, outcome, handler, items, sender, waker })
    }

    /// Sets the outcome of the handler, unless the stream is over.
    fn settle(&self, outcome: Result<Vec<u8>, Failure>) {
        if self.poll() {
            return;
        }
        *lock(&self.outcome) = Some(reply_with(outcome));
        self.poll();
    }

    /// Polls the handler: true when it is done, or the stream is over.
    fn poll(&self) -> bool {
        let mut handler = lock(&self.handler);
        if let Some(running) = &mut *handler
            && Pin::new(running).poll(&mut Context::from_waker(&self.waker)).is_pending()
        {
            return false;
        }
        *handler = None;
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymethods]
impl LoopStream {
    /// The endpoint's name.
    #[getter]
    fn name(&self, py: Python<'_>) -> PyResult<String> {
        RpcEndpoint::name(self.endpoint.bind(py))
    }

    /// Call the handler with the caller's items, which makes its coroutine or its iterator.
    #[pyo3(signature = (items, /))]
    fn start<'py>(&self, py: Python<'py>, items: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        call_on_copy(self.endpoint.get(), self.payload.bind(py), items)
    }

    /// Take the next item of the caller, as a tuple of one; None when there is none so far. Raises `StopAsyncIteration`
    /// after the last one, and `StreamCancelledError` when the stream is over before.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let mut items = lock(&self.items);
        let ended = || PyStopAsyncIteration::new_err(());
        let Some(open) = &mut *items else { return Err(ended()) };
        let received = open.poll_recv(&mut Context::from_waker(&self.waker));
        let Poll::Ready(received) = received else { return Ok(None) };
        match received {
            Some(Ok(item)) => {
                let Some(contract) = self.endpoint.get().contract() else { return Err(ended()) };
                PyTuple::new(py, [contract.get().received_item(py, &item)?]).map(Some)
            }
            Some(Err(_)) => Err(cancelled()),
            None => Err(if self.poll() { cancelled() } else { ended() }),
        }
    }

    /// Encode an item.
    fn encode<'py>(&self, item: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let py = item.py();
        encoded(self.endpoint.get(), item).map(|bytes| PyBytes::new(py, &bytes))
    }

    /// Send an encoded item; False when it has to be sent later. Raises `StreamCancelledError` when the stream is over.
    fn send(&self, item: &Bound<'_, PyBytes>) -> PyResult<bool> {
        let mut sending = self.sender.send(item.as_bytes());
        match Pin::new(&mut sending).poll(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(error)) => {
                if !matches!(error, ItemError::Cancelled) {
                    self.settle(Err(Failure { error: HandlerError::from(error), cause: None }));
                }
                Err(cancelled())
            }
        }
    }

    /// End the stream: with the value of its reply, or after its last item.
    fn finish(&self, reply: Bound<'_, PyAny>) {
        let (py, endpoint) = (reply.py(), self.endpoint.get());
        let outcome = if self.streams { Ok(Vec::new()) } else { encoded(endpoint, reply) };
        self.settle(outcome.map_err(|raised| Failure::of_handler(endpoint, py, raised)));
    }

    /// End the stream with the exception of its handler.
    fn fail(&self, cause: Bound<'_, PyAny>) {
        let (py, cause) = (cause.py(), PyErr::from_value(cause));
        let Failure { error, cause } = Failure::of_handler(self.endpoint.get(), py, cause);
        // The loop itself propagates KeyboardInterrupt and SystemExit, and a task that is cancelled ends alone.
        let cause = cause.filter(|cause| cause.is_instance_of::<PyException>(py));
        self.settle(Err(Failure { error, cause }));
    }

    /// Whether the stream is over. If not, a later end notes the key of the stream.
    fn is_over(&self) -> bool {
        self.poll()
    }

    /// Drop the items of the caller: the handler has returned.
    fn close(&self) {
        *lock(&self.items) = None;
    }
}
