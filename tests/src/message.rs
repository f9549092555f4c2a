//! Messages that both processes of a test can compute.

/// The first `len` bytes of message `number`.
pub fn message(number: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(0x9E37_79B9) ^ number.wrapping_mul(31)).to_le_bytes()[0]).collect()
}

/// The length of message `number` of a stream whose messages have up to `most` bytes. Every length occurs, long ones
/// beside short ones.
pub fn length(number: u64, most: usize) -> usize {
    (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20) as usize % (most + 1)
}
