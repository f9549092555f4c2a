//! Async handlers at work: how many there are, what they are for, and what came of them.

use core::task::{Context, Poll};
use std::collections::{HashMap, HashSet};

use slab::Slab;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::session::Session;
use crate::dispatch::{Answer, Deferred, HandlerError, Work};
use crate::foreign::Panicked;
use crate::rpc::ErrorKind;
use crate::wait::Deadline;

/// What a handler ended with; `None` when its caller's deadline passed first.
type Ended = Option<Result<Answer, Panicked>>;

/// A handler that is done.
pub(super) type Finished = Result<(Id, Ended), JoinError>;

/// The handlers of one server. Dropping this drops them.
#[derive(Debug)]
pub(super) struct Handlers {
    tasks: JoinSet<Ended>,
    calls: HashMap<Id, Call>,
    /// By the callers' numbers, for those that have handlers at work.
    shares: HashMap<u64, Share>,
    most: usize,
    most_each: usize,
    started: bool,
}

#[derive(Debug)]
struct Call {
    deferred: Deferred,
    task: AbortHandle,
}

/// What one caller has at work.
#[derive(Debug, Default)]
struct Share {
    at_work: usize,
    /// Where its session was found last.
    key: Option<usize>,
}

impl Handlers {
    /// No handlers, and most there may be: of all callers, of each.
    pub(super) fn new((most, most_each): (usize, usize)) -> Self {
        Self { tasks: JoinSet::new(), calls: HashMap::new(), shares: HashMap::new(), most, most_each, started: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Whether this caller may have one more at work.
    #[inline]
    pub(super) fn admit(&self, caller: u64) -> bool {
        self.calls.is_empty()
            || self.calls.len() < self.most
                && self.shares.get(&caller).is_none_or(|share| share.at_work < self.most_each)
    }

    /// Sets a handler to work.
    pub(super) fn start(&mut self, deferred: Deferred, work: Work) {
        let deadline = deferred.deadline().map_or(Deadline::never(), Deadline::at_nanos);
        let task = self.tasks.spawn(async move {
            match deadline.remaining() {
                None => Some(work.await),
                Some(left) => tokio::time::timeout(left, work).await.ok(),
            }
        });
        self.shares.entry(deferred.caller().id).or_default().at_work += 1;
        self.calls.insert(task.id(), Call { deferred, task });
        self.started = true;
    }

    /// Whether handlers were started since this was asked last.
    pub(super) fn take_started(&mut self) -> bool {
        core::mem::take(&mut self.started)
    }

    /// A handler that is done, if there is one.
    pub(super) fn next(&mut self) -> Option<Finished> {
        self.tasks.try_join_next_with_id()
    }

    /// As [`next`](Self::next), waiting for one.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Finished> {
        match self.tasks.poll_join_next_with_id(context) {
            Poll::Ready(Some(finished)) => Poll::Ready(finished),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Gives the place of a handler that is done to another: what it was for, and what to answer.
    pub(super) fn finish(&mut self, finished: Finished) -> Option<(Deferred, Result<Answer, HandlerError>)> {
        let (id, outcome) = match finished {
            Ok((id, Some(Ok(answer)))) => (id, Ok(answer)),
            Ok((id, Some(Err(panicked)))) => (id, Err(HandlerError::failed(panicked))),
            Ok((id, None)) => {
                (id, Err(HandlerError::new(ErrorKind::DeadlinePassed, "was not done by its caller's deadline")))
            }
            // The task of a handler never panics: its future is guarded, and so are its destructors.
            Err(error) => (error.id(), Err(HandlerError::failed("was cancelled before it was done"))),
        };
        let Call { deferred, .. } = self.calls.remove(&id)?;
        let caller = deferred.caller().id;
        if let Some(share) = self.shares.get_mut(&caller) {
            share.at_work -= 1;
        }
        Some((deferred, outcome))
    }

    /// Where the session of a caller is; `None` when it has left.
    pub(super) fn key(&mut self, caller: u64, sessions: &Slab<Session>) -> Option<usize> {
        let share = self.shares.entry(caller).or_default();
        let known = share.key.filter(|key| sessions.get(*key).is_some_and(|session| session.info.id == caller));
        share.key = known.or_else(|| {
            let found = sessions.iter().find(|(_, session)| session.info.id == caller);
            found.map(|(key, _)| key)
        });
        let key = share.key;
        if key.is_none() && share.at_work == 0 {
            self.shares.remove(&caller);
        }
        key
    }

    /// Drops the handlers of callers that are not among the `present`; they are still to be counted.
    pub(super) fn keep_only(&mut self, present: &HashSet<u64>) {
        self.shares.retain(|caller, share| share.at_work > 0 || present.contains(caller));
        for Call { deferred, task } in self.calls.values() {
            if !present.contains(&deferred.caller().id) {
                task.abort();
            }
        }
    }

    /// Drops all handlers and gives what they were for.
    pub(super) fn abandon(&mut self) -> Vec<Deferred> {
        self.tasks.abort_all();
        self.calls.drain().map(|(_, call)| call.deferred).collect()
    }
}
