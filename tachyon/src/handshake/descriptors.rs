//! Messages with descriptors over a sequenced-packet socket.
//!
//! One call sends or takes one whole message. Received descriptors are owned from the first moment and close-on-exec;
//! those that a caller does not take out are closed.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Descriptors of one ring: its memory, its data doorbell, its room doorbell.
pub(super) const PER_RING: usize = 3;

/// Most descriptors in one message: those of the two rings of an RPC bus.
pub(super) const MAX_DESCRIPTORS: usize = 2 * PER_RING;

/// One message as it arrived.
#[derive(Debug)]
pub(super) struct Packet {
    /// Bytes written to the buffer.
    pub(super) len: usize,
    /// The message was longer than the buffer, and the rest is lost.
    pub(super) cut: bool,
    /// Descriptors were lost: more came than fit, or this process could not take them.
    pub(super) descriptors_lost: bool,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Sends one message without waiting and without `SIGPIPE`.
pub(super) fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOBIG);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)?;
    // A sequenced-packet socket takes a message whole or not at all.
    if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
}

/// Takes one message without waiting. With `descriptors` false, none is let into this process whatever the peer sent.
pub(super) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], descriptors: bool) -> Result<Packet, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let space = if descriptors { &mut space[..] } else { &mut [] };
    let mut control = RecvAncillaryBuffer::new(space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let descriptors = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        })
        .flatten()
        .collect();
    Ok(Packet {
        len: received.bytes,
        cut: received.flags.contains(ReturnFlags::TRUNC),
        descriptors_lost: received.flags.contains(ReturnFlags::CTRUNC),
        descriptors,
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::{FdFlags, fcntl_getfd};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    /// A descriptor and the far end that tells when all copies of the descriptor are closed.
    fn witness() -> (OwnedFd, OwnedFd) {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK).unwrap()
    }

    /// Waits, because a child that another test is just starting may hold copies until it runs its program.
    fn assert_closes(reader: &OwnedFd) {
        let patience = Timespec { tv_sec: 20, tv_nsec: 0 };
        assert_eq!(poll(&mut [PollFd::new(reader, PollFlags::IN)], Some(&patience)), Ok(1));
        assert_eq!(rustix::io::read(reader, &mut [0; 1]), Ok(0));
    }

    #[test]
    fn descriptors_arrive_in_order_and_close_on_exec() {
        let (a, b) = pair();
        let (first, second) = (witness(), witness());
        send(a.as_fd(), b"hi", &[first.1.as_fd(), second.1.as_fd()]).unwrap();
        drop((first.1, second.1));
        let mut buffer = [0; 8];
        let packet = receive(b.as_fd(), &mut buffer, true).unwrap();
        assert_eq!((&buffer[..packet.len], packet.cut, packet.descriptors_lost), (&b"hi"[..], false, false));
        assert_eq!(packet.descriptors.len(), 2);
        for fd in &packet.descriptors {
            assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
        }
        rustix::io::write(&packet.descriptors[0], b"1").unwrap();
        assert_eq!(rustix::io::read(&first.0, &mut [0; 4]), Ok(1));
        assert_eq!(rustix::io::read(&second.0, &mut [0; 4]), Err(Errno::AGAIN));
        drop(packet);
        assert_closes(&first.0);
        assert_closes(&second.0);
    }

    #[test]
    fn descriptors_nobody_asked_for_never_enter() {
        let (a, b) = pair();
        let (reader, writer) = witness();
        send(a.as_fd(), b"hi", &[writer.as_fd()]).unwrap();
        drop(writer);
        let packet = receive(b.as_fd(), &mut [0; 8], false).unwrap();
        assert!(packet.descriptors_lost && packet.descriptors.is_empty());
        assert_closes(&reader);
    }

    #[test]
    fn a_long_message_is_told_apart() {
        let (a, b) = pair();
        send(a.as_fd(), &[7; 9], &[]).unwrap();
        let packet = receive(b.as_fd(), &mut [0; 8], true).unwrap();
        assert!(packet.cut);
        assert_eq!(packet.len, 8);
    }

    #[test]
    fn a_flood_of_descriptors_leaves_none_behind() {
        let (a, b) = pair();
        let (reader, writer) = witness();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(100))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let many = [writer.as_fd(); 100];
        assert!(control.push(SendAncillaryMessage::ScmRights(&many)));
        sendmsg(&a, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
        drop(writer);
        let packet = receive(b.as_fd(), &mut [0; 8], true).unwrap();
        assert!(packet.descriptors_lost);
        drop(packet);
        assert_closes(&reader);
    }

    #[test]
    fn too_many_descriptors_are_not_sent() {
        let (a, _b) = pair();
        let many = [a.as_fd(); MAX_DESCRIPTORS + 9];
        assert_eq!(send(a.as_fd(), b"x", &many), Err(Errno::TOOBIG));
    }
}
