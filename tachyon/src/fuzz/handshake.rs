//! Both sides of the handshake against a peer whose bytes and descriptors a fuzzer chose.

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
use crate::handshake::{ConnectError, Connecting, Kind, Link, Offer, PendingClient, Progress, Rejection, Role};
use crate::options::Options;
use crate::ring::{Geometry, RingMemory, Side};
use crate::wait::{Deadline, Socket, reaper};

/// Capacity of the rings, in bytes: a page of header, one of slots, and a line.
const CAPACITY: usize = 64;

/// Most descriptors of one message; the kernel takes 253.
const MOST_DESCRIPTORS: usize = 200;

thread_local! {
    static PALETTE: OnceCell<Vec<OwnedFd>> = const { OnceCell::new() };
    /// Whether descriptors were passed that another thread may have to close.
    static PASSED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a target, and waits until no descriptor of it is left to be closed: too many would have the next one refused
/// for what this one did.
fn with_descriptors_closed(target: impl FnOnce() -> bool) {
    target();
    if PASSED.replace(false) {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
        // Closed after all that were given away before.
        reaper::close(writer);
        poll(&mut [PollFd::new(&reader, PollFlags::IN)], None).expect("the end of a pipe");
    }
}

/// What the peer may send: first what a correct one would for a bus, then for RPC, then all kinds of other things.
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
    // Without a path the kernel finds it an abstract name.
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

/// A file on disk, or wherever temporary files are, that has no name.
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

/// The peer says something: a correct message with some bytes changed, or any bytes. A correct one comes with the rings
/// of `welcome`, if it is one.
fn say(input: &Input<'_>, socket: BorrowedFd<'_>, correct: &[u8], welcome: Option<Kind>) {
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
            // What a correct peer sends.
            0..4 => (0..rings).map(|_| all(right)).collect(),
            // The same with one of them changed.
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
    // Our side may have hung up on what came before.
    let _ = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags);
}

fn sockets() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a socket")
}

/// A finished handshake gives something whole and usable.
fn check(link: Link, kind: Kind, side: Side) -> bool {
    assert_eq!((link.rings.len(), link.side), (kind.rings(), side));
    for ring in link.rings {
        assert_eq!(ring.segment().len(), ring.geometry().segment_len());
        // The last slot's words are written and read: an unmapped or shrunk page would end the program here.
        let last = ring.slot(ring.geometry().slots() as u64 - 1);
        last.publication.store(7, crate::sync::Ordering::Relaxed);
        let _ = last.publication.load(crate::sync::Ordering::Relaxed);
        assert!(ring.arena(0, CAPACITY).is_some() && ring.arena(1, CAPACITY).is_none());
    }
    true
}

/// A listener, or a server's door, and a client that says anything, with any descriptors.
///
/// Whatever comes, the outcome is a link or a refusal: nothing a client says is our own failure.
pub fn listener(data: &[u8]) {
    with_descriptors_closed(|| listen(&Input::new(data)));
}

/// Whether there is a link.
fn listen(input: &Input<'_>) -> bool {
    let how = input.byte();
    let (kind, role) = (kind(how), role(how >> 1 & 3));
    let (ours, theirs) = sockets();
    // As on a system that refuses descriptors, and as on one that does not.
    let client = if how & 4 == 0 { Socket::accepted(ours, false) } else { Socket::connecting(ours) };
    // No namespace has the number 1.
    let time_namespace = u64::from(how & 32 != 0);
    let hello = Hello { kind, role: self::role(how >> 3 & 3), probe: false, wishes: [None; 2], time_namespace };
    say(input, theirs.as_fd(), &wire::write_hello(hello), None);
    let options = Options::new().handshake_timeout(Duration::ZERO).description("{}");
    let path = Path::new("fuzzed");
    let offer = offer(kind, role);
    let leaves = how & 64 != 0;
    // Whether it says everything at once.
    let at_once = how & 128 == 0;
    if at_once {
        say(input, theirs.as_fd(), &wire::write_ready(), None);
    }
    let guest = PendingClient::new(client, &options, Deadline::never()).expect("a socket of this process");
    let mut guest = guest.expect("this process");
    let mut theirs = Some(theirs);
    for step in 0..4 {
        let terms = |wishes: &wire::Wishes, probe| match wishes[0] {
            _ if probe => Err(Rejection::Probe),
            Some(wish) if wish.capacity() > CAPACITY => Err(Rejection::Busy),
            _ => Ok(offer.clone()),
        };
        match guest.step(path, &offer, &options, terms) {
            Ok(Progress::Waiting(waiting)) => guest = waiting,
            Ok(Progress::Linked(link)) => return check(*link, kind, Side::Listener),
            Ok(Progress::Rejected(why)) => {
                drop(why.to_string());
                return false;
            }
            Err(error) => panic!("a client brought about {error}"),
        }
        if leaves && (at_once || step == 1) {
            theirs = None;
        } else if let Some(theirs) = &theirs
            && !at_once
        {
            say(input, theirs.as_fd(), &wire::write_ready(), None);
        }
    }
    false
}

/// A connector, and a listener that answers anything, with any descriptors.
///
/// Whatever comes, the outcome is a link over rings of the size agreed on, or an error about the peer.
pub fn connector(data: &[u8]) {
    with_descriptors_closed(|| connect(&Input::new(data)));
}

/// Whether there is a link.
fn connect(input: &Input<'_>) -> bool {
    let how = input.byte();
    let (kind, role) = (kind(how), role(how >> 1 & 3));
    let (ours, theirs) = sockets();
    let correct = match how >> 3 & 3 {
        0 => wire::write_reject(code(input.byte()), input.byte(), "a text").to_vec(),
        settled => wire::write_welcome(&offer(kind, role), self::role(settled)).to_vec(),
    };
    say(input, theirs.as_fd(), &correct, Some(kind));
    let theirs = (how & 32 == 0).then_some(theirs);
    let hello = Hello { kind, role, probe: false, wishes: [None; 2], time_namespace: 0 };
    let socket = if how & 64 == 0 { Socket::accepted(ours, false) } else { Socket::connecting(ours) };
    let linked = match Connecting::handshake_over(socket, hello) {
        Ok(link) => check(link, kind, Side::Connector),
        Err(ConnectError::Interrupted { .. } | ConnectError::Path(_) | ConnectError::ForeignListener { .. }) => {
            panic!("no listener can bring that about")
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
        // Either kind: a source and a sink where messages are peeked at, a sink and a source where the system refuses
        // descriptors, and both again with a guest.
        for how in [18, 19, 12, 13, 146, 147, 140, 141] {
            assert!(listen(&Input::new(&[how, 0, 0])), "{how}");
        }
        // Either kind, on either system: a sink that answers a source.
        for how in [18, 19, 82, 83] {
            assert!(connect(&Input::new(&[how, 0])), "{how}");
        }
    }
}
