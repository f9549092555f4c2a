//! A caller's line of the server's statistics.

use std::sync::Arc;

use crate::connection::{Rx, Tx};
use crate::engine::CallerInfo;
use crate::stats::{Fill, Publication, Tenant};

/// One caller's line, given back on drop.
#[derive(Debug)]
pub(super) struct Seat {
    publication: Arc<Publication>,
    line: usize,
}

impl Seat {
    /// Takes a line for a caller; `None` when all are taken.
    pub(super) fn take(publication: &Arc<Publication>, caller: &CallerInfo) -> Option<Self> {
        let line = publication.board.seat(Tenant { id: caller.id, pid: caller.pid, uid: caller.uid })?;
        Some(Self { publication: Arc::clone(publication), line })
    }

    /// Notes how many requests were taken.
    #[inline]
    pub(super) fn note_requests(&self, rx: &Rx) {
        self.publication.board.note_requests(self.line, rx.consumer.taken());
    }

    /// Notes how full the two rings are, which touches lines that the caller writes.
    pub(super) fn note_fill(&self, rx: &Rx, tx: &Tx) {
        let slots = rx.ring().geometry().slots();
        let forward = Fill { used: rx.consumer.waiting(), slots };
        let slots = tx.ring().geometry().slots();
        let reverse = Fill { used: tx.producer.in_flight(), slots };
        self.publication.board.note_fill(self.line, forward, reverse);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.publication.board.vacate(self.line);
    }
}
