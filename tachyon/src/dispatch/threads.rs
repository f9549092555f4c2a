//! Handlers of streams that run outside of the serving thread: as tasks, or on threads of their own.

use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use std::io;
use std::sync::{Arc, PoisonError};
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::Duration;

use super::error::HandlerError;
use super::pipe::Pipe;
use super::reply::AsyncReply;
use super::task::HandlerFuture;
use crate::connection::ProcessMutex;
use crate::engine::ErrorKind;
use crate::sync::Condvar;
use crate::wait::Deadline;

/// Most threads of stream handlers by default.
pub(crate) const STREAM_THREADS: usize = 64;

/// The threads of one server, or of one dispatcher.
#[derive(Debug)]
pub(crate) struct StreamThreads {
    most: usize,
    state: ProcessMutex<State>,
    /// Notified by the end of each thread.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
}

impl StreamThreads {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, state: ProcessMutex::default(), ended: Condvar::new() })
    }

    /// Takes the place of a thread, or none when all threads run.
    pub(super) fn take_place(self: &Arc<Self>) -> Option<Place> {
        // Only a fork's child cannot lock, and a child does not serve.
        let mut state = self.state.lock()?;
        (state.running < self.most).then(|| {
            state.running += 1;
            Place(Arc::clone(self))
        })
    }

    /// The limit.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Waits up to `limit` for all threads, and returns the number of those that still run.
    pub(crate) fn wait_idle(&self, limit: Duration) -> usize {
        let deadline = Deadline::after(limit);
        let Some(mut state) = self.state.lock() else { return 0 };
        while state.running > 0
            && let Some(left) = deadline.remaining().filter(|left| !left.is_zero())
        {
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.running
    }
}

/// The place of a running thread.
#[derive(Debug)]
pub(super) struct Place(Arc<StreamThreads>);

impl Place {
    /// Runs a handler on a thread of its own.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(super) fn run(self, handler: Detached) -> io::Result<()> {
        let run = move || {
            block_on(handler);
            drop(self);
        };
        thread::Builder::new().name("tachyon-stream".to_owned()).spawn(run).map(drop)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(mut state) = self.0.state.lock() else { return };
        state.running -= 1;
        drop(state);
        self.0.ended.notify_all();
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

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(handler) = &mut this.handler else { return Poll::Ready(()) };
        if this.pipe.poll_cancelled(context).is_pending() {
            let Poll::Ready(outcome) = Pin::new(handler).poll(context) else { return Poll::Pending };
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

/// Wakes a thread that runs a future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
fn block_on(future: impl Future<Output = ()>) {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    while future.as_mut().poll(&mut context).is_pending() {
        thread::park();
    }
}
