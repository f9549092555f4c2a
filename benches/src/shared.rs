//! Memory that two processes share, with nothing in it but words and room.

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

/// How long a side waits for the other one to make the memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// A memfd mapped by both processes.
#[derive(Debug)]
pub struct Shared {
    map: MmapRaw,
    // The other process opens it through this one.
    _file: File,
}

impl Shared {
    /// Makes `len` bytes, and a link at `path` by which another process of this user finds them.
    ///
    /// # Errors
    /// The memory or the link cannot be made.
    pub fn create(path: &Path, len: usize) -> Outcome<Self> {
        let file = File::from(memfd_create("bench", MemfdFlags::CLOEXEC)?);
        file.set_len(u64::try_from(len)?)?;
        symlink(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()), path)?;
        Self::map(file, len)
    }

    /// Maps what another process has made, once it has.
    ///
    /// # Errors
    /// It did not within ten seconds, or made it of another size.
    pub fn open(path: &Path, len: usize) -> Outcome<Self> {
        let begin = Instant::now();
        while !path.exists() {
            if begin.elapsed() > PATIENCE {
                return Err("nobody has made the shared memory".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Self::map(File::options().read(true).write(true).open(path)?, len)
    }

    fn map(file: File, len: usize) -> Outcome<Self> {
        let map = MmapRaw::map_raw(&file)?;
        if map.len() == len { Ok(Self { map, _file: file }) } else { Err("the shared memory has another size".into()) }
    }

    /// Its length in bytes.
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
    /// When it is not inside, or not aligned.
    #[inline]
    pub fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(align_of::<AtomicU64>()) && offset + size_of::<AtomicU64>() <= self.map.len());
        // SAFETY: the word is inside the mapping, as asserted, and the mapping lives as long as the reference; it is
        // aligned, as asserted, since mappings begin at pages; whoever else uses it, in this process or the other, uses
        // it as an atomic as well.
        unsafe { AtomicU64::from_ptr(self.at(offset).cast()) }
    }
}
