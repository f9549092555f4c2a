//! One thread of a server: looks at the callers that are busy, sleeps on those that are not.
//!
//! A busy caller is polled, which answers within a cache line's time; one that stays silent for its spinning budget is
//! left to epoll and costs nothing from then on. So a pass takes as long as there are busy callers, however many are
//! connected, and a worker without any sleeps.

use core::ops::{Deref, DerefMut};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use super::control::{Control, Inbox};
use super::door::Door;
use super::events::{Leaving, ServerEvent};
use super::lot::Lot;
use super::pace::Pace;
use super::poller::{BATCH, Poller, Token};
use super::seat::Seat;
use super::session::{Arrival, Session, Turn};
use crate::connection::Halt;
use crate::connection::Tx;
use crate::engine::Service;
use crate::foreign::{self, Panicked};
use crate::options::Options;
use crate::rpc::ServeError;
use crate::stats::Publication;
use crate::wait::{Deadline, Interrupt, monotonic_nanos};

/// Longest sleep between two questions to an interrupt hook.
const INTERRUPT_SLICE: Duration = Duration::from_millis(50);

/// Time between two looks at how full the rings of busy callers are.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// Time between two gifts of busy callers to workers that sleep: callers that pause for a moment are not passed to and
/// fro.
const SHARE_EVERY: Duration = Duration::from_millis(1);

/// Time between two questions whether busy callers are there, where no event tells of their end.
const CHECK_EVERY: Duration = Duration::from_millis(5);

/// How often a stopping worker tries again to send what has no room.
const STOP_RETRY: Duration = Duration::from_millis(1);

/// Time that a handler has to end in once it is told that the time of a stop is over.
const GRACE: Duration = Duration::from_millis(100);

/// What came of a pass.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tour {
    /// A request was served.
    pub(super) served: bool,
    /// A caller had no request but is still polled.
    pub(super) looking: bool,
}

/// The end of a serving thread by a panic.
#[cold]
pub(super) fn lost(panicked: &Panicked) -> ServeError {
    ServeError::WorkerLost(panicked.to_string())
}

/// One worker and the callers it has. `B` stands for a call that has begun.
#[derive(Debug)]
pub(super) struct Worker<C, E, B> {
    pub(super) poller: Arc<Poller>,
    /// Where sessions rest that any of several workers may take; otherwise they rest here.
    lot: Option<Arc<Lot<B>>>,
    sessions: Slab<Session<B>>,
    /// The places of the sessions, by their callers' numbers.
    keys: HashMap<u64, usize>,
    /// Keys of the sessions that are polled.
    hot: Vec<usize>,
    /// Whether a session was parked that has requests without a place.
    holding: bool,
    /// Handlers that went on after the time of a stop was over and they were told.
    pub(super) overran: usize,
    /// Sessions that were parked, the longest ago first: when each is due for its second look, its key and its caller.
    parked: VecDeque<(u64, usize, u64)>,
    inbox: Arc<Inbox>,
    pub(super) control: C,
    /// The first worker's.
    pub(super) door: Option<E>,
    options: Options,
    /// Where callers are counted, and when their rings were looked at last.
    publication: Option<Arc<Publication>>,
    sampled: Instant,
    /// When the system was asked last whether busy callers of a lot are there.
    checked: Instant,
    /// When busy callers were shared out last.
    shared_out: Instant,
    /// Whether the latest look found anything.
    heard: bool,
    /// Kept for its allocation.
    tokens: Vec<Token>,
}

impl<C: Deref<Target = Control>, E: DerefMut<Target = Door>, B> Worker<C, E, B> {
    pub(super) fn new(control: C, door: Option<E>, options: Options) -> std::io::Result<Self> {
        let poller = Poller::new()?;
        let inbox = control.enlist()?;
        poller.add(&*inbox, Token::Bell)?;
        Self::with(control, door, options, Arc::new(poller), inbox, None)
    }

    /// One of several workers that share their callers.
    pub(super) fn at(lot: &Arc<Lot<B>>, control: C, door: Option<E>, options: Options) -> std::io::Result<Self> {
        let (poller, inbox) = (Arc::clone(&lot.poller), Arc::clone(&lot.inbox));
        Self::with(control, door, options, poller, inbox, Some(Arc::clone(lot)))
    }

    fn with(
        control: C,
        door: Option<E>,
        options: Options,
        poller: Arc<Poller>,
        inbox: Arc<Inbox>,
        lot: Option<Arc<Lot<B>>>,
    ) -> std::io::Result<Self> {
        if let Some(door) = &door {
            door.watch(&poller)?;
        }
        let publication = control.publication();
        Ok(Self {
            poller,
            lot,
            sessions: Slab::new(),
            keys: HashMap::new(),
            hot: Vec::new(),
            holding: false,
            overran: 0,
            parked: VecDeque::new(),
            inbox,
            control,
            door,
            options,
            publication,
            sampled: Instant::now(),
            checked: Instant::now(),
            shared_out: Instant::now(),
            heard: false,
            tokens: Vec::new(),
        })
    }

    /// Lets clients in from now on.
    ///
    /// # Errors
    /// The acceptor's thread cannot be made.
    pub(super) fn open(&mut self, control: &Arc<Control>) -> std::io::Result<()> {
        self.door.as_mut().map_or(Ok(()), |door| door.open(control))
    }

    /// Serves until the server is stopped. However this thread's serving ends, callers are told.
    pub(super) fn run(mut self, service: &mut impl Service<Begun = B>) -> Result<(), ServeError> {
        let outcome = foreign::run(|| self.serve(service)).unwrap_or_else(|panicked| Err(lost(&panicked)));
        if matches!(outcome, Err(ServeError::Interrupted | ServeError::Forked)) {
            return outcome;
        }
        // The end of one worker is the end of the server: no worker takes over the callers of another.
        self.control.stop();
        outcome.and(foreign::run(|| self.finish(service)).unwrap_or_else(|panicked| Err(lost(&panicked))))
    }

    fn serve(&mut self, service: &mut impl Service<Begun = B>) -> Result<(), ServeError> {
        let mut pace = Pace::new();
        while !self.control.is_stopping() {
            let served = self.tour(service)?.served;
            if pace.passed(served) || self.hot.is_empty() {
                self.look(self.hot.is_empty())?;
                let now = pace.looked();
                self.sample(now);
                self.check_life(now);
            }
        }
        Ok(())
    }

    /// One turn for every caller that is polled.
    pub(super) fn tour(&mut self, service: &mut impl Service<Begun = B>) -> Result<Tour, ServeError> {
        let mut tour = Tour::default();
        let (mut at, mut after_served, mut held) = (0, 0, false);
        while let Some(&key) = self.hot.get(at) {
            // A stop begins nothing: asked before each caller, since a handler may have taken long.
            if self.control.is_stopping() {
                break;
            }
            let session = &mut self.sessions[key];
            match session.turn(service) {
                Turn::Served => {
                    tour.served = true;
                    after_served = at + 1;
                    let late = self.control.stop_time.later(GRACE);
                    self.overran += usize::from(late.is_some_and(Deadline::has_passed));
                }
                Turn::Idle => tour.looking = true,
                Turn::Slow => {
                    self.give_all_but(key);
                    at = 0;
                    continue;
                }
                Turn::Rest => {
                    session.sample();
                    session.hot = false;
                    if self.lot.is_some() {
                        self.hot.swap_remove(at);
                        self.rest(key);
                        continue;
                    }
                    self.holding |= session.core.is_holding();
                    self.parked.push_back((session.second_look_at(), key, session.id()));
                    self.hot.swap_remove(at);
                    continue;
                }
                Turn::Ended(Halt::Forked) => return Err(ServeError::Forked),
                Turn::Ended(halt) => {
                    session.core.cancel_all(service);
                    self.hot.swap_remove(at);
                    self.part(key, (&halt).into());
                    continue;
                }
            }
            held |= session.core.is_holding();
            at += 1;
        }
        if held {
            // The next place is for a caller behind the one that was served last.
            let turned = after_served.min(self.hot.len());
            self.hot.rotate_left(turned);
        }
        if !tour.served {
            core::hint::spin_loop();
        }
        Ok(tour)
    }

    /// There is a place for one more call: polls the callers that have requests without one.
    pub(super) fn poll_holding(&mut self) {
        if !core::mem::take(&mut self.holding) {
            return;
        }
        let (hot, sessions) = (&mut self.hot, &mut self.sessions);
        for (key, session) in sessions {
            if !session.hot && session.core.is_holding() {
                session.hot = true;
                hot.push(key);
            }
        }
    }

    /// Has a call that has begun, and is done, answered by `reply`, unless it was cancelled or its caller is gone.
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
        // A reply without room waits for some, and an end of the connection is for the next turn to find.
        if outcome.is_err() || core.tx.has_deferred() {
            self.poll(key);
        }
        outcome
    }

    /// Has the rings of busy callers looked at for those who watch, now and then; those at rest were when they went.
    pub(super) fn sample(&mut self, now: Instant) {
        if self.publication.is_some() && now.duration_since(self.sampled) >= SAMPLE_EVERY {
            self.sampled = now;
            for key in &self.hot {
                self.sessions[*key].sample();
            }
        }
    }

    fn part(&mut self, key: usize, how: Leaving) {
        let session = self.sessions.remove(key);
        session.unwatch(&self.poller);
        self.keys.remove(&session.id());
        self.inbox.left();
        self.control.tell(&ServerEvent::Left(&session.core.info, how));
    }

    /// Looks at what epoll has, sleeping if no caller is busy.
    pub(super) fn look(&mut self, sleep: bool) -> Result<(), ServeError> {
        let interrupt = self.options.interrupt_hook();
        if sleep || !self.leaves_to_others() {
            self.attend(if sleep { self.sleep_limit(interrupt) } else { Some(Duration::ZERO) })?;
        }
        match interrupt {
            Some(interrupt) if interrupt() => Err(ServeError::Interrupted),
            _ => Ok(()),
        }
    }

    /// Attends to rings, clients and arrivals, sleeping up to `timeout` for the first.
    fn attend(&mut self, timeout: Option<Duration>) -> Result<(), ServeError> {
        // Rings and clients that a forked child took would be missing in its parent.
        if self.poller.is_inherited() {
            return Err(ServeError::Forked);
        }
        let slept_at = (timeout != Some(Duration::ZERO)).then(monotonic_nanos);
        let mut tokens = core::mem::take(&mut self.tokens);
        let waited = match &self.lot {
            // One event, so that others that sleep take the next ones.
            Some(lot) if slept_at.is_some() => lot.sleeping(|| self.poller.wait(timeout, 1, &mut tokens)),
            _ => self.poller.wait(timeout, BATCH, &mut tokens),
        };
        waited.map_err(ServeError::Io)?;
        for token in &tokens {
            self.handle(*token, slept_at);
        }
        self.heard = !tokens.is_empty();
        self.tokens = tokens;
        self.heard |= self.look_again();
        self.leaves_to_others();
        match &mut self.door {
            Some(door) => door.step(&self.control).map_err(ServeError::Io),
            None => Ok(()),
        }
    }

    /// Takes the second look at sessions that are due for it. One that was polled again meanwhile has looked for itself.
    /// True when one of them has something to do.
    fn look_again(&mut self) -> bool {
        if self.parked.is_empty() {
            return false;
        }
        let (now, polled) = (monotonic_nanos(), self.hot.len());
        while let Some(&(due, key, id)) = self.parked.front()
            && due <= now
        {
            self.parked.pop_front();
            let Some(session) = self.sessions.get_mut(key) else { continue };
            let parked = !session.hot && session.id() == id && session.second_look_at() == due;
            if parked && session.look_again() {
                self.poll(key);
            }
        }
        self.hot.len() > polled
    }

    /// Polls a session from now on.
    fn poll(&mut self, key: usize) {
        let session = &mut self.sessions[key];
        if !session.hot {
            session.hot = true;
            self.hot.push(key);
        }
    }

    /// Whether the latest look found anything.
    #[cfg(feature = "tokio")]
    pub(super) fn heard(&self) -> bool {
        self.heard
    }

    pub(super) fn sleep_limit(&self, interrupt: Option<Interrupt>) -> Option<Duration> {
        let door = self.door.as_ref().and_then(|door| door.next_deadline());
        let second_look = self.parked.front().map(|(due, ..)| Deadline::at_nanos(*due).remaining().unwrap_or_default());
        door.into_iter().chain(second_look).chain(interrupt.map(|_| INTERRUPT_SLICE)).min()
    }

    fn handle(&mut self, token: Token, slept_at: Option<u64>) {
        match token {
            Token::Bell => {
                self.inbox.silence();
                // A stop is for all workers to hear. Asked after the silencing, which may have taken its ring.
                if self.control.is_stopping() {
                    self.inbox.ring();
                }
                self.take_letters();
                if let Some(lot) = &self.lot {
                    for session in lot.take_ready() {
                        self.adopt(session);
                    }
                }
            }
            Token::Timer => {
                let found = self.lot.as_ref().map(|lot| lot.look_again());
                for session in found.into_iter().flatten() {
                    self.adopt(session);
                }
            }
            Token::Ring(key) | Token::Peer(key) if self.lot.is_some() => {
                let Some(mut session) = self.lot.as_ref().and_then(|lot| lot.take(key)) else { return };
                session.rung(slept_at);
                // Asked, since the event may be of another session that had this key.
                if matches!(token, Token::Peer(_)) {
                    session.check_life();
                }
                self.adopt(session);
            }
            // The acceptor takes its step after each look.
            Token::Door | Token::Guest(_) => {}
            // An event of a session that another event of this batch ended, or of one that took over its key: to look once
            // too often does no harm.
            Token::Ring(key) => {
                let Some(session) = self.sessions.get_mut(key) else { return };
                session.rung(slept_at);
                self.poll(key);
            }
            Token::Peer(key) => {
                let Some(session) = self.sessions.get(key) else { return };
                session.ended();
                self.poll(key);
            }
        }
    }

    /// Sees to what the acceptor sent.
    fn take_letters(&mut self) {
        while let Some(letter) = self.inbox.take() {
            if let Some(arrival) = self.control.open(letter) {
                self.add(*arrival);
            }
        }
    }

    /// Takes in a caller that was handed over.
    pub(super) fn add(&mut self, arrival: Arrival) {
        let mut session = Session::new(arrival, &self.options);
        session.seat = self.publication.as_ref().and_then(|publication| Seat::take(publication, &session.core.info));
        session.sample();
        if self.lot.is_some() {
            // Its descriptors are watched when it rests.
            return self.adopt(session);
        }
        let id = session.id();
        let key = self.sessions.insert(session);
        self.keys.insert(id, key);
        match self.sessions[key].watch(&self.poller, key) {
            Ok(()) => self.hot.push(key),
            Err(error) => {
                self.control.tell(&ServerEvent::Trouble(&error));
                self.part(key, Leaving::Died);
            }
        }
    }

    /// Polls a session that was at rest, or another worker's.
    fn adopt(&mut self, mut session: Session<B>) {
        session.hot = true;
        let id = session.id();
        let key = self.sessions.insert(session);
        self.keys.insert(id, key);
        self.hot.push(key);
    }

    /// Takes out a session that is another's from now on.
    fn release(&mut self, key: usize) -> Session<B> {
        let session = self.sessions.remove(key);
        self.keys.remove(&session.id());
        session
    }

    /// Leaves a session that parked to whichever worker is idle when it wants something.
    fn rest(&mut self, key: usize) {
        let session = self.release(key);
        let Some(lot) = &self.lot else { return };
        if let Err(refused) = lot.rest(session) {
            let (session, error) = *refused;
            self.control.tell(&ServerEvent::Trouble(&error));
            self.adopt(session);
            if let Some(key) = self.hot.pop() {
                self.part(key, Leaving::Died);
            }
        }
    }

    /// While other workers sleep, what comes is theirs, and so is their share of the callers that are busy here.
    fn leaves_to_others(&mut self) -> bool {
        let Some(idle) = self.lot.as_ref().map(|lot| lot.idle()).filter(|idle| *idle > 0) else { return false };
        if self.hot.len() > 1 && self.shared_out.elapsed() >= SHARE_EVERY {
            self.shared_out = Instant::now();
            let keep = self.hot.len().div_ceil(idle + 1);
            self.give(keep);
        }
        true
    }

    /// Gives all busy callers away but one, whose next request takes long.
    fn give_all_but(&mut self, key: usize) {
        if let Some(at) = self.hot.iter().position(|hot| *hot == key) {
            self.hot.swap(0, at);
            self.give(1);
        }
    }

    /// Gives busy callers away but the first ones.
    fn give(&mut self, keep: usize) {
        let Some(lot) = self.lot.clone() else { return };
        let given = self.hot.split_off(keep.min(self.hot.len()));
        if !given.is_empty() {
            lot.give(given.into_iter().map(|key| self.release(key)));
        }
    }

    /// Asks the system now and then whether busy callers are there: their ends wake no worker until they rest.
    fn check_life(&mut self, now: Instant) {
        if self.lot.is_some() && now.duration_since(self.checked) >= CHECK_EVERY {
            self.checked = now;
            for key in &self.hot {
                self.sessions[*key].check_life();
            }
        }
    }

    /// Tells every caller that the server stops, and closes in good order.
    ///
    /// # Errors
    /// Handlers ran for longer than the time of the stop.
    fn finish(&mut self, service: &mut impl Service<Begun = B>) -> Result<(), ServeError> {
        let deadline = self.control.stop_deadline();
        while !self.refuse_all(service) && !deadline.has_passed() {
            std::thread::sleep(STOP_RETRY);
        }
        self.shut(service);
        self.left(0)
    }

    /// The outcome of a stop that left so many handlers besides those that overran.
    pub(super) fn left(&self, left: usize) -> Result<(), ServeError> {
        match left + self.overran {
            0 => Ok(()),
            count => Err(ServeError::HandlersLeft { count }),
        }
    }

    /// Answers requests that have not begun with `Stopping`; false when a caller takes no more replies for now, goes on
    /// sending, or has not quite connected.
    pub(super) fn refuse_all(&mut self, service: &mut impl Service<Begun = B>) -> bool {
        // The callers of a forked child are its parent's. Callers on their way to that would be watched twice.
        if self.poller.is_inherited() {
            return true;
        }
        // A serving that ends by an error, or is cancelled, stops the acceptor's thread by this too.
        if !self.control.is_stopping() {
            self.control.stop();
        }
        // Asked before the letters are taken, so that none of a door that is closed is left.
        let mut all = self.door.as_mut().is_none_or(|door| door.close(&self.control));
        self.take_letters();
        // Those at rest are the first worker's that has finished.
        let resting = self.lot.as_ref().map(|lot| lot.empty());
        for session in resting.into_iter().flatten() {
            self.adopt(session);
        }
        for (_, session) in &mut self.sessions {
            // A caller that is gone is not told.
            all &= !matches!(session.core.refuse_all(service), Ok(false));
        }
        all
    }

    /// Closes every connection in good order. Requests that their callers sent before they could see it are refused.
    pub(super) fn shut(&mut self, service: &mut impl Service<Begun = B>) {
        if !self.poller.is_inherited() {
            for (_, session) in &mut self.sessions {
                session.core.shut(service);
            }
        }
        self.part_all();
    }

    /// Ends all calls that have begun: the server stops, and their time is over.
    pub(super) fn abandon(&mut self, service: &mut impl Service<Begun = B>) {
        if self.poller.is_inherited() {
            return;
        }
        for (_, session) in &mut self.sessions {
            // A caller that is gone is not told.
            drop(session.core.abandon(service));
        }
    }

    /// Closes every connection in good order.
    pub(super) fn part_all(&mut self) {
        // The callers of a forked child are its parent's, and do not leave.
        if self.poller.is_inherited() {
            self.sessions.clear();
            self.keys.clear();
            self.hot.clear();
            return;
        }
        let all: Vec<usize> = self.sessions.iter().map(|(key, _)| key).collect();
        for key in all {
            self.part(key, Leaving::Closed);
        }
        self.hot.clear();
    }
}
