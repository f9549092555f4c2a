//! The parked words: a waiter sets one to be rung, and the peer looks at the word after each publication.
//!
//! ```text
//! waiter                                         waker
//!   parked := 1                                    sequence, or released, := ..  (release)
//!   fence                                          fences > 0: fence, fences -= 1; else: a fence for the compiler
//!   look until 5 us have passed since the fence    parked is not 0: swap in 0; it was not 0: ring, fences := 64
//!   sleep, at most until 10 ms after the arming
//!   look; then sleep for as long as it takes
//! ```
//!
//! A waiter that parks often is rung often, so its waker fences: Dekker's pattern with a fence on both sides. Only the
//! first park after 64 publications without a ring message meets a waker without fences. That waker's store has retired
//! before the waker looks at the word, and a retired store becomes visible in time: the second look, 10 ms after the
//! arming, finds the message. `docs/internals/memory-model.md` has the proof and its one assumption,
//! `docs/decisions/0019-waiting.md` the measurements. The io-uring crate (`squeue.rs`) uses the same pattern with a
//! fence at every submission.

#[cfg(not(loom))]
use core::sync::atomic::compiler_fence;

use crate::sync::{AtomicU32, Ordering, fence};

/// Publications that a waker fences after each ring message.
#[cfg(not(loom))]
const FENCES: u32 = 64;
#[cfg(loom)]
const FENCES: u32 = 4;

/// A word of the segment; not 0 while the waiter asks to be rung.
#[repr(C)]
pub(crate) struct ParkedWord {
    set: AtomicU32,
    /// Unfenced publications that have begun and not ended. The count stands for time, which a model does not have: the
    /// look after an arming, or the second look, comes when the count is 0.
    #[cfg(loom)]
    in_flight: loom::sync::atomic::AtomicUsize,
}

impl ParkedWord {
    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self { set: AtomicU32::new(0), in_flight: loom::sync::atomic::AtomicUsize::new(0) }
    }

    /// Whether an unfenced publication is in flight. A publication that begins after the answer no sees the present
    /// word.
    #[cfg(loom)]
    pub(crate) fn is_publication_in_flight(&self) -> bool {
        self.in_flight.fetch_add(0, Ordering::AcqRel) != 0
    }

    /// Asks the peer not to ring any more.
    pub(crate) fn clear(&self) {
        self.set.store(0, Ordering::Relaxed);
    }

    /// Asks the peer to ring: when a waiter arms, and again when a ring message could not be sent.
    pub(crate) fn set(&self) {
        self.set.store(1, Ordering::Relaxed);
    }

    /// Whether the peer has not rung since the last [`set`](Self::set).
    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Relaxed) != 0
    }

    /// Writes any value, as a hostile peer can.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn write(&self, value: u32) {
        self.set.store(value, Ordering::Relaxed);
    }
}

/// Asks the peer to ring for each of the words. The caller then looks for all that the words stand for, sleeps, and
/// looks again after at most 10 ms.
pub(crate) fn arm(words: &[&ParkedWord]) {
    for word in words {
        word.set();
    }
    // The stores to the words come before the following looks: pairs with the fence, or the compiler fence, of
    // `Waker::needs_ring`.
    fence(Ordering::SeqCst);
    #[cfg(loom)]
    while crate::kernel::drains_at_arming() && words.iter().any(|word| word.is_publication_in_flight()) {
        loom::thread::yield_now();
    }
}

/// The waking half of one direction, private to the end that publishes. A release of room is a publication, too.
#[derive(Debug)]
pub(crate) struct Waker {
    /// Publications left to fence.
    fences: u32,
}

impl Waker {
    pub(crate) fn new() -> Self {
        #[cfg(not(loom))]
        let fences = FENCES;
        #[cfg(loom)]
        let fences = crate::kernel::fences_at_first();
        Self { fences }
    }

    /// Precedes a publication. Does nothing outside of models.
    #[inline]
    #[allow(clippy::unused_self, reason = "models look at the fences")]
    pub(super) fn begin(&self, word: &ParkedWord) {
        #[cfg(loom)]
        if self.fences == 0 {
            word.in_flight.fetch_add(1, Ordering::Acquire);
        }
        let _ = word;
    }

    /// Follows a publication: whether the waiter is parked and must be rung. True at most once per arming.
    #[inline]
    pub(super) fn needs_ring(&mut self, word: &ParkedWord) -> bool {
        let fenced = self.fences > 0;
        if fenced {
            self.fences -= 1;
            // The publication must be visible before the look at the word: pairs with the fence of `arm`.
            fence(Ordering::SeqCst);
        } else {
            #[cfg(not(loom))]
            compiler_fence(Ordering::SeqCst);
        }
        let parked = word.set.load(Ordering::Relaxed) != 0 && word.set.swap(0, Ordering::Relaxed) != 0;
        #[cfg(loom)]
        if !fenced {
            word.in_flight.fetch_sub(1, Ordering::Release);
        }
        if parked {
            self.fences = FENCES;
        }
        parked
    }
}
