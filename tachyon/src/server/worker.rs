//! One thread of a server: polls the busy callers, and sleeps on the parked ones.
//!
//! Polling a busy caller answers within the time of a cache line transfer. A caller that stays idle for its polling
//! budget is parked: epoll watches it, and it costs nothing from then on. So the time of a pass depends on the busy
//! callers alone, and a worker without busy callers sleeps.

use core::ops::{Deref, DerefMut};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use super::acceptor_driver::AcceptorDriver;
use super::control::{Control, Inbox};
use super::events::{DisconnectReason, ServerEvent};
use super::parked::ParkedSessions;
use super::poll_schedule::{PassResult, PollSchedule};
use super::poller::{BATCH, Poller, Token};
use super::session::{Arrival, PollOutcome, Session};
use super::stats_row::StatsRow;
use crate::connection::{Halt, Tx};
use crate::engine::{Service, StreamBody};
use crate::foreign::{self, Panicked};
use crate::options::Options;
use crate::rpc::ServeError;
use crate::stats::Publication;
use crate::wait::{Deadline, INTERRUPT_SLICE, Interrupt, monotonic_nanos};

/// Interval between samples of how full the rings of busy callers are.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// Interval between hand-overs of busy callers to idle workers, so that callers do not go back and forth.
const SHARE_EVERY: Duration = Duration::from_millis(1);

/// Interval between checks that busy callers live, where no event reports their end.
const CHECK_EVERY: Duration = Duration::from_millis(5);

/// Interval of a stopping worker between attempts to send replies without room.
const STOP_RETRY: Duration = Duration::from_millis(1);

/// Time for a handler to return after it can see that the time of a stop is over.
pub(super) const GRACE: Duration = Duration::from_millis(100);

/// The error of a serving thread that panicked.
#[cold]
pub(super) fn worker_lost(panicked: &Panicked) -> ServeError {
    ServeError::WorkerLost(panicked.to_string())
}

/// The outcome of a stop with this many handlers left.
pub(super) fn handlers_left(count: usize) -> Result<(), ServeError> {
    if count == 0 { Ok(()) } else { Err(ServeError::HandlersLeft { count }) }
}

/// A worker and its callers. `B` stands for a running call.
#[derive(Debug)]
pub(crate) struct Worker<C, E, B> {
    pub(super) poller: Arc<Poller>,
    /// The parked sessions that several workers share; `None` for a single worker, which keeps its own.
    shared: Option<Arc<ParkedSessions<B>>>,
    sessions: Slab<Session<B>>,
    /// Keys of the sessions, by the numbers of their callers.
    keys: HashMap<u64, usize>,
    /// Keys of the polled sessions.
    polled: Vec<usize>,
    /// Whether a parked session holds requests that its service did not admit.
    holding: bool,
    /// Handlers that returned more than [`GRACE`] after the time of a stop.
    pub(super) overran: usize,
    /// Second looks of parked sessions in the order of their times: time in `CLOCK_MONOTONIC` nanoseconds, key, caller.
    second_looks: VecDeque<(u64, usize, u64)>,
    /// The earliest deadlines of the streams of parked sessions: time in `CLOCK_MONOTONIC` nanoseconds, key.
    deadlines: BTreeSet<(u64, usize)>,
    inbox: Arc<Inbox>,
    pub(crate) control: C,
    /// `None` for all workers but the first.
    pub(super) acceptor: Option<E>,
    options: Options,
    publication: Option<Arc<Publication>>,
    /// When the rings were sampled last.
    sampled_at: Instant,
    /// When the worker checked last that its busy callers live.
    checked_at: Instant,
    /// When busy callers were handed over last.
    handed_over_at: Instant,
    /// Whether the latest look found an event.
    had_events: bool,
    /// Kept for its allocation.
    tokens: Vec<Token>,
}

impl<C: Deref<Target = Control>, E: DerefMut<Target = AcceptorDriver>, B: StreamBody> Worker<C, E, B> {
    pub(crate) fn new(control: C, acceptor: Option<E>, options: Options) -> std::io::Result<Self> {
        let poller = Poller::new()?;
        let inbox = control.add_worker()?;
        poller.add(&*inbox, Token::Notified)?;
        Self::with_poller(control, acceptor, options, Arc::new(poller), inbox, None)
    }

    /// One of several workers that share their callers.
    pub(super) fn sharing(
        shared: &Arc<ParkedSessions<B>>,
        control: C,
        acceptor: Option<E>,
        options: Options,
    ) -> std::io::Result<Self> {
        let (poller, inbox) = (Arc::clone(&shared.poller), Arc::clone(&shared.inbox));
        Self::with_poller(control, acceptor, options, poller, inbox, Some(Arc::clone(shared)))
    }

    fn with_poller(
        control: C,
        acceptor: Option<E>,
        options: Options,
        poller: Arc<Poller>,
        inbox: Arc<Inbox>,
        shared: Option<Arc<ParkedSessions<B>>>,
    ) -> std::io::Result<Self> {
        if let Some(acceptor) = &acceptor {
            acceptor.watch(&poller)?;
        }
        let publication = control.publication();
        Ok(Self {
            poller,
            shared,
            sessions: Slab::new(),
            keys: HashMap::new(),
            polled: Vec::new(),
            holding: false,
            overran: 0,
            second_looks: VecDeque::new(),
            deadlines: BTreeSet::new(),
            inbox,
            control,
            acceptor,
            options,
            publication,
            sampled_at: Instant::now(),
            checked_at: Instant::now(),
            handed_over_at: Instant::now(),
            had_events: false,
            tokens: Vec::new(),
        })
    }

    /// Starts the acceptor.
    ///
    /// # Errors
    /// As [`AcceptorDriver::start`].
    pub(super) fn start_acceptor(&mut self, control: &Arc<Control>) -> std::io::Result<()> {
        self.acceptor.as_mut().map_or(Ok(()), |acceptor| acceptor.start(control))
    }

    /// Serves until the server is stopped. Callers get an answer also when serving ends with an error or a panic.
    pub(super) fn run(mut self, service: &mut impl Service<Begun = B>) -> Result<(), ServeError> {
        let outcome = foreign::run(|| self.serve(service)).unwrap_or_else(|panicked| Err(worker_lost(&panicked)));
        if matches!(outcome, Err(ServeError::Interrupted | ServeError::Forked)) {
            return outcome;
        }
        // The end of one worker stops the server: no other worker takes over its callers.
        self.control.stop();
        outcome.and(foreign::run(|| self.finish(service)).unwrap_or_else(|panicked| Err(worker_lost(&panicked))))
    }

    fn serve(&mut self, service: &mut impl Service<Begun = B>) -> Result<(), ServeError> {
        let mut schedule = PollSchedule::new();
        while !self.control.is_stopping() {
            let served = self.pass(service)?.served;
            if schedule.count_pass(served) || self.polled.is_empty() {
                self.look(self.polled.is_empty())?;
                let now = schedule.restart();
                self.sample(now);
                self.check_life(now);
            }
        }
        Ok(())
    }

    /// Polls every busy caller once.
    pub(crate) fn pass(&mut self, service: &mut impl Service<Begun = B>) -> Result<PassResult, ServeError> {
        let mut pass = PassResult::default();
        let (mut at, mut after_served, mut held) = (0, 0, false);
        while let Some(&key) = self.polled.get(at) {
            // Checked before each caller, since a handler may take long: after a stop no request begins.
            if self.control.is_stopping() {
                break;
            }
            let session = &mut self.sessions[key];
            match session.turn(service) {
                PollOutcome::Served => {
                    pass.served = true;
                    after_served = at + 1;
                    let latest = self.control.stop_time.later(GRACE);
                    self.overran += usize::from(latest.is_some_and(Deadline::has_passed));
                }
                PollOutcome::Idle => pass.polling = true,
                PollOutcome::Slow => {
                    self.hand_over_all_but(key);
                    at = 0;
                    continue;
                }
                PollOutcome::Parked => {
                    session.sample();
                    session.polled = false;
                    if self.shared.is_some() {
                        self.polled.swap_remove(at);
                        self.park_shared(key);
                        continue;
                    }
                    if let Err(error) = session.watch_wake(&self.poller, key) {
                        self.control.report(&ServerEvent::Error(&error));
                        session.core.cancel_all(service);
                        self.polled.swap_remove(at);
                        self.disconnect(key, DisconnectReason::Died);
                        continue;
                    }
                    self.holding |= session.core.is_holding();
                    self.deadlines.extend(session.deadline_at().map(|due| (due, key)));
                    self.second_looks.push_back((session.second_look_at(), key, session.id()));
                    self.polled.swap_remove(at);
                    continue;
                }
                PollOutcome::Ended(Halt::Forked) => return Err(ServeError::Forked),
                PollOutcome::Ended(halt) => {
                    session.core.cancel_all(service);
                    self.polled.swap_remove(at);
                    self.disconnect(key, (&halt).into());
                    continue;
                }
            }
            held |= session.core.is_holding();
            at += 1;
        }
        if held {
            // Fairness: the next pass begins behind the caller that was served last.
            let turned = after_served.min(self.polled.len());
            self.polled.rotate_left(turned);
        }
        if !pass.served {
            core::hint::spin_loop();
        }
        Ok(pass)
    }

    /// Polls parked callers with held requests, since the service admits one more.
    pub(crate) fn poll_holding(&mut self) {
        if !core::mem::take(&mut self.holding) {
            return;
        }
        let holds =
            |(key, session): (usize, &Session<B>)| (!session.polled && session.core.is_holding()).then_some(key);
        for key in self.sessions.iter().filter_map(holds).collect::<Vec<_>>() {
            self.poll(key);
        }
    }

    /// Answers a running call with `reply`. Does nothing if the call is cancelled, or its caller has gone.
    pub(super) fn finish_call<F>(
        &mut self,
        caller: u64,
        call: u64,
        reply: impl FnOnce(B, &mut Tx) -> Result<(), F>,
    ) -> Result<(), F> {
        let Some(&key) = self.keys.get(&caller) else { return Ok(()) };
        let core = &mut self.sessions[key].core;
        let Some(begun) = core.finish(call) else { return Ok(()) };
        let outcome = reply(begun, &mut core.tx);
        // The next pass sends a reply without room, and finds the end of the connection.
        if outcome.is_err() || core.tx.has_deferred() {
            self.poll(key);
        }
        outcome
    }

    /// Samples the rings of busy callers for observers, every [`SAMPLE_EVERY`]. Parked callers were sampled as they
    /// parked.
    pub(super) fn sample(&mut self, now: Instant) {
        if self.publication.is_some() && now.duration_since(self.sampled_at) >= SAMPLE_EVERY {
            self.sampled_at = now;
            for key in &self.polled {
                self.sessions[*key].sample();
            }
        }
    }

    fn disconnect(&mut self, key: usize, reason: DisconnectReason) {
        let session = self.sessions.remove(key);
        session.unwatch(&self.poller);
        self.forget_deadline(key, session.deadline_at());
        self.keys.remove(&session.id());
        self.inbox.remove_caller();
        self.control.report(&ServerEvent::Left(&session.core.info, reason));
    }

    /// Handles the events of epoll, and sleeps for the first one if `sleep` says so.
    pub(crate) fn look(&mut self, sleep: bool) -> Result<(), ServeError> {
        let interrupt = self.options.interrupt_hook();
        if sleep || !self.share_with_idle() {
            self.handle_events(if sleep { self.sleep_limit(interrupt) } else { Some(Duration::ZERO) })?;
        }
        match interrupt {
            Some(interrupt) if interrupt() => Err(ServeError::Interrupted),
            _ => Ok(()),
        }
    }

    /// Handles rings, ends, arrivals and the acceptor, waiting up to `timeout` for the first event.
    fn handle_events(&mut self, timeout: Option<Duration>) -> Result<(), ServeError> {
        // A forked child shares the descriptors: its parent would miss the events.
        if self.poller.is_inherited() {
            return Err(ServeError::Forked);
        }
        let slept_at = (timeout != Some(Duration::ZERO)).then(monotonic_nanos);
        let mut tokens = core::mem::take(&mut self.tokens);
        let waited = match &self.shared {
            // One event, so that other sleeping workers take the next ones.
            Some(shared) if slept_at.is_some() => shared.sleeping(|| self.poller.wait(timeout, 1, &mut tokens)),
            _ => self.poller.wait(timeout, BATCH, &mut tokens),
        };
        waited.map_err(ServeError::Io)?;
        for token in &tokens {
            self.handle_event(*token, slept_at);
        }
        self.had_events = !tokens.is_empty();
        self.tokens = tokens;
        self.had_events |= self.take_second_looks();
        self.had_events |= self.take_deadlines();
        self.share_with_idle();
        match &mut self.acceptor {
            Some(acceptor) => acceptor.step(&self.control).map_err(ServeError::Io),
            None => Ok(()),
        }
    }

    /// Takes the second looks that are due, except at sessions that are polled again. True when one found a request, or
    /// an end.
    fn take_second_looks(&mut self) -> bool {
        if self.second_looks.is_empty() {
            return false;
        }
        let (now, polled) = (monotonic_nanos(), self.polled.len());
        while let Some(&(due, key, id)) = self.second_looks.front()
            && due <= now
        {
            self.second_looks.pop_front();
            let Some(session) = self.sessions.get_mut(key) else { continue };
            let parked = !session.polled && session.id() == id && session.second_look_at() == due;
            if parked && session.look_again() {
                self.poll(key);
            }
        }
        self.polled.len() > polled
    }

    /// Looks at parked sessions with a stream whose deadline has passed. True when one is polled again.
    fn take_deadlines(&mut self) -> bool {
        if self.deadlines.is_empty() {
            return false;
        }
        let (now, polled) = (monotonic_nanos(), self.polled.len());
        while let Some(&(due, key)) = self.deadlines.first()
            && due <= now
        {
            self.deadlines.pop_first();
            if self.sessions.get_mut(key).is_some_and(|session| !session.polled && session.look_again()) {
                self.poll(key);
            }
        }
        self.polled.len() > polled
    }

    fn forget_deadline(&mut self, key: usize, due: Option<u64>) {
        if let Some(due) = due {
            self.deadlines.remove(&(due, key));
        }
    }

    /// Polls a session from now on.
    fn poll(&mut self, key: usize) {
        let session = &mut self.sessions[key];
        if !session.polled {
            session.polled = true;
            self.polled.push(key);
            let due = session.deadline_at();
            self.forget_deadline(key, due);
        }
    }

    /// Whether the latest look found an event.
    #[cfg(feature = "tokio")]
    pub(super) fn had_events(&self) -> bool {
        self.had_events
    }

    /// The longest sleep; `None` without a limit.
    pub(super) fn sleep_limit(&self, interrupt: Option<Interrupt>) -> Option<Duration> {
        let acceptor = self.acceptor.as_ref().and_then(|acceptor| acceptor.next_deadline());
        let second_look =
            self.second_looks.front().map(|(due, ..)| Deadline::at_nanos(*due).remaining().unwrap_or_default());
        let deadline = self.deadlines.first().map(|(due, _)| Deadline::at_nanos(*due).remaining().unwrap_or_default());
        acceptor.into_iter().chain(second_look).chain(deadline).chain(interrupt.map(|_| INTERRUPT_SLICE)).min()
    }

    fn handle_event(&mut self, token: Token, slept_at: Option<u64>) {
        match token {
            Token::Notified => {
                self.inbox.reset();
                // Checked after the reset, which may have taken the notification of the stop: all workers need it.
                if self.control.is_stopping() {
                    self.inbox.notify();
                }
                self.take_acceptor_events();
                if let Some(shared) = &self.shared {
                    for session in shared.take_ready() {
                        self.poll_session(session);
                    }
                }
            }
            Token::Timer => {
                let found = self.shared.as_ref().map(|shared| shared.take_second_looks());
                for session in found.into_iter().flatten() {
                    self.poll_session(session);
                }
            }
            Token::Ring(key) | Token::Peer(key) if self.shared.is_some() => {
                let Some(mut session) = self.shared.as_ref().and_then(|shared| shared.take(key)) else { return };
                session.on_ring(slept_at);
                // Checked, since the event may be of another session that had this key.
                if matches!(token, Token::Peer(_)) {
                    session.check_life();
                }
                self.poll_session(session);
            }
            // The acceptor runs its step after each look.
            Token::Incoming | Token::Client(_) => {}
            // An earlier event of this batch may have ended the session, and another session may have the key by now. A
            // look too many does no harm.
            Token::Ring(key) => {
                let Some(session) = self.sessions.get_mut(key) else { return };
                session.on_ring(slept_at);
                self.poll(key);
            }
            Token::Peer(key) => {
                let Some(session) = self.sessions.get(key) else { return };
                session.on_peer_gone();
                self.poll(key);
            }
        }
    }

    /// Applies the events of the acceptor.
    fn take_acceptor_events(&mut self) {
        while let Some(event) = self.inbox.take() {
            if let Some(arrival) = self.control.apply(event) {
                self.add(*arrival);
            }
        }
    }

    /// Adds a caller.
    pub(crate) fn add(&mut self, arrival: Arrival) {
        let mut session = Session::new(arrival, &self.options);
        session.stats_row =
            self.publication.as_ref().and_then(|publication| StatsRow::take(publication, &session.core));
        session.sample();
        if self.shared.is_some() {
            // `ParkedSessions` watches the descriptors once the session parks.
            return self.poll_session(session);
        }
        let id = session.id();
        let key = self.sessions.insert(session);
        self.keys.insert(id, key);
        match self.sessions[key].watch(&self.poller, key) {
            Ok(()) => self.polled.push(key),
            Err(error) => {
                self.control.report(&ServerEvent::Error(&error));
                self.disconnect(key, DisconnectReason::Died);
            }
        }
    }

    /// Polls a session that was parked, or that another worker handed over.
    fn poll_session(&mut self, mut session: Session<B>) {
        session.polled = true;
        let id = session.id();
        let key = self.sessions.insert(session);
        self.keys.insert(id, key);
        self.polled.push(key);
    }

    /// Removes a session, for another worker.
    fn release(&mut self, key: usize) -> Session<B> {
        let session = self.sessions.remove(key);
        self.keys.remove(&session.id());
        session
    }

    /// Parks a session among those that the workers share.
    fn park_shared(&mut self, key: usize) {
        let session = self.release(key);
        let Some(shared) = &self.shared else { return };
        if let Err(failed) = shared.park(session) {
            let (session, error) = *failed;
            self.control.report(&ServerEvent::Error(&error));
            self.poll_session(session);
            if let Some(key) = self.polled.pop() {
                self.disconnect(key, DisconnectReason::Died);
            }
        }
    }

    /// Hands idle workers their share of the busy callers. True while a worker is idle: idle workers handle the events.
    fn share_with_idle(&mut self) -> bool {
        let Some(idle) = self.shared.as_ref().map(|shared| shared.idle()).filter(|idle| *idle > 0) else {
            return false;
        };
        if self.polled.len() > 1 && self.handed_over_at.elapsed() >= SHARE_EVERY {
            self.handed_over_at = Instant::now();
            let keep = self.polled.len().div_ceil(idle + 1);
            self.hand_over(keep);
        }
        true
    }

    /// Hands over all busy callers but one, whose next request is slow.
    fn hand_over_all_but(&mut self, key: usize) {
        if let Some(at) = self.polled.iter().position(|polled| *polled == key) {
            self.polled.swap(0, at);
            self.hand_over(1);
        }
    }

    /// Hands over all busy callers but the first `keep`.
    fn hand_over(&mut self, keep: usize) {
        let Some(shared) = self.shared.clone() else { return };
        let handed_over = self.polled.split_off(keep.min(self.polled.len()));
        if !handed_over.is_empty() {
            shared.hand_over(handed_over.into_iter().map(|key| self.release(key)));
        }
    }

    /// Checks every [`CHECK_EVERY`] that busy callers live: their end wakes no worker until they park.
    fn check_life(&mut self, now: Instant) {
        if self.shared.is_some() && now.duration_since(self.checked_at) >= CHECK_EVERY {
            self.checked_at = now;
            for key in &self.polled {
                self.sessions[*key].check_life();
            }
        }
    }

    /// Refuses the requests of every caller, since the server stops, and closes in good order.
    ///
    /// # Errors
    /// Handlers ran for longer than the time of the stop.
    fn finish(&mut self, service: &mut impl Service<Begun = B>) -> Result<(), ServeError> {
        let deadline = self.control.stop_deadline();
        while !self.refuse_all(service) && !deadline.has_passed() {
            std::thread::sleep(STOP_RETRY);
        }
        self.abandon(service);
        self.shut(service);
        self.stop_outcome(0)
    }

    /// The outcome of a stop with this many handlers left, besides those that overran.
    pub(super) fn stop_outcome(&self, left: usize) -> Result<(), ServeError> {
        handlers_left(left + self.overran)
    }

    /// Answers requests that have not begun with `Stopping`, and works off open streams. False when a caller has no
    /// room for replies, goes on sending, has an open stream, or is still in its handshake.
    pub(super) fn refuse_all(&mut self, service: &mut impl Service<Begun = B>) -> bool {
        // The callers belong to the parent of a forked child. Adding those of the inbox would watch them twice.
        if self.poller.is_inherited() {
            return true;
        }
        // Serving that ends with an error, or is cancelled, stops the acceptor's thread here.
        if !self.control.is_stopping() {
            self.control.stop();
        }
        // Closed before the events are taken, so that no event of a closed acceptor is left.
        let mut all = self.acceptor.as_mut().is_none_or(|acceptor| acceptor.close(&self.control));
        self.take_acceptor_events();
        // The first worker that stops takes the parked sessions.
        let parked = self.shared.as_ref().map(|shared| shared.drain());
        for session in parked.into_iter().flatten() {
            self.poll_session(session);
        }
        for (_, session) in &mut self.sessions {
            // Fails for a caller that has gone.
            all &= !matches!(session.core.refuse_all(service), Ok(false));
            all &= !matches!(session.core.step_streams(service), Ok(false));
        }
        all
    }

    /// Closes every connection in good order. Refuses requests that callers sent before they saw the close.
    pub(super) fn shut(&mut self, service: &mut impl Service<Begun = B>) {
        if !self.poller.is_inherited() {
            for (_, session) in &mut self.sessions {
                session.core.shut(service);
            }
        }
        self.disconnect_all();
    }

    /// Ends all running calls, after the time of a stop.
    pub(super) fn abandon(&mut self, service: &mut impl Service<Begun = B>) {
        if self.poller.is_inherited() {
            return;
        }
        for (_, session) in &mut self.sessions {
            // Fails for a caller that has gone.
            drop(session.core.abandon(service));
        }
    }

    /// Closes every connection in good order.
    pub(crate) fn disconnect_all(&mut self) {
        // The callers belong to the parent of a forked child, and stay connected.
        if self.poller.is_inherited() {
            self.sessions.clear();
            self.keys.clear();
            self.polled.clear();
            return;
        }
        let all: Vec<usize> = self.sessions.iter().map(|(key, _)| key).collect();
        for key in all {
            self.disconnect(key, DisconnectReason::Closed);
        }
        self.polled.clear();
    }
}
