//! The one way to wait: spin for a budget, then park.
//!
//! Parking is `poll` on the socket of the connection and the peer's pidfd. So a message, a close, the peer's death, a
//! deadline and a signal all end the same call. `ring::parked` has the steps around it, and why no wake-up is lost.

mod budget;
mod deadline;
mod interarrival;
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
pub(crate) use peer::Peer;
use sleep::{Slept, sleep};
pub(crate) use sleepers::Ticket;
#[cfg(loom)]
pub(crate) use sleepers::{LeadOrFollow, Sleepers};
#[cfg(not(loom))]
pub(crate) use socket::{BadDescriptors, Socket};

// The models of `tests/loom` bring their own kernel; everything else here is what they check.
#[cfg(loom)]
use crate::kernel::{peer, sleep};
use crate::ring::{Fault, ParkedWord, arm};
use interarrival::{Interarrival, Window};

/// Asked at least every 50 ms while a call waits, and after every signal; `true` ends the wait as interrupted.
pub type Interrupt = fn() -> bool;

/// Longest sleep between two questions to an [`Interrupt`].
pub(crate) const INTERRUPT_SLICE: Duration = Duration::from_millis(50);

/// Nanoseconds between two looks for a dead peer while spinning; far below the 100 ms in which death must be noticed.
const LIFE_CHECK: u64 = 5_000_000;

/// Nanoseconds that a waiter looks after the fence of its arming, before it sleeps.
const LOOK_FOR: u64 = 5_000;

/// Nanoseconds from an arming to the second look, which a sleep must not outlast.
pub(crate) const SECOND_LOOK: u64 = 10_000_000;

/// Why a wait ended without what it waited for.
#[derive(Debug)]
pub(crate) enum WaitError<E> {
    TimedOut,
    Interrupted,
    /// The peer is gone, and a last look after its end found nothing.
    Gone,
    /// The peer sent something else than a ring.
    Broken(Fault),
    /// The condition itself failed.
    Failed(E),
    Io(io::Error),
}

/// The waits of one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) budget: Budget,
    pub(crate) interrupt: Option<Interrupt>,
    /// Of a callee or a receiver, which may be sent to at regular times; `None` for others.
    interarrival: Option<Interarrival>,
    /// Looks that [`spin_briefly`](Self::spin_briefly) took of the wait that goes on.
    looked: u32,
}

/// What a wait is for.
#[derive(Clone, Copy)]
pub(crate) struct Awaited<'a> {
    pub(crate) peer: &'a Peer,
    /// The words of what is waited for.
    pub(crate) words: &'a [&'a ParkedWord],
    /// The peer last waited on this processor: while this side spins, it does not run.
    pub(crate) shares_core: bool,
    pub(crate) deadline: Deadline,
}

impl Waiter {
    pub(crate) fn new(mode: PollingMode, factor: u32, interrupt: Option<Interrupt>) -> Self {
        Self { budget: Budget::new(mode, factor), interrupt, interarrival: None, looked: 0 }
    }

    /// The waits of a callee for its requests, and of a receiver for its messages.
    pub(crate) fn for_requests(mode: PollingMode, interrupt: Option<Interrupt>) -> Self {
        Self { interarrival: Some(Interarrival::default()), ..Self::new(mode, 1, interrupt) }
    }

    /// The beginning of a wait that is nearly always short: spins for about a microsecond, looking with `glance` alone.
    /// True when that saw something; otherwise the wait goes on with [`wait`](Self::wait), which also reads the clock and
    /// asks for the peer.
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

    /// Waits until `look` gives something.
    ///
    /// `look` is asked first, often, and last: after the peer's end it is asked once more, so that nothing that was
    /// committed before is lost.
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

    /// Spins for as long as `spin` says; `None` when that is used up.
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
            // An end that was seen before is not looked for again.
            if awaited.peer.was_gone() || now - life_checked >= LIFE_CHECK {
                life_checked = now;
                if let Some(found) = self.check_life(awaited, look)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// What parking would notice by itself, looked for now and then by a waiter that spins for long. The look after the
    /// peer's end may find what it committed before.
    fn check_life<T, E>(
        &self,
        awaited: &Awaited<'_>,
        look: &mut impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, WaitError<E>> {
        if !awaited.peer.was_gone() {
            self.check_interrupt()?;
            // Two pure spinners on one core would otherwise keep it from each other.
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

    /// Learns from a wait that parked, and from its window: how long it spun there, and whether it met the message.
    fn learn(&mut self, waited: u64, window: Option<(u64, bool)>) {
        self.budget.learn(waited);
        let Some(interarrival) = &mut self.interarrival else { return };
        interarrival.learn(waited);
        if let Some((spun, hit)) = window {
            interarrival.note_window(waited, spun, hit);
        }
    }

    /// Sleeps until something is found, with the time of the ring that told of it. `None` when a ring tells of nothing, so
    /// that the words have to be set again, or when the window begins.
    fn sleep_armed<T, E>(
        &self,
        armed: u64,
        window: Option<Window>,
        ticket: Ticket,
        awaited: &Awaited<'_>,
        look: &mut impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Option<(T, Option<u64>)>, WaitError<E>> {
        loop {
            // Read before the look: a look after the second one's time is the second look.
            let now = monotonic_nanos();
            // Asked before the look: nothing the peer committed before an end seen here can escape that look.
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

/// What came of an arming.
#[derive(Debug)]
pub(crate) enum Armed<T> {
    /// The look found this: there is nothing to sleep for.
    Found(T),
    /// Nothing yet. The waiter sleeps, and looks again [`SECOND_LOOK`] after this time at the latest.
    Sleep { since: u64 },
}

/// Asks the peer to ring for what the words stand for, and looks until 5 us have passed: a message that was on its way
/// then is found on time. The one place where a waiter sets its words.
///
/// # Errors
/// Those of `look`.
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
