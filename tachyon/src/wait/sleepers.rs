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
    rounds: u64,
}

/// The number of turns at some time before an arming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// What a thread that would sleep does.
#[derive(Debug)]
pub(crate) enum LeadOrFollow<'a> {
    /// It leads: it sleeps in the system.
    Leader(Leader<'a>),
    /// It looks again: a leader took rings since its ticket, and one of them may have been its own.
    RingsTaken,
    /// It looks at the clock: its limit has passed while another thread led, or that thread leads no more.
    NoRings,
}

/// The right to sleep in the system. Dropping it wakes the followers.
#[derive(Debug)]
pub(crate) struct Leader<'a> {
    sleepers: &'a Sleepers,
    took_rings: bool,
}

impl Leader<'_> {
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
        Ticket(self.state().rounds)
    }

    /// Takes the lead, or sleeps as a follower for at most `limit` while another thread has it.
    pub(crate) fn lead_or_follow(&self, ticket: Ticket, limit: Option<Duration>) -> LeadOrFollow<'_> {
        let mut state = self.state();
        if state.rounds == ticket.0 {
            if !state.led {
                state.led = true;
                return LeadOrFollow::Leader(Leader { sleepers: self, took_rings: false });
            }
            state.following += 1;
            state = self.follow(state, limit);
            state.following -= 1;
        }
        if state.rounds == ticket.0 { LeadOrFollow::NoRings } else { LeadOrFollow::RingsTaken }
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

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let mut state = self.sleepers.state();
        state.led = false;
        if self.took_rings {
            state.rounds = state.rounds.wrapping_add(1);
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

    fn lead(sleepers: &Sleepers, ticket: Ticket) -> Leader<'_> {
        match sleepers.lead_or_follow(ticket, PATIENCE) {
            LeadOrFollow::Leader(lead) => lead,
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
        assert!(matches!(sleepers.lead_or_follow(ticket, PATIENCE), LeadOrFollow::RingsTaken));
        drop(lead(&sleepers, sleepers.ticket()));
    }

    #[test]
    fn a_follower_is_woken_by_rings_and_takes_over_a_lead_that_ends() {
        let sleepers = Sleepers::default();
        let ticket = sleepers.ticket();
        for rings in [false, true] {
            let mut first = lead(&sleepers, ticket);
            assert!(matches!(sleepers.lead_or_follow(ticket, Some(Duration::from_millis(5))), LeadOrFollow::NoRings));
            thread::scope(|scope| {
                let follower = scope.spawn(|| match sleepers.lead_or_follow(ticket, PATIENCE) {
                    LeadOrFollow::NoRings => false,
                    LeadOrFollow::RingsTaken => true,
                    LeadOrFollow::Leader(_) => panic!("there is a leader"),
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
