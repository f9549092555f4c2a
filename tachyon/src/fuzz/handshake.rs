//! Both sides of the handshake against a peer whose bytes and descriptors come from a fuzzer.

use std::cell::{Cell, OnceCell};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, memfd_create};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};

use super::Input;
use crate::handshake::wire::{self, Code, Hello};
use crate::handshake::{ConnectError, Connecting, Kind, Offer, Pairing, PendingClient, Progress, Rejection, Role};
use crate::options::Options;
use crate::ring::{Geometry, RingMemory, Side};
use crate::wait::{Deadline, Socket, reaper};

/// Capacity of the rings, in bytes: small, so that the segments are small.
const CAPACITY: usize = 64;

/// Most descriptors of one message; the kernel takes 253.
const MOST_DESCRIPTORS: usize = 200;

thread_local! {
    static PALETTE: OnceCell<Vec<OwnedFd>> = const { OnceCell::new() };
    /// Whether the peer has passed descriptors, which the reaper may have to close.
    static PASSED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a target, and waits until the reaper has closed its descriptors. Otherwise a full reaper would reject the peer
/// of the next input.
fn with_descriptors_closed(target: impl FnOnce() -> bool) {
    target();
    if PASSED.replace(false) {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
        // The reaper closes descriptors in order.
        reaper::close(writer);
        poll(&mut [PollFd::new(&reader, PollFlags::IN)], None).expect("the end of a pipe");
    }
}

/// The descriptors that the peer may send: a correct one for a bus, a correct one for RPC, and files of all kinds.
fn everything() -> Vec<OwnedFd> {
    let ring = |kind| RingMemory::create(geometry(kind)).expect("memory for a ring").1;
    let memory = |len: usize, seals| {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = memfd_create(c"fuzz", flags).expect("a memory file");
        rustix::fs::ftruncate(&fd, len as u64).expect("a size");
        rustix::fs::fcntl_add_seals(&fd, seals).expect("seals");
        fd
    };
    let socket = |family, kind| rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None).expect("a socket");
    let open = |path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty()).expect("a file");
    let sealed = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    let len = geometry(Kind::Bus).segment_len();
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let listening = socket(AddressFamily::UNIX, SocketType::STREAM);
    // Without a path the kernel chooses an abstract name.
    rustix::net::bind(&listening, &rustix::net::SocketAddrUnix::new_unnamed()).expect("a name");
    rustix::net::listen(&listening, 1).expect("a listener");
    vec![
        ring(Kind::Bus),
        ring(Kind::Rpc),
        memory(len, sealed),
        memory(len, SealFlags::empty()),
        memory(len, SealFlags::SHRINK | SealFlags::SEAL),
        memory(len, SealFlags::GROW | SealFlags::SEAL),
        memory(len, SealFlags::SHRINK | SealFlags::GROW),
        memory(len, sealed | SealFlags::WRITE),
        memory(len - 1, sealed),
        memory(len + 4096, sealed),
        memory(0, sealed),
        reader,
        writer,
        socket(AddressFamily::UNIX, SocketType::DGRAM),
        socket(AddressFamily::INET, SocketType::STREAM),
        listening,
        eventfd(0, EventfdFlags::CLOEXEC).expect("a counter"),
        open("/", OFlags::RDONLY | OFlags::DIRECTORY),
        open("/dev/null", OFlags::RDWR),
        open("/proc/self/maps", OFlags::RDONLY),
        open("/", OFlags::PATH),
        tempfile(),
    ]
}

/// A temporary file without a name.
fn tempfile() -> OwnedFd {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = rustix::fs::open(std::env::temp_dir(), flags, Mode::RUSR | Mode::WUSR);
    let file = file.unwrap_or_else(|_| {
        rustix::fs::open("/dev/zero", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).expect("a device")
    });
    let _ = rustix::fs::ftruncate(&file, geometry(Kind::Bus).segment_len() as u64);
    file
}

fn geometry(kind: Kind) -> Geometry {
    Geometry::new(CAPACITY, kind.carries()).expect("a power of two")
}

fn kind(byte: u8) -> Kind {
    if byte & 1 == 0 { Kind::Bus } else { Kind::Rpc }
}

fn role(byte: u8) -> Role {
    Role::from_wire(byte % 3).expect("0 to 2")
}

fn offer(kind: Kind, role: Role) -> Offer {
    Offer { kind, role, geometries: vec![geometry(kind); kind.rings()] }
}

/// Sends a message of the peer: a correct message with some bytes changed, or any bytes. If `welcome` is a kind, a
/// correct message carries its rings.
fn send_any(input: &Input<'_>, socket: BorrowedFd<'_>, correct: &[u8], welcome: Option<Kind>) {
    let rings = welcome.map_or(0, Kind::rings);
    let right = u8::from(welcome == Some(Kind::Rpc));
    let how = input.byte();
    let mut bytes = if how & 1 == 0 { correct.to_vec() } else { input.slice(usize::from(input.byte())).to_vec() };
    if bytes.is_empty() {
        return;
    }
    for _ in 0..how >> 5 {
        let at = usize::from(input.byte()) % bytes.len();
        bytes[at] = input.byte();
    }
    if how & 2 != 0 {
        bytes.truncate(1 + usize::from(input.byte()) % bytes.len());
    }
    PALETTE.with(|palette| {
        let palette = palette.get_or_init(everything);
        let all = |byte: u8| palette[usize::from(byte) % palette.len()].as_fd();
        let descriptors: Vec<BorrowedFd<'_>> = match how >> 2 & 7 {
            // The descriptors of a correct peer.
            0..4 => (0..rings).map(|_| all(right)).collect(),
            // One of these descriptors is changed.
            4 if rings > 0 => {
                let spoilt = usize::from(input.byte()) % rings;
                let by = all(input.byte());
                (0..rings).map(|at| if at == spoilt { by } else { all(right) }).collect()
            }
            5 | 6 => (0..input.byte() & 7).map(|_| all(input.byte())).collect(),
            7 => vec![all(input.byte()); usize::from(input.byte()) % (MOST_DESCRIPTORS + 1)],
            _ => Vec::new(),
        };
        send(socket, &bytes, &descriptors);
    });
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        PASSED.set(true);
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)), "room for {MOST_DESCRIPTORS}");
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    // This side may have hung up after an earlier message.
    let _ = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags);
}

fn sockets() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a socket")
}

/// Checks that a pairing is complete and usable.
fn check(pairing: Pairing, kind: Kind, side: Side) -> bool {
    assert_eq!((pairing.rings.len(), pairing.side), (kind.rings(), side));
    for ring in pairing.rings {
        assert_eq!(ring.segment().len(), ring.geometry().segment_len());
        // If the page is unmapped or shrunk, the write to the last slot ends the program.
        let last = ring.slot(ring.geometry().slots() as u64 - 1);
        last.publication.store(7, crate::sync::Ordering::Relaxed);
        let _ = last.publication.load(crate::sync::Ordering::Relaxed);
        assert!(ring.arena(0, CAPACITY).is_some() && ring.arena(1, CAPACITY).is_none());
    }
    true
}

/// A listener, or a server's acceptor, and a client with any messages and descriptors.
///
/// The outcome is a pairing or a rejection: no message of a client causes a failure of this side.
pub fn listener(data: &[u8]) {
    with_descriptors_closed(|| listen(&Input::new(data)));
}

/// Whether there is a pairing.
fn listen(input: &Input<'_>) -> bool {
    let how = input.byte();
    let (kind, role) = (kind(how), role(how >> 1 & 3));
    let (ours, theirs) = sockets();
    // As before Linux 6.16, or with refused descriptors.
    let client = if how & 4 == 0 { Socket::accepted(ours, false) } else { Socket::connecting(ours) };
    // No time namespace has the number 1.
    let time_namespace = u64::from(how & 32 != 0);
    let hello = Hello { kind, role: self::role(how >> 3 & 3), probe: false, wishes: [None; 2], time_namespace };
    send_any(input, theirs.as_fd(), &wire::write_hello(hello), None);
    let options = Options::new().handshake_timeout(Duration::ZERO).description("{}");
    let path = Path::new("fuzzed");
    let offer = offer(kind, role);
    let leaves = how & 64 != 0;
    // Whether the client sends all messages first.
    let at_once = how & 128 == 0;
    if at_once {
        send_any(input, theirs.as_fd(), &wire::write_ready(), None);
    }
    let client = PendingClient::new(client, &options, Deadline::never()).expect("a socket of this process");
    let mut client = client.expect("this process");
    let mut theirs = Some(theirs);
    for step in 0..4 {
        let terms = |wishes: &wire::Wishes, probe| match wishes[0] {
            _ if probe => Err(Rejection::Probe),
            Some(wish) if wish.capacity() > CAPACITY => Err(Rejection::Busy),
            _ => Ok(offer.clone()),
        };
        match client.step(path, &offer, &options, terms) {
            Ok(Progress::Waiting(waiting)) => client = waiting,
            Ok(Progress::Paired(pairing)) => return check(*pairing, kind, Side::Listener),
            Ok(Progress::Rejected(why)) => {
                drop(why.to_string());
                return false;
            }
            Err(error) => panic!("a client caused {error}"),
        }
        if leaves && (at_once || step == 1) {
            theirs = None;
        } else if let Some(theirs) = &theirs
            && !at_once
        {
            send_any(input, theirs.as_fd(), &wire::write_ready(), None);
        }
    }
    false
}

/// A connector, and a listener with any answers and descriptors.
///
/// The outcome is a pairing over rings of the agreed size, or an error about the peer.
pub fn connector(data: &[u8]) {
    with_descriptors_closed(|| connect(&Input::new(data)));
}

/// Whether there is a pairing.
fn connect(input: &Input<'_>) -> bool {
    let how = input.byte();
    let (kind, role) = (kind(how), role(how >> 1 & 3));
    let (ours, theirs) = sockets();
    let correct = match how >> 3 & 3 {
        0 => wire::write_reject(code(input.byte()), input.byte(), "a text").to_vec(),
        agreed => wire::write_welcome(&offer(kind, role), self::role(agreed)).to_vec(),
    };
    send_any(input, theirs.as_fd(), &correct, Some(kind));
    let theirs = (how & 32 == 0).then_some(theirs);
    let hello = Hello { kind, role, probe: false, wishes: [None; 2], time_namespace: 0 };
    let socket = if how & 64 == 0 { Socket::accepted(ours, false) } else { Socket::connecting(ours) };
    let linked = match Connecting::handshake_over(socket, hello) {
        Ok(pairing) => check(pairing, kind, Side::Connector),
        Err(ConnectError::Interrupted { .. } | ConnectError::Path(_) | ConnectError::ForeignListener { .. }) => {
            panic!("no listener can cause this error")
        }
        Err(error) => {
            drop(error.to_string());
            false
        }
    };
    drop(theirs);
    linked
}

fn code(byte: u8) -> Code {
    match byte % 8 {
        1 => Code::WrongKind,
        2 => Code::Version,
        3 => Code::RoleClash,
        4 => Code::NotAllowed,
        5 => Code::Busy,
        6 => Code::OtherTimeNamespace,
        7 => Code::OnePeer,
        _ => Code::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_correct_peer_gets_a_link() {
        // Both kinds: a source and a sink with peeking, a sink and a source with refused descriptors, and both again
        // with one message at a time.
        for how in [18, 19, 12, 13, 146, 147, 140, 141] {
            assert!(listen(&Input::new(&[how, 0, 0])), "{how}");
        }
        // Both kinds, with and without peeking: a sink answers a source.
        for how in [18, 19, 82, 83] {
            assert!(connect(&Input::new(&[how, 0])), "{how}");
        }
    }
}
