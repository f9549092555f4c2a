//! One caller of a server: its connection, and whether it is polled or parked.

use core::fmt;

use super::places::Place;
use super::poller::{Poller, Token};
use super::seat::Seat;
use crate::connection::Halt;
use crate::connection::{Established, Rx, Tx, is_due, park, unpark};
use crate::engine::{CalleeCore, CallerInfo, Pass, Service};
use crate::options::Options;
use crate::wait::{Budget, Peer, PollingMode, Spin, monotonic_nanos};

/// A caller that connected, on its way to the worker that serves it.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) info: CallerInfo,
    rx: Rx,
    tx: Tx,
    place: Option<Place>,
}

impl Arrival {
    /// The caller number `id`. The answering end of its connection is free. A server's caller has a place.
    pub(super) fn new(id: u64, established: &Established, place: Option<Place>) -> Self {
        let info = CallerInfo::new(id, &established.connection.peer);
        Self { info, rx: established.rx(0), tx: established.tx(1), place }
    }

    /// The answering end.
    pub(super) fn into_core<B>(self) -> CalleeCore<B> {
        CalleeCore::new(self.info, self.rx, self.tx)
    }
}

/// A connected caller. `B` stands for a call that has begun.
pub(super) struct Session<B> {
    pub(super) core: CalleeCore<B>,
    budget: Budget,
    /// Looks that found nothing since the last request, or since the last park.
    idle_looks: u32,
    /// When the wait for the next request was first timed, and the ring that ended it was sent; 0 before.
    idle_since: u64,
    rung_at: u64,
    /// While it is parked: when it is due for the second look, on the monotonic clock.
    second_look_at: u64,
    /// Whether its descriptors are in an epoll where they are armed for one event at a time.
    watched: bool,
    /// Whether the worker polls it; otherwise it is parked.
    pub(super) hot: bool,
    /// Free again when the session is dropped.
    _place: Option<Place>,
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
    /// The next request is one of a slow endpoint, and is served in the next turn.
    Slow,
    /// Nothing to do for longer: its socket is watched from now on.
    Rest,
    /// The caller is gone.
    Ended(Halt),
}

impl<B> Session<B> {
    pub(super) fn new(mut arrival: Arrival, options: &Options) -> Self {
        Self {
            _place: arrival.place.take(),
            core: arrival.into_core(),
            budget: Budget::new(options.polling_mode(), 1),
            idle_looks: 0,
            idle_since: 0,
            rung_at: 0,
            second_look_at: 0,
            watched: false,
            hot: true,
            seat: None,
        }
    }

    /// The caller's number.
    pub(super) fn id(&self) -> u64 {
        self.core.info.id
    }

    /// Notes how full the rings are, for observers.
    pub(super) fn sample(&self) {
        if let Some(seat) = &self.seat {
            seat.note_requests(&self.core.rx);
            seat.note_fill(&self.core.rx, &self.core.tx);
        }
    }

    fn peer(&self) -> &Peer {
        &self.core.rx.connection.peer
    }

    /// Has the socket and the peer's end watched.
    pub(super) fn watch(&self, poller: &Poller, key: usize) -> std::io::Result<()> {
        poller.add_socket(self.peer(), key)?;
        if let Some(process) = self.peer().process() {
            poller.add(process, Token::Peer(key))?;
        }
        Ok(())
    }

    /// Has the next event of the socket and of the peer's end told of.
    pub(super) fn arm(&mut self, poller: &Poller, key: usize) -> std::io::Result<()> {
        let watched = core::mem::replace(&mut self.watched, true);
        poller.arm(self.peer(), Token::Ring(key), watched)?;
        if let Some(process) = self.peer().process() {
            poller.arm(process, Token::Peer(key), watched)?;
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
            Err(fault) => self.core.fault = Some(fault),
        }
        self.unpark();
    }

    /// The peer of this session is gone.
    pub(super) fn ended(&self) {
        self.peer().mark_gone();
        self.unpark();
    }

    /// Asks the system whether the peer is gone, and notes it.
    pub(super) fn check_life(&self) {
        self.peer().is_gone();
    }

    fn unpark(&self) {
        unpark(&self.core.rx, &self.core.tx);
    }

    /// Serves one request, if there is one, or parks the connection when it was idle for long enough.
    pub(super) fn turn(&mut self, service: &mut impl Service<Begun = B>) -> Turn {
        match self.core.turn(service) {
            Ok(Pass::Served) => {
                self.learn();
                if let Some(seat) = &self.seat {
                    seat.note_requests(&self.core.rx);
                }
                Turn::Served
            }
            Ok(Pass::Slow) => Turn::Slow,
            Ok(Pass::Idle) => {
                self.idle_looks = self.idle_looks.saturating_add(1);
                if self.core.tx.is_overfull() || self.has_waited_enough() { self.rest() } else { Turn::Idle }
            }
            Err(halt) => Turn::Ended(halt),
        }
    }

    /// Learns from the wait for a request that has come.
    fn learn(&mut self) {
        if self.idle_since == 0 {
            self.budget.note_first_round();
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
            return spin == Spin::Nanos(0) || (adaptive && self.core.rx.connection.shares_core());
        }
        matches!(spin, Spin::Nanos(nanos) if now - self.idle_since >= nanos)
    }

    /// Parks, unless what it waits for has come meanwhile.
    fn rest(&mut self) -> Turn {
        self.idle_looks = 0;
        let Some(second_look) = park(&self.core.rx, &mut self.core.tx) else { return Turn::Idle };
        self.second_look_at = second_look;
        Turn::Rest
    }

    /// When a parked session is due for its second look, on the monotonic clock.
    pub(super) fn second_look_at(&self) -> u64 {
        self.second_look_at
    }

    /// The second look at a parked session: true when it has to be polled again.
    pub(super) fn look_again(&mut self) -> bool {
        let Self { core, .. } = self;
        let due = is_due(&core.rx, &mut core.tx).is_some();
        if due {
            self.unpark();
        }
        due
    }
}

impl<B> fmt::Debug for Session<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("info", &self.core.info).field("hot", &self.hot).finish_non_exhaustive()
    }
}
