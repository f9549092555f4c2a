//! Waiting: spin for a budget, then park.
//!
//! Parking is `poll` on the socket of the connection and the peer's pidfd. So a message, a close, the peer's death, a
//! deadline and a signal all end the same call. `ring::parked` has the steps around it, and the reason why no wake-up
//! is lost.

mod budget;
mod deadline;
mod interarrival;
#[cfg(not(loom))]
mod notifier;
#[cfg(not(loom))]
mod peer;
#[cfg(not(loom))]
pub(crate) mod reaper;
#[cfg(not(loom))]
mod sleep;
mod sleepers;
#[cfg(not(loom))]
pub(crate) mod socket;
#[cfg(not(loom))]
pub(crate) mod thread;

use std::io;
use std::time::Duration;

pub use budget::PollingMode;
use budget::park_cost;
#[cfg(any(test, fuzzing))]
pub(crate) use budget::park_cost_bounds;
pub(crate) use budget::{Budget, Spin, looks_per_reading};
pub(crate) use deadline::{Deadline, StopTime, monotonic_nanos};
#[cfg(not(loom))]
pub(crate) use notifier::{Notifier, ServingWake};
pub(crate) use peer::Peer;
use sleep::{Slept, sleep};
pub(crate) use sleepers::Ticket;
#[cfg(loom)]
pub(crate) use sleepers::{LeadOrFollow, Sleepers};
#[cfg(not(loom))]
pub(crate) use socket::{BadDescriptors, Socket};

// `tests/loom` checks this room over a kernel of its own.
#[cfg(loom)]
use crate::kernel::{peer, sleep};
use crate::ring::{Fault, ParkedWord, arm};
use interarrival::{Interarrival, Window};

/// A function that a waiting call asks at least every 50 ms and after every signal; `true` ends the wait as
/// interrupted.
pub type Interrupt = fn() -> bool;

/// Longest sleep between two calls of an [`Interrupt`].
pub(crate) const INTERRUPT_SLICE: Duration = Duration::from_millis(50);

/// Nanoseconds between two looks for a dead peer while spinning; the limit for noticing a death is 100 ms.
const LIFE_CHECK: u64 = 5_000_000;

/// Nanoseconds for which a waiter looks after the fence of its arming, before it sleeps.
const LOOK_FOR: u64 = 5_000;

/// Most nanoseconds from an arming to the second look.
pub(crate) const SECOND_LOOK: u64 = 10_000_000;

/// The reason why a wait ended in vain.
#[derive(Debug)]
pub(crate) enum WaitError<E> {
    TimedOut,
    Interrupted,
    /// The peer is gone, and the last look, after the peer's end, found nothing.
    Gone,
    /// The peer sent a message that is no ring message.
    Broken(Fault),
    /// The look failed.
    Failed(E),
    Io(io::Error),
}

/// The waits of one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) budget: Budget,
    pub(crate) interrupt: Option<Interrupt>,
    /// For a callee or a receiver, whose messages may come regularly; `None` for other waiters.
    interarrival: Option<Interarrival>,
    /// Looks that [`spin_briefly`](Self::spin_briefly) has used of the present wait.
    looked: u32,
}

/// The object of a wait.
#[derive(Clone, Copy)]
pub(crate) struct Awaited<'a> {
    pub(crate) peer: &'a Peer,
    /// The parked words of the awaited messages and room.
    pub(crate) words: &'a [&'a ParkedWord],
    /// Whether the peer last waited on this processor, so that it cannot run while this side spins.
    pub(crate) shares_core: bool,
    pub(crate) deadline: Deadline,
}

impl Waiter {
    pub(crate) fn new(mode: PollingMode, factor: u32, interrupt: Option<Interrupt>) -> Self {
        Self { budget: Budget::new(mode, factor), interrupt, interarrival: None, looked: 0 }
    }

    /// For a callee that waits for requests, or a receiver that waits for messages.
    pub(crate) fn for_requests(mode: PollingMode, interrupt: Option<Interrupt>) -> Self {
        Self { interarrival: Some(Interarrival::default()), ..Self::new(mode, 1, interrupt) }
    }

    /// The beginning of a wait that is nearly always short: spins for about a microsecond over `glance`. True when
    /// `glance` was true; otherwise the wait goes on with [`wait`](Self::wait), which also reads the clock and checks
    /// the peer.
    #[inline]
    pub(crate) fn spin_briefly(&mut self, glance: impl Fn() -> bool) -> bool {
        for _ in 0..self.budget.first_round() {
            if glance() {
                self.budget.note_first_round();
                return true;
            }
            core::hint::spin_loop();
        }
        self.looked = self.budget.first_round();
        false
    }

    /// Waits until `look` finds something.
    ///
    /// `look` comes first, and once more after the peer's end, so that no message from before the end is lost.
    pub(crate) fn wait<T, E>(
        &mut self,
        awaited: &Awaited<'_>,
        mut look: impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<T, WaitError<E>> {
        if let Some(found) = look().map_err(WaitError::Failed)? {
            self.budget.note_first_round();
            return Ok(found);
        }
        let began = monotonic_nanos();
        let looked = core::mem::take(&mut self.looked);
        let spin = match self.budget.spin() {
            Spin::Looks(looks) => Spin::Looks(looks.saturating_sub(looked)),
            spin => spin,
        };
        let alone = !(awaited.shares_core && self.budget.mode() == PollingMode::Adaptive);
        if alone && let Some(found) = self.spin(spin, began, awaited, &mut look)? {
            self.budget.learn(monotonic_nanos() - began);
            return Ok(found);
        }
        self.park(began, awaited, &mut look)
    }

    /// Spins up to the limit `spin`; `None` when the limit is reached.
    fn spin<T, E>(
        &self,
        spin: Spin,
        began: u64,
        awaited: &Awaited<'_>,
        look: &mut impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, WaitError<E>> {
        let (looks, nanos) = match spin {
            Spin::Unlimited => (u64::MAX, u64::MAX),
            Spin::Looks(looks) => (looks.into(), u64::MAX),
            Spin::Nanos(nanos) => (u64::MAX, nanos),
        };
        if nanos == 0 {
            return Ok(None);
        }
        let mut left = looks;
        let mut life_checked = began;
        while left > 0 {
            let round = left.min(looks_per_reading().into());
            for _ in 0..round {
                if let Some(found) = look().map_err(WaitError::Failed)? {
                    return Ok(Some(found));
                }
                core::hint::spin_loop();
            }
            left -= round;
            let now = monotonic_nanos();
            if awaited.deadline.has_passed_at(now) {
                return Err(WaitError::TimedOut);
            }
            if now - began >= nanos {
                return Ok(None);
            }
            // A known end needs no system call to find it again.
            if awaited.peer.was_gone() || now - life_checked >= LIFE_CHECK {
                life_checked = now;
                if let Some(found) = self.check_life(awaited, look)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Checks for an interrupt and for the peer's end, which a parked waiter would notice by itself. After the peer's
    /// end a last look may find a message from before.
    fn check_life<T, E>(
        &self,
        awaited: &Awaited<'_>,
        look: &mut impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, WaitError<E>> {
        if !awaited.peer.was_gone() {
            self.check_interrupt()?;
            // Two spinning peers on one core would otherwise block each other for a time slice.
            std::thread::yield_now();
            if !awaited.peer.is_gone() {
                return Ok(None);
            }
        }
        look().map_err(WaitError::Failed)?.map_or(Err(WaitError::Gone), |found| Ok(Some(found)))
    }

    fn check_interrupt<E>(&self) -> Result<(), WaitError<E>> {
        match self.interrupt {
            Some(interrupt) if interrupt() => Err(WaitError::Interrupted),
            _ => Ok(()),
        }
    }

    #[cold]
    fn park<T, E>(
        &mut self,
        began: u64,
        awaited: &Awaited<'_>,
        look: &mut impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<T, WaitError<E>> {
        let adaptive = self.budget.mode() == PollingMode::Adaptive && !awaited.shares_core;
        let mut window = if adaptive {
            self.interarrival.as_mut().and_then(|interarrival| interarrival.window(began, park_cost()))
        } else {
            None
        };
        let had_window = window.is_some();
        let mut spun = 0;
        loop {
            let ticket = awaited.peer.sleepers.ticket();
            let looked = match arm_and_look(awaited.words, look) {
                Ok(Armed::Sleep { since }) => self.sleep_armed(since, window, ticket, awaited, look),
                Ok(Armed::Found(found)) => Ok(Some((found, None))),
                Err(error) => Err(WaitError::Failed(error)),
            };
            awaited.words.iter().for_each(|word| word.clear());
            let mut looked = looked?;
            let mut now = monotonic_nanos();
            if looked.is_none()
                && let Some(Window { until, .. }) = window.take_if(|window| now >= window.from)
            {
                let found = self.spin(Spin::Nanos(until.saturating_sub(now)), now, awaited, look)?;
                looked = found.map(|found| (found, None));
                (spun, now) = (monotonic_nanos() - now, monotonic_nanos());
            }
            if let Some((found, sent_at)) = looked {
                let came = sent_at.filter(|sent_at| (began..=now).contains(sent_at)).unwrap_or(now);
                self.learn(came - began, had_window.then_some((spun, window.is_none() && sent_at.is_none())));
                return Ok(found);
            }
        }
    }

    /// Learns from a wait that parked, and from its window: the time spun, and whether the message came in the window.
    fn learn(&mut self, waited: u64, window: Option<(u64, bool)>) {
        self.budget.learn(waited);
        let Some(interarrival) = &mut self.interarrival else { return };
        interarrival.learn(waited);
        if let Some((spun, hit)) = window {
            interarrival.note_window(waited, spun, hit);
        }
    }

    /// Sleeps until a look finds something, and returns it with the sending time of the ring message. `None` when the
    /// look after a ring message finds nothing, so that the words have to be set again, or when the window begins.
    fn sleep_armed<T, E>(
        &self,
        armed: u64,
        window: Option<Window>,
        ticket: Ticket,
        awaited: &Awaited<'_>,
        look: &mut impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Option<(T, Option<u64>)>, WaitError<E>> {
        loop {
            // The clock before the look: a look that begins at the time of the second look is the second look.
            let now = monotonic_nanos();
            // The end before the look: the look finds every message that the peer published before an end seen here.
            let gone = awaited.peer.was_gone();
            if let Some(found) = look().map_err(WaitError::Failed)? {
                return Ok(Some((found, None)));
            }
            if gone {
                return Err(WaitError::Gone);
            }
            if awaited.deadline.has_passed_at(now) {
                return Err(WaitError::TimedOut);
            }
            self.check_interrupt()?;
            if window.is_some_and(|window| now >= window.from) {
                return Ok(None);
            }
            let second_look = (armed + SECOND_LOOK).checked_sub(now).filter(|left| *left > 0);
            let limit = [
                second_look.map(Duration::from_nanos),
                self.interrupt.map(|_| INTERRUPT_SLICE),
                awaited.deadline.remaining_at(now),
                window.map(|window| Duration::from_nanos(window.from - now)),
            ];
            match sleep(awaited.peer, ticket, limit.into_iter().flatten().min()).map_err(WaitError::Io)? {
                Slept::Rung(sent_at) => {
                    let found = look().map_err(WaitError::Failed)?;
                    return Ok(found.map(|found| (found, sent_at)));
                }
                Slept::Otherwise => {}
                Slept::Broken(fault) => return Err(WaitError::Broken(fault)),
            }
        }
    }
}

/// The result of an arming.
#[derive(Debug)]
pub(crate) enum Armed<T> {
    /// A look found this, so the waiter does not sleep.
    Found(T),
    /// No look found anything. The waiter sleeps, and looks again at most [`SECOND_LOOK`] after this time.
    Sleep { since: u64 },
}

/// Sets the words, and looks until 5 us have passed, to find a message that was published during the arming. The one
/// place where a waiter sets its words.
///
/// # Errors
/// The errors of `look`.
pub(crate) fn arm_and_look<T, E>(
    words: &[&ParkedWord],
    look: &mut impl FnMut() -> Result<Option<T>, E>,
) -> Result<Armed<T>, E> {
    arm(words);
    let since = monotonic_nanos();
    loop {
        let now = monotonic_nanos();
        if let Some(found) = look()? {
            return Ok(Armed::Found(found));
        }
        // A model has no time: it looks once.
        if cfg!(loom) || now - since >= LOOK_FOR {
            return Ok(Armed::Sleep { since });
        }
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests;
