//! A histogram of durations with growing buckets, so that one array holds nanoseconds and minutes.
//!
//! Each octave (from one power of two to the next) has eight buckets of equal width. A bucket is at most an eighth of
//! its lower bound wide, and a reader gets its middle: within 1/16 (6.25 %) of the duration. Below 8 ns buckets are
//! exact.

/// Buckets of one octave, as a power of two.
const SUB_BITS: u32 = 3;

const SUBS: usize = 1 << SUB_BITS;

/// A duration of 2^40 ns (18 minutes) or more counts as 2^40 - 1.
pub(crate) const TOP_BIT: u32 = 40;

/// Buckets of a histogram.
pub(crate) const BUCKETS: usize = SUBS * (TOP_BIT - SUB_BITS + 1) as usize;

/// The bucket of a duration in nanoseconds.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "both parts have only a few bits")]
pub(crate) fn bucket(nanos: u64) -> usize {
    let nanos = nanos.min((1 << TOP_BIT) - 1);
    if nanos < SUBS as u64 {
        return nanos as usize;
    }
    let octave = nanos.ilog2();
    let sub = (nanos >> (octave - SUB_BITS)) as usize & (SUBS - 1);
    (octave - SUB_BITS + 1) as usize * SUBS + sub
}

/// The middle of a bucket, in nanoseconds.
fn middle(bucket: usize) -> u64 {
    if bucket < SUBS {
        return bucket as u64;
    }
    let shift = bucket / SUBS - 1;
    let low = ((SUBS + bucket % SUBS) as u64) << shift;
    low + (1u64 << shift) / 2
}

/// The duration in nanoseconds that the share `quantile` (0 to 1) of the counted durations does not exceed; `None`
/// without counts.
pub(crate) fn quantile(counts: &[u64], quantile: f64) -> Option<u64> {
    let total: u128 = counts.iter().map(|count| u128::from(*count)).sum();
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank is exact to 1 in 2^53"
    )]
    let rank = ((total as f64 * quantile.clamp(0.0, 1.0)).ceil() as u128).clamp(1, total.max(1));
    let mut seen = 0;
    let found = counts.iter().position(|count| {
        seen += u128::from(*count);
        seen >= rank
    });
    found.map(middle)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_bucket_is_used_in_order() {
        let mut last = 0;
        for exponent in 0..=TOP_BIT {
            for part in 0..SUBS as u64 {
                let nanos = (1u64 << exponent) + (part << exponent >> SUB_BITS);
                let found = bucket(nanos);
                assert!(found == last || found == last + 1, "{nanos} ns in {found} after {last}");
                last = found;
            }
        }
        assert_eq!(last, BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(bucket(0), 0);
    }

    #[test]
    fn quantiles_of_known_counts() {
        let mut counts = [0; BUCKETS];
        assert_eq!(quantile(&counts, 0.5), None);
        counts[bucket(5)] = 99;
        counts[bucket(1_000_000)] = 1;
        assert_eq!(quantile(&counts, 0.0), Some(5));
        assert_eq!(quantile(&counts, 0.5), Some(5));
        assert_eq!(quantile(&counts, 0.99), Some(5));
        assert!(quantile(&counts, 1.0).unwrap().abs_diff(1_000_000) <= 62_500);
    }

    proptest! {
        #[test]
        fn a_duration_reads_back_within_a_sixteenth(nanos in 0u64..1 << TOP_BIT) {
            let read = middle(bucket(nanos));
            prop_assert!(read.abs_diff(nanos) <= nanos / 16, "{} ns reads as {}", nanos, read);
        }

        #[test]
        fn any_counts_are_harmless(counts in prop::collection::vec(any::<u64>(), 0..400), share in any::<f64>()) {
            let counts = &counts[..counts.len().min(BUCKETS)];
            let found = quantile(counts, share);
            prop_assert_eq!(found.is_none(), counts.iter().all(|count| *count == 0));
        }
    }
}
