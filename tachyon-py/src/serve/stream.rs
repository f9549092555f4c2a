//! Streams of replies that a handler's iterator gives, item by item, on the serving thread.

use std::sync::Arc;

use pyo3::exceptions::{PyException, PyGeneratorExit, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tachyon::dispatch::{HandlerResult, OwnedOpenReplies, Replies};
use tachyon::{HandlerError, Reply, Request};

use crate::errors::BadReplyError;
use crate::memory::buffer_export::type_name;
use crate::rpc::endpoint::RpcEndpoint;
use crate::runtime::interpreter_shutdown;
use crate::runtime::invoke::{self, call_none};
use crate::runtime::logging::{Level, log_or_print};
use crate::runtime::worker_thread::keep_state;
use crate::serve::current_call::StreamCall;
use crate::serve::endpoint_table::Shared;
use crate::serve::handler::{Failure, call_on_copy, send_value};

/// The function that opens streams of an endpoint, by the endpoint's index in the table.
pub(super) fn opening(shared: &Arc<Shared>, place: usize) -> OwnedOpenReplies<()> {
    let shared = Arc::clone(shared);
    Box::new(move |(), request| {
        keep_state();
        interpreter_shutdown::attach(|py| {
            let Some(endpoint) = shared.endpoint(py, place) else {
                return Err(HandlerError::failed("the dispatcher was garbage collected"));
            };
            let mut items = HandlerItems::open(py, &shared, endpoint, request).map_err(Failure::put)?;
            Ok(Replies::from_next(move |reply| items.next(reply)))
        })
    })
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
            let returned = call_on_copy(endpoint.get(), &payload)?;
            invoke::iterator(&returned).map_err(|error| no_iterator(&endpoint, &returned, error))
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
            let closed = call.step(|| match iterator.bind(py).getattr_opt(intern!(py, "close"))? {
                Some(close) => call_none(&close).map(drop),
                None => Ok(()),
            });
            match closed {
                Err(raised) if raised.is_instance_of::<PyGeneratorExit>(py) => {}
                Err(raised) if !raised.is_instance_of::<PyException>(py) => shared.end(raised),
                Err(raised) => {
                    let name = RpcEndpoint::name(endpoint.bind(py)).unwrap_or_default();
                    let text = format!("the handler '{name}' failed as its stream was closed: {raised}");
                    log_or_print(py, Level::Error, &text, Some(raised));
                }
                Ok(()) => {}
            }
            // With the GIL: the last reference may be this one.
            drop(iterator);
        });
    }
}
