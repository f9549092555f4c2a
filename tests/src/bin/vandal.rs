//! A peer that speaks the handshake by itself, and then does to the shared memory what its descriptor allows.

use std::error::Error;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FallocateFlags, SealFlags, fallocate, fcntl_add_seals, fstat, ftruncate};
use rustix::io::{Errno, pread, pwrite};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendFlags,
    SocketAddrUnix, SocketFlags, SocketType, recvmsg, send, sendmsg, socket_with,
};

type Outcome = Result<(), Box<dyn Error>>;

/// Where things lie in a segment; `docs/wire-format.md`.
const RELEASED: u64 = 384;
const SLOTS: u64 = 4096;
const SLOT: u64 = 64;
const ARENA: u64 = SLOTS + 64 * SLOT;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, path] = &arguments[..] else { return Err("usage: vandal sender|receiver PATH".into()) };
    let sends = role == "sender";
    let (socket, [memory, data, _room]) = connect(Path::new(path), if sends { 1 } else { 2 })?;
    report(&resize(&memory)?);
    if sends {
        publish(&memory, 0, b"intact", None)?;
        ring(&data);
        punch(&memory, ARENA, 4096)?;
        publish(&memory, 1, &[7; 100], Some(128))?;
        ring(&data);
        while released(&memory)? < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
    } else {
        // Until the sender has filled its ring.
        while sequence(&memory, 63)? != 64 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    punch(&memory, 0, fstat(&memory)?.st_size.cast_unsigned())?;
    report("holed");
    ring(&data);
    // Until the other side hangs up, or kills us.
    let mut byte = [0];
    while rustix::net::recv(&socket, &mut byte[..], RecvFlags::empty())?.0 > 0 {}
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is how a test hears of its peer")]
fn report(what: &str) {
    println!("{what}");
}

/// The handshake of a connector: a hello for one end of a bus, a welcome with three descriptors, ready.
fn connect(path: &Path, role: u8) -> Result<(OwnedFd, [OwnedFd; 3]), Box<dyn Error>> {
    let socket = loop {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
            Ok(()) => break socket,
            Err(Errno::NOENT | Errno::CONNREFUSED) => std::thread::sleep(Duration::from_millis(2)),
            Err(errno) => return Err(errno.into()),
        }
    };
    let prefix = |tag| [b'T', b'C', b'H', b'Y', 1, 0, tag, 0];
    let hello =
        [IoSlice::new(&prefix(1)), IoSlice::new(&[1, role, 0, 0, 0, 0, 0, 0])].map(|part| part.to_vec()).concat();
    sendmsg(&socket, &[IoSlice::new(&hello)], &mut SendAncillaryBuffer::default(), SendFlags::empty())?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(6))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut welcome = [0; 256];
    recvmsg(&socket, &mut [IoSliceMut::new(&mut welcome)], &mut control, RecvFlags::empty())?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let descriptors: Vec<OwnedFd> = rights.flatten().collect();
    let descriptors = descriptors.try_into().map_err(|_| "not welcomed with three descriptors")?;
    send(&socket, &prefix(4), SendFlags::empty())?;
    Ok((socket, descriptors))
}

/// Every way to change the file's size, or to take the right to write from whoever has it mapped.
fn resize(memory: &OwnedFd) -> Result<String, Box<dyn Error>> {
    let len = fstat(memory)?.st_size.cast_unsigned();
    let outcomes = [
        ("empty", ftruncate(memory, 0)),
        ("shrink", ftruncate(memory, len - 1)),
        ("grow", ftruncate(memory, len * 2)),
        ("allocate", fallocate(memory, FallocateFlags::empty(), len, 4096)),
        ("append", pwrite(memory, &[1], len).map(drop)),
        ("seal writing", fcntl_add_seals(memory, SealFlags::WRITE)),
        ("seal later writing", fcntl_add_seals(memory, SealFlags::FUTURE_WRITE)),
        ("collapse", fallocate(memory, FallocateFlags::COLLAPSE_RANGE, 0, 4096)),
        ("insert", fallocate(memory, FallocateFlags::INSERT_RANGE, 0, 4096)),
    ];
    let done: Vec<&str> = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(what, _)| *what).collect();
    if fstat(memory)?.st_size.cast_unsigned() != len {
        return Err("the size has changed".into());
    }
    Ok(if done.is_empty() { "nothing".to_owned() } else { done.join(", ") })
}

fn punch(memory: &OwnedFd, from: u64, len: u64) -> Outcome {
    Ok(fallocate(memory, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, len)?)
}

/// One message, as a producer leaves it; a long one with its payload at `offset` of the arena.
fn publish(memory: &OwnedFd, position: u64, payload: &[u8], offset: Option<u64>) -> Outcome {
    let slot = SLOTS + position % 64 * SLOT;
    let len = u32::try_from(payload.len())?;
    pwrite(memory, &0u64.to_le_bytes(), slot + 8)?;
    pwrite(memory, &0u32.to_le_bytes(), slot + 16)?;
    pwrite(memory, &len.to_le_bytes(), slot + 20)?;
    match offset {
        None => pwrite(memory, payload, slot + 24)?,
        Some(offset) => {
            pwrite(memory, &offset.to_le_bytes(), slot + 24)?;
            pwrite(memory, payload, ARENA + offset)?
        }
    };
    pwrite(memory, &(position + 1).to_le_bytes(), slot)?;
    Ok(())
}

fn word(memory: &OwnedFd, at: u64) -> Result<u64, Errno> {
    let mut bytes = [0; 8];
    pread(memory, &mut bytes, at)?;
    Ok(u64::from_le_bytes(bytes))
}

fn released(memory: &OwnedFd) -> Result<u64, Errno> {
    word(memory, RELEASED)
}

fn sequence(memory: &OwnedFd, position: u64) -> Result<u64, Errno> {
    word(memory, SLOTS + position % 64 * SLOT)
}

fn ring(bell: &OwnedFd) {
    // A bell that is full rings already.
    let _ = send(bell, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}
