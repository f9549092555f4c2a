//! The calling end of a connection, which never waits.
//!
//! A driver sends with [`try_send`](CallerCore::try_send), takes replies with [`next`](CallerCore::next), and sleeps by
//! itself when neither has anything to do. `docs/internals/drivers.md` has the steps.

use std::collections::VecDeque;
use std::sync::Arc;

use super::caller_stream::CallerStream;
use super::calls::{Answer, Arrived, CallState, Calls, Outcome};
use super::credit::{Window, window_of};
use super::verified::VerifiedEndpoints;
use crate::connection::{End, Established, Halt, MAX_PER_LOOK, Rx, Tx, Unsent, look_for_data, slice};
use crate::ring::{Fault, Frame, MessageHeader, Reservation};
use crate::type_id::{ROUTE_CANCEL, ROUTE_END, ROUTE_ITEM, ROUTE_OPEN, make_type_id, msg_type};
use crate::wait::{Armed, Deadline, arm_and_look};

/// The calling end of a connection, with what its driver attaches to a call: `T`.
#[derive(Debug)]
pub(crate) struct CallerCore<T> {
    pub(crate) tx: Tx,
    pub(crate) rx: Rx,
    pub(crate) calls: Calls<T>,
    pub(crate) verified: VerifiedEndpoints,
    /// Calls whose cancellation found no room.
    cancellations: VecDeque<u64>,
    /// Streams whose next item waits for credit.
    credit_waits: Vec<u64>,
}

/// Every credit cell belongs to an open stream.
#[derive(Debug)]
pub(crate) struct TooManyStreams;

/// The outcome of an attempt to send an item, or END.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemSent {
    /// It was sent.
    Sent,
    /// There is no credit, or no room.
    Full,
    /// The stream has ended, and the callee takes nothing more.
    Ended,
}

/// A message that could not be sent to a callee that is gone is no error: the next take reports the end.
fn unless_gone(sent: Result<ItemSent, Unsent>) -> Result<ItemSent, Unsent> {
    match sent {
        Err(Unsent::Halted(Halt::Closed | Halt::PeerDead)) => Ok(ItemSent::Ended),
        sent => sent,
    }
}

/// The reply to a call that waits. Its frame is the driver's to release.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    pub(crate) tag: T,
    pub(crate) frame: Frame,
}

impl<T> CallerCore<T> {
    pub(crate) fn over(established: &Established) -> Self {
        Self {
            tx: established.tx(0),
            rx: established.rx(1),
            calls: Calls::new(),
            verified: VerifiedEndpoints::default(),
            cancellations: VecDeque::new(),
            credit_waits: Vec::new(),
        }
    }

    /// The header of the next call.
    #[inline]
    pub(crate) fn header(&self, type_id: u32, deadline: Deadline) -> MessageHeader {
        MessageHeader::due(type_id, self.calls.next(), deadline.to_wire())
    }

    /// The fast path: sends a request if the producer knows of room. `None` says that nothing was sent;
    /// [`try_send`](Self::try_send) finds the reason. An owed cancellation found no slot, so the producer knows of none
    /// until `try_send` looks again, and sends the cancellation first.
    #[inline]
    pub(crate) fn send_fast(&mut self, type_id: u32, payload: &[u8], deadline: Deadline, tag: T) -> Option<u64> {
        let sent = self.tx.send_fast(payload, self.header(type_id, deadline));
        sent.then(|| self.calls.sent(tag))
    }

    /// Sends a request and gives its id; gives the tag back when there is no room.
    #[inline]
    pub(crate) fn try_send(
        &mut self,
        type_id: u32,
        payload: &[u8],
        deadline: Deadline,
        tag: T,
    ) -> Result<Result<u64, T>, Unsent> {
        // Cancellations go first: the places that they free may be what the callee waits for.
        if self.flush_cancellations()? && self.tx.try_send(payload, self.header(type_id, deadline))? {
            Ok(Ok(self.calls.sent(tag)))
        } else {
            Ok(Err(tag))
        }
    }

    /// Sends a request whose bytes were written into `reservation`.
    pub(crate) fn commit(&mut self, reservation: Reservation, len: usize, header: MessageHeader, tag: T) -> u64 {
        self.publish(reservation, len, header);
        self.calls.sent(tag)
    }

    /// Whether a credit cell is free. False while the last message of a stream that was given up is on its way.
    ///
    /// # Errors
    /// All cells belong to open streams.
    pub(crate) fn has_cell(&self) -> Result<bool, TooManyStreams> {
        match self.calls.cells().unused() {
            Some(_) => Ok(true),
            None if self.calls.has_closing() => Ok(false),
            None => Err(TooManyStreams),
        }
    }

    /// The route of an OPEN, whose callee may send `window` items ahead; `None` while every credit cell has a stream.
    /// [`opened`](Self::opened) follows, once the OPEN was sent.
    pub(crate) fn open_route(&mut self, window: Option<u32>) -> Option<(u16, Window)> {
        let cell = self.calls.cells().unused()?;
        let size = window_of(window, self.calls.cells().windows(), &self.rx);
        #[allow(clippy::cast_possible_truncation, reason = "there are 32 cells")]
        Some((ROUTE_OPEN + cell as u16, Window::open(cell, size, &mut self.rx)))
    }

    /// Notes that an OPEN was sent, and gives its call's id.
    pub(crate) fn opened(&mut self, type_id: u32, deadline: Deadline, window: Window) -> u64 {
        self.calls.opened(Box::new(CallerStream::new(msg_type(type_id), deadline, window)))
    }

    /// Publishes a request that was written into `reservation`.
    pub(crate) fn publish(&mut self, reservation: Reservation, len: usize, header: MessageHeader) {
        self.tx.publish(reservation, len, header);
        // A connection that has ended is for the wait to report.
        drop(self.flush_cancellations());
    }

    /// Sends an item of a stream if there are credit and room. A stream that has ended, or has the caller's END, takes
    /// no item, and neither does a callee that is gone: what it published is still to be taken, and then its end.
    ///
    /// # Errors
    /// The item can never fit, or the connection has ended otherwise.
    pub(crate) fn try_send_item(&mut self, id: u64, payload: &[u8]) -> Result<ItemSent, Unsent> {
        unless_gone(self.send_item(id, payload))
    }

    fn send_item(&mut self, id: u64, payload: &[u8]) -> Result<ItemSent, Unsent> {
        let may_send = self.flush_cancellations()?;
        let Self { tx, calls, .. } = self;
        let Some(stream) = calls.stream(id) else { return Ok(ItemSent::Ended) };
        tx.check(payload.len())?;
        if !stream.takes_items() {
            return Ok(ItemSent::Ended);
        }
        let header = MessageHeader::new(make_type_id(ROUTE_ITEM, stream.msg_type), id);
        if !may_send || !stream.credit.check(tx)? || !tx.try_send(payload, header)? {
            return Ok(ItemSent::Full);
        }
        stream.credit.note_sent();
        Ok(ItemSent::Sent)
    }

    /// Whether the next item of a stream need not wait for credit. A stream that has ended takes no item.
    ///
    /// # Errors
    /// A credit that no correct callee grants.
    pub(crate) fn has_credit(&mut self, id: u64) -> Result<bool, Halt> {
        let Self { tx, calls, .. } = self;
        calls.stream(id).filter(|stream| stream.takes_items()).map_or(Ok(true), |stream| stream.credit.check(tx))
    }

    /// Notes that the next item of a stream waits for credit. True for a new wait: the driver [arms](Self::arm) anew.
    pub(crate) fn await_credit(&mut self, id: u64) -> bool {
        let is_new = !self.credit_waits.contains(&id);
        if is_new {
            self.credit_waits.push(id);
        }
        is_new
    }

    /// Whether [`take_credited`](Self::take_credited) gives a stream.
    fn has_credited(&mut self) -> bool {
        let Self { tx, calls, credit_waits, .. } = self;
        credit_waits.iter().any(|id| need_not_wait(calls, tx, *id))
    }

    /// Takes the streams that need not wait for credit any more: there is credit, the stream has ended, or the next
    /// item reports a fault.
    pub(crate) fn take_credited(&mut self) -> Vec<u64> {
        let Self { tx, calls, credit_waits, .. } = self;
        credit_waits.extract_if(.., |id| need_not_wait(calls, tx, *id)).collect()
    }

    /// Sends the END of the caller's items if there is room. A stream that has ended, or has its END, needs none, and
    /// neither does a callee that is gone: what it published is still to be taken, and then its end.
    ///
    /// # Errors
    /// The connection has ended otherwise.
    pub(crate) fn try_send_end(&mut self, id: u64) -> Result<ItemSent, Unsent> {
        unless_gone(self.send_end(id))
    }

    fn send_end(&mut self, id: u64) -> Result<ItemSent, Unsent> {
        let may_send = self.flush_cancellations()?;
        let Self { tx, calls, .. } = self;
        let Some(stream) = calls.stream(id) else { return Ok(ItemSent::Ended) };
        if !stream.takes_items() {
            return Ok(ItemSent::Ended);
        }
        if !may_send || !tx.try_send(&[], MessageHeader::new(make_type_id(ROUTE_END, stream.msg_type), id))? {
            return Ok(ItemSent::Full);
        }
        stream.has_sent_end = true;
        Ok(ItemSent::Sent)
    }

    /// Takes the next item of a stream that lies here, copied out, and grants credit for it.
    pub(crate) fn take_arrived(&mut self, id: u64) -> Option<Arrived> {
        let stream = self.calls.stream(id)?;
        let arrived = stream.arrived.pop_front()?;
        if stream.end.is_none() {
            stream.window.take(&mut self.rx);
        }
        Some(arrived)
    }

    /// Takes the outcome of a stream whose items are all taken, and forgets the stream; `None` while it goes on.
    pub(crate) fn take_stream_outcome(&mut self, id: u64) -> Option<Outcome> {
        let stream = self.calls.stream(id)?;
        if stream.arrived.is_empty() && stream.end.is_some() { self.calls.stream_ended(id) } else { None }
    }

    /// Counts an item of a stream that was taken off the ring, to be lent in place.
    ///
    /// # Errors
    /// The item had no credit.
    pub(crate) fn lend_item(&mut self, id: u64, type_id: u32) -> Result<(), Halt> {
        let Some(stream) = self.calls.stream(id) else { return Ok(()) };
        if !stream.window.note_received() {
            return Err(self.rx.connection.broken(Fault::Stream { correlation_id: id, type_id }));
        }
        stream.window.take(&mut self.rx);
        Ok(())
    }

    /// Grants a stream all credit that there is: its user is about to wait for an item.
    pub(crate) fn grant(&mut self, id: u64) {
        if let Some(stream) = self.calls.stream(id)
            && stream.end.is_none()
        {
            stream.window.grant(&mut self.rx);
        }
    }

    /// Takes the next reply to a call that waits. On the way it files the messages of streams, and releases replies to
    /// calls that were given up, at most [`MAX_PER_LOOK`] of both: after `None` there
    /// [may be more](Self::may_have_more).
    ///
    /// # Errors
    /// The connection's end, once the ring is empty; a fault for a reply to no call at all.
    pub(crate) fn next(&mut self) -> Result<Option<Reply<T>>, Halt> {
        self.rx.connection.check_process()?;
        for _ in 0..MAX_PER_LOOK {
            let Some(frame) = self.look()? else { return Ok(None) };
            match self.calls.answered(frame.correlation_id) {
                Answer::Awaited(tag) => return Ok(Some(Reply { tag, frame })),
                Answer::Forgotten => self.rx.release(frame.position),
                Answer::Stream => self.file(frame)?,
                Answer::Impossible => return Err(self.impossible(frame.correlation_id)),
            }
        }
        Ok(None)
    }

    /// Takes the reply to a call as the current frame of the reverse ring, if the call is the only one in flight and
    /// its reply comes soon and lies in its slot. False, for any reason, says that nothing was taken.
    #[inline]
    pub(crate) fn take_reply_fast(&mut self, id: u64) -> bool {
        if !self.calls.is_single(id) {
            return false;
        }
        let came = self.rx.take_fast(|of| of == id);
        if came {
            self.calls.take_single();
        }
        came
    }

    /// Looks once for a reply to any call.
    #[inline]
    pub(crate) fn look(&mut self) -> Result<Option<Frame>, Halt> {
        let Rx { connection, index, consumer, .. } = &mut self.rx;
        look_for_data(connection, connection.ring(*index), consumer)
    }

    /// Takes the callee's rings off the socket. True when the callee is gone; the replies in the ring are then its
    /// last. A driver hears before it looks.
    ///
    /// # Errors
    /// A fault: the callee sent something else than a ring.
    #[cfg(not(loom))]
    pub(crate) fn hear(&self) -> Result<bool, Halt> {
        let connection = &self.rx.connection;
        // A ring that a forked child takes would be missing in its parent.
        connection.check_process()?;
        connection.peer.hear().map_err(|fault| connection.broken(fault))?;
        Ok(connection.peer.is_gone())
    }

    /// Asks the callee to ring for the next reply, for room of so many bytes if a request waits for it, and for credit
    /// if an item waits for it. True when there is nothing to do yet: the driver sleeps, for no longer than
    /// [`SECOND_LOOK`](crate::wait::SECOND_LOOK) at first.
    pub(crate) fn arm(&mut self, room: Option<usize>) -> bool {
        let connection = Arc::clone(&self.tx.connection);
        let replies = &connection.ring(1).header().consumer_parked.0;
        let requests = &connection.ring(0).header().producer_parked.0;
        // A cancellation needs a slot and no more.
        let room = room.or(self.has_pending_cancellations().then_some(0));
        // The callee rings for credit as for room. Credit needs no room.
        let room = room.map(Some).or((!self.credit_waits.is_empty()).then_some(None));
        let words = [replies, requests];
        let words = if room.is_some() { &words[..] } else { &words[..1] };
        let mut look = || {
            // The driver reports an error by its next look.
            let has_room =
                room.flatten().is_some_and(|len| !matches!(self.tx.try_reserve(len), Ok(None))) || self.has_credited();
            Ok::<_, core::convert::Infallible>((has_room || self.may_have_more()).then_some(()))
        };
        matches!(arm_and_look(words, &mut look), Ok(Armed::Sleep { .. }))
    }

    /// Whether everything that [`arm`](Self::arm) asked for is still to come, for a driver that has looked in vain. The
    /// callee may have rung for the reply to a call that was given up, which the look took.
    pub(crate) fn is_armed(&self, room: bool) -> bool {
        let connection = &self.tx.connection;
        let room = room || self.has_pending_cancellations() || !self.credit_waits.is_empty();
        connection.ring(1).header().consumer_parked.0.is_set()
            && (!room || connection.ring(0).header().producer_parked.0.is_set())
    }

    /// Asks the callee to ring no more: the driver looks by itself from now on.
    pub(crate) fn disarm(&self) {
        let connection = &self.tx.connection;
        // The words are the parent's, which still wants to be rung.
        if connection.check_process().is_err() {
            return;
        }
        connection.ring(1).header().consumer_parked.0.clear();
        connection.ring(0).header().producer_parked.0.clear();
    }

    /// Whether something lies in the reply ring: a message, or a reason to give the connection up.
    pub(crate) fn may_have_more(&self) -> bool {
        self.rx.consumer.is_ready()
    }

    /// Files a reply that is not the one waited for: kept for its own waiter, dropped if its call was given up.
    #[cold]
    pub(crate) fn file(&mut self, frame: Frame) -> Result<(), Halt> {
        file(&mut self.rx, &mut self.calls, frame)
    }

    #[cold]
    fn impossible(&self, id: u64) -> Halt {
        self.rx.connection.broken(Fault::Correlation(id))
    }

    /// Where a call stands.
    #[inline]
    pub(crate) fn standing(&self, id: u64) -> CallState {
        self.calls.standing(id)
    }

    /// Takes the outcome of a finished call.
    pub(crate) fn take_outcome(&mut self, id: u64) -> Option<Outcome> {
        self.calls.take_outcome(id)
    }

    /// Gives a call up. Its place is free at once, and a late reply is dropped. With `cancel` the callee gets a CANCEL;
    /// a call whose deadline has passed needs none. False when no such call is outstanding.
    pub(crate) fn end(&mut self, id: u64, cancel: bool) -> bool {
        let Some(waited) = self.calls.end(id) else { return false };
        if waited && cancel {
            self.cancellations.push_back(id);
            // A fault of the connection is reported by the next operation.
            drop(self.flush_cancellations());
        }
        true
    }

    /// As [`end`](Self::end), for all calls. Gives what was attached to them.
    pub(crate) fn end_all(&mut self, cancel: bool) -> Vec<T> {
        let ended = self.calls.take_all();
        if cancel {
            self.cancellations.extend(ended.iter().map(|(id, _)| id));
            drop(self.flush_cancellations());
        }
        ended.into_iter().filter_map(|(_, tag)| tag).collect()
    }

    /// Whether cancellations wait for room.
    #[inline]
    pub(crate) fn has_pending_cancellations(&self) -> bool {
        !self.cancellations.is_empty()
    }

    /// Sends the cancellations that are owed, as far as there is room; true when none is left.
    #[inline]
    pub(crate) fn flush_cancellations(&mut self) -> Result<bool, Unsent> {
        if self.cancellations.is_empty() { Ok(true) } else { self.send_cancellations() }
    }

    #[cold]
    fn send_cancellations(&mut self) -> Result<bool, Unsent> {
        while let Some(id) = self.cancellations.front() {
            if !self.tx.try_send(&[], MessageHeader::new(make_type_id(ROUTE_CANCEL, 0), *id))? {
                return Ok(false);
            }
            self.cancellations.pop_front();
        }
        Ok(true)
    }

    /// Ends all calls with their connection: the outcome of calls in flight is `end`, and what was attached to them is
    /// dropped. A stream keeps the items that have come, and ends with `end` after them.
    pub(crate) fn lose(&mut self, end: &End) {
        self.calls.lose(end);
        self.cancellations.clear();
        self.credit_waits.clear();
    }

    /// Replaces a connection that ended by `end`. Replies that the old ring still holds are kept, and calls without a
    /// reply are lost. Ids go on growing.
    pub(crate) fn replace(&mut self, established: Option<&Established>, end: &End) {
        // A hostile callee could go on sending: at most as many as the ring holds.
        for _ in 0..self.rx.ring().geometry().slots() {
            // The connection is given up, and its faults with it.
            let Ok(Some(frame)) = self.rx.consumer.try_take() else { break };
            if self.file(frame).is_err() {
                break;
            }
        }
        self.lose(end);
        // The next callee may declare the same endpoints differently.
        self.verified = VerifiedEndpoints::default();
        let Some(established) = established else { return };
        let (mut tx, mut rx) = (established.tx(0), established.rx(1));
        // The user chose how this side waits, and the budget has learnt.
        (tx.waiter, rx.waiter) = (self.tx.waiter, self.rx.waiter);
        (self.tx, self.rx) = (tx, rx);
    }
}

/// Whether the next item of a stream need not wait for credit.
fn need_not_wait<T>(calls: &mut Calls<T>, tx: &Tx, id: u64) -> bool {
    let stream = calls.stream(id).filter(|stream| stream.takes_items());
    stream.is_none_or(|stream| !matches!(stream.credit.is_open(&tx.producer), Ok(false)))
}

/// As [`CallerCore::file`], while the other direction is in use.
#[cold]
pub(crate) fn file<T>(rx: &mut Rx, calls: &mut Calls<T>, frame: Frame) -> Result<(), Halt> {
    let id = frame.correlation_id;
    let arrived = || Arrived { type_id: frame.type_id, payload: slice::payload(&frame, rx).into() };
    if let Err(fault) = calls.keep(id, frame.type_id, arrived) {
        return Err(rx.connection.broken(fault));
    }
    rx.release(frame.position);
    Ok(())
}
