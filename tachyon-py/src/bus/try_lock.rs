//! Whose turn it is on one direction of a bus.
//!
//! A direction belongs to one thread at a time. Operations [`try_take`](Turn::try_take) it and fail at once when
//! another thread has it; nothing here ever blocks, so neither a second thread nor the garbage collector can deadlock
//! with a thread that waits inside an operation. What cannot be refused (a guard is collected, the bus is closed) is
//! [owed](Turn::owe): done at once when the direction is free, else by its holder on the way out.
#![allow(unsafe_code, reason = "one thread at a time gets a mutable reference, by a word that says who has it")]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU8, Ordering};

/// Set in the word while somebody has the turn; the other bits say what is owed. They are only ever set with this one.
const HELD: u8 = 1;

/// Something that was asked for while another thread may have had the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Debt {
    /// Give the received message back.
    Release,
    /// Give the reserved room back unused.
    RollBack,
    /// Close.
    Close,
}

impl Debt {
    const ALL: [Self; 3] = [Self::Release, Self::RollBack, Self::Close];

    const fn bit(self) -> u8 {
        match self {
            Self::Release => 2,
            Self::RollBack => 4,
            Self::Close => 8,
        }
    }
}

/// What a [`Turn`] guards.
pub(crate) trait Settle: Send {
    /// Does what is owed. Must not fail: there is nobody to tell.
    fn settle(&mut self, debt: Debt);
}

/// A value that one thread at a time may use.
pub(crate) struct Turn<T> {
    word: AtomicU8,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reached through a `Held`, of which the word admits one at a time; T: Send lets it be used
// on whatever thread that is.
unsafe impl<T: Settle> Sync for Turn<T> {}

impl<T: Settle> Turn<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { word: AtomicU8::new(0), value: UnsafeCell::new(value) }
    }

    /// The value, unless another thread, or an operation further up this thread's stack, has it.
    #[inline]
    pub(crate) fn try_take(&self) -> Option<Held<'_, T>> {
        // Acquire: pairs with the release in `Held::drop`, so that the last holder's changes are seen.
        self.word.compare_exchange(0, HELD, Ordering::Acquire, Ordering::Relaxed).ok().map(|_| Held { turn: self })
    }

    /// Has `debt` settled: before this returns when nobody has the turn, else by whoever has it.
    pub(crate) fn owe(&self, debt: Debt) {
        let before = self.word.fetch_or(HELD | debt.bit(), Ordering::AcqRel);
        if before & HELD == 0 {
            drop(Held { turn: self });
        }
    }
}

/// The turn, until dropped.
#[must_use]
pub(crate) struct Held<'a, T: Settle> {
    turn: &'a Turn<T>,
}

impl<T: Settle> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: a `Held` is only made by whoever turned the HELD bit on, and turns it off on drop, so this is the
        // only one; `&self` keeps `deref_mut` of the same one away.
        unsafe { &*self.turn.value.get() }
    }
}

impl<T: Settle> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`; `&mut self` keeps every other reference of this `Held` away.
        unsafe { &mut *self.turn.value.get() }
    }
}

impl<T: Settle> Drop for Held<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // Release: pairs with the acquire of the next holder.
        while let Err(word) = self.turn.word.compare_exchange(HELD, 0, Ordering::Release, Ordering::Relaxed) {
            self.turn.word.fetch_and(!word | HELD, Ordering::AcqRel);
            for debt in Debt::ALL {
                if word & debt.bit() != 0 {
                    self.settle(debt);
                }
            }
        }
    }
}
