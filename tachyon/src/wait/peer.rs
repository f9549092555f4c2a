//! The process at the other end: rings it, and notices its end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::notifier::ServingWake;
use super::sleepers::Sleepers;
use super::socket::{Heard, Socket};
use super::{budget, monotonic_nanos};
use crate::ring::Fault;
use crate::sync::{AtomicBool, Ordering};

/// The peer's process, seen through the connection's socket and, where the system has pidfds, the peer's pidfd.
///
/// Either sign of the peer's end is enough: the pidfd becomes readable with the death of the process even if a forked
/// child still holds the socket, and the socket ends with the connection even if the process lives on.
#[derive(Debug)]
pub(crate) struct Peer {
    socket: Socket,
    pidfd: Option<OwnedFd>,
    pid: Option<u32>,
    uid: Option<u32>,
    gone: AtomicBool,
    /// Made for the first stream whose handler runs outside of the serving thread.
    wake: OnceLock<Arc<ServingWake>>,
    /// The threads of this side that wait for the peer.
    pub(super) sleepers: Sleepers,
}

impl Peer {
    pub(crate) fn new(socket: Socket, pidfd: Option<OwnedFd>, pid: Option<u32>, uid: Option<u32>) -> Self {
        let (gone, sleepers) = (AtomicBool::new(false), Sleepers::default());
        Self { socket, pidfd, pid, uid, gone, wake: OnceLock::new(), sleepers }
    }

    /// The peer's process id; `None` if the process is in a pid namespace that this process does not see.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The peer's user id; `None` if this user namespace does not map the user.
    pub(crate) fn uid(&self) -> Option<u32> {
        self.uid
    }

    /// Rings the peer, which wakes now or at its next sleep. Never waits. False when the peer still has to be rung.
    pub(crate) fn ring(&self) -> bool {
        self.socket.ring(monotonic_nanos())
    }

    /// Takes the ring messages, and notes the peer's end if the peer hung up. Never waits.
    ///
    /// # Errors
    /// [`Fault::Socket`]: the peer sent a message that is no ring message.
    pub(crate) fn hear(&self) -> Result<Heard, Fault> {
        let heard = self.socket.hear()?;
        if heard.gone {
            self.mark_gone();
        }
        Ok(heard)
    }

    /// As [`hear`](Self::hear), for a waiter that slept in the system from `slept_at` on: the time in the ring message
    /// gives the cost of the wake-up.
    pub(crate) fn hear_after_sleep(&self, slept_at: u64) -> Result<Heard, Fault> {
        let heard = self.hear()?;
        let now = monotonic_nanos();
        // A ring message from before the sleep caused no wake-up, and a time in the future is wrong.
        if heard.rang && (slept_at..=now).contains(&heard.sent_at) {
            budget::note_park(now - heard.sent_at);
        }
        Ok(heard)
    }

    /// The descriptors to poll for ring messages and for the peer's end.
    pub(super) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let socket = PollFd::new(&self.socket, PollFlags::IN | PollFlags::RDHUP);
        let process = self.pidfd.as_ref().map(|pidfd| PollFd::new(pidfd, PollFlags::IN));
        core::iter::once(socket).chain(process)
    }

    /// Notes the peer's end if a poll over [`poll_fds`](Self::poll_fds) found it; true when there may be ring messages.
    pub(super) fn note(&self, fds: &[PollFd<'_>]) -> bool {
        let found = |index: usize| fds.get(index).map_or(PollFlags::empty(), PollFd::revents);
        if !(found(0) - PollFlags::IN).is_empty() || !found(1).is_empty() {
            self.mark_gone();
        }
        found(0).contains(PollFlags::IN)
    }

    /// The peer's pidfd, where the system has pidfds; readable once the process has ended.
    pub(crate) fn process(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Notes the peer's end.
    pub(crate) fn mark_gone(&self) {
        // Release: pairs with the load of `was_gone`. A thread that loads the end also sees all that this thread saw
        // before it, so the thread's next look misses no message from before the end.
        self.gone.store(true, Ordering::Release);
    }

    /// Whether an earlier look found the peer gone; costs one load.
    #[inline]
    pub(crate) fn was_gone(&self) -> bool {
        // Acquire: pairs with `mark_gone`.
        self.gone.load(Ordering::Acquire)
    }

    /// Whether the peer is gone. Never waits. Costs a system call until the peer is gone.
    pub(crate) fn is_gone(&self) -> bool {
        if !self.was_gone() {
            let mut fds: Vec<PollFd<'_>> = self.poll_fds().collect();
            if poll(&mut fds, Some(&Timespec::default())).is_ok() {
                self.note(&fds);
            }
        }
        self.was_gone()
    }

    /// The wake of the serving thread; `None` before the first stream that needs it.
    pub(crate) fn wake(&self) -> Option<&Arc<ServingWake>> {
        self.wake.get()
    }

    /// As [`wake`](Self::wake), and makes it. One thread at a time serves a connection.
    pub(crate) fn make_wake(&self) -> io::Result<&Arc<ServingWake>> {
        if self.wake.get().is_none() {
            drop(self.wake.set(Arc::new(ServingWake::new()?)));
        }
        Ok(self.wake.get().unwrap_or_else(|| unreachable!("set above")))
    }

    /// Hangs up, which wakes a waiting peer and waiting threads of this process.
    pub(crate) fn hang_up(&self) {
        self.socket.hang_up();
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
