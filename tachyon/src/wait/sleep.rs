//! The system call that parking is.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Deadline, Peer, Source};

/// One `poll` over everything that may end the wait, for at most `limit`. Silences the bells that rang and notes a death
/// that it saw.
pub(super) fn sleep(
    deadline: Deadline,
    limit: Option<Duration>,
    peer: &Peer,
    sources: &[Source<'_>],
) -> io::Result<()> {
    let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(sources.len() + 2);
    fds.extend(sources.iter().map(|source| PollFd::new(source.bell, PollFlags::IN)));
    fds.extend(peer.poll_fds());
    let sleep = match (deadline.remaining(), limit) {
        (Some(left), Some(limit)) => Some(left.min(limit)),
        (left, limit) => left.or(limit),
    };
    let timeout = sleep.map(|sleep| Timespec::try_from(sleep).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    for (fd, source) in fds.iter().zip(sources) {
        if !fd.revents().is_empty() && source.bell.drain() {
            peer.mark_gone();
        }
    }
    peer.note(&fds[sources.len()..]);
    Ok(())
}
