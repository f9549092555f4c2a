//! One connection and the calls under way on it.
//!
//! Tasks send by themselves, under a lock that is held for a copy at most, and so does whoever takes replies. While the
//! lock is free and nobody is about to take it, the parked word of the reply ring is set, so that the callee rings for
//! the next reply: the park protocol of `wait`, with the runtime in `poll`'s place.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::ending::Ending;
use crate::bus::{Connection, Incoming, Outgoing, data_source, look_for_data, room_source};
use crate::error::{CallError, Halt};
use crate::ring::{Fault, Frame};
use crate::rpc::{Caller, RpcError, Shape};
use crate::slice;
use crate::type_id::MSG_TYPE_ERROR;
use crate::wait::{Deadline, PollingMode};

/// Most replies taken at one time, so that a callee that never stops sending does not stop the runtime's thread.
pub(super) const AT_ONCE: usize = 256;

/// Most looks before awaiting, whatever was asked for: some 50 microseconds.
const MOST_SPINS: u32 = 4096;

type Outcome = Result<Vec<u8>, CallError>;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: Arc<Connection>,
    traffic: Mutex<Traffic>,
    /// Asks the driver to look for replies.
    pub(super) look: Notify,
    /// Tells the sender that waits for room to look again.
    pub(super) room: Notify,
    /// Held by the one sender that waits for room; the others queue for it.
    turn: tokio::sync::Mutex<()>,
    spins: u32,
}

/// What tasks share.
#[derive(Debug)]
struct Traffic {
    outgoing: Outgoing,
    incoming: Incoming,
    calls: HashMap<u64, oneshot::Sender<Outcome>>,
    next: u64,
    /// Senders that wait for room. Nobody passes them.
    queued: usize,
    ending: Option<Ending>,
}

impl Session {
    pub(super) fn new(caller: Caller, polling: PollingMode) -> Self {
        let (outgoing, incoming) = caller.into_directions();
        let connection = Arc::clone(&outgoing.connection);
        let spins = match polling {
            PollingMode::Spins(spins) => spins.min(MOST_SPINS),
            PollingMode::PureSpin => MOST_SPINS,
            PollingMode::Adaptive | PollingMode::Park => 0,
        };
        let traffic = Traffic { outgoing, incoming, calls: HashMap::new(), next: 1, queued: 0, ending: None };
        Self {
            connection,
            traffic: Mutex::new(traffic),
            look: Notify::new(),
            room: Notify::new(),
            turn: tokio::sync::Mutex::default(),
            spins,
        }
    }

    /// What the lock guards is whole whenever it is free, so a panic elsewhere does not spoil it.
    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request and gives its call, waiting for room without keeping the thread.
    pub(super) async fn call(&self, msg_type: u16, payload: &[u8], deadline: Deadline) -> Result<Call<'_>, CallError> {
        if msg_type == MSG_TYPE_ERROR {
            return Err(CallError::ReservedMsgType);
        }
        let sent = {
            let mut traffic = self.traffic();
            let sent = traffic.try_send(msg_type, payload, deadline, false)?;
            // With other calls under way, the thread has better things to do than to look for one reply.
            if self.spins > 0 && sent.is_some() && traffic.calls.len() == 1 && !traffic.spin(self.spins) {
                self.look.notify_one();
            }
            sent
        };
        let (id, reply) = match sent {
            Some(sent) => sent,
            None => self.send_in_turn(msg_type, payload, deadline).await?,
        };
        Ok(Call { session: self, id, reply })
    }

    async fn send_in_turn(&self, msg_type: u16, payload: &[u8], deadline: Deadline) -> Result<Sent, CallError> {
        let _queued = Queued::join(self);
        let _turn = self.turn.lock().await;
        loop {
            if let Some(sent) = self.traffic().try_send_parked(msg_type, payload, deadline)? {
                return Ok(sent);
            }
            self.room.notified().await;
        }
    }

    /// Takes replies to their calls; true when there are no more and the callee will ring for the next one.
    pub(super) fn settle(&self) -> Result<bool, Halt> {
        self.traffic().settle()
    }

    /// Ends the session and every call on it. The first ending counts.
    pub(super) fn end(&self, ending: Ending) {
        let mut traffic = self.traffic();
        let calls = core::mem::take(&mut traffic.calls);
        let ending = traffic.ending.get_or_insert(ending);
        for (_, reply) in calls {
            // A task that no longer listens needs no answer.
            drop(reply.send(Err(ending.error())));
        }
        drop(traffic);
        // Whoever waits for room looks again, and finds the ending; the next in turn finds it at once.
        self.room.notify_one();
    }

    pub(super) fn has_ended(&self) -> bool {
        self.traffic().ending.is_some()
    }

    /// Calls under way.
    pub(super) fn outstanding(&self) -> usize {
        self.traffic().calls.len()
    }

    pub(super) fn max_len(&self) -> usize {
        self.traffic().outgoing.max_len()
    }
}

type Sent = (u64, oneshot::Receiver<Outcome>);

impl Traffic {
    /// Sends if there is room and, unless it is the sender's turn, nobody queues for it.
    fn try_send(
        &mut self,
        msg_type: u16,
        payload: &[u8],
        deadline: Deadline,
        my_turn: bool,
    ) -> Result<Option<Sent>, CallError> {
        if let Some(ending) = &self.ending {
            return Err(ending.error());
        }
        let shape = Shape::new(&self.outgoing, msg_type, payload.len(), deadline)?;
        self.outgoing.check(shape.len())?;
        if self.queued > 0 && !my_turn {
            return Ok(None);
        }
        let id = self.next;
        if !shape.try_send(&mut self.outgoing, payload, id)? {
            return Ok(None);
        }
        self.next += 1;
        let (sender, receiver) = oneshot::channel();
        self.calls.insert(id, sender);
        Ok(Some((id, receiver)))
    }

    /// As [`try_send`](Self::try_send) in turn, and has the callee ring if there is no room.
    fn try_send_parked(
        &mut self,
        msg_type: u16,
        payload: &[u8],
        deadline: Deadline,
    ) -> Result<Option<Sent>, CallError> {
        let connection = Arc::clone(&self.outgoing.connection);
        let room = room_source(connection.channel(0));
        room.arm();
        let sent = self.try_send(msg_type, payload, deadline, true);
        if !matches!(sent, Ok(None)) {
            room.disarm();
        }
        sent
    }

    fn look(&mut self) -> Result<Option<Frame>, Halt> {
        let Incoming { connection, index, consumer, .. } = &mut self.incoming;
        look_for_data(connection, connection.channel(*index), consumer)
    }

    fn settle(&mut self) -> Result<bool, Halt> {
        let mut parked = false;
        for _ in 0..AT_ONCE {
            match self.look()? {
                Some(frame) => {
                    self.deliver(&frame)?;
                    parked = false;
                }
                None if parked => return Ok(true),
                None => {
                    data_source(self.incoming.channel()).arm();
                    parked = true;
                }
            }
        }
        Ok(false)
    }

    /// Looks for the reply to the only call under way. False when the driver has to look: it sleeps and counts on being
    /// rung for, and there is too much to take here, or something wrong that is for the driver to find.
    fn spin(&mut self, looks: u32) -> bool {
        data_source(self.incoming.channel()).disarm();
        for _ in 0..looks {
            match self.look() {
                Ok(None) => core::hint::spin_loop(),
                Ok(Some(frame)) => {
                    if self.deliver(&frame).is_err() || self.calls.is_empty() {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        matches!(self.settle(), Ok(true))
    }

    /// Hands a reply to its call; nobody's, if that gave up.
    fn deliver(&mut self, frame: &Frame) -> Result<(), Halt> {
        let id = frame.correlation_id;
        if id == 0 || id >= self.next {
            self.incoming.connection.condemn();
            return Err(Halt::FatalError(Fault::Correlation(id)));
        }
        if let Some(reply) = self.calls.remove(&id) {
            let payload = slice::payload(frame, &self.incoming);
            let outcome = match RpcError::decode(frame.type_id, payload) {
                None => Ok(payload.to_vec()),
                Some(error) => Err(CallError::refused(error)),
            };
            // A task that is just giving up needs no answer.
            drop(reply.send(outcome));
        }
        self.incoming.release(frame.position);
        Ok(())
    }
}

/// A place in the queue for room.
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

/// A request that was sent: resolves to its reply. Dropping it gives the call up, and its late reply is dropped.
#[derive(Debug)]
pub(super) struct Call<'a> {
    session: &'a Session,
    id: u64,
    reply: oneshot::Receiver<Outcome>,
}

impl Future for Call<'_> {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.reply).poll(context).map(|outcome| match outcome {
            Ok(outcome) => outcome,
            // Every way out of the table sends something first.
            Err(_) => Err(Ending::undriven().error()),
        })
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.reply.is_terminated() {
            self.session.traffic().calls.remove(&self.id);
        }
    }
}
