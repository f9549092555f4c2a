//! What an event loop watches: the steps of `ring::parked`, with the loop in `poll`'s place.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::epoll;

use crate::connection::Established;
use crate::handshake::ConnectError;
use crate::handshake::{Connecting, Kind, Role};
use crate::options::Options;
use crate::rpc::CallError;
use crate::rpc::{Caller, RpcBus};
use crate::wait::Deadline;

/// A descriptor that is readable while something happened on a caller's connection: a reply, room, its peer's end, its
/// close. It keeps nothing of the connection alive.
#[derive(Debug)]
pub struct Readiness {
    epoll: OwnedFd,
}

impl Readiness {
    /// Watches a caller's connection.
    ///
    /// # Errors
    /// The system's refusal, such as too many open descriptors.
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

/// A bus that connects, in steps that never wait. Dropping it ends the attempt.
#[derive(Debug)]
pub struct ConnectingBus {
    connecting: Connecting,
    options: Options,
}

impl ConnectingBus {
    /// Begins to connect, for as long as the options allow.
    ///
    /// # Errors
    /// As [`RpcBus::connect_with`].
    pub fn new(path: &Path, options: &Options) -> Result<Self, ConnectError> {
        let connecting = Connecting::new(path, Kind::Rpc, Role::Either, options)?;
        Ok(Self { connecting, options: options.clone() })
    }

    /// Takes the next step; gives the bus when it is connected.
    ///
    /// # Errors
    /// As [`RpcBus::connect_with`].
    pub fn step(&mut self) -> Result<Option<RpcBus>, ConnectError> {
        let link = self.connecting.step()?;
        Ok(link.map(|link| RpcBus::over(Established::new(link, &self.options))))
    }

    /// What the next step waits for: this descriptor to be readable, if there is one, and this time to pass.
    pub fn as_awaited(&self) -> (Option<BorrowedFd<'_>>, Option<Duration>) {
        self.connecting.as_awaited()
    }
}

/// A caller that connects again, in steps that never wait. Dropping it ends the attempt.
#[derive(Debug)]
pub struct Reconnecting {
    connecting: Option<Connecting>,
}

impl Reconnecting {
    /// Begins to connect a caller again whose connection has ended, for as long as its options allow.
    ///
    /// # Errors
    /// As [`Caller::call_timeout`].
    pub fn new(caller: &mut Caller) -> Result<Self, CallError> {
        Ok(Self { connecting: caller.connecting(Deadline::never())? })
    }

    /// Takes the next step; true when the caller has its new connection.
    ///
    /// # Errors
    /// As [`Caller::call_timeout`].
    pub fn step(&mut self, caller: &mut Caller) -> Result<bool, CallError> {
        let Some(connecting) = &mut self.connecting else { return Ok(true) };
        let outcome = match connecting.step() {
            Ok(None) => return Ok(false),
            Ok(Some(link)) => Ok(link),
            Err(error) => Err(error),
        };
        self.connecting = None;
        caller.replace(outcome).map_err(|source| CallError::reconnecting(source, Deadline::never()))?;
        Ok(true)
    }

    /// What the next step waits for: this descriptor to be readable, if there is one, and this time to pass.
    pub fn as_awaited(&self) -> (Option<BorrowedFd<'_>>, Option<Duration>) {
        self.connecting.as_ref().map_or((None, Some(Duration::ZERO)), Connecting::as_awaited)
    }

    /// The error of a call whose own time runs out while no process listens.
    pub fn missing(&self) -> Option<CallError> {
        let missing = self.connecting.as_ref()?.missing()?;
        Some(CallError::reconnecting(missing, Deadline::never()))
    }
}
