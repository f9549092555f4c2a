//! The epoll instance that a worker, or the acceptor, sleeps on.

use core::mem::MaybeUninit;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::{Pid, getpid};

/// The source of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// Clients wait to be accepted.
    Incoming,
    /// Another thread notifies this one: of a new session, or of a stop.
    Notified,
    /// A client in its handshake sent bytes, or hung up.
    Client(usize),
    /// A session's peer rang.
    Ring(usize),
    /// A session's peer has gone.
    Peer(usize),
    /// A second look is due.
    Timer,
}

const KINDS: u64 = 8;

impl Token {
    fn pack(self) -> u64 {
        let (kind, key) = match self {
            Self::Incoming => (0, 0),
            Self::Notified => (1, 0),
            Self::Client(key) => (2, key),
            Self::Ring(key) => (3, key),
            Self::Peer(key) => (4, key),
            Self::Timer => (5, 0),
        };
        key as u64 * KINDS + kind
    }

    fn unpack(packed: u64) -> Self {
        let key = (packed / KINDS) as usize;
        match packed % KINDS {
            0 => Self::Incoming,
            1 => Self::Notified,
            2 => Self::Client(key),
            3 => Self::Ring(key),
            5 => Self::Timer,
            _ => Self::Peer(key),
        }
    }
}

/// Most events of one wait.
pub(super) const BATCH: usize = 64;

/// An epoll instance, and the process that made it.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    owner: Pid,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, owner: getpid() })
    }

    /// Watches for readability.
    pub(super) fn add(&self, source: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, epoll::EventData::new_u64(token.pack()), epoll::EventFlags::IN)?)
    }

    /// Watches a session's socket: for rings, and for its hang-up ([`Token::Peer`]).
    pub(super) fn add_socket(&self, source: impl AsFd, key: usize) -> io::Result<()> {
        let token = epoll::EventData::new_u64(Token::Ring(key).pack());
        Ok(epoll::add(&self.epoll, source, token, epoll::EventFlags::IN | epoll::EventFlags::RDHUP)?)
    }

    /// Watches for one event. An event that is already there counts. A socket also has its hang-up watched.
    pub(super) fn arm(&self, source: impl AsFd, token: Token, watched: bool) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token.pack());
        let mut flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        if matches!(token, Token::Ring(_)) {
            flags |= epoll::EventFlags::RDHUP;
        }
        let outcome = if watched {
            epoll::modify(&self.epoll, source, data, flags)
        } else {
            epoll::add(&self.epoll, source, data, flags)
        };
        Ok(outcome?)
    }

    pub(super) fn remove(&self, source: impl AsFd) {
        // A forked child shares the instance: its parent would miss the source.
        if self.is_inherited() {
            return;
        }
        // Fails only for a source that is not watched.
        let _ = epoll::delete(&self.epoll, source);
    }

    /// Whether this process is a forked child, which shares the instance with its parent.
    pub(super) fn is_inherited(&self) -> bool {
        self.owner != getpid()
    }

    /// Waits up to `timeout` (`None`: without a limit) for the first event, and replaces `tokens` with up to `most`
    /// events, at most [`BATCH`]. A signal ends the wait without an event.
    pub(super) fn wait(&self, timeout: Option<Duration>, most: usize, tokens: &mut Vec<Token>) -> io::Result<()> {
        let timeout =
            timeout.map(|limit| Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
        tokens.clear();
        let mut events = [const { MaybeUninit::uninit() }; BATCH];
        match epoll::wait(&self.epoll, &mut events[..most.min(BATCH)], timeout.as_ref()) {
            Ok((events, _)) => {
                for event in events {
                    let (token, flags) = (Token::unpack(event.data.u64()), event.flags);
                    tokens.push(token);
                    if let Token::Ring(key) = token
                        && !(flags - epoll::EventFlags::IN).is_empty()
                    {
                        tokens.push(Token::Peer(key));
                    }
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn tokens_survive_packing() {
        for token in
            [Token::Incoming, Token::Notified, Token::Client(0), Token::Ring(1 << 40), Token::Peer(12), Token::Timer]
        {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }

    #[test]
    fn a_socket_reports_rings_and_its_end() {
        let poller = Poller::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let events = |timeout| {
            let mut tokens = Vec::new();
            poller.wait(timeout, BATCH, &mut tokens).unwrap();
            tokens
        };
        poller.add_socket(&ours, 3).unwrap();
        assert_eq!(events(Some(Duration::ZERO)), []);
        theirs.write_all(b"ring").unwrap();
        assert_eq!(events(None), [Token::Ring(3)]);
        drop(theirs);
        assert_eq!(events(None), [Token::Ring(3), Token::Peer(3)]);
        poller.remove(&ours);
        assert_eq!(events(Some(Duration::ZERO)), []);
    }
}
