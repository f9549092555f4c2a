//! What a server has to tell about its callers.

use core::fmt;

use crate::connection::Halt;
use crate::engine::CallerInfo;

/// Something that happened to a server beside its calls; see [`RpcServer::on_event`](crate::RpcServer::on_event).
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerEvent<'a> {
    /// A caller connected.
    Joined(&'a CallerInfo),
    /// A caller is gone.
    Left(&'a CallerInfo, Leaving),
    /// A client was not let in: silent, of another kind or user, one too many.
    TurnedAway(&'a str),
    /// The system refused something; the server goes on.
    Trouble(&'a (dyn std::error::Error + 'static)),
}

/// How a caller left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Leaving {
    /// It closed in good order.
    Closed,
    /// Its process ended, or dropped the connection.
    Died,
    /// It wrote what no correct peer writes.
    Misbehaved,
}

impl From<&Halt> for Leaving {
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
        let who = |caller: &CallerInfo| match caller.pid {
            Some(pid) => format!("caller {} (process {pid})", caller.id),
            None => format!("caller {}", caller.id),
        };
        match self {
            Self::Joined(caller) => write!(f, "{} connected", who(caller)),
            Self::Left(caller, Leaving::Closed) => write!(f, "{} closed", who(caller)),
            Self::Left(caller, Leaving::Died) => write!(f, "{} died", who(caller)),
            Self::Left(caller, Leaving::Misbehaved) => {
                write!(f, "{} was disconnected: it corrupted its rings", who(caller))
            }
            Self::TurnedAway(why) => write!(f, "a client was turned away: {why}"),
            Self::Trouble(error) => write!(f, "{error}"),
        }
    }
}
