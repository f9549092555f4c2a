//! A caller's line of the server's statistics.

use std::sync::Arc;

use crate::bus::{Incoming, Outgoing};
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
    pub(super) fn note_requests(&self, incoming: &Incoming) {
        self.publication.board.note_requests(self.line, incoming.consumer.taken());
    }

    /// Notes how full the two rings are, which touches lines that the caller writes.
    pub(super) fn note_fill(&self, incoming: &Incoming, outgoing: &Outgoing) {
        let slots = incoming.ring().geometry().slots();
        let forward = Fill { used: incoming.consumer.waiting(), slots };
        let slots = outgoing.ring().geometry().slots();
        let reverse = Fill { used: outgoing.producer.under_way(), slots };
        self.publication.board.note_fill(self.line, forward, reverse);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.publication.board.vacate(self.line);
    }
}
