//! Whether a call is cancelled, for a handler that keeps the thread that serves.

use std::sync::Arc;

use crate::connection::Connection;
use crate::ring::unreleased;
use crate::type_id::{ROUTE_CANCEL, route_id};
use crate::wait::Deadline;

/// Messages that one look reads. A caller with more messages in the ring is heard when some of them are served.
const MOST: usize = 256;

/// Where a request that is being handled came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch<'a>(pub(crate) &'a Arc<Connection>);

impl Watch<'_> {
    /// Whether the answer to `call` is wanted no more: a CANCEL lies behind its request, its caller closed or is gone,
    /// its deadline has passed, or the server stops and the time of what has begun is over. Takes nothing from the
    /// ring. Reads the clock, and asks the system for the caller's life.
    #[cold]
    pub(crate) fn is_cancelled(self, call: u64, deadline: Deadline) -> bool {
        let ring = self.0.ring(0);
        let cancels = |(of, type_id): (u64, u32)| of == call && route_id(type_id) == ROUTE_CANCEL;
        deadline.has_passed()
            || self.0.is_past_stop()
            || !ring.is_open()
            || unreleased(ring).take(MOST).any(cancels)
            || self.0.peer.is_gone()
    }
}
