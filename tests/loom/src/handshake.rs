//! A handshake of two threads: both get their end at once.

use std::sync::Arc;

use crate::bus::{Channel, Established};
use crate::kernel::Kernel;
use crate::options::Options;
use crate::ring::{Geometry, RingMemory, Side};
use crate::wait::{Doorbell, Peer};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Either,
    Source,
    Sink,
}

#[derive(Debug)]
pub(crate) struct RingParts {
    pub(crate) memory: RingMemory,
    pub(crate) data: Doorbell,
    pub(crate) room: Doorbell,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) role: Role,
    pub(crate) side: Side,
    pub(crate) rings: Vec<RingParts>,
    pub(crate) peer: Peer,
}

/// Both sides of a connection of one ring: its sender's and its receiver's.
pub(crate) fn connected() -> (Established, Established) {
    linked(1)
}

/// Both sides of a connection of two rings: the caller's, which sends in the first, and the callee's.
pub(crate) fn connected_both_ways() -> (Established, Established) {
    linked(2)
}

fn linked(rings: usize) -> (Established, Established) {
    let kernels = [Kernel::new(), Kernel::new()];
    let [peer, their_peer] = Peer::pair(&kernels);
    let channels = |_| {
        let (memory, _descriptor) = RingMemory::create_at(capacity(), u64::MAX).expect("memory");
        let memory = Arc::new(memory);
        let [(data, their_data), (room, their_room)] = [Doorbell::pair(&kernels), Doorbell::pair(&kernels)];
        let channel = |data, room| Channel { memory: Arc::clone(&memory), data, room };
        (channel(data, room), channel(their_data, their_room))
    };
    let (ours, theirs) = (0..rings).map(channels).unzip();
    (
        Established::over(Side::Listener, Role::Source, peer, ours, &Options),
        Established::over(Side::Connector, Role::Sink, their_peer, theirs, &Options),
    )
}

/// Room for two payloads that do not fit their slots.
pub(crate) fn capacity() -> Geometry {
    Geometry::new(128).expect("a power of two")
}
