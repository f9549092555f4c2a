//! A server's handlers on a tokio runtime: async ones are tasks, others run where they are served.

use core::task::{Context, Poll};

use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::service::{Blocking, outcome_of};
use crate::bus::{Incoming, Outgoing};
use crate::dispatch::{Answer, Deferred, HandlerError};
use crate::engine::{CallerInfo, ErrorKind, Handled, OpenRequest, Service, Why};
use crate::error::Halt;
use crate::foreign::Panicked;
use crate::wait::Deadline;

/// An async handler at work.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) deferred: Deferred,
    handle: AbortHandle,
}

/// A handler that is done: its caller's number, its call, and what it gave. `None` when the deadline passed first.
pub(super) type Finished = (u64, u64, Option<Result<Answer, Panicked>>);

/// The handlers of one server. Dropping this drops them.
pub(super) struct Handlers<'a, S: ?Sized> {
    pub(super) blocking: Blocking<'a, S>,
    tasks: JoinSet<Finished>,
    at_work: usize,
    /// Most at work: of all callers, and of each.
    most: (usize, usize),
    started: bool,
    /// Whether a place became free.
    freed: bool,
}

impl<'a, S: ?Sized> Handlers<'a, S> {
    pub(super) fn new(blocking: Blocking<'a, S>, most: (usize, usize)) -> Self {
        Self { blocking, tasks: JoinSet::new(), at_work: 0, most, started: false, freed: false }
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
    pub(super) fn conclude(
        &mut self,
        outgoing: &mut Outgoing,
        Task { deferred, .. }: &Task,
        answer: Option<Result<Answer, Panicked>>,
    ) -> Result<(), Halt> {
        let Blocking { desk, bank, .. } = self.blocking;
        self.at_work -= 1;
        self.freed = true;
        desk.report(desk.conclude(bank, outgoing, deferred, |reply| match answer {
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
        incoming: &Incoming,
        outgoing: &mut Outgoing,
        request: &OpenRequest,
    ) -> Result<Handled<Task>, Halt> {
        let Some((deferred, work)) = self.blocking.desk.begin(caller, incoming, request) else {
            return self.blocking.answer(caller, incoming, outgoing, request).map(|()| Handled::Replied);
        };
        let (caller, call) = (caller.id, request.frame.correlation_id);
        let deadline = deferred.deadline().map_or(Deadline::never(), Deadline::at_nanos);
        let handle = self.tasks.spawn(async move {
            let answer = match deadline.remaining() {
                None => Some(work.await),
                Some(left) => tokio::time::timeout(left, work).await.ok(),
            };
            (caller, call, answer)
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
