//! The receiving direction of a connection: a consumer that can wait for messages.

use core::ptr::NonNull;
use std::sync::Arc;

use super::connection::{Channel, Connection};
use crate::aligned::AlignedBytes;
use crate::error::Halt;
use crate::ring::{Consumer, Frame, Plain};
use crate::wait::{Deadline, Source, Waiter};

/// The one receiver of a ring.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) connection: Arc<Connection>,
    pub(crate) index: usize,
    pub(crate) consumer: Consumer,
    pub(crate) waiter: Waiter,
    /// The message that is lent to the one guard over this direction. It lies here and not in the guard, so that a guard is
    /// one word: what a message takes to hand over is then written once.
    pub(crate) loan: Frame,
    /// What the loan's bytes lie in, if that is not the ring.
    kept: Option<AlignedBytes>,
    /// The loan's sender is known to wait for no room.
    pub(crate) quiet: bool,
    /// Messages in a row that were there before they were looked for, up to [`STREAM`].
    streak: u32,
    /// Looks since the last one for a dead peer, by a receiver that never waits.
    empty_looks: u32,
}

/// Empty looks between two looks for a dead peer, which cost a system call each.
const LIFE_CHECK_EVERY: u32 = 64;

/// Messages in a row that were there already, from which on the producer is taken to be well ahead. Before that the slots to
/// come are probably being written, and to fetch them would take them away from it.
const STREAM: u32 = 16;

impl Incoming {
    pub(super) fn new(connection: Arc<Connection>, index: usize, consumer: Consumer, waiter: Waiter) -> Self {
        Self {
            connection,
            index,
            consumer,
            waiter,
            loan: Frame::none(),
            kept: None,
            quiet: false,
            streak: 0,
            empty_looks: 0,
        }
    }

    #[inline]
    pub(crate) fn channel(&self) -> &Channel {
        self.connection.channel(self.index)
    }

    /// Takes the next message, waiting for it.
    #[inline]
    pub(crate) fn take(&mut self, deadline: Deadline) -> Result<Frame, Halt> {
        self.take_loan(deadline)?;
        Ok(self.loan)
    }

    /// Takes the next message as the [`loan`](Self::loan), waiting for it.
    #[inline]
    pub(crate) fn take_loan(&mut self, deadline: Deadline) -> Result<(), Halt> {
        if self.take_soon(|_| true) {
            return Ok(());
        }
        self.take_loan_late(deadline)
    }

    #[inline(never)]
    fn take_loan_late(&mut self, deadline: Deadline) -> Result<(), Halt> {
        self.forget_kept();
        // A long one that is there: nothing to wait for.
        if self.connection.check_process().is_ok() && matches!(self.consumer.take_into(&mut self.loan), Ok(true)) {
            return Ok(());
        }
        self.loan = self.wait_for_data(deadline)?;
        Ok(())
    }

    /// Takes the next message as the [`loan`](Self::loan) if it comes soon, as it does from a peer that is at it, and if it
    /// lies in its slot and has a `wanted` correlation id. Otherwise, and whatever the reason, nothing is taken, and
    /// [`take`](Self::take) has the answer.
    #[inline]
    pub(crate) fn take_soon(&mut self, wanted: impl Fn(u64) -> bool) -> bool {
        if self.connection.check_process().is_err() {
            return false;
        }
        self.forget_kept();
        match self.consumer.take_plain(&mut self.loan, &wanted) {
            Plain::Taken => {
                if self.streak == STREAM {
                    self.consumer.prepare();
                } else {
                    self.streak += 1;
                }
                true
            }
            Plain::NotYet => {
                self.streak = 0;
                self.waiter.glances(|| self.consumer.has_news())
                    && self.consumer.take_plain(&mut self.loan, wanted) == Plain::Taken
            }
            Plain::Otherwise => false,
        }
    }

    /// Takes the next message as the [`loan`](Self::loan) if there is one.
    pub(crate) fn try_take_loan(&mut self) -> Result<bool, Halt> {
        self.forget_kept();
        let Some(frame) = self.try_take()? else { return Ok(false) };
        self.loan = frame;
        Ok(true)
    }

    /// Makes bytes of somebody else's the loan: of a reply that had to make room for others.
    #[cold]
    pub(crate) fn lend_kept(&mut self, correlation_id: u64, type_id: u32, payload: AlignedBytes) {
        let payload = self.kept.insert(payload);
        let (data, len) = (NonNull::from(&mut payload[..]).cast(), payload.len());
        self.loan = Frame { position: 0, correlation_id, type_id, len, data };
    }

    /// The loan's bytes, if they are not in the ring.
    #[inline]
    pub(crate) fn take_kept(&mut self) -> Option<AlignedBytes> {
        self.kept.take()
    }

    /// Lets go of bytes that a guard which was forgotten has left behind.
    #[inline]
    fn forget_kept(&mut self) {
        if self.kept.is_some() {
            self.drop_kept();
        }
    }

    #[cold]
    fn drop_kept(&mut self) {
        self.kept = None;
    }

    /// Ends the loan.
    #[inline]
    pub(crate) fn release_loan(&mut self) {
        if self.kept.is_some() {
            self.drop_kept();
        } else if self.quiet {
            self.release_quietly(self.loan.position);
        } else {
            self.release(self.loan.position);
        }
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
