//! The end of a connection.

use std::io;

use super::error::Halt;
use crate::ring::Fault;

/// The end of a connection, for each of the calls that end with it.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// The peer closed in good order.
    Closed,
    /// This side closed.
    ClosedHere,
    /// The peer's process ended, or dropped the connection without closing it.
    PeerDead,
    /// The shared memory holds what no correct peer writes.
    Fault(Fault),
    /// This process is a forked child of the one that has the connection.
    Forked,
    /// The system refused to wait, or the runtime that drove the connection has ended.
    Io(io::ErrorKind, String),
}

impl From<End> for Halt {
    fn from(end: End) -> Self {
        match end {
            End::Closed => Self::Closed,
            End::ClosedHere => Self::ClosedHere,
            End::PeerDead => Self::PeerDead,
            End::Fault(fault) => Self::FatalError(fault),
            End::Forked => Self::Forked,
            End::Io(kind, text) => Self::Io(io::Error::new(kind, text)),
        }
    }
}

/// After a timeout or an interrupt of a driver's own wait, no driver is left for the connection.
impl From<Halt> for End {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Closed => Self::Closed,
            Halt::ClosedHere => Self::ClosedHere,
            Halt::PeerDead => Self::PeerDead,
            Halt::FatalError(fault) => Self::Fault(fault),
            Halt::Forked => Self::Forked,
            Halt::Io(source) => source.into(),
            Halt::TimedOut => io::Error::from(io::ErrorKind::TimedOut).into(),
            Halt::Interrupted => io::Error::from(io::ErrorKind::Interrupted).into(),
        }
    }
}

impl From<io::Error> for End {
    fn from(source: io::Error) -> Self {
        Self::Io(source.kind(), source.to_string())
    }
}
