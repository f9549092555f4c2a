//! A handshake without messages: returns both ends of a connection.

use std::sync::Arc;

use crate::connection::Established;
use crate::options::Options;
use crate::ring::{Geometry, RingMemory, Side, Use};
use crate::wait::Peer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Either,
    Source,
    Sink,
}

#[derive(Debug)]
pub(crate) struct Pairing {
    pub(crate) role: Role,
    pub(crate) side: Side,
    pub(crate) rings: Vec<RingMemory>,
    pub(crate) peer: Peer,
}

/// Both sides of a connection of one ring: the sender's and the receiver's.
pub(crate) fn connected() -> (Established, Established) {
    linked(1)
}

/// Both sides of a connection of two rings: the caller's, which sends on ring 0, and the callee's.
pub(crate) fn connected_both_ways() -> (Established, Established) {
    linked(2)
}

fn linked(rings: usize) -> (Established, Established) {
    let rings: Vec<_> = (0..rings).map(|_| memory()).collect();
    let [peer, their_peer] = Peer::pair(&rings);
    (
        Established::over(Side::Listener, Role::Source, peer, rings.clone(), &Options),
        Established::over(Side::Connector, Role::Sink, their_peer, rings, &Options),
    )
}

/// A ring of two slots, with room for two payloads that do not fit their slots. The position overflows at the second
/// message.
pub(crate) fn memory() -> Arc<RingMemory> {
    let capacity = Geometry::new(128, Use::Calls).expect("a power of two");
    let (memory, _descriptor) = RingMemory::create_at(capacity, u64::MAX).expect("memory");
    assert_eq!(memory.geometry().slots(), 2);
    Arc::new(memory)
}
