//! The other process, as far as its socket tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{HUNG_UP, Kernel};

#[derive(Debug)]
pub(crate) struct Peer {
    pub(super) ours: Arc<Kernel>,
    theirs: Arc<Kernel>,
    /// What was noted of it. Not a word of the model: one thread notes and asks.
    gone: AtomicBool,
}

impl Peer {
    pub(crate) fn pair([one, other]: &[Arc<Kernel>; 2]) -> [Self; 2] {
        let end = |ours: &Arc<Kernel>, theirs: &Arc<Kernel>| Self {
            ours: Arc::clone(ours),
            theirs: Arc::clone(theirs),
            gone: AtomicBool::new(false),
        };
        [end(one, other), end(other, one)]
    }

    pub(crate) fn mark_gone(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    pub(crate) fn was_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub(crate) fn is_gone(&self) -> bool {
        if self.ours.look(HUNG_UP) != 0 {
            self.mark_gone();
        }
        self.was_gone()
    }

    /// Shuts the socket down, which both its ends see; and so does the kernel for a process that dies.
    pub(crate) fn hang_up(&self) {
        self.theirs.rouse(HUNG_UP);
        self.ours.rouse(HUNG_UP);
    }
}
