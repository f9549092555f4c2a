//! The peer process, as this side's socket shows it.

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
    /// The rings of the connection, for the publications in flight.
    rings: Vec<Arc<RingMemory>>,
    /// Whether the peer's end was noticed. A thread that reads true sees everything that the noticing thread saw.
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

    /// Makes the peer's socket readable. Returns false if the ring cannot be sent.
    pub(crate) fn ring(&self) -> bool {
        if take_one(&self.ours.unsendable) {
            return false;
        }
        self.theirs.make_readable(RUNG);
        true
    }

    /// Takes the rings, and notes a hang-up. Returns whether there was a ring.
    pub(crate) fn hear(&self) -> bool {
        let (rang, gone) = self.ours.take();
        if gone {
            self.mark_gone();
        }
        rang
    }

    /// Sleeps until the socket is readable, for at most `limit`. Returns false if a signal or the limit ended the
    /// sleep.
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

    /// Sleeps until the socket is readable, or the clock reaches `at`. Returns false if a signal or the limit ended the
    /// sleep.
    pub(crate) fn poll_until(&self, at: Option<u64>) -> bool {
        self.poll(at.map(|at| Duration::from_nanos(at.saturating_sub(clock()))))
    }

    fn is_publication_in_flight(&self) -> bool {
        self.rings.iter().map(|ring| ring.header()).any(|header| {
            header.consumer_parked.0.is_publication_in_flight() || header.producer_parked.0.is_publication_in_flight()
        })
    }

    /// Makes a signal end the next sleep of this side.
    pub(crate) fn signal(&self) {
        self.ours.signals.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes the next ring of this side fail.
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
        // Leaves rings in the socket.
        if self.ours.is_readable() && self.ours.readable.load(Ordering::Relaxed) & HUNG_UP != 0 {
            self.mark_gone();
        }
        self.was_gone()
    }

    /// Shuts the socket down, which both ends notice. The kernel does the same for a process that dies.
    pub(crate) fn hang_up(&self) {
        self.theirs.make_readable(HUNG_UP);
        self.ours.make_readable(HUNG_UP);
    }
}
