//! What a sleeper is woken by, and what it does just before it sleeps.
//!
//! Whoever sleeps, in [`Waiter`](super::Waiter)'s `poll` or in an event loop of somebody else's, does it in this order:
//! [`arm`], one more look, the sleep. Whoever publishes or gives back runs a barrier too and looks at the word then (see
//! the sleep and wake-up discussion in tokio-rs/io-uring's `squeue.rs` for the same pattern). So either that look sees
//! the word, and the bell rings, or the sleeper's last look sees what came.

use super::Doorbell;
use crate::barrier::Barrier;
use crate::sync::{AtomicU32, Ordering};

/// One thing to be woken by: the word that says somebody sleeps, and the bell that rings then.
pub(crate) struct Source<'a> {
    pub(crate) parked: &'a AtomicU32,
    pub(crate) bell: &'a Doorbell,
    /// What stands between the word and the last look.
    pub(crate) barrier: Barrier,
}

impl Source<'_> {
    /// Has the peer ring from now on. A look that finds nothing after this may be followed by sleep.
    pub(crate) fn arm(&self) {
        arm(core::slice::from_ref(self));
    }

    /// Has the peer ring no more: somebody looks.
    pub(crate) fn disarm(&self) {
        self.parked.store(0, Ordering::Relaxed);
    }
}

/// As [`Source::arm`], for several: a look at all of them must follow.
pub(crate) fn arm(sources: &[Source<'_>]) {
    for source in sources {
        source.parked.store(1, Ordering::Relaxed);
    }
    // The words must be visible before the last look: pairs with the barrier between a publication, or a release, and
    // its look at the word.
    barrier_of(sources).before_the_last_look();
}

/// The barrier between setting the parked words of some sources and the last look: the strongest of theirs.
fn barrier_of(sources: &[Source<'_>]) -> Barrier {
    if sources.iter().any(|source| source.barrier == Barrier::System) { Barrier::System } else { Barrier::Fences }
}
