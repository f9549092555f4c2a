//! One connection and the calls under way on it.
//!
//! Tasks send by themselves, under a lock that is held for a copy at most; the driver takes replies under the same lock.
//! While the lock is free and no task is about to take it, the parked word of the reply ring is set, so that the callee
//! rings for the next reply: the steps of `ring::parked`, with the runtime in `poll`'s place.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::ending::Ending;
use crate::bus::{Connection, Incoming, Outgoing, look_for_data};
use crate::error::{CallError, Halt};
use crate::ring::{Fault, Frame, MessageHeader, arm};
use crate::rpc::{Caller, RpcError};
use crate::slice;
use crate::type_id::{MSG_TYPE_ERROR, make_type_id};
use crate::wait::{Deadline, PollingMode, look_after_arming, looks_per_reading, monotonic_nanos};

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
            PollingMode::Spin(time) => {
                let looks = time.as_micros().saturating_mul(looks_per_reading().into());
                u32::try_from(looks).map_or(MOST_SPINS, |looks| looks.min(MOST_SPINS))
            }
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
            // The driver sleeps for both of us, and takes the second look.
            self.look.notify_one();
            self.room.notified().await;
        }
    }

    /// Takes replies to their calls, until there are no more and the callee will ring for the next one. `armed` says that
    /// it will already.
    pub(super) fn take_replies(&self, armed: bool) -> Result<Taken, Halt> {
        self.traffic().take_replies(armed)
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

/// How a look for replies ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// There may be more.
    More,
    /// There are no more, and the callee was asked to ring just now.
    Armed,
    /// There were none, and the callee had been asked before.
    StillArmed,
}

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
        self.outgoing.check(payload.len())?;
        if self.queued > 0 && !my_turn {
            return Ok(None);
        }
        let id = self.next;
        let type_id = make_type_id(0, msg_type);
        let header = MessageHeader::due(type_id, id, deadline.to_wire());
        if !self.outgoing.try_send(payload, header)? {
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
        let room = &connection.ring(0).header().producer_parked.0;
        arm(&[room]);
        let sent = look_after_arming(monotonic_nanos(), &mut || self.try_send(msg_type, payload, deadline, true));
        if !matches!(sent, Ok(None)) {
            room.clear();
        }
        sent
    }

    fn look(&mut self) -> Result<Option<Frame>, Halt> {
        let Incoming { connection, index, consumer, .. } = &mut self.incoming;
        look_for_data(connection, connection.ring(*index), consumer)
    }

    fn take_replies(&mut self, armed: bool) -> Result<Taken, Halt> {
        let mut armed = armed;
        for _ in 0..AT_ONCE {
            let found = match self.look()? {
                None if armed => return Ok(Taken::StillArmed),
                None => {
                    arm(&[&self.incoming.ring().header().consumer_parked.0]);
                    match look_after_arming(monotonic_nanos(), &mut || self.look())? {
                        None => return Ok(Taken::Armed),
                        found => found,
                    }
                }
                found => found,
            };
            if let Some(frame) = found {
                self.deliver(&frame)?;
            }
            // The callee may have rung for this one.
            armed = false;
        }
        Ok(Taken::More)
    }

    /// Looks for the reply to the only call under way. False when the driver has to look: it sleeps and counts on being
    /// rung for, and there is too much to take here, or something wrong that is for the driver to find.
    fn spin(&mut self, looks: u32) -> bool {
        self.incoming.ring().header().consumer_parked.0.clear();
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
        // With a call still under way the second look after this arming is the driver's.
        matches!(self.take_replies(false), Ok(Taken::Armed)) && self.calls.is_empty()
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
