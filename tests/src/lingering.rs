//! Descriptors whose closing takes long, as a hostile peer passes them.

use std::io::{self, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;

use crate::wire;

/// How long the last close of a [`Lingering`] descriptor takes.
pub const LINGERS: Duration = Duration::from_secs(20);

/// A descriptor whose last close takes [`LINGERS`]: a TCP socket with unsent bytes.
#[derive(Debug)]
pub struct Lingering {
    socket: TcpStream,
    /// Never reads. When this end is closed, the close of `socket` no longer lingers.
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

    /// Passes the descriptor to the peer with a message. The peer then has the only copy, whose close lingers for as
    /// long as the returned stream is open.
    ///
    /// # Errors
    /// The system's refusal: `PERM` if the kernel refuses descriptors for the peer.
    pub fn pass(self, socket: impl AsFd, bytes: &[u8]) -> Result<TcpStream, Errno> {
        self.pass_with(socket, bytes, &[])
    }

    /// Passes the descriptor as [`pass`](Self::pass) does, after the descriptors `before`.
    ///
    /// # Errors
    /// The system's refusal: `PERM` if the kernel refuses descriptors for the peer.
    pub fn pass_with(self, socket: impl AsFd, bytes: &[u8], before: &[BorrowedFd<'_>]) -> Result<TcpStream, Errno> {
        let socket = clone(socket.as_fd())?;
        let before = before.iter().map(|descriptor| clone(*descriptor)).collect::<Result<Vec<_>, _>>()?;
        let bytes = bytes.to_vec();
        let (sender, receiver) = channel();
        // In a thread of its own, whose copy lingers if the peer closes its copy first.
        std::thread::spawn(move || {
            let Self { socket: lingers, other } = self;
            let all: Vec<_> = before.iter().map(AsFd::as_fd).chain([lingers.as_fd()]).collect();
            match wire::pass(socket, &bytes, &all) {
                Ok(()) => drop(sender.send(Ok(other))),
                Err(errno) => {
                    // In this order: without its peer, the close of `lingers` returns at once.
                    drop(other);
                    drop(lingers);
                    drop(sender.send(Err(errno)));
                }
            }
        });
        receiver.recv().unwrap_or(Err(Errno::IO))
    }
}

fn clone(descriptor: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    rustix::io::fcntl_dupfd_cloexec(descriptor, 0)
}
