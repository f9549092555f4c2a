//! The process that calls.

use crate::wait::Peer;

/// The process at the other end of a connection, as the serving side knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallerInfo {
    /// Its number, from 1 up; never used again by the same server. The one caller of a [`Callee`](crate::Callee) is 1.
    pub id: u64,
    /// Its process id, where that is visible from here.
    pub pid: Option<u32>,
    /// Its user; `None` where this process's user namespace does not map it.
    pub uid: Option<u32>,
}

impl CallerInfo {
    pub(crate) fn new(id: u64, peer: &Peer) -> Self {
        Self { id, pid: peer.pid(), uid: peer.uid() }
    }
}
