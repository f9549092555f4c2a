//! A finished handshake, in use: its rings, its peer, and how it ends.

use std::sync::{Arc, OnceLock};

use super::error::Halt;
use super::fork;
use crate::ring::{Fault, ParkedWord, RingMemory, Side};
use crate::sync::{AtomicU64, Ordering};
use crate::wait::{Awaited, Deadline, Peer, StopTime, WaitError};

/// How a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Both sides are there.
    Open,
    /// One of the sides closed in good order.
    Closed,
    /// The peer's process ended, or dropped the connection.
    PeerDead,
    /// The shared memory is corrupted.
    FatalError,
}

/// What all halves of one connection share: both rings, the peer and its socket. The last half to go closes it in good
/// order.
#[derive(Debug)]
pub(crate) struct Connection {
    side: Side,
    pub(crate) peer: Peer,
    rings: Vec<Arc<RingMemory>>,
    generation: u32,
    /// The highest correlation id a request has come with.
    asked: AtomicU64,
    /// That of the server, of a connection that has one.
    stop_time: OnceLock<Arc<StopTime>>,
}

impl Connection {
    pub(super) fn new(side: Side, peer: Peer, rings: Vec<Arc<RingMemory>>) -> Self {
        let generation = fork::watch();
        Self { side, peer, rings, generation, asked: AtomicU64::new(0), stop_time: OnceLock::new() }
    }

    pub(super) fn side(&self) -> Side {
        self.side
    }

    #[inline]
    pub(crate) fn ring(&self, index: usize) -> &Arc<RingMemory> {
        &self.rings[index]
    }

    pub(crate) fn rings(&self) -> &[Arc<RingMemory>] {
        &self.rings
    }

    /// A wait of this side for what the words stand for.
    pub(crate) fn awaited<'a>(&'a self, words: &'a [&'a ParkedWord], deadline: Deadline) -> Awaited<'a> {
        Awaited { peer: &self.peer, words, shares_core: self.shares_core(), deadline }
    }

    /// Whether the peer last waited on the processor that this thread runs on. Tells the peer where this side waits.
    #[cfg(not(loom))]
    pub(crate) fn shares_core(&self) -> bool {
        let ours = processor();
        ours != 0 && self.rings[0].exchange_processors(self.side, ours) == ours
    }

    #[cfg(loom)]
    fn shares_core(&self) -> bool {
        false
    }

    /// Why a wait ended without what it waited for. A peer that sent something else than a ring is told, too.
    #[cold]
    pub(crate) fn wait_failed(&self, stop: WaitError<Halt>) -> Halt {
        match stop {
            WaitError::TimedOut => Halt::TimedOut,
            WaitError::Interrupted => Halt::Interrupted,
            WaitError::Failed(halt) => halt,
            WaitError::Io(source) => Halt::Io(source),
            WaitError::Gone => Halt::PeerDead,
            WaitError::Broken(fault) => self.broken(fault),
        }
    }

    /// Has the connection end with its server.
    pub(crate) fn end_with(&self, stop_time: &Arc<StopTime>) {
        // Set once, by the server that let the caller in.
        drop(self.stop_time.set(Arc::clone(stop_time)));
    }

    /// Whether the server stops, and the time of what has begun is over.
    pub(crate) fn is_past_stop(&self) -> bool {
        let deadline = self.stop_time.get().and_then(|stop_time| stop_time.deadline());
        deadline.is_some_and(Deadline::has_passed)
    }

    /// Gives the connection up for a fault of its peer.
    #[cold]
    pub(crate) fn broken(&self, fault: Fault) -> Halt {
        self.condemn();
        Halt::FatalError(fault)
    }

    /// How the connection is doing, at the cost of a system call.
    pub(crate) fn state(&self) -> State {
        if self.rings.iter().any(|ring| ring.is_condemned()) {
            State::FatalError
        } else if [self.side, self.side.peer()].into_iter().any(|side| self.rings[0].is_closed_by(side)) {
            State::Closed
        } else if self.peer.is_gone() {
            State::PeerDead
        } else {
            State::Open
        }
    }

    /// Why a ring that is not open is not. `None` when only the peer's end is closed, which each direction judges for
    /// itself.
    #[cold]
    pub(crate) fn end_reason(&self, ring: &RingMemory) -> Option<Halt> {
        if ring.is_closed_by(self.side) {
            Some(Halt::ClosedHere)
        } else if ring.is_condemned() {
            Some(Halt::FatalError(Fault::Reported))
        } else {
            None
        }
    }

    pub(crate) fn is_closed_by_peer(&self, ring: &RingMemory) -> bool {
        ring.is_closed_by(self.side.peer())
    }

    /// Notes a request that was taken.
    #[inline]
    pub(crate) fn note_asked(&self, correlation_id: u64) {
        // One thread takes requests, so no update is lost; a reply's thread got the id from that one.
        if correlation_id > self.asked.load(Ordering::Relaxed) {
            self.asked.store(correlation_id, Ordering::Relaxed);
        }
    }

    /// Whether a reply may carry this id: its caller would take any other for a corrupted ring.
    #[inline]
    pub(crate) fn was_asked(&self, correlation_id: u64) -> bool {
        correlation_id != 0 && correlation_id <= self.asked.load(Ordering::Relaxed)
    }

    /// Refuses to serve a forked child.
    #[inline]
    pub(crate) fn check_process(&self) -> Result<(), Halt> {
        if self.generation == fork::generation() { Ok(()) } else { Err(Halt::Forked) }
    }

    /// Marks every ring as broken and tells the peer, and threads of this process that wait.
    #[cold]
    pub(crate) fn condemn(&self) {
        for ring in &self.rings {
            ring.condemn();
        }
        self.peer.hang_up();
    }

    /// Closes one ring at this side: nothing more is published in it, and what was published stays readable.
    pub(crate) fn close_ring(&self, index: usize) {
        self.rings[index].close(self.side);
    }

    /// Closes in good order: what was published stays readable, the peer learns at once, and so do threads of this
    /// process that wait. Closing twice does nothing more.
    pub(crate) fn close(&self) {
        if self.check_process().is_err() {
            return;
        }
        for ring in &self.rings {
            ring.close(self.side);
        }
        self.peer.hang_up();
    }
}

/// The processor that this thread runs on, plus one; 0 if the system does not say.
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "asks the C library for the processor")]
fn processor() -> u32 {
    // SAFETY: the call takes nothing and touches nothing of ours.
    let index = unsafe { libc::sched_getcpu() };
    u32::try_from(index).map_or(0, |index| index + 1)
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}
