//! The one way to wait: spin for a budget, then park.
//!
//! Parking is `poll` on the doorbells waited for, the peer's pidfd and the socket of the handshake. So a message, a
//! close, the peer's death, a deadline and a signal all end the same call. Before parking a waiter sets its parked
//! word, runs a full fence and looks once more; whoever publishes runs a full fence and then looks at that word (see
//! the sleep and wake-up discussion in tokio-rs/io-uring's `squeue.rs` for the same pattern).

mod deadline;
#[cfg(not(loom))]
mod doorbell;
mod mode;
#[cfg(not(loom))]
mod peer;
#[cfg(not(loom))]
mod sleep;

use std::io;
use std::time::{Duration, Instant};

pub(crate) use deadline::{Deadline, monotonic_nanos};
pub(crate) use doorbell::Doorbell;
pub use mode::PollingMode;
pub(crate) use mode::Spinner;
pub(crate) use peer::Peer;
use sleep::sleep;

// The models of `tests/loom` bring their own kernel; everything else here is what they check.
#[cfg(loom)]
use crate::kernel::{doorbell, peer, sleep};
use crate::sync::{AtomicU32, Ordering, fence};

/// Asked at least every 50 ms while a call waits, and after every signal; `true` ends the wait as interrupted.
pub type Interrupt = fn() -> bool;

/// Longest sleep between two questions to an [`Interrupt`].
pub(crate) const INTERRUPT_SLICE: Duration = Duration::from_millis(50);

/// Looks between two glances at the clock while spinning.
const SPINS_PER_CHECK: u32 = 512;

/// Time between two looks for a dead peer while spinning; far below the 100 ms in which death must be noticed.
const LIFE_CHECK: Duration = Duration::from_millis(5);

/// One thing to be woken by: the word that says we are parked, and the bell that rings then.
pub(crate) struct Source<'a> {
    pub(crate) parked: &'a AtomicU32,
    pub(crate) bell: &'a Doorbell,
}

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
            self.check_life(&mut checked, peer, look)?;
        }
        Ok(None)
    }

    /// What parking would notice by itself, looked for now and then by a waiter that spins for long.
    fn check_life<T, E>(
        &self,
        checked: &mut Option<Instant>,
        peer: &Peer,
        look: &mut impl FnMut() -> Result<Option<T>, E>,
    ) -> Result<(), Stop<E>> {
        let now = Instant::now();
        let last = *checked.get_or_insert(now);
        if now.duration_since(last) < LIFE_CHECK {
            return Ok(());
        }
        *checked = Some(now);
        self.check_interrupt()?;
        // Two pure spinners that were given one core would otherwise keep it from each other.
        std::thread::yield_now();
        if peer.is_gone() && look().map_err(Stop::Failed)?.is_none() {
            return Err(Stop::Gone);
        }
        Ok(())
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
            for source in sources {
                source.parked.store(1, Ordering::Relaxed);
            }
            // The parked words must be visible before the last look: pairs with the fence between a publication and
            // its look at the word.
            fence(Ordering::SeqCst);
            let found = look();
            let slept = match &found {
                Ok(None) => sleep(deadline, self.interrupt.map(|_| INTERRUPT_SLICE), peer, sources),
                _ => Ok(()),
            };
            for source in sources {
                source.parked.store(0, Ordering::Relaxed);
            }
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
