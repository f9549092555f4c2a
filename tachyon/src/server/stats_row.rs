//! A caller's row in the server's statistics.

use std::sync::Arc;

use crate::connection::{Rx, Tx};
use crate::engine::{CalleeCore, CallerInfo};
use crate::stats::{CallerKey, Fill, Publication};

/// The row of one caller. The drop gives it back.
#[derive(Debug)]
pub(super) struct StatsRow {
    publication: Arc<Publication>,
    row: usize,
}

impl StatsRow {
    /// Takes a row for the caller of this core; `None` when no row is free.
    pub(super) fn take<B>(publication: &Arc<Publication>, core: &CalleeCore<B>) -> Option<Self> {
        let CallerInfo { id, pid, uid, .. } = core.info;
        let (forward, reverse) = fill(&core.rx, &core.tx);
        let row = publication.writer.take_row(CallerKey { id, pid, uid }, forward, reverse)?;
        Some(Self { publication: Arc::clone(publication), row })
    }

    #[inline]
    pub(super) fn set_requests(&self, rx: &Rx) {
        self.publication.writer.set_requests(self.row, rx.consumer.taken());
    }

    /// Records how full both rings are. Reads cache lines that the caller writes.
    pub(super) fn set_fill(&self, rx: &Rx, tx: &Tx) {
        let (forward, reverse) = fill(rx, tx);
        self.publication.writer.set_fill(self.row, forward, reverse);
    }
}

/// How full the rings of a connection are: that of requests, and that of replies.
fn fill(rx: &Rx, tx: &Tx) -> (Fill, Fill) {
    let forward = Fill { used: rx.consumer.waiting(), slots: rx.ring().geometry().slots() };
    let reverse = Fill { used: tx.producer.in_flight(), slots: tx.ring().geometry().slots() };
    (forward, reverse)
}

impl Drop for StatsRow {
    fn drop(&mut self) {
        self.publication.writer.free_row(self.row);
    }
}
