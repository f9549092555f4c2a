//! The open streams of a callee: which stream takes the next step, and what becomes of its messages.

use super::credit::{SendCredit, Window, window_of};
use crate::connection::{Halt, Rx, Tx, Unsent, slice};
use crate::ring::{CELLS, Fault, Frame};
use crate::type_id::{ROUTE_END, ROUTE_ITEM, ROUTE_OPEN, msg_type, route_id};
use crate::wait::Deadline;

/// The handler's side of an open stream.
pub(crate) trait StreamBody {
    /// Whether the handler takes items of the caller.
    fn takes_items(&self) -> bool;

    /// Sends the next item through `tx`, which has room for one, if `may_send` says that it may.
    fn step(&mut self, tx: &mut Tx, may_send: bool) -> StreamStep;

    /// Takes a copy of an item of the caller.
    fn take_item(&mut self, item: &[u8]);

    /// Notes that the caller sends no further item.
    fn end_items(&mut self);

    /// Items of the caller that the handler has taken in all. The serving thread grants credit for them.
    fn taken(&self) -> u64;

    /// Whether a handler that runs elsewhere has changed something since the last step. `_is_blocked` says that an item
    /// waits for credit or room, as the last step found.
    fn has_changed(&self, _is_blocked: bool) -> bool {
        false
    }
}

/// The outcome of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamStep {
    /// An item was sent.
    Sent,
    /// There is no item so far. The handler wakes the serving thread.
    Pending,
    /// There is an item, and it may not be sent yet.
    Blocked,
    /// The handler is done: its last message follows.
    Done,
}

impl StreamBody for core::convert::Infallible {
    fn takes_items(&self) -> bool {
        match *self {}
    }

    fn step(&mut self, _: &mut Tx, _: bool) -> StreamStep {
        match *self {}
    }

    fn take_item(&mut self, _: &[u8]) {
        match *self {}
    }

    fn end_items(&mut self) {
        match *self {}
    }

    fn taken(&self) -> u64 {
        match *self {}
    }
}

/// An open stream. `B` is the handler's side.
#[derive(Debug)]
pub(crate) struct OpenStream<B> {
    pub(crate) call: u64,
    pub(crate) msg_type: u16,
    pub(crate) body: B,
    cell: usize,
    credit: SendCredit,
    window: Window,
    deadline: Deadline,
    has_ended_items: bool,
    /// Whether an item waits for credit or room.
    is_blocked: bool,
}

/// The open streams of one connection.
#[derive(Debug)]
pub(crate) struct CalleeStreams<B> {
    open: Vec<OpenStream<B>>,
    /// The stream that takes the next step.
    next: usize,
}

/// How a stream left the table.
#[derive(Debug)]
pub(crate) enum Stepped<B> {
    /// No stream has a step to take.
    Nothing,
    Sent,
    /// The deadline of a stream has passed, or its handler is done.
    Left(OpenStream<B>, StreamEnd),
}

/// Why a stream leaves the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    Done,
    DeadlinePassed,
}

impl<B: StreamBody> CalleeStreams<B> {
    pub(crate) fn new() -> Self {
        Self { open: Vec::new(), next: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether an item waits for credit or room.
    pub(crate) fn is_blocked(&self) -> bool {
        self.open.iter().any(|stream| stream.is_blocked)
    }

    /// Whether a stream has a step to take: a handler that runs elsewhere has changed something, an item that waited
    /// for credit and room has both, or a fault was found, which the step reports.
    pub(crate) fn is_due(&mut self, tx: &mut Tx) -> bool {
        if self.open.iter().any(|stream| stream.body.has_changed(stream.is_blocked)) {
            return true;
        }
        if tx.has_deferred() {
            return false;
        }
        let mut blocked = self.open.iter_mut().filter(|stream| stream.is_blocked);
        blocked.any(|stream| !matches!(stream.credit.is_open(&tx.producer), Ok(false)))
            && !matches!(tx.try_reserve(0), Ok(None))
    }

    /// The earliest deadline of an open stream.
    pub(crate) fn deadline(&self) -> Deadline {
        self.open.iter().fold(Deadline::never(), |earliest, stream| earliest.min(stream.deadline))
    }

    fn index_of(&self, call: u64) -> Option<usize> {
        self.open.iter().position(|stream| stream.call == call)
    }

    /// Checks that an OPEN uses a cell and an id that no open stream has.
    pub(crate) fn check_open(&self, frame: &Frame, rx: &Rx) -> Result<usize, Halt> {
        let cell = usize::from(route_id(frame.type_id) - ROUTE_OPEN);
        let in_use = self.open.iter().any(|stream| stream.cell == cell || stream.call == frame.correlation_id);
        if in_use { Err(misplaced(frame, rx)) } else { Ok(cell) }
    }

    /// Adds a stream that was opened.
    pub(crate) fn add(&mut self, frame: &Frame, cell: usize, deadline: Deadline, body: B, rx: &mut Rx) {
        let windows = self.open.iter().map(|stream| stream.window.size()).sum();
        let window = if body.takes_items() {
            Window::open(cell, window_of(None, windows, rx), rx)
        } else {
            Window::closed(cell)
        };
        self.open.push(OpenStream {
            call: frame.correlation_id,
            msg_type: msg_type(frame.type_id),
            body,
            cell,
            credit: SendCredit::new(cell),
            window,
            deadline,
            has_ended_items: false,
            is_blocked: false,
        });
    }

    /// Takes an item of the caller, or its END. A message of a stream that has ended is dropped: it was under way.
    pub(crate) fn take(&mut self, rx: &Rx) -> Result<(), Halt> {
        let frame = &rx.current;
        let Some(at) = self.index_of(frame.correlation_id) else { return Ok(()) };
        let stream = &mut self.open[at];
        if stream.has_ended_items || !stream.body.takes_items() && route_id(frame.type_id) == ROUTE_ITEM {
            return Err(misplaced(frame, rx));
        }
        if route_id(frame.type_id) == ROUTE_END {
            stream.has_ended_items = true;
            stream.body.end_items();
            return Ok(());
        }
        if !stream.window.note_received() {
            return Err(misplaced(frame, rx));
        }
        stream.body.take_item(slice::payload(frame, rx));
        Ok(())
    }

    /// Takes one step of the next stream that can take one. Grants credit for items that handlers have taken.
    pub(crate) fn step(&mut self, rx: &mut Rx, tx: &mut Tx) -> Result<Stepped<B>, Halt> {
        for _ in 0..self.open.len() {
            let at = self.next % self.open.len();
            self.next = at + 1;
            let stream = &mut self.open[at];
            stream.window.note_taken(stream.body.taken(), rx);
            let may_send = has_room(tx)? && stream.credit.check(tx)?;
            let step = stream.body.step(tx, may_send);
            stream.is_blocked = step == StreamStep::Blocked;
            match step {
                StreamStep::Sent => {
                    stream.credit.note_sent();
                    return Ok(Stepped::Sent);
                }
                StreamStep::Done => return Ok(Stepped::Left(self.remove(at, rx), StreamEnd::Done)),
                StreamStep::Pending | StreamStep::Blocked => {
                    if stream.deadline.has_passed() {
                        return Ok(Stepped::Left(self.remove(at, rx), StreamEnd::DeadlinePassed));
                    }
                    stream.window.grant(rx);
                }
            }
        }
        Ok(Stepped::Nothing)
    }

    /// Removes a stream. The caller of this function sends its last message, or closes the connection.
    fn remove(&mut self, at: usize, rx: &Rx) -> OpenStream<B> {
        let stream = self.open.remove(at);
        if self.next > at {
            self.next -= 1;
        }
        // Before the last message: after it the caller may open another stream with the cell.
        rx.reset_credit(stream.cell);
        stream
    }

    /// Removes the stream of a call.
    pub(crate) fn take_out(&mut self, call: u64, rx: &Rx) -> Option<OpenStream<B>> {
        self.index_of(call).map(|at| self.remove(at, rx))
    }

    /// Removes a stream, in any order.
    pub(crate) fn pop(&mut self, rx: &Rx) -> Option<OpenStream<B>> {
        self.open.len().checked_sub(1).map(|last| self.remove(last, rx))
    }
}

/// Whether a message may be sent now, and needs no heap.
fn has_room(tx: &mut Tx) -> Result<bool, Halt> {
    if tx.has_deferred() {
        return Ok(false);
    }
    tx.producer.prepare_ahead();
    // The send finds out whether the ring is open.
    if tx.producer.has_slot() {
        return Ok(true);
    }
    match tx.try_reserve(0) {
        Ok(found) => Ok(found.is_some()),
        // The look at the ring reports the caller's end, after the last requests.
        Err(Unsent::Halted(Halt::Closed | Halt::PeerDead)) => Ok(false),
        Err(Unsent::Halted(halt)) => Err(halt),
        Err(Unsent::TooLarge { .. }) => Ok(true),
    }
}

/// The end of a connection whose caller sent a message of a stream that no correct caller sends.
#[cold]
pub(super) fn misplaced(frame: &Frame, rx: &Rx) -> Halt {
    rx.connection.broken(Fault::Stream { correlation_id: frame.correlation_id, type_id: frame.type_id })
}

/// Whether a request with a type identifier opens a stream.
#[inline]
pub(super) fn opens(type_id: u32) -> bool {
    usize::from(route_id(type_id).wrapping_sub(ROUTE_OPEN)) < CELLS
}

/// Whether a frame opens a stream.
#[inline]
pub(crate) fn is_open(frame: &Frame) -> bool {
    opens(frame.type_id)
}

/// Whether a frame is an item of an open stream, or the END of its items.
pub(crate) fn is_stream_message(frame: &Frame) -> bool {
    matches!(route_id(frame.type_id), ROUTE_ITEM | ROUTE_END)
}
