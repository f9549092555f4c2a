//! The socket of a connection: the messages of the handshake, the rings after it, and the hang-up at the end.
//!
//! It was made here, by `connect` or `accept`, and never leaves this process, so no peer can hold its lock, fill its
//! buffer from our side or change its flags. What a peer can do is to send descriptors whose closing takes as long as it
//! likes. They are kept out by `SO_PASSRIGHTS` (Linux 6.16) or, before that, by peeking at each message first: one that
//! carries any is never taken, and the socket that holds it is closed by the [`reaper`].
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

/// Bytes of a ring: the time of its sending on `CLOCK_MONOTONIC`, in nanoseconds and little-endian.
pub(crate) const RING_LEN: usize = 8;

/// Rings taken at a time: a correct peer sends one for each arming.
const RINGS_PER_LOOK: u32 = 16;

/// Most descriptors of one message that come in: more than any message of the protocol has.
const MOST_DESCRIPTORS: usize = 8;

/// `SO_PASSRIGHTS` of `asm-generic/socket.h`, where the machine uses that file.
const PASSRIGHTS: Option<libc::c_int> =
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")) { Some(83) } else { None };

/// How passed descriptors are kept out of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rights {
    /// The system refuses them to their sender.
    Refused,
    /// Each message is peeked at before it is taken.
    Peeked,
}

/// A connected socket, or one that is about to connect. Dropping it hangs up.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Taken when it is dropped.
    fd: Option<OwnedFd>,
    rights: Rights,
    owner: u32,
}

/// What came over the socket since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Heard {
    /// At least one ring.
    pub(crate) rang: bool,
    /// The time at which the latest ring was sent, by its sender's word for it.
    pub(crate) sent_at: u64,
    /// There may be more.
    pub(crate) more: bool,
    /// The peer has hung up.
    pub(crate) gone: bool,
}

/// One message of the handshake.
#[derive(Debug)]
pub(crate) struct Packet {
    /// Bytes written to the buffer.
    pub(crate) len: usize,
    /// The message was longer than the buffer, and the rest is lost.
    pub(crate) cut: bool,
    /// Descriptors that were asked for, all of them memory files: closing those cannot wait.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Descriptors of another kind came too, or some where none belong, or more than this process has places for.
    pub(crate) bad_descriptors: Option<BadDescriptors>,
}

/// What is wrong with the descriptors of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadDescriptors {
    /// Some came where none belong.
    Unexpected,
    /// Not all are memory files.
    NotMemory,
    /// More came than any message has.
    TooMany,
    /// This process has no places left for them.
    NoPlace,
}

impl Socket {
    /// A socket that was accepted from a listener for which [`refuse_rights`] gave `refused`.
    pub(crate) fn accepted(fd: OwnedFd, refused: bool) -> Self {
        let rights = if refused { Rights::Refused } else { Rights::Peeked };
        Self { fd: Some(fd), rights, owner: std::process::id() }
    }

    /// A socket that is about to connect.
    pub(crate) fn connecting(fd: OwnedFd) -> Self {
        let refused = refuse_rights(fd.as_fd());
        Self::accepted(fd, refused)
    }

    /// Lets descriptors in from now on, for the one message that carries some.
    pub(crate) fn admit_rights(&mut self) {
        if self.rights == Rights::Refused {
            // If this fails the listener cannot send its welcome, and says so by its end.
            drop(set_rights(self.as_fd(), true));
            self.rights = Rights::Peeked;
        }
    }

    /// Keeps descriptors out again. False when a message lies there already, which may carry some.
    pub(crate) fn refuse_rights(&mut self) -> bool {
        let refused = refuse_rights(self.as_fd());
        // Twice: a message that passed the system's check before the option changed may be queued behind the first look.
        match peek(self.as_fd(), &mut [0; 1]).or_else(|_| peek(self.as_fd(), &mut [0; 1])) {
            Err(Errno::AGAIN) => {
                if refused {
                    self.rights = Rights::Refused;
                }
                true
            }
            // The end, which the next operation reports; or an empty message, behind which others may lie: the socket goes
            // on peeking.
            Ok((0, false)) | Err(_) => true,
            Ok(_) => false,
        }
    }

    /// Rings the peer: it is woken if it sleeps on the socket, or the next time it would. Never waits. False when that
    /// could not be, and the peer still has to be rung.
    pub(crate) fn ring(&self, now: u64) -> bool {
        match send(self, &now.to_le_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            // A full socket rings already, and a closed one has no hearer left.
            Ok(_) | Err(Errno::AGAIN | Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => true,
            Err(_) => false,
        }
    }

    /// Takes the rings that lie there. Never waits.
    ///
    /// # Errors
    /// [`Fault::Socket`] for a message that is no ring; one that carries descriptors is left where it is.
    pub(crate) fn hear(&self) -> Result<Heard, Fault> {
        let mut heard = Heard::default();
        for _ in 0..RINGS_PER_LOOK {
            // One byte more than a ring, which only a longer message fills.
            let mut bytes = [0; RING_LEN + 1];
            // Only a message that was looked at is taken: another one may arrive in between.
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
                // Nothing more, or an end that a poll reports.
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
        // A sequenced-packet socket takes a message whole or not at all.
        if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
    }

    /// Takes one message of the handshake without waiting. Descriptors come in only if `expected`; a message that carries
    /// some where none belong is left where it is.
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

    /// Copies the descriptors of the next message while it still lies there: so this thread never drops the last
    /// reference to one, neither if they find no place here nor if they are refused.
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
                // Asked first, since it is answered for every kind of file without waiting.
                let memory = rustix::fs::fcntl_get_seals(&descriptor).is_ok();
                if memory { packet.descriptors.push(descriptor) } else { others.push(descriptor) }
            }
        }
        if peeked.flags.contains(ReturnFlags::CTRUNC) {
            // The message keeps them all, and the socket that keeps the message goes to the reaper.
            let all = packet.descriptors.len() + others.len() >= MOST_DESCRIPTORS;
            // Closing one may wait although the message has another reference: a user's file system hears of each.
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

    /// Hangs up: both sides read what lies there, and then the end.
    pub(crate) fn hang_up(&self) {
        // An error means that the peer hung up first.
        let _ = shutdown(self, Shutdown::Both);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let Some(fd) = self.fd.take() else { return };
        // A forked child has a copy of its parent's socket, which is no last reference and not its own to shut down.
        if self.rights == Rights::Refused || self.owner != std::process::id() {
            return;
        }
        // Nothing is added after this.
        let _ = shutdown(&fd, Shutdown::Both);
        // From now on each message shows its sender's credentials, so that an empty one is told from the end.
        if sockopt::set_socket_passcred(&fd, true).is_err() {
            return reaper::close(fd);
        }
        loop {
            match next_at_end(fd.as_fd()) {
                Ok(Next::Plain) => {
                    // What was just looked at is taken; an error is for the next look.
                    let _ = recv(&fd, &mut [0; 1][..], RecvFlags::DONTWAIT);
                }
                Ok(Next::End) => return,
                // The kernel tells of a reset once, and keeps the messages behind it.
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

/// Has the system refuse descriptors to a socket's peer, and to those of the sockets accepted from it; false when it
/// cannot.
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
    // SAFETY: the descriptor is open for the length of the borrow, and `value` is readable for the `len` bytes announced.
    let outcome =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), len) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Looks at the next message without taking it: its bytes as far as they fit, and whether it carries descriptors, none of
/// which comes in or is closed.
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
    // Room for the credentials and nothing else.
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
