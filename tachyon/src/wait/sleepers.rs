//! Several threads of one side that sleep on the one socket of a connection.
//!
//! One of them leads: it sleeps in the system and takes the rings. The others sleep on a condition of this process, and
//! look again whenever the leader was woken. A thread takes a ticket before it arms; if the leader was woken since, it
//! does not sleep, because the ring that was taken may have been its own.

use std::time::Duration;

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The threads of one side that sleep.
#[derive(Debug, Default)]
pub(crate) struct Sleepers {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    led: bool,
    following: u32,
    /// Times that a leader was woken.
    turns: u64,
}

/// The number of wake-ups at some time before an arming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// What a thread that would sleep does.
#[derive(Debug)]
pub(crate) enum Turn<'a> {
    /// It leads: it sleeps in the system.
    Lead(Lead<'a>),
    /// It looks again: a leader was woken since its ticket.
    Woken,
    /// Its limit has passed while another thread led.
    Passed,
}

/// The right to sleep in the system. Dropping it wakes the followers.
#[derive(Debug)]
pub(crate) struct Lead<'a>(&'a Sleepers);

impl Sleepers {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one step, so the state is consistent whenever it is unlocked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes before an arming.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.state().turns)
    }

    /// Takes the lead, or sleeps as a follower for at most `limit` while another thread has it.
    pub(crate) fn take_turn(&self, ticket: Ticket, limit: Option<Duration>) -> Turn<'_> {
        let mut state = self.state();
        if state.turns == ticket.0 {
            if !state.led {
                state.led = true;
                return Turn::Lead(Lead(self));
            }
            state.following += 1;
            state = self.follow(state, limit);
            state.following -= 1;
        }
        if state.turns == ticket.0 { Turn::Passed } else { Turn::Woken }
    }

    #[cfg(not(loom))]
    fn follow<'a>(&'a self, state: MutexGuard<'a, State>, limit: Option<Duration>) -> MutexGuard<'a, State> {
        // Woken for no reason, too: the caller looks again in any case.
        match limit {
            Some(limit) => self.woken.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0,
            None => self.woken.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    #[cfg(loom)]
    fn follow<'a>(&'a self, state: MutexGuard<'a, State>, _limit: Option<Duration>) -> MutexGuard<'a, State> {
        self.woken.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.led = false;
        state.turns = state.turns.wrapping_add(1);
        if state.following > 0 {
            self.0.woken.notify_all();
        }
    }
}
