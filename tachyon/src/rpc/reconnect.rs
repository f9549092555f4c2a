//! A caller that outlives its callee.
//!
//! What may be sent twice is not for this file to decide: it only gives a caller whose connection has ended a new one,
//! before something is sent. A request that was published is never sent again from here.

use std::path::{Path, PathBuf};

use rustix::time::{ClockId, Timespec, clock_gettime};

use super::attempts::Attempts;
use super::caller::Caller;
use crate::bus::{End, Established, State};
use crate::error::{CallError, ConnectError, Halt, Unsent};
use crate::handshake::{Connecting, Kind, Link, Role, absolute};
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
        options.reconnects().then(|| Box::new(Self { path: absolute(path), options: options.clone(), looked: tick() }))
    }
}

/// The present tick of the system's clock, some 1 to 4 ms long; far cheaper than the time itself.
fn tick() -> Timespec {
    clock_gettime(ClockId::MonotonicCoarse)
}

/// Begins to connect by `deadline`, to a path where one server may be dying and the next one not yet there: a listener
/// that hangs up in the middle of the handshake is waited out as a missing one is.
pub(crate) fn connecting_by(path: &Path, options: &Options, deadline: Deadline) -> Result<Connecting, ConnectError> {
    let limit = deadline.remaining().map_or(options.connect_timeout(), |left| left.min(options.connect_timeout()));
    Connecting::new(path, Kind::Rpc, Role::Source, &options.clone().timeout(limit).reconnect(true))
}

fn connect_by(path: &Path, options: &Options, deadline: Deadline) -> Result<Established, ConnectError> {
    Ok(Established::new(connecting_by(path, options, deadline)?.finish()?, options))
}

impl CallError {
    /// What becomes of a call that was due by `deadline` when connecting again failed.
    pub(crate) fn reconnecting(source: ConnectError, deadline: Deadline) -> Self {
        match source {
            ConnectError::Interrupted { .. } => Self::Interrupted { sent: false },
            ConnectError::NoListener { ref path, .. } => {
                Self::Unreachable { path: path.clone(), source: Box::new(source), sent: false }
            }
            _ if deadline.has_passed() => Self::TimedOut { sent: false },
            source => Self::Reconnect(Box::new(source)),
        }
    }
}

impl Caller {
    /// As [`connect_with`](Self::connect_with), by `deadline` and past a server that is just ending.
    pub(crate) fn connect_by(path: &Path, options: &Options, deadline: Deadline) -> Result<Self, ConnectError> {
        let mut caller = Self::over(&connect_by(path, options, deadline)?);
        caller.again = Again::new(path, options);
        Ok(caller)
    }

    /// Whether this caller connects again when its connection has ended.
    pub(crate) fn reconnects(&self) -> bool {
        self.again.is_some()
    }

    /// Does what sends something: over a new connection if the present one is found at its end, before or meanwhile.
    #[inline]
    pub(super) fn connected<T>(
        &mut self,
        deadline: Deadline,
        mut operation: impl FnMut(&mut Self) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        self.revive(deadline)?;
        let error = match operation(self) {
            Err(error) if self.reconnects() => error,
            outcome => return outcome,
        };
        let mut attempts = Attempts::new(true, false, deadline);
        let mut outcome = Err(error);
        while let Err(error) = &outcome
            && attempts.again(error)
        {
            self.reconnect(deadline)?;
            outcome = operation(self);
        }
        outcome
    }

    /// Waits for the end of a connection whose callee stops, and keeps the replies to other calls.
    pub(crate) fn await_end(&mut self, deadline: Deadline) -> Result<(), CallError> {
        loop {
            match self.core.incoming.take_loan(deadline) {
                Ok(()) => {
                    let frame = self.core.incoming.take_over();
                    self.core.file(frame)?;
                }
                Err(Halt::Closed | Halt::PeerDead) => return Ok(()),
                Err(halt) => return Err(Unsent::Halted(halt).into()),
            }
        }
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
        let connection = &self.core.outgoing.connection;
        let now = tick();
        let seen = !self.core.outgoing.ring().is_open() || connection.peer.was_gone();
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
    fn reconnect(&mut self, deadline: Deadline) -> Result<(), CallError> {
        let Some(connecting) = self.connecting(deadline)? else { return Ok(()) };
        self.replace(connecting.finish()).map_err(|source| CallError::reconnecting(source, deadline))
    }

    /// Begins to connect again; `None` for a caller that does not.
    pub(crate) fn connecting(&mut self, deadline: Deadline) -> Result<Option<Connecting>, CallError> {
        let Some(again) = &self.again else { return Ok(None) };
        self.core.outgoing.connection.check_process()?;
        let connecting = connecting_by(&again.path, &again.options, deadline);
        connecting.map(Some).map_err(|source| CallError::reconnecting(source, deadline))
    }

    /// Ends the time of the present connection, and begins that of the new one if there is one.
    pub(crate) fn replace(&mut self, outcome: Result<Link, ConnectError>) -> Result<(), ConnectError> {
        let end = match self.core.outgoing.connection.state() {
            State::Closed => End::Closed,
            _ => End::PeerDead,
        };
        let options = self.again.as_ref().map_or_else(Options::new, |again| again.options.clone());
        let established = outcome.map(|link| Established::new(link, &options));
        self.core.replace(established.as_ref().ok(), &end);
        established.map(drop)
    }
}
