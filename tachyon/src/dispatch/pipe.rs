//! The pipe between the serving thread and the handler of a stream that runs elsewhere: as a task, or on a thread.
//!
//! The serving thread puts the caller's items into the pipe, and takes the handler's items and its outcome out of it.
//! The window of the stream bounds the caller's items, [`ROOM`] the handler's. Each side changes the pipe under its
//! lock and wakes the other side afterwards: the handler by a waker or the condition variable, the serving thread by
//! the [`ServingWake`] of its connection.

use core::fmt;
use core::mem;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::error::HandlerError;
use super::task::{AsyncReply, HandlerFuture};
use crate::aligned::AlignedBytes;
use crate::connection::ProcessMutex;
use crate::engine::ErrorKind;
use crate::foreign::Panicked;
use crate::sync::Condvar;
use crate::wait::ServingWake;

/// Most items of a handler that wait for the caller. Then the handler waits, until half of them are sent.
const ROOM: usize = 32;

/// Taken items after which the serving thread is woken to grant new credit, if others are left to take.
const TAKEN_PER_WAKE: u64 = 8;

/// The outcome of a handler.
pub(super) type Returned = Result<AsyncReply, Panicked>;

/// The pipe of one stream.
pub(crate) struct Pipe {
    /// A forked child has no handlers, and gets no access.
    state: ProcessMutex<State>,
    /// Wakes threads of the handler.
    changed: Condvar,
    wake: Arc<ServingWake>,
    /// Longest item that fits the ring, in bytes.
    max_len: usize,
}

#[derive(Default)]
struct State {
    /// Items of the caller that the handler has not taken.
    received: VecDeque<AlignedBytes>,
    /// Whether the caller sends no further item.
    has_ended: bool,
    /// Whether the handler takes no further item.
    is_deaf: bool,
    /// Items of the caller that the handler has taken, and how many of them the serving thread knows of.
    taken: u64,
    noted: u64,
    /// Encoded items of the handler that are not sent.
    sent: VecDeque<Vec<u8>>,
    /// Whether senders wait until half of the room is free.
    is_full: bool,
    outcome: Option<Returned>,
    /// Whether the stream is over for its handler.
    is_cancelled: bool,
    /// Whether the handler knows that.
    is_told: bool,
    /// The wakers of the task, of the receiver of its items, and of senders without room.
    task: Option<Waker>,
    receiver: Option<Waker>,
    senders: Vec<Waker>,
    /// Threads of the handler that wait.
    waiting: u32,
}

/// The next message of a handler.
pub(super) enum NextMessage {
    Item(Vec<u8>),
    /// There is an item, and it may not be sent.
    Blocked,
    /// There is none so far.
    Pending,
    /// The handler is done.
    Done,
}

/// Why an operation of a handler has no result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The stream is over.
    Cancelled,
    /// The item is longer than the ring.
    TooLarge { size: usize, max: usize },
}

/// The next item of a handler's caller.
type Received = Option<Result<AlignedBytes, Refused>>;

impl Pipe {
    pub(super) fn new(wake: &Arc<ServingWake>, max_len: usize) -> Arc<Self> {
        Arc::new(Self {
            state: ProcessMutex::new(State::default()),
            changed: Condvar::new(),
            wake: Arc::clone(wake),
            max_len,
        })
    }

    // The serving thread.

    /// Puts an item of the caller into the pipe.
    pub(super) fn put(&self, item: &[u8]) {
        let Some(mut state) = self.state.lock() else { return };
        if state.is_deaf || state.is_cancelled {
            state.taken += 1;
            return;
        }
        state.received.push_back(item.into());
        let waker = state.receiver.take();
        self.unlock_and_wake(state, waker);
    }

    /// Notes that the caller sends no further item.
    pub(super) fn end(&self) {
        let Some(mut state) = self.state.lock() else { return };
        state.has_ended = true;
        let waker = state.receiver.take();
        self.unlock_and_wake(state, waker);
    }

    /// Wakes the waiting threads and the wakers. Wakers are code of a runtime, which the lock never covers.
    fn unlock_and_wake(&self, state: MutexGuard<'_, State>, wakers: impl IntoIterator<Item = Waker>) {
        let has_waiting = state.waiting > 0;
        drop(state);
        if has_waiting {
            self.changed.notify_all();
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Items of the caller that are taken in all.
    pub(super) fn note_taken(&self) -> u64 {
        let Some(mut state) = self.state.lock() else { return 0 };
        state.noted = state.taken;
        state.taken
    }

    /// Whether the pipe has something that the serving thread does not know of. `is_blocked` says that it knows of an
    /// item.
    pub(super) fn has_news(&self, is_blocked: bool) -> bool {
        let Some(state) = self.state.lock() else { return false };
        let has_message = !state.sent.is_empty() || state.outcome.is_some();
        state.taken != state.noted || (has_message && !is_blocked)
    }

    /// Takes the next message of the handler.
    pub(super) fn next(&self, may_send: bool) -> NextMessage {
        let Some(mut state) = self.state.lock() else { return NextMessage::Pending };
        if state.sent.is_empty() {
            return if state.outcome.is_some() { NextMessage::Done } else { NextMessage::Pending };
        }
        if !may_send {
            return NextMessage::Blocked;
        }
        let Some(item) = state.sent.pop_front() else { return NextMessage::Pending };
        if state.is_full && state.sent.len() <= ROOM / 2 {
            state.is_full = false;
            let senders = mem::take(&mut state.senders);
            self.unlock_and_wake(state, senders);
        }
        NextMessage::Item(item)
    }

    /// The outcome of the handler, once.
    pub(super) fn take_outcome(&self) -> Option<Returned> {
        self.state.lock()?.outcome.take()
    }

    /// Ends the stream for its handler, which sees that at its next operation.
    pub(super) fn cancel(&self) {
        let Some(mut state) = self.state.lock() else { return };
        if mem::replace(&mut state.is_cancelled, true) {
            return;
        }
        // All items were taken, and none follows: the handler has the whole stream.
        let is_whole = state.has_ended && state.received.is_empty();
        state.is_told |= is_whole;
        let dropped = (mem::take(&mut state.received), mem::take(&mut state.sent), state.outcome.take());
        let (task, receiver, senders) = (state.task.take(), state.receiver.take(), mem::take(&mut state.senders));
        self.unlock_and_wake(state, task.into_iter().chain(receiver).chain(senders));
        drop(dropped);
    }

    // The handler.

    /// Takes the next item of the caller, if there is one or will be none.
    fn take(&self, state: &mut State) -> Option<Received> {
        if let Some(item) = state.received.pop_front() {
            state.taken += 1;
            let is_batch = state.received.is_empty() || state.taken - state.noted >= TAKEN_PER_WAKE;
            if is_batch {
                self.wake.wake();
            }
            return Some(Some(Ok(item)));
        }
        if state.is_cancelled {
            let is_told = mem::replace(&mut state.is_told, true);
            return Some((!is_told).then_some(Err(Refused::Cancelled)));
        }
        state.has_ended.then_some(None)
    }

    /// The next item of the caller.
    pub(super) fn poll_take(&self, context: &Context<'_>) -> Poll<Received> {
        let Some(mut state) = self.state.lock() else { return Poll::Ready(Some(Err(Refused::Cancelled))) };
        match self.take(&mut state) {
            Some(received) => Poll::Ready(received),
            None => {
                let before = state.receiver.replace(context.waker().clone());
                drop(state);
                drop(before);
                Poll::Pending
            }
        }
    }

    /// As [`poll_take`](Self::poll_take), on a thread that waits.
    pub(super) fn wait_take(&self) -> Received {
        let Some(mut state) = self.state.lock() else { return Some(Err(Refused::Cancelled)) };
        loop {
            if let Some(received) = self.take(&mut state) {
                return received;
            }
            state = self.wait(state);
        }
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waiting += 1;
        // Each change is one step, so the state is consistent whenever it is unlocked.
        let mut state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    /// Drops the items of the caller from now on.
    pub(super) fn stop_taking(&self) {
        let Some(mut state) = self.state.lock() else { return };
        let dropped = mem::take(&mut state.received);
        state.is_deaf = true;
        state.taken += dropped.len() as u64;
        drop(state);
        if !dropped.is_empty() {
            self.wake.wake();
        }
    }

    /// Sends an item if there is room. `None` without room; the item is left in place then.
    fn offer(&self, state: &mut State, item: &mut Vec<u8>) -> Option<Result<(), Refused>> {
        if state.is_cancelled || state.outcome.is_some() {
            return Some(Err(Refused::Cancelled));
        }
        if item.len() > self.max_len {
            return Some(Err(Refused::TooLarge { size: item.len(), max: self.max_len }));
        }
        if state.is_full {
            return None;
        }
        state.sent.push_back(mem::take(item));
        state.is_full = state.sent.len() >= ROOM;
        Some(Ok(()))
    }

    /// Sends an item, which is left in place without room.
    pub(super) fn poll_send(&self, item: &mut Vec<u8>, context: &Context<'_>) -> Poll<Result<(), Refused>> {
        let Some(mut state) = self.state.lock() else { return Poll::Ready(Err(Refused::Cancelled)) };
        let Some(sent) = self.offer(&mut state, item) else {
            if !state.senders.iter().any(|waker| waker.will_wake(context.waker())) {
                state.senders.push(context.waker().clone());
            }
            return Poll::Pending;
        };
        drop(state);
        self.wake.wake();
        Poll::Ready(sent)
    }

    /// As [`poll_send`](Self::poll_send), on a thread that waits.
    pub(super) fn wait_send(&self, mut item: Vec<u8>) -> Result<(), Refused> {
        let Some(mut state) = self.state.lock() else { return Err(Refused::Cancelled) };
        loop {
            if let Some(sent) = self.offer(&mut state, &mut item) {
                drop(state);
                self.wake.wake();
                return sent;
            }
            state = self.wait(state);
        }
    }

    /// Waits for the cancel of the stream, as the task that runs the handler.
    fn poll_cancelled(&self, context: &Context<'_>) -> Poll<()> {
        let Some(mut state) = self.state.lock() else { return Poll::Ready(()) };
        if state.is_cancelled {
            return Poll::Ready(());
        }
        if state.task.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            let before = state.task.replace(context.waker().clone());
            drop(state);
            drop(before);
        }
        Poll::Pending
    }

    /// Ends the handler.
    pub(crate) fn finish(&self, outcome: Returned) {
        let Some(mut state) = self.state.lock() else { return };
        if state.is_cancelled || state.outcome.is_some() {
            drop(state);
            return;
        }
        state.outcome = Some(outcome);
        let senders = mem::take(&mut state.senders);
        self.unlock_and_wake(state, senders);
        self.wake.wake();
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").finish_non_exhaustive()
    }
}

/// The handler of a stream that runs outside of the serving thread. As a future it ends when the handler is done, or
/// the stream is cancelled. Dropping it ends the stream with an error.
#[derive(Debug)]
pub struct Detached {
    handler: Option<HandlerFuture>,
    pipe: Arc<Pipe>,
}

impl Detached {
    pub(super) fn new(handler: HandlerFuture, pipe: &Arc<Pipe>) -> Self {
        Self { handler: Some(handler), pipe: Arc::clone(pipe) }
    }
}

impl Future for Detached {
    type Output = ();

    fn poll(mut self: core::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(handler) = &mut this.handler else { return Poll::Ready(()) };
        if this.pipe.poll_cancelled(context).is_pending() {
            let Poll::Ready(outcome) = core::pin::Pin::new(handler).poll(context) else { return Poll::Pending };
            this.pipe.finish(outcome);
        }
        this.handler = None;
        Poll::Ready(())
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        if let Some(handler) = self.handler.take() {
            drop(handler);
            let error = || HandlerError::new(ErrorKind::Cancelled, "was dropped before it was done");
            self.pipe.finish(Ok(AsyncReply::new(move |_| Err(error()))));
        }
    }
}
