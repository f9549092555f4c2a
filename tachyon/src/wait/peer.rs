//! The process at the other end: how it is rung, and whether it still lives.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::sleepers::Sleepers;
use super::socket::{Heard, Socket};
use super::{budget, monotonic_nanos};
use crate::ring::Fault;
use crate::sync::{AtomicBool, Ordering};

/// The peer's process, as the connection's socket and, where the system gives one, its pidfd show it.
///
/// Either sign of death is enough: the pidfd ends with the process even when a forked child of it still holds the
/// socket, and the socket ends with the connection even when the process lives on.
#[derive(Debug)]
pub(crate) struct Peer {
    socket: Socket,
    pidfd: Option<OwnedFd>,
    pid: Option<u32>,
    uid: Option<u32>,
    gone: AtomicBool,
    /// The threads of this side that wait for the peer.
    pub(super) sleepers: Sleepers,
}

impl Peer {
    pub(crate) fn new(socket: Socket, pidfd: Option<OwnedFd>, pid: Option<u32>, uid: Option<u32>) -> Self {
        Self { socket, pidfd, pid, uid, gone: AtomicBool::new(false), sleepers: Sleepers::default() }
    }

    /// The peer's process id, when it is visible from here.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The user the peer runs as.
    pub(crate) fn uid(&self) -> Option<u32> {
        self.uid
    }

    /// Wakes the peer, now or when it next sleeps. Never waits. False when it still has to be rung.
    pub(crate) fn ring(&self) -> bool {
        self.socket.ring(monotonic_nanos())
    }

    /// Takes the rings that came, and notes the peer's end if it hung up. Never waits.
    ///
    /// # Errors
    /// [`Fault::Socket`]: the peer sent something else than a ring.
    pub(crate) fn hear(&self) -> Result<Heard, Fault> {
        let heard = self.socket.hear()?;
        if heard.gone {
            self.mark_gone();
        }
        Ok(heard)
    }

    /// As [`hear`](Self::hear), for a waiter that slept in the system from `slept_at` on: the ring's time tells what its
    /// wake-up cost.
    pub(crate) fn hear_after_sleep(&self, slept_at: u64) -> Result<Heard, Fault> {
        let heard = self.hear()?;
        let now = monotonic_nanos();
        // A ring from before the sleep ended it at once, and one from the future is a lie or another clock.
        if heard.rang && (slept_at..=now).contains(&heard.sent_at) {
            budget::note_park(now - heard.sent_at);
        }
        Ok(heard)
    }

    /// What to poll to hear the peer and to learn of its end.
    pub(super) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let socket = PollFd::new(&self.socket, PollFlags::IN | PollFlags::RDHUP);
        let process = self.pidfd.as_ref().map(|pidfd| PollFd::new(pidfd, PollFlags::IN));
        core::iter::once(socket).chain(process)
    }

    /// Notes what a poll over [`poll_fds`](Self::poll_fds) found of the peer's end; true when a ring may lie there.
    pub(super) fn note(&self, fds: &[PollFd<'_>]) -> bool {
        let found = |index: usize| fds.get(index).map_or(PollFlags::empty(), PollFd::revents);
        if !(found(0) - PollFlags::IN).is_empty() || !found(1).is_empty() {
            self.mark_gone();
        }
        found(0).contains(PollFlags::IN)
    }

    /// The peer's process, where the system gives a descriptor for it; readable once it has ended.
    pub(crate) fn process(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Notes the peer's end, which a watcher of the descriptors saw.
    pub(crate) fn mark_gone(&self) {
        // Release: pairs with the load of `was_gone`. Another thread that reads the end sees everything that the system
        // showed to this one before it, so its look misses no message from before the end.
        self.gone.store(true, Ordering::Release);
    }

    /// Whether an earlier look found the peer gone; costs one load.
    #[inline]
    pub(crate) fn was_gone(&self) -> bool {
        // Acquire: see `mark_gone`.
        self.gone.load(Ordering::Acquire)
    }

    /// Looks whether the peer is gone, without waiting. Costs a system call until it is.
    pub(crate) fn is_gone(&self) -> bool {
        if !self.was_gone() {
            let mut fds: Vec<PollFd<'_>> = self.poll_fds().collect();
            if poll(&mut fds, Some(&Timespec::default())).is_ok() {
                self.note(&fds);
            }
        }
        self.was_gone()
    }

    /// Hangs up, so that a waiting peer learns at once, and so do threads of this process that wait.
    pub(crate) fn hang_up(&self) {
        self.socket.hang_up();
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
