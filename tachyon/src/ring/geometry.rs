//! The size of a ring's segment and the offsets of its parts, computed from the ring's capacity and use.

use thiserror::Error;

#[cfg(loom)]
use super::layout::FIRST_LINE_LEN;
use super::layout::{ARENA_ALIGN, HEADER_LEN, SLOT_HEADER_LEN};

/// The largest capacity of one direction, in bytes: 2 GiB.
pub const MAX_CAPACITY: usize = 1 << 31;

/// Fewest slots of a ring of any capacity, so that short messages still pipeline. A ring of a loom model has two, so
/// that the model reaches the second lap.
const MIN_SLOTS: usize = if cfg!(loom) { 2 } else { 64 };

/// A capacity that no ring can have, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a capacity of {0} bytes {problem}", problem = problem(*.0))]
pub struct CapacityError(pub usize);

fn problem(capacity: usize) -> String {
    match capacity {
        0 => "holds no message; use a power of two from 1 up".to_owned(),
        1..MAX_CAPACITY => format!("is not a power of two; use {}", capacity.next_power_of_two()),
        _ => format!("is too large; use a power of two up to {MAX_CAPACITY}"),
    }
}

/// The use of a ring, which decides the size of its slots; measured in `docs/decisions/0021-slots-by-use.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Requests or replies: few messages are in flight, and the latency grows with the lines of one message. Slots of
    /// 256 bytes.
    Calls,
    /// A stream of messages: the throughput is limited by the lines that cross per second. Slots of 64 bytes.
    Bus,
}

impl Use {
    /// Bytes from one slot to the next, as a power of two.
    const fn stride_exponent(self) -> u32 {
        if cfg!(loom) {
            return (SLOT_HEADER_LEN + 64).next_power_of_two().trailing_zeros();
        }
        match self {
            Self::Calls => 8,
            Self::Bus => 6,
        }
    }

    /// Most slots of a ring.
    const fn max_slots(self) -> usize {
        match self {
            Self::Calls => 4096,
            Self::Bus => MAX_CAPACITY,
        }
    }
}

/// The capacity and the use of one ring. All other sizes and offsets follow from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    capacity: usize,
    carries: Use,
}

impl Geometry {
    /// Checks `capacity` (bytes of payload the ring holds).
    pub(crate) const fn new(capacity: usize, carries: Use) -> Result<Self, CapacityError> {
        if capacity.is_power_of_two() && capacity <= MAX_CAPACITY {
            Ok(Self { capacity, carries })
        } else {
            Err(CapacityError(capacity))
        }
    }

    /// The geometry with half the capacity; `None` for the smallest.
    pub(crate) const fn halved(self) -> Option<Self> {
        if self.capacity < 2 { None } else { Some(Self { capacity: self.capacity / 2, ..self }) }
    }

    /// Bytes of payload that the ring holds; the longest message has this length.
    #[inline]
    pub(crate) const fn capacity(self) -> usize {
        self.capacity
    }

    /// The base-2 logarithm of the capacity.
    pub(crate) const fn exponent(self) -> u8 {
        self.capacity.trailing_zeros().to_le_bytes()[0]
    }

    /// Bytes from one slot to the next, as a power of two.
    #[inline]
    pub(crate) const fn stride_exponent(self) -> u32 {
        self.carries.stride_exponent()
    }

    /// Bytes from one slot to the next.
    #[inline]
    pub(crate) const fn stride(self) -> usize {
        1 << self.stride_exponent()
    }

    /// Longest payload inside a slot of this ring, in bytes; a longer payload lies in the arena.
    #[inline]
    pub(crate) const fn inline_len(self) -> usize {
        #[cfg(loom)]
        return FIRST_LINE_LEN;
        #[cfg(not(loom))]
        {
            let slot = self.stride() - SLOT_HEADER_LEN;
            if self.capacity < slot { self.capacity } else { slot }
        }
    }

    /// Number of slots, a power of two: the most messages in flight at once.
    #[inline]
    pub(crate) const fn slots(self) -> usize {
        let wanted = if cfg!(loom) { 0 } else { self.capacity >> self.stride_exponent() };
        if wanted < MIN_SLOTS {
            MIN_SLOTS
        } else if wanted > self.carries.max_slots() {
            self.carries.max_slots()
        } else {
            wanted
        }
    }

    /// Bytes of the arena, a power of two and a multiple of its alignment.
    #[inline]
    pub(crate) const fn arena_len(self) -> usize {
        if self.capacity > ARENA_ALIGN { self.capacity } else { ARENA_ALIGN }
    }

    /// Offset of the arena in the segment, in bytes.
    pub(crate) const fn arena_offset(self) -> usize {
        HEADER_LEN + (self.slots() << self.stride_exponent())
    }

    /// Length of the segment, in bytes.
    pub(crate) const fn segment_len(self) -> usize {
        self.arena_offset() + self.arena_len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_capacity_is_refused_with_a_possible_one() {
        let text = |capacity| CapacityError(capacity).to_string();
        assert_eq!(text(1000), "a capacity of 1000 bytes is not a power of two; use 1024");
        assert_eq!(text(0), "a capacity of 0 bytes holds no message; use a power of two from 1 up");
        assert_eq!(text(1 << 32), "a capacity of 4294967296 bytes is too large; use a power of two up to 2147483648");
        for bad in [0, 3, 1000, MAX_CAPACITY + 1, MAX_CAPACITY * 2, usize::MAX] {
            assert_eq!(Geometry::new(bad, Use::Calls), Err(CapacityError(bad)));
        }
    }

    #[test]
    fn parts_follow_each_other_and_stay_aligned() {
        for (power, carries) in (0..=31).flat_map(|power| [(power, Use::Calls), (power, Use::Bus)]) {
            let geometry = Geometry::new(1 << power, carries).unwrap();
            assert_eq!(geometry.exponent(), power);
            assert!(geometry.slots().is_power_of_two() && geometry.slots() >= MIN_SLOTS);
            assert!(geometry.arena_len() >= geometry.capacity());
            assert_eq!(geometry.arena_offset() % ARENA_ALIGN, 0);
            assert_eq!(
                geometry.segment_len(),
                HEADER_LEN + geometry.slots() * geometry.stride() + geometry.arena_len()
            );
        }
    }

    #[test]
    fn a_call_of_232_bytes_travels_in_its_slot_and_a_message_of_40() {
        assert_eq!(Geometry::new(1 << 16, Use::Calls).unwrap().inline_len(), 232);
        assert_eq!(Geometry::new(1 << 16, Use::Bus).unwrap().inline_len(), 40);
        assert_eq!(Geometry::new(1, Use::Bus).unwrap().inline_len(), 1);
        assert_eq!(Geometry::new(1 << 31, Use::Calls).unwrap().slots(), 4096);
    }
}
