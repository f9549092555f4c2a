//! Several threads of one side that sleep on one socket, by the leader/followers pattern.
//!
//! The leader sleeps in the system and takes the ring messages. The followers sleep on a condition variable, and look
//! again when the leader has taken ring messages or has stopped leading. A thread takes a ticket before it arms. If a
//! leader has taken ring messages since, the thread does not sleep, because one of the messages may have been its own.

use std::time::Duration;

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The sleeping threads of one side.
#[derive(Debug, Default)]
pub(crate) struct Sleepers {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    led: bool,
    following: u32,
    /// The number of times that a leader has taken ring messages.
    rounds: u64,
}

/// The number of rounds before an arming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// The next step of a thread that has no message.
#[derive(Debug)]
pub(crate) enum LeadOrFollow<'a> {
    /// The thread leads, so it sleeps in the system.
    Leader(Leader<'a>),
    /// A leader has taken ring messages since the ticket, so the thread looks again.
    RingsTaken,
    /// The limit has passed, or the leader has stopped leading without ring messages.
    NoRings,
}

/// The right to sleep in the system. Dropping it wakes the followers.
#[derive(Debug)]
pub(crate) struct Leader<'a> {
    sleepers: &'a Sleepers,
    took_rings: bool,
}

impl Leader<'_> {
    /// Notes that the leader has taken ring messages, some of them perhaps for followers.
    pub(crate) fn took_rings(&mut self) {
        self.took_rings = true;
    }
}

impl Sleepers {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one step, so the state is consistent whenever it is unlocked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ticket of a thread that is about to arm.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.state().rounds)
    }

    /// Becomes the leader, or sleeps as a follower for at most `limit` while another thread leads.
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
        // A spurious wake-up is harmless: the caller looks again in any case.
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
