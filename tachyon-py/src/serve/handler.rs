//! One request through a Python handler.
#![allow(unsafe_code, reason = "shows the request's bytes to Python")]

use core::cell::RefCell;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};
use tachyon::__binding::{Mapping, declared_error, needs_no_wait, request_mapping};
use tachyon::{ErrorKind, HandlerError, Replied, Reply, Request};

use crate::errors::{BadReplyError, BadRequestError, RpcError, ViewError};
use crate::memory::buffer_export::type_name;
use crate::memory::payload::Payload;
use crate::memory::request_view::{RequestView, is_only};
use crate::rpc::contract::Encoded;
use crate::rpc::endpoint::RpcEndpoint;
use crate::runtime::invoke::call_one;
use crate::runtime::package::imported;
use crate::values::objects::Memory;
use crate::values::write::Scratch;

/// Why a handler's request got an error reply, in both worlds' terms.
pub(crate) struct Failure {
    /// For the core.
    pub(crate) error: HandlerError,
    /// For those who serve; none if the error is an answer: a declared one, or the refusal of a request.
    pub(crate) cause: Option<PyErr>,
}

impl Failure {
    /// The failure that an exception stands for, raised by an endpoint's handler or around it: its class says whose fault
    /// it is.
    pub(crate) fn of_handler(endpoint: &RpcEndpoint, py: Python<'_>, cause: PyErr) -> Self {
        match declared_error_reply(endpoint, py, &cause) {
            Ok(Some(error)) => return Self { error, cause: None },
            Ok(None) => {}
            // Its fields or its text cannot be made into bytes.
            Err(cause) => return Self::raised(ErrorKind::HandlerFailed, cause),
        }
        // Their texts are whole sentences; others' need their type to be understood.
        if cause.is_instance_of::<BadRequestError>(py) {
            Self { error: HandlerError::new(ErrorKind::BadRequest, cause.value(py)), cause: None }
        } else if cause.is_instance_of::<BadReplyError>(py) {
            Self { error: HandlerError::new(ErrorKind::BadReply, cause.value(py)), cause: Some(cause) }
        } else {
            Self::raised(ErrorKind::HandlerFailed, cause)
        }
    }

    fn raised(kind: ErrorKind, cause: PyErr) -> Self {
        Self { error: HandlerError::new(kind, &cause), cause: Some(cause) }
    }
}

/// The error reply for an exception that travels by its name; `None` for others. Only a class that the endpoint declares
/// has its fields with it: of any other, nobody has compared what they mean.
fn declared_error_reply(endpoint: &RpcEndpoint, py: Python<'_>, cause: &PyErr) -> PyResult<Option<HandlerError>> {
    // Looked at first: most are none, and this costs no look for a module.
    if !cause.is_instance_of::<RpcError>(py)
        || !cause.value(py).is_instance(&imported!(py, "tachyon._declared", "EndpointError")?)?
    {
        return Ok(None);
    }
    let sent = imported!(py, "tachyon._declared", "sent")?;
    let is_declared = endpoint.contract().is_some_and(|contract| contract.get().declares(&cause.get_type(py)));
    let (name, text, fields): (String, String, Vec<u8>) = sent.call1((cause.value(py), is_declared))?.extract()?;
    Ok(Some(declared_error(&name, &text, fields)))
}

thread_local! {
    /// The exception that made the request just handled on this thread fail.
    static CAUSE: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// Takes the exception that made the request just handled on this thread fail, for the report of the serving loop.
pub(crate) fn take_cause() -> Option<PyErr> {
    CAUSE.take()
}

/// Runs an endpoint's handler and answers with what it returns.
///
/// # Errors
/// The error to reply with; `take_cause` has the cause, if there is anything to report.
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
        // The mapping keeps the request's memory, should the handler have kept a view of it.
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
        Err(Failure { error, cause }) => {
            CAUSE.set(cause);
            Err(error)
        }
    }
}

/// A handler's answer, independent of the request's bytes.
enum Response<'py> {
    Empty,
    Bytes(Bound<'py, PyBytes>),
    Other(Bound<'py, PyAny>),
    Scratch(Scratch),
    /// Copied, since it was a view of the request.
    Copy(Vec<u8>),
}

impl<'py> Response<'py> {
    /// The bytes to send for an answer, or an error if an answer that is sent as it is has none.
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

/// Has a handler answer that gets a view, and takes that back.
#[inline]
fn with_view<'py>(
    py: Python<'py>,
    endpoint: &RpcEndpoint,
    request: &[u8],
    mapping: impl Fn() -> Mapping,
    call: impl FnOnce(&Bound<'py, PyMemoryView>) -> PyResult<Encoded<'py>>,
) -> Result<Response<'py>, Failure> {
    // SAFETY: the request stays mapped as long as the direction that lends it is borrowed, which is longer than this
    // call, and the mapping keeps it after that.
    let request_view = unsafe { RequestView::new(py, request, mapping) }.map_err(failed)?;
    let view = request_view.view().map_err(failed)?;
    match call(&view) {
        Ok(written) => detach_from_view(written, &request_view, view),
        Err(raised) => {
            // Its traceback refers to the handler's frame, and that to the view.
            drop(release(view));
            Err(Failure::of_handler(endpoint, py, raised))
        }
    }
}

/// Makes a handler's answer independent of the view, and takes that back.
#[inline]
fn detach_from_view<'py, M: Fn() -> Mapping>(
    written: Encoded<'py>,
    request_view: &RequestView<'py, M>,
    view: Bound<'py, PyMemoryView>,
) -> Result<Response<'py>, Failure> {
    let response = match Response::of(written)? {
        // Released below, after which nothing could read it: the view, or a Struct or an Array that lies in it.
        Response::Other(other) if other.is(&view) || other.is_instance_of::<Memory>() => copied(&other)?,
        response => response,
    };
    let left = release(view);
    if request_view.has_views() { detach_from_kept_views(response, request_view, left) } else { Ok(response) }
}

/// The same when views are left: that of the handler, which was in use, or views derived from it.
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

/// An answer that may be a view of the request, as one that is not.
fn copied<'py>(other: &Bound<'py, PyAny>) -> Result<Response<'py>, Failure> {
    let copy = Payload::of(other).map(|payload| payload.as_slice().to_vec());
    copy.map(Response::Copy).map_err(|cause| Failure::raised(ErrorKind::BadReply, cause))
}

/// Fails unless an answer is bytes.
fn check(other: &Bound<'_, PyAny>) -> Result<(), Failure> {
    Payload::of(other).map(drop).map_err(|cause| Failure {
        error: HandlerError::new(ErrorKind::BadReply, no_bytes(other, &cause)),
        cause: Some(cause),
    })
}

/// Says why an answer is not bytes.
#[cold]
pub(crate) fn no_bytes(other: &Bound<'_, PyAny>, cause: &PyErr) -> String {
    match type_name(other) {
        Ok(name) => format!("the handler returned {name}, which is not a contiguous bytes-like object"),
        Err(_) => cause.to_string(),
    }
}

/// Releases the handler's view, and gives it back if there are other references to it. Views derived from it stay
/// counted, which is what `has_views` looks at.
#[inline]
fn release(view: Bound<'_, PyMemoryView>) -> Option<Bound<'_, PyMemoryView>> {
    // The end of the last reference releases it.
    if is_only(&view) {
        return None;
    }
    drop(view.call_method0(intern!(view.py(), "release")));
    Some(view)
}

/// Answers, letting go of the interpreter only when there is no room for the answer yet.
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
