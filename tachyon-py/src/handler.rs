//! One request through a Python handler.
#![allow(unsafe_code, reason = "lends the request's bytes to Python, or copies them for it")]

use core::cell::RefCell;
use core::ptr::NonNull;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};
use tachyon::__binding::{Mapping, answers_at_once, request_mapping};
use tachyon::{ErrorKind, HandlerError, Replied, Reply, Request};

use crate::errors::{BadReplyError, BadRequestError, ViewError};
use crate::invoke::call_one;
use crate::lent::{copied as copied_bytes, type_name};
use crate::loan::{Loan, is_only};
use crate::payload::Payload;

/// Why a handler's request got an error reply, in both worlds' terms.
pub(crate) struct Failure {
    /// For the caller and the core.
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
    /// For whoever serves.
    pub(crate) cause: PyErr,
}

impl Failure {
    /// What a handler raised, or what stood between it and the caller: each exception says whose fault it is.
    pub(crate) fn of_handler(py: Python<'_>, cause: PyErr) -> Self {
        let kind = if cause.is_instance_of::<BadRequestError>(py) {
            ErrorKind::BadRequest
        } else if cause.is_instance_of::<BadReplyError>(py) {
            ErrorKind::BadReply
        } else {
            ErrorKind::HandlerFailed
        };
        // Their texts are whole sentences; others' need their type to be understood.
        let text = match kind {
            ErrorKind::HandlerFailed => cause.to_string(),
            _ => cause.value(py).to_string(),
        };
        Self { kind, text, cause }
    }

    fn raised(kind: ErrorKind, cause: PyErr) -> Self {
        Self { kind, text: cause.to_string(), cause }
    }
}

thread_local! {
    /// What made the request just handled on this thread fail.
    static CAUSE: RefCell<Option<PyErr>> = const { RefCell::new(None) };
}

/// What made the request just handled on this thread fail; whoever serves takes it.
pub(crate) fn take_cause() -> Option<PyErr> {
    CAUSE.take()
}

/// What a handler gets of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// A view, in place.
    View,
    /// `bytes` of its own.
    Bytes,
}

/// Runs a handler and answers with what it returns.
///
/// # Errors
/// What goes into the error reply; `take_cause` has the cause.
#[inline]
pub(crate) fn run(
    py: Python<'_>,
    function: &Bound<'_, PyAny>,
    takes: Takes,
    request: Request<'_>,
    reply: Reply<'_>,
) -> Result<Replied, HandlerError> {
    let response = match takes {
        Takes::Bytes => with_bytes(py, function, request.payload()),
        // What keeps the request mapped, should the handler have kept a view of it.
        Takes::View => with_view(py, function, request.payload(), || request_mapping(&reply)),
    };
    match response {
        Ok(response) => send(py, &response, reply),
        Err(failure) => {
            CAUSE.set(Some(failure.cause));
            Err(HandlerError::new(failure.kind, failure.text))
        }
    }
}

/// A handler's answer, independent of the request's bytes.
enum Response<'py> {
    Bytes(Bound<'py, PyBytes>),
    Other(Bound<'py, PyAny>),
    /// Copied, since it was a view of the request.
    Copy(Vec<u8>),
}

fn failed(cause: PyErr) -> Failure {
    Failure::raised(ErrorKind::HandlerFailed, cause)
}

/// Has a handler answer that gets a copy, from which it can keep what it likes.
#[inline]
fn with_bytes<'py>(py: Python<'py>, function: &Bound<'py, PyAny>, request: &[u8]) -> Result<Response<'py>, Failure> {
    // SAFETY: a request is mapped until its handler has returned.
    let copy = unsafe { copied_bytes(py, NonNull::from(request).cast(), request.len()) }.map_err(failed)?;
    let returned = call_one(function, &copy).map_err(|raised| Failure::of_handler(py, raised))?;
    match returned.cast_into_exact::<PyBytes>() {
        Ok(bytes) => Ok(Response::Bytes(bytes)),
        Err(error) => {
            let other = error.into_inner();
            check(&other)?;
            Ok(Response::Other(other))
        }
    }
}

/// Has a handler answer that gets a view, and takes that back.
#[inline]
fn with_view<'py>(
    py: Python<'py>,
    function: &Bound<'py, PyAny>,
    request: &[u8],
    mapping: impl Fn() -> Mapping,
) -> Result<Response<'py>, Failure> {
    // SAFETY: the request stays mapped as long as the direction that lends it is borrowed, which is longer than this
    // call, and the mapping keeps it after that.
    let loan = unsafe { Loan::begin(py, request, mapping) }.map_err(failed)?;
    let view = loan.view().map_err(failed)?;
    match call_one(function, &view) {
        Ok(returned) => settle(returned, &loan, view),
        Err(raised) => {
            // Its traceback refers to the handler's frame, and that to the view.
            drop(release(view));
            Err(Failure::of_handler(py, raised))
        }
    }
}

/// Makes a handler's answer independent of the view, and takes that back.
#[inline]
fn settle<'py, M: Fn() -> Mapping>(
    returned: Bound<'py, PyAny>,
    loan: &Loan<'py, M>,
    view: Bound<'py, PyMemoryView>,
) -> Result<Response<'py>, Failure> {
    let response = match returned.cast_into_exact::<PyBytes>() {
        Ok(bytes) => Response::Bytes(bytes),
        Err(error) => {
            let other = error.into_inner();
            check(&other)?;
            // Released below, after which nobody could read it.
            if other.is(&view) { copied(&other)? } else { Response::Other(other) }
        }
    };
    let left = release(view);
    if loan.has_views() { settle_views(response, loan, left) } else { Ok(response) }
}

/// The same when views are left: that of the handler, which was in use, or views derived from it.
#[cold]
fn settle_views<'py, M: Fn() -> Mapping>(
    response: Response<'py>,
    loan: &Loan<'py, M>,
    left: Option<Bound<'py, PyMemoryView>>,
) -> Result<Response<'py>, Failure> {
    let response = match response {
        Response::Other(other) => copied(&other)?,
        response => response,
    };
    drop(left.and_then(release));
    if !loan.has_views() {
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
        kind: ErrorKind::BadReply,
        text: no_bytes(other, &cause),
        cause,
    })
}

/// What is wrong with an answer that is not bytes.
#[cold]
pub(crate) fn no_bytes(other: &Bound<'_, PyAny>, cause: &PyErr) -> String {
    match type_name(other) {
        Ok(name) => format!("the handler returned {name}, which is not a contiguous bytes-like object"),
        Err(_) => cause.to_string(),
    }
}

/// Releases the handler's view, and gives it back if somebody else refers to it, too. Views derived from it stay
/// counted, which is what the loan looks at.
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
        Response::Bytes(bytes) => bytes.as_bytes(),
        Response::Copy(copy) => copy.as_slice(),
        Response::Other(other) => {
            payload = Payload::of(other).map_err(|cause| HandlerError::new(ErrorKind::BadReply, cause))?;
            payload.as_slice()
        }
    };
    if answers_at_once(&mut reply, bytes.len()) {
        return reply.bytes(bytes);
    }
    // Other threads may change a bytearray meanwhile, but not this copy.
    let bytes = bytes.to_vec();
    py.detach(move || reply.bytes(&bytes))
}
