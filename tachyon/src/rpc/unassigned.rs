//! An RPC connection whose sides have not taken their roles.

use std::path::Path;

use super::callee::Callee;
use super::caller::Caller;
use crate::connection::{self, Established, State, WrongDirection};
use crate::handshake::{ConnectError, Kind, ListenError, Role};
use crate::options::Options;

/// A connected pair of rings whose sides have not yet taken the role of caller or callee.
///
/// [`Caller`] and [`Callee`] take their role when they connect, which is right for most programs. `RpcBus` is for
/// programs that learn their role later, such as Python's `RpcBus`, whose first operation decides.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("rpc.sock");
/// use tachyon::{Caller, RpcBus};
/// # let connect_to = path.clone();
///
/// let peer = std::thread::spawn(move || Caller::connect(&connect_to));
/// let bus = RpcBus::listen(&path, 4096, 4096)?;
/// let callee = bus.into_callee()?; // the peer calls
/// # drop(callee);
/// # peer.join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping a bus closes it"]
pub struct RpcBus {
    established: Established,
}

impl RpcBus {
    /// Makes a connection with `forward` bytes for requests and `reverse` bytes for replies at `path`, and waits for a
    /// peer.
    ///
    /// # Errors
    /// [`ListenError`]: a capacity that is not a power of two, a path that cannot be listened at, a lack of memory.
    pub fn listen(path: impl AsRef<Path>, forward: usize, reverse: usize) -> Result<Self, ListenError> {
        Self::listen_with(path, forward, reverse, &Options::new())
    }

    /// As [`listen`](Self::listen), with [`Options`].
    ///
    /// # Errors
    /// As [`listen`](Self::listen), and when the options' timeout passes first.
    pub fn listen_with(
        path: impl AsRef<Path>,
        forward: usize,
        reverse: usize,
        options: &Options,
    ) -> Result<Self, ListenError> {
        Ok(Self {
            established: connection::listen(path.as_ref(), Kind::Rpc, Role::Either, &[forward, reverse], options)?,
        })
    }

    /// Connects to the listener at `path`, waiting up to 5 seconds for it to appear.
    ///
    /// # Errors
    /// [`ConnectError`]: no process listens, or the listener is of another kind, version or user.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::connect_with(path, &Options::new())
    }

    /// As [`connect`](Self::connect), with [`Options`].
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, ConnectError> {
        connection::connect(path.as_ref(), Kind::Rpc, Role::Either, options).map(Self::over)
    }

    pub(crate) fn over(established: Established) -> Self {
        Self { established }
    }

    /// Becomes the calling end.
    ///
    /// # Errors
    /// [`WrongDirection`] when the peer is the caller. The connection is closed then.
    pub fn into_caller(self) -> Result<Caller, WrongDirection> {
        self.to_caller()
    }

    /// Becomes the answering end.
    ///
    /// # Errors
    /// [`WrongDirection`] when the peer is the callee. The connection is closed then.
    pub fn into_callee(self) -> Result<Callee, WrongDirection> {
        self.to_callee()
    }

    /// How the connection is doing. Costs a system call.
    pub fn state(&self) -> State {
        self.established.connection.state()
    }

    pub(crate) fn to_caller(&self) -> Result<Caller, WrongDirection> {
        self.established.take_source("caller")?;
        Ok(Caller::over(&self.established))
    }

    pub(crate) fn to_callee(&self) -> Result<Callee, WrongDirection> {
        self.established.take_sink("callee")?;
        Ok(Callee::over(&self.established))
    }

    pub(crate) fn established(&self) -> &Established {
        &self.established
    }
}
