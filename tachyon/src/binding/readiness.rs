//! What an event loop watches: the steps of `ring::parked`, with the loop in `poll`'s place.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;

use crate::rpc::Caller;

/// A descriptor that is readable while something happened on a caller's connection: a reply, room, its peer's end, its
/// close. It keeps nothing of the connection alive.
#[derive(Debug)]
pub struct Readiness {
    epoll: OwnedFd,
}

impl Readiness {
    /// Watches a caller's connection.
    ///
    /// # Errors
    /// The system's refusal, such as too many open descriptors.
    pub fn new(caller: &Caller) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let connection = &caller.core.outgoing.connection;
        let add = |source: BorrowedFd<'_>, events| epoll::add(&epoll, source, epoll::EventData::new_u64(0), events);
        add(connection.peer.as_fd(), epoll::EventFlags::IN | epoll::EventFlags::RDHUP)?;
        if let Some(process) = connection.peer.process() {
            add(process, epoll::EventFlags::IN)?;
        }
        Ok(Self { epoll })
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
