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

use super::reply::AsyncReply;
use crate::aligned::AlignedBytes;
use crate::connection::ProcessMutex;
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
    life: Life,
    /// The wakers of the task, of the receiver of its items, and of senders without room.
    task: Option<Waker>,
    receiver: Option<Waker>,
    senders: Vec<Waker>,
    /// Threads of the handler that wait.
    waiting: u32,
}

/// Whether the stream goes on for its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Life {
    #[default]
    Open,
    Cancelled,
    /// It is cancelled, and the receiver of the caller's items has got the error.
    Told,
}

impl State {
    fn is_cancelled(&self) -> bool {
        self.life != Life::Open
    }
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
        if state.is_deaf || state.is_cancelled() {
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
    pub(super) fn has_changed(&self, is_blocked: bool) -> bool {
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
        if state.is_cancelled() {
            return;
        }
        // All items were taken, and none follows: the receiver has seen the whole stream.
        let is_whole = state.has_ended && state.received.is_empty();
        state.life = if is_whole { Life::Told } else { Life::Cancelled };
        let dropped = (mem::take(&mut state.received), mem::take(&mut state.sent), state.outcome.take());
        let (task, receiver, senders) = (state.task.take(), state.receiver.take(), mem::take(&mut state.senders));
        self.unlock_and_wake(state, task.into_iter().chain(receiver).chain(senders));
        drop(dropped);
    }

    // The handler.

    /// Takes the next item of the caller, if there is one or will be none. Also tells whether credit is due, for which
    /// the serving thread is woken.
    fn take(state: &mut State) -> Option<(Received, bool)> {
        if let Some(item) = state.received.pop_front() {
            state.taken += 1;
            let is_due = state.received.is_empty() || state.taken - state.noted >= TAKEN_PER_WAKE;
            return Some((Some(Ok(item)), is_due));
        }
        let received = match state.life {
            Life::Open if !state.has_ended => return None,
            Life::Open | Life::Told => None,
            Life::Cancelled => {
                state.life = Life::Told;
                Some(Err(Refused::Cancelled))
            }
        };
        Some((received, false))
    }

    /// The next item of the caller.
    pub(super) fn poll_take(&self, context: &Context<'_>) -> Poll<Received> {
        let Some(mut state) = self.state.lock() else { return Poll::Ready(Some(Err(Refused::Cancelled))) };
        let Some((received, is_due)) = Self::take(&mut state) else {
            let before = state.receiver.replace(context.waker().clone());
            drop(state);
            drop(before);
            return Poll::Pending;
        };
        drop(state);
        if is_due {
            self.wake.wake();
        }
        Poll::Ready(received)
    }

    /// As [`poll_take`](Self::poll_take), on a thread that waits.
    pub(super) fn wait_take(&self) -> Received {
        let Some(mut state) = self.state.lock() else { return Some(Err(Refused::Cancelled)) };
        loop {
            if let Some((received, is_due)) = Self::take(&mut state) {
                drop(state);
                if is_due {
                    self.wake.wake();
                }
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
        if state.is_cancelled() || state.outcome.is_some() {
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
    pub(super) fn poll_cancelled(&self, context: &Context<'_>) -> Poll<()> {
        let Some(mut state) = self.state.lock() else { return Poll::Ready(()) };
        if state.is_cancelled() {
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
        if state.is_cancelled() || state.outcome.is_some() {
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

#[cfg(test)]
mod tests {
    use core::task::Waker;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;
    use std::time::Duration;

    use super::*;

    const MAX: usize = 100;

    fn pipe() -> Arc<Pipe> {
        Pipe::new(&Arc::new(ServingWake::new().unwrap()), MAX)
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn items(pipe: &Pipe, count: u8) {
        for item in 0..count {
            pipe.put(&[item]);
        }
    }

    fn taken(received: Received) -> Option<Result<Vec<u8>, Refused>> {
        received.map(|item| item.map(|item| item.to_vec()))
    }

    fn next(pipe: &Pipe) -> Option<Vec<u8>> {
        match pipe.next(true) {
            NextMessage::Item(item) => Some(item),
            _ => None,
        }
    }

    #[test]
    fn items_come_in_order_and_then_their_end() {
        let pipe = pipe();
        items(&pipe, 3);
        pipe.end();
        for item in 0..3 {
            assert_eq!(taken(pipe.wait_take()), Some(Ok(vec![item])));
        }
        for _ in 0..2 {
            assert_eq!(taken(pipe.wait_take()), None);
        }
        assert!(pipe.has_changed(false), "three items are taken");
        assert_eq!(pipe.note_taken(), 3);
        assert!(!pipe.has_changed(false));
        // The receiver has seen the end, which a cancel does not change.
        pipe.cancel();
        assert_eq!(taken(pipe.wait_take()), None);
    }

    #[test]
    fn a_cancel_drops_the_items_and_is_one_error() {
        for ends in [true, false] {
            let pipe = pipe();
            items(&pipe, 3);
            if ends {
                pipe.end();
            }
            pipe.wait_send(vec![1]).unwrap();
            pipe.cancel();
            pipe.cancel();
            items(&pipe, 1);
            assert_eq!(taken(pipe.wait_take()), Some(Err(Refused::Cancelled)));
            assert_eq!(taken(pipe.wait_take()), None);
            for _ in 0..2 {
                assert_eq!(pipe.wait_send(vec![1]), Err(Refused::Cancelled));
            }
            assert!(matches!(pipe.next(true), NextMessage::Pending));
            pipe.finish(Ok(AsyncReply::new(|reply| reply.bytes(&[]))));
            assert!(pipe.take_outcome().is_none());
        }
    }

    #[test]
    fn a_sender_waits_until_half_of_the_room_is_free() {
        let pipe = pipe();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        for _ in 0..ROOM {
            assert_eq!(pipe.poll_send(&mut vec![7], &context), Poll::Ready(Ok(())));
        }
        let mut item = vec![8];
        for _ in 0..3 {
            assert!(pipe.poll_send(&mut item, &context).is_pending());
        }
        assert_eq!(item, [8], "left in place");
        assert!(matches!(pipe.next(false), NextMessage::Blocked));
        for _ in 0..ROOM / 2 {
            assert_eq!(count.0.load(Ordering::Relaxed), 0);
            assert!(pipe.poll_send(&mut item, &context).is_pending());
            assert_eq!(next(&pipe), Some(vec![7]));
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        context = Context::from_waker(Waker::noop());
        assert_eq!(pipe.poll_send(&mut item, &context), Poll::Ready(Ok(())));
        for _ in 0..ROOM / 2 {
            assert_eq!(next(&pipe), Some(vec![7]));
        }
        assert_eq!(next(&pipe), Some(vec![8]));
        assert_eq!(next(&pipe), None);
    }

    #[test]
    fn an_outcome_comes_after_the_items_and_ends_all_senders() {
        let pipe = pipe();
        pipe.wait_send(vec![1]).unwrap();
        pipe.finish(Ok(AsyncReply::new(|reply| reply.bytes(&[]))));
        assert_eq!(pipe.wait_send(vec![2]), Err(Refused::Cancelled));
        assert!(matches!(pipe.next(false), NextMessage::Blocked));
        assert_eq!(next(&pipe), Some(vec![1]));
        assert!(matches!(pipe.next(false), NextMessage::Done));
        assert!(pipe.take_outcome().is_some() && pipe.take_outcome().is_none());
    }

    #[test]
    fn an_item_that_never_fits_is_refused_and_the_next_one_is_sent() {
        let pipe = pipe();
        let refused = Err(Refused::TooLarge { size: MAX + 1, max: MAX });
        assert_eq!(pipe.wait_send(vec![0; MAX + 1]), refused);
        assert_eq!(pipe.wait_send(vec![0; MAX]), Ok(()));
    }

    #[test]
    fn a_handler_that_takes_no_items_takes_each_at_once() {
        let pipe = pipe();
        items(&pipe, 3);
        pipe.stop_taking();
        assert_eq!(pipe.note_taken(), 3);
        items(&pipe, 2);
        assert_eq!(pipe.note_taken(), 5);
    }

    #[test]
    fn waiting_threads_and_tasks_are_woken_by_each_change() {
        type Change = fn(&Pipe);
        let changes: [Change; 3] = [|pipe| pipe.put(&[1]), Pipe::end, Pipe::cancel];
        for change in changes {
            let pipe = pipe();
            let count = Arc::new(Count::default());
            let waker = Waker::from(Arc::clone(&count));
            assert!(pipe.poll_take(&Context::from_waker(&waker)).is_pending());
            change(&pipe);
            assert_eq!(count.0.load(Ordering::Relaxed), 1);
            assert!(pipe.poll_take(&Context::from_waker(&waker)).is_ready());
        }
        let pipe = pipe();
        for _ in 0..ROOM {
            pipe.wait_send(vec![0]).unwrap();
        }
        thread::scope(|scope| {
            let receiver = scope.spawn(|| taken(pipe.wait_take()));
            let sender = scope.spawn(|| pipe.wait_send(vec![1]));
            while pipe.state.lock().unwrap().waiting < 2 {
                thread::sleep(Duration::from_millis(1));
            }
            pipe.put(&[2]);
            assert_eq!(receiver.join().unwrap(), Some(Ok(vec![2])));
            assert!(!sender.is_finished());
            while next(&pipe) == Some(vec![0]) {}
            assert_eq!(sender.join().unwrap(), Ok(()));
        });
    }
}
