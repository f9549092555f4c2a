//! The core's errors as Python exceptions, by kind: each becomes the class of `tachyon.errors` that names it.

use pyo3::import_exception;
use pyo3::prelude::*;
use tachyon::{
    CallError, ConnectError, ErrorKind, ListenError, NumaError, RecvError, RegisterError, SendError, ServeError,
    WrongDirection,
};

use crate::interrupt;

import_exception!(tachyon.errors, AddressInUseError);
import_exception!(tachyon.errors, BadReplyError);
import_exception!(tachyon.errors, BadRequestError);
import_exception!(tachyon.errors, BusClosedError);
import_exception!(tachyon.errors, BusyError);
import_exception!(tachyon.errors, DuplicateError);
import_exception!(tachyon.errors, HandlerError);
import_exception!(tachyon.errors, HandshakeError);
import_exception!(tachyon.errors, InvalidArgumentError);
import_exception!(tachyon.errors, LayoutMismatchError);
import_exception!(tachyon.errors, NoHandlerError);
import_exception!(tachyon.errors, NoListenerError);
import_exception!(tachyon.errors, NotASocketError);
import_exception!(tachyon.errors, PeerClosedError);
import_exception!(tachyon.errors, PeerDeadError);
import_exception!(tachyon.errors, ReleasedError);
import_exception!(tachyon.errors, RpcError);
import_exception!(tachyon.errors, ServerBusyError);
import_exception!(tachyon.errors, SystemCallError);
import_exception!(tachyon.errors, TimedOutError);
import_exception!(tachyon.errors, TooLargeError);
import_exception!(tachyon.errors, VersionMismatchError);
import_exception!(tachyon.errors, ViewError);
import_exception!(tachyon.errors, WrongDirectionError);
import_exception!(tachyon.errors, WrongKindError);

/// A failure of the core, on its way to Python.
pub(crate) trait Raise {
    /// The exception it becomes. For an interrupted wait that is what the signal handler raised.
    fn raise(self) -> PyErr;
}

/// Error families share most of their variants; this maps those, and then the family's own.
macro_rules! raise_family {
    ($name:ident { $($own:pat => $class:ident),* $(,)? } $($other:pat => $raise:expr),* $(,)?) => {
        impl Raise for $name {
            #[cold]
            fn raise(self) -> PyErr {
                let text = self.to_string();
                match self {
                    $($own => $class::new_err(text),)*
                    $($other => $raise(text),)*
                    Self::Interrupted => interrupt::raised(),
                    Self::TimedOut => TimedOutError::new_err(text),
                    Self::Closed => PeerClosedError::new_err(text),
                    Self::ClosedHere | Self::Forked => BusClosedError::new_err(text),
                    Self::Io(_) => SystemCallError::new_err(text),
                    // A kind that a newer core adds has no better name here yet.
                    _ => PeerDeadError::new_err(text),
                }
            }
        }
    };
}

raise_family!(SendError { Self::TooLarge { .. } => TooLargeError, Self::Full => TimedOutError });
raise_family!(RecvError {});
raise_family!(CallError {
    Self::TooLarge { .. } => TooLargeError,
    Self::ReservedMsgType | Self::UnknownCorrelation(_) => InvalidArgumentError,
    Self::Mismatch(_) => LayoutMismatchError,
    Self::BadReply { .. } | Self::Describe(_) => BadReplyError,
} Self::Reconnect(source) => |text| unconnected(&source, text), Self::Remote(error) => |_| remote(&error));
raise_family!(ServeError {
    Self::TooLarge { .. } => TooLargeError,
    Self::InvalidCorrelation(_) => InvalidArgumentError,
    Self::NoHandler { .. } => NoHandlerError,
    Self::Handler(_) => HandlerError,
});

/// The exception for an error reply that is read already.
fn remote(error: &tachyon::RpcError) -> PyErr {
    let parts = (error.kind as u16, error.msg_type, error.text.clone());
    if error.kind == ErrorKind::NoHandler { NoHandlerError::new_err(parts) } else { RpcError::new_err(parts) }
}

impl Raise for ListenError {
    fn raise(self) -> PyErr {
        let text = self.to_string();
        match self {
            Self::Path(_) | Self::Capacity(_) => InvalidArgumentError::new_err(text),
            Self::NotASocket { .. } => NotASocketError::new_err(text),
            Self::AddressInUse { .. } => AddressInUseError::new_err(text),
            Self::TimedOut { .. } => TimedOutError::new_err(text),
            Self::Interrupted { .. } => interrupt::raised(),
            _ => SystemCallError::new_err(text),
        }
    }
}

impl Raise for ConnectError {
    fn raise(self) -> PyErr {
        let text = self.to_string();
        unconnected(&self, text)
    }
}

/// The exception for a failure to connect, in these words.
fn unconnected(error: &ConnectError, text: String) -> PyErr {
    match error {
        ConnectError::Path(_) | ConnectError::Capacity(_) => InvalidArgumentError::new_err(text),
        ConnectError::NoListener { .. } => NoListenerError::new_err(text),
        ConnectError::NotASocket { .. } => NotASocketError::new_err(text),
        ConnectError::NoAnswer { .. } => TimedOutError::new_err(text),
        ConnectError::WrongKind { .. } => WrongKindError::new_err(text),
        ConnectError::VersionMismatch { .. } => VersionMismatchError::new_err(text),
        ConnectError::Busy { .. } => ServerBusyError::new_err(text),
        ConnectError::Interrupted { .. } => interrupt::raised(),
        ConnectError::OutOfDescriptors { .. } | ConnectError::Io { .. } => SystemCallError::new_err(text),
        _ => HandshakeError::new_err(text),
    }
}

impl Raise for NumaError {
    fn raise(self) -> PyErr {
        let text = self.to_string();
        match self {
            Self::NoSuchNode { .. } => InvalidArgumentError::new_err(text),
            _ => SystemCallError::new_err(text),
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
