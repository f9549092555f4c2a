//! Bytes on the heap with the alignment of a payload in a ring.

use core::ops::{Deref, DerefMut};

use zerocopy::IntoBytes;

/// A copy of a payload. Its address is a multiple of 8, as the address of a payload in a ring is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AlignedBytes {
    words: Box<[u64]>,
    len: usize,
}

impl AlignedBytes {
    /// `len` zero bytes.
    pub(crate) fn zeroed(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(8)].into_boxed_slice(), len }
    }
}

impl From<&[u8]> for AlignedBytes {
    fn from(bytes: &[u8]) -> Self {
        let mut aligned = Self::zeroed(bytes.len());
        aligned.copy_from_slice(bytes);
        aligned
    }
}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.words.as_bytes()[..self.len]
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.words.as_mut_bytes()[..self.len]
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
