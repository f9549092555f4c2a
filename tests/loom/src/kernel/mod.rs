//! The kernel of a model: for each process a socket, and a sleep until the socket is readable; and the model's clock.
//!
//! The models do not check the kernel. The models assume the guarantees of POSIX: a message that was sent before a
//! `poll` makes the `poll` return, a message sent during a `poll` ends the `poll`, and a system call happens before the
//! return of the calls that it wakes.

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

/// The fences of a model's wakers, and when a store without a fence after it becomes visible: assumption D of
/// `docs/internals/memory-model.md`.
#[derive(Debug, Clone, Copy)]
pub struct Wakers {
    /// Publications that a waker fences before its first ring.
    pub(crate) fences: u32,
    pub(crate) drain: Drain,
}

/// When the publications in flight at an arming become visible to the waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drain {
    /// At no assumed time.
    Never,
    /// At the look after the arming.
    AtTheFirstLook,
    /// When the limit of a sleep passes.
    AtTheSecondLook,
}

/// Every publication of the model has a fence, and no assumption is made.
pub const FENCED: Wakers = Wakers { fences: 16, drain: Drain::Never };

/// Publications have a fence only after a ring.
pub const UNFENCED: Wakers = Wakers { fences: 0, drain: Drain::AtTheFirstLook };

/// Publications have a fence only after a ring, and the first look may miss a publication in flight. Limits of sleeps
/// pass.
pub const SECOND_LOOK: Wakers = Wakers { fences: 0, drain: Drain::AtTheSecondLook };

/// Publications have a fence only after a ring, and no assumption is made of the others.
pub(crate) const AFTER_A_RING: Wakers = Wakers { fences: 0, drain: Drain::Never };

/// The first publication has a fence, the others have none.
pub(crate) const RUNNING_OUT: Wakers = Wakers { fences: 1, drain: Drain::AtTheFirstLook };

// loom runs all threads of a model on one thread of the system, so this value belongs to one model.
thread_local! {
    static WAKERS: Cell<Wakers> = const { Cell::new(FENCED) };
}

// One clock for each thread of a model: a shared clock would make stores of one thread visible to another.
loom::thread_local! {
    static CLOCK: Cell<u64> = Cell::new(1 << 40);
}

/// Sets the wakers of the next model.
pub(crate) fn set_wakers(wakers: Wakers) {
    WAKERS.set(wakers);
}

/// The clock of a model's thread, in nanoseconds. The clock moves only when the limit of a sleep passes.
pub(crate) fn clock() -> u64 {
    CLOCK.with(Cell::get)
}

/// Moves the clock by the limit of a sleep.
fn pass(limit: Duration) {
    let limit = u64::try_from(limit.as_nanos()).expect("a short limit");
    CLOCK.with(|clock| clock.set(clock.get() + limit));
}

/// The number of publications that a new waker fences.
pub(crate) fn fences_at_first() -> u32 {
    WAKERS.get().fences
}

/// Whether an arming waits until the publications in flight are visible.
pub(crate) fn drains_at_arming() -> bool {
    WAKERS.get().drain == Drain::AtTheFirstLook
}

/// Whether the limit of a sleep ends it. If not, time does not pass, and a lost wake-up leaves a thread asleep.
fn limits_pass() -> bool {
    WAKERS.get().drain == Drain::AtTheSecondLook
}

/// One process's end of the socket.
#[derive(Debug)]
pub(crate) struct Kernel {
    /// [`RUNG`] and [`HUNG_UP`]. Not an atomic of loom: only system calls access it, and `entry` orders them.
    readable: Bits,
    /// The number of next sleeps that a signal ends.
    signals: Bits,
    /// The number of next rings that cannot be sent.
    unsendable: Bits,
    /// Each system call changes this word first. A call that makes the socket readable thereby happens before a call
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

    /// Makes `bits` readable, and wakes the sleeping thread.
    fn make_readable(&self, bits: u32) {
        self.entry.fetch_add(1, Ordering::Release);
        self.readable.fetch_or(bits, Ordering::Relaxed);
        self.changed.notify();
    }

    /// Whether the socket is readable.
    fn is_readable(&self) -> bool {
        self.entry.fetch_add(1, Ordering::Acquire);
        self.readable.load(Ordering::Relaxed) != 0
    }

    /// Takes the rings. Returns whether there was a ring, and whether the connection was shut down.
    fn take(&self) -> (bool, bool) {
        self.entry.fetch_add(1, Ordering::Acquire);
        let found = self.readable.fetch_and(!RUNG, Ordering::Relaxed);
        (found & RUNG != 0, found & HUNG_UP != 0)
    }
}

/// Takes one event of a number that a model has set. Returns false if none is left.
fn take_one(events: &Bits) -> bool {
    let left = events.load(Ordering::Relaxed);
    events.store(left.saturating_sub(1), Ordering::Relaxed);
    left > 0
}
