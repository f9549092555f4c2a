//! The core's errors as Python exceptions, by kind: each becomes the class of `tachyon.errors` that names it.

use pyo3::prelude::*;
use pyo3::{PyTypeInfo, import_exception};
use tachyon::{CallError, ConnectError, ListenError, NumaError, RecvError, SendError, ServeError, WrongDirection};

import_exception!(tachyon.errors, AddressInUseError);
import_exception!(tachyon.errors, BusClosedError);
import_exception!(tachyon.errors, BusyError);
import_exception!(tachyon.errors, DuplicateError);
import_exception!(tachyon.errors, HandlerError);
import_exception!(tachyon.errors, HandshakeError);
import_exception!(tachyon.errors, InvalidArgumentError);
import_exception!(tachyon.errors, NoHandlerError);
import_exception!(tachyon.errors, NoListenerError);
import_exception!(tachyon.errors, NotASocketError);
import_exception!(tachyon.errors, PeerClosedError);
import_exception!(tachyon.errors, PeerDeadError);
import_exception!(tachyon.errors, ReleasedError);
import_exception!(tachyon.errors, RpcError);
import_exception!(tachyon.errors, SystemCallError);
import_exception!(tachyon.errors, TimedOutError);
import_exception!(tachyon.errors, TooLargeError);
import_exception!(tachyon.errors, VersionMismatchError);
import_exception!(tachyon.errors, ViewError);
import_exception!(tachyon.errors, WrongDirectionError);
import_exception!(tachyon.errors, WrongKindError);
