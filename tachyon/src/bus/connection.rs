//! A finished handshake, in use: its rings, its peer, and how it ends.

use std::sync::Arc;

use super::fork;
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use crate::error::{Halt, WrongDirection};
use crate::handshake::{Link, Role};
use crate::options::Options;
use crate::ring::{Consumer, Producer, RingMemory, Side};
use crate::sync::{AtomicU64, Ordering};
use crate::wait::{Doorbell, Peer, PollingMode, Stop, Waiter};

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

/// One ring and the bells of its two ends.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) memory: Arc<RingMemory>,
    pub(crate) data: Doorbell,
    pub(crate) room: Doorbell,
}

/// What all halves of one connection share. The last one to go closes it in good order.
#[derive(Debug)]
pub(crate) struct Connection {
    side: Side,
    pub(crate) peer: Peer,
    channels: Vec<Channel>,
    generation: u32,
    /// The highest correlation id a request has come with.
    asked: AtomicU64,
}

impl Connection {
    #[inline]
    pub(crate) fn channel(&self, index: usize) -> &Channel {
        &self.channels[index]
    }

    pub(crate) fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// How the connection is doing, at the cost of a system call.
    pub(crate) fn state(&self) -> State {
        if self.channels.iter().any(|channel| channel.memory.is_condemned()) {
            State::FatalError
        } else if [self.side, self.side.peer()].into_iter().any(|side| self.channels[0].memory.is_closed_by(side)) {
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
    pub(crate) fn verdict(&self, channel: &Channel) -> Option<Halt> {
        if channel.memory.is_closed_by(self.side) {
            Some(Halt::ClosedHere)
        } else if channel.memory.is_condemned() {
            Some(Halt::FatalError(crate::ring::Fault::Reported))
        } else {
            None
        }
    }

    pub(crate) fn is_closed_by_peer(&self, channel: &Channel) -> bool {
        channel.memory.is_closed_by(self.side.peer())
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
        for channel in &self.channels {
            channel.memory.condemn();
        }
        self.ring_all();
        self.peer.hang_up();
    }

    /// Closes in good order: what was published stays readable, the peer learns at once, and so do threads of this
    /// process that wait. Closing twice does nothing more.
    pub(crate) fn close(&self) {
        if self.check_process().is_err() {
            return;
        }
        for channel in &self.channels {
            channel.memory.close(self.side);
        }
        self.ring_all();
        self.peer.hang_up();
    }

    fn ring_all(&self) {
        for channel in &self.channels {
            channel.data.ring();
            channel.room.ring();
        }
    }
}

impl From<Stop<Halt>> for Halt {
    #[cold]
    fn from(stop: Stop<Self>) -> Self {
        match stop {
            Stop::TimedOut => Self::TimedOut,
            Stop::Interrupted => Self::Interrupted,
            Stop::Failed(halt) => halt,
            Stop::Io(source) => Self::Io(source),
            Stop::Gone => Self::PeerDead,
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

/// A connection whose directions nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Established {
    pub(crate) connection: Arc<Connection>,
    role: Role,
    polling: PollingMode,
    options: Options,
}

impl Established {
    pub(crate) fn new(link: Link, options: &Options) -> Self {
        let channels = link
            .rings
            .into_iter()
            .map(|ring| Channel { memory: Arc::new(ring.memory), data: ring.data, room: ring.room })
            .collect();
        Self::over(link.side, link.role, link.peer, channels, options)
    }

    /// As [`new`](Self::new), over rings that somebody else may hold too.
    pub(crate) fn over(side: Side, role: Role, peer: Peer, channels: Vec<Channel>, options: &Options) -> Self {
        fork::watch();
        let connection =
            Arc::new(Connection { side, peer, channels, generation: fork::generation(), asked: AtomicU64::new(0) });
        Self { connection, role, polling: options.polling_mode(), options: options.clone() }
    }

    /// Takes the end of ring 0 that sends, and of ring 1, if there is one, the end that receives.
    ///
    /// # Errors
    /// [`WrongDirection`] when the peer has it.
    pub(crate) fn take_source(&self, name: &'static str) -> Result<(), WrongDirection> {
        let end = &self.connection.channel(0).memory.header().ends.0.producer;
        self.take(self.role != Role::Sink && RingMemory::claim(end, self.connection.side), name)
    }

    /// Takes the end of ring 0 that receives, and of ring 1, if there is one, the end that sends.
    ///
    /// # Errors
    /// [`WrongDirection`] when the peer has it.
    pub(crate) fn take_sink(&self, name: &'static str) -> Result<(), WrongDirection> {
        let end = &self.connection.channel(0).memory.header().ends.0.consumer;
        self.take(self.role != Role::Source && RingMemory::claim(end, self.connection.side), name)
    }

    #[allow(clippy::unused_self, reason = "reads as a step of the two methods above")]
    fn take(&self, taken: bool, name: &'static str) -> Result<(), WrongDirection> {
        if taken { Ok(()) } else { Err(WrongDirection { taken: name }) }
    }

    /// The sending end of ring `index`; the caller has taken it.
    pub(crate) fn outgoing(&self, index: usize) -> Outgoing {
        let producer = Producer::new(Arc::clone(&self.connection.channel(index).memory));
        Outgoing::new(Arc::clone(&self.connection), index, producer, self.waiter())
    }

    /// The receiving end of ring `index`; the caller has taken it.
    pub(crate) fn incoming(&self, index: usize) -> Incoming {
        let consumer = Consumer::new(Arc::clone(&self.connection.channel(index).memory));
        Incoming::new(Arc::clone(&self.connection), index, consumer, self.waiter())
    }

    fn waiter(&self) -> Waiter {
        Waiter::new(self.polling, self.options.interrupt_hook())
    }
}
