//! The parked callers of a server with several workers. Any idle worker takes a parked caller that has an event.
//!
//! All workers sleep on one epoll. A session is in exactly one place at any time:
//!
//! | place | polled by | leaves the place |
//! |---|---|---|
//! | a worker's slab | that worker, in each pass | when it parks, is handed over, or ends |
//! | `parked` | no worker: its socket, its pidfd and the wake of its handlers are armed in the epoll | on their event,
//! for its second look, or at the deadline of a stream |
//! | `ready` | no worker: handed over by a busy worker | when a worker wakes by the notifier |
//!
//! Three invariants guarantee that no ring is lost and that no session has two workers:
//!
//! - A session enters `parked`, and its descriptors are armed, under one lock. Armed descriptors are one-shot and
//!   level-triggered: a ring from before the arming is an event too. The worker that gets an event finds the session,
//!   or another worker took the session after the event, and has looked at the rings since.
//! - A worker owns a session only after it removed the session from `parked` or `ready` under the lock. An event for a
//!   session that has left does nothing; if another session has the key by now, that session is polled in vain.
//! - A worker notifies after it put a session into `ready`, and resets the notifier before it takes a session out. A
//!   worker that leaves a session behind notifies again.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use slab::Slab;

use super::control::{Control, Inbox};
use super::poller::{Poller, Token};
use super::session::Session;
use crate::connection::ProcessMutex;
use crate::engine::StreamBody;
use crate::sync::{AtomicUsize, Ordering};
use crate::wait::monotonic_nanos;

/// The parked sessions that several workers share. `B` stands for a running call.
#[derive(Debug)]
pub(super) struct ParkedSessions<B> {
    pub(super) poller: Arc<Poller>,
    /// Events of the acceptor. The notifier also wakes a worker for `ready`.
    pub(super) inbox: Arc<Inbox>,
    /// A timerfd that expires when the next second look, or the look at a deadline, is due.
    timer: OwnedFd,
    /// Sleeping workers.
    idle: AtomicUsize,
    state: ProcessMutex<State<B>>,
}

#[derive(Debug)]
struct State<B> {
    parked: Slab<Session<B>>,
    /// Second looks in the order of their times: time in `CLOCK_MONOTONIC` nanoseconds, key in `parked`, caller.
    second_looks: VecDeque<(u64, usize, u64)>,
    /// The earliest deadlines of the streams of parked sessions: time in `CLOCK_MONOTONIC` nanoseconds, key in
    /// `parked`.
    deadlines: BTreeSet<(u64, usize)>,
    ready: VecDeque<Session<B>>,
    /// When the timer expires, in `CLOCK_MONOTONIC` nanoseconds. Past if it has expired without a look so far, the
    /// largest number if it is not set.
    timer_at: u64,
}

impl<B: StreamBody> State<B> {
    /// Takes a session out of the parked ones.
    fn unpark(&mut self, key: usize) -> Option<Session<B>> {
        let session = self.parked.try_remove(key)?;
        if let Some(due) = session.deadline_at() {
            self.deadlines.remove(&(due, key));
        }
        Some(session)
    }
}

impl<B: StreamBody> ParkedSessions<B> {
    pub(super) fn new(control: &Control) -> io::Result<Arc<Self>> {
        let poller = Poller::new()?;
        let inbox = control.add_worker()?;
        poller.add(&*inbox, Token::Notified)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        poller.add(&timer, Token::Timer)?;
        Ok(Arc::new(Self {
            poller: Arc::new(poller),
            inbox,
            timer,
            idle: AtomicUsize::new(0),
            state: ProcessMutex::new(State {
                parked: Slab::new(),
                second_looks: VecDeque::new(),
                deadlines: BTreeSet::new(),
                ready: VecDeque::new(),
                timer_at: u64::MAX,
            }),
        }))
    }

    /// Sleeping workers: a hint, for handing over callers.
    #[inline]
    pub(super) fn idle(&self) -> usize {
        self.idle.load(Ordering::Relaxed)
    }

    /// Counts a worker as idle while `sleep` runs.
    pub(super) fn sleeping<T>(&self, sleep: impl FnOnce() -> T) -> T {
        self.idle.fetch_add(1, Ordering::Relaxed);
        let outcome = sleep();
        self.idle.fetch_sub(1, Ordering::Relaxed);
        outcome
    }

    /// Parks a session. A forked child, which serves no session, drops it.
    ///
    /// # Errors
    /// The session, and the error of epoll.
    pub(super) fn park(&self, mut session: Session<B>) -> Result<(), Box<(Session<B>, io::Error)>> {
        let Some(mut state) = self.state.lock() else { return Ok(()) };
        let key = state.parked.vacant_key();
        if let Err(error) = session.arm(&self.poller, key) {
            return Err(Box::new((session, error)));
        }
        state.second_looks.push_back((session.second_look_at(), key, session.id()));
        state.deadlines.extend(session.deadline_at().map(|due| (due, key)));
        state.parked.insert(session);
        self.set_timer(&mut state);
        Ok(())
    }

    /// Takes the session of an event, if it is still parked.
    pub(super) fn take(&self, key: usize) -> Option<Session<B>> {
        self.state.lock()?.unpark(key)
    }

    /// Hands busy sessions over to other workers.
    pub(super) fn hand_over(&self, sessions: impl Iterator<Item = Session<B>>) {
        if let Some(mut state) = self.state.lock() {
            state.ready.extend(sessions);
        }
        self.inbox.notify();
    }

    /// Takes sessions that were handed over: all, or one if other workers sleep. The notifier wakes them for the rest.
    pub(super) fn take_ready(&self) -> VecDeque<Session<B>> {
        let Some(mut state) = self.state.lock() else { return VecDeque::new() };
        if self.idle() == 0 {
            return core::mem::take(&mut state.ready);
        }
        let one = state.ready.pop_front();
        let more = !state.ready.is_empty();
        drop(state);
        if more {
            self.inbox.notify();
        }
        one.into_iter().collect()
    }

    /// Takes the second looks that are due, and the looks at deadlines, and returns the sessions that have work.
    pub(super) fn take_second_looks(&self) -> Vec<Session<B>> {
        let Some(mut state) = self.state.lock() else { return Vec::new() };
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        state.timer_at = u64::MAX;
        let (now, mut found) = (monotonic_nanos(), Vec::new());
        while let Some(&(due, key, id)) = state.second_looks.front()
            && due <= now
        {
            state.second_looks.pop_front();
            // A session that left and parked again has a later entry.
            let is_due = |session: &Session<B>| session.id() == id && session.second_look_at() == due;
            if state.parked.get_mut(key).is_some_and(|session| is_due(session) && session.look_again()) {
                found.extend(state.unpark(key));
            }
        }
        while let Some(&(due, key)) = state.deadlines.first()
            && due <= now
        {
            state.deadlines.pop_first();
            if state.parked.get_mut(key).is_some_and(Session::look_again) {
                found.extend(state.unpark(key));
            }
        }
        self.set_timer(&mut state);
        found
    }

    /// Sets the timer to the next look, unless it expires before. One setting serves all second looks of the next 10
    /// ms.
    fn set_timer(&self, state: &mut State<B>) {
        let second_look = state.second_looks.front().map(|(due, ..)| *due);
        let deadline = state.deadlines.first().map(|(due, _)| *due);
        let Some(due) = second_look.into_iter().chain(deadline).min().filter(|due| *due < state.timer_at) else {
            return;
        };
        let (seconds, nanos) = (due / 1_000_000_000, due % 1_000_000_000);
        let at = Timespec { tv_sec: seconds.cast_signed(), tv_nsec: nanos.cast_signed() };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        // Fails only for an invalid time.
        if timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once).is_ok() {
            state.timer_at = due;
        }
    }

    /// Takes all sessions, for a server that stops.
    pub(super) fn drain(&self) -> Vec<Session<B>> {
        let Some(mut state) = self.state.lock() else { return Vec::new() };
        state.second_looks.clear();
        state.deadlines.clear();
        let ready = core::mem::take(&mut state.ready);
        let parked = core::mem::take(&mut state.parked);
        parked.into_iter().map(|(_, session)| session).chain(ready).collect()
    }
}
