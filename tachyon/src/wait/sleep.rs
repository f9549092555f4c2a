//! The system call of a parked waiter.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::sleepers::{LeadOrFollow, Ticket};
use super::{Peer, monotonic_nanos};
use crate::ring::Fault;

/// How a sleep ended.
#[derive(Debug)]
pub(super) enum Slept {
    /// By a ring message, with the sending time that the message states; `None` if another thread took the message.
    Rung(Option<u64>),
    /// By the peer's end, a handler of a stream, the limit or a signal.
    Otherwise,
    /// The peer sent a message that is no ring message.
    Broken(Fault),
}

/// One `poll` over the peer's descriptors, for at most `limit`. Takes the ring messages and notes the peer's end.
pub(super) fn sleep(peer: &Peer, ticket: Ticket, limit: Option<Duration>) -> io::Result<Slept> {
    let mut leader = match peer.sleepers.lead_or_follow(ticket, limit) {
        LeadOrFollow::Leader(leader) => leader,
        LeadOrFollow::RingsTaken => return Ok(Slept::Rung(None)),
        LeadOrFollow::NoRings => return Ok(Slept::Otherwise),
    };
    let mut fds: Vec<PollFd<'_>> = peer.poll_fds().collect();
    let of_peer = fds.len();
    let wake = peer.wake();
    fds.extend(wake.map(|wake| PollFd::new(wake, PollFlags::IN)));
    let timeout = limit.map(|limit| Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
    let slept_at = monotonic_nanos();
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(Slept::Otherwise),
        Err(errno) => return Err(errno.into()),
    }
    if let Some(wake) = wake.filter(|_| !fds[of_peer].revents().is_empty()) {
        // Armed again before the next look, as each sleep has to be.
        wake.reset();
        wake.arm();
    }
    if !peer.note(&fds[..of_peer]) {
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
