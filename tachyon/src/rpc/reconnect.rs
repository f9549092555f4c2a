//! A caller that outlives its callee.
//!
//! What may be sent twice is not for this file to decide: it only gives a caller whose connection has ended a new one,
//! before something is sent. A request that was published is never sent again from here.

use std::path::{Path, PathBuf};

use rustix::time::{ClockId, Timespec, clock_gettime};

use super::caller::{Caller, keep};
use super::pending::Loss;
use super::undecided::RpcBus;
use crate::bus::{Established, State};
use crate::error::{CallError, ConnectError};
use crate::handshake::Role;
use crate::options::Options;
use crate::wait::Deadline;

/// What it takes to connect again.
#[derive(Debug)]
pub(crate) struct Again {
    path: PathBuf,
    options: Options,
    /// When the peer was last looked for.
    looked: Timespec,
}

impl Again {
    /// `None` when `options` does not ask for it.
    pub(super) fn new(path: &Path, options: &Options) -> Option<Box<Self>> {
        options.reconnects().then(|| Box::new(Self { path: path.to_owned(), options: options.clone(), looked: tick() }))
    }
}

/// The present tick of the system's clock, some 1 to 4 ms long; far cheaper than the time itself.
fn tick() -> Timespec {
    clock_gettime(ClockId::MonotonicCoarse)
}

/// Connects by `deadline`, to a path where one server may be dying and the next one not yet there: a listener that hangs
/// up in the middle of the handshake is waited out as a missing one is.
fn connect(path: &Path, options: &Options, deadline: Deadline) -> Result<Established, ConnectError> {
    let limit = deadline.remaining().map_or(options.connect_timeout(), |left| left.min(options.connect_timeout()));
    RpcBus::connect_as(path, Role::Source, &options.clone().timeout(limit).reconnect(true))
}

impl CallError {
    /// What becomes of a call that was due by `deadline` when connecting again failed.
    pub(crate) fn reconnecting(source: ConnectError, deadline: Deadline) -> Self {
        match source {
            ConnectError::Interrupted { .. } => Self::Interrupted,
            _ if deadline.has_passed() => Self::TimedOut,
            source => Self::Reconnect(Box::new(source)),
        }
    }
}

impl Caller {
    /// As [`connect_with`](Self::connect_with), by `deadline` and past a server that is just ending.
    pub(crate) fn connect_by(path: &Path, options: &Options, deadline: Deadline) -> Result<Self, ConnectError> {
        let mut caller = Self::over(&connect(path, options, deadline)?);
        caller.again = Again::new(path, options);
        Ok(caller)
    }

    /// Whether this caller connects again when its connection has ended.
    pub(crate) fn reconnects(&self) -> bool {
        self.again.is_some()
    }

    /// Connects again if the connection is found at its end, before something is sent over it.
    #[inline]
    pub(crate) fn revive(&mut self, deadline: Deadline) -> Result<(), CallError> {
        if self.again.is_some() { self.look_after(deadline) } else { Ok(()) }
    }

    /// A callee that died without a word shows only to a system call, which is made once per tick: a request that
    /// follows another one closely may still be sent to the dead.
    fn look_after(&mut self, deadline: Deadline) -> Result<(), CallError> {
        let Some(again) = &mut self.again else { return Ok(()) };
        let connection = &self.outgoing.connection;
        let now = tick();
        let seen = !self.outgoing.ring().is_open() || connection.peer.was_gone();
        if !seen && again.looked == now {
            return Ok(());
        }
        again.looked = now;
        match connection.state() {
            State::Closed | State::PeerDead => self.reconnect(deadline),
            // Corrupted memory is for the operation to report: its peer is not to be trusted with another connection.
            State::Open | State::FatalError => Ok(()),
        }
    }

    /// Replaces a connection that has ended. Calls without a reply are lost with it.
    #[cold]
    pub(crate) fn reconnect(&mut self, deadline: Deadline) -> Result<(), CallError> {
        let Some(again) = &self.again else { return Ok(()) };
        let Again { path, options, .. } = &**again;
        self.outgoing.connection.check_process()?;
        let established = connect(path, options, deadline);
        let loss = match self.outgoing.connection.state() {
            State::Closed => Loss::Closed,
            _ => Loss::PeerDead,
        };
        self.collect();
        self.pending.lose(loss);
        let established = established.map_err(|source| CallError::reconnecting(source, deadline))?;
        let next = Self::over(&established);
        let waits = (self.outgoing.waiter, self.incoming.waiter);
        (self.outgoing, self.incoming) = (next.outgoing, next.incoming);
        // The next callee may mean something else by the same endpoints.
        self.agreed = next.agreed;
        (self.outgoing.waiter, self.incoming.waiter) = waits;
        Ok(())
    }

    /// Keeps the replies that the callee had sent before its end. A hostile one could go on sending, so there are at
    /// most as many as the ring holds.
    fn collect(&mut self) {
        for _ in 0..self.incoming.ring().geometry().slots() {
            // What is wrong with a connection that is given up is of no more interest.
            let Ok(Some(frame)) = self.incoming.consumer.try_take() else { return };
            if keep(&mut self.incoming, &mut self.pending, frame).is_err() {
                return;
            }
        }
    }
}
