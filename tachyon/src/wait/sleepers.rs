//! Several threads of one side that sleep on the one socket of a connection.
//!
//! One of them leads: it sleeps in the system and takes the rings. The others sleep on a condition of this process, and
//! look again whenever the leader took rings, or leads no more. A thread takes a ticket before it arms; if rings were
//! taken since, it does not sleep, because one of them may have been its own.

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
    /// Times that a leader took rings.
    turns: u64,
}

/// The number of turns at some time before an arming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// What a thread that would sleep does.
#[derive(Debug)]
pub(crate) enum Turn<'a> {
    /// It leads: it sleeps in the system.
    Lead(Lead<'a>),
    /// It looks again: a leader took rings since its ticket, and one of them may have been its own.
    Woken,
    /// It looks at the clock: its limit has passed while another thread led, or that thread leads no more.
    Passed,
}

/// The right to sleep in the system. Dropping it wakes the followers.
#[derive(Debug)]
pub(crate) struct Lead<'a> {
    sleepers: &'a Sleepers,
    took_rings: bool,
}

impl Lead<'_> {
    /// The leader took rings, of which some may have been for its followers.
    pub(crate) fn took_rings(&mut self) {
        self.took_rings = true;
    }
}

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
                return Turn::Lead(Lead { sleepers: self, took_rings: false });
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
        let mut state = self.sleepers.state();
        state.led = false;
        if self.took_rings {
            state.turns = state.turns.wrapping_add(1);
        }
        if state.following > 0 {
            self.sleepers.woken.notify_all();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;

    const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

    fn lead(sleepers: &Sleepers, ticket: Ticket) -> Lead<'_> {
        match sleepers.take_turn(ticket, PATIENCE) {
            Turn::Lead(lead) => lead,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_sleep_without_rings_leaves_its_ticket_good() {
        let sleepers = Sleepers::default();
        let ticket = sleepers.ticket();
        for _ in 0..3 {
            drop(lead(&sleepers, ticket));
        }
        lead(&sleepers, ticket).took_rings();
        assert!(matches!(sleepers.take_turn(ticket, PATIENCE), Turn::Woken));
        drop(lead(&sleepers, sleepers.ticket()));
    }

    #[test]
    fn a_follower_is_woken_by_rings_and_takes_over_a_lead_that_ends() {
        let sleepers = Sleepers::default();
        let ticket = sleepers.ticket();
        for rings in [false, true] {
            let mut first = lead(&sleepers, ticket);
            assert!(matches!(sleepers.take_turn(ticket, Some(Duration::from_millis(5))), Turn::Passed));
            thread::scope(|scope| {
                let follower = scope.spawn(|| match sleepers.take_turn(ticket, PATIENCE) {
                    Turn::Passed => false,
                    Turn::Woken => true,
                    Turn::Lead(_) => panic!("there is a leader"),
                });
                while sleepers.state().following == 0 {
                    thread::yield_now();
                }
                if rings {
                    first.took_rings();
                }
                drop(first);
                assert_eq!(follower.join().unwrap(), rings);
            });
        }
    }
}
