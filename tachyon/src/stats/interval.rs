//! The difference of two snapshots.

use std::time::Duration;

use super::snapshot::{EndpointStats, Snapshot};

/// The difference of two snapshots of one server, from [`Snapshot::since`]. Counts are those of the time between them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Interval {
    /// Time between the two snapshots.
    pub over: Duration,
    /// A row per endpoint, in the order of the later snapshot.
    pub endpoints: Vec<EndpointStats>,
    /// The number of each caller of the later snapshot, and how many requests it made.
    pub callers: Vec<(u64, u64)>,
    /// Callers that connected.
    pub joined: u64,
    /// Clients that the server rejected.
    pub rejected: u64,
}

impl Interval {
    /// A count of this interval per second; 0 if no time has passed.
    ///
    /// ```
    /// # fn show(interval: &tachyon::stats::Interval) {
    /// let calls = interval.calls();
    /// println!("{calls} calls, {:.0} per second", interval.per_second(calls));
    /// # }
    /// ```
    #[allow(clippy::cast_precision_loss, reason = "a rate is approximate")]
    pub fn per_second(&self, count: u64) -> f64 {
        if self.over.is_zero() { 0.0 } else { count as f64 / self.over.as_secs_f64() }
    }

    /// Requests of all endpoints, with and without a reply.
    pub fn calls(&self) -> u64 {
        self.endpoints.iter().map(|row| row.calls).fold(0, u64::saturating_add)
    }

    /// Error replies of all endpoints.
    pub fn errors(&self) -> u64 {
        self.endpoints.iter().map(|row| row.errors).fold(0, u64::saturating_add)
    }
}

impl Snapshot {
    /// The difference to an earlier snapshot. If the earlier snapshot is of another server, or of an earlier run of
    /// this server, all counts of this snapshot are in the difference.
    pub fn since(&self, earlier: &Self) -> Interval {
        let earlier = (earlier.token == self.token && earlier.pid == self.pid).then_some(earlier);
        // A server does not change its endpoints, so each keeps its index. Checked, since a hostile server may lie.
        let before = |(at, row): (usize, &EndpointStats)| {
            let same = |other: &&EndpointStats| other.msg_type == row.msg_type && other.name == row.name;
            row.since(earlier.and_then(|earlier| earlier.endpoints.get(at)).filter(same))
        };
        let requests_before = |id: u64| {
            let callers = earlier.map_or(&[][..], |earlier| &earlier.callers);
            callers.binary_search_by_key(&id, |caller| caller.id).map_or(0, |at| callers[at].requests)
        };
        Interval {
            over: self.uptime.saturating_sub(earlier.map_or(Duration::ZERO, |earlier| earlier.uptime)),
            endpoints: self.endpoints.iter().enumerate().map(before).collect(),
            callers: self
                .callers
                .iter()
                .map(|caller| (caller.id, caller.requests.saturating_sub(requests_before(caller.id))))
                .collect(),
            joined: self.callers_ever.saturating_sub(earlier.map_or(0, |earlier| earlier.callers_ever)),
            rejected: self.rejected.saturating_sub(earlier.map_or(0, |earlier| earlier.rejected)),
        }
    }
}

impl EndpointStats {
    fn since(&self, earlier: Option<&Self>) -> Self {
        let Some(earlier) = earlier else { return self.clone() };
        let kinds_before = |kind| earlier.errors_by_kind.iter().find(|(known, _)| *known == kind);
        Self {
            msg_type: self.msg_type,
            name: self.name.clone(),
            calls: self.calls.saturating_sub(earlier.calls),
            errors: self.errors.saturating_sub(earlier.errors),
            errors_by_kind: self
                .errors_by_kind
                .iter()
                .map(|(kind, count)| {
                    (*kind, count.saturating_sub(kinds_before(*kind).map_or(0, |(_, before)| *before)))
                })
                .filter(|(_, count)| *count > 0)
                .collect(),
            callers_gone: self.callers_gone.saturating_sub(earlier.callers_gone),
            request_bytes: self.request_bytes.saturating_sub(earlier.request_bytes),
            reply_bytes: self.reply_bytes.saturating_sub(earlier.reply_bytes),
            busy: self.busy.saturating_sub(earlier.busy),
            buckets: self
                .buckets
                .iter()
                .zip(&earlier.buckets)
                .map(|(later, before)| later.saturating_sub(*before))
                .collect(),
        }
    }
}
