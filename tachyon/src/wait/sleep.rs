//! The system call that parking is.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

use super::sleepers::{LeadOrFollow, Ticket};
use super::{Peer, monotonic_nanos};
use crate::ring::Fault;

/// How a sleep ended.
#[derive(Debug)]
pub(super) enum Slept {
    /// By a ring, which was sent at this time by the peer's word for it, or by a ring that another thread took.
    Rung(Option<u64>),
    /// By the peer's end, the limit or a signal.
    Otherwise,
    /// The peer sent something else than a ring.
    Broken(Fault),
}

/// One `poll` over all that may end the wait, for at most `limit`. Takes the rings and notes a death that it saw.
pub(super) fn sleep(peer: &Peer, ticket: Ticket, limit: Option<Duration>) -> io::Result<Slept> {
    let mut leader = match peer.sleepers.lead_or_follow(ticket, limit) {
        LeadOrFollow::Leader(leader) => leader,
        LeadOrFollow::RingsTaken => return Ok(Slept::Rung(None)),
        LeadOrFollow::NoRings => return Ok(Slept::Otherwise),
    };
    let mut fds: Vec<PollFd<'_>> = peer.poll_fds().collect();
    let timeout = limit.map(|limit| Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
    let slept_at = monotonic_nanos();
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(Slept::Otherwise),
        Err(errno) => return Err(errno.into()),
    }
    if !peer.note(&fds) {
        return Ok(Slept::Otherwise);
    }
    Ok(match peer.hear_after_sleep(slept_at) {
        Ok(heard) if heard.rang => {
            leader.took_rings();
            Slept::Rung(Some(heard.sent_at))
        }
        Ok(_) => Slept::Otherwise,
        Err(fault) => Slept::Broken(fault),
    })
}
