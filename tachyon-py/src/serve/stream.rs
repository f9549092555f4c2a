//! Handlers of streams: an iterator that the serving thread steps, a thread for each stream that takes items, and tasks
//! of an event loop.

use core::future::poll_fn;
use core::task::Poll;
use std::sync::{Arc, Mutex};

use pyo3::exceptions::{PyException, PyGeneratorExit, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tachyon::__binding::{handler_future, later_reply};
use tachyon::dispatch::{AsyncReply, HandlerResult, OwnedContext, OwnedOpenReplies, OwnedStartHandler, Replies};
use tachyon::payload::ItemEncoding;
use tachyon::{HandlerError, ItemError, Reply, Request, StreamSender};

use crate::errors::BadReplyError;
use crate::memory::buffer_export::type_name;
use crate::rpc::endpoint::RpcEndpoint;
use crate::runtime::interpreter_shutdown;
use crate::runtime::invoke::{self, call_none};
use crate::runtime::logging::{Level, log_or_print};
use crate::runtime::worker_thread::keep_state;
use crate::serve::current_call::{CallParts, CallScope, StreamCall, Watch};
use crate::serve::endpoint_table::{Shared, lock};
use crate::serve::handler::{Failure, call_on_copy, encoded, send_value};
use crate::serve::items::RequestItems;

/// The function that opens streams of an endpoint on the serving thread, by the endpoint's index in the table.
pub(super) fn inline(shared: &Arc<Shared>, place: usize) -> OwnedOpenReplies<()> {
    let shared = Arc::clone(shared);
    Box::new(move |(), request| {
        keep_state();
        interpreter_shutdown::attach(|py| {
            let Some(endpoint) = shared.endpoint(py, place) else { return Err(collected()) };
            let mut items = HandlerItems::open(py, &shared, endpoint, request).map_err(Failure::put)?;
            Ok(Replies::from_next(move |reply| items.next(reply)))
        })
    })
}

/// As [`inline`], for streams that run on threads of their own.
pub(super) fn on_thread(shared: &Arc<Shared>, place: usize) -> OwnedStartHandler {
    let shared = Arc::clone(shared);
    Box::new(move |request, context| {
        let opened = OpenedStream::new(place, request, context);
        let shared = Arc::clone(&shared);
        Ok(handler_future(async move { reply_with(opened.run(&shared)) }))
    })
}

/// As [`inline`], for streams whose handlers are tasks of an event loop.
pub(super) fn in_loop(shared: &Arc<Shared>, place: usize) -> OwnedStartHandler {
    let shared = Arc::clone(shared);
    Box::new(move |request, context| {
        let opened = OpenedStream::new(place, request, context);
        let outcome = Arc::clone(&opened.outcome);
        shared.put_opened(opened);
        // The loop polls after it has set the outcome.
        let done = move || lock(&outcome).take().map_or(Poll::Pending, Poll::Ready);
        Ok(handler_future(poll_fn(move |_| done())))
    })
}

fn collected() -> HandlerError {
    HandlerError::failed("the dispatcher was garbage collected")
}

/// The last message of a handler that runs outside of the serving thread, and the exception behind it.
pub(crate) fn reply_with(outcome: Result<Vec<u8>, Failure>) -> AsyncReply {
    later_reply(move |reply| match outcome {
        Ok(bytes) => reply.bytes(&bytes),
        Err(failure) => Err(failure.put()),
    })
}

/// A stream whose handler is about to run outside of the serving thread.
pub(crate) struct OpenedStream {
    place: usize,
    pub(crate) payload: Vec<u8>,
    pub(crate) parts: CallParts,
    pub(crate) context: OwnedContext,
    /// The outcome that an event loop sets.
    pub(crate) outcome: Arc<Mutex<Option<AsyncReply>>>,
}

impl OpenedStream {
    fn new(place: usize, request: Request<'_>, context: OwnedContext) -> Self {
        let (payload, parts) = (request.payload().to_vec(), CallParts::of(request));
        Self { place, payload, parts, context, outcome: Arc::default() }
    }

    pub(crate) fn endpoint(&self, py: Python<'_>, shared: &Shared) -> Option<Py<RpcEndpoint>> {
        shared.endpoint(py, self.place)
    }

    /// Runs the handler to its end, on this thread.
    fn run(self, shared: &Shared) -> Result<Vec<u8>, Failure> {
        keep_state();
        interpreter_shutdown::attach(|py| {
            let Some(endpoint) = self.endpoint(py, shared) else { return Err(Failure::of_core(collected())) };
            let Some(contract) = endpoint.get().contract() else { return Err(Failure::of_core(collected())) };
            let items = RequestItems::new(contract.clone_ref(py), self.context.items::<Vec<u8>>());
            let raised = |raised| Failure::of_handler(endpoint.get(), py, raised);
            let items = Bound::new(py, items).map_err(raised)?;
            let Self { payload, parts, context, .. } = self;
            let payload = PyBytes::new(py, &payload);
            let sender = context.sender(ItemEncoding::VALUE);
            let _call = CallScope::enter(endpoint.clone_ref(py), parts, Watch::Context(context));
            let returned = call_on_copy(endpoint.get(), &payload, Some(items.as_any())).map_err(raised);
            let outcome = returned.and_then(|returned| {
                if contract.get().streams() {
                    let iterator = iterate(&endpoint, &returned).map_err(raised)?;
                    let sent = send_all(&endpoint, &iterator, &sender);
                    close(shared, &endpoint, &iterator);
                    sent.map(|()| Vec::new())
                } else {
                    encoded(endpoint.get(), returned).map_err(raised)
                }
            });
            items.get().close();
            outcome
        })
    }
}

/// Sends all items of an iterator, waiting without the GIL for the caller.
fn send_all(
    endpoint: &Py<RpcEndpoint>,
    iterator: &Bound<'_, PyAny>,
    sender: &StreamSender<Vec<u8>>,
) -> Result<(), Failure> {
    let py = iterator.py();
    let raised = |raised| Failure::of_handler(endpoint.get(), py, raised);
    while let Some(item) = invoke::next(iterator).map_err(raised)? {
        let item = encoded(endpoint.get(), item).map_err(raised)?;
        let sent = py.detach(|| sender.blocking_send(&item));
        sent.map_err(|error: ItemError| Failure::of_core(error.into()))?;
    }
    Ok(())
}

/// The iterator over what a handler returned.
fn iterate<'py>(endpoint: &Py<RpcEndpoint>, returned: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    invoke::iterator(returned).map_err(|error| no_iterator(endpoint, returned, error))
}

/// Closes an iterator that has a `close`, as generators do, and reports a failure.
fn close(shared: &Shared, endpoint: &Py<RpcEndpoint>, iterator: &Bound<'_, PyAny>) {
    let py = iterator.py();
    let close = || match iterator.getattr_opt(intern!(py, "close"))? {
        Some(close) => call_none(&close).map(drop),
        None => Ok(()),
    };
    match close() {
        Err(raised) if raised.is_instance_of::<PyGeneratorExit>(py) => {}
        Err(raised) if !raised.is_instance_of::<PyException>(py) => shared.end(raised),
        Err(raised) => {
            let name = RpcEndpoint::name(endpoint.bind(py)).unwrap_or_default();
            let text = format!("the handler '{name}' failed as its stream was closed: {raised}");
            log_or_print(py, Level::Error, &text, Some(raised));
        }
        Ok(()) => {}
    }
}

/// The iterator of an open stream.
struct HandlerItems {
    shared: Arc<Shared>,
    endpoint: Py<RpcEndpoint>,
    call: StreamCall,
    /// `None` after the last item.
    iterator: Option<Py<PyAny>>,
}

impl HandlerItems {
    /// Calls the handler, which makes its iterator. The iterator gets a copy of the request: it outlives the message.
    fn open(
        py: Python<'_>,
        shared: &Arc<Shared>,
        endpoint: Py<RpcEndpoint>,
        request: Request<'_>,
    ) -> Result<Self, Failure> {
        let mut call = StreamCall::new(endpoint.clone_ref(py), request);
        let payload = PyBytes::new(py, request.payload());
        let opened = call.step(|| {
            let returned = call_on_copy(endpoint.get(), &payload, None)?;
            iterate(&endpoint, &returned)
        });
        match opened {
            Ok(iterator) => {
                let iterator = Some(iterator.unbind());
                Ok(Self { shared: Arc::clone(shared), endpoint, call, iterator })
            }
            Err(raised) => Err(Failure::of_handler(endpoint.get(), py, raised)),
        }
    }

    /// Sends the next item. `None` after the last one.
    fn next(&mut self, reply: Reply<'_>) -> Option<HandlerResult> {
        keep_state();
        let Self { endpoint, call, iterator, .. } = self;
        interpreter_shutdown::attach(|py| {
            let found = call.step(|| invoke::next(iterator.as_ref()?.bind(py)).transpose());
            match found {
                Some(Ok(item)) => Some(send_value(endpoint.get(), item, reply)),
                Some(Err(raised)) => Some(Err(Failure::of_handler(endpoint.get(), py, raised).put())),
                None => {
                    *iterator = None;
                    None
                }
            }
        })
    }
}

/// The error for a handler that returned no iterator.
fn no_iterator(endpoint: &Py<RpcEndpoint>, returned: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let py = returned.py();
    if !error.is_instance_of::<PyTypeError>(py) {
        return error;
    }
    let (Ok(name), Ok(found)) = (RpcEndpoint::name(endpoint.bind(py)), type_name(returned)) else { return error };
    BadReplyError::new_err(format!("{name}: the handler returned {found}, which is no iterator; `yield` the items"))
}

impl Drop for HandlerItems {
    /// Closes the iterator, if the stream ended before it: its caller cancelled, closed or died, its time is over, an
    /// item could not be sent, or the server stops.
    fn drop(&mut self) {
        let Some(iterator) = self.iterator.take() else { return };
        self.call.cancel();
        if interpreter_shutdown::has_begun() {
            // No thread may attach to release the reference.
            core::mem::forget(iterator);
            return;
        }
        keep_state();
        let Self { shared, endpoint, call, .. } = self;
        interpreter_shutdown::attach(|py| {
            call.step(|| close(shared, endpoint, iterator.bind(py)));
            // With the GIL: the last reference may be this one.
            drop(iterator);
        });
    }
}
