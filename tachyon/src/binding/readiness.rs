//! Waiting by an event loop of the binding's language: the steps of `ring::parked`, with the loop in `poll`'s place.
//!
//! A loop watches the one descriptor of a [`Readiness`]. Whenever it is readable, and once at the beginning, the binding
//! [hears](hear) the peer and takes what there is, up to [`CallerSteps::next_reply_armed`](super::CallerSteps), which asks
//! the peer to ring. Then the loop sleeps, and looks once more 10 ms after that asking.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;

use crate::error::CallError;
use crate::ring::arm;
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
        let connection = &caller.outgoing.connection;
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

/// Takes the rings of a caller's peer; true when the peer is gone, in which case what is in the ring now is the last of
/// it.
///
/// # Errors
/// [`CallError::FatalError`]: the peer sent something else than a ring.
pub fn hear(caller: &Caller) -> Result<bool, CallError> {
    let connection = &caller.outgoing.connection;
    // A ring that a forked child takes would be missing in its parent. The next look tells the child that it is one.
    if connection.check_process().is_err() {
        return Ok(false);
    }
    connection.peer.hear().map_err(|fault| connection.broken(fault))?;
    Ok(connection.peer.is_gone())
}

/// Asks the callee to ring for room. Try once more after this, and again 10 ms later.
pub fn arm_room(caller: &Caller) {
    arm(&[&caller.outgoing.connection.ring(0).header().producer_parked.0]);
}

/// Asks the callee to ring no more: the binding waits by itself from now on.
pub fn disarm(caller: &Caller) {
    let connection = &caller.outgoing.connection;
    // The words are the parent's, which still wants to be rung.
    if connection.check_process().is_err() {
        return;
    }
    connection.ring(1).header().consumer_parked.0.clear();
    connection.ring(0).header().producer_parked.0.clear();
}
