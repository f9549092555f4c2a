//! A connection with the fuzzer on one side.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

use super::hostile::Hostile;
use crate::connection::Established;
use crate::handshake::Role;
use crate::options::Options;
use crate::ring::{RingMemory, Side};
use crate::wait::{Peer, PollingMode, Socket};

/// This side of a connection over a hostile peer's rings, and the peer's end of the socket.
pub(crate) struct Pair {
    pub(crate) ours: Established,
    /// `None` once the peer is gone.
    socket: Option<OwnedFd>,
}

impl Pair {
    /// Waits of this side end at once: it parks, and its interrupt hook ends the wait.
    pub(crate) fn new(hostile: &Hostile<'_>, role: Role) -> Self {
        let (socket, theirs) = sockets();
        let options = Options::new().polling(PollingMode::Park).interrupt(|| true);
        let peer = Peer::new(Socket::connecting(socket), None, None, Some(0));
        let ours = Established::over(Side::Listener, role, peer, hostile.rings.clone(), &options);
        Self { ours, socket: Some(theirs) }
    }

    /// Rings this side, so that no wait sleeps until the interrupt hook runs.
    pub(crate) fn ring(&self) {
        self.say(&[0; 8]);
    }

    /// Sends any message from the peer. A message without room is lost.
    pub(crate) fn say(&self, bytes: &[u8]) {
        if let Some(socket) = &self.socket {
            let _ = send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    /// Ends the peer without a close.
    pub(crate) fn die(&mut self) {
        self.socket = None;
    }
}

/// Both ends of an honest RPC connection over `rings`: the callee's, then the caller's.
pub(crate) fn linked(rings: &[Arc<RingMemory>], options: &Options) -> [Established; 2] {
    let (socket, other_socket) = sockets();
    let over = |side, role, socket| {
        let peer = Peer::new(Socket::connecting(socket), None, None, Some(0));
        Established::over(side, role, peer, rings.to_vec(), options)
    };
    [over(Side::Listener, Role::Sink, socket), over(Side::Connector, Role::Source, other_socket)]
}

/// Both ends of a connection's socket.
pub(crate) fn sockets() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a socket")
}
