//! Wakes a thread of this process that sleeps in the system.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

use crate::sync::{AtomicBool, Ordering};

/// Wakes a thread that sleeps in an epoll, now or at its next sleep: an eventfd of this process.
#[derive(Debug)]
pub(crate) struct Notifier(OwnedFd);

impl Notifier {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(crate) fn notify(&self) {
        // Fails only for a full counter, which wakes already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Resets the counter. The thread does so before it looks for the reason.
    pub(crate) fn reset(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Notifier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Wakes the thread that serves a connection, for handlers of its streams that run elsewhere.
///
/// The serving thread sleeps in four steps: [`arm`](Self::arm), a look at all streams, the sleep, and
/// [`reset`](Self::reset). A handler changes its stream first, and calls [`wake`](Self::wake) then. Both change and
/// look lock the stream, so a change that the look misses comes after the arming, and its `wake` notifies.
#[derive(Debug)]
pub(crate) struct ServingWake {
    notifier: Notifier,
    /// Whether the serving thread may sleep, and no handler has notified it since.
    armed: AtomicBool,
}

impl ServingWake {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { notifier: Notifier::new()?, armed: AtomicBool::new(false) })
    }

    /// Asks for notifications.
    pub(crate) fn arm(&self) {
        self.armed.store(true, Ordering::Release);
    }

    /// Ends the notifications: the serving thread looks by itself. One may be under way.
    pub(crate) fn disarm(&self) {
        self.armed.store(false, Ordering::Release);
    }

    /// Takes the notifications, before the next look.
    pub(crate) fn reset(&self) {
        self.notifier.reset();
    }

    /// Wakes the serving thread if it is armed.
    pub(crate) fn wake(&self) {
        if self.armed.swap(false, Ordering::AcqRel) {
            self.notifier.notify();
        }
    }
}

impl AsFd for ServingWake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notifier.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_notified(wake: &ServingWake) -> bool {
        poll(&mut [PollFd::new(wake, PollFlags::IN)], Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn an_armed_thread_is_notified_once_and_a_polling_one_never() {
        let wake = ServingWake::new().unwrap();
        wake.wake();
        assert!(!is_notified(&wake));
        wake.arm();
        wake.wake();
        assert!(is_notified(&wake));
        wake.reset();
        wake.wake();
        assert!(!is_notified(&wake), "the thread has not armed again");
        wake.arm();
        wake.disarm();
        wake.wake();
        assert!(!is_notified(&wake));
    }
}
