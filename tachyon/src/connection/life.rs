//! The life of a connection: its rings, its peer, and its end.

use std::sync::{Arc, OnceLock};

use super::error::Halt;
use super::fork;
use crate::ring::{Fault, ParkedWord, RingMemory, Side};
use crate::sync::{AtomicU64, Ordering};
use crate::wait::{Awaited, Deadline, Peer, StopTime, WaitError};

/// The state of a connection, at the moment of the question.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("demo.sock");
/// use tachyon::{Receiver, Sender, State};
/// # let listen_at = path.clone();
///
/// let receiver = std::thread::spawn(move || Receiver::listen(&listen_at, 4096));
/// let sender = Sender::connect(&path)?;
/// let receiver = receiver.join().unwrap()?;
/// assert_eq!(sender.state(), State::Open);
/// drop(receiver);
/// assert_eq!(sender.state(), State::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Both sides are connected.
    Open,
    /// This side or the peer closed in good order. Messages sent before may still be received.
    Closed,
    /// The peer's process ended, or dropped the connection without closing it.
    PeerDead,
    /// The shared memory is corrupted. The connection is unusable.
    FatalError,
}

/// The rings, the peer and its socket, shared by both directions of a connection. Dropping the last direction closes
/// the connection in good order.
#[derive(Debug)]
pub(crate) struct Connection {
    side: Side,
    pub(crate) peer: Peer,
    rings: Vec<Arc<RingMemory>>,
    generation: u32,
    /// The highest correlation id of a taken request.
    asked: AtomicU64,
    /// The stop time of the server, if the connection belongs to a server.
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

    /// A wait of this side for the messages or the room that the words stand for.
    pub(crate) fn awaited<'a>(&'a self, words: &'a [&'a ParkedWord], deadline: Deadline) -> Awaited<'a> {
        Awaited { peer: &self.peer, words, shares_core: self.shares_core(), deadline }
    }

    /// Whether the peer last waited on the processor of this thread. Stores the processor of this thread for the peer.
    #[cfg(not(loom))]
    pub(crate) fn shares_core(&self) -> bool {
        let ours = processor();
        ours != 0 && self.rings[0].exchange_processors(self.side, ours) == ours
    }

    #[cfg(loom)]
    fn shares_core(&self) -> bool {
        false
    }

    /// Converts the end of a wait in vain. Condemns the connection if the peer sent a message that is no ring message.
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

    /// Ties the connection to the stop of its server.
    pub(crate) fn end_with(&self, stop_time: &Arc<StopTime>) {
        // Set once: a caller belongs to one server.
        drop(self.stop_time.set(Arc::clone(stop_time)));
    }

    /// Whether the server stops, and the time for requests that have begun is over.
    pub(crate) fn is_past_stop(&self) -> bool {
        let deadline = self.stop_time.get().and_then(|stop_time| stop_time.deadline());
        deadline.is_some_and(Deadline::has_passed)
    }

    /// Condemns the connection for a fault of its peer.
    #[cold]
    pub(crate) fn broken(&self, fault: Fault) -> Halt {
        self.condemn();
        Halt::FatalError(fault)
    }

    /// The state of the connection. Costs a system call.
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

    /// The reason why a ring is not open. A close by the peer alone gives `None`, since sender and receiver treat that
    /// close differently.
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

    /// Notes a taken request.
    #[inline]
    pub(crate) fn note_asked(&self, correlation_id: u64) {
        // One thread takes requests, so no update is lost. The thread that replies got the id from that thread.
        if correlation_id > self.asked.load(Ordering::Relaxed) {
            self.asked.store(correlation_id, Ordering::Relaxed);
        }
    }

    /// Whether a reply may carry this id: the caller takes a reply with any other id for a fault.
    #[inline]
    pub(crate) fn was_asked(&self, correlation_id: u64) -> bool {
        correlation_id != 0 && correlation_id <= self.asked.load(Ordering::Relaxed)
    }

    /// Fails in a forked child.
    #[inline]
    pub(crate) fn check_process(&self) -> Result<(), Halt> {
        if self.generation == fork::generation() { Ok(()) } else { Err(Halt::Forked) }
    }

    /// Condemns all rings, and wakes the peer and waiting threads of this process.
    #[cold]
    pub(crate) fn condemn(&self) {
        for ring in &self.rings {
            ring.condemn();
        }
        self.peer.hang_up();
    }

    /// Closes one ring at this side: no message follows, and published messages stay readable.
    pub(crate) fn close_ring(&self, index: usize) {
        self.rings[index].close(self.side);
    }

    /// Closes in good order: published messages stay readable, and the peer and waiting threads of this process wake. A
    /// second close has no effect.
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

/// One plus the processor of this thread; 0 if the system does not say.
#[cfg(not(loom))]
#[allow(unsafe_code, reason = "asks the C library for the processor")]
fn processor() -> u32 {
    // SAFETY: the call has no arguments and accesses no memory of this program.
    let index = unsafe { libc::sched_getcpu() };
    u32::try_from(index).map_or(0, |index| index + 1)
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}
