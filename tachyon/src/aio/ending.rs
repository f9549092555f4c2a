//! Why a connection serves no more calls, told to each of them.

use std::io;

use crate::error::{CallError, Halt};
use crate::ring::Fault;

#[derive(Debug)]
pub(super) enum Ending {
    Closed,
    ClosedHere,
    PeerDead,
    Fatal(Fault),
    Forked,
    /// The runtime that drove the connection ended, or could not go on.
    Stopped(io::ErrorKind, String),
}

impl Ending {
    pub(super) fn undriven() -> Self {
        let text = "the tokio runtime that this caller was connected in has ended; connect again in a running one";
        Self::Stopped(io::ErrorKind::NotConnected, text.to_owned())
    }

    /// The error of one of the calls that end.
    pub(super) fn error(&self) -> CallError {
        match self {
            Self::Closed => CallError::Closed,
            Self::ClosedHere => CallError::ClosedHere,
            Self::PeerDead => CallError::PeerDead,
            Self::Fatal(fault) => CallError::FatalError(*fault),
            Self::Forked => CallError::Forked,
            Self::Stopped(kind, text) => CallError::Io(io::Error::new(*kind, text.clone())),
        }
    }
}

impl From<Halt> for Ending {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Closed => Self::Closed,
            Halt::ClosedHere => Self::ClosedHere,
            Halt::PeerDead => Self::PeerDead,
            Halt::FatalError(fault) => Self::Fatal(fault),
            Halt::Forked => Self::Forked,
            Halt::Io(source) => source.into(),
            Halt::TimedOut => io::Error::from(io::ErrorKind::TimedOut).into(),
            Halt::Interrupted => io::Error::from(io::ErrorKind::Interrupted).into(),
        }
    }
}

impl From<io::Error> for Ending {
    fn from(source: io::Error) -> Self {
        Self::Stopped(source.kind(), source.to_string())
    }
}
