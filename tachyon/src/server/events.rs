//! Events of a server: callers that come and go, and rejected clients.

use core::fmt;

use crate::connection::Halt;
use crate::engine::CallerInfo;

/// An event of a server beside its calls; see [`RpcServer::on_event`](crate::RpcServer::on_event).
///
/// `Display` gives a sentence for a log.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerEvent<'a> {
    /// A caller connected.
    Joined(&'a CallerInfo),
    /// A caller disconnected.
    Left(&'a CallerInfo, DisconnectReason),
    /// A client was rejected before it became a caller, for this reason: it was silent, of another kind or user, or the
    /// server is full.
    Rejected(&'a str),
    /// The system refused an operation. The server goes on.
    Error(&'a (dyn std::error::Error + 'static)),
}

/// Why a caller disconnected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The caller closed the connection in good order.
    Closed,
    /// The caller's process ended, or dropped the connection.
    Died,
    /// The caller wrote values to its rings that no correct peer writes.
    Misbehaved,
}

impl From<&Halt> for DisconnectReason {
    fn from(halt: &Halt) -> Self {
        match halt {
            Halt::Closed | Halt::ClosedHere => Self::Closed,
            Halt::FatalError(_) => Self::Misbehaved,
            _ => Self::Died,
        }
    }
}

impl fmt::Display for ServerEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |caller: &CallerInfo| match caller.pid {
            Some(pid) => format!("caller {} (process {pid})", caller.id),
            None => format!("caller {}", caller.id),
        };
        match self {
            Self::Joined(caller) => write!(f, "{} connected", name(caller)),
            Self::Left(caller, DisconnectReason::Closed) => write!(f, "{} closed", name(caller)),
            Self::Left(caller, DisconnectReason::Died) => write!(f, "{} died", name(caller)),
            Self::Left(caller, DisconnectReason::Misbehaved) => {
                write!(f, "{} was disconnected: it corrupted its rings", name(caller))
            }
            Self::Rejected(reason) => write!(f, "a client was rejected: {reason}"),
            Self::Error(error) => write!(f, "{error}"),
        }
    }
}
