//! One thread of a server: looks at the callers that are busy, sleeps on those that are not.
//!
//! A busy caller is polled, which answers within a cache line's time; one that stays silent for its spinning budget is
//! left to epoll and costs nothing from then on. So a pass takes as long as there are busy callers, however many are
//! connected, and a worker without any sleeps.

use core::ops::{Deref, DerefMut};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use super::control::{Control, Inbox};
use super::entrance::Entrance;
use super::events::{Leaving, ServerEvent};
use super::pace::Pace;
use super::poller::{Poller, Token};
use super::seat::Seat;
use super::session::{Session, Turn};
use crate::bus::{Incoming, Outgoing};
use crate::dispatch::{Answered, CallerInfo};
use crate::error::{Halt, ServeError};
use crate::foreign::{self, Panicked};
use crate::options::Options;
use crate::rpc::OpenRequest;
use crate::stats::Publication;
use crate::wait::{Deadline, Interrupt, monotonic_nanos};

/// Longest sleep between two questions to an interrupt hook.
const INTERRUPT_SLICE: Duration = Duration::from_millis(50);

/// Time between two looks at how full the rings of busy callers are.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// How often a stopping worker tries again to send what has no room.
const STOP_RETRY: Duration = Duration::from_millis(1);

/// What came of a pass.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tour {
    /// A request was served.
    pub(super) served: bool,
    /// Somebody had no request, and is looked at again.
    pub(super) looking: bool,
}

/// The end of a serving thread by a panic.
#[cold]
pub(super) fn lost(panicked: &Panicked) -> ServeError {
    ServeError::WorkerLost(panicked.to_string())
}

/// One worker and the callers it has.
#[derive(Debug)]
pub(super) struct Worker<C, E> {
    pub(super) poller: Poller,
    pub(super) sessions: Slab<Session>,
    /// Keys of the sessions that are looked at.
    pub(super) hot: Vec<usize>,
    /// Sessions that were parked, the longest ago first: when each is due for its second look, its key and its caller.
    parked: VecDeque<(u64, usize, u64)>,
    inbox: Arc<Inbox>,
    pub(super) control: C,
    /// The first worker's; the others get their callers from it.
    entrance: Option<E>,
    next_id: u64,
    /// Callers that have left so far.
    pub(super) departures: u64,
    options: Options,
    /// Where callers are counted, and when their rings were looked at last.
    publication: Option<Arc<Publication>>,
    sampled: Instant,
    /// Whether the latest look found anything.
    heard: bool,
    /// Kept for its allocation.
    tokens: Vec<Token>,
}

impl<C: Deref<Target = Control>, E: DerefMut<Target = Entrance>> Worker<C, E> {
    pub(super) fn new(control: C, entrance: Option<E>, options: Options) -> std::io::Result<Self> {
        let poller = Poller::new()?;
        let inbox = control.enlist()?;
        poller.add(&*inbox, Token::Bell)?;
        if let Some(entrance) = &entrance {
            entrance.watch(&poller)?;
        }
        let publication = control.publication();
        Ok(Self {
            poller,
            sessions: Slab::new(),
            hot: Vec::new(),
            parked: VecDeque::new(),
            inbox,
            control,
            entrance,
            next_id: 1,
            departures: 0,
            options,
            publication,
            sampled: Instant::now(),
            heard: false,
            tokens: Vec::new(),
        })
    }

    /// Serves until the server is stopped. However this thread's serving ends, callers are told.
    pub(super) fn run(
        mut self,
        answer: &mut impl FnMut(&CallerInfo, &Incoming, &mut Outgoing, &OpenRequest) -> Answered,
        tell: &impl Fn(&ServeError),
    ) -> Result<(), ServeError> {
        let outcome = foreign::run(|| self.serve(answer, tell)).unwrap_or_else(|panicked| Err(lost(&panicked)));
        if matches!(outcome, Err(ServeError::Interrupted | ServeError::Forked)) {
            return outcome;
        }
        // The end of one worker is the end of the server: no worker takes over the callers of another.
        self.control.stop();
        outcome.and(foreign::run(|| self.finish()).map_err(|panicked| lost(&panicked)))
    }

    fn serve(
        &mut self,
        answer: &mut impl FnMut(&CallerInfo, &Incoming, &mut Outgoing, &OpenRequest) -> Answered,
        tell: &impl Fn(&ServeError),
    ) -> Result<(), ServeError> {
        let mut pace = Pace::new();
        while !self.control.is_stopping() {
            let served = self.pass(answer, tell)?;
            if pace.passed(served) || self.hot.is_empty() {
                self.look(self.hot.is_empty())?;
                self.sample(pace.looked());
            }
        }
        Ok(())
    }

    /// One turn for every busy caller; true when a request was served.
    pub(super) fn pass(
        &mut self,
        answer: &mut impl FnMut(&CallerInfo, &Incoming, &mut Outgoing, &OpenRequest) -> Answered,
        tell: &impl Fn(&ServeError),
    ) -> Result<bool, ServeError> {
        self.tour(&|_, _| true, answer, tell).map(|tour| tour.served)
    }

    /// As [`pass`](Self::pass), leaving requests that `admit` refuses where they are.
    pub(super) fn tour(
        &mut self,
        admit: &impl Fn(&CallerInfo, &OpenRequest) -> bool,
        answer: &mut impl FnMut(&CallerInfo, &Incoming, &mut Outgoing, &OpenRequest) -> Answered,
        tell: &impl Fn(&ServeError),
    ) -> Result<Tour, ServeError> {
        let mut tour = Tour::default();
        let (mut at, mut after_served, mut held) = (0, 0, false);
        while let Some(&key) = self.hot.get(at) {
            let session = &mut self.sessions[key];
            match session.turn(admit, answer, tell) {
                Turn::Served => {
                    tour.served = true;
                    after_served = at + 1;
                }
                Turn::Idle => tour.looking = true,
                Turn::Held => held = true,
                Turn::Rest => {
                    session.sample();
                    session.hot = false;
                    self.parked.push_back((session.second_look_at(), key, session.info.id));
                    self.hot.swap_remove(at);
                    continue;
                }
                Turn::Ended(Halt::Forked) => return Err(ServeError::Forked),
                Turn::Ended(halt) => {
                    self.hot.swap_remove(at);
                    self.part(key, (&halt).into());
                    continue;
                }
            }
            at += 1;
        }
        if held {
            // Whoever came last begins after those who were served: the next place is somebody else's.
            let turned = after_served.min(self.hot.len());
            self.hot.rotate_left(turned);
        }
        if !tour.served {
            core::hint::spin_loop();
        }
        Ok(tour)
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
        self.departures += 1;
        self.inbox.left();
        self.control.tell(&ServerEvent::Left(&session.info, how));
    }

    /// Looks at what epoll has, sleeping if nobody is busy.
    pub(super) fn look(&mut self, sleep: bool) -> Result<(), ServeError> {
        // Rings and clients that a forked child took would be missing in its parent.
        if self.poller.is_inherited() {
            return Err(ServeError::Forked);
        }
        let interrupt = self.options.interrupt_hook();
        let timeout = if sleep { self.sleep_limit(interrupt) } else { Some(Duration::ZERO) };
        let slept_at = sleep.then(monotonic_nanos);
        let mut tokens = core::mem::take(&mut self.tokens);
        self.poller.wait(timeout, &mut tokens).map_err(ServeError::Io)?;
        for token in &tokens {
            self.handle(*token, slept_at);
        }
        self.heard = !tokens.is_empty();
        self.tokens = tokens;
        self.heard |= self.look_again();
        if let Some(entrance) = &mut self.entrance {
            entrance.expire(&self.poller, &self.control);
        }
        match interrupt {
            Some(interrupt) if interrupt() => Err(ServeError::Interrupted),
            _ => Ok(()),
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
            let parked = !session.hot && session.info.id == id && session.second_look_at() == due;
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
        let door = self.entrance.as_ref().and_then(|entrance| entrance.next_deadline());
        let second_look = self.parked.front().map(|(due, ..)| Deadline::at_nanos(*due).remaining().unwrap_or_default());
        door.into_iter().chain(second_look).chain(interrupt.map(|_| INTERRUPT_SLICE)).min()
    }

    fn handle(&mut self, token: Token, slept_at: Option<u64>) {
        match token {
            Token::Door => {
                if let Some(entrance) = &mut self.entrance {
                    entrance.accept(&self.poller, &self.control);
                }
            }
            Token::Bell => {
                self.inbox.silence();
                while let Some(session) = self.inbox.take() {
                    self.settle(session);
                }
            }
            Token::Guest(key) => {
                let Some(entrance) = &mut self.entrance else { return };
                if let Some(link) = entrance.attend(key, &self.poller, &self.control) {
                    let session = Session::new(self.next_id, *link, &self.options);
                    self.next_id += 1;
                    self.control.tell(&ServerEvent::Joined(&session.info));
                    self.control.hand_over(session);
                }
            }
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

    /// Takes in a session that was handed over.
    pub(super) fn settle(&mut self, mut session: Session) {
        session.seat = self.publication.as_ref().and_then(|publication| Seat::take(publication, &session.info));
        session.sample();
        let key = self.sessions.insert(session);
        match self.sessions[key].watch(&self.poller, key) {
            Ok(()) => self.hot.push(key),
            Err(error) => {
                self.control.tell(&ServerEvent::Trouble(&error));
                self.part(key, Leaving::Died);
            }
        }
    }

    /// Tells every caller that the server stops, and closes in good order.
    fn finish(&mut self) {
        let deadline = Deadline::after(self.stop_timeout());
        while !self.turn_away() && !deadline.has_passed() {
            std::thread::sleep(STOP_RETRY);
        }
        self.part_all();
    }

    /// How long callers that do not take their last replies are waited for.
    pub(super) fn stop_timeout(&self) -> Duration {
        self.entrance.as_ref().map_or(Duration::from_secs(1), |entrance| entrance.options().stop_timeout)
    }

    /// Tells callers with requests that the server stops; false when one of them takes no more replies for now, or goes on
    /// sending.
    pub(super) fn turn_away(&mut self) -> bool {
        // A forked child has nobody to tell. Callers on their way to its parent would be watched twice if it took them.
        if self.poller.is_inherited() {
            return true;
        }
        while let Some(session) = self.inbox.take() {
            self.settle(session);
        }
        let mut all = true;
        for (_, session) in &mut self.sessions {
            // Whoever is gone need not be told.
            all &= !matches!(session.turn_away(), Ok(false));
        }
        all
    }

    /// Closes every connection in good order.
    pub(super) fn part_all(&mut self) {
        // From a forked child nobody leaves: they are its parent's.
        if self.poller.is_inherited() {
            self.sessions.clear();
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
