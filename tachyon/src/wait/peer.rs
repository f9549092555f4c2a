//! Whether the process at the other end still lives.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::sync::{AtomicBool, Ordering};

/// The peer's process, watched through the socket of the handshake and, where the system gives one, its pidfd.
///
/// Either sign of death is enough: the pidfd ends with the process even when a forked child of it still holds the
/// socket, and the socket ends with the connection even when the process lives on.
#[derive(Debug)]
pub(crate) struct Peer {
    socket: OwnedFd,
    pidfd: Option<OwnedFd>,
    pid: Option<u32>,
    uid: u32,
    gone: AtomicBool,
}

impl Peer {
    pub(crate) fn new(socket: OwnedFd, pidfd: Option<OwnedFd>, pid: Option<u32>, uid: u32) -> Self {
        Self { socket, pidfd, pid, uid, gone: AtomicBool::new(false) }
    }

    /// The peer's process id, when it is visible from here.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The user the peer runs as.
    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    /// What to poll to learn of the peer's end, beside the caller's own descriptors. Only a hang-up of the socket is
    /// asked for: bytes a peer sends there must not wake anyone.
    pub(crate) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let socket = PollFd::new(&self.socket, PollFlags::RDHUP);
        let process = self.pidfd.as_ref().map(|pidfd| PollFd::new(pidfd, PollFlags::IN));
        core::iter::once(socket).chain(process)
    }

    /// Notes what a poll over [`poll_fds`](Self::poll_fds) found.
    pub(crate) fn note(&self, fds: &[PollFd<'_>]) {
        if fds.iter().any(|fd| !fd.revents().is_empty()) {
            self.gone.store(true, Ordering::Relaxed);
        }
    }

    /// The peer's process, where the system gives a descriptor for it; readable once it has ended.
    pub(crate) fn process(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Notes that somebody who watches the descriptors saw the end.
    pub(crate) fn mark_gone(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Whether an earlier look found the peer gone; costs one load.
    #[inline]
    pub(crate) fn was_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
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

    /// Hangs up, so that a waiting peer learns at once.
    pub(crate) fn hang_up(&self) {
        // An error means that the peer hung up first, which is what this is for.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
