//! The quota of a server: callers in all and per process, and bytes of their rings.

use std::collections::HashMap;
use std::sync::Arc;

use crate::connection::ProcessMutex;
use crate::handshake::{Offer, Process, Rejection};
use crate::ring::Geometry;

/// The limits of a quota.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) callers: usize,
    /// Callers of one process.
    pub(super) each_process: usize,
    /// Bytes of the rings of one caller, and of all callers.
    pub(super) each: u64,
    pub(super) all: u64,
}

/// The owner of a grant.
#[derive(Debug, Clone, Copy)]
pub(super) struct QuotaOwner {
    pub(super) process: Process,
    /// Whether the process runs as another user than the server.
    pub(super) foreign: bool,
}

/// The limits of one server, and how much of them is used.
#[derive(Debug)]
pub(super) struct CallerQuota {
    limits: Limits,
    used: ProcessMutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    callers: usize,
    foreign: usize,
    bytes: u64,
    processes: HashMap<Process, usize>,
}

/// A caller's share of the quota, from its welcome on. The drop gives it back.
#[derive(Debug)]
pub(crate) struct QuotaGrant {
    quota: Arc<CallerQuota>,
    owner: QuotaOwner,
    bytes: u64,
}

impl CallerQuota {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, used: ProcessMutex::default() })
    }

    /// Grants a caller rings of the sizes `wished`. Where the quota is short, shrinks `wished`, but no ring below its
    /// size in `least`.
    ///
    /// # Errors
    /// [`Rejection::Busy`] when the quota has no caller left, or too few bytes for the smallest rings.
    pub(super) fn grant(
        self: &Arc<Self>,
        owner: QuotaOwner,
        wished: &mut Offer,
        least: &Offer,
    ) -> Result<QuotaGrant, Rejection> {
        let Limits { callers, each_process, each, all } = self.limits;
        let Some(mut used) = self.used.lock() else { return Err(Rejection::Busy) };
        let of_process = used.processes.get(&owner.process).copied().unwrap_or(0);
        let most_foreign = (callers / 2).max(1);
        if used.callers >= callers || of_process >= each_process || (owner.foreign && used.foreign >= most_foreign) {
            return Err(Rejection::Busy);
        }
        let left = all.saturating_sub(used.bytes).min(each);
        let Some(bytes) = shrink(&mut wished.geometries, &least.geometries, left) else { return Err(Rejection::Busy) };
        used.callers += 1;
        used.foreign += usize::from(owner.foreign);
        used.bytes += bytes;
        *used.processes.entry(owner.process).or_default() += 1;
        Ok(QuotaGrant { quota: Arc::clone(self), owner, bytes })
    }
}

impl Drop for QuotaGrant {
    fn drop(&mut self) {
        let Some(mut used) = self.quota.used.lock() else { return };
        used.callers -= 1;
        used.foreign -= usize::from(self.owner.foreign);
        used.bytes -= self.bytes;
        if let Some(count) = used.processes.get_mut(&self.owner.process) {
            *count -= 1;
            if *count == 0 {
                used.processes.remove(&self.owner.process);
            }
        }
    }
}

/// Halves the largest ring until all rings fit `left` bytes, and returns their bytes; `None` if a ring would become
/// smaller than in `least`.
fn shrink(wished: &mut [Geometry], least: &[Geometry], left: u64) -> Option<u64> {
    loop {
        let bytes = wished.iter().map(|geometry| geometry.segment_len() as u64).sum();
        if bytes <= left {
            return Some(bytes);
        }
        let halves = wished.iter_mut().zip(least).filter(|(ring, least)| ring.capacity() > least.capacity());
        let (largest, _) = halves.max_by_key(|(ring, _)| ring.capacity())?;
        *largest = largest.halved()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{Kind, Role};
    use crate::ring::Use;

    fn offer(capacities: [usize; 2]) -> Offer {
        let geometry = |capacity| Geometry::new(capacity, Use::Calls).unwrap();
        Offer { kind: Kind::Rpc, role: Role::Sink, geometries: capacities.map(geometry).to_vec() }
    }

    fn bytes(offer: &Offer) -> u64 {
        offer.geometries.iter().map(|geometry| geometry.segment_len() as u64).sum()
    }

    fn owner(process: u64, foreign: bool) -> QuotaOwner {
        QuotaOwner { process: Process::Inode(process), foreign }
    }

    #[test]
    fn a_process_and_other_users_cannot_use_the_whole_quota() {
        let limits = Limits { callers: 4, each_process: 2, each: u64::MAX, all: u64::MAX };
        let quota = CallerQuota::new(limits);
        let least = offer([4096; 2]);
        let grant = |process, foreign| quota.grant(owner(process, foreign), &mut least.clone(), &least);
        let first = grant(1, false).unwrap();
        let _second = grant(1, false).unwrap();
        assert!(matches!(grant(1, false), Err(Rejection::Busy)), "a third of one process");
        drop(first);
        let _first = grant(1, true).unwrap();
        let foreign = grant(2, true).unwrap();
        assert!(matches!(grant(3, true), Err(Rejection::Busy)), "more than half of other users");
        let _last = grant(3, false).unwrap();
        assert!(matches!(grant(4, false), Err(Rejection::Busy)), "a fifth");
        drop(foreign);
        let _foreign = grant(4, true).unwrap();
    }

    #[test]
    fn short_memory_makes_rings_smaller_and_then_rejects() {
        let least = offer([4096; 2]);
        let large = offer([1 << 20, 1 << 16]);
        let all = bytes(&large) + bytes(&offer([1 << 18, 1 << 16])) + bytes(&least);
        let quota = CallerQuota::new(Limits { callers: 9, each_process: 9, each: bytes(&large), all });
        let grant = |wished: &Offer| {
            let mut offered = wished.clone();
            quota.grant(owner(1, false), &mut offered, &least).map(|grant| (grant, offered))
        };
        let (first, offered) = grant(&large).unwrap();
        assert_eq!(bytes(&offered), bytes(&large));
        let (_second, offered) = grant(&large).unwrap();
        assert!(
            offered.geometries[0].capacity() < 1 << 20 && offered.geometries[1].capacity() == 1 << 16,
            "{offered:?}"
        );
        while let Ok((kept, _)) = grant(&least) {
            core::mem::forget(kept);
        }
        assert!(matches!(grant(&least), Err(Rejection::Busy)));
        drop(first);
        assert!(bytes(&grant(&offer([1 << 24; 2])).unwrap().1) <= bytes(&large), "what each may have");
    }
}
