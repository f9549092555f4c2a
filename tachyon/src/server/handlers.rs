//! The handlers of a server on a tokio runtime: async handlers are tasks, the others run in the serving task.

use core::task::{Context, Poll};
use std::sync::Arc;

use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::service::{Begun, Blocking, outcome_of};
use crate::connection::{Halt, Rx, Tx, Unsent};
use crate::dispatch::{
    AsyncReply, Deferred, Deferring, Detached, HandlerError, HandlerFuture, Outcome, ReplyTarget, ServedStream,
};
use crate::engine::{
    CallerInfo, CancelReason, ErrorBody, ErrorKind, Handled, OpenRequest, Service, is_open, refused_type, send_error,
};
use crate::foreign::Panicked;
use crate::type_id::msg_type;
use crate::wait::{Deadline, StopTime};

/// A running async handler.
#[derive(Debug)]
pub(super) struct Task {
    of: TaskOf,
    handle: AbortHandle,
}

/// The request that a task answers.
#[derive(Debug)]
enum TaskOf {
    Call(Deferred),
    /// A control request, and the message type that an error reply names.
    Control(ReplyTarget, u16),
}

impl TaskOf {
    fn correlation_id(&self) -> u64 {
        match self {
            Self::Call(deferred) => deferred.correlation_id(),
            Self::Control(target, _) => target.correlation_id,
        }
    }
}

/// How a task ended.
pub(super) enum TaskOutcome {
    /// The handler returned, or panicked.
    Returned(Result<AsyncReply, Panicked>),
    /// The deadline passed first.
    DeadlinePassed,
    /// The server stopped before the handler began.
    NotStarted,
}

/// An ended task: number of the caller, correlation id of the call, and outcome.
pub(super) type FinishedTask = (u64, u64, TaskOutcome);

/// The handlers of one server. The drop drops all tasks.
pub(super) struct AsyncHandlers<'a, S: ?Sized> {
    pub(super) blocking: Blocking<'a, S>,
    /// The task of a stream answers by itself.
    tasks: JoinSet<Option<FinishedTask>>,
    running: usize,
    /// Most running handlers: of all callers, and of each.
    most: (usize, usize),
    stop_time: Arc<StopTime>,
    started: bool,
    /// Whether a handler ended since `take_freed`.
    freed: bool,
}

impl<'a, S: ?Sized> AsyncHandlers<'a, S> {
    pub(super) fn new(blocking: Blocking<'a, S>, most: (usize, usize), stop_time: Arc<StopTime>) -> Self {
        Self { blocking, tasks: JoinSet::new(), running: 0, most, stop_time, started: false, freed: false }
    }

    /// Running handlers that are not cancelled.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Whether handlers were started since the last question.
    pub(super) fn take_started(&mut self) -> bool {
        core::mem::take(&mut self.started)
    }

    /// Whether handlers ended since the last question.
    pub(super) fn take_freed(&mut self) -> bool {
        core::mem::take(&mut self.freed)
    }

    /// Tasks that have not ended, those of cancelled handlers included.
    pub(super) fn left(&self) -> usize {
        self.tasks.len()
    }

    /// An ended task of a call, if there is one. Skips cancelled tasks.
    pub(super) fn next(&mut self) -> Option<FinishedTask> {
        while let Some(joined) = self.tasks.try_join_next() {
            if let Some(finished) = finished(joined) {
                return Some(finished);
            }
        }
        None
    }

    /// As [`next`](Self::next), waiting for a task.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<FinishedTask> {
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

    /// Answers the call of an ended task.
    pub(super) fn answer(&mut self, tx: &mut Tx, call: &Begun<Task>, outcome: TaskOutcome) -> Result<(), Halt> {
        let Begun::Call(Task { of, .. }) = call else { return Ok(()) };
        let Blocking { responder, counters, .. } = self.blocking;
        self.running -= 1;
        self.freed = true;
        let (deferred, outcome) = match (of, outcome) {
            (TaskOf::Call(deferred), outcome) => (deferred, outcome),
            (TaskOf::Control(target, of), TaskOutcome::Returned(returned)) => {
                return responder.answer_control_later(tx, *target, *of, returned);
            }
            (TaskOf::Control(target, of), TaskOutcome::DeadlinePassed) => {
                return refuse(tx, target.correlation_id, *of, ErrorKind::DeadlinePassed);
            }
            (TaskOf::Control(target, of), TaskOutcome::NotStarted) => {
                return refuse(tx, target.correlation_id, *of, ErrorKind::Stopping);
            }
        };
        let returned = match outcome {
            TaskOutcome::Returned(reply) => Some(reply),
            TaskOutcome::DeadlinePassed => None,
            TaskOutcome::NotStarted => {
                responder.record_deferred(counters, deferred, Outcome::Failed(ErrorKind::Stopping));
                return refuse(tx, deferred.correlation_id(), deferred.msg_type(), ErrorKind::Stopping);
            }
        };
        responder.report(responder.answer_deferred(counters, tx, deferred, |reply| match returned {
            Some(Ok(async_reply)) => async_reply.send(reply),
            Some(Err(panicked)) => Err(HandlerError::failed(panicked)),
            None => Err(HandlerError::new(ErrorKind::DeadlinePassed, "was not done by its caller's deadline")),
        }))
    }

    /// Spawns the task of a call, of the caller of this number.
    fn spawn(&mut self, caller: u64, of: TaskOf, deadline: Deadline, future: HandlerFuture) -> Handled<Begun<Task>> {
        let call = of.correlation_id();
        let stop_time = Arc::clone(&self.stop_time);
        let handle = self.tasks.spawn(async move {
            // The first poll of a task may come late: a blocking handler can keep the runtime's thread.
            if stop_time.is_stopping() {
                return Some((caller, call, TaskOutcome::NotStarted));
            }
            let returned = match deadline.remaining() {
                None => Some(future.await),
                Some(left) => tokio::time::timeout(left, future).await.ok(),
            };
            Some((caller, call, returned.map_or(TaskOutcome::DeadlinePassed, TaskOutcome::Returned)))
        });
        self.running += 1;
        self.started = true;
        Handled::Later(Begun::Call(Task { of, handle }))
    }

    fn has_place(&self, begun: usize) -> bool {
        let (all, each) = self.most;
        self.running == 0 || (self.running < all && begun < each)
    }

    /// Opens a stream, whose handler may be a task.
    #[cold]
    fn open(
        &mut self,
        caller: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        request: &OpenRequest,
    ) -> Result<Handled<Begun<Task>>, Halt> {
        let Self { blocking, tasks, running, started, .. } = self;
        let mut spawn = |handler: Detached| {
            tasks.spawn(async move {
                handler.await;
                None
            });
            *running += 1;
            *started = true;
        };
        blocking.open(caller, rx, tx, request, Some(&mut spawn))
    }

    /// Notes the end of a stream.
    fn note_ended(&mut self, stream: &ServedStream) {
        if stream.is_task() {
            self.running = self.running.saturating_sub(1);
            self.freed = true;
        }
    }

    pub(super) fn abort_all(&mut self) {
        self.tasks.abort_all();
        self.running = 0;
    }
}

fn refuse(tx: &mut Tx, call: u64, msg_type: u16, kind: ErrorKind) -> Result<(), Halt> {
    match send_error(tx, call, msg_type, kind, ErrorBody::default()) {
        Err(Unsent::Halted(halt)) => Err(halt),
        Ok(()) | Err(Unsent::TooLarge { .. }) => Ok(()),
    }
}

/// Skips a cancelled task, and the task of a stream. A task never panics: `Foreign` guards the handler's future and its
/// destructor.
fn finished(joined: Result<Option<FinishedTask>, JoinError>) -> Option<FinishedTask> {
    joined.ok().flatten()
}

impl<S: ?Sized> Service for AsyncHandlers<'_, S> {
    type Begun = Begun<Task>;

    fn admit(&self, type_id: u32, begun: usize) -> bool {
        self.has_place(begun) || !self.blocking.responder.is_async(type_id)
    }

    fn admit_open(&self, type_id: u32, begun: usize) -> bool {
        self.has_place(begun) || !self.blocking.responder.is_task(msg_type(type_id))
    }

    fn handle(
        &mut self,
        caller: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        request: &OpenRequest,
    ) -> Result<Handled<Self::Begun>, Halt> {
        if is_open(&request.frame) {
            return self.open(caller, rx, tx, request);
        }
        let Blocking { responder, counters, shared, .. } = self.blocking;
        let (deferred, future) = match responder.start_async(shared, (caller, counters), (rx, tx), request) {
            Deferring::Begun(begun) => begun,
            Deferring::Answered(outcome) => return responder.report(outcome).map(|()| Handled::Replied),
            Deferring::Declined => {
                let OpenRequest { frame, deadline } = request;
                let Some(future) = responder.start_control(rx, tx, frame) else {
                    return self.blocking.answer(caller, rx, tx, request).map(|()| Handled::Replied);
                };
                let target = ReplyTarget { type_id: frame.type_id, correlation_id: frame.correlation_id };
                return Ok(self.spawn(caller.id, TaskOf::Control(target, refused_type(rx)), *deadline, future));
            }
        };
        let deadline = deferred.deadline().map_or(Deadline::never(), Deadline::at_nanos);
        Ok(self.spawn(caller.id, TaskOf::Call(deferred), deadline, future))
    }

    fn end(&mut self, tx: &mut Tx, stream: Self::Begun) -> Result<(), Halt> {
        let stream = stream.stream();
        self.note_ended(&stream);
        self.blocking.end_stream(tx, stream)
    }

    fn kind_of_stop(&self, call: &Self::Begun) -> ErrorKind {
        match call {
            // The call that the description is for was not sent.
            Begun::Call(Task { of: TaskOf::Control(..), .. }) => ErrorKind::Stopping,
            Begun::Call(_) | Begun::Stream(_) => ErrorKind::Cancelled,
        }
    }

    fn cancel(&mut self, call: Self::Begun, why: CancelReason) {
        let Task { of, handle } = match call {
            Begun::Call(task) => task,
            Begun::Stream(stream) => {
                self.note_ended(&stream);
                return self.blocking.cancel_stream(&stream, why);
            }
        };
        handle.abort();
        self.running -= 1;
        self.freed = true;
        let TaskOf::Call(deferred) = of else { return };
        deferred.cancel();
        self.blocking.responder.record_deferred(self.blocking.counters, &deferred, outcome_of(why));
    }
}
