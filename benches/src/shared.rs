//! Memory that two processes share: atomic words and bytes, without a protocol.

#![allow(unsafe_code, reason = "words of memory that another process writes")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use memmap2::MmapRaw;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::drive::Outcome;

/// The longest wait for the other side to create the memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// A memfd mapped by both processes.
#[derive(Debug)]
pub struct Shared {
    map: MmapRaw,
    // The other process opens the memory through the descriptor of this process.
    _file: File,
}

impl Shared {
    /// Creates `len` bytes, and a link at `path` for other processes of this user.
    ///
    /// # Errors
    /// The memory or the link cannot be created.
    pub fn create(path: &Path, len: usize) -> Outcome<Self> {
        let file = File::from(memfd_create("bench", MemfdFlags::CLOEXEC)?);
        file.set_len(u64::try_from(len)?)?;
        symlink(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()), path)?;
        Self::map(file, len)
    }

    /// Waits until another process has created memory at `path`, and maps it.
    ///
    /// # Errors
    /// The memory does not exist after ten seconds, or has another size.
    pub fn open(path: &Path, len: usize) -> Outcome<Self> {
        let begin = Instant::now();
        while !path.exists() {
            if begin.elapsed() > PATIENCE {
                return Err("the other side did not create the shared memory in time".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Self::map(File::options().read(true).write(true).open(path)?, len)
    }

    fn map(file: File, len: usize) -> Outcome<Self> {
        let map = MmapRaw::map_raw(&file)?;
        if map.len() == len { Ok(Self { map, _file: file }) } else { Err("the shared memory has another size".into()) }
    }

    /// The length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// The address of the byte at `offset`, which may be past the end.
    #[inline]
    pub fn at(&self, offset: usize) -> *mut u8 {
        self.map.as_mut_ptr().wrapping_add(offset)
    }

    /// The word at `offset`.
    ///
    /// # Panics
    /// If the word is not inside the memory, or not aligned.
    #[inline]
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(align_of::<AtomicU64>()) && offset + size_of::<AtomicU64>() <= self.map.len());
        // SAFETY: the word is inside the mapping, as asserted, and the mapping lives as long as the reference. The word
        // is aligned, as asserted, since mappings begin at pages. Every other access to the word, in this process and
        // in the other, is atomic as well.
        unsafe { AtomicU64::from_ptr(self.at(offset).cast()) }
    }
}
