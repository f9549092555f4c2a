//! The receiving direction of a connection: a consumer that can wait for messages.

use std::sync::Arc;

use super::connection::{Channel, Connection};
use crate::error::Halt;
use crate::ring::{Consumer, Frame};
use crate::wait::{Deadline, Source, Waiter};

/// The one receiver of a ring.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) connection: Arc<Connection>,
    pub(crate) index: usize,
    pub(crate) consumer: Consumer,
    pub(crate) waiter: Waiter,
    /// Looks since the last one for a dead peer, by a receiver that never waits.
    empty_looks: u32,
}

/// Empty looks between two looks for a dead peer, which cost a system call each.
const LIFE_CHECK_EVERY: u32 = 64;

impl Incoming {
    pub(super) fn new(connection: Arc<Connection>, index: usize, consumer: Consumer, waiter: Waiter) -> Self {
        Self { connection, index, consumer, waiter, empty_looks: 0 }
    }

    #[inline]
    pub(crate) fn channel(&self) -> &Channel {
        self.connection.channel(self.index)
    }

    /// Takes the next message, waiting for it.
    #[inline]
    pub(crate) fn take(&mut self, deadline: Deadline) -> Result<Frame, Halt> {
        match self.take_soon() {
            Some(frame) => Ok(frame),
            None => self.wait_for_data(deadline),
        }
    }

    /// Takes the next message if it comes soon, as it does from a peer that is at it; otherwise, and whatever the reason,
    /// [`take`](Self::take) has the answer.
    #[inline]
    pub(crate) fn take_soon(&mut self) -> Option<Frame> {
        self.connection.check_process().ok()?;
        if self.consumer.has_news() {
            self.consumer.prepare();
        } else if !self.waiter.glances(|| self.consumer.has_news()) {
            return None;
        }
        self.consumer.try_take().ok()?
    }

    #[inline(never)]
    fn wait_for_data(&mut self, deadline: Deadline) -> Result<Frame, Halt> {
        self.connection.check_process()?;
        let Self { connection, index, consumer, waiter, .. } = self;
        let channel = connection.channel(*index);
        let sources = [data_source(channel)];
        waiter
            .wait(deadline, &connection.peer, &sources, || look_for_data(connection, channel, consumer))
            .map_err(Halt::from)
    }

    /// For whoever takes one message after the other in a single operation: a wait that always finds something never
    /// looks at the clock by itself.
    #[cold]
    pub(crate) fn check_patience(&self, deadline: Deadline) -> Result<(), Halt> {
        if deadline.has_passed() {
            return Err(Halt::TimedOut);
        }
        match self.waiter.interrupt {
            Some(interrupt) if interrupt() => Err(Halt::Interrupted),
            _ => Ok(()),
        }
    }

    /// Takes the next message if there is one.
    #[inline]
    pub(crate) fn try_take(&mut self) -> Result<Option<Frame>, Halt> {
        self.connection.check_process()?;
        let Self { connection, index, consumer, empty_looks, .. } = self;
        let channel = connection.channel(*index);
        if let Some(found) = look_for_data(connection, channel, consumer)? {
            return Ok(Some(found));
        }
        *empty_looks = empty_looks.wrapping_add(1);
        if *empty_looks % LIFE_CHECK_EVERY != 0 || !connection.peer.is_gone() {
            return Ok(None);
        }
        // Looked for again after the death was seen: what the peer committed before it is not lost.
        look_for_data(connection, channel, consumer)?.map_or(Err(Halt::PeerDead), |found| Ok(Some(found)))
    }

    /// Takes up to `max` messages, waiting for the first.
    ///
    /// # Panics
    /// When `max` is 0.
    pub(crate) fn take_batch(&mut self, max: usize, deadline: Deadline) -> Result<Vec<Frame>, Halt> {
        assert!(max > 0, "a batch holds at least one message");
        let first = self.take(deadline)?;
        // More than the ring's slots can never be under way, so a careless `max` costs no memory.
        let most = max.min(self.channel().memory.geometry().slots());
        let mut frames = Vec::with_capacity(most.min(64));
        frames.push(first);
        while frames.len() < most {
            // A fault is for the next operation to report: these messages were sound and must not be lost.
            match self.consumer.try_take() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(frames)
    }

    /// Longest message this direction can carry, in bytes.
    #[inline]
    pub(crate) fn max_len(&self) -> usize {
        self.channel().memory.geometry().capacity()
    }

    /// Gives a message's room back and wakes a producer that waits for it.
    #[inline]
    pub(crate) fn release(&mut self, position: u64) {
        // A forked child drops the guards it inherited; the messages are still the parent's.
        if self.connection.check_process().is_err() {
            return;
        }
        self.consumer.release(position);
        self.wake();
    }

    /// As [`release`](Self::release), when the producer is known to wait for nothing: it is not looked after, which takes
    /// a fence.
    #[inline]
    pub(crate) fn release_quietly(&mut self, position: u64) {
        if self.connection.check_process().is_ok() {
            self.consumer.release(position);
        }
    }

    /// Gives back everything taken up to and including `position`.
    pub(crate) fn release_through(&mut self, position: u64) {
        if self.connection.check_process().is_err() {
            return;
        }
        self.consumer.release_through(position);
        self.wake();
    }

    #[inline]
    fn wake(&self) {
        if self.consumer.producer_needs_wake() {
            self.ring_room();
        }
    }

    #[cold]
    fn ring_room(&self) {
        self.channel().room.ring();
    }
}

/// What a consumer waits on.
#[inline]
pub(crate) fn data_source(channel: &Channel) -> Source<'_> {
    Source {
        parked: &channel.memory.header().consumer_parked.0,
        bell: &channel.data,
        barrier: channel.memory.barrier(),
    }
}

/// One look for a message, and for a reason to stop looking.
#[inline]
pub(crate) fn look_for_data(
    connection: &Connection,
    channel: &Channel,
    consumer: &mut Consumer,
) -> Result<Option<Frame>, Halt> {
    match consumer.try_take() {
        Ok(None) if !channel.memory.is_open() => look_at_end(connection, channel, consumer),
        Ok(found) => Ok(found),
        Err(fault) => {
            connection.condemn();
            Err(Halt::FatalError(fault))
        }
    }
}

/// A ring that is empty and no longer open: what is the reason, and is it really empty?
#[cold]
fn look_at_end(connection: &Connection, channel: &Channel, consumer: &mut Consumer) -> Result<Option<Frame>, Halt> {
    if let Some(halt) = connection.verdict(channel) {
        return Err(halt);
    }
    // The closing side published before it closed, and the verdict read its word with acquire: a message this look
    // does not find was never sent.
    match consumer.try_take() {
        Ok(None) => Err(Halt::Closed),
        Ok(found) => Ok(found),
        Err(fault) => {
            connection.condemn();
            Err(Halt::FatalError(fault))
        }
    }
}
