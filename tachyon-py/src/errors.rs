//! The core's errors as Python exceptions: each kind of error becomes the class of `tachyon.errors` that names the
//! kind.
#![allow(unsafe_code, reason = "implements PyTypeInfo for exception classes")]

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};
use std::error::Error;
use std::io;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::PyTypeObject;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyType};
use pyo3::{PyErrArguments, PyTypeInfo, intern};
use tachyon::error::{NumaError, WrongDirection};
use tachyon::{CallError, ConnectError, ErrorKind, ListenError, RecvError, RegisterError, SendError, ServeError};

use crate::runtime::package::imported;
use crate::runtime::{interrupt, package};

/// The present class `name` of `tachyon.errors`. A second import of the package makes a new class beside `last`.
///
/// The pointer stays valid: every class that was found keeps a reference for good, and a new class appears only after a
/// new import of the package. While the module is missing or incomplete, the last class stays in use.
#[cold]
fn class(py: Python<'_>, name: &str, last: &AtomicPtr<PyTypeObject>) -> *mut PyTypeObject {
    let before = last.load(Ordering::Acquire);
    let found = package::get(py, intern!(py, "tachyon.errors"), &PyString::new(py, name));
    match found.map(Bound::cast_into::<PyType>) {
        Ok(Ok(class)) if class.as_type_ptr() == before => before,
        Ok(Ok(class)) => {
            let now = class.into_ptr().cast();
            last.store(now, Ordering::Release);
            now
        }
        _ if before.is_null() => py.get_type::<PyRuntimeError>().as_type_ptr(),
        _ => before,
    }
}

/// Classes of `tachyon.errors`, by name.
macro_rules! exceptions {
    ($($name:ident),* $(,)?) => {$(
        #[doc = concat!("`tachyon.errors.", stringify!($name), "`")]
        pub(crate) struct $name(());

        impl $name {
            #[allow(dead_code, reason = "some are only looked for")]
            pub(crate) fn new_err(arguments: impl PyErrArguments + 'static) -> PyErr {
                PyErr::new::<Self, _>(arguments)
            }
        }

        // SAFETY: `class` returns a type object that is never freed.
        unsafe impl PyTypeInfo for $name {
            fn type_object_raw(py: Python<'_>) -> *mut PyTypeObject {
                static LAST: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());
                class(py, stringify!($name), &LAST)
            }
        }
    )*};
}

exceptions!(
    AddressInUseError,
    BadReplyError,
    BadRequestError,
    BusClosedError,
    BusyError,
    DuplicateError,
    ExtensionError,
    HandlerError,
    HandlersLeftError,
    HandshakeError,
    InvalidArgumentError,
    LayoutMismatchError,
    NoCallError,
    NoHandlerError,
    NoListenerError,
    NotASocketError,
    OnePeerError,
    PeerClosedError,
    PeerDeadError,
    ReleasedError,
    RpcError,
    ServerBusyError,
    StreamCancelledError,
    SystemCallError,
    TachyonError,
    TimedOutError,
    TooLargeError,
    VersionMismatchError,
    ViewError,
    WrongDirectionError,
    WorkerLostError,
    WrongKindError,
);

/// An error of the core that becomes a Python exception.
pub(crate) trait Raise {
    /// The exception for the error. For an interrupted wait this is the exception that the signal handler raised.
    fn raise(self) -> PyErr;
}

/// The exception for a refusal of the operating system, with the `errno` that every `OSError` has.
fn refused(error: &(dyn Error + 'static), text: String) -> PyErr {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(number) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return SystemCallError::new_err((number, text));
        }
        cause = error.source();
    }
    SystemCallError::new_err(text)
}

/// Maps the variants that the error families share, then the family's own. `begun` says whether the callee may have
/// begun the call.
macro_rules! raise_family {
    ($name:ident, begun: $begun:expr, { $($own:pat => $class:ident),* $(,)? } $($other:pat => $raise:expr),* $(,)?) => {
        impl Raise for $name {
            #[cold]
            fn raise(self) -> PyErr {
                let (text, begun): (String, fn(&Self) -> bool) = (self.to_string(), $begun);
                let begun = begun(&self);
                let raised = match self {
                    $($own => $class::new_err(text),)*
                    $($other => $raise(text),)*
                    Self::Interrupted { .. } => interrupt::pending_exception(),
                    Self::TimedOut { .. } => TimedOutError::new_err(text),
                    Self::Closed { .. } => PeerClosedError::new_err(text),
                    Self::ClosedHere | Self::Forked => BusClosedError::new_err(text),
                    Self::Io(source) => refused(&source, text),
                    // A kind that a newer core adds has no class here yet.
                    _ => PeerDeadError::new_err(text),
                };
                if begun { unsafe_to_retry(raised) } else { raised }
            }
        }
    };
}

raise_family!(SendError, begun: |_| false, { Self::TooLarge { .. } => TooLargeError, Self::Full => TimedOutError });
raise_family!(RecvError, begun: |_| false, {});
// An error reply carries `safe_to_retry` by its kind, and the exception of an interrupt is not of this package.
raise_family!(CallError, begun: |error| {
    error.sent() && !matches!(error, CallError::Remote(_) | CallError::Interrupted { .. })
}, {
    Self::TooLarge { .. } => TooLargeError,
    Self::ReservedMsgType | Self::UnknownCorrelation(_) => InvalidArgumentError,
    Self::TooManyStreams { .. } => BusyError,
    Self::Mismatch(_) => LayoutMismatchError,
    Self::BadReply { .. } | Self::Describe(_) => BadReplyError,
}
    Self::Unreachable { .. } => NoListenerError::new_err,
    Self::Reconnect(source) => |text| unconnected(&source, text),
    Self::Remote(error) => |_| Python::attach(|py| remote(&error, &PyBytes::new(py, &[]))),
);
raise_family!(ServeError, begun: |_| false, {
    Self::TooLarge { .. } => TooLargeError,
    Self::InvalidCorrelation(_) => InvalidArgumentError,
    Self::NoHandler { .. } => NoHandlerError,
    Self::Handler(_) => HandlerError,
    Self::WorkerLost(_) => WorkerLostError,
} Self::HandlersLeft { count } => |text| HandlersLeftError::new_err((text, count)));

/// Marks an error after which the callee may have begun the call.
fn unsafe_to_retry(error: PyErr) -> PyErr {
    Python::attach(|py| match error.value(py).setattr(intern!(py, "safe_to_retry"), false) {
        Ok(()) => error,
        Err(raised) => raised,
    })
}

/// The exception for an error reply, of the class that `tachyon.errors` has for the kind.
pub(crate) fn remote(error: &tachyon::RpcError, payload: &Bound<'_, PyBytes>) -> PyErr {
    let parts = (error.kind as u16, error.msg_type, &error.text, payload, &error.name);
    match imported!(payload.py(), "tachyon.errors", "received").and_then(|received| received.call1(parts)) {
        Ok(made) => PyErr::from_value(made),
        Err(raised) => raised,
    }
}

/// The facts of every kind: number, name, sentence, code of gRPC, and whether the callee may have begun the call.
#[pyfunction]
pub(crate) fn error_kinds() -> Vec<(u16, &'static str, String, i32, bool)> {
    let facts = |kind: ErrorKind| (kind as u16, kind.name(), kind.to_string(), kind.grpc_code(), kind.has_begun());
    ErrorKind::all().map(facts).collect()
}

/// The number of the kind for a status code of gRPC; None for 0.
#[pyfunction]
pub(crate) fn kind_of_grpc_code(code: i64) -> Option<u16> {
    // A number that no `i32` holds is no code, like -1.
    ErrorKind::from_grpc_code(i32::try_from(code).unwrap_or(-1)).map(|kind| kind as u16)
}

impl Raise for ListenError {
    fn raise(self) -> PyErr {
        let text = self.to_string();
        match self {
            Self::Path(_) | Self::Capacity(_) => InvalidArgumentError::new_err(text),
            Self::NotASocket { .. } => NotASocketError::new_err(text),
            Self::AddressInUse { .. } => AddressInUseError::new_err(text),
            Self::TimedOut { .. } => TimedOutError::new_err(text),
            Self::Interrupted { .. } => interrupt::pending_exception(),
            _ => refused(&self, text),
        }
    }
}

impl Raise for ConnectError {
    fn raise(self) -> PyErr {
        let text = self.to_string();
        unconnected(&self, text)
    }
}

/// The exception for a failed connect, with `text` as its message.
fn unconnected(error: &ConnectError, text: String) -> PyErr {
    match error {
        ConnectError::Path(_) | ConnectError::Capacity(_) => InvalidArgumentError::new_err(text),
        ConnectError::NoListener { .. } => NoListenerError::new_err(text),
        ConnectError::NotASocket { .. } => NotASocketError::new_err(text),
        ConnectError::NoAnswer { .. } => TimedOutError::new_err(text),
        ConnectError::WrongKind { .. } => WrongKindError::new_err(text),
        ConnectError::VersionMismatch { .. } => VersionMismatchError::new_err(text),
        ConnectError::Busy { .. } => ServerBusyError::new_err(text),
        ConnectError::OnePeer { description, .. } => OnePeerError::new_err((text, description.clone())),
        ConnectError::Interrupted { .. } => interrupt::pending_exception(),
        ConnectError::OutOfDescriptors { .. } | ConnectError::Io { .. } => refused(error, text),
        _ => HandshakeError::new_err(text),
    }
}

impl Raise for NumaError {
    fn raise(self) -> PyErr {
        let text = self.to_string();
        match self {
            Self::NoSuchNode { .. } => InvalidArgumentError::new_err(text),
            _ => refused(&self, text),
        }
    }
}

impl Raise for WrongDirection {
    fn raise(self) -> PyErr {
        WrongDirectionError::new_err(self.to_string())
    }
}

impl Raise for RegisterError {
    fn raise(self) -> PyErr {
        let text = self.to_string();
        match self {
            Self::Duplicate { .. } => DuplicateError::new_err(text),
            _ => InvalidArgumentError::new_err(text),
        }
    }
}
