//! The places of a server: how many callers it has, of which processes, and how many bytes their rings take.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::handshake::{Offer, Process, Rejection};
use crate::ring::Geometry;

/// Most callers and bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) callers: usize,
    /// Of one process.
    pub(super) each_process: usize,
    /// Bytes of the rings of one caller, and of all together.
    pub(super) each: u64,
    pub(super) all: u64,
}

/// The owner of a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taker {
    pub(super) process: Process,
    /// Whether it runs as another user than the server.
    pub(super) foreign: bool,
}

/// The places of one server, taken and free.
#[derive(Debug)]
pub(super) struct Places {
    limits: Limits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    callers: usize,
    foreign: usize,
    bytes: u64,
    processes: HashMap<Process, usize>,
}

/// A caller's place, from its welcome on; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    taker: Taker,
    bytes: u64,
}

impl Places {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a caller that is to be offered rings of the sizes `wished`, or smaller ones where memory is
    /// short, but none smaller than of the sizes `least`.
    ///
    /// # Errors
    /// [`Rejection::Busy`] when there is no place, or no memory for the smallest rings.
    pub(super) fn take(self: &Arc<Self>, taker: Taker, wished: &mut Offer, least: &Offer) -> Result<Place, Rejection> {
        let Limits { callers, each_process, each, all } = self.limits;
        let mut taken = self.taken();
        let of_process = taken.processes.get(&taker.process).copied().unwrap_or(0);
        let most_foreign = (callers / 2).max(1);
        if taken.callers >= callers || of_process >= each_process || (taker.foreign && taken.foreign >= most_foreign) {
            return Err(Rejection::Busy);
        }
        let left = all.saturating_sub(taken.bytes).min(each);
        let Some(bytes) = shrink(&mut wished.geometries, &least.geometries, left) else { return Err(Rejection::Busy) };
        taken.callers += 1;
        taken.foreign += usize::from(taker.foreign);
        taken.bytes += bytes;
        *taken.processes.entry(taker.process).or_default() += 1;
        Ok(Place { places: Arc::clone(self), taker, bytes })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.callers -= 1;
        taken.foreign -= usize::from(self.taker.foreign);
        taken.bytes -= self.bytes;
        if let Some(count) = taken.processes.get_mut(&self.taker.process) {
            *count -= 1;
            if *count == 0 {
                taken.processes.remove(&self.taker.process);
            }
        }
    }
}

/// Halves the largest ring until all take at most `left` bytes, which it gives; `None` if that takes rings smaller than
/// `least`.
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

    fn taker(process: u64, foreign: bool) -> Taker {
        Taker { process: Process::Inode(process), foreign }
    }

    #[test]
    fn a_process_and_other_users_leave_places_to_others() {
        let limits = Limits { callers: 4, each_process: 2, each: u64::MAX, all: u64::MAX };
        let places = Places::new(limits);
        let least = offer([4096; 2]);
        let take = |process, foreign| places.take(taker(process, foreign), &mut least.clone(), &least);
        let first = take(1, false).unwrap();
        let _second = take(1, false).unwrap();
        assert!(matches!(take(1, false), Err(Rejection::Busy)), "a third of one process");
        drop(first);
        let _first = take(1, true).unwrap();
        let foreign = take(2, true).unwrap();
        assert!(matches!(take(3, true), Err(Rejection::Busy)), "more than half of other users");
        let _last = take(3, false).unwrap();
        assert!(matches!(take(4, false), Err(Rejection::Busy)), "a fifth");
        drop(foreign);
        let _foreign = take(4, true).unwrap();
    }

    #[test]
    fn short_memory_makes_rings_smaller_and_then_turns_away() {
        let least = offer([4096; 2]);
        let large = offer([1 << 20, 1 << 16]);
        let all = bytes(&large) + bytes(&offer([1 << 18, 1 << 16])) + bytes(&least);
        let places = Places::new(Limits { callers: 9, each_process: 9, each: bytes(&large), all });
        let take = |wished: &Offer| {
            let mut offered = wished.clone();
            places.take(taker(1, false), &mut offered, &least).map(|place| (place, offered))
        };
        let (first, offered) = take(&large).unwrap();
        assert_eq!(bytes(&offered), bytes(&large));
        let (_second, offered) = take(&large).unwrap();
        assert!(
            offered.geometries[0].capacity() < 1 << 20 && offered.geometries[1].capacity() == 1 << 16,
            "{offered:?}"
        );
        while let Ok((place, _)) = take(&least) {
            core::mem::forget(place);
        }
        assert!(matches!(take(&least), Err(Rejection::Busy)));
        drop(first);
        assert!(bytes(&take(&offer([1 << 24; 2])).unwrap().1) <= bytes(&large), "what each may have");
    }
}
