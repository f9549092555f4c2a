//! The callers at rest of a server with several workers, any of which takes one that wants something.
//!
//! All workers sleep on one epoll. A session is in exactly one place at any time:
//!
//! | place | who looks at it | how it gets out |
//! |---|---|---|
//! | a worker's slab, hot | that worker, in each pass | it rests, it is given away, it ends |
//! | `resting` | no worker: its socket and pidfd are armed in the epoll | an event of theirs, or its second look |
//! | `ready` | no worker: hot, and given away | the bell, which any worker hears |
//!
//! Three invariants see to it that no ring is lost and no session has two workers:
//!
//! - A session goes into `resting`, and its descriptors are armed, under one lock. The armings are one-shot and
//!   level-triggered: a ring from before the arming is an event at once. The worker that gets an event finds the session,
//!   or another worker took the session after the event came, and has looked at it since.
//! - Only what removes a session from `resting` or `ready`, under the lock, has it. An event for a session that is not
//!   there, or for another one that has its key by now, does nothing, or has that one looked at in vain.
//! - The bell is rung after a session went into `ready`, and silenced before one is taken out. A worker that
//!   leaves one behind rings again.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use slab::Slab;

use super::control::{Control, Inbox};
use super::poller::{Poller, Token};
use super::session::Session;
use crate::sync::{AtomicUsize, Ordering};
use crate::wait::monotonic_nanos;

/// See above. `B` stands for a call that has begun.
#[derive(Debug)]
pub(super) struct Lot<B> {
    pub(super) poller: Arc<Poller>,
    /// Callers and reports from the acceptor; its bell also tells of `ready`.
    pub(super) inbox: Arc<Inbox>,
    /// Runs out when the next second look is due.
    timer: OwnedFd,
    /// Workers that sleep.
    idle: AtomicUsize,
    inside: Mutex<Inside<B>>,
}

#[derive(Debug)]
struct Inside<B> {
    resting: Slab<Session<B>>,
    /// When those that rest are due for their second look, with their keys and callers; the longest ago first.
    parked: VecDeque<(u64, usize, u64)>,
    ready: VecDeque<Session<B>>,
    /// Whether the timer runs, or has run out and was not seen to yet.
    timed: bool,
}

impl<B> Lot<B> {
    pub(super) fn new(control: &Control) -> io::Result<Arc<Self>> {
        let poller = Poller::new()?;
        let inbox = control.enlist()?;
        poller.add(&*inbox, Token::Bell)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        poller.add(&timer, Token::Timer)?;
        Ok(Arc::new(Self {
            poller: Arc::new(poller),
            inbox,
            timer,
            idle: AtomicUsize::new(0),
            inside: Mutex::new(Inside {
                resting: Slab::new(),
                parked: VecDeque::new(),
                ready: VecDeque::new(),
                timed: false,
            }),
        }))
    }

    fn inside(&self) -> MutexGuard<'_, Inside<B>> {
        // Whole whenever it is unlocked.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many workers sleep; a hint for who hands work to whom.
    #[inline]
    pub(super) fn idle(&self) -> usize {
        self.idle.load(Ordering::Relaxed)
    }

    /// Counts a worker among those that sleep, while `sleep` runs.
    pub(super) fn sleeping<T>(&self, sleep: impl FnOnce() -> T) -> T {
        self.idle.fetch_add(1, Ordering::Relaxed);
        let outcome = sleep();
        self.idle.fetch_sub(1, Ordering::Relaxed);
        outcome
    }

    /// Takes in a session that parked.
    ///
    /// # Errors
    /// The system's refusal to watch it, and the session.
    pub(super) fn rest(&self, mut session: Session<B>) -> Result<(), Box<(Session<B>, io::Error)>> {
        let mut inside = self.inside();
        let key = inside.resting.vacant_key();
        if let Err(error) = session.arm(&self.poller, key) {
            return Err(Box::new((session, error)));
        }
        inside.parked.push_back((session.second_look_at(), key, session.id()));
        inside.resting.insert(session);
        if !inside.timed {
            self.set_timer(&mut inside);
        }
        Ok(())
    }

    /// The session that an event is of, if it still rests.
    pub(super) fn take(&self, key: usize) -> Option<Session<B>> {
        self.inside().resting.try_remove(key)
    }

    /// Takes in sessions that are hot, for others to look at.
    pub(super) fn give(&self, sessions: impl Iterator<Item = Session<B>>) {
        self.inside().ready.extend(sessions);
        self.inbox.ring();
    }

    /// A session that was given away: one if other workers sleep, who are woken for the rest, otherwise all of them.
    pub(super) fn take_ready(&self) -> VecDeque<Session<B>> {
        let mut inside = self.inside();
        if self.idle() == 0 {
            return core::mem::take(&mut inside.ready);
        }
        let one = inside.ready.pop_front();
        let more = !inside.ready.is_empty();
        drop(inside);
        if more {
            self.inbox.ring();
        }
        one.into_iter().collect()
    }

    /// Takes the second look at sessions that are due for it; gives those that have something to do.
    pub(super) fn look_again(&self) -> Vec<Session<B>> {
        let mut inside = self.inside();
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        inside.timed = false;
        let (now, mut found) = (monotonic_nanos(), Vec::new());
        while let Some(&(due, key, id)) = inside.parked.front()
            && due <= now
        {
            inside.parked.pop_front();
            // One that went and rests again has a later look before it.
            let rests = |session: &Session<B>| session.id() == id && session.second_look_at() == due;
            if inside.resting.get_mut(key).is_some_and(|session| rests(session) && session.look_again()) {
                found.push(inside.resting.remove(key));
            }
        }
        self.set_timer(&mut inside);
        found
    }

    /// Has the timer run out when the next second look is due. So it is set once for all that are due within 10 ms.
    fn set_timer(&self, inside: &mut Inside<B>) {
        let Some(&(due, ..)) = inside.parked.front() else { return };
        let (seconds, nanos) = (due / 1_000_000_000, due % 1_000_000_000);
        let at = Timespec { tv_sec: seconds.cast_signed(), tv_nsec: nanos.cast_signed() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        // It fails for values that are no time, which these are not.
        inside.timed = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once).is_ok();
    }

    /// Takes all sessions, for a server that stops.
    pub(super) fn empty(&self) -> Vec<Session<B>> {
        let mut inside = self.inside();
        inside.parked.clear();
        let ready = core::mem::take(&mut inside.ready);
        let resting = core::mem::take(&mut inside.resting);
        resting.into_iter().map(|(_, session)| session).chain(ready).collect()
    }
}
