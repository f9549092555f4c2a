//! The handshake: over a Unix socket, three short messages with the descriptors of the shared memory make a connection.
//!
//! ```text
//! connector                                listener
//!     | Hello   magic version kind role       |  checks the user, then the hello
//!     |-------------------------------------->|  makes rings for this client
//!     | Welcome kind role geometry + fds      |
//!     |<--------------------------------------|  or Reject with a code and a text, then hangs up
//!     | Ready                                 |  checked and mapped everything
//!     |-------------------------------------->|
//! ```
//!
//! The listener passes the connection on only after `Ready`, so a client that dies before costs only time. The socket
//! stays open: its hang-up shows the end of the other side, and ring messages travel on it (`wait::socket`). A
//! [`Pairing`] exists only after a complete handshake.

mod admission;
mod bind;
mod connector;
mod conversation;
mod credentials;
mod description;
mod error;
mod in_process;
mod listener;
mod namespace;
mod path;
mod pending_client;
mod process;
mod rejection;
mod served;
pub(crate) mod wire;

pub(crate) use connector::{Connecting, connect};
pub use error::{ConnectError, ListenError};
pub(crate) use in_process::in_process;
pub(crate) use listener::{Listener, listen};
pub use path::PathError;
pub(crate) use path::absolute;
pub(crate) use pending_client::{PendingClient, Progress};
pub(crate) use process::Process;
pub use rejection::{ProtocolError, Rejection};
pub(crate) use wire::Wishes;

use crate::ring::{Geometry, RingMemory, Side, Use};
use crate::wait::Peer;

/// The kind of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Messages in one direction over one ring.
    Bus = 1,
    /// Requests over ring 0 and replies over ring 1.
    Rpc = 2,
}

impl Kind {
    /// The number of rings of a connection.
    pub(crate) const fn rings(self) -> usize {
        match self {
            Self::Bus => 1,
            Self::Rpc => 2,
        }
    }

    /// The use of its rings.
    pub(crate) const fn carries(self) -> Use {
        match self {
            Self::Bus => Use::Bus,
            Self::Rpc => Use::Calls,
        }
    }

    /// The name in error texts.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bus => "bus",
            Self::Rpc => "RPC bus",
        }
    }
}

/// The end of the rings that one side wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The end that the peer does not take.
    Either = 0,
    /// Sends on ring 0: a sender, or a caller.
    Source = 1,
    /// Receives on ring 0: a receiver, or a callee.
    Sink = 2,
}

impl Role {
    /// The role of a side that asked for `self`, with a peer that asked for `theirs`; `None` if both want the same end.
    pub(crate) const fn agree(self, theirs: Self) -> Option<Self> {
        match (self, theirs) {
            (Self::Source, Self::Source) | (Self::Sink, Self::Sink) => None,
            (Self::Either, Self::Source) => Some(Self::Sink),
            (Self::Either, Self::Sink) => Some(Self::Source),
            (ours, _) => Some(ours),
        }
    }

    /// The name in error texts.
    pub(crate) const fn name(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::Either, _) => "unassigned",
            (Self::Source, Kind::Bus) => "sender",
            (Self::Sink, Kind::Bus) => "receiver",
            (Self::Source, Kind::Rpc) => "caller",
            (Self::Sink, Kind::Rpc) => "callee",
        }
    }
}

/// A listener's offer to a client.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) kind: Kind,
    pub(crate) role: Role,
    /// One for each ring; for RPC the forward ring, then the reverse ring.
    pub(crate) geometries: Vec<Geometry>,
}

/// The result of a finished handshake.
#[derive(Debug)]
pub(crate) struct Pairing {
    /// This side's role; [`Role::Either`] only if both sides asked for either.
    pub(crate) role: Role,
    pub(crate) side: Side,
    pub(crate) rings: Vec<RingMemory>,
    pub(crate) peer: Peer,
}

#[cfg(test)]
mod tests;
