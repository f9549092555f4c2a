//! The socket of a connection: the messages of the handshake, then ring messages, and the hang-up at the end.
//!
//! This process made its end, by `connect` or `accept`, and never passes it on. So no peer can hold the lock of this
//! end, fill its buffer or change its flags. But a peer can send descriptors whose close takes any time.
//! `SO_PASSRIGHTS` (Linux 6.16) keeps them out. On older systems the socket peeks at each message first: a message with
//! descriptors is never taken, and the [`reaper`] closes the socket that holds it.
//! `docs/decisions/0020-the-socket-is-the-bell.md` compares the candidates.
#![allow(unsafe_code, reason = "one socket option has no safe wrapper")]

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, Shutdown, recv, recvmsg, send, sendmsg, shutdown, sockopt,
};

use super::reaper;
use crate::ring::Fault;

/// Bytes of a ring message: the sending time in nanoseconds of `CLOCK_MONOTONIC`, little-endian.
pub(crate) const RING_LEN: usize = 8;

/// Most ring messages taken at one look. A correct peer sends one for each arming.
const RINGS_PER_LOOK: u32 = 16;

/// Most descriptors taken from one message; no message of the protocol has as many.
const MOST_DESCRIPTORS: usize = 8;

/// `SO_PASSRIGHTS` of `asm-generic/socket.h`, on the architectures that use this file.
const PASSRIGHTS: Option<libc::c_int> =
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")) { Some(83) } else { None };

/// How the socket keeps passed descriptors out of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    /// The system refuses them to the sender.
    Refused,
    /// The socket peeks at each message before it takes the message.
    Peeked,
}

/// A connected or connecting socket. Dropping it hangs up.
#[derive(Debug)]
pub(crate) struct Socket {
    /// `None` only during the drop.
    fd: Option<OwnedFd>,
    rights: Rights,
    owner: u32,
}

/// The messages on the socket since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Heard {
    /// Whether there was a ring message.
    pub(crate) rang: bool,
    /// The latest sending time that a ring message states. The peer may lie.
    pub(crate) sent_at: u64,
    /// Whether there may be more.
    pub(crate) more: bool,
    /// Whether the peer has hung up.
    pub(crate) gone: bool,
}

/// One message of the handshake.
#[derive(Debug)]
pub(crate) struct Packet {
    /// Bytes in the buffer.
    pub(crate) len: usize,
    /// Whether the message was longer than the buffer, so that its end is lost.
    pub(crate) cut: bool,
    /// The expected descriptors, all of memory files, whose close cannot block.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// The problem with the other descriptors, if there is one.
    pub(crate) bad_descriptors: Option<BadDescriptors>,
}

/// A problem with the descriptors of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadDescriptors {
    /// The message should carry no descriptors.
    Unexpected,
    /// Some are not memory files.
    NotMemory,
    /// There are more than in any message of the protocol.
    TooMany,
    /// This process has too few free descriptors.
    NoPlace,
}

impl Socket {
    /// An accepted socket; [`refuse_rights`] of its listener returned `refused`.
    pub(crate) fn accepted(fd: OwnedFd, refused: bool) -> Self {
        let rights = if refused { Rights::Refused } else { Rights::Peeked };
        Self { fd: Some(fd), rights, owner: std::process::id() }
    }

    /// A socket before it connects.
    pub(crate) fn connecting(fd: OwnedFd) -> Self {
        let refused = refuse_rights(fd.as_fd());
        Self::accepted(fd, refused)
    }

    /// Lets descriptors in, for the welcome.
    pub(crate) fn admit_rights(&mut self) {
        if self.rights == Rights::Refused {
            // On failure the listener cannot send its welcome, and hangs up.
            drop(set_rights(self.as_fd(), true));
            self.rights = Rights::Peeked;
        }
    }

    /// Keeps descriptors out again. False when a message is already queued, which may carry descriptors.
    pub(crate) fn refuse_rights(&mut self) -> bool {
        let refused = refuse_rights(self.as_fd());
        // Twice: a message that passed the system's check before the option changed may be queued after the first look.
        match peek(self.as_fd(), &mut [0; 1]).or_else(|_| peek(self.as_fd(), &mut [0; 1])) {
            Err(Errno::AGAIN) => {
                if refused {
                    self.rights = Rights::Refused;
                }
                true
            }
            // The next operation reports an end. An empty message may have others behind it, so the socket still peeks.
            Ok((0, false)) | Err(_) => true,
            Ok(_) => false,
        }
    }

    /// Rings the peer, which wakes now or at its next sleep. Never waits. False when the peer still has to be rung.
    pub(crate) fn ring(&self, now: u64) -> bool {
        match send(self, &now.to_le_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            // A full socket wakes the peer already, and a closed socket has no reader.
            Ok(_) | Err(Errno::AGAIN | Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => true,
            Err(_) => false,
        }
    }

    /// Takes the queued ring messages. Never waits.
    ///
    /// # Errors
    /// [`Fault::Socket`] for a message that is no ring message. A message with descriptors stays queued.
    pub(crate) fn hear(&self) -> Result<Heard, Fault> {
        let mut heard = Heard::default();
        for _ in 0..RINGS_PER_LOOK {
            // One byte more than a ring message, to notice a longer message.
            let mut bytes = [0; RING_LEN + 1];
            // Each take follows a peek at the same message: the next message may carry descriptors.
            let looked = if self.rights == Rights::Peeked { peek(self.as_fd(), &mut bytes) } else { Ok((0, false)) };
            match looked {
                Ok((_, false)) => {}
                Ok((len, true)) => return Err(Fault::Socket { len, descriptors: true }),
                Err(Errno::CONNRESET) => {
                    heard.gone = true;
                    return Ok(heard);
                }
                Err(_) => return Ok(heard),
            }
            match recv(self, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) | Err(Errno::CONNRESET) => {
                    heard.gone = true;
                    return Ok(heard);
                }
                Ok((RING_LEN, _)) => {
                    let sent_at = bytes.first_chunk().map_or(0, |nanos| u64::from_le_bytes(*nanos));
                    heard.sent_at = heard.sent_at.max(sent_at);
                    heard.rang = true;
                }
                Ok((len, _)) => return Err(Fault::Socket { len, descriptors: false }),
                // No more messages, or an end, which a poll reports.
                Err(_) => return Ok(heard),
            }
        }
        heard.more = true;
        Ok(heard)
    }

    /// Sends one message of the handshake without waiting and without `SIGPIPE`.
    pub(crate) fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::TOOBIG);
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = sendmsg(self, &[IoSlice::new(bytes)], &mut control, flags)?;
        // A sequenced-packet socket sends the whole message or nothing.
        if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
    }

    /// Takes one message of the handshake without waiting. Descriptors come in only if `expected`; otherwise a message
    /// with descriptors stays queued.
    pub(crate) fn receive(&self, buffer: &mut [u8], expected: bool) -> Result<Packet, Errno> {
        if expected {
            return self.receive_with_descriptors(buffer);
        }
        if self.rights == Rights::Peeked {
            let (len, carries) = peek(self.as_fd(), buffer)?;
            if carries {
                let bad_descriptors = Some(BadDescriptors::Unexpected);
                return Ok(Packet { len, cut: false, descriptors: Vec::new(), bad_descriptors });
            }
        }
        let (len, cut) = self.take(buffer)?;
        Ok(Packet { len, cut, descriptors: Vec::new(), bad_descriptors: None })
    }

    /// Takes a message without its descriptors.
    fn take(&self, buffer: &mut [u8]) -> Result<(usize, bool), Errno> {
        let mut control = RecvAncillaryBuffer::default();
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let received = recvmsg(self, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
        Ok((received.bytes, received.flags.contains(ReturnFlags::TRUNC)))
    }

    /// Copies the descriptors of the next message before it takes the message. So this thread never drops the last
    /// reference to a descriptor, not even without free descriptors or after a rejection.
    fn receive_with_descriptors(&self, buffer: &mut [u8]) -> Result<Packet, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT | RecvFlags::PEEK;
        let peeked = recvmsg(self, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
        let mut packet = Packet { len: peeked.bytes, cut: false, descriptors: Vec::new(), bad_descriptors: None };
        let mut others = Vec::new();
        for message in control.drain() {
            let RecvAncillaryMessage::ScmRights(rights) = message else { continue };
            for descriptor in rights {
                // This question never blocks, for any kind of file.
                let memory = rustix::fs::fcntl_get_seals(&descriptor).is_ok();
                if memory { packet.descriptors.push(descriptor) } else { others.push(descriptor) }
            }
        }
        if peeked.flags.contains(ReturnFlags::CTRUNC) {
            // The message still holds all descriptors, and the reaper closes the socket that holds the message.
            let all = packet.descriptors.len() + others.len() >= MOST_DESCRIPTORS;
            // A close may block although the message has another reference: a user's file system learns of each close.
            others.into_iter().for_each(reaper::close);
            packet.bad_descriptors = Some(if all { BadDescriptors::TooMany } else { BadDescriptors::NoPlace });
            return Ok(packet);
        }
        if !others.is_empty() {
            packet.bad_descriptors = Some(BadDescriptors::NotMemory);
        }
        let taken = self.take(buffer);
        others.into_iter().for_each(reaper::close);
        (packet.len, packet.cut) = taken?;
        Ok(packet)
    }

    /// Hangs up: both sides read the queued messages, then the end.
    pub(crate) fn hang_up(&self) {
        // An error means that the peer has hung up first.
        let _ = shutdown(self, Shutdown::Both);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let Some(fd) = self.fd.take() else { return };
        // A forked child has a copy of its parent's socket: not the last reference, and not the child's to shut down.
        if self.rights == Rights::Refused || self.owner != std::process::id() {
            return;
        }
        // After this, no message is added.
        let _ = shutdown(&fd, Shutdown::Both);
        // From now on each message shows its sender's credentials, which tells an empty message from the end.
        if sockopt::set_socket_passcred(&fd, true).is_err() {
            return reaper::close(fd);
        }
        loop {
            match next_at_end(fd.as_fd()) {
                Ok(Next::Plain) => {
                    // Takes the message of the peek; the next peek finds an error.
                    let _ = recv(&fd, &mut [0; 1][..], RecvFlags::DONTWAIT);
                }
                Ok(Next::End) => return,
                // The kernel reports a reset once, and keeps the messages behind it.
                Err(Errno::CONNRESET | Errno::INTR) => {}
                Ok(Next::WithDescriptors) | Err(_) => return reaper::close(fd),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("taken only when the socket is dropped").as_fd()
    }
}

/// Makes the system refuse descriptors from the peers of a socket and of sockets accepted from it; false when the
/// system cannot.
pub(crate) fn refuse_rights(socket: BorrowedFd<'_>) -> bool {
    set_rights(socket, false).is_ok()
}

fn set_rights(socket: BorrowedFd<'_>, admitted: bool) -> io::Result<()> {
    #[cfg(test)]
    if tests::AS_BEFORE_6_16.get() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let Some(option) = PASSRIGHTS else { return Err(io::ErrorKind::Unsupported.into()) };
    let value = libc::c_int::from(admitted);
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the descriptor is open for the length of the borrow, and `value` is readable for `len` bytes.
    let outcome =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), len) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Peeks at the next message: copies the bytes that fit, and returns their number and whether the message carries
/// descriptors. No descriptor comes in or is closed.
fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, bool), Errno> {
    let mut control = RecvAncillaryBuffer::default();
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let peeked = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    Ok((peeked.bytes, peeked.flags.contains(ReturnFlags::CTRUNC)))
}

/// The next message of a socket that shows credentials.
enum Next {
    Plain,
    WithDescriptors,
    End,
}

fn next_at_end(socket: BorrowedFd<'_>) -> Result<Next, Errno> {
    // Room for the credentials alone, so that descriptors set `CTRUNC`.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let peeked = recvmsg(socket, &mut [IoSliceMut::new(&mut [0; 1])], &mut control, flags)?;
    Ok(if peeked.flags.contains(ReturnFlags::CTRUNC) {
        Next::WithDescriptors
    } else if control.drain().next().is_some() {
        Next::Plain
    } else {
        Next::End
    })
}

#[cfg(test)]
pub(crate) mod tests;
