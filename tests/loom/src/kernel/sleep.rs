//! Parking: the sleep in the kernel.

use std::io;
use std::time::Duration;

use crate::ring::Fault;
use crate::wait::{Peer, Ticket, Turn};

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
    let mut lead = match peer.sleepers.take_turn(ticket, limit) {
        Turn::Lead(lead) => lead,
        Turn::Woken => return Ok(Slept::Rung(None)),
        Turn::Passed => return Ok(Slept::Otherwise),
    };
    let rung = peer.poll(limit) && peer.hear();
    if rung {
        lead.took_rings();
    }
    Ok(if rung { Slept::Rung(None) } else { Slept::Otherwise })
}
