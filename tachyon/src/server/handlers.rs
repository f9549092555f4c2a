//! A server's handlers on a tokio runtime: async ones are tasks, others run where they are served.

use core::task::{Context, Poll};
use std::sync::Arc;

use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::service::{Blocking, outcome_of};
use crate::connection::{Halt, Unsent};
use crate::connection::{Rx, Tx};
use crate::dispatch::{Answer, Deferred, HandlerError, Outcome};
use crate::engine::{CallerInfo, ErrorBody, ErrorKind, Handled, OpenRequest, Service, Why, send_error};
use crate::foreign::Panicked;
use crate::wait::{Deadline, StopTime};

/// An async handler at work.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) deferred: Deferred,
    handle: AbortHandle,
}

/// What came of a handler.
pub(super) enum Gave {
    /// It ran to its end.
    Answer(Result<Answer, Panicked>),
    /// Its deadline passed first.
    TooLate,
    /// The server stopped before it had begun.
    NotBegun,
}

/// A handler that is done: its caller's number, its call, and what it gave.
pub(super) type Finished = (u64, u64, Gave);

/// The handlers of one server. Dropping this drops them.
pub(super) struct Handlers<'a, S: ?Sized> {
    pub(super) blocking: Blocking<'a, S>,
    tasks: JoinSet<Finished>,
    at_work: usize,
    /// Most at work: of all callers, and of each.
    most: (usize, usize),
    stop_time: Arc<StopTime>,
    started: bool,
    /// Whether a place became free.
    freed: bool,
}

impl<'a, S: ?Sized> Handlers<'a, S> {
    pub(super) fn new(blocking: Blocking<'a, S>, most: (usize, usize), stop_time: Arc<StopTime>) -> Self {
        Self { blocking, tasks: JoinSet::new(), at_work: 0, most, stop_time, started: false, freed: false }
    }

    /// Handlers that have begun, and were not cancelled.
    pub(super) fn at_work(&self) -> usize {
        self.at_work
    }

    /// Whether handlers were started since this was asked last.
    pub(super) fn take_started(&mut self) -> bool {
        core::mem::take(&mut self.started)
    }

    /// Whether places became free since this was asked last.
    pub(super) fn take_freed(&mut self) -> bool {
        core::mem::take(&mut self.freed)
    }

    /// Handlers that have not ended, cancelled ones among them.
    pub(super) fn left(&self) -> usize {
        self.tasks.len()
    }

    /// A handler that is done, if there is one. What was cancelled is passed over.
    pub(super) fn next(&mut self) -> Option<Finished> {
        while let Some(joined) = self.tasks.try_join_next() {
            if let Some(finished) = finished(joined) {
                return Some(finished);
            }
        }
        None
    }

    /// As [`next`](Self::next), waiting for one.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Finished> {
        loop {
            match self.tasks.poll_join_next(context) {
                Poll::Ready(Some(joined)) => {
                    if let Some(finished) = finished(joined) {
                        return Poll::Ready(finished);
                    }
                }
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Answers the call of a handler that is done.
    pub(super) fn conclude(&mut self, tx: &mut Tx, Task { deferred, .. }: &Task, gave: Gave) -> Result<(), Halt> {
        let Blocking { desk, bank, .. } = self.blocking;
        self.at_work -= 1;
        self.freed = true;
        let answer = match gave {
            Gave::Answer(answer) => Some(answer),
            Gave::TooLate => None,
            Gave::NotBegun => {
                desk.end(bank, deferred, Outcome::Failed(ErrorKind::Stopping));
                let (call, of) = (deferred.correlation_id(), deferred.msg_type());
                return match send_error(tx, call, of, ErrorKind::Stopping, ErrorBody::default()) {
                    Err(Unsent::Halted(halt)) => Err(halt),
                    Ok(()) | Err(Unsent::TooLarge { .. }) => Ok(()),
                };
            }
        };
        desk.report(desk.conclude(bank, tx, deferred, |reply| match answer {
            Some(Ok(answer)) => answer.write(reply),
            Some(Err(panicked)) => Err(HandlerError::failed(panicked)),
            None => Err(HandlerError::new(ErrorKind::DeadlinePassed, "was not done by its caller's deadline")),
        }))
    }

    /// Drops all handlers.
    pub(super) fn abort_all(&mut self) {
        self.tasks.abort_all();
        self.at_work = 0;
    }
}

/// The tasks of handlers never panic: their futures are guarded, and so are their destructors.
fn finished(joined: Result<Finished, JoinError>) -> Option<Finished> {
    joined.ok()
}

impl<S: ?Sized> Service for Handlers<'_, S> {
    type Begun = Task;

    fn admit(&self, type_id: u32, begun: usize) -> bool {
        let (all, each) = self.most;
        self.at_work == 0 || (self.at_work < all && begun < each) || !self.blocking.desk.is_async(type_id)
    }

    fn handle(
        &mut self,
        caller: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        request: &OpenRequest,
    ) -> Result<Handled<Task>, Halt> {
        let Some((deferred, work)) = self.blocking.desk.begin(caller, rx, request) else {
            return self.blocking.answer(caller, rx, tx, request).map(|()| Handled::Replied);
        };
        let (caller, call) = (caller.id, request.frame.correlation_id);
        let deadline = deferred.deadline().map_or(Deadline::never(), Deadline::at_nanos);
        let stop_time = Arc::clone(&self.stop_time);
        let handle = self.tasks.spawn(async move {
            // A task may wait for its first turn for as long as a blocking handler takes.
            if stop_time.is_stopping() {
                return (caller, call, Gave::NotBegun);
            }
            let answer = match deadline.remaining() {
                None => Some(work.await),
                Some(left) => tokio::time::timeout(left, work).await.ok(),
            };
            (caller, call, answer.map_or(Gave::TooLate, Gave::Answer))
        });
        self.at_work += 1;
        self.started = true;
        Ok(Handled::Later(Task { deferred, handle }))
    }

    fn cancel(&mut self, Task { deferred, handle }: Task, why: Why) {
        handle.abort();
        self.at_work -= 1;
        self.freed = true;
        self.blocking.desk.end(self.blocking.bank, &deferred, outcome_of(why));
    }
}
