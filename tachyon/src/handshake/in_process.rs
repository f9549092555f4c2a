//! A connection within this process, which needs no path and no handshake.

use std::io;
use std::os::fd::AsFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::geteuid;

use super::{Kind, Pairing, Role};
use crate::ring::{Geometry, RingMemory, Side};
use crate::wait::{Peer, Socket};

/// Both sides of a connection: the sink's, then the source's. Each side maps the memory for itself, as two processes
/// do. `geometries` has one for each ring of `kind`.
///
/// # Errors
/// The system has no memory or no descriptors for the connection.
pub(crate) fn in_process(kind: Kind, geometries: &[Geometry]) -> io::Result<[Pairing; 2]> {
    debug_assert_eq!(geometries.len(), kind.rings(), "one geometry for each ring");
    let mut created = Vec::new();
    let mut adopted = Vec::new();
    for geometry in geometries {
        let (memory, descriptor) = RingMemory::create(*geometry).map_err(io::Error::other)?;
        adopted.push(RingMemory::adopt(descriptor.as_fd(), *geometry).map_err(io::Error::other)?);
        created.push(memory);
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (sinks, sources) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    // The hang-up of the socket shows the end of the other side. A process has no use for a pidfd of itself.
    let peer = |socket| Peer::new(Socket::connecting(socket), None, Some(std::process::id()), Some(geteuid().as_raw()));
    Ok([
        Pairing { role: Role::Sink, side: Side::Listener, rings: created, peer: peer(sinks) },
        Pairing { role: Role::Source, side: Side::Connector, rings: adopted, peer: peer(sources) },
    ])
}
