//! The protocol without the library: sockets, handshake messages, and the words of a ring, for peers that break its
//! rules.
//!
//! `docs/internals/wire-format.md` defines the bytes.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::{Errno, pread, pwrite};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, recvmsg, sendmsg,
    socket_with,
};

/// Sends a message with descriptors. Never waits.
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
pub fn send(socket: impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
    pass(socket, bytes, &[])
}

/// The kind of a connection: a bus.
pub const BUS: u8 = 1;
/// The kind of a connection: calls.
pub const RPC: u8 = 2;

/// The end that sends on ring 0.
pub const SOURCE: u8 = 1;
/// The end that receives on ring 0.
pub const SINK: u8 = 2;

/// One byte more than the longest message of the handshake.
const LONGEST: usize = 137;

const fn prefix(tag: u8) -> [u8; 8] {
    [b'T', b'C', b'H', b'Y', 2, 0, tag, 0]
}

/// The last message of a handshake.
pub const READY: [u8; 8] = prefix(4);

/// A hello that asks for no capacities and does not name a time namespace.
pub fn hello(kind: u8, role: u8) -> Vec<u8> {
    [prefix(1), [kind, role, 0, 0, 0, 0, 0, 0], [0; 8]].concat()
}

/// The welcome of a listener in a role, for rings of `capacity` bytes.
pub fn welcome(kind: u8, role: u8, capacity: u64) -> Vec<u8> {
    let rings = if kind == RPC { 2 } else { 1 };
    let ring = [capacity.to_le_bytes(), Shape::of(kind, capacity).len().to_le_bytes()].concat();
    let mut message = [prefix(2), [kind, role, rings, 0, 0, 0, 0, 0]].concat();
    (0..rings).for_each(|_| message.extend(&ring));
    message.resize(48, 0);
    message
}

/// The layout of a segment.
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
const CELLS: u64 = 1024;
const CELL: u64 = 64;
const SLOTS: u64 = 4096;
const PAYLOAD: u64 = 24;

/// A segment, read and written through its descriptor.
#[derive(Debug)]
pub struct Segment {
    /// The memory file.
    pub memory: OwnedFd,
    shape: Shape,
}

impl Segment {
    /// A new segment, as a listener makes it.
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

    /// The offset of the slot of a position, and the position's lap.
    fn slot(&self, position: u64) -> (u64, u64) {
        let Shape { stride, slots, .. } = self.shape;
        (SLOTS + position % slots * stride, (position / slots + 1) & u64::from(u32::MAX))
    }

    /// The number of slots.
    pub fn slots(&self) -> u64 {
        self.shape.slots
    }

    /// Publishes a message whose payload fits the slot, with the type id 1.
    ///
    /// # Errors
    /// The system's refusal to write.
    pub fn publish(&self, position: u64, correlation_id: u64, payload: &[u8]) -> Result<(), Errno> {
        self.publish_as(1, position, correlation_id, payload)
    }

    /// As [`publish`](Self::publish), with another type id.
    ///
    /// # Errors
    /// The system's refusal to write.
    pub fn publish_as(&self, type_id: u32, position: u64, correlation_id: u64, payload: &[u8]) -> Result<(), Errno> {
        self.write(type_id, position, correlation_id, payload.len() as u64, payload)
    }

    /// Publishes a message whose payload lies in the arena at `offset`.
    ///
    /// # Errors
    /// The system's refusal to write.
    pub fn publish_in_arena(&self, position: u64, payload: &[u8], offset: u64) -> Result<(), Errno> {
        pwrite(&self.memory, payload, self.arena() + offset)?;
        self.write(1, position, 0, payload.len() as u64, &offset.to_le_bytes())
    }

    /// Writes a slot: the publication word last.
    fn write(&self, type_id: u32, position: u64, correlation_id: u64, len: u64, in_slot: &[u8]) -> Result<(), Errno> {
        let (slot, lap) = self.slot(position);
        pwrite(&self.memory, in_slot, slot + PAYLOAD)?;
        pwrite(&self.memory, [correlation_id, u64::from(type_id)].map(u64::to_le_bytes).as_flattened(), slot + 8)?;
        pwrite(&self.memory, &(len << 32 | lap).to_le_bytes(), slot)?;
        Ok(())
    }

    /// Overwrites bytes of a payload in its slot, published or not.
    ///
    /// # Errors
    /// The system's refusal to write.
    pub fn rewrite(&self, position: u64, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        let (slot, _) = self.slot(position);
        pwrite(&self.memory, bytes, slot + PAYLOAD + at).map(drop)
    }

    /// The offset of the arena.
    pub fn arena(&self) -> u64 {
        SLOTS + self.shape.slots * self.shape.stride
    }

    /// Whether the message at a position is published.
    ///
    /// # Errors
    /// The system's refusal to read.
    pub fn is_published(&self, position: u64) -> Result<bool, Errno> {
        let (slot, lap) = self.slot(position);
        Ok(word(&self.memory, slot)? & u64::from(u32::MAX) == lap)
    }

    /// The type id of a published message.
    ///
    /// # Errors
    /// The system's refusal to read.
    pub fn type_id(&self, position: u64) -> Result<u32, Errno> {
        let (slot, _) = self.slot(position);
        Ok(u32::try_from(word(&self.memory, slot + 16)? & u64::from(u32::MAX)).unwrap_or(0))
    }

    /// The correlation id of a published message.
    ///
    /// # Errors
    /// The system's refusal to read.
    pub fn correlation_id(&self, position: u64) -> Result<u64, Errno> {
        let (slot, _) = self.slot(position);
        word(&self.memory, slot + 8)
    }

    /// The payload of a published message, which fits the slot.
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

    /// The position before which every message is released.
    ///
    /// # Errors
    /// The system's refusal to read.
    pub fn released(&self) -> Result<u64, Errno> {
        word(&self.memory, RELEASED)
    }

    /// Releases every message before a position.
    ///
    /// # Errors
    /// The system's refusal to write.
    pub fn release(&self, position: u64) -> Result<(), Errno> {
        pwrite(&self.memory, &position.to_le_bytes(), RELEASED).map(drop)
    }

    /// The credit in a cell.
    ///
    /// # Errors
    /// The system's refusal to read.
    pub fn granted(&self, cell: u64) -> Result<u64, Errno> {
        word(&self.memory, CELLS + CELL * cell)
    }

    /// Stores any credit into a cell.
    ///
    /// # Errors
    /// The system's refusal to write.
    pub fn grant(&self, cell: u64, granted: u64) -> Result<(), Errno> {
        pwrite(&self.memory, &granted.to_le_bytes(), CELLS + CELL * cell).map(drop)
    }

    /// Sets both parked words: the peer rings at its next publication and at its next release.
    ///
    /// # Errors
    /// The system's refusal to write.
    pub fn ask_for_rings(&self) -> Result<(), Errno> {
        pwrite(&self.memory, &[1], CONSUMER_PARKED)?;
        pwrite(&self.memory, &[1], PRODUCER_PARKED).map(drop)
    }

    /// The bits of the state word: 4 if a fault ended the connection.
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

/// Connects to the listener at `path`; waits until there is one.
///
/// # Errors
/// The system's refusal.
pub fn connect_raw(path: &Path) -> Result<OwnedFd, Errno> {
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
    listen(&listening, 128)?;
    Ok(listening)
}

/// Accepts the next client of a listener.
///
/// # Errors
/// The system's refusal.
pub fn accept(listening: &OwnedFd) -> Result<OwnedFd, Errno> {
    accept_with(listening, SocketFlags::CLOEXEC)
}

/// Waits for a message with its descriptors. An empty message is the end of the connection.
///
/// # Errors
/// The system's refusal.
pub fn receive(socket: &OwnedFd) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
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

/// A connection after its handshake.
#[derive(Debug)]
pub struct Connection {
    /// This side's socket.
    pub socket: OwnedFd,
    /// The rings: one for a bus; forward and reverse for RPC.
    pub rings: Vec<Segment>,
}

impl Connection {
    /// Connects, and performs the handshake as a connector in a role.
    ///
    /// # Errors
    /// The system's refusal, or `CONNREFUSED` if the listener refuses.
    pub fn connect(path: &Path, kind: u8, role: u8) -> Result<Self, Errno> {
        let socket = connect_raw(path)?;
        send(&socket, &hello(kind, role))?;
        let (message, memory) = receive(&socket)?;
        if message.get(6) != Some(&2) {
            return Err(Errno::CONNREFUSED);
        }
        send(&socket, &READY)?;
        let rings = memory.into_iter().map(|memory| Segment::of(kind, memory)).collect::<Result<_, _>>()?;
        Ok(Self { socket, rings })
    }

    /// Accepts the next client, and performs the handshake as a listener in a role, for rings of `capacity` bytes.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn accept(listening: &OwnedFd, kind: u8, role: u8, capacity: u64) -> Result<Self, Errno> {
        let socket = accept(listening)?;
        receive(&socket)?;
        let count = if kind == RPC { 2 } else { 1 };
        let rings = (0..count).map(|_| Segment::create(kind, capacity)).collect::<Result<Vec<_>, _>>()?;
        let memory: Vec<_> = rings.iter().map(|ring| ring.memory.as_fd()).collect();
        pass(&socket, &welcome(kind, role, capacity), &memory)?;
        receive(&socket)?;
        Ok(Self { socket, rings })
    }

    /// Rings the peer. A socket that is full holds a ring already.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn ring(&self) -> Result<(), Errno> {
        match send(&self.socket, &[0; 8]) {
            Err(Errno::AGAIN) => Ok(()),
            outcome => outcome,
        }
    }
}
