//! Who runs the barrier between what was published and the look for somebody who is parked.
//!
//! A waker writes a message and then reads the parked word; a waiter writes that word and then reads the ring. Neither
//! may read before its own write is visible, which takes a full barrier on both sides, and the waker's would run with
//! every message. Linux lets the waiter, who is about to sleep anyway, have one run on every core where a process that
//! asked for it is running: `membarrier`, with `MEMBARRIER_CMD_GLOBAL_EXPEDITED` (membarrier(2), whose example is two
//! sides of which one is rare). The waker then only keeps the compiler from moving its read.
//! `docs/decisions/0017-the-system-runs-the-barrier.md` has what that buys, `docs/memory-model.md` the argument.

#[cfg(not(loom))]
use core::sync::atomic::compiler_fence;
#[cfg(not(loom))]
use std::time::Duration;

#[cfg(not(loom))]
use rustix::thread::{MembarrierCommand, membarrier};

use crate::sync::{Ordering, fence};

/// What a connection's two sides have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Barrier {
    /// Both sides run a fence of their own.
    #[default]
    Fences,
    /// Wakers run none: whoever is about to park has the system run one for them.
    System,
}

/// A sleep in which whatever a core has stored becomes visible.
#[cfg(not(loom))]
const LONG_ENOUGH: Duration = Duration::from_millis(1);

impl Barrier {
    /// What two sides do, of which each has told whether the system runs barriers on it.
    pub(crate) fn agreed(ours: bool, theirs: bool) -> Self {
        if ours && theirs { Self::System } else { Self::Fences }
    }

    /// On the waker's side, after it has published or released and before it reads the parked word.
    #[inline]
    pub(crate) fn before_looking_for_sleepers(self) {
        match self {
            Self::Fences => fence(Ordering::SeqCst),
            #[cfg(not(loom))]
            Self::System => compiler_fence(Ordering::SeqCst),
            // What the system does to the core that this runs on.
            #[cfg(loom)]
            Self::System => fence(Ordering::SeqCst),
        }
    }

    /// On the waiter's side, after it has set the parked word and before it looks at the ring for the last time.
    pub(crate) fn before_the_last_look(self) {
        fence(Ordering::SeqCst);
        if self == Self::System {
            on_every_core();
        }
    }
}

/// Has every core that runs a registered process run a full barrier.
#[cfg(not(loom))]
#[cold]
fn on_every_core() {
    // It was there when the connection was made. A process may have given it up since, by a filter of system calls; its
    // peer publishes without fences all the same, so that all there is left to do is to wait.
    if membarrier(MembarrierCommand::GlobalExpedited).is_err() {
        std::thread::sleep(LONG_ENOUGH);
    }
}

/// The waker's fence stands for the system's.
#[cfg(loom)]
fn on_every_core() {}

/// Registers this process with the system, as often as one likes; false if the system will not, or cannot run barriers
/// for us.
///
/// The first time takes the system some milliseconds in a process with several threads. It holds until the process
/// calls `exec`.
#[cfg(not(loom))]
pub(crate) fn register() -> bool {
    membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
        && membarrier(MembarrierCommand::GlobalExpedited).is_ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn both_sides_must_be_registered() {
        assert_eq!(Barrier::agreed(true, true), Barrier::System);
        for (ours, theirs) in [(true, false), (false, true), (false, false)] {
            assert_eq!(Barrier::agreed(ours, theirs), Barrier::Fences);
        }
    }

    #[test]
    fn registering_twice_is_registering() {
        assert_eq!(register(), register());
    }
}
