//! How much memory a ring takes and where its parts lie, computed from its capacity alone.

use thiserror::Error;

use super::layout::{HEADER_LEN, SLOT_LEN};

/// The largest capacity of one direction, in bytes: 2 GiB.
pub const MAX_CAPACITY: usize = 1 << 31;

/// Fewest slots a ring has, however small its arena, so that short messages still pipeline. A model has two, so that it
/// gets to the ring's end and round it.
const MIN_SLOTS: usize = if cfg!(loom) { 2 } else { 64 };

/// A capacity that no ring can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "capacity must be a power of two from 1 to {MAX_CAPACITY} bytes, got {0}; \
     round it up with `usize::next_power_of_two`"
)]
pub struct CapacityError(pub usize);

/// The shape of one ring. Two sides that agree on the capacity agree on everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    capacity: usize,
}

impl Geometry {
    /// Checks `capacity` (bytes of payload the ring holds).
    pub(crate) const fn new(capacity: usize) -> Result<Self, CapacityError> {
        if capacity.is_power_of_two() && capacity <= MAX_CAPACITY {
            Ok(Self { capacity })
        } else {
            Err(CapacityError(capacity))
        }
    }

    /// Bytes of payload the ring holds, which is also its largest message.
    #[inline]
    pub(crate) const fn capacity(self) -> usize {
        self.capacity
    }

    /// The power of two that the capacity is.
    pub(crate) const fn exponent(self) -> u8 {
        let mut exponent = 0;
        while self.capacity >> exponent > 1 {
            exponent += 1;
        }
        exponent
    }

    /// Number of slots, a power of two: the most messages that are under way at once.
    #[inline]
    pub(crate) const fn slots(self) -> usize {
        let wanted = self.capacity / SLOT_LEN;
        if wanted > MIN_SLOTS { wanted } else { MIN_SLOTS }
    }

    /// Bytes of the arena, a power of two and a multiple of its alignment.
    #[inline]
    pub(crate) const fn arena_len(self) -> usize {
        if self.capacity > SLOT_LEN { self.capacity } else { SLOT_LEN }
    }

    /// Where the arena begins in the segment.
    pub(crate) const fn arena_offset(self) -> usize {
        HEADER_LEN + self.slots() * SLOT_LEN
    }

    /// Bytes of the whole segment.
    pub(crate) const fn segment_len(self) -> usize {
        self.arena_offset() + self.arena_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_a_power_of_two() {
        for bad in [0, 3, 1000, MAX_CAPACITY + 1, MAX_CAPACITY * 2, usize::MAX] {
            assert_eq!(Geometry::new(bad), Err(CapacityError(bad)));
        }
    }

    #[test]
    fn parts_follow_each_other_and_stay_aligned() {
        for power in 0..=31 {
            let geometry = Geometry::new(1 << power).unwrap();
            assert!(geometry.slots().is_power_of_two() && geometry.slots() >= MIN_SLOTS);
            assert!(geometry.arena_len() >= geometry.capacity());
            assert_eq!(geometry.arena_offset() % SLOT_LEN, 0);
            assert_eq!(geometry.segment_len(), HEADER_LEN + geometry.slots() * SLOT_LEN + geometry.arena_len());
        }
    }
}
