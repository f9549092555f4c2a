//! One caller of a server: its connection, and whether it is polled or parked.

use core::fmt;

use super::poller::{Poller, Token};
use super::quota::QuotaGrant;
use super::stats_row::StatsRow;
use crate::connection::{Established, Halt, Rx, Tx};
use crate::engine::{CalleeCore, CallerInfo, Service, StreamBody, TurnResult};
use crate::options::Options;
use crate::wait::{Budget, Peer, PollingMode, Spin, monotonic_nanos};

/// A connected caller on its way to a worker.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(super) info: CallerInfo,
    rx: Rx,
    tx: Tx,
    grant: Option<QuotaGrant>,
}

impl Arrival {
    /// The caller number `id`. A caller of a server has a grant of its quota.
    pub(crate) fn new(id: u64, established: &Established, grant: Option<QuotaGrant>) -> Self {
        let info = CallerInfo::new(id, &established.connection.peer);
        Self { info, rx: established.rx(0), tx: established.tx(1), grant }
    }

    pub(super) fn into_core<B: StreamBody>(self) -> CalleeCore<B> {
        CalleeCore::new(self.info, self.rx, self.tx)
    }
}

/// A connected caller at its worker. `B` stands for a running call.
pub(super) struct Session<B> {
    pub(super) core: CalleeCore<B>,
    budget: Budget,
    /// Looks without a request since the last request, or since the last park.
    idle_looks: u32,
    /// When the wait for the next request was first timed, and when the ring that ended the wait was sent, in
    /// `CLOCK_MONOTONIC` nanoseconds; 0 before.
    idle_since: u64,
    rung_at: u64,
    /// When the second look of a parked session is due, in `CLOCK_MONOTONIC` nanoseconds.
    second_look_at: u64,
    /// Whether the descriptors are in an epoll that arms them for one event at a time.
    watched: bool,
    /// Whether the wake of the streams' handlers is in an epoll.
    wake_watched: bool,
    /// The earliest deadline of the streams when the session parked, in `CLOCK_MONOTONIC` nanoseconds; 0 for none.
    deadline_at: u64,
    /// Whether the worker polls the session. Otherwise the session is parked.
    pub(super) polled: bool,
    /// Held for its drop.
    _grant: Option<QuotaGrant>,
    pub(super) stats_row: Option<StatsRow>,
}

/// The outcome of polling a session.
#[derive(Debug)]
pub(super) enum PollOutcome {
    /// A request was served.
    Served,
    /// No request so far.
    Idle,
    /// The next request is for a slow endpoint. The next poll serves it.
    Slow,
    /// No request for longer: the session is parked, and its socket wakes the worker.
    Parked,
    /// The connection has ended.
    Ended(Halt),
}

impl<B: StreamBody> Session<B> {
    pub(super) fn new(mut arrival: Arrival, options: &Options) -> Self {
        Self {
            _grant: arrival.grant.take(),
            core: arrival.into_core(),
            budget: Budget::new(options.polling_mode(), 1),
            idle_looks: 0,
            idle_since: 0,
            rung_at: 0,
            second_look_at: 0,
            watched: false,
            wake_watched: false,
            deadline_at: 0,
            polled: true,
            stats_row: None,
        }
    }

    /// The caller's number.
    pub(super) fn id(&self) -> u64 {
        self.core.info.id
    }

    /// Records how full the rings are, for observers.
    pub(super) fn sample(&self) {
        if let Some(stats_row) = &self.stats_row {
            stats_row.set_requests(&self.core.rx);
            stats_row.set_fill(&self.core.rx, &self.core.tx);
        }
    }

    fn peer(&self) -> &Peer {
        &self.core.rx.connection.peer
    }

    /// Watches the socket and the peer's process.
    pub(super) fn watch(&self, poller: &Poller, key: usize) -> std::io::Result<()> {
        poller.add_socket(self.peer(), key)?;
        if let Some(process) = self.peer().process() {
            poller.add(process, Token::Peer(key))?;
        }
        Ok(())
    }

    /// Arms the socket and the peer's process for one event.
    pub(super) fn arm(&mut self, poller: &Poller, key: usize) -> std::io::Result<()> {
        let watched = core::mem::replace(&mut self.watched, true);
        poller.arm(self.peer(), Token::Ring(key), watched)?;
        if let Some(process) = self.peer().process() {
            poller.arm(process, Token::Peer(key), watched)?;
        }
        if let Some(wake) = self.core.rx.connection.peer.wake() {
            let watched = core::mem::replace(&mut self.wake_watched, true);
            poller.arm(&**wake, Token::Ring(key), watched)?;
        }
        Ok(())
    }

    /// Watches the wake of the streams' handlers, once there is one.
    pub(super) fn watch_wake(&mut self, poller: &Poller, key: usize) -> std::io::Result<()> {
        if let Some(wake) = self.core.rx.connection.peer.wake()
            && !self.wake_watched
        {
            poller.add(&**wake, Token::Ring(key))?;
            self.wake_watched = true;
        }
        Ok(())
    }

    pub(super) fn unwatch(&self, poller: &Poller) {
        poller.remove(self.peer());
        if let Some(process) = self.peer().process() {
            poller.remove(process);
        }
        if let Some(wake) = self.peer().wake().filter(|_| self.wake_watched) {
            poller.remove(&**wake);
        }
    }

    /// Reads the socket after a ring, and unparks. `slept_at` is when the worker fell asleep, if it slept.
    pub(super) fn on_ring(&mut self, slept_at: Option<u64>) {
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

    /// Marks the peer as gone, and unparks.
    pub(super) fn on_peer_gone(&self) {
        self.peer().mark_gone();
        self.unpark();
    }

    /// Asks the system whether the peer has gone, and marks it.
    pub(super) fn check_life(&self) {
        self.peer().is_gone();
    }

    fn unpark(&self) {
        self.core.unpark();
    }

    /// Serves one request, if there is one, or parks the session after its polling budget.
    pub(super) fn turn(&mut self, service: &mut impl Service<Begun = B>) -> PollOutcome {
        match self.core.turn(service) {
            Ok(TurnResult::Served) => {
                self.learn();
                if let Some(stats_row) = &self.stats_row {
                    stats_row.set_requests(&self.core.rx);
                }
                PollOutcome::Served
            }
            Ok(TurnResult::Slow) => PollOutcome::Slow,
            Ok(TurnResult::Idle) => {
                self.idle_looks = self.idle_looks.saturating_add(1);
                if self.core.tx.is_overfull() || self.has_waited_enough() { self.park() } else { PollOutcome::Idle }
            }
            Err(halt) => PollOutcome::Ended(halt),
        }
    }

    /// Adapts the polling budget to the wait for a request that has come.
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

    /// Whether the polling budget is used up. Reads the clock about once in a microsecond.
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

    /// Parks, unless a request has come meanwhile.
    fn park(&mut self) -> PollOutcome {
        self.idle_looks = 0;
        let Some(second_look) = self.core.park() else { return PollOutcome::Idle };
        self.second_look_at = second_look;
        self.deadline_at = self.core.stream_deadline().nanos().unwrap_or(0);
        PollOutcome::Parked
    }

    /// The earliest deadline of the streams when the session parked, in `CLOCK_MONOTONIC` nanoseconds.
    pub(super) fn deadline_at(&self) -> Option<u64> {
        (self.deadline_at != 0).then_some(self.deadline_at)
    }

    /// When the second look is due, in `CLOCK_MONOTONIC` nanoseconds.
    pub(super) fn second_look_at(&self) -> u64 {
        self.second_look_at
    }

    /// Takes the second look at a parked session, or the look at a deadline: true if it has to be polled again.
    pub(super) fn look_again(&mut self) -> bool {
        let due = self.core.is_due();
        if due {
            self.unpark();
        }
        due
    }
}

impl<B> fmt::Debug for Session<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("info", &self.core.info).field("polled", &self.polled).finish_non_exhaustive()
    }
}
