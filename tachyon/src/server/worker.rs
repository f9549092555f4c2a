//! One thread of a server: looks at the callers that are busy, sleeps on those that are not.
//!
//! A busy caller is polled, which answers within a cache line's time; one that stays silent for its spinning budget is
//! left to epoll and costs nothing from then on. So a pass takes as long as there are busy callers, however many are
//! connected, and a worker without any sleeps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use super::control::{Control, Inbox};
use super::entrance::Entrance;
use super::events::{Leaving, ServerEvent};
use super::poller::{Poller, Token};
use super::seat::Seat;
use super::session::{Session, Turn};
use crate::bus::{Incoming, Outgoing};
use crate::dispatch::CallerInfo;
use crate::error::{Halt, ServeError};
use crate::options::Options;
use crate::rpc::OpenRequest;
use crate::stats::Publication;
use crate::wait::{Deadline, Interrupt};

/// Passes without a request, and time with requests, between two looks at epoll while callers are busy: how long one who
/// was silent may wait for its turn behind those who are not.
const PASSES_PER_LOOK: u32 = 64;
const WORK_PER_LOOK: Duration = Duration::from_micros(50);

/// Longest sleep between two questions to an interrupt hook.
const INTERRUPT_SLICE: Duration = Duration::from_millis(50);

/// Time between two looks at how full the rings of busy callers are.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// How often a stopping worker tries again to send what has no room.
const STOP_RETRY: Duration = Duration::from_millis(1);

/// One worker and the callers it has.
#[derive(Debug)]
pub(super) struct Worker<'a> {
    poller: Poller,
    sessions: Slab<Session>,
    /// Keys of the sessions that are looked at.
    hot: Vec<usize>,
    inbox: Arc<Inbox>,
    control: &'a Control,
    /// The first worker's; the others get their callers from it.
    entrance: Option<&'a mut Entrance>,
    next_id: u64,
    options: Options,
    /// Where callers are counted, and when their rings were looked at last.
    publication: Option<Arc<Publication>>,
    sampled: Instant,
    /// Kept for its allocation.
    tokens: Vec<Token>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        control: &'a Control,
        entrance: Option<&'a mut Entrance>,
        options: Options,
    ) -> std::io::Result<Self> {
        let poller = Poller::new()?;
        let inbox = control.enlist()?;
        poller.add(&inbox.bell, Token::Bell)?;
        if let Some(entrance) = &entrance {
            entrance.watch(&poller)?;
        }
        Ok(Self {
            poller,
            sessions: Slab::new(),
            hot: Vec::new(),
            inbox,
            control,
            entrance,
            next_id: 1,
            options,
            publication: control.publication(),
            sampled: Instant::now(),
            tokens: Vec::new(),
        })
    }

    /// Serves until the server is stopped.
    pub(super) fn run(
        mut self,
        answer: &mut impl FnMut(&CallerInfo, &Incoming, &mut Outgoing, &OpenRequest) -> Result<(), ServeError>,
        tell: &impl Fn(&ServeError),
    ) -> Result<(), ServeError> {
        let mut passes = 0;
        let mut looked = Instant::now();
        while !self.control.is_stopping() {
            let served = self.pass(answer, tell)?;
            passes += 1;
            let late = if served { looked.elapsed() >= WORK_PER_LOOK } else { passes >= PASSES_PER_LOOK };
            if late || self.hot.is_empty() {
                self.look(self.hot.is_empty())?;
                passes = 0;
                looked = Instant::now();
                self.sample(looked);
            }
        }
        self.finish();
        Ok(())
    }

    /// One turn for every busy caller; true when a request was served.
    fn pass(
        &mut self,
        answer: &mut impl FnMut(&CallerInfo, &Incoming, &mut Outgoing, &OpenRequest) -> Result<(), ServeError>,
        tell: &impl Fn(&ServeError),
    ) -> Result<bool, ServeError> {
        let mut served = false;
        let mut at = 0;
        while let Some(&key) = self.hot.get(at) {
            let session = &mut self.sessions[key];
            match session.turn(answer, tell) {
                Turn::Served => served = true,
                Turn::Idle => {}
                Turn::Rest => {
                    session.sample();
                    session.hot = false;
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
        if !served {
            core::hint::spin_loop();
        }
        Ok(served)
    }

    /// Has the rings of busy callers looked at for those who watch, now and then; those at rest were when they went.
    fn sample(&mut self, now: Instant) {
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
        self.inbox.left();
        self.control.tell(&ServerEvent::Left(&session.info, how));
    }

    /// Looks at what epoll has, sleeping if nobody is busy.
    fn look(&mut self, sleep: bool) -> Result<(), ServeError> {
        let interrupt = self.options.interrupt_hook();
        let timeout = if sleep { self.sleep_limit(interrupt) } else { Some(Duration::ZERO) };
        let mut tokens = core::mem::take(&mut self.tokens);
        self.poller.wait(timeout, &mut tokens).map_err(ServeError::Io)?;
        for token in &tokens {
            self.handle(*token);
        }
        self.tokens = tokens;
        if let Some(entrance) = &mut self.entrance {
            entrance.expire(&self.poller, self.control);
        }
        match interrupt {
            Some(interrupt) if interrupt() => Err(ServeError::Interrupted),
            _ => Ok(()),
        }
    }

    fn sleep_limit(&self, interrupt: Option<Interrupt>) -> Option<Duration> {
        let door = self.entrance.as_ref().and_then(|entrance| entrance.next_deadline());
        door.into_iter().chain(interrupt.map(|_| INTERRUPT_SLICE)).min()
    }

    fn handle(&mut self, token: Token) {
        match token {
            Token::Door => {
                if let Some(entrance) = &mut self.entrance {
                    entrance.accept(&self.poller, self.control);
                }
            }
            Token::Bell => {
                let _ = self.inbox.bell.drain();
                while let Some(session) = self.inbox.take() {
                    self.settle(session);
                }
            }
            Token::Guest(key) => {
                let Some(entrance) = &mut self.entrance else { return };
                if let Some(link) = entrance.attend(key, &self.poller, self.control) {
                    let session = Session::new(self.next_id, *link, &self.options);
                    self.next_id += 1;
                    self.control.tell(&ServerEvent::Joined(&session.info));
                    self.control.hand_over(session);
                }
            }
            Token::Data(key) | Token::Room(key) | Token::Peer(key) => {
                // An event of a session that another event of this batch ended, or of one that took over its key: to
                // look once too often does no harm.
                let Some(session) = self.sessions.get_mut(key) else { return };
                session.woken(token);
                if !session.hot {
                    session.hot = true;
                    self.hot.push(key);
                }
            }
        }
    }

    /// Takes in a session that was handed over.
    fn settle(&mut self, mut session: Session) {
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
    fn finish(mut self) {
        while let Some(session) = self.inbox.take() {
            self.settle(session);
        }
        let deadline = Deadline::after(
            self.entrance.as_ref().map_or(Duration::from_secs(1), |entrance| entrance.options().stop_timeout),
        );
        let mut left: Vec<usize> = self.sessions.iter().map(|(key, _)| key).collect();
        loop {
            left.retain(|key| matches!(self.sessions[*key].turn_away(), Ok(false)));
            if left.is_empty() || deadline.has_passed() {
                break;
            }
            std::thread::sleep(STOP_RETRY);
        }
        let all: Vec<usize> = self.sessions.iter().map(|(key, _)| key).collect();
        for key in all {
            self.part(key, Leaving::Closed);
        }
    }
}
