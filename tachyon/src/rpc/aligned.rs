//! Bytes on the heap, aligned as a payload in the ring is.

use core::ops::Deref;

use zerocopy::IntoBytes;

/// A copy of a payload that begins at an address as good as any in the ring: a multiple of 8.
#[derive(Debug, Clone)]
pub(crate) struct AlignedBytes {
    words: Box<[u64]>,
    len: usize,
}

impl From<&[u8]> for AlignedBytes {
    fn from(bytes: &[u8]) -> Self {
        let mut words = vec![0; bytes.len().div_ceil(8)].into_boxed_slice();
        words.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
        Self { words, len: bytes.len() }
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.words.as_bytes()[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_keeps_its_bytes_at_an_address_of_eight() {
        for len in 0..40 {
            let bytes: Vec<u8> = (0..len).collect();
            let aligned = AlignedBytes::from(&bytes[..]);
            assert_eq!(*aligned, *bytes);
            assert_eq!(aligned.as_ptr().addr() % 8, 0);
        }
    }
}
