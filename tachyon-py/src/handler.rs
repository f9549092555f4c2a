//! One request through a Python handler.
#![allow(unsafe_code, reason = "lends the request's bytes to Python")]

use core::cell::RefCell;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};
use tachyon::__binding::{Mapping, answers_at_once, request_mapping};
use tachyon::{ErrorKind, HandlerError, Replied, Reply, Request};

use crate::errors::{BadReplyError, BadRequestError, ViewError};
use crate::lent::type_name;
use crate::loan::Loan;
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

/// Runs a handler and answers with what it returns.
///
/// # Errors
/// What goes into the error reply; `take_cause` has the cause.
#[inline]
pub(crate) fn run(
    py: Python<'_>,
    function: &Bound<'_, PyAny>,
    request: Request<'_>,
    reply: Reply<'_>,
) -> Result<Replied, HandlerError> {
    // What keeps the request mapped, should the handler have kept a view of it.
    let mapping = || request_mapping(&reply);
    match respond(py, function, request.payload(), &mapping) {
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

fn respond<'py>(
    py: Python<'py>,
    function: &Bound<'py, PyAny>,
    request: &[u8],
    mapping: &impl Fn() -> Mapping,
) -> Result<Response<'py>, Failure> {
    let failed = |cause| Failure::raised(ErrorKind::HandlerFailed, cause);
    // SAFETY: the request stays mapped as long as the direction that lends it is borrowed, which is longer than this
    // call, and `end` below is given the mapping for what comes after.
    let loan = unsafe { Loan::new(py, request) }.map_err(failed)?;
    let view = Loan::view(&loan).map_err(failed)?;
    let outcome = function.call1((&view,));
    let response = match outcome {
        Ok(returned) => settle(returned, &loan, view),
        Err(raised) => {
            // Its traceback refers to the handler's frame, and that to the view.
            release(&view);
            Err(Failure::of_handler(py, raised))
        }
    };
    loan.get().end(mapping);
    response
}

/// Takes the view back from the handler and makes its answer independent of it.
fn settle<'py>(
    returned: Bound<'py, PyAny>,
    loan: &Bound<'py, Loan>,
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
    release(&view);
    if !loan.get().has_views() {
        return Ok(response);
    }
    let response = match response {
        Response::Other(other) => copied(&other)?,
        response => response,
    };
    release(&view);
    drop(view);
    if !loan.get().has_views() {
        return Ok(response);
    }
    Err(Failure::raised(
        ErrorKind::HandlerFailed,
        ViewError::new_err(
            "the handler kept a view of the request, which is valid during the call only; copy what it keeps: \
             payload.tobytes()",
        ),
    ))
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

/// Releases the handler's view. Views derived from it stay counted, which is what the loan looks at.
fn release(view: &Bound<'_, PyMemoryView>) {
    drop(view.call_method0(intern!(view.py(), "release")));
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
