//! The session of an async caller: one connection and its calls in flight.
//!
//! Tasks send under a lock, which is held for a copy at most. The driver takes replies under the same lock, and files
//! the messages of streams for the tasks that take them.

use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::streams::StreamTasks;
use crate::connection::{Connection, End, Established, Halt, Unsent, slice};
use crate::engine::{CallerCore, Reply, RpcError};
use crate::metadata::{METADATA, Metadata};
use crate::rpc::{Agreement, Body, CallError, signature_key};
use crate::schema::describe::{Operation, Signature};
use crate::type_id::{ROUTE_CONTROL, make_type_id};
use crate::wait::{Deadline, PollingMode, looks_per_reading};

/// Most replies of one pass, so that a callee that keeps sending does not block the runtime's thread.
pub(super) const MAX_BATCH: usize = 256;

/// Most looks before a task awaits, for any polling mode: some 50 microseconds.
const MAX_SPINS: u32 = 4096;

type Outcome = Result<Vec<u8>, CallError>;
type ReplySender = oneshot::Sender<Outcome>;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: Arc<Connection>,
    traffic: Mutex<Traffic>,
    /// Requests a look of the driver.
    pub(super) look: Notify,
    /// Wakes the sender that waits for room.
    room: Notify,
    /// Wakes the tasks that wait for the end.
    over: Notify,
    /// Held by the sender that waits for room. The others queue for the lock.
    send_turn: tokio::sync::Mutex<()>,
    /// Held by the task that compares an endpoint with the callee's.
    comparing: tokio::sync::Mutex<()>,
    spins: u32,
}

/// The state that tasks and driver share.
#[derive(Debug)]
pub(super) struct Traffic {
    pub(super) core: CallerCore<ReplySender>,
    /// Senders that wait for room. A new sender queues behind them.
    pub(super) queued: usize,
    /// Bytes of the message whose sender waits for room.
    pub(super) wanted: Option<usize>,
    pub(super) tasks: StreamTasks,
    pub(super) end: Option<End>,
}

/// How a pass of the driver ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RoundResult {
    /// There may be more.
    More,
    /// The ring is empty, and this pass asked the callee to ring.
    Armed,
    /// The ring was empty, and an earlier pass asked the callee to ring.
    StillArmed,
}

impl Session {
    pub(super) fn new(established: &Established, polling: PollingMode) -> Self {
        let spins = match polling {
            PollingMode::SpinTimes(spins) => spins.min(MAX_SPINS),
            PollingMode::Spin => MAX_SPINS,
            PollingMode::SpinFor(time) => {
                let looks = time.as_micros().saturating_mul(looks_per_reading().into());
                u32::try_from(looks).map_or(MAX_SPINS, |looks| looks.min(MAX_SPINS))
            }
            PollingMode::Adaptive | PollingMode::Park => 0,
        };
        Self {
            connection: Arc::clone(&established.connection),
            traffic: Mutex::new(Traffic {
                core: CallerCore::over(established),
                queued: 0,
                wanted: None,
                tasks: StreamTasks::default(),
                end: None,
            }),
            look: Notify::new(),
            room: Notify::new(),
            over: Notify::new(),
            send_turn: tokio::sync::Mutex::default(),
            comparing: tokio::sync::Mutex::default(),
            spins,
        }
    }

    /// Ignores poisoning: the state is consistent whenever the lock is free.
    pub(super) fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request, and awaits a copy of the reply.
    pub(super) async fn exchange(&self, request: &Request<'_>, deadline: Deadline) -> Result<Vec<u8>, CallError> {
        let call = within(deadline, self.call(request, deadline)).await;
        let call = call.unwrap_or(Err(CallError::TimedOut { sent: false }))?;
        within(deadline, call).await.unwrap_or(Err(CallError::TimedOut { sent: true }))
    }

    /// Whether a request to an endpoint may be sent without a comparison.
    pub(super) fn is_verified(&self, signature: &'static Signature) -> bool {
        !signature.is_typed() || self.traffic().core.verified.contains(signature_key(signature))
    }

    /// Compares an endpoint with the callee's, once for all tasks.
    ///
    /// # Errors
    /// [`CallError::Mismatch`]; otherwise the error of the comparison. The call was not sent.
    pub(super) async fn verify(&self, signature: &'static Signature, deadline: Deadline) -> Result<(), CallError> {
        let comparing = within(deadline, self.comparing.lock()).await;
        let _comparing = comparing.ok_or(CallError::TimedOut { sent: false })?;
        // Another task may have compared meanwhile.
        if self.is_verified(signature) {
            return Ok(());
        }
        let type_id = make_type_id(ROUTE_CONTROL, Operation::Describe as u16);
        let mut agreement = Agreement::on(signature.into());
        loop {
            let question = agreement.question()?;
            let request = Request { type_id, body: &Bytes(&question), metadata: None, due: deadline };
            let agreed = match self.exchange(&request, deadline).await {
                Ok(answer) => agreement.described(&answer)?,
                Err(CallError::Remote(error)) => agreement.refused(error)?,
                Err(CallError::TooLarge { .. }) => true,
                Err(error) => return Err(error.unsent()),
            };
            if agreed {
                self.traffic().core.verified.insert(signature_key(signature));
                return Ok(());
            }
        }
    }

    /// Sends a request and returns its call. Awaits room.
    async fn call(&self, request: &Request<'_>, deadline: Deadline) -> Result<Call<'_>, CallError> {
        let (sender, reply) = oneshot::channel();
        let sent = {
            let mut traffic = self.traffic();
            let sent = traffic.try_send(request, sender, false)?;
            // With other calls in flight, the thread has other tasks to run.
            if self.spins > 0 && sent.is_ok() && traffic.core.calls.len() == 1 && !traffic.spin(self.spins) {
                self.look.notify_one();
            }
            sent
        };
        let id = match sent {
            Ok(id) => id,
            Err(sender) => {
                let mut sender = Some(sender);
                let try_send = |traffic: &mut Traffic| {
                    let Some(tag) = sender.take() else { return Ok(None) };
                    let sent = traffic.try_send(request, tag, true)?;
                    Ok(sent.map_err(|back| sender = Some(back)).ok())
                };
                self.send_in_turn(try_send).await?
            }
        };
        Ok(Call { session: self, id, deadline, reply })
    }

    /// Sends a message in its sender's turn. Awaits room while `try_send` finds none.
    pub(super) async fn send_in_turn<T>(
        &self,
        mut try_send: impl FnMut(&mut Traffic) -> Result<Option<T>, CallError>,
    ) -> Result<T, CallError> {
        let _queued = Queued::join(self);
        let _turn = self.send_turn.lock().await;
        loop {
            if let Some(sent) = try_send(&mut self.traffic())? {
                return Ok(sent);
            }
            // The driver asks the callee to ring for room.
            self.look.notify_one();
            self.room.notified().await;
        }
    }

    /// Delivers replies to their calls, wakes the tasks of streams, and asks the callee to ring once the ring is empty.
    /// `armed` says that an earlier pass has asked. Gives the time of the next pass that
    /// the deadline of a stream needs, too.
    ///
    /// # Errors
    /// The end of the connection, after all replies before it.
    pub(super) fn round(&self, armed: bool) -> Result<(RoundResult, Deadline), Halt> {
        let mut traffic = self.traffic();
        let pass = traffic.round(armed)?;
        if pass == RoundResult::More && traffic.wanted.take().is_some() {
            self.room.notify_one();
        }
        Ok((pass, traffic.tasks.alarm()))
    }

    /// Ends the session and all its calls. The first end counts.
    pub(super) fn end(&self, end: End) {
        let mut traffic = self.traffic();
        let Traffic { core, tasks, end: first, .. } = &mut *traffic;
        core.lose(first.get_or_insert(end));
        tasks.wake_all();
        drop(traffic);
        // The sender that waits for room finds the end, and so does each sender after it.
        self.room.notify_one();
        self.over.notify_waiters();
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) {
        let mut over = pin!(self.over.notified());
        // From here on no notification is missed.
        over.as_mut().enable();
        if !self.has_ended() {
            over.await;
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.traffic().end.is_some()
    }

    /// Calls in flight.
    pub(super) fn outstanding(&self) -> usize {
        self.traffic().core.calls.len()
    }

    pub(super) fn max_len(&self) -> usize {
        self.traffic().core.tx.max_len()
    }
}

/// A request of any kind.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) type_id: u32,
    pub(super) body: &'a (dyn Body + Sync),
    pub(super) metadata: Option<&'a Metadata>,
    /// The deadline that the callee is told.
    pub(super) due: Deadline,
}

/// The contents of a request that lie in memory as they travel.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Body for Bytes<'_> {
    fn bytes(&self) -> Option<&[u8]> {
        Some(self.0)
    }

    fn size(&self) -> usize {
        self.0.len()
    }

    fn write(&self, out: &mut [u8]) {
        out.copy_from_slice(self.0);
    }
}

/// Writes the contents of a request, and its metadata behind them.
pub(super) fn write(body: &dyn Body, metadata: Option<&Metadata>, out: &mut [u8]) {
    let size = body.size();
    let (payload, tail) = out.split_at_mut(size);
    body.write(payload);
    if let Some(metadata) = metadata {
        metadata.write_tail(size, tail);
    }
}

impl Traffic {
    /// Sends if there is room and no other sender queues, or if it is this sender's turn.
    fn try_send(
        &mut self,
        &Request { type_id, body, metadata, due }: &Request<'_>,
        reply: ReplySender,
        my_turn: bool,
    ) -> Result<Result<u64, ReplySender>, CallError> {
        let size = body.size();
        let total = size + metadata.map_or(0, Metadata::tail_len);
        if !self.may_send(total, my_turn)? {
            return Ok(Err(reply));
        }
        let sent = match (body.bytes(), metadata) {
            (Some(bytes), None) => self.core.try_send(type_id, bytes, due, reply)?,
            (_, None) => self.try_write(type_id, size, due, reply, |out| body.write(out))?,
            (_, Some(metadata)) => {
                self.try_write(type_id | METADATA, total, due, reply, |out| write(body, Some(metadata), out))?
            }
        };
        self.wanted = sent.is_err().then_some(total);
        Ok(sent)
    }

    /// Whether it is the sender's turn to send `len` bytes.
    pub(super) fn may_send(&self, len: usize, my_turn: bool) -> Result<bool, CallError> {
        if let Some(end) = &self.end {
            return Err(Unsent::Halted(end.clone().into()).into());
        }
        self.core.tx.check(len)?;
        Ok(my_turn || self.queued == 0)
    }

    /// Sends a request of `len` bytes that `write` writes where they travel, if there is room.
    fn try_write(
        &mut self,
        type_id: u32,
        len: usize,
        due: Deadline,
        reply: ReplySender,
        write: impl FnOnce(&mut [u8]),
    ) -> Result<Result<u64, ReplySender>, CallError> {
        let core = &mut self.core;
        // Cancellations go first, as in `CallerCore::try_send`.
        if core.flush_cancellations()?
            && let Some(mut reservation) = core.tx.try_reserve(len)?
        {
            write(slice::reserved_mut(&mut reservation, &core.tx));
            let header = core.header(type_id, due);
            return Ok(Ok(core.commit(reservation, len, header, reply)));
        }
        Ok(Err(reply))
    }

    fn round(&mut self, armed: bool) -> Result<RoundResult, Halt> {
        let pass = self.deliver_all(armed);
        self.wake_streams();
        pass
    }

    fn deliver_all(&mut self, armed: bool) -> Result<RoundResult, Halt> {
        let mut armed = armed;
        for _ in 0..MAX_BATCH {
            let Some(reply) = self.core.next()? else {
                if self.core.may_have_more() {
                    return Ok(RoundResult::More);
                }
                // Their tasks run before the callee is asked to ring: it may wait for the credit of what they take.
                if self.wake_streams() {
                    return Ok(RoundResult::More);
                }
                // The reply ring reports a fault of the request ring.
                drop(self.core.flush_cancellations());
                if armed && self.core.is_armed(self.wanted.is_some()) {
                    return Ok(RoundResult::StillArmed);
                }
                return Ok(if self.core.arm(self.wanted) { RoundResult::Armed } else { RoundResult::More });
            };
            self.deliver(reply);
            // The callee may have rung for this reply.
            armed = false;
        }
        Ok(RoundResult::More)
    }

    /// Polls for the reply to the only call in flight. False when the driver must look, since this task leaves replies,
    /// or a fault, in the ring while the driver sleeps.
    fn spin(&mut self, looks: u32) -> bool {
        self.core.disarm();
        for _ in 0..looks {
            match self.core.next() {
                Ok(None) => core::hint::spin_loop(),
                Ok(Some(reply)) => {
                    self.deliver(reply);
                    if self.core.calls.len() == 0 {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        // With a call still in flight, the driver must take the second look after this arming.
        matches!(self.round(false), Ok(RoundResult::Armed)) && self.core.calls.len() == 0
    }

    /// Delivers a reply to its call.
    fn deliver(&mut self, Reply { tag, frame }: Reply<ReplySender>) {
        let payload = slice::payload(&frame, &self.core.rx);
        let outcome = match RpcError::decode(frame.type_id, payload) {
            None => Ok(payload.to_vec()),
            Some(error) => Err(CallError::refused(error)),
        };
        // Fails if the task is dropping the call.
        drop(tag.send(outcome));
        self.core.rx.release(frame.position);
    }
}

/// Awaits a future until a deadline; `None` after it.
pub(super) async fn within<F: Future>(deadline: Deadline, future: F) -> Option<F::Output> {
    match deadline.remaining() {
        None => Some(future.await),
        Some(left) => tokio::time::timeout(left, future).await.ok(),
    }
}

/// A place in the queue of senders that wait for room.
struct Queued<'a>(&'a Session);

impl<'a> Queued<'a> {
    fn join(session: &'a Session) -> Self {
        session.traffic().queued += 1;
        Self(session)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.traffic().queued -= 1;
    }
}

/// A call in flight, which resolves to its reply. The drop cancels the call; a late reply is dropped.
#[derive(Debug)]
struct Call<'a> {
    session: &'a Session,
    id: u64,
    deadline: Deadline,
    reply: oneshot::Receiver<Outcome>,
}

impl Future for Call<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let sent = ready!(Pin::new(&mut self.reply).poll(context));
        Poll::Ready(sent.unwrap_or_else(|_| match self.session.traffic().core.take_outcome(self.id) {
            // The connection ended.
            Some(Err(end)) => Err(Halt::from(end).into()),
            // Not reached: each other call that leaves the table gets a reply first.
            _ => Err(Halt::from(undriven()).into()),
        }))
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.reply.is_terminated() {
            return;
        }
        let mut traffic = self.session.traffic();
        // After the deadline no cancellation is due: the callee knows the deadline.
        traffic.core.end(self.id, !self.deadline.has_passed());
        if traffic.core.has_pending_cancellations() {
            drop(traffic);
            self.session.look.notify_one();
        }
    }
}

/// The end of a connection whose runtime has ended.
pub(super) fn undriven() -> End {
    let text = "the tokio runtime that this caller was connected in has ended; connect again in a running one";
    End::Io(std::io::ErrorKind::NotConnected, text.to_owned())
}
