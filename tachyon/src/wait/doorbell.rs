//! Doorbells: the descriptors that wake a parked peer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

/// Bytes taken at a time when a bell is silenced; a correct peer rings once for each time its counterpart parks.
const DRAIN_LEN: usize = 64;

/// One end of a bell rope: a byte sent from it wakes whoever polls the other end.
///
/// A pair of sockets, and not an eventfd: a descriptor handed to another process shares its flags with it, so a hostile
/// peer could make an eventfd block and then fill it, and ringing would hang. Sending and receiving on a socket take
/// their "do not wait" with each call, which nobody else can take away.
#[derive(Debug)]
pub(crate) struct Doorbell(OwnedFd);

impl Doorbell {
    /// Makes a silent bell: our end, and the end for the peer.
    ///
    /// # Errors
    /// The system's refusal, such as too many open descriptors.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok((Self(ours), Self(theirs)))
    }

    /// Takes an end that the peer made.
    ///
    /// # Errors
    /// `InvalidInput` when the descriptor is anything but a connected stream socket of this machine.
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let local = matches!(socket_domain(&fd), Ok(AddressFamily::UNIX));
        let stream = matches!(socket_type(&fd), Ok(SocketType::STREAM));
        let listens = matches!(socket_acceptconn(&fd), Ok(true));
        if local && stream && !listens {
            Ok(Self(fd))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "the peer sent something else than a local stream socket"))
        }
    }

    /// The same end once more, which a fuzzer need not have looked at again.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn copy(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Wakes whoever polls the other end, now or when it next does. Never waits.
    pub(crate) fn ring(&self) {
        // A full socket is a bell that rings already, and a closed one has nobody left to wake.
        let _ = send(&self.0, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    /// Silences the bell; true when the peer has let go of its end. Never waits.
    pub(crate) fn drain(&self) -> bool {
        let mut bytes = [0; DRAIN_LEN];
        // Once: a peer that rings faster than this would otherwise keep us here. What it leaves wakes us again.
        matches!(recv(&self.0, &mut bytes[..], RecvFlags::DONTWAIT), Ok((0, _)))
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
    fn rings_at_the_other_end_until_drained() {
        let (ours, theirs) = Doorbell::pair().unwrap();
        theirs.ring();
        theirs.ring();
        assert!(rings(&ours) && !rings(&theirs));
        assert!(!ours.drain());
        assert!(!rings(&ours));
        assert!(!ours.drain(), "draining a silent bell does not wait");
    }

    #[test]
    fn ringing_a_full_bell_returns_even_when_the_peer_made_it_block() {
        let (ours, theirs) = Doorbell::pair().unwrap();
        let flags = rustix::fs::fcntl_getfl(&ours).unwrap();
        rustix::fs::fcntl_setfl(&ours, flags - rustix::fs::OFlags::NONBLOCK).unwrap();
        for _ in 0..100_000 {
            ours.ring();
        }
        assert!(rings(&theirs));
        for _ in 0..100_000 {
            theirs.drain();
        }
        assert!(!rings(&theirs));
    }

    #[test]
    fn a_bell_whose_peer_is_gone_says_so() {
        let (ours, theirs) = Doorbell::pair().unwrap();
        theirs.ring();
        drop(theirs);
        assert!(!ours.drain(), "what was rung before the end is heard");
        assert!(ours.drain());
        ours.ring();
    }

    #[test]
    fn refuses_what_is_no_bell() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let counter = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let network =
            rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        let (datagrams, _) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
        for fd in [reader, writer, counter, network, datagrams] {
            assert_eq!(Doorbell::adopt(fd).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
