//! The one way to wait: spin for a budget, then park.
//!
//! Parking is `poll` on the doorbells waited for, the peer's pidfd and the socket of the handshake. So a message, a
//! close, the peer's death, a deadline and a signal all end the same call. What comes just before it, so that no wake-up
//! is lost, is [`source`]'s.

mod deadline;
#[cfg(not(loom))]
mod doorbell;
mod mode;
#[cfg(not(loom))]
mod peer;
#[cfg(not(loom))]
mod sleep;
mod source;

use std::io;
use std::time::{Duration, Instant};

pub(crate) use deadline::{Deadline, monotonic_nanos};
pub(crate) use doorbell::Doorbell;
pub use mode::PollingMode;
pub(crate) use mode::Spinner;
pub(crate) use peer::Peer;
use sleep::sleep;
pub(crate) use source::{Source, arm};

// The models of `tests/loom` bring their own kernel; everything else here is what they check.
#[cfg(loom)]
use crate::kernel::{doorbell, peer, sleep};

/// Asked at least every 50 ms while a call waits, and after every signal; `true` ends the wait as interrupted.
pub type Interrupt = fn() -> bool;

/// Longest sleep between two questions to an [`Interrupt`].
pub(crate) const INTERRUPT_SLICE: Duration = Duration::from_millis(50);

/// Looks between two glances at the clock while spinning.
pub(crate) const SPINS_PER_CHECK: u32 = 512;

/// Time between two looks for a dead peer while spinning; far below the 100 ms in which death must be noticed.
const LIFE_CHECK: Duration = Duration::from_millis(5);

/// Why a wait ended without what it waited for.
#[derive(Debug)]
pub(crate) enum Stop<E> {
    TimedOut,
    Interrupted,
    /// The peer is gone, and a last look after its end found nothing.
    Gone,
    /// The condition itself failed.
    Failed(E),
    Io(io::Error),
}

/// What governs the waits of one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiter {
    pub(crate) spinner: Spinner,
    pub(crate) interrupt: Option<Interrupt>,
}

impl Waiter {
    pub(crate) fn new(mode: PollingMode, interrupt: Option<Interrupt>) -> Self {
        Self { spinner: Spinner::new(mode), interrupt }
    }

    /// The beginning of a wait that is nearly always short: spins for a while, looking with `glance` alone. True when
    /// that saw something; otherwise the wait goes on with [`wait`](Self::wait), which also looks at clocks and peers.
    #[inline]
    pub(crate) fn glances(&mut self, glance: impl Fn() -> bool) -> bool {
        for _ in 0..self.spinner.first_round() {
            if glance() {
                self.spinner.spun();
                return true;
            }
            core::hint::spin_loop();
        }
        false
    }

    /// Waits until `look` gives something.
    ///
    /// `look` is asked first, often, and last: after the peer's end it is asked once more, so that what was committed
    /// before is not lost.
    #[inline]
    pub(crate) fn wait<T, E>(
        &mut self,
        deadline: Deadline,
        peer: &Peer,
        sources: &[Source<'_>],
        mut look: impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<T, Stop<E>> {
        if let Some(found) = self.spin(deadline, peer, &mut look)? {
            self.spinner.spun();
            return Ok(found);
        }
        self.spinner.parked();
        self.park(deadline, peer, sources, &mut look)
    }

    /// Spins for the budget; `None` when it is used up.
    #[inline]
    fn spin<T, E>(
        &self,
        deadline: Deadline,
        peer: &Peer,
        look: &mut impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, Stop<E>> {
        let budget = self.spinner.budget();
        let mut left = budget.unwrap_or(u32::MAX);
        let mut checked = None;
        while left > 0 {
            let round = left.min(SPINS_PER_CHECK);
            for _ in 0..round {
                if let Some(found) = look().map_err(Stop::Failed)? {
                    return Ok(Some(found));
                }
                core::hint::spin_loop();
            }
            if deadline.has_passed() {
                return Err(Stop::TimedOut);
            }
            if budget.is_some() {
                left -= round;
            }
            if let Some(found) = self.check_life(&mut checked, peer, look)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What parking would notice by itself, looked for now and then by a waiter that spins for long. The look after the
    /// peer's end may find what it committed before.
    fn check_life<T, E>(
        &self,
        checked: &mut Option<Instant>,
        peer: &Peer,
        look: &mut impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, Stop<E>> {
        // An end that was seen before is not looked for again.
        if !peer.was_gone() {
            let now = Instant::now();
            let last = *checked.get_or_insert(now);
            if now.duration_since(last) < LIFE_CHECK {
                return Ok(None);
            }
            *checked = Some(now);
            self.check_interrupt()?;
            // Two pure spinners that were given one core would otherwise keep it from each other.
            std::thread::yield_now();
            if !peer.is_gone() {
                return Ok(None);
            }
        }
        look().map_err(Stop::Failed)?.map_or(Err(Stop::Gone), |found| Ok(Some(found)))
    }

    fn check_interrupt<E>(&self) -> Result<(), Stop<E>> {
        match self.interrupt {
            Some(interrupt) if interrupt() => Err(Stop::Interrupted),
            _ => Ok(()),
        }
    }

    #[cold]
    fn park<T, E>(
        &self,
        deadline: Deadline,
        peer: &Peer,
        sources: &[Source<'_>],
        look: &mut impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<T, Stop<E>> {
        loop {
            arm(sources);
            let found = look();
            let slept = match &found {
                Ok(None) => sleep(deadline, self.interrupt.map(|_| INTERRUPT_SLICE), peer, sources),
                _ => Ok(()),
            };
            sources.iter().for_each(Source::disarm);
            if let Some(found) = found.map_err(Stop::Failed)? {
                return Ok(found);
            }
            slept.map_err(Stop::Io)?;
            // Asked before the look: nothing the peer committed before an end seen here can escape that look.
            let gone = peer.was_gone();
            if let Some(found) = look().map_err(Stop::Failed)? {
                return Ok(found);
            }
            if gone {
                return Err(Stop::Gone);
            }
            if deadline.has_passed() {
                return Err(Stop::TimedOut);
            }
            self.check_interrupt()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::barrier::Barrier;
    use crate::sync::AtomicU32;

    /// A peer, and what keeps it alive.
    fn peer() -> (Peer, OwnedFd) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Peer::new(ours.into(), None, None, 0), theirs.into())
    }

    #[test]
    fn what_came_just_before_the_end_is_found_in_every_mode() {
        for mode in [PollingMode::PureSpin, PollingMode::Spins(u32::MAX), PollingMode::Adaptive, PollingMode::Park] {
            let (peer, theirs) = peer();
            let (bell, _rope) = Doorbell::pair().unwrap();
            let parked = AtomicU32::new(0);
            let mut theirs = Some(theirs);
            let (mut last_words, mut looks) = (None, 0);
            let began = Instant::now();
            let mut waiter = Waiter::new(mode, None);
            let look = || {
                let found = last_words.take();
                looks += 1;
                // This look came too early: the peer commits something and dies before the next one, which is the one
                // that follows the look for its death.
                let spun = looks % SPINS_PER_CHECK == 0 && began.elapsed() > 2 * LIFE_CHECK;
                if spun || matches!(mode, PollingMode::Adaptive | PollingMode::Park) {
                    last_words = theirs.take().map(|_| "last words");
                }
                Ok::<_, ()>(found)
            };
            let sources = [Source { parked: &parked, bell: &bell, barrier: Barrier::Fences }];
            let found = waiter.wait(Deadline::never(), &peer, &sources, look);
            assert_eq!(found.unwrap(), "last words", "{mode:?}");
        }
    }

    #[test]
    fn a_known_end_is_not_spun_for_again() {
        let (peer, theirs) = peer();
        drop(theirs);
        assert!(peer.is_gone());
        let began = Instant::now();
        for _ in 0..2000 {
            let mut waiter = Waiter::new(PollingMode::PureSpin, None);
            let outcome = waiter.wait(Deadline::never(), &peer, &[], || Ok::<Option<()>, ()>(None));
            assert!(matches!(outcome, Err(Stop::Gone)), "{outcome:?}");
        }
        // Each of them would have taken `LIFE_CHECK`, 10 s in all.
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}
