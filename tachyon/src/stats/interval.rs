//! What happened between two snapshots.

use std::time::Duration;

use super::snapshot::{EndpointStats, Snapshot};

/// The difference of two snapshots of one server, from [`Snapshot::since`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Interval {
    /// Time between the two.
    pub over: Duration,
    /// What each endpoint did meanwhile, in the later snapshot's order.
    pub endpoints: Vec<EndpointStats>,
    /// Requests of each caller of the later snapshot meanwhile: its number and how many.
    pub callers: Vec<(u64, u64)>,
    /// Callers that connected meanwhile.
    pub joined: u64,
    /// Clients turned away meanwhile.
    pub turned_away: u64,
}

impl Interval {
    /// A count of this interval as a rate.
    ///
    /// ```
    /// # fn show(interval: &tachyon::stats::Interval) {
    /// let calls = interval.calls();
    /// println!("{calls} calls, {:.0} per second", interval.per_second(calls));
    /// # }
    /// ```
    #[allow(clippy::cast_precision_loss, reason = "a rate is read by people")]
    pub fn per_second(&self, count: u64) -> f64 {
        if self.over.is_zero() { 0.0 } else { count as f64 / self.over.as_secs_f64() }
    }

    /// All requests, however they ended.
    pub fn calls(&self) -> u64 {
        self.endpoints.iter().map(|line| line.calls).fold(0, u64::saturating_add)
    }

    /// All requests answered with an error.
    pub fn errors(&self) -> u64 {
        self.endpoints.iter().map(|line| line.errors).fold(0, u64::saturating_add)
    }
}

impl Snapshot {
    /// What happened since an earlier snapshot. When that is one of another server, or of this one before it began
    /// anew, everything that the later snapshot shows has happened since.
    pub fn since(&self, earlier: &Self) -> Interval {
        let earlier = (earlier.token == self.token && earlier.pid == self.pid).then_some(earlier);
        // A server does not change its endpoints, so each is at the place where it was; but who knows who wrote this.
        let before = |(at, line): (usize, &EndpointStats)| {
            let same = |other: &&EndpointStats| other.msg_type == line.msg_type && other.name == line.name;
            line.since(earlier.and_then(|earlier| earlier.endpoints.get(at)).filter(same))
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
            turned_away: self.turned_away.saturating_sub(earlier.map_or(0, |earlier| earlier.turned_away)),
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
