//! Doorbells: the descriptors that wake a parked peer.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, readlinkat};
use rustix::io::Errno;

/// An eventfd that one side rings and the other one polls.
///
/// Ringing never blocks: the descriptor is non-blocking, and a counter too full to take one more is a bell that is
/// ringing already.
#[derive(Debug)]
pub(crate) struct Doorbell(OwnedFd);

impl Doorbell {
    /// Makes a silent bell.
    ///
    /// # Errors
    /// The system's refusal, such as too many open descriptors.
    pub(crate) fn create() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Takes a bell that the peer made.
    ///
    /// # Errors
    /// `InvalidInput` when the descriptor is anything but an eventfd: writing to a pipe or a socket of the peer's
    /// choice could block.
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let kind = readlinkat(rustix::fs::CWD, link, Vec::new())?;
        if kind.as_bytes() != b"anon_inode:[eventfd]" {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the peer sent {} as a doorbell, which must be an eventfd", kind.to_string_lossy()),
            ));
        }
        fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
        Ok(Self(fd))
    }

    /// Wakes whoever polls the other end, now or when it next does.
    pub(crate) fn ring(&self) {
        loop {
            match rustix::io::write(&self.0, &1u64.to_ne_bytes()) {
                Err(Errno::INTR) => {}
                // AGAIN is a counter at its limit: the bell rings already. Nothing else can happen to a descriptor
                // that is known to be an eventfd.
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Silences the bell.
    pub(crate) fn drain(&self) {
        let mut count = [0; 8];
        while rustix::io::read(&self.0, &mut count) == Err(Errno::INTR) {}
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn rings(bell: &Doorbell) -> bool {
        let mut fds = [PollFd::new(bell, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn rings_until_drained() {
        let bell = Doorbell::create().unwrap();
        assert!(!rings(&bell));
        bell.ring();
        bell.ring();
        assert!(rings(&bell));
        bell.drain();
        assert!(!rings(&bell));
        bell.drain();
    }

    #[test]
    fn ringing_a_full_bell_returns() {
        let bell = Doorbell::create().unwrap();
        rustix::io::write(&bell, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        bell.ring();
        assert!(rings(&bell));
    }

    #[test]
    fn a_blocking_eventfd_is_made_non_blocking() {
        let bell = Doorbell::adopt(eventfd(0, EventfdFlags::CLOEXEC).unwrap()).unwrap();
        bell.drain();
        assert!(!rings(&bell));
    }

    #[test]
    fn refuses_what_could_block() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        for fd in [reader, writer] {
            let error = Doorbell::adopt(fd).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("pipe"), "{error}");
        }
    }
}
