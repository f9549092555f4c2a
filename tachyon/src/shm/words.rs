//! A segment as an array of 64-bit words: its maker writes them, other processes only read them.
#![allow(unsafe_code, reason = "turns a mapping into a slice of atomics")]

use core::ops::Deref;
use std::os::fd::{BorrowedFd, OwnedFd};

use memmap2::{MmapOptions, MmapRaw};

use super::ShmError;
use super::segment::{Segment, check_sealed};
use crate::sync::{AtomicU64, Ordering};

/// Bytes of one word.
const WORD: usize = size_of::<u64>();

/// The words of a segment of this process.
#[derive(Debug)]
pub(crate) struct Words {
    segment: Segment,
}

impl Words {
    /// Makes `count` words of 0, and the descriptor through which other processes map them.
    ///
    /// # Errors
    /// As [`Segment::create`].
    pub(crate) fn create(count: usize) -> Result<(Self, OwnedFd), ShmError> {
        let len = count.checked_mul(WORD).ok_or(ShmError::Length { len: usize::MAX })?;
        let (segment, file) = Segment::create(len)?;
        Ok((Self { segment }, file))
    }
}

impl Deref for Words {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        let words = self.segment.as_ptr().cast::<AtomicU64>().as_ptr();
        // SAFETY: the mapping is `segment.len()` bytes, lives as long as self and begins at a page, so it holds this
        // many aligned words. Any bytes are a valid u64, and this slice gives access by atomics alone, so an access by
        // another process is no data race.
        unsafe { core::slice::from_raw_parts(words, self.segment.len() / WORD) }
    }
}

/// The words of another process's segment, mapped read-only.
#[derive(Debug)]
pub(crate) struct ObservedWords {
    mapping: MmapRaw,
}

impl ObservedWords {
    /// Maps a segment of `len` bytes, after checking its length and its seals.
    ///
    /// # Errors
    /// As [`Segment::adopt`].
    pub(crate) fn adopt(file: BorrowedFd<'_>, len: usize) -> Result<Self, ShmError> {
        check_sealed(file, len)?;
        let mapping = MmapOptions::new()
            .len(len)
            .map_raw_read_only(&file)
            .map_err(|source| ShmError::System { operation: "map", source })?;
        Ok(Self { mapping })
    }

    /// The number of words.
    pub(crate) fn len(&self) -> usize {
        self.mapping.len() / WORD
    }

    /// A copy of the first `N` words, each read once, in order; `None` when there are fewer.
    pub(crate) fn copy_first<const N: usize>(&self) -> Option<[u64; N]> {
        let words = self.words().first_chunk::<N>()?;
        Some(words.each_ref().map(|word| word.load(Ordering::Acquire)))
    }

    /// A copy of all words, each read once, in order. The copy is not atomic: words may change between two reads.
    pub(crate) fn copy(&self) -> Vec<u64> {
        self.words().iter().map(|word| word.load(Ordering::Acquire)).collect()
    }

    fn words(&self) -> &[AtomicU64] {
        #[allow(clippy::cast_ptr_alignment, reason = "a mapping begins at a page")]
        let words = self.mapping.as_ptr().cast::<AtomicU64>();
        // SAFETY: the mapping is `mapping.len()` bytes, lives as long as self and begins at a page, so it holds this
        // many aligned words; its file is sealed, so none of them can vanish. Any bytes are a valid u64, the process
        // that writes them does so through a mapping of its own, and nothing is stored through this slice: loading
        // a word stores nothing on any 64-bit machine, so memory mapped for reading allows it.
        unsafe { core::slice::from_raw_parts(words, self.len()) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn observers_see_written_words() {
        let (words, file) = Words::create(600).unwrap();
        let observed = ObservedWords::adopt(file.as_fd(), 600 * WORD).unwrap();
        assert!(observed.copy().iter().all(|word| *word == 0));
        words[599].store(7, Ordering::Relaxed);
        assert_eq!((words.len(), observed.copy().len(), observed.copy()[599]), (600, 600, 7));
        words[1].store(8, Ordering::Relaxed);
        assert_eq!((observed.len(), observed.copy_first(), observed.copy_first::<601>()), (600, Some([0, 8]), None));
    }

    #[test]
    fn a_file_that_could_shrink_or_has_another_length_is_refused() {
        let (_words, file) = Words::create(8).unwrap();
        let longer = ObservedWords::adopt(file.as_fd(), 72);
        assert!(matches!(longer, Err(ShmError::WrongLength { expected: 72, found: 64 })));
        let plain = tempfile::tempfile().unwrap();
        plain.set_len(64).unwrap();
        assert!(ObservedWords::adopt(plain.as_fd(), 64).is_err());
    }
}
