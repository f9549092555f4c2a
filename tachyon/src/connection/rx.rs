//! The receiving direction of a connection: a consumer that waits for messages.

use core::ptr::NonNull;
use std::sync::Arc;

use super::error::Halt;
use super::life::Connection;
use crate::aligned::AlignedBytes;
use crate::metadata::Metadata;
use crate::ring::{Consumer, Frame, Look, RingMemory};
use crate::wait::{Deadline, Waiter};

/// The receiving end of a ring.
#[derive(Debug)]
pub(crate) struct Rx {
    pub(crate) connection: Arc<Connection>,
    pub(crate) index: usize,
    pub(crate) consumer: Consumer,
    pub(crate) waiter: Waiter,
    /// The message of the guard over this direction. The frame lies here and not in the guard, so that the guard is one
    /// word, and the frame is stored once.
    pub(crate) current: Frame,
    /// The messages of the guard over this direction, until they are released. After a forgotten guard, whose borrow
    /// has ended, the next operation releases them.
    in_use: InUse,
    /// The payload of the current message, if it is not in the ring.
    copied: Option<AlignedBytes>,
    /// The last metadata of a request, and the position of that request.
    metadata: Option<Box<(u64, Metadata)>>,
    /// Messages in a row that were published before the look, up to [`STREAM`].
    ready_run: u32,
    /// Looks in vain by a receiver that never waits.
    empty_looks: u32,
}

/// The messages in use by the guard over a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InUse {
    Nothing,
    /// The current frame, in the ring.
    Current,
    /// The current frame, whose payload is copied.
    Copied,
    /// A batch in the ring, up to and including this position.
    Batch(u64),
}

/// Looks in vain between two checks for a dead peer, which cost a system call each.
const LIFE_CHECK_EVERY: u32 = 64;

/// Ready messages in a row after which the producer counts as well ahead. Otherwise the producer probably writes the
/// next slots now, and a prefetch would move their lines away from it.
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
            metadata: None,
            ready_run: 0,
            empty_looks: 0,
        }
    }

    #[inline]
    pub(crate) fn ring(&self) -> &Arc<RingMemory> {
        self.connection.ring(self.index)
    }

    /// Takes the next message, waiting for it. The caller releases it.
    #[inline]
    pub(crate) fn take(&mut self, deadline: Deadline) -> Result<Frame, Halt> {
        self.take_current(deadline)?;
        self.in_use = InUse::Nothing;
        Ok(self.current)
    }

    /// Takes the next message as the [`current`](Self::current) frame, waiting for it.
    #[inline]
    pub(crate) fn take_current(&mut self, deadline: Deadline) -> Result<(), Halt> {
        if self.take_fast(|_| true) {
            return Ok(());
        }
        self.take_current_slow(deadline)
    }

    /// As [`take_current`](Self::take_current), for a stream: prefetches slots once several messages in a row were
    /// ready.
    #[inline]
    pub(crate) fn take_next(&mut self, deadline: Deadline) -> Result<(), Halt> {
        self.prepare_next();
        self.take_current(deadline)
    }

    /// As [`take_fast`](Self::take_fast), for a stream.
    #[inline]
    pub(crate) fn take_next_fast(&mut self, wanted: impl Fn(u64) -> bool) -> bool {
        self.prepare_next();
        self.take_fast(wanted)
    }

    /// Prefetches a slot once several messages in a row were ready.
    #[inline]
    fn prepare_next(&mut self) {
        if !self.consumer.has_changed() {
            self.ready_run = 0;
        } else if self.ready_run < STREAM {
            self.ready_run += 1;
        } else {
            self.consumer.prepare();
        }
    }

    #[inline(never)]
    fn take_current_slow(&mut self, deadline: Deadline) -> Result<(), Halt> {
        self.current = self.wait_for_data(deadline)?;
        self.in_use = InUse::Current;
        Ok(())
    }

    /// Takes the next message as the [`current`](Self::current) frame if it comes within about a microsecond and has a
    /// `wanted` correlation id. False, for any reason, means that no message was taken, and
    /// [`take_current`](Self::take_current) has the answer.
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

    /// Takes the next message as the [`current`](Self::current) frame if there is one.
    pub(crate) fn try_take_current(&mut self) -> Result<bool, Halt> {
        self.release_forgotten();
        let Some(frame) = self.try_take()? else { return Ok(false) };
        self.current = frame;
        self.in_use = InUse::Current;
        Ok(true)
    }

    /// Makes a taken message the [`current`](Self::current) frame.
    #[inline]
    pub(crate) fn set_current(&mut self, frame: Frame) {
        self.current = frame;
        self.in_use = InUse::Current;
    }

    /// Makes a message outside of the ring the [`current`](Self::current) frame: a reply or request that was copied
    /// out.
    #[cold]
    pub(crate) fn set_current_copied(&mut self, correlation_id: u64, type_id: u32, payload: AlignedBytes) {
        self.release_forgotten();
        let payload = self.copied.insert(payload);
        let (data, len) = (NonNull::from(&mut payload[..]).cast(), payload.len());
        self.current = Frame { correlation_id, type_id, len, data, ..Frame::none() };
        self.in_use = InUse::Copied;
    }

    /// Keeps the metadata of the message at a position.
    #[cold]
    pub(crate) fn set_metadata(&mut self, position: u64, metadata: Metadata) {
        self.metadata = Some(Box::new((position, metadata)));
    }

    /// The metadata of the message at a position, if that was the last message with metadata.
    pub(crate) fn metadata_at(&self, position: u64) -> Option<&Metadata> {
        let (of, metadata) = self.metadata.as_deref()?;
        (*of == position).then_some(metadata)
    }

    /// The metadata of the current message.
    pub(crate) fn metadata(&self) -> &Metadata {
        self.metadata_at(self.current.position).unwrap_or(Metadata::none())
    }

    /// Takes the metadata of the current message.
    pub(crate) fn take_metadata(&mut self) -> Metadata {
        let taken = self.metadata.take_if(|of| of.0 == self.current.position);
        taken.map(|of| of.1).unwrap_or_default()
    }

    /// Takes the payload of the current frame, if it is not in the ring.
    #[inline]
    pub(crate) fn take_copied(&mut self) -> Option<AlignedBytes> {
        if self.in_use == InUse::Copied {
            self.in_use = InUse::Nothing;
        }
        self.copied.take()
    }

    /// The current frame, which the caller of this function releases.
    #[inline]
    pub(crate) fn detach_current(&mut self) -> Frame {
        self.in_use = InUse::Nothing;
        self.current
    }

    /// Releases the messages of a forgotten guard.
    #[inline]
    pub(super) fn release_forgotten(&mut self) {
        if self.in_use != InUse::Nothing {
            self.release_in_use();
        }
    }

    /// Releases the messages in use.
    #[cold]
    fn release_in_use(&mut self) {
        match core::mem::replace(&mut self.in_use, InUse::Nothing) {
            InUse::Nothing => {}
            InUse::Current => self.release(self.current.position),
            InUse::Copied => self.copied = None,
            InUse::Batch(last) => self.release_through(last),
        }
    }

    /// Releases the messages in use; fast for a current frame in the ring.
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

    /// Checks the deadline and the interrupt, for an operation that takes many messages: a wait that finds a message at
    /// once does not read the clock.
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
        // One more look after the check: no message from before the peer's death is lost.
        look_for_data(connection, ring, consumer)?.map_or(Err(Halt::PeerDead), |found| Ok(Some(found)))
    }

    /// Takes up to `max` messages, waiting for the first. The caller releases them.
    ///
    /// # Panics
    /// When `max` is 0.
    pub(crate) fn take_batch(&mut self, max: usize, deadline: Deadline) -> Result<Vec<Frame>, Halt> {
        assert!(max > 0, "a batch holds at least one message");
        let first = self.take(deadline)?;
        // No more messages than slots can be in flight, so a large `max` costs no memory.
        let most = max.min(self.ring().geometry().slots());
        let mut frames = Vec::with_capacity(most.min(64));
        frames.push(first);
        while frames.len() < most {
            // The next operation reports a fault: the messages before it are sound and must not be lost.
            match self.consumer.try_take() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(frames)
    }

    /// Longest message that this direction can carry, in bytes.
    #[inline]
    pub(crate) fn max_len(&self) -> usize {
        self.ring().geometry().capacity()
    }

    /// Takes up to `max` messages as the messages in use, waiting for the first.
    ///
    /// # Panics
    /// When `max` is 0.
    pub(crate) fn take_current_batch(&mut self, max: usize, deadline: Deadline) -> Result<Vec<Frame>, Halt> {
        let frames = self.take_batch(max, deadline)?;
        self.in_use = frames.last().map_or(InUse::Nothing, |last| InUse::Batch(last.position));
        Ok(frames)
    }

    /// Releases a message, and wakes a producer that waits for room.
    #[inline]
    pub(crate) fn release(&mut self, position: u64) {
        // A forked child drops inherited guards, but the messages belong to the parent.
        if self.connection.check_process().is_err() {
            return;
        }
        if self.consumer.release(position) {
            self.wake();
        }
    }

    /// Releases all messages up to and including `position`.
    pub(crate) fn release_through(&mut self, position: u64) {
        if self.connection.check_process().is_err() {
            return;
        }
        self.consumer.release_through(position);
        self.wake();
    }

    /// Grants credit to the stream with a cell, and wakes a producer that waits for it.
    pub(crate) fn grant(&mut self, cell: usize, granted: u64) {
        // The cell is the parent's.
        if self.connection.check_process().is_err() {
            return;
        }
        self.consumer.grant(cell, granted);
        self.wake();
    }

    /// Takes the credit of a stream that has ended back.
    pub(crate) fn reset_credit(&self, cell: usize) {
        if self.connection.check_process().is_ok() {
            self.consumer.reset_credit(cell);
        }
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

/// One look for a message, and for the end of the ring.
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

/// The last look at a ring that is no longer open.
#[cold]
fn look_at_end(connection: &Connection, ring: &RingMemory, consumer: &mut Consumer) -> Result<Option<Frame>, Halt> {
    if let Some(halt) = connection.end_reason(ring) {
        return Err(halt);
    }
    // The closing side published before it closed, and `end_reason` loads the state with acquire: a message that this
    // look does not find was never sent.
    match consumer.try_take() {
        Ok(None) => Err(Halt::Closed),
        Ok(found) => Ok(found),
        Err(fault) => Err(connection.broken(fault)),
    }
}
