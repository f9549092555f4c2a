//! Whole messages of a handshake over a socket, with one deadline for all of them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::rejection::ProtocolError;
use super::wire::BUFFER_LEN;
use crate::wait::{BadDescriptors, Deadline, INTERRUPT_SLICE, Interrupt, Socket};

/// The reason why a wait ended in vain.
#[derive(Debug)]
pub(super) enum WaitError {
    TimedOut,
    Interrupted,
    /// A system call failed.
    System {
        operation: &'static str,
        source: io::Error,
    },
}

/// The reason why a conversation ended early.
#[derive(Debug)]
pub(super) enum ConversationError {
    Wait(WaitError),
    /// The peer hung up.
    Closed,
    /// The peer hung up without reading all messages, or before it accepted this side.
    Reset,
    Protocol(ProtocolError),
}

impl From<WaitError> for ConversationError {
    fn from(error: WaitError) -> Self {
        Self::Wait(error)
    }
}

impl From<ProtocolError> for ConversationError {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

/// A message's bytes, and the descriptors that came with it.
#[derive(Debug)]
pub(super) struct Message {
    buffer: [u8; BUFFER_LEN],
    len: usize,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Message {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

/// A connected socket, and the deadline of its peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conversation<'a> {
    pub(super) socket: &'a Socket,
    pub(super) deadline: Deadline,
    pub(super) interrupt: Option<Interrupt>,
}

impl Conversation<'_> {
    /// Sends one message with its descriptors.
    pub(super) fn send(&self, bytes: impl AsRef<[u8]>, carried: &[BorrowedFd<'_>]) -> Result<(), ConversationError> {
        loop {
            match self.socket.send(bytes.as_ref(), carried) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => wait_until(self.socket, PollFlags::OUT, self.deadline, self.interrupt)?,
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => return Err(ConversationError::Reset),
                Err(errno) => return Err(system("send a handshake message on", errno).into()),
            }
        }
    }

    /// Waits for the peer's next message. Unless `descriptors` are expected, sending any breaks the protocol.
    pub(super) fn receive(&self, descriptors: bool) -> Result<Message, ConversationError> {
        let mut buffer = [0; BUFFER_LEN];
        let mut reset = false;
        loop {
            match self.socket.receive(&mut buffer, descriptors) {
                // An empty message looks like the end. The protocol has no empty message.
                Ok(packet) if packet.len == 0 => {
                    return Err(if reset { ConversationError::Reset } else { ConversationError::Closed });
                }
                Ok(packet) if packet.cut => return Err(ProtocolError::Oversized.into()),
                Ok(packet) if packet.bad_descriptors == Some(BadDescriptors::NoPlace) => {
                    return Err(system("take the descriptors on", Errno::MFILE).into());
                }
                Ok(packet) if packet.bad_descriptors == Some(BadDescriptors::TooMany) => {
                    return Err(ProtocolError::TooManyDescriptors.into());
                }
                Ok(packet) if packet.bad_descriptors == Some(BadDescriptors::NotMemory) => {
                    return Err(ProtocolError::DescriptorKind.into());
                }
                Ok(packet) if packet.bad_descriptors.is_some() => return Err(ProtocolError::DescriptorsLost.into()),
                Ok(packet) => return Ok(Message { buffer, len: packet.len, descriptors: packet.descriptors }),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => wait_until(self.socket, PollFlags::IN, self.deadline, self.interrupt)?,
                // The kernel reports the reset first, and then delivers the peer's earlier messages.
                Err(Errno::CONNRESET) if !reset => reset = true,
                Err(Errno::CONNRESET) => return Err(ConversationError::Reset),
                Err(errno) => return Err(system("receive a handshake message on", errno).into()),
            }
        }
    }
}

/// Waits until `fd` is ready, or broken: the next operation on `fd` reports that.
pub(super) fn wait_until(
    fd: &impl AsFd,
    ready: PollFlags,
    deadline: Deadline,
    interrupt: Option<Interrupt>,
) -> Result<(), WaitError> {
    loop {
        if interrupt.is_some_and(|asked| asked()) {
            return Err(WaitError::Interrupted);
        }
        let left = deadline.remaining();
        let slice = interrupt.map(|_| INTERRUPT_SLICE);
        let sleep = [left, slice].into_iter().flatten().min();
        // A sleep too long for the kernel becomes a sleep without a limit.
        let timeout = sleep.and_then(|sleep| Timespec::try_from(sleep).ok());
        match poll(&mut [PollFd::new(fd, ready)], timeout.as_ref()) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Err(WaitError::TimedOut),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(system("wait on", errno)),
        }
    }
}

fn system(operation: &'static str, errno: Errno) -> WaitError {
    WaitError::System { operation, source: errno.into() }
}
