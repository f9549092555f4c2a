//! The streams of a session: their OPENs, items and ENDs, and the tasks that wait for them.

use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use super::session::{Request, Session, Traffic, within, write};
use crate::aligned::AlignedBytes;
use crate::connection::{Halt, slice};
use crate::engine::{ItemSent, RpcError};
use crate::metadata::{METADATA, Metadata};
use crate::rpc::CallError;
use crate::type_id::{make_type_id, msg_type};
use crate::wait::Deadline;

/// Most wakers that are kept. Futures that were dropped leave theirs until the next message of their stream.
const MAX_WAKERS: usize = 1024;

/// Stands for a free credit cell among the ids of streams: no stream has this id.
const CELL: u64 = 0;

/// The tasks that wait for streams.
#[derive(Debug)]
pub(super) struct StreamTasks {
    waiting: Vec<Waiting>,
    /// The driver's next pass, at the latest: no later than the deadline of any stream in `waiting`.
    alarm: Deadline,
}

/// A task that waits for a stream, until the deadline of the stream.
#[derive(Debug)]
struct Waiting {
    stream: u64,
    deadline: Deadline,
    waker: Waker,
}

impl Default for StreamTasks {
    fn default() -> Self {
        Self { waiting: Vec::new(), alarm: Deadline::never() }
    }
}

impl StreamTasks {
    /// Notes a task that waits for a stream. True when the driver needs an earlier alarm.
    fn wait(&mut self, stream: u64, deadline: Deadline, waker: &Waker) -> bool {
        if !self.waiting.iter().any(|of| of.stream == stream && of.waker.will_wake(waker)) {
            if self.waiting.len() >= MAX_WAKERS {
                self.wake_all();
            }
            self.waiting.push(Waiting { stream, deadline, waker: waker.clone() });
        }
        let earlier = deadline.min(self.alarm);
        core::mem::replace(&mut self.alarm, earlier) != earlier
    }

    /// Wakes the tasks that wait for a stream.
    pub(super) fn wake(&mut self, stream: u64) {
        self.wake_if(|of| of.stream == stream);
    }

    /// Wakes all tasks.
    pub(super) fn wake_all(&mut self) {
        self.wake_if(|_| true);
    }

    fn wake_if(&mut self, chosen: impl Fn(&Waiting) -> bool) {
        for woken in self.waiting.extract_if(.., |of| chosen(of)) {
            woken.waker.wake();
        }
    }

    /// The time of the driver's next pass, at the latest. Wakes the tasks whose stream's deadline has passed.
    pub(super) fn alarm(&mut self) -> Deadline {
        // An alarm stays until its time: each wait would ask for a new one otherwise.
        if self.alarm.has_passed() {
            self.wake_if(|of| of.deadline.has_passed());
            self.alarm = self.waiting.iter().fold(Deadline::never(), |earliest, of| earliest.min(of.deadline));
        }
        self.alarm
    }
}

/// The result of an attempt at an OPEN with room.
#[derive(Debug, Clone, Copy)]
enum Opening {
    Opened(u64),
    /// Every credit cell is in use, some by streams that were given up.
    NoCell,
}

/// A message of a stream.
#[derive(Debug)]
pub(super) enum Message {
    Item(AlignedBytes),
    /// The outcome, after all items: nothing for END, the reply to a stream of the caller's items, or an error. The
    /// stream is forgotten.
    Outcome(Result<AlignedBytes, CallError>),
    /// No message follows. The stream is forgotten, or its reply waits for the task that takes it.
    Over,
}

/// The messages that a task takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Items and the outcome, but no reply in place of END.
    Items,
    /// All.
    Reply,
}

impl Session {
    /// Opens a stream, and gives its id. Awaits room, and the last message of a stream that was given up if every
    /// credit cell is in use.
    pub(super) async fn open(
        &self,
        request: &Request<'_>,
        window: Option<u32>,
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        let opening = async {
            loop {
                let opened = self.traffic().try_open(request, window, false)?;
                let opened = match opened {
                    Some(opened) => opened,
                    None => self.send_in_turn(|traffic| traffic.try_open(request, window, true)).await?,
                };
                match opened {
                    Opening::Opened(id) => return Ok(id),
                    // Outside of its turn: other senders need no cell.
                    Opening::NoCell => poll_fn(|context| self.poll_cell(deadline, context)).await?,
                }
            }
        };
        within(deadline, opening).await.unwrap_or(Err(CallError::TimedOut { sent: false }))
    }

    /// Waits for a free credit cell.
    fn poll_cell(&self, deadline: Deadline, context: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let mut traffic = self.traffic();
        if traffic.end.is_some() || traffic.core.has_cell()? {
            return Poll::Ready(Ok(()));
        }
        if traffic.tasks.wait(CELL, deadline, context.waker()) {
            self.look.notify_one();
        }
        Poll::Pending
    }

    /// Takes the next message of a stream. The message is taken with the end of the poll, so no message is lost with a
    /// future that is dropped.
    pub(super) fn poll_message(
        &self,
        id: u64,
        deadline: Deadline,
        wanted: Wanted,
        context: &mut Context<'_>,
    ) -> Poll<Message> {
        let mut traffic = self.traffic();
        let Traffic { core, tasks, .. } = &mut *traffic;
        if let Some(item) = core.take_arrived(id) {
            return Poll::Ready(Message::Item(item.payload));
        }
        let Some(stream) = core.calls.stream(id) else { return Poll::Ready(Message::Over) };
        if wanted == Wanted::Items && stream.ends_in_reply() {
            return Poll::Ready(Message::Over);
        }
        if let Some(outcome) = core.take_stream_outcome(id) {
            tasks.wake(id);
            let outcome = outcome.map_err(|end| Halt::from(end).into());
            return Poll::Ready(Message::Outcome(outcome.and_then(|last| {
                match RpcError::decode(last.type_id, &last.payload) {
                    None => Ok(last.payload),
                    Some(error) => Err(CallError::refused(error)),
                }
            })));
        }
        if deadline.has_passed() {
            drop(traffic);
            self.close_stream(id);
            return Poll::Ready(Message::Outcome(Err(CallError::TimedOut { sent: true })));
        }
        core.grant(id);
        if tasks.wait(id, deadline, context.waker()) {
            self.look.notify_one();
        }
        Poll::Pending
    }

    /// Sends an item of a stream. Awaits credit and room. False when the stream has ended.
    pub(super) async fn send_item(&self, id: u64, payload: &[u8], deadline: Deadline) -> Result<bool, CallError> {
        let sending = async {
            loop {
                let sent = self.traffic().try_item(id, payload, false)?;
                let sent = match sent {
                    Some(sent) => sent,
                    None => self.send_in_turn(|traffic| traffic.try_item(id, payload, true)).await?,
                };
                match sent {
                    ItemSent::Sent => return Ok(true),
                    ItemSent::Ended => return Ok(false),
                    // Outside of its turn: other senders need no credit of this stream.
                    ItemSent::Full => poll_fn(|context| self.poll_credit(id, deadline, context)).await?,
                }
            }
        };
        match within(deadline, sending).await.unwrap_or(Err(CallError::TimedOut { sent: true })) {
            // As `CallerCore::try_send_item`: the next take reports the end of the connection.
            Err(CallError::Closed { .. } | CallError::PeerDead { .. }) => Ok(false),
            sent => sent,
        }
    }

    /// Waits until the next item of a stream need not wait for credit.
    fn poll_credit(&self, id: u64, deadline: Deadline, context: &mut Context<'_>) -> Poll<Result<(), CallError>> {
        let mut traffic = self.traffic();
        let Traffic { core, tasks, .. } = &mut *traffic;
        if core.has_credit(id)? {
            return Poll::Ready(Ok(()));
        }
        if tasks.wait(id, deadline, context.waker()) | core.await_credit(id) {
            // The driver asks the callee to ring for credit.
            self.look.notify_one();
        }
        Poll::Pending
    }

    /// Says that no further item of a stream comes. Awaits room.
    pub(super) async fn end_items(&self, id: u64, deadline: Deadline) -> Result<(), CallError> {
        let ending = async {
            let ended = self.traffic().try_end(id, false)?;
            match ended {
                Some(()) => Ok(()),
                None => self.send_in_turn(|traffic| traffic.try_end(id, true)).await,
            }
        };
        match within(deadline, ending).await.unwrap_or(Err(CallError::TimedOut { sent: true })) {
            // As in `send_item`: the next take reports the end of the connection.
            Err(CallError::Closed { .. } | CallError::PeerDead { .. }) => Ok(()),
            ended => ended,
        }
    }

    /// Gives a stream up, and cancels it.
    pub(super) fn close_stream(&self, id: u64) {
        let mut traffic = self.traffic();
        traffic.core.end(id, true);
        traffic.tasks.wake(id);
        if traffic.core.has_pending_cancellations() {
            drop(traffic);
            self.look.notify_one();
        }
    }
}

impl Traffic {
    /// Wakes the tasks of the streams that have messages, or credit that was waited for. True when there was a task.
    pub(super) fn wake_streams(&mut self) -> bool {
        let waiting = self.tasks.waiting.len();
        for stream in self.core.calls.take_news().into_iter().chain(self.core.take_credited()) {
            self.tasks.wake(stream);
        }
        if matches!(self.core.has_cell(), Ok(true)) {
            self.tasks.wake(CELL);
        }
        self.tasks.waiting.len() < waiting
    }

    /// Opens a stream; `None` if there is no room, or other senders queue.
    fn try_open(
        &mut self,
        &Request { type_id, body, metadata, due }: &Request<'_>,
        window: Option<u32>,
        my_turn: bool,
    ) -> Result<Option<Opening>, CallError> {
        let total = body.size() + metadata.map_or(0, Metadata::tail_len);
        let may_send = self.may_send(total, my_turn)?;
        let core = &mut self.core;
        if !core.has_cell()? {
            return Ok(Some(Opening::NoCell));
        }
        if !may_send {
            return Ok(None);
        }
        if core.flush_cancellations()?
            && let Some(mut reservation) = core.tx.try_reserve(total)?
            && let Some((route, window)) = core.open_route(window)
        {
            write(body, metadata, slice::reserved_mut(&mut reservation, &core.tx));
            let type_id = make_type_id(route, msg_type(type_id)) | metadata.map_or(0, |_| METADATA);
            let header = core.header(type_id, due);
            core.publish(reservation, total, header);
            self.wanted = None;
            return Ok(Some(Opening::Opened(core.opened(type_id, due, window))));
        }
        self.wanted = Some(total);
        Ok(None)
    }

    /// Sends an item; `None` if there is no room, or other senders queue. [`ItemSent::Full`]: there is no credit.
    fn try_item(&mut self, id: u64, payload: &[u8], my_turn: bool) -> Result<Option<ItemSent>, CallError> {
        if self.takes_no_item(id) {
            return Ok(Some(ItemSent::Ended));
        }
        let may_send = self.may_send(payload.len(), my_turn)?;
        if !self.core.has_credit(id)? {
            return Ok(Some(ItemSent::Full));
        }
        let sent = if may_send { self.core.try_send_item(id, payload)? } else { return Ok(None) };
        let is_full = sent == ItemSent::Full;
        self.wanted = is_full.then_some(payload.len());
        Ok((!is_full).then_some(sent))
    }

    /// Sends END; `None` if there is no room, or other senders queue. A stream that has ended needs none.
    fn try_end(&mut self, id: u64, my_turn: bool) -> Result<Option<()>, CallError> {
        if self.takes_no_item(id) {
            return Ok(Some(()));
        }
        if !self.may_send(0, my_turn)? {
            return Ok(None);
        }
        let is_full = self.core.try_send_end(id)? == ItemSent::Full;
        self.wanted = is_full.then_some(0);
        Ok((!is_full).then_some(()))
    }

    /// Whether the callee takes nothing more of a stream.
    fn takes_no_item(&mut self, id: u64) -> bool {
        !self.core.calls.stream(id).is_some_and(|stream| stream.takes_items())
    }
}
