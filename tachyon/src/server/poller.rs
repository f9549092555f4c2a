//! One `epoll` over everything a worker sleeps on.

use core::mem::MaybeUninit;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::process::{Pid, getpid};

/// What became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// Clients wait at the door.
    Door,
    /// Another thread has something to say: a new session, or that it is time to stop.
    Bell,
    /// A guest said something, or hung up.
    Guest(usize),
    /// A session's request ring has news.
    Data(usize),
    /// A session's reply ring has room.
    Room(usize),
    /// A session's peer is gone.
    Peer(usize),
}

const KINDS: u64 = 8;

impl Token {
    fn pack(self) -> u64 {
        let (kind, key) = match self {
            Self::Door => (0, 0),
            Self::Bell => (1, 0),
            Self::Guest(key) => (2, key),
            Self::Data(key) => (3, key),
            Self::Room(key) => (4, key),
            Self::Peer(key) => (5, key),
        };
        key as u64 * KINDS + kind
    }

    fn unpack(packed: u64) -> Self {
        let key = (packed / KINDS) as usize;
        match packed % KINDS {
            0 => Self::Door,
            1 => Self::Bell,
            2 => Self::Guest(key),
            3 => Self::Data(key),
            4 => Self::Room(key),
            _ => Self::Peer(key),
        }
    }
}

/// Most events of one look.
const BATCH: usize = 64;

/// An epoll instance.
///
/// Whatever is added must be taken out before its descriptor is closed: a doorbell is shared with the peer, and epoll
/// goes on watching it as long as anyone has it open.
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

    /// Watches for a hang-up alone.
    pub(super) fn add_hang_up(&self, source: impl AsFd, token: Token) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, epoll::EventData::new_u64(token.pack()), epoll::EventFlags::RDHUP)?)
    }

    pub(super) fn remove(&self, source: impl AsFd) {
        // What a forked child took out would be missing in its parent.
        if self.is_inherited() {
            return;
        }
        // It fails only for what is not watched, which is the state asked for.
        let _ = epoll::delete(&self.epoll, source);
    }

    /// Whether this is a forked child, which shares the instance with its parent.
    pub(super) fn is_inherited(&self) -> bool {
        self.owner != getpid()
    }

    /// Looks for events, sleeping up to `timeout` for the first; `None` sleeps until there is one. A signal ends the
    /// sleep with none. What was there is left in `tokens`.
    pub(super) fn wait(&self, timeout: Option<Duration>, tokens: &mut Vec<Token>) -> io::Result<()> {
        let timeout =
            timeout.map(|limit| Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }));
        tokens.clear();
        let mut events = [const { MaybeUninit::uninit() }; BATCH];
        match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Ok((events, _)) => tokens.extend(events.iter().map(|event| Token::unpack(event.data.u64()))),
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
    use super::*;
    use crate::wait::Doorbell;

    #[test]
    fn tokens_survive_packing() {
        for token in [Token::Door, Token::Bell, Token::Guest(0), Token::Data(7), Token::Room(1 << 40), Token::Peer(12)]
        {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }

    #[test]
    fn a_bell_is_heard_until_it_is_taken_out() {
        let poller = Poller::new().unwrap();
        let (bell, rope) = Doorbell::pair().unwrap();
        let heard = |timeout| {
            let mut tokens = Vec::new();
            poller.wait(timeout, &mut tokens).unwrap();
            tokens
        };
        poller.add(&bell, Token::Data(3)).unwrap();
        assert_eq!(heard(Some(Duration::ZERO)), []);
        rope.ring();
        assert_eq!(heard(None), [Token::Data(3)]);
        poller.remove(&bell);
        assert_eq!(heard(Some(Duration::ZERO)), []);
    }
}
