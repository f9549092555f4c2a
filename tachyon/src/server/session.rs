//! One caller of a server: its two directions, and whether it is looked at or slept on.

use core::fmt;

use super::poller::{Poller, Token};
use super::seat::Seat;
use crate::bus::{Established, Incoming, Lack, MOST_PER_LOOK, Outgoing, look_for_data, may_rest, rouse};
use crate::dispatch::{Answered, CallerInfo};
use crate::error::{Halt, ServeError, Unsent};
use crate::handshake::Link;
use crate::options::Options;
use crate::rpc::{ErrorKind, OpenRequest, open_request, send_error};
use crate::type_id::msg_type;
use crate::wait::{Peer, Spinner};

/// A connected caller.
pub(super) struct Session {
    pub(super) info: CallerInfo,
    incoming: Incoming,
    pub(super) outgoing: Outgoing,
    spinner: Spinner,
    idle_looks: u32,
    /// A request that was taken and could not be served yet.
    held: Option<OpenRequest>,
    /// Whether the worker looks at it; otherwise it sleeps on the doorbells.
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
    /// Nothing to do for longer: its doorbells are watched from now on.
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
        let spinner = Spinner::new(options.polling_mode());
        Self { info, incoming, outgoing, spinner, idle_looks: 0, held: None, hot: true, seat: None }
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

    /// Has the doorbells and the peer's end watched.
    pub(super) fn watch(&self, poller: &Poller, key: usize) -> std::io::Result<()> {
        poller.add(&self.incoming.channel().data, Token::Data(key))?;
        poller.add(&self.outgoing.channel().room, Token::Room(key))?;
        poller.add_hang_up(self.peer(), Token::Peer(key))?;
        if let Some(process) = self.peer().process() {
            poller.add(process, Token::Peer(key))?;
        }
        Ok(())
    }

    pub(super) fn unwatch(&self, poller: &Poller) {
        poller.remove(&self.incoming.channel().data);
        poller.remove(&self.outgoing.channel().room);
        poller.remove(self.peer());
        if let Some(process) = self.peer().process() {
            poller.remove(process);
        }
    }

    /// A doorbell of this session rang.
    pub(super) fn woken(&self, token: Token) {
        let gone = match token {
            Token::Data(_) => self.incoming.channel().data.drain(),
            Token::Room(_) => self.outgoing.channel().room.drain(),
            _ => true,
        };
        if gone {
            self.peer().mark_gone();
        }
        rouse(&self.incoming, &self.outgoing);
    }

    /// Serves one request, if there is one: a caller who floods gets as many turns as everyone else. One that `admit`
    /// refuses stays where it is, and everything behind it, for a later turn.
    pub(super) fn turn(
        &mut self,
        admit: &impl Fn(&CallerInfo, &OpenRequest) -> bool,
        answer: &mut impl FnMut(&CallerInfo, &Incoming, &mut Outgoing, &OpenRequest) -> Answered,
        tell: &impl Fn(&ServeError),
    ) -> Turn {
        // Asked before the look: nothing committed before an end seen here can escape that look.
        let gone = self.peer().was_gone();
        if let Some(turn) = self.catch_up() {
            return turn;
        }
        match self.serve_next(admit, answer, tell) {
            Ok(Some(true)) => {
                self.idle_looks = 0;
                self.spinner.spun();
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
        match self.spinner.budget() {
            Some(budget) if self.idle_looks >= budget => self.rest(Lack::Messages),
            _ => Turn::Idle,
        }
    }

    /// Sends a reply that had no room, without taking a request; `None` when none is left.
    fn catch_up(&mut self) -> Option<Turn> {
        match self.flush() {
            Ok(true) => None,
            Ok(false) => Some(self.rest(Lack::Room)),
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
        let channel = connection.channel(*index);
        match look_for_data(connection, channel, consumer)? {
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

    /// Goes to sleep, unless what it lacks has come meanwhile.
    fn rest(&mut self, lack: Lack) -> Turn {
        self.idle_looks = 0;
        if !may_rest(&self.incoming, &mut self.outgoing, lack) {
            return Turn::Idle;
        }
        self.spinner.parked();
        Turn::Rest
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
            let told = send_error(&mut self.outgoing, call, of, ErrorKind::Stopping, "");
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
    use crate::ring::{Geometry, RingMemory};
    use crate::rpc::Caller;

    #[test]
    fn who_stops_looks_at_the_clock_however_much_there_is_to_turn_away() {
        let geometry = Geometry::new(1 << 16).unwrap();
        let more = MOST_PER_LOOK + 10;
        assert!(geometry.slots() > more as usize);
        let rings: Vec<_> = (0..2).map(|_| Arc::new(RingMemory::create(geometry).unwrap().0)).collect();
        let options = Options::new();
        let [ours, theirs] = linked(&rings, &options);
        let mut session = Session::over(1, &ours, &options);
        let mut caller = Caller::over(&theirs);
        let calls: Vec<_> = (0..more).map(|_| caller.call(1, b"").unwrap()).collect();
        assert!(!session.turn_away().unwrap(), "all of it in one go");
        assert!(session.turn_away().unwrap());
        for call in calls {
            assert_eq!(caller.wait(call).unwrap().error().unwrap().kind, ErrorKind::Stopping);
        }
    }
}
