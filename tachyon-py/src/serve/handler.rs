//! One request through a Python handler.
#![allow(unsafe_code, reason = "shows the request's bytes to Python")]

use core::cell::RefCell;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView, PyTuple};
use tachyon::__binding::{Mapping, declared_error, error_kind, needs_no_wait, request_mapping};
use tachyon::dispatch::Replied;
use tachyon::{ErrorKind, HandlerError, Reply, Request};

use crate::errors::{BadReplyError, RpcError, TachyonError, ViewError};
use crate::memory::buffer_export::type_name;
use crate::memory::payload::Payload;
use crate::memory::request_view::{RequestView, is_only};
use crate::rpc::contract::Encoded;
use crate::rpc::endpoint::RpcEndpoint;
use crate::runtime::invoke::{call_all, call_one};
use crate::runtime::package::imported;
use crate::values::objects::Memory;
use crate::values::write::Scratch;

/// A failure of a handler, for the core and for the serving loop.
pub(crate) struct Failure {
    /// The error reply.
    pub(crate) error: HandlerError,
    /// The exception to report; `None` if the error is an answer: a declared error, or a refused request.
    pub(crate) cause: Option<PyErr>,
}

impl Failure {
    /// The failure for an exception raised by a handler or around it. The class of the exception decides the kind.
    pub(crate) fn of_handler(endpoint: &RpcEndpoint, py: Python<'_>, cause: PyErr) -> Self {
        Self::of(Some(endpoint), py, cause)
    }

    /// A failure without an exception behind it.
    pub(super) fn of_core(error: HandlerError) -> Self {
        Self { error, cause: None }
    }

    /// The failure for an exception of a layer, which refuses the call.
    pub(crate) fn of_layer(py: Python<'_>, cause: PyErr) -> Self {
        Self::of(None, py, cause)
    }

    fn of(endpoint: Option<&RpcEndpoint>, py: Python<'_>, cause: PyErr) -> Self {
        match declared_error_reply(endpoint, py, &cause) {
            Ok(Some(error)) => return Self { error, cause: None },
            Ok(None) => {}
            // The fields or the text of the error cannot be encoded.
            Err(cause) => return Self::raised(ErrorKind::HandlerFailed, cause),
        }
        let (kind, text) = match reply_of(py, &cause) {
            Ok(Some(reply)) => reply,
            // Exceptions of other classes need their type to be understood.
            Ok(None) => return Self::raised(ErrorKind::HandlerFailed, cause),
            Err(cause) => return Self::raised(ErrorKind::HandlerFailed, cause),
        };
        Self { error: HandlerError::new(kind, text), cause: (!kind.is_answer()).then_some(cause) }
    }

    /// The error to reply with. Sets the exception behind it on this thread.
    pub(super) fn put(self) -> HandlerError {
        CAUSE.set(self.cause);
        self.error
    }

    fn raised(kind: ErrorKind, cause: PyErr) -> Self {
        Self { error: HandlerError::new(kind, &cause), cause: Some(cause) }
    }
}

/// Kind and text of the error reply for an exception whose class has a kind of its own; `None` for other exceptions.
fn reply_of(py: Python<'_>, cause: &PyErr) -> PyResult<Option<(ErrorKind, String)>> {
    if !cause.is_instance_of::<TachyonError>(py) {
        return Ok(None);
    }
    let raised = cause.value(py);
    let kind = error_kind(raised.getattr(intern!(py, "reply_kind"))?.extract()?);
    if kind == ErrorKind::HandlerFailed {
        return Ok(None);
    }
    // The text of an error that this handler got from its own callee, without the words about that call.
    let text = if cause.is_instance_of::<RpcError>(py) {
        raised.getattr(intern!(py, "text"))?.extract()?
    } else {
        raised.str()?.to_string_lossy().into_owned()
    };
    Ok(Some((kind, text)))
}

/// The error reply for an exception that travels by its name; `None` for other exceptions. Only a class that the
/// endpoint declares travels with its fields, since only for a declared class the two sides have compared the fields.
fn declared_error_reply(
    endpoint: Option<&RpcEndpoint>,
    py: Python<'_>,
    cause: &PyErr,
) -> PyResult<Option<HandlerError>> {
    // Checked first: most exceptions are no `RpcError`, and this check needs no module lookup.
    if !cause.is_instance_of::<RpcError>(py)
        || !cause.value(py).is_instance(&imported!(py, "tachyon._declared", "EndpointError")?)?
    {
        return Ok(None);
    }
    let sent = imported!(py, "tachyon._declared", "sent")?;
    let contract = endpoint.and_then(RpcEndpoint::contract);
    let is_declared = contract.is_some_and(|contract| contract.get().declares(&cause.get_type(py)));
    let parts = sent.call1((cause.value(py), is_declared))?;
    let (kind, name, text, fields): (u16, String, String, Vec<u8>) = parts.extract()?;
    Ok(Some(declared_error(error_kind(kind), &name, &text, fields)))
}

thread_local! {
    /// The exception behind the last failure on this thread.
    static CAUSE: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Sets the exception behind a failure on this thread.
pub(super) fn put_cause(cause: Option<PyErr>) {
    CAUSE.set(cause);
}

/// Takes the exception behind the last failure on this thread, for the report of the serving loop.
pub(crate) fn take_cause() -> Option<PyErr> {
    CAUSE.take()
}

/// Runs an endpoint's handler and answers with its result.
///
/// # Errors
/// The error to reply with; `take_cause` returns the exception to report, if any.
#[inline]
pub(crate) fn run(
    py: Python<'_>,
    endpoint: &RpcEndpoint,
    request: Request<'_>,
    reply: Reply<'_>,
) -> Result<Replied, HandlerError> {
    let function = endpoint.function().bind(py);
    let bytes = request.payload();
    let response = match endpoint.contract() {
        // The mapping keeps the request's memory mapped for a view that the handler kept.
        None => with_view(
            py,
            endpoint,
            bytes,
            || request_mapping(&reply),
            |view| Ok(Encoded::Object(call_one(function, view.as_any())?)),
        ),
        Some(contract) if contract.get().reads_in_place() => {
            let contract = contract.get();
            with_view(
                py,
                endpoint,
                bytes,
                || request_mapping(&reply),
                |view| contract.answer(contract.call(function, bytes, Some(view), false)?),
            )
        }
        Some(contract) => {
            let contract = contract.get();
            let written = contract.call(function, bytes, None, false).and_then(|returned| contract.answer(returned));
            written.map_err(|raised| Failure::of_handler(endpoint, py, raised)).and_then(Response::of)
        }
    };
    match response {
        Ok(response) => send(py, &response, reply),
        Err(failure) => Err(failure.put()),
    }
}

/// Runs an endpoint's handler on a copy of the request, which the result may show. The items of the caller come after
/// the arguments.
pub(crate) fn call_on_copy<'py>(
    endpoint: &RpcEndpoint,
    payload: &Bound<'py, PyBytes>,
    items: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = payload.py();
    let function = endpoint.function().bind(py);
    let view = || PyMemoryView::from(payload.as_any());
    let Some(contract) = endpoint.contract() else { return call_one(function, view()?.as_any()) };
    let contract = contract.get();
    let view = if contract.reads_in_place() { Some(view()?) } else { None };
    let Some(items) = items else { return contract.call(function, payload.as_bytes(), view.as_ref(), true) };
    let given = imported!(py, "tachyon._contract", "given")?;
    let arguments = contract.call(&given, payload.as_bytes(), view.as_ref(), true)?;
    let arguments = arguments.cast::<PyTuple>()?.iter().chain([items.clone()]).collect::<Vec<_>>();
    call_all(function, &PyTuple::new(py, arguments)?)
}

/// Encodes a value of a handler that got a copy of the request.
pub(crate) fn encoded(endpoint: &RpcEndpoint, value: Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let py = value.py();
    let written = match endpoint.contract() {
        None => Encoded::Object(value),
        Some(contract) => contract.get().answer(value)?,
    };
    match written {
        Encoded::Empty => Ok(Vec::new()),
        Encoded::Scratch(scratch) => Ok(scratch.to_vec()),
        Encoded::Object(object) => match Payload::of(&object) {
            Ok(payload) => Ok(payload.as_slice().to_vec()),
            Err(cause) => {
                let error = BadReplyError::new_err(no_bytes(&object, &cause));
                error.set_cause(py, Some(cause));
                Err(error)
            }
        },
    }
}

/// Sends a value of a handler that got a copy of the request.
///
/// # Errors
/// As [`run`].
pub(super) fn send_value(
    endpoint: &RpcEndpoint,
    value: Bound<'_, PyAny>,
    reply: Reply<'_>,
) -> Result<Replied, HandlerError> {
    let py = value.py();
    let written = match endpoint.contract() {
        None => Ok(Encoded::Object(value)),
        Some(contract) => contract.get().answer(value).map_err(|raised| Failure::of_handler(endpoint, py, raised)),
    };
    match written.and_then(Response::of) {
        Ok(response) => send(py, &response, reply),
        Err(failure) => Err(failure.put()),
    }
}

/// A handler's answer, independent of the request's bytes.
enum Response<'py> {
    Empty,
    Bytes(Bound<'py, PyBytes>),
    Other(Bound<'py, PyAny>),
    Scratch(Scratch),
    /// A copy of an answer that was a view of the request.
    Copy(Vec<u8>),
}

impl<'py> Response<'py> {
    /// The bytes to send for an answer, or an error for an object without bytes.
    #[inline]
    fn of(written: Encoded<'py>) -> Result<Self, Failure> {
        let object = match written {
            Encoded::Empty => return Ok(Self::Empty),
            Encoded::Scratch(scratch) => return Ok(Self::Scratch(scratch)),
            Encoded::Object(object) => object,
        };
        match object.cast_into_exact::<PyBytes>() {
            Ok(bytes) => Ok(Self::Bytes(bytes)),
            Err(error) => {
                let other = error.into_inner();
                check(&other)?;
                Ok(Self::Other(other))
            }
        }
    }
}

fn failed(cause: PyErr) -> Failure {
    Failure::raised(ErrorKind::HandlerFailed, cause)
}

/// Calls a handler with a view of the request, and releases the view.
#[inline]
fn with_view<'py>(
    py: Python<'py>,
    endpoint: &RpcEndpoint,
    request: &[u8],
    mapping: impl Fn() -> Mapping,
    call: impl FnOnce(&Bound<'py, PyMemoryView>) -> PyResult<Encoded<'py>>,
) -> Result<Response<'py>, Failure> {
    // SAFETY: the request stays mapped as long as its direction is borrowed, which is longer than this call; the
    // mapping keeps it mapped after that.
    let request_view = unsafe { RequestView::new(py, request, mapping) }.map_err(failed)?;
    let view = request_view.view().map_err(failed)?;
    match call(&view) {
        Ok(written) => detach_from_view(written, &request_view, view),
        Err(raised) => {
            // The traceback refers to the handler's frame, and the frame refers to the view.
            drop(release(view));
            Err(Failure::of_handler(endpoint, py, raised))
        }
    }
}

/// Makes a handler's answer independent of the view, and releases the view.
#[inline]
fn detach_from_view<'py, M: Fn() -> Mapping>(
    written: Encoded<'py>,
    request_view: &RequestView<'py, M>,
    view: Bound<'py, PyMemoryView>,
) -> Result<Response<'py>, Failure> {
    let response = match Response::of(written)? {
        // The view is released below, and then neither the view nor a Struct or an Array in it can be read.
        Response::Other(other) if other.is(&view) || other.is_instance_of::<Memory>() => copied(&other)?,
        response => response,
    };
    let left = release(view);
    if request_view.has_views() { detach_from_kept_views(response, request_view, left) } else { Ok(response) }
}

/// The slow path, when views are left: the handler's view in use, or views derived from it.
#[cold]
fn detach_from_kept_views<'py, M: Fn() -> Mapping>(
    response: Response<'py>,
    request_view: &RequestView<'py, M>,
    left: Option<Bound<'py, PyMemoryView>>,
) -> Result<Response<'py>, Failure> {
    let response = match response {
        Response::Other(other) => copied(&other)?,
        response => response,
    };
    drop(left.and_then(release));
    if !request_view.has_views() {
        return Ok(response);
    }
    Err(failed(ViewError::new_err(
        "the handler kept a view of the request, which is valid during the call only; copy what it keeps: \
         payload.tobytes()",
    )))
}

/// A copy of an answer that may be a view of the request.
fn copied<'py>(other: &Bound<'py, PyAny>) -> Result<Response<'py>, Failure> {
    let copy = Payload::of(other).map(|payload| payload.as_slice().to_vec());
    copy.map(Response::Copy).map_err(|cause| Failure::raised(ErrorKind::BadReply, cause))
}

/// Fails unless an answer has bytes.
fn check(other: &Bound<'_, PyAny>) -> Result<(), Failure> {
    Payload::of(other).map(drop).map_err(|cause| Failure {
        error: HandlerError::new(ErrorKind::BadReply, no_bytes(other, &cause)),
        cause: Some(cause),
    })
}

/// The reason why an answer has no bytes.
#[cold]
fn no_bytes(other: &Bound<'_, PyAny>, cause: &PyErr) -> String {
    match type_name(other) {
        Ok(name) => format!("the handler returned {name}, which is not a contiguous bytes-like object"),
        Err(_) => cause.to_string(),
    }
}

/// Releases the handler's view, and returns it if other references to it exist. Derived views stay counted, as
/// `has_views` shows.
#[inline]
fn release(view: Bound<'_, PyMemoryView>) -> Option<Bound<'_, PyMemoryView>> {
    // Dropping the last reference releases the view.
    if is_only(&view) {
        return None;
    }
    drop(view.call_method0(intern!(view.py(), "release")));
    Some(view)
}

/// Answers. The GIL is released only if the answer has to wait for room.
fn send(py: Python<'_>, response: &Response<'_>, mut reply: Reply<'_>) -> Result<Replied, HandlerError> {
    let payload;
    let bytes = match response {
        Response::Empty => &[],
        Response::Scratch(scratch) => scratch.as_slice(),
        Response::Bytes(bytes) => bytes.as_bytes(),
        Response::Copy(copy) => copy.as_slice(),
        Response::Other(other) => {
            payload = Payload::of(other).map_err(|cause| HandlerError::new(ErrorKind::BadReply, cause))?;
            payload.as_slice()
        }
    };
    if needs_no_wait(&mut reply, bytes.len()) {
        return reply.bytes(bytes);
    }
    // Other threads may change a bytearray meanwhile, but not this copy.
    let bytes = bytes.to_vec();
    py.detach(move || reply.bytes(&bytes))
}
