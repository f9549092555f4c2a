//! A bus whose direction is unassigned.

use std::path::Path;

use super::receiver::Receiver;
use super::sender::Sender;
use crate::connection::{self, Established, State, WrongDirection};
use crate::handshake::{ConnectError, Kind, ListenError, Role};
use crate::options::Options;

/// A connected bus whose direction is unassigned: this side becomes its sender or its receiver later.
///
/// Most programs connect a [`Sender`] or a [`Receiver`], which have their direction from the start. Python's `Bus` is
/// an unassigned bus: its first operation decides.
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
    /// Makes a bus of `capacity` bytes at `path`, and waits for a peer to connect. A capacity is a power of two, and
    /// the longest message has this length.
    ///
    /// # Errors
    /// [`ListenError`]: a capacity that is not a power of two, an unusable path, or too little memory.
    pub fn listen(path: impl AsRef<Path>, capacity: usize) -> Result<Self, ListenError> {
        Self::listen_with(path, capacity, &Options::new())
    }

    /// As [`listen`](Self::listen), with [`Options`].
    ///
    /// # Errors
    /// As [`listen`](Self::listen), and [`ListenError::TimedOut`] after the timeout of the options.
    pub fn listen_with(path: impl AsRef<Path>, capacity: usize, options: &Options) -> Result<Self, ListenError> {
        Ok(Self { established: connection::listen(path.as_ref(), Kind::Bus, Role::Either, &[capacity], options)? })
    }

    /// Connects to the listener at `path`, and waits up to 5 seconds for a listener.
    ///
    /// # Errors
    /// [`ConnectError`]: no process listens, or the listener has another kind, version or user.
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
    /// [`WrongDirection`] when the peer is the sender; the bus is closed.
    pub fn into_sender(self) -> Result<Sender, WrongDirection> {
        self.to_sender()
    }

    /// Becomes the receiving end.
    ///
    /// # Errors
    /// [`WrongDirection`] when the peer is the receiver; the bus is closed.
    pub fn into_receiver(self) -> Result<Receiver, WrongDirection> {
        self.to_receiver()
    }

    /// The state of the connection. Costs a system call.
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
