//! How two processes meet: a Unix socket, three or four short messages, and the descriptors of the shared memory.
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
//! Only after `Ready` does the listener hand the connection to its user, so a client that dies or gives up half-way
//! costs it nothing but time. The socket stays open afterwards: its hang-up is how either side learns of the other's
//! end, and rings are messages on it (`wait::socket`). A [`Link`] exists only when the whole conversation went well.

mod admission;
mod bind;
mod connector;
mod conversation;
mod credentials;
mod description;
mod error;
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
pub(crate) use listener::{Listener, listen};
pub use path::PathError;
pub(crate) use path::absolute;
pub(crate) use pending_client::{PendingClient, Progress};
pub(crate) use process::Process;
pub use rejection::{ProtocolError, Rejection};
pub(crate) use wire::Wishes;

use crate::ring::{Geometry, RingMemory, Side, Use};
use crate::wait::Peer;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Messages in one direction over one ring.
    Bus = 1,
    /// Requests over ring 0 and replies over ring 1.
    Rpc = 2,
}

impl Kind {
    /// How many rings a connection of this kind has.
    pub(crate) const fn rings(self) -> usize {
        match self {
            Self::Bus => 1,
            Self::Rpc => 2,
        }
    }

    /// What its rings carry.
    pub(crate) const fn carries(self) -> Use {
        match self {
            Self::Bus => Use::Bus,
            Self::Rpc => Use::Calls,
        }
    }

    /// The name used in messages to people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bus => "bus",
            Self::Rpc => "RPC bus",
        }
    }
}

/// Which end of the rings one side wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Whatever the peer leaves.
    Either = 0,
    /// Sends on ring 0: a sender, or a caller.
    Source = 1,
    /// Receives on ring 0: a receiver, or a callee.
    Sink = 2,
}

impl Role {
    /// What becomes of a side that asked for `self` when its peer asked for `theirs`; `None` if both want the same end.
    pub(crate) const fn agree(self, theirs: Self) -> Option<Self> {
        match (self, theirs) {
            (Self::Source, Self::Source) | (Self::Sink, Self::Sink) => None,
            (Self::Either, Self::Source) => Some(Self::Sink),
            (Self::Either, Self::Sink) => Some(Self::Source),
            (ours, _) => Some(ours),
        }
    }

    /// The name used in messages to people.
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

/// What a listener offers to every client.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    pub(crate) kind: Kind,
    pub(crate) role: Role,
    /// One per ring of the kind; for RPC forward, then reverse.
    pub(crate) geometries: Vec<Geometry>,
}

/// A finished handshake.
#[derive(Debug)]
pub(crate) struct Link {
    /// Ours; [`Role::Either`] only if both sides left it open.
    pub(crate) role: Role,
    pub(crate) side: Side,
    pub(crate) rings: Vec<RingMemory>,
    pub(crate) peer: Peer,
}

#[cfg(test)]
mod tests;
