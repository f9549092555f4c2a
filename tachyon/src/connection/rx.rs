//! The receiving direction of a connection: a consumer that can wait for messages.

use core::ptr::NonNull;
use std::sync::Arc;

use super::error::Halt;
use super::life::Connection;
use crate::aligned::AlignedBytes;
use crate::ring::{Consumer, Frame, Look, RingMemory};
use crate::wait::{Deadline, Waiter};

/// The one receiver of a ring.
#[derive(Debug)]
pub(crate) struct Rx {
    pub(crate) connection: Arc<Connection>,
    pub(crate) index: usize,
    pub(crate) consumer: Consumer,
    pub(crate) waiter: Waiter,
    /// The message that is lent to the one guard over this direction. It lies here and not in the guard, so that a guard is
    /// one word: what a message takes to hand over is then written once.
    pub(crate) current: Frame,
    /// What is lent, and not given back yet. A guard that was forgotten leaves it behind, and its borrow has ended: the
    /// next operation gives the message back.
    in_use: InUse,
    /// The loan's bytes, if they are not in the ring.
    copied: Option<AlignedBytes>,
    /// Messages in a row that were there before they were looked for, up to [`STREAM`].
    ready_run: u32,
    /// Looks since the last one for a dead peer, by a receiver that never waits.
    empty_looks: u32,
}

/// What the one guard over a direction holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InUse {
    Nothing,
    /// The loan, in the ring.
    Current,
    /// The loan, whose bytes are kept.
    Copied,
    /// A batch in the ring, up to this position.
    Batch(u64),
}

/// Empty looks between two looks for a dead peer, which cost a system call each.
const LIFE_CHECK_EVERY: u32 = 64;

/// Messages in a row that were there already, from which on the producer is taken to be well ahead. Before that the slots to
/// come are probably being written, and to fetch them would take them away from it.
const STREAM: u32 = 16;

impl Rx {
    pub(super) fn new(connection: Arc<Connection>, index: usize, consumer: Consumer, waiter: Waiter) -> Self {
        Self {
            connection,
            index,
            consumer,
            waiter,
            current: Frame::none(),
            in_use: InUse::Nothing,
            copied: None,
            ready_run: 0,
            empty_looks: 0,
        }
    }

    #[inline]
    pub(crate) fn ring(&self) -> &Arc<RingMemory> {
        self.connection.ring(self.index)
    }

    /// Takes the next message, waiting for it.
    #[inline]
    pub(crate) fn take(&mut self, deadline: Deadline) -> Result<Frame, Halt> {
        self.take_current(deadline)?;
        self.in_use = InUse::Nothing;
        Ok(self.current)
    }

    /// Takes the next message as the [`loan`](Self::loan), waiting for it.
    #[inline]
    pub(crate) fn take_current(&mut self, deadline: Deadline) -> Result<(), Halt> {
        if self.take_fast(|_| true) {
            return Ok(());
        }
        self.take_current_slow(deadline)
    }

    /// As [`take_current`](Self::take_current), of a stream: messages are fetched ahead once several were there already.
    #[inline]
    pub(crate) fn take_next(&mut self, deadline: Deadline) -> Result<(), Halt> {
        if !self.consumer.has_changed() {
            self.ready_run = 0;
        } else if self.ready_run < STREAM {
            self.ready_run += 1;
        } else {
            self.consumer.prepare();
        }
        self.take_current(deadline)
    }

    #[inline(never)]
    fn take_current_slow(&mut self, deadline: Deadline) -> Result<(), Halt> {
        self.current = self.wait_for_data(deadline)?;
        self.in_use = InUse::Current;
        Ok(())
    }

    /// Takes the next message as the [`loan`](Self::loan) if it comes soon, as it does from a busy peer, and if it has a
    /// `wanted` correlation id. Otherwise, for any reason, nothing is taken, and [`take`](Self::take) has the answer.
    #[inline]
    pub(crate) fn take_fast(&mut self, wanted: impl Fn(u64) -> bool) -> bool {
        if self.connection.check_process().is_err() {
            return false;
        }
        self.release_forgotten();
        match self.consumer.take_into(&mut self.current, &wanted) {
            Look::Taken => {
                self.in_use = InUse::Current;
                true
            }
            Look::NotYet => {
                let came = self.waiter.spin_briefly(|| self.consumer.has_changed())
                    && self.consumer.take_into(&mut self.current, wanted) == Look::Taken;
                if came {
                    self.in_use = InUse::Current;
                }
                came
            }
            Look::Unwanted | Look::Broken(_) => false,
        }
    }

    /// Takes the next message as the [`loan`](Self::loan) if there is one.
    pub(crate) fn try_take_current(&mut self) -> Result<bool, Halt> {
        self.release_forgotten();
        let Some(frame) = self.try_take()? else { return Ok(false) };
        self.current = frame;
        self.in_use = InUse::Current;
        Ok(true)
    }

    /// Makes a message that was taken before the loan.
    #[inline]
    pub(crate) fn set_current(&mut self, frame: Frame) {
        self.current = frame;
        self.in_use = InUse::Current;
    }

    /// Makes bytes outside the ring the loan: of a reply that had to make room for others.
    #[cold]
    pub(crate) fn set_current_copied(&mut self, correlation_id: u64, type_id: u32, payload: AlignedBytes) {
        self.release_forgotten();
        let payload = self.copied.insert(payload);
        let (data, len) = (NonNull::from(&mut payload[..]).cast(), payload.len());
        self.current = Frame { correlation_id, type_id, len, data, ..Frame::none() };
        self.in_use = InUse::Copied;
    }

    /// The loan's bytes, if they are not in the ring. They are lent no more.
    #[inline]
    pub(crate) fn take_copied(&mut self) -> Option<AlignedBytes> {
        if self.in_use == InUse::Copied {
            self.in_use = InUse::Nothing;
        }
        self.copied.take()
    }

    /// The loan, which is the caller's to release from now on.
    #[inline]
    pub(crate) fn detach_current(&mut self) -> Frame {
        self.in_use = InUse::Nothing;
        self.current
    }

    /// Gives back what a guard that was forgotten has left behind.
    #[inline]
    pub(super) fn release_forgotten(&mut self) {
        if self.in_use != InUse::Nothing {
            self.release_in_use();
        }
    }

    /// Gives back what is lent.
    #[cold]
    fn release_in_use(&mut self) {
        match core::mem::replace(&mut self.in_use, InUse::Nothing) {
            InUse::Nothing => {}
            InUse::Current => self.release(self.current.position),
            InUse::Copied => self.copied = None,
            InUse::Batch(last) => self.release_through(last),
        }
    }

    /// Ends the loan.
    #[inline]
    pub(crate) fn release_current(&mut self) {
        if self.in_use == InUse::Current {
            self.in_use = InUse::Nothing;
            self.release(self.current.position);
        } else {
            self.release_in_use();
        }
    }

    #[inline(never)]
    fn wait_for_data(&mut self, deadline: Deadline) -> Result<Frame, Halt> {
        self.connection.check_process()?;
        self.release_forgotten();
        let Self { connection, index, consumer, waiter, .. } = self;
        let ring = connection.ring(*index);
        let words = [&ring.header().consumer_parked.0];
        let awaited = connection.awaited(&words, deadline);
        waiter.wait(&awaited, || look_for_data(connection, ring, consumer)).map_err(|stop| connection.wait_failed(stop))
    }

    /// For an operation that takes one message after the other: a wait that always finds something never reads the clock
    /// by itself.
    #[cold]
    pub(crate) fn check_deadline(&self, deadline: Deadline) -> Result<(), Halt> {
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
        let ring = connection.ring(*index);
        if let Some(found) = look_for_data(connection, ring, consumer)? {
            return Ok(Some(found));
        }
        *empty_looks = empty_looks.wrapping_add(1);
        if *empty_looks % LIFE_CHECK_EVERY != 0 || !connection.peer.is_gone() {
            return Ok(None);
        }
        // Looked for again after the death was seen: what the peer committed before it is not lost.
        look_for_data(connection, ring, consumer)?.map_or(Err(Halt::PeerDead), |found| Ok(Some(found)))
    }

    /// Takes up to `max` messages, waiting for the first.
    ///
    /// # Panics
    /// When `max` is 0.
    pub(crate) fn take_batch(&mut self, max: usize, deadline: Deadline) -> Result<Vec<Frame>, Halt> {
        assert!(max > 0, "a batch holds at least one message");
        let first = self.take(deadline)?;
        // More than the ring's slots can never be under way, so a careless `max` costs no memory.
        let most = max.min(self.ring().geometry().slots());
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
        self.ring().geometry().capacity()
    }

    /// Takes up to `max` messages as one loan, waiting for the first.
    ///
    /// # Panics
    /// When `max` is 0.
    pub(crate) fn take_current_batch(&mut self, max: usize, deadline: Deadline) -> Result<Vec<Frame>, Halt> {
        let frames = self.take_batch(max, deadline)?;
        self.in_use = frames.last().map_or(InUse::Nothing, |last| InUse::Batch(last.position));
        Ok(frames)
    }

    /// Gives a message's room back and wakes a producer that waits for it.
    #[inline]
    pub(crate) fn release(&mut self, position: u64) {
        // A forked child drops the guards it inherited; the messages are still the parent's.
        if self.connection.check_process().is_err() {
            return;
        }
        if self.consumer.release(position) {
            self.wake();
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
    fn wake(&mut self) {
        if self.consumer.producer_needs_ring() {
            self.ring_producer();
        }
    }

    #[cold]
    fn ring_producer(&self) {
        if !self.connection.peer.ring() {
            self.consumer.ring_later();
        }
    }
}

/// One look for a message, and for a reason to stop looking.
#[inline]
pub(crate) fn look_for_data(
    connection: &Connection,
    ring: &RingMemory,
    consumer: &mut Consumer,
) -> Result<Option<Frame>, Halt> {
    match consumer.try_take() {
        Ok(None) if !ring.is_open() => look_at_end(connection, ring, consumer),
        Ok(found) => Ok(found),
        Err(fault) => Err(connection.broken(fault)),
    }
}

/// A ring that is empty and no longer open: what is the reason, and is it really empty?
#[cold]
fn look_at_end(connection: &Connection, ring: &RingMemory, consumer: &mut Consumer) -> Result<Option<Frame>, Halt> {
    if let Some(halt) = connection.end_reason(ring) {
        return Err(halt);
    }
    // The closing side published before it closed, and the end_reason read its word with acquire: a message this look
    // does not find was never sent.
    match consumer.try_take() {
        Ok(None) => Err(Halt::Closed),
        Ok(found) => Ok(found),
        Err(fault) => Err(connection.broken(fault)),
    }
}
