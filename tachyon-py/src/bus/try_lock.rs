//! The lock of one direction of a bus: one thread at a time uses a direction.
//!
//! [`try_lock`](TryLock::try_lock) fails at once when another thread holds the lock. No operation here blocks, so
//! neither a second thread nor the garbage collector can deadlock with a thread that waits inside an operation. A
//! release that cannot be refused (a guard is collected, the bus is closed) is [delayed](TryLock::delay): a free lock
//! applies it at once, otherwise the holder applies it when it unlocks.
#![allow(unsafe_code, reason = "one thread at a time gets a mutable reference, by a word that admits one holder")]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU8, Ordering};

/// Set in the word while a thread holds the lock. The other bits are the delayed releases, and are only set with this
/// one.
const HELD: u8 = 1;

/// A release that may come while another thread holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DelayedRelease {
    /// Give the received message back.
    Message,
    /// Give the reservation back unused.
    Reservation,
    /// Cancel the streams that were given up.
    Streams,
    /// Close the connection.
    Connection,
}

impl DelayedRelease {
    const ALL: [Self; 4] = [Self::Message, Self::Reservation, Self::Streams, Self::Connection];

    const fn bit(self) -> u8 {
        match self {
            Self::Message => 2,
            Self::Reservation => 4,
            Self::Streams => 8,
            Self::Connection => 16,
        }
    }
}

/// A value that a [`TryLock`] protects.
pub(crate) trait Release: Send {
    /// Applies a delayed release. It must not fail: no caller is left to report to.
    fn apply(&mut self, release: DelayedRelease);
}

/// A value that one thread at a time may use.
pub(crate) struct TryLock<T> {
    word: AtomicU8,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached through a `Guard`, and the word admits one `Guard` at a time. `T: Send` allows any
// thread to use the value.
unsafe impl<T: Release> Sync for TryLock<T> {}

impl<T: Release> TryLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { word: AtomicU8::new(0), value: UnsafeCell::new(value) }
    }

    /// Locks the value; `None` when another thread, or an operation further up this thread's stack, holds the lock.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        // Acquire: pairs with the release in `Guard::drop`, so that the last holder's changes are seen.
        self.word.compare_exchange(0, HELD, Ordering::Acquire, Ordering::Relaxed).ok().map(|_| Guard { lock: self })
    }

    /// Applies `release` before this returns if the lock is free; otherwise the holder applies it.
    pub(crate) fn delay(&self, release: DelayedRelease) {
        let before = self.word.fetch_or(HELD | release.bit(), Ordering::AcqRel);
        if before & HELD == 0 {
            drop(Guard { lock: self });
        }
    }
}

/// Holds the lock until dropped.
#[must_use]
pub(crate) struct Guard<'a, T: Release> {
    lock: &'a TryLock<T>,
}

impl<T: Release> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: only the thread that set the HELD bit makes a `Guard`, and dropping it clears the bit, so this is the
        // only `Guard`. `&self` excludes `deref_mut` of the same `Guard`.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: Release> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` excludes every other reference of this `Guard`.
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
