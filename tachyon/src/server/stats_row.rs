//! A caller's row in the server's statistics.

use std::sync::Arc;

use crate::connection::{Rx, Tx};
use crate::engine::CallerInfo;
use crate::stats::{CallerKey, Fill, Publication};

/// The row of one caller. The drop gives it back.
#[derive(Debug)]
pub(super) struct StatsRow {
    publication: Arc<Publication>,
    row: usize,
}

impl StatsRow {
    /// Takes a row for a caller; `None` when no row is free.
    pub(super) fn take(publication: &Arc<Publication>, caller: &CallerInfo) -> Option<Self> {
        let row = publication.writer.take_row(CallerKey { id: caller.id, pid: caller.pid, uid: caller.uid })?;
        Some(Self { publication: Arc::clone(publication), row })
    }

    #[inline]
    pub(super) fn set_requests(&self, rx: &Rx) {
        self.publication.writer.set_requests(self.row, rx.consumer.taken());
    }

    /// Records how full both rings are. Reads cache lines that the caller writes.
    pub(super) fn set_fill(&self, rx: &Rx, tx: &Tx) {
        let slots = rx.ring().geometry().slots();
        let forward = Fill { used: rx.consumer.waiting(), slots };
        let slots = tx.ring().geometry().slots();
        let reverse = Fill { used: tx.producer.in_flight(), slots };
        self.publication.writer.set_fill(self.row, forward, reverse);
    }
}

impl Drop for StatsRow {
    fn drop(&mut self) {
        self.publication.writer.free_row(self.row);
    }
}
