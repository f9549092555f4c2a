//! A caller that outlives its callee.
//!
//! A caller whose connection has ended gets a new one before it sends. A published request is never sent again from
//! here; [`Attempts`](super::attempts::Attempts) decides about repeats.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::connection::Established;
use crate::handshake::{ConnectError, Connecting, Kind, Role, absolute};
use crate::options::Options;
use crate::rpc::CallError;
use crate::wait::Deadline;

/// Where and how to connect again.
#[derive(Debug)]
pub(crate) struct ReconnectPolicy {
    pub(super) path: PathBuf,
    pub(super) options: Options,
    /// The tick at which the peer was last checked.
    pub(super) looked: Timespec,
}

impl ReconnectPolicy {
    /// `None` when `options` does not ask for it.
    pub(super) fn new(path: &Path, options: &Options) -> Option<Box<Self>> {
        options.reconnects().then(|| Box::new(Self { path: absolute(path), options: options.clone(), looked: tick() }))
    }
}

/// The present tick of the system's clock, some 1 to 4 ms long; far cheaper than the time itself.
pub(super) fn tick() -> Timespec {
    clock_gettime(ClockId::MonotonicCoarse)
}

/// Begins to connect until `deadline`. One server may be ending while the next one starts: a listener that hangs up in
/// the handshake is waited for like a missing one.
pub(crate) fn connecting_by(path: &Path, options: &Options, deadline: Deadline) -> Result<Connecting, ConnectError> {
    let limit = patience(options, deadline);
    Connecting::new(path, Kind::Rpc, Role::Source, &options.clone().timeout(limit).reconnect(true))
}

/// Longest wait for a listener, for a call with `deadline`.
pub(crate) fn patience(options: &Options, deadline: Deadline) -> Duration {
    let limit = options.connect_timeout();
    deadline.remaining().map_or(limit, |left| left.min(limit))
}

pub(super) fn connect_by(path: &Path, options: &Options, deadline: Deadline) -> Result<Established, ConnectError> {
    Ok(Established::new(connecting_by(path, options, deadline)?.finish()?, options))
}

impl CallError {
    /// The error of a call with `deadline` whose caller could not connect again.
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
