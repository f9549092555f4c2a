//! A one-way bus whose direction is still open.

use std::path::Path;

use super::receiver::Receiver;
use super::sender::Sender;
use crate::connection::{self, Established, State, WrongDirection};
use crate::handshake::{ConnectError, ListenError};
use crate::handshake::{Kind, Role};
use crate::options::Options;

/// A connected one-way bus of which neither side has said yet whether it sends or receives.
///
/// [`Sender`] and [`Receiver`] say so when they connect, which is what most programs want. This is for those that
/// learn it later, as Python's `Bus` does: the first operation decides.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("demo.sock");
/// use tachyon::Bus;
/// # let listen_at = path.clone();
///
/// let other = std::thread::spawn(move || -> Result<(), tachyon::Error> {
///     let mut sender = Bus::listen(&listen_at, 4096)?.into_sender()?;
///     sender.send(b"x", 0)?;
///     Ok(())
/// });
/// let mut receiver = Bus::connect(&path)?.into_receiver()?;
/// assert_eq!(&*receiver.recv()?, b"x");
/// other.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping a bus closes it"]
pub struct Bus {
    established: Established,
}

impl Bus {
    /// Makes a bus of `capacity` bytes at `path` and waits for a peer.
    ///
    /// # Errors
    /// [`ListenError`]: a capacity that is not a power of two, a path that cannot be listened at, a lack of memory.
    pub fn listen(path: impl AsRef<Path>, capacity: usize) -> Result<Self, ListenError> {
        Self::listen_with(path, capacity, &Options::new())
    }

    /// As [`listen`](Self::listen), with [`Options`].
    ///
    /// # Errors
    /// As [`listen`](Self::listen), and when the options' timeout passes first.
    pub fn listen_with(path: impl AsRef<Path>, capacity: usize, options: &Options) -> Result<Self, ListenError> {
        Ok(Self { established: connection::listen(path.as_ref(), Kind::Bus, Role::Either, &[capacity], options)? })
    }

    /// Connects to the listener at `path`, waiting up to 5 seconds for it to appear.
    ///
    /// # Errors
    /// [`ConnectError`]: nobody listens, or the listener is of another kind, version or user.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::connect_with(path, &Options::new())
    }

    /// As [`connect`](Self::connect), with [`Options`].
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, ConnectError> {
        Ok(Self { established: connection::connect(path.as_ref(), Kind::Bus, Role::Either, options)? })
    }

    /// Becomes the sending end.
    ///
    /// # Errors
    /// [`WrongDirection`] when the peer is the sender. The bus is closed then.
    pub fn into_sender(self) -> Result<Sender, WrongDirection> {
        self.to_sender()
    }

    /// Becomes the receiving end.
    ///
    /// # Errors
    /// [`WrongDirection`] when the peer is the receiver. The bus is closed then.
    pub fn into_receiver(self) -> Result<Receiver, WrongDirection> {
        self.to_receiver()
    }

    /// How the connection is doing. Costs a system call.
    pub fn state(&self) -> State {
        self.established.connection.state()
    }

    pub(crate) fn to_sender(&self) -> Result<Sender, WrongDirection> {
        self.established.take_source("sender")?;
        Ok(Sender::over(&self.established))
    }

    pub(crate) fn to_receiver(&self) -> Result<Receiver, WrongDirection> {
        self.established.take_sink("receiver")?;
        Ok(Receiver::over(&self.established))
    }

    pub(crate) fn established(&self) -> &Established {
        &self.established
    }
}
