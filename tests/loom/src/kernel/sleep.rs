//! Parking: the sleep in the kernel.

use std::io;
use std::time::Duration;

use crate::ring::Fault;
use crate::wait::{LeadOrFollow, Peer, Ticket};

/// The library's outcomes of a sleep.
#[derive(Debug)]
pub(crate) enum Slept {
    Rung(Option<u64>),
    Otherwise,
    Broken(Fault),
}

/// The steps of the library's `sleep`.
#[allow(clippy::unnecessary_wraps, reason = "the library's signature")]
pub(crate) fn sleep(peer: &Peer, ticket: Ticket, limit: Option<Duration>) -> io::Result<Slept> {
    let mut leader = match peer.sleepers.lead_or_follow(ticket, limit) {
        LeadOrFollow::Leader(leader) => leader,
        LeadOrFollow::RingsTaken => return Ok(Slept::Rung(None)),
        LeadOrFollow::NoRings => return Ok(Slept::Otherwise),
    };
    let rung = peer.poll(limit) && peer.hear();
    if rung {
        leader.took_rings();
    }
    Ok(if rung { Slept::Rung(None) } else { Slept::Otherwise })
}
