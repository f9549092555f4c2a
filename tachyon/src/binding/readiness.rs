//! Waiting by somebody else's event loop: the park protocol of `wait`, with the loop in `poll`'s place.
//!
//! A loop watches the one descriptor of a [`Readiness`]. Whenever it is readable, and once at the beginning, the binding
//! silences the bells, takes what there is, [arms](arm_replies) and looks once more: from then on the peer rings for the next
//! message. The loop sleeps on, and nothing is lost, as long as every look that finds nothing comes after arming.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll;

use crate::bus::{data_source, room_source};
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
        add(connection.channel(1).data.as_fd(), epoll::EventFlags::IN)?;
        add(connection.channel(0).room.as_fd(), epoll::EventFlags::IN)?;
        // Bytes that a peer sends there must not wake anyone.
        add(connection.peer.as_fd(), epoll::EventFlags::RDHUP)?;
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

/// Silences a caller's bells; true when its peer is gone, in which case what is in the ring now is the last of it.
pub fn silence(caller: &Caller) -> bool {
    let connection = &caller.outgoing.connection;
    // What a forked child drains would be missing in its parent. The next look tells the child that it is one.
    if connection.check_process().is_err() {
        return false;
    }
    let data = connection.channel(1).data.drain();
    let room = connection.channel(0).room.drain();
    if data || room {
        connection.peer.mark_gone();
    }
    connection.peer.is_gone()
}

/// Has the callee ring for the next reply. Look once more after this.
pub fn arm_replies(caller: &Caller) {
    data_source(caller.outgoing.connection.channel(1)).arm();
}

/// Has the callee ring for room. Try once more after this.
pub fn arm_room(caller: &Caller) {
    room_source(caller.outgoing.connection.channel(0)).arm();
}

/// Has the callee ring no more: somebody waits by themselves from now on.
pub fn disarm(caller: &Caller) {
    let connection = &caller.outgoing.connection;
    // The words are the parent's, who still wants to be rung.
    if connection.check_process().is_err() {
        return;
    }
    data_source(connection.channel(1)).disarm();
    room_source(connection.channel(0)).disarm();
}
