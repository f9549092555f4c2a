//! What a hostile peer does: descriptors that take long to close, and the protocol spoken by hand.
//!
//! `docs/internals/wire-format.md` has the bytes. The program `hostile` and the tests of hostile peers use this.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::{Errno, pread, pwrite};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg,
    socket_with, sockopt,
};

/// How long the closing of a [`Lingering`] descriptor takes.
pub const LINGERS: Duration = Duration::from_secs(20);

/// A descriptor whose last closing waits for [`LINGERS`]: a TCP socket with unsent bytes.
#[derive(Debug)]
pub struct Lingering {
    socket: TcpStream,
    /// Never reads. Once it is closed, nothing lingers any more.
    other: TcpStream,
}

impl Lingering {
    /// # Errors
    /// The system's refusal of a TCP connection on the loopback interface.
    pub fn new() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        sockopt::set_socket_recv_buffer_size(&listener, 4096)?;
        let mut socket = TcpStream::connect(listener.local_addr()?)?;
        let (other, _) = listener.accept()?;
        socket.set_nonblocking(true)?;
        loop {
            match socket.write(&[0; 1 << 13]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        sockopt::set_socket_linger(&socket, Some(LINGERS))?;
        Ok(Self { socket, other })
    }

    /// Gives the descriptor away with a message. If that went well, the peer has the only copy, and what is returned
    /// keeps it lingering.
    ///
    /// # Errors
    /// The system's refusal: `PERM` where the peer has descriptors refused.
    pub fn pass(self, socket: impl AsFd, bytes: &[u8]) -> Result<TcpStream, Errno> {
        self.pass_with(socket, bytes, &[])
    }

    /// As [`pass`](Self::pass), behind other descriptors.
    ///
    /// # Errors
    /// As [`pass`](Self::pass).
    pub fn pass_with(self, socket: impl AsFd, bytes: &[u8], before: &[BorrowedFd<'_>]) -> Result<TcpStream, Errno> {
        let socket = clone(socket.as_fd())?;
        let before = before.iter().map(|descriptor| clone(*descriptor)).collect::<Result<Vec<_>, _>>()?;
        let bytes = bytes.to_vec();
        let (tell, told) = channel();
        // In a thread of its own: the peer may be so quick to close its copy that the one here is the last.
        std::thread::spawn(move || {
            let Self { socket: lingers, other } = self;
            let all: Vec<_> = before.iter().map(AsFd::as_fd).chain([lingers.as_fd()]).collect();
            match pass(socket, &bytes, &all) {
                Ok(()) => drop(tell.send(Ok(other))),
                Err(errno) => {
                    // In this order: the closing of the second one then does not linger.
                    drop(other);
                    drop(lingers);
                    drop(tell.send(Err(errno)));
                }
            }
        });
        told.recv().unwrap_or(Err(Errno::IO))
    }
}

fn clone(descriptor: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(descriptor, 0)
}

/// Sends a message with descriptors, as far as the system lets it. Never waits.
///
/// # Errors
/// The system's refusal.
pub fn pass(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOBIG);
    }
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(drop)
}

/// Sends a message. Never waits.
///
/// # Errors
/// The system's refusal.
pub fn say(socket: impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
    pass(socket, bytes, &[])
}

/// The kind of a connection.
pub const BUS: u8 = 1;
/// The kind of a connection.
pub const RPC: u8 = 2;

/// The end that sends on ring 0.
pub const SOURCE: u8 = 1;
/// The end that receives on ring 0.
pub const SINK: u8 = 2;

/// Longest message of the handshake, and a byte more.
const LONGEST: usize = 137;

const fn prefix(tag: u8) -> [u8; 8] {
    [b'T', b'C', b'H', b'Y', 2, 0, tag, 0]
}

/// The last word of a handshake.
pub const READY: [u8; 8] = prefix(4);

/// A hello without a wish for capacities and without a word about the time namespace.
pub fn hello(kind: u8, role: u8) -> Vec<u8> {
    [prefix(1), [kind, role, 0, 0, 0, 0, 0, 0], [0; 8]].concat()
}

/// The welcome of a listener with a role for rings of `capacity` bytes.
pub fn welcome(kind: u8, role: u8, capacity: u64) -> Vec<u8> {
    let rings = if kind == RPC { 2 } else { 1 };
    let ring = [capacity.to_le_bytes(), Shape::of(kind, capacity).len().to_le_bytes()].concat();
    let mut message = [prefix(2), [kind, role, rings, 0, 0, 0, 0, 0]].concat();
    (0..rings).for_each(|_| message.extend(&ring));
    message.resize(48, 0);
    message
}

/// Where things lie in a segment.
#[derive(Debug, Clone, Copy)]
struct Shape {
    capacity: u64,
    stride: u64,
    slots: u64,
}

impl Shape {
    fn of(kind: u8, capacity: u64) -> Self {
        let (stride, most) = if kind == RPC { (256, 4096) } else { (64, u64::MAX) };
        Self { capacity, stride, slots: (capacity / stride).clamp(64, most) }
    }

    fn len(self) -> u64 {
        SLOTS + self.slots * self.stride + self.capacity.max(64)
    }
}

const STATE: u64 = 128;
const RELEASED: u64 = 384;
const CONSUMER_PARKED: u64 = 512;
const PRODUCER_PARKED: u64 = 640;
const SLOTS: u64 = 4096;
const PAYLOAD: u64 = 24;

/// A segment as its descriptor shows it.
#[derive(Debug)]
pub struct Segment {
    /// The memory file.
    pub memory: OwnedFd,
    shape: Shape,
}

impl Segment {
    /// A fresh one, as a listener makes it.
    ///
    /// # Errors
    /// The system's refusal of memory.
    pub fn create(kind: u8, capacity: u64) -> Result<Self, Errno> {
        let shape = Shape::of(kind, capacity);
        let memory = memfd_create(c"hostile", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, shape.len())?;
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let identity = [u64::from_le_bytes(*b"TACHYON\x02"), capacity, shape.stride];
        pwrite(&memory, identity.map(u64::to_le_bytes).as_flattened(), 0)?;
        Ok(Self { memory, shape })
    }

    fn of(kind: u8, memory: OwnedFd) -> Result<Self, Errno> {
        let capacity = word(&memory, 8)?;
        Ok(Self { memory, shape: Shape::of(kind, capacity) })
    }

    /// The address and the lap of a position.
    fn slot(&self, position: u64) -> (u64, u64) {
        let Shape { stride, slots, .. } = self.shape;
        (SLOTS + position % slots * stride, (position / slots + 1) & u64::from(u32::MAX))
    }

    /// The messages that the ring holds.
    pub fn slots(&self) -> u64 {
        self.shape.slots
    }

    /// Publishes a message that fits its slot, with the type id 1.
    ///
    /// # Errors
    /// The system's refusal to write.
    pub fn publish(&self, position: u64, correlation_id: u64, payload: &[u8]) -> Result<(), Errno> {
        self.write(position, correlation_id, payload.len() as u64, payload)
    }

    /// As [`publish`](Self::publish), of a payload that lies in the arena.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_far(&self, position: u64, payload: &[u8], offset: u64) -> Result<(), Errno> {
        pwrite(&self.memory, payload, self.arena() + offset)?;
        self.write(position, 0, payload.len() as u64, &offset.to_le_bytes())
    }

    /// The word that publishes comes last.
    fn write(&self, position: u64, correlation_id: u64, len: u64, in_slot: &[u8]) -> Result<(), Errno> {
        let (slot, lap) = self.slot(position);
        pwrite(&self.memory, in_slot, slot + PAYLOAD)?;
        pwrite(&self.memory, [correlation_id, 1].map(u64::to_le_bytes).as_flattened(), slot + 8)?;
        pwrite(&self.memory, &(len << 32 | lap).to_le_bytes(), slot)?;
        Ok(())
    }

    /// Changes bytes of a message that fits its slot, whether it was published or not.
    ///
    /// # Errors
    /// The system's refusal to write.
    pub fn rewrite(&self, position: u64, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        let (slot, _) = self.slot(position);
        pwrite(&self.memory, bytes, slot + PAYLOAD + at).map(drop)
    }

    /// The address of the arena.
    pub fn arena(&self) -> u64 {
        SLOTS + self.shape.slots * self.shape.stride
    }

    /// Whether the message at a position was published.
    ///
    /// # Errors
    /// The system's refusal to read.
    pub fn is_published(&self, position: u64) -> Result<bool, Errno> {
        let (slot, lap) = self.slot(position);
        Ok(word(&self.memory, slot)? & u64::from(u32::MAX) == lap)
    }

    /// A message that was published and fits its slot.
    ///
    /// # Errors
    /// The system's refusal to read.
    pub fn payload(&self, position: u64) -> Result<Vec<u8>, Errno> {
        let (slot, _) = self.slot(position);
        let len = word(&self.memory, slot)? >> 32;
        let mut payload = vec![0; usize::try_from(len).unwrap_or(0)];
        pread(&self.memory, &mut payload, slot + PAYLOAD)?;
        Ok(payload)
    }

    /// The position before which every message has been given back.
    ///
    /// # Errors
    /// The system's refusal to read.
    pub fn released(&self) -> Result<u64, Errno> {
        word(&self.memory, RELEASED)
    }

    /// Gives back every message before a position.
    ///
    /// # Errors
    /// The system's refusal to write.
    pub fn release(&self, position: u64) -> Result<(), Errno> {
        pwrite(&self.memory, &position.to_le_bytes(), RELEASED).map(drop)
    }

    /// Asks the peer to ring at its next publication, and at its next release.
    ///
    /// # Errors
    /// The system's refusal to write.
    pub fn ask_for_rings(&self) -> Result<(), Errno> {
        pwrite(&self.memory, &[1], CONSUMER_PARKED)?;
        pwrite(&self.memory, &[1], PRODUCER_PARKED).map(drop)
    }

    /// The bits that say how the connection ended: 4 for one that a fault ended.
    ///
    /// # Errors
    /// The system's refusal to read.
    pub fn state(&self) -> Result<u64, Errno> {
        Ok(word(&self.memory, STATE)? & u64::from(u32::MAX))
    }
}

fn word(memory: &OwnedFd, at: u64) -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    pread(memory, &mut bytes, at)?;
    Ok(u64::from_le_bytes(bytes))
}

fn socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// A socket that reached the listener at `path`, which is waited for.
///
/// # Errors
/// The system's refusal.
pub fn reach(path: &Path) -> Result<OwnedFd, Errno> {
    loop {
        let socket = socket()?;
        match connect(&socket, &SocketAddrUnix::new(path)?) {
            Ok(()) => return Ok(socket),
            Err(Errno::NOENT | Errno::CONNREFUSED) => std::thread::sleep(Duration::from_millis(2)),
            Err(errno) => return Err(errno),
        }
    }
}

/// A socket that listens at `path`.
///
/// # Errors
/// The system's refusal.
pub fn listener(path: &Path) -> Result<OwnedFd, Errno> {
    let listening = socket()?;
    bind(&listening, &SocketAddrUnix::new(path)?)?;
    listen(&listening, 16)?;
    Ok(listening)
}

/// The next client of a listener.
///
/// # Errors
/// The system's refusal.
pub fn accept(listening: &OwnedFd) -> Result<OwnedFd, Errno> {
    accept_with(listening, SocketFlags::CLOEXEC)
}

/// Waits for a message; gives it with its descriptors. The end is an empty one.
///
/// # Errors
/// The system's refusal.
pub fn hear(socket: &OwnedFd) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(6))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; LONGEST];
    let heard = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)?.bytes;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    Ok((bytes[..heard].to_vec(), rights.flatten().collect()))
}

/// A connection whose handshake is over.
#[derive(Debug)]
pub struct Connection {
    /// Ours.
    pub socket: OwnedFd,
    /// Its rings: one of a bus; forward and reverse of RPC.
    pub rings: Vec<Segment>,
}

impl Connection {
    /// Goes through the handshake as a connector, to an end of a connection.
    ///
    /// # Errors
    /// The system's refusal, or the listener's (`CONNREFUSED`).
    pub fn connect(path: &Path, kind: u8, role: u8) -> Result<Self, Errno> {
        let socket = reach(path)?;
        say(&socket, &hello(kind, role))?;
        let (message, memory) = hear(&socket)?;
        if message.get(6) != Some(&2) {
            return Err(Errno::CONNREFUSED);
        }
        say(&socket, &READY)?;
        let rings = memory.into_iter().map(|memory| Segment::of(kind, memory)).collect::<Result<_, _>>()?;
        Ok(Self { socket, rings })
    }

    /// Goes through the handshake with the next client of a listener, as an end of a connection with rings of
    /// `capacity` bytes.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn accept(listening: &OwnedFd, kind: u8, role: u8, capacity: u64) -> Result<Self, Errno> {
        let socket = accept(listening)?;
        hear(&socket)?;
        let count = if kind == RPC { 2 } else { 1 };
        let rings = (0..count).map(|_| Segment::create(kind, capacity)).collect::<Result<Vec<_>, _>>()?;
        let memory: Vec<_> = rings.iter().map(|ring| ring.memory.as_fd()).collect();
        pass(&socket, &welcome(kind, role, capacity), &memory)?;
        hear(&socket)?;
        Ok(Self { socket, rings })
    }

    /// Rings the peer. A full socket rings already.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn ring(&self) -> Result<(), Errno> {
        match say(&self.socket, &[0; 8]) {
            Err(Errno::AGAIN) => Ok(()),
            outcome => outcome,
        }
    }
}
