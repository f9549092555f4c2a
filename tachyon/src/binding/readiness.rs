//! Descriptors for event loops: the steps of `ring::parked`, with the event loop in place of `poll`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::epoll;

use crate::connection::Established;
use crate::handshake::{ConnectError, Connecting, Kind, Role};
use crate::options::Options;
use crate::rpc::{CallError, Caller, RpcBus};
use crate::wait::Deadline;

/// A descriptor that is readable after an event on a caller's connection: a ring for a reply or for room, the end of
/// the peer, or the close. It does not keep the connection alive.
#[derive(Debug)]
pub struct Readiness {
    epoll: OwnedFd,
}

impl Readiness {
    /// Watches a caller's connection.
    ///
    /// # Errors
    /// The error of the system, such as too many open descriptors.
    pub fn new(caller: &Caller) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let connection = &caller.core.tx.connection;
        let add = |source: BorrowedFd<'_>, events| epoll::add(&epoll, source, epoll::EventData::new_u64(0), events);
        add(connection.peer.as_fd(), epoll::EventFlags::IN | epoll::EventFlags::RDHUP)?;
        if let Some(process) = connection.peer.process() {
            add(process, epoll::EventFlags::IN)?;
        }
        Ok(Self { epoll })
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Connects a bus, in steps that never wait. The drop ends the attempt.
#[derive(Debug)]
pub struct ConnectingBus {
    connecting: Connecting,
    path: PathBuf,
    options: Options,
}

/// The result of a [`ConnectingBus`].
#[derive(Debug)]
pub enum ConnectedBus {
    /// A bus without a role.
    Either(RpcBus),
    /// A caller that reconnects.
    Caller(Box<Caller>),
}

impl ConnectingBus {
    /// Begins to connect, until the timeout of the options. With the option `reconnect` the result is a caller.
    ///
    /// # Errors
    /// As [`RpcBus::connect_with`].
    pub fn new(path: &Path, options: &Options) -> Result<Self, ConnectError> {
        let role = if options.reconnects() { Role::Source } else { Role::Either };
        let connecting = Connecting::new(path, Kind::Rpc, role, options)?;
        Ok(Self { connecting, path: path.to_owned(), options: options.clone() })
    }

    /// Runs the next step; returns the bus once it is connected.
    ///
    /// # Errors
    /// As [`RpcBus::connect_with`].
    pub fn step(&mut self) -> Result<Option<ConnectedBus>, ConnectError> {
        let Some(pairing) = self.connecting.step()? else { return Ok(None) };
        let established = Established::new(pairing, &self.options);
        Ok(Some(if self.options.reconnects() {
            ConnectedBus::Caller(Box::new(Caller::at(&self.path, &self.options, &established)))
        } else {
            ConnectedBus::Either(RpcBus::over(established))
        }))
    }

    /// The next step is due when this descriptor is readable, or after this time.
    pub fn as_awaited(&self) -> (Option<BorrowedFd<'_>>, Option<Duration>) {
        self.connecting.as_awaited()
    }
}

/// Reconnects a caller, in steps that never wait. The drop ends the attempt.
#[derive(Debug)]
pub struct Reconnecting {
    connecting: Option<Connecting>,
}

impl Reconnecting {
    /// Begins to reconnect a caller whose connection has ended, until the timeout of its options.
    ///
    /// # Errors
    /// As [`Caller::call_timeout`].
    pub fn new(caller: &mut Caller) -> Result<Self, CallError> {
        Ok(Self { connecting: caller.connecting(Deadline::never())? })
    }

    /// Runs the next step; true once the caller has its new connection.
    ///
    /// # Errors
    /// As [`Caller::call_timeout`].
    pub fn step(&mut self, caller: &mut Caller) -> Result<bool, CallError> {
        let Some(connecting) = &mut self.connecting else { return Ok(true) };
        let outcome = match connecting.step() {
            Ok(None) => return Ok(false),
            Ok(Some(pairing)) => Ok(pairing),
            Err(error) => Err(error),
        };
        self.connecting = None;
        caller.replace(outcome).map_err(|source| CallError::reconnecting(source, Deadline::never()))?;
        Ok(true)
    }

    /// The next step is due when this descriptor is readable, or after this time.
    pub fn as_awaited(&self) -> (Option<BorrowedFd<'_>>, Option<Duration>) {
        self.connecting.as_ref().map_or((None, Some(Duration::ZERO)), Connecting::as_awaited)
    }

    /// The error of a call whose deadline passes while no process listens.
    pub fn missing(&self) -> Option<CallError> {
        let missing = self.connecting.as_ref()?.missing()?;
        Some(CallError::reconnecting(missing, Deadline::never()))
    }
}
