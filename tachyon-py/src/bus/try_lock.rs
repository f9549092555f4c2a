//! Whose turn it is on one direction of a bus.
//!
//! A direction belongs to one thread at a time. Operations [`try_lock`](TryLock::try_lock) it and fail at once when
//! another thread has it; nothing here ever blocks, so neither a second thread nor the garbage collector can deadlock
//! with a thread that waits inside an operation. What cannot be refused (a guard is collected, the bus is closed) is
//! [owed](TryLock::delay): done at once when the direction is free, else by its holder on the way out.
#![allow(unsafe_code, reason = "one thread at a time gets a mutable reference, by a word that says who has it")]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU8, Ordering};

/// Set in the word while somebody has the turn; the other bits say what is owed. They are only ever set with this one.
const HELD: u8 = 1;

/// Something that was asked for while another thread may have had the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DelayedRelease {
    /// Give the received message back.
    Message,
    /// Give the reserved room back unused.
    Reservation,
    /// Close.
    Connection,
}

impl DelayedRelease {
    const ALL: [Self; 3] = [Self::Message, Self::Reservation, Self::Connection];

    const fn bit(self) -> u8 {
        match self {
            Self::Message => 2,
            Self::Reservation => 4,
            Self::Connection => 8,
        }
    }
}

/// What a [`TryLock`] guards.
pub(crate) trait Release: Send {
    /// Does what is owed. Must not fail: there is nobody to tell.
    fn apply(&mut self, release: DelayedRelease);
}

/// A value that one thread at a time may use.
pub(crate) struct TryLock<T> {
    word: AtomicU8,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached through a `Guard`, of which the word admits one at a time; T: Send lets it be used
// on whatever thread that is.
unsafe impl<T: Release> Sync for TryLock<T> {}

impl<T: Release> TryLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { word: AtomicU8::new(0), value: UnsafeCell::new(value) }
    }

    /// The value, unless another thread, or an operation further up this thread's stack, has it.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        // Acquire: pairs with the release in `Guard::drop`, so that the last holder's changes are seen.
        self.word.compare_exchange(0, HELD, Ordering::Acquire, Ordering::Relaxed).ok().map(|_| Guard { lock: self })
    }

    /// Has `release` settled: before this returns when nobody has the turn, else by whoever has it.
    pub(crate) fn delay(&self, release: DelayedRelease) {
        let before = self.word.fetch_or(HELD | release.bit(), Ordering::AcqRel);
        if before & HELD == 0 {
            drop(Guard { lock: self });
        }
    }
}

/// The turn, until dropped.
#[must_use]
pub(crate) struct Guard<'a, T: Release> {
    lock: &'a TryLock<T>,
}

impl<T: Release> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: a `Guard` is only made by whoever turned the HELD bit on, and turns it off on drop, so this is the
        // only one; `&self` keeps `deref_mut` of the same one away.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: Release> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` keeps every other reference of this `Guard` away.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: Release> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the acquire of the next holder.
        while let Err(word) = self.lock.word.compare_exchange(HELD, 0, Ordering::Release, Ordering::Relaxed) {
            self.lock.word.fetch_and(!word | HELD, Ordering::AcqRel);
            for release in DelayedRelease::ALL {
                if word & release.bit() != 0 {
                    self.apply(release);
                }
            }
        }
    }
}
