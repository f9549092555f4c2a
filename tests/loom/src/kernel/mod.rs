//! The kernel of a model: per process a socket that becomes readable, and a sleep until it does; and the model's time.
//!
//! The models do not check the kernel. They trust the promises of POSIX: a message that was sent before a `poll` makes
//! the `poll` return, a message sent during a `poll` ends it, and a system call happens before everything that it
//! wakes.

pub(crate) mod peer;
pub(crate) mod sleep;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicU32 as Bits;
use std::time::Duration;

use loom::sync::Notify;
use loom::sync::atomic::{AtomicU32, Ordering};

/// The socket holds a ring.
const RUNG: u32 = 1;

/// The connection was shut down.
const HUNG_UP: u32 = 2;

/// The fences of a model's wakers, and when a store that no fence follows becomes visible by itself: assumption D of
/// `docs/internals/memory-model.md`.
#[derive(Debug, Clone, Copy)]
pub struct Wakers {
    /// Publications that a waker fences before its first ring.
    pub(crate) fences: u32,
    pub(crate) drain: Drain,
}

/// When the publications that are under way at an arming become visible to the waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drain {
    /// Nothing is assumed.
    Never,
    /// At the look that follows the arming.
    AtTheFirstLook,
    /// When the limit of a sleep passes.
    AtTheSecondLook,
}

/// Every publication of the model has a fence. Nothing is assumed of the others.
pub const FENCED: Wakers = Wakers { fences: 16, drain: Drain::Never };

/// Publications have a fence after a ring only.
pub const UNFENCED: Wakers = Wakers { fences: 0, drain: Drain::AtTheFirstLook };

/// As [`UNFENCED`], and the first look may miss a publication that is under way. Limits of sleeps pass.
pub const SECOND_LOOK: Wakers = Wakers { fences: 0, drain: Drain::AtTheSecondLook };

/// Publications have a fence after a ring only. Nothing is assumed of the others.
pub(crate) const AFTER_A_RING: Wakers = Wakers { fences: 0, drain: Drain::Never };

/// The first publication has a fence, the others have none.
pub(crate) const RUNNING_OUT: Wakers = Wakers { fences: 1, drain: Drain::AtTheFirstLook };

// loom runs all threads of a model on one thread of the system, so this is the model's own.
thread_local! {
    static WAKERS: Cell<Wakers> = const { Cell::new(FENCED) };
}

// One clock for each thread of a model: the time that passes for one thread makes nothing visible to another.
loom::thread_local! {
    static CLOCK: Cell<u64> = Cell::new(1 << 40);
}

/// Comes before a model is explored.
pub(crate) fn set_wakers(wakers: Wakers) {
    WAKERS.set(wakers);
}

/// The clock of a model's thread in nanoseconds. It moves only when the limit of a sleep passes.
pub(crate) fn clock() -> u64 {
    CLOCK.with(Cell::get)
}

/// The limit of a sleep passes.
fn pass(limit: Duration) {
    let limit = u64::try_from(limit.as_nanos()).expect("a short limit");
    CLOCK.with(|clock| clock.set(clock.get() + limit));
}

/// Publications that a new waker fences.
pub(crate) fn fences_at_first() -> u32 {
    WAKERS.get().fences
}

/// Whether an arming waits until the publications under way are visible.
pub(crate) fn drains_at_arming() -> bool {
    WAKERS.get().drain == Drain::AtTheFirstLook
}

/// Whether a sleep ends by its limit. Otherwise time does not pass, and a wake-up that is lost leaves a thread asleep.
fn limits_pass() -> bool {
    WAKERS.get().drain == Drain::AtTheSecondLook
}

/// One process, as far as its end of the socket goes.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// [`RUNG`] and [`HUNG_UP`]. Not a word of the model: system calls read and change it, and their entry orders them.
    readable: Bits,
    /// Signals that end the next sleeps, and rings that the next calls of `ring` cannot send.
    signals: Bits,
    unsendable: Bits,
    /// Each system call enters by a step of this word. A call that makes the socket readable so happens before a call
    /// that finds it readable.
    entry: AtomicU32,
    changed: Notify,
}

impl Kernel {
    pub(crate) fn new() -> Arc<Self> {
        let bits = || Bits::new(0);
        Arc::new(Self {
            readable: bits(),
            signals: bits(),
            unsendable: bits(),
            entry: AtomicU32::new(0),
            changed: Notify::new(),
        })
    }

    /// Makes `bits` readable and wakes the thread that sleeps.
    fn rouse(&self, bits: u32) {
        self.entry.fetch_add(1, Ordering::Release);
        self.readable.fetch_or(bits, Ordering::Relaxed);
        self.changed.notify();
    }

    /// Whether anything is readable.
    fn is_readable(&self) -> bool {
        self.entry.fetch_add(1, Ordering::Acquire);
        self.readable.load(Ordering::Relaxed) != 0
    }

    /// Takes the rings: whether there was one, and whether the connection was shut down.
    fn take(&self) -> (bool, bool) {
        self.entry.fetch_add(1, Ordering::Acquire);
        let found = self.readable.fetch_and(!RUNG, Ordering::Relaxed);
        (found & RUNG != 0, found & HUNG_UP != 0)
    }
}

/// Takes one of a number of events that a model has ordered.
fn take_one(events: &Bits) -> bool {
    let left = events.load(Ordering::Relaxed);
    events.store(left.saturating_sub(1), Ordering::Relaxed);
    left > 0
}
