//! One caller of a server: its two directions, and whether it is looked at or slept on.

use core::fmt;

use super::poller::{Poller, Token};
use super::seat::Seat;
use crate::bus::{Established, Incoming, MOST_PER_LOOK, Outgoing, WaitFor, is_due, look_for_data, park, unpark};
use crate::dispatch::{Answered, CallerInfo};
use crate::error::{Halt, ServeError, Unsent};
use crate::handshake::Link;
use crate::options::Options;
use crate::ring::Fault;
use crate::rpc::{ErrorBody, ErrorKind, OpenRequest, is_cancel, open_request, send_error};
use crate::type_id::msg_type;
use crate::wait::{Budget, Peer, PollingMode, Spin, monotonic_nanos};

/// A connected caller.
pub(super) struct Session {
    pub(super) info: CallerInfo,
    incoming: Incoming,
    pub(super) outgoing: Outgoing,
    budget: Budget,
    /// Looks that found nothing since the last request, or since the last park.
    idle_looks: u32,
    /// When the wait for the next request was first timed, and the ring that ended it was sent; 0 before.
    idle_since: u64,
    rung_at: u64,
    /// While it is parked: for what, and when it is due for the second look.
    parked: (WaitFor, u64),
    /// What the peer sent that is no ring.
    fault: Option<Fault>,
    /// A request that was taken and could not be served yet.
    held: Option<OpenRequest>,
    /// Whether the worker looks at it; otherwise it sleeps on the socket.
    pub(super) hot: bool,
    /// Where it is counted.
    pub(super) seat: Option<Seat>,
}

/// What came of a turn.
#[derive(Debug)]
pub(super) enum Turn {
    /// A request was served.
    Served,
    /// Nothing to do yet.
    Idle,
    /// There is a request, for which it is too early.
    Held,
    /// Nothing to do for longer: its socket is watched from now on.
    Rest,
    /// The caller is gone.
    Ended(Halt),
}

impl Session {
    pub(super) fn new(id: u64, link: Link, options: &Options) -> Self {
        Self::over(id, &Established::new(link, options), options)
    }

    /// A caller whose connection exists already; its end was taken.
    pub(super) fn over(id: u64, established: &Established, options: &Options) -> Self {
        let (incoming, mut outgoing) = (established.incoming(0), established.outgoing(1));
        outgoing.keep_overflow();
        let peer = &established.connection.peer;
        let info = CallerInfo::new(id, peer);
        Self {
            info,
            incoming,
            outgoing,
            budget: Budget::new(options.polling_mode(), 1),
            idle_looks: 0,
            idle_since: 0,
            rung_at: 0,
            parked: (WaitFor::Messages, 0),
            fault: None,
            held: None,
            hot: true,
            seat: None,
        }
    }

    /// Notes how full the rings are, for those who watch.
    pub(super) fn sample(&self) {
        if let Some(seat) = &self.seat {
            seat.note_requests(&self.incoming);
            seat.note_fill(&self.incoming, &self.outgoing);
        }
    }

    fn peer(&self) -> &Peer {
        &self.incoming.connection.peer
    }

    /// Has the socket and the peer's end watched.
    pub(super) fn watch(&self, poller: &Poller, key: usize) -> std::io::Result<()> {
        poller.add_socket(self.peer(), key)?;
        if let Some(process) = self.peer().process() {
            poller.add(process, Token::Peer(key))?;
        }
        Ok(())
    }

    pub(super) fn unwatch(&self, poller: &Poller) {
        poller.remove(self.peer());
        if let Some(process) = self.peer().process() {
            poller.remove(process);
        }
    }

    /// The peer of this session rang. A worker that slept says since when.
    pub(super) fn rung(&mut self, slept_at: Option<u64>) {
        let heard = match slept_at {
            Some(slept_at) => self.peer().hear_after_sleep(slept_at),
            None => self.peer().hear(),
        };
        match heard {
            Ok(heard) => self.rung_at = heard.sent_at,
            Err(fault) => self.fault = Some(fault),
        }
        unpark(&self.incoming, &self.outgoing);
    }

    /// The peer of this session is gone.
    pub(super) fn ended(&self) {
        self.peer().mark_gone();
        unpark(&self.incoming, &self.outgoing);
    }

    /// Serves one request, if there is one: a caller who floods gets as many turns as everyone else. One that `admit`
    /// refuses stays where it is, and everything behind it, for a later turn.
    pub(super) fn turn(
        &mut self,
        admit: &impl Fn(&CallerInfo, &OpenRequest) -> bool,
        answer: &mut impl FnMut(&CallerInfo, &Incoming, &mut Outgoing, &OpenRequest) -> Answered,
        tell: &impl Fn(&ServeError),
    ) -> Turn {
        if let Some(fault) = self.fault {
            return Turn::Ended(self.incoming.connection.broken(fault));
        }
        // Asked before the look: nothing committed before an end seen here can escape that look.
        let gone = self.peer().was_gone();
        if let Some(turn) = self.catch_up() {
            return turn;
        }
        match self.serve_next(admit, answer, tell) {
            Ok(Some(true)) => {
                self.learn();
                if let Some(seat) = &self.seat {
                    seat.note_requests(&self.incoming);
                }
                return Turn::Served;
            }
            Ok(Some(false)) => {}
            Ok(None) => return self.hold(),
            Err(halt) => return Turn::Ended(halt),
        }
        if gone {
            return Turn::Ended(Halt::PeerDead);
        }
        self.idle_looks = self.idle_looks.saturating_add(1);
        if self.has_waited_enough() { self.rest(WaitFor::Messages) } else { Turn::Idle }
    }

    /// Learns from the wait for a request that has come.
    fn learn(&mut self) {
        if self.idle_since == 0 {
            self.budget.met();
        } else {
            let now = monotonic_nanos();
            let came = if (self.idle_since..=now).contains(&self.rung_at) { self.rung_at } else { now };
            self.budget.learn(came - self.idle_since);
        }
        (self.idle_looks, self.idle_since, self.rung_at) = (0, 0, 0);
    }

    /// Whether the budget for looking is used up. The clock is read about once in a microsecond.
    fn has_waited_enough(&mut self) -> bool {
        let spin = self.budget.spin();
        if let Spin::Looks(most) = spin {
            return self.idle_looks >= most;
        }
        if spin != Spin::Nanos(0) && !self.idle_looks.is_multiple_of(self.budget.first_round().max(1)) {
            return false;
        }
        let now = monotonic_nanos();
        if self.idle_since == 0 {
            self.idle_since = now;
            let adaptive = self.budget.mode() == PollingMode::Adaptive;
            return spin == Spin::Nanos(0) || (adaptive && self.incoming.connection.shares_core());
        }
        matches!(spin, Spin::Nanos(nanos) if now - self.idle_since >= nanos)
    }

    /// Sends a reply that had no room, without taking a request; `None` when none is left.
    fn catch_up(&mut self) -> Option<Turn> {
        match self.flush() {
            Ok(true) => None,
            Ok(false) => Some(self.rest(WaitFor::Room)),
            Err(halt) => Some(Turn::Ended(halt)),
        }
    }

    /// A turn whose request cannot be served yet. Whether its caller is still there is asked each time: nothing that is
    /// left to take would tell.
    fn hold(&self) -> Turn {
        match self.outgoing.check(0) {
            Err(Unsent::Halted(halt)) => Turn::Ended(halt),
            Ok(()) | Err(Unsent::TooLarge { .. }) => Turn::Held,
        }
    }

    /// Serves the next request; `None` when `admit` refuses it for now, false when there is none.
    fn serve_next(
        &mut self,
        admit: &impl Fn(&CallerInfo, &OpenRequest) -> bool,
        answer: &mut impl FnMut(&CallerInfo, &Incoming, &mut Outgoing, &OpenRequest) -> Answered,
        tell: &impl Fn(&ServeError),
    ) -> Result<Option<bool>, Halt> {
        let Some(request) = self.take()? else { return Ok(Some(false)) };
        if !admit(&self.info, &request) {
            self.held = Some(request);
            return Ok(None);
        }
        let outcome = answer(&self.info, &self.incoming, &mut self.outgoing, &request);
        self.incoming.release(request.frame.position);
        let Err(error) = outcome else { return Ok(Some(true)) };
        match *error {
            failure @ (ServeError::NoHandler { .. } | ServeError::Handler(_)) => tell(&failure),
            ServeError::Closed => return Err(Halt::Closed),
            ServeError::Forked => return Err(Halt::Forked),
            ServeError::FatalError(fault) => return Err(Halt::FatalError(fault)),
            _ => return Err(Halt::PeerDead),
        }
        Ok(Some(true))
    }

    fn take(&mut self) -> Result<Option<OpenRequest>, Halt> {
        self.incoming.connection.check_process()?;
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        let Incoming { connection, index, consumer, .. } = &mut self.incoming;
        match look_for_data(connection, connection.ring(*index), consumer)? {
            None => Ok(None),
            Some(frame) => open_request(&self.incoming, frame).map(Some),
        }
    }

    /// Sends a reply that had no room; true when none is left.
    fn flush(&mut self) -> Result<bool, Halt> {
        match self.outgoing.flush() {
            Ok(flushed) => Ok(flushed),
            Err(Unsent::Halted(halt)) => Err(halt),
            // It fitted the ring when it was kept, and rings do not shrink.
            Err(Unsent::TooLarge { .. }) => Ok(true),
        }
    }

    /// Parks, unless what it waits for has come meanwhile.
    fn rest(&mut self, wait_for: WaitFor) -> Turn {
        self.idle_looks = 0;
        let Some(second_look) = park(&self.incoming, &mut self.outgoing, wait_for) else { return Turn::Idle };
        self.parked = (wait_for, second_look);
        Turn::Rest
    }

    /// When a parked session is due for its second look, on the monotonic clock.
    pub(super) fn second_look_at(&self) -> u64 {
        self.parked.1
    }

    /// The second look at a parked session: true when it has to be polled again.
    pub(super) fn look_again(&mut self) -> bool {
        let due = is_due(&self.incoming, &mut self.outgoing, self.parked.0).is_some();
        if due {
            unpark(&self.incoming, &self.outgoing);
        }
        due
    }

    /// Answers what is still in the ring with `Stopping`. True when nothing is left there, and nothing kept for want of
    /// room; a caller that goes on sending is not attended to for ever.
    pub(super) fn turn_away(&mut self) -> Result<bool, Halt> {
        for _ in 0..MOST_PER_LOOK {
            if !self.flush()? {
                return Ok(false);
            }
            let Some(request) = self.take()? else { return Ok(true) };
            let (call, of) = (request.frame.correlation_id, msg_type(request.frame.type_id));
            let told = if is_cancel(&request.frame) {
                Ok(())
            } else {
                send_error(&mut self.outgoing, call, of, ErrorKind::Stopping, ErrorBody::default())
            };
            self.incoming.release(request.frame.position);
            if let Err(Unsent::Halted(halt)) = told {
                return Err(halt);
            }
        }
        Ok(false)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("info", &self.info).field("hot", &self.hot).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fuzz::linked;
    use crate::ring::{Geometry, MessageHeader, RingMemory, Use};
    use crate::rpc::Caller;
    use crate::type_id::{ROUTE_CANCEL, make_type_id};

    /// A session and its caller over rings of `capacity` bytes.
    fn session(capacity: usize) -> (Session, Caller) {
        let geometry = Geometry::new(capacity, Use::Calls).unwrap();
        let rings: Vec<_> = (0..2).map(|_| Arc::new(RingMemory::create(geometry).unwrap().0)).collect();
        let options = Options::new();
        let [ours, theirs] = linked(&rings, &options);
        (Session::over(1, &ours, &options), Caller::over(&theirs))
    }

    #[test]
    fn who_stops_looks_at_the_clock_however_much_there_is_to_turn_away() {
        let more = MOST_PER_LOOK + 10;
        let (mut session, mut caller) = session(1 << 17);
        assert!(caller.core.outgoing.ring().geometry().slots() > more as usize);
        let calls: Vec<_> = (0..more).map(|_| caller.call(1, b"").unwrap()).collect();
        assert!(!session.turn_away().unwrap(), "all of it in one go");
        assert!(session.turn_away().unwrap());
        for call in calls {
            assert_eq!(caller.wait(call).unwrap().error().unwrap().kind, ErrorKind::Stopping);
        }
    }

    #[test]
    fn a_cancellation_gets_no_reply_from_a_server_that_stops() {
        let (mut session, mut caller) = session(1 << 12);
        let call = caller.call(1, b"").unwrap();
        let cancellation = MessageHeader::new(make_type_id(ROUTE_CANCEL, 1), call);
        assert!(caller.core.outgoing.try_send(b"", cancellation).unwrap());
        assert!(session.turn_away().unwrap());
        assert_eq!(caller.core.outgoing.producer.under_way(), 0, "both were taken");
        assert_eq!(caller.wait(call).unwrap().error().unwrap().kind, ErrorKind::Stopping);
        assert!(caller.core.incoming.try_take().unwrap().is_none(), "a second reply");
    }
}
