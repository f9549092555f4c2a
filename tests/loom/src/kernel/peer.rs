//! The other process, as far as the socket tells.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::{HUNG_UP, Kernel, RUNG, clock, limits_pass, pass, take_one};
use crate::ring::RingMemory;
use crate::wait::Sleepers;

#[derive(Debug)]
pub(crate) struct Peer {
    ours: Arc<Kernel>,
    theirs: Arc<Kernel>,
    /// The rings of the connection, whose words tell which publications are under way.
    rings: Vec<Arc<RingMemory>>,
    /// The peer's end was seen. A thread that reads so here sees what the thread that noted it saw.
    gone: AtomicBool,
    pub(crate) sleepers: Sleepers,
}

impl Peer {
    pub(crate) fn pair(rings: &[Arc<RingMemory>]) -> [Self; 2] {
        let [one, other] = [Kernel::new(), Kernel::new()];
        let end = |ours: &Arc<Kernel>, theirs: &Arc<Kernel>| Self {
            ours: Arc::clone(ours),
            theirs: Arc::clone(theirs),
            rings: rings.to_vec(),
            gone: AtomicBool::new(false),
            sleepers: Sleepers::default(),
        };
        [end(&one, &other), end(&other, &one)]
    }

    /// Makes the peer's socket readable; false when that could not be.
    pub(crate) fn ring(&self) -> bool {
        if take_one(&self.ours.unsendable) {
            return false;
        }
        self.theirs.rouse(RUNG);
        true
    }

    /// Takes the rings that came, and notes a hang-up; true when there was a ring.
    pub(crate) fn hear(&self) -> bool {
        let (rang, gone) = self.ours.take();
        if gone {
            self.mark_gone();
        }
        rang
    }

    /// As `poll`, for at most `limit`: false when a signal or the limit ended it.
    pub(crate) fn poll(&self, limit: Option<Duration>) -> bool {
        loop {
            if self.ours.is_readable() {
                return true;
            }
            if take_one(&self.ours.signals) {
                return false;
            }
            match limit {
                Some(limit) if limits_pass() => {
                    if !self.is_publication_in_flight() {
                        pass(limit);
                        return false;
                    }
                    thread::yield_now();
                }
                _ => self.ours.changed.wait(),
            }
        }
    }

    /// As [`poll`](Self::poll), until the clock shows `at`.
    pub(crate) fn poll_until(&self, at: Option<u64>) -> bool {
        self.poll(at.map(|at| Duration::from_nanos(at.saturating_sub(clock()))))
    }

    fn is_publication_in_flight(&self) -> bool {
        self.rings.iter().map(|ring| ring.header()).any(|header| {
            header.consumer_parked.0.is_publication_in_flight() || header.producer_parked.0.is_publication_in_flight()
        })
    }

    /// The next sleep of this side that would wait ends by a signal.
    pub(crate) fn signal(&self) {
        self.ours.signals.fetch_add(1, Ordering::Relaxed);
    }

    /// The next ring of this side cannot be sent.
    pub(crate) fn refuse_a_ring(&self) {
        self.ours.unsendable.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn mark_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    pub(crate) fn was_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(crate) fn is_gone(&self) -> bool {
        // A look that takes nothing.
        if self.ours.is_readable() && self.ours.readable.load(Ordering::Relaxed) & HUNG_UP != 0 {
            self.mark_gone();
        }
        self.was_gone()
    }

    /// Shuts the socket down, which both its ends see; the kernel does the same for a process that dies.
    pub(crate) fn hang_up(&self) {
        self.theirs.rouse(HUNG_UP);
        self.ours.rouse(HUNG_UP);
    }
}
