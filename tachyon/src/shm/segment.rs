//! One sealed, mapped segment.

use std::ffi::CStr;
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::OnceLock;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{FallocateFlags, FileType, MemfdFlags, SealFlags, StatFs};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::ShmError;
use super::available::available;

/// Shown as `/memfd:tachyon` in `/proc/PID/maps`.
const NAME: &CStr = c"tachyon";

/// `f_type` of tmpfs, where every memfd without huge pages lives.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// The seals of every segment, each with the name of the forbidden change.
const REQUIRED_SEALS: [(SealFlags, &str); 3] =
    [(SealFlags::SHRINK, "shrinking"), (SealFlags::GROW, "growing"), (SealFlags::SEAL, "unsealing")];

/// A shared memory segment mapped into this process, readable and writable, unmapped on drop.
///
/// The peer may write any byte of it at any time, so the segment gives a pointer and never a slice. The memory stays
/// valid for reads and writes as long as the segment lives: its file is sealed, so no process can truncate it.
#[derive(Debug)]
pub(crate) struct Segment {
    mapping: MmapRaw,
}

impl Segment {
    /// Creates a zeroed segment of `len` bytes and returns it with the descriptor to hand to the peer.
    ///
    /// No page is allocated before it is touched, so an unused segment costs only address space. With strict overcommit
    /// (`vm.overcommit_memory` is 2) a touch could end in `SIGBUS`, so all pages are allocated here. The descriptor is
    /// close-on-exec; the mapping does not need the descriptor.
    ///
    /// # Errors
    ///
    /// [`ShmError::Length`] for a length of zero or beyond `isize::MAX`, [`ShmError::NoMemory`] and
    /// [`ShmError::NoDescriptor`] when the system runs out, [`ShmError::System`] otherwise.
    pub(crate) fn create(len: usize) -> Result<(Self, OwnedFd), ShmError> {
        let file_len = check_len(len)?;
        // A fuzzer makes small segments over and over, and the question takes ten times as long as a segment.
        if !cfg!(fuzzing) && available().is_some_and(|available| file_len > available) {
            return Err(failed("allocate", len, Errno::NOMEM));
        }
        // Beyond this limit the kernel also sends a signal that ends the process.
        if getrlimit(Resource::Fsize).current.is_some_and(|limit| file_len > limit) {
            return Err(failed("size", len, Errno::FBIG));
        }
        let file = memfd(len)?;
        rustix::fs::ftruncate(&file, file_len).map_err(|errno| failed("size", len, errno))?;
        if promises_strictly() {
            rustix::io::retry_on_intr(|| rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, file_len))
                .map_err(|errno| failed("allocate", len, errno))?;
        }
        let segment = Self::map(&file, len)?;
        let seals = REQUIRED_SEALS.iter().fold(SealFlags::empty(), |all, (seal, _)| all | *seal);
        rustix::fs::fcntl_add_seals(&file, seals).map_err(|errno| failed("seal", len, errno))?;
        Ok((segment, file))
    }

    /// Maps a segment received from a peer, after checking that its length is `len` bytes and stays so.
    ///
    /// # Errors
    ///
    /// [`ShmError::NotSharedMemory`] unless the file is a plain memfd (one of huge pages is refused: after the peer
    /// punches a page out, a touch raises `SIGBUS` if the pool is empty), [`ShmError::NotSealed`],
    /// [`ShmError::WrongLength`], and [`ShmError::System`] if the file cannot be inspected or mapped for writing.
    pub(crate) fn adopt(fd: BorrowedFd<'_>, len: usize) -> Result<Self, ShmError> {
        check_sealed(fd, len)?;
        Self::map(&fd, len)
    }

    fn map(file: &impl AsRawFd, len: usize) -> Result<Self, ShmError> {
        let mapping = MmapOptions::new().len(len).map_raw(file).map_err(|source| match source.raw_os_error() {
            Some(libc::ENOMEM) => ShmError::NoMemory { len, source },
            _ => ShmError::System { operation: "map", source },
        })?;
        Ok(Self { mapping })
    }

    /// The first byte: page-aligned, valid for reads and writes of [`len`](Self::len) bytes while `self` lives.
    pub(crate) fn as_ptr(&self) -> NonNull<u8> {
        NonNull::new(self.mapping.as_mut_ptr())
            .expect("mmap never places a mapping chosen by the kernel at address zero")
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.mapping.len()
    }

    pub(super) fn mapping(&self) -> &MmapRaw {
        &self.mapping
    }
}

/// Checks that a descriptor belongs to a plain memfd whose length is, and stays, `len` bytes.
pub(super) fn check_sealed(fd: BorrowedFd<'_>, len: usize) -> Result<(), ShmError> {
    check_len(len)?;
    // The seals come first: this question never blocks, for any kind of file. On a user's file system (FUSE) each of
    // the other questions can block for any time.
    if rustix::fs::fcntl_get_seals(fd) == Err(Errno::INVAL) {
        return Err(ShmError::NotSharedMemory { found: "a file that cannot be sealed" });
    }
    let stat = rustix::fs::fstat(fd).map_err(|errno| failed("inspect", len, errno))?;
    if let Some(found) = foreign_file(FileType::from_raw_mode(stat.st_mode)) {
        return Err(ShmError::NotSharedMemory { found });
    }
    let statfs = rustix::fs::fstatfs(fd).map_err(|errno| failed("inspect", len, errno))?;
    if !is_tmpfs(&statfs) {
        return Err(ShmError::NotSharedMemory { found: "a file on another file system than tmpfs" });
    }
    let seals = match rustix::fs::fcntl_get_seals(fd) {
        Ok(seals) => seals,
        Err(Errno::INVAL) => return Err(ShmError::NotSharedMemory { found: "a file that cannot be sealed" }),
        Err(errno) => return Err(failed("inspect", len, errno)),
    };
    if let Some((_, missing)) = REQUIRED_SEALS.into_iter().find(|(seal, _)| !seals.contains(*seal)) {
        return Err(ShmError::NotSealed { missing });
    }
    // Read again: the length is final only once the seals are known to be set.
    let sealed = rustix::fs::fstat(fd).map_err(|errno| failed("inspect", len, errno))?;
    let found = u64::try_from(sealed.st_size).unwrap_or(0);
    if usize::try_from(found) != Ok(len) {
        return Err(ShmError::WrongLength { expected: len, found });
    }
    Ok(())
}

/// Whether overcommit is strict, so that the first touch of a page can fail.
fn promises_strictly() -> bool {
    static STRICT: OnceLock<bool> = OnceLock::new();
    if let Some(strict) = STRICT.get() {
        return *strict;
    }
    // A failure, such as no free descriptor, is not remembered.
    let Ok(mode) = fs::read("/proc/sys/vm/overcommit_memory") else { return false };
    *STRICT.get_or_init(|| mode.trim_ascii() == b"2")
}

/// `len` as a file length, if a segment can have that length.
fn check_len(len: usize) -> Result<u64, ShmError> {
    if len == 0 || isize::try_from(len).is_err() {
        return Err(ShmError::Length { len });
    }
    u64::try_from(len).map_err(|_| ShmError::Length { len })
}

/// A new, empty memfd; sealed against execution where the kernel can do so (Linux 6.3).
fn memfd(len: usize) -> Result<OwnedFd, ShmError> {
    let plain = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(NAME, plain | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(NAME, plain),
        outcome => outcome,
    }
    .map_err(|errno| failed("create", len, errno))
}

#[allow(clippy::useless_conversion, reason = "the field is narrower on some architectures")]
fn is_tmpfs(statfs: &StatFs) -> bool {
    i64::try_from(statfs.f_type) == Ok(TMPFS_MAGIC)
}

/// The name of a file type that cannot be a segment.
fn foreign_file(file_type: FileType) -> Option<&'static str> {
    match file_type {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::Fifo => Some("a pipe"),
        FileType::Socket => Some("a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("a device"),
        _ => Some("not a file"),
    }
}

fn failed(operation: &'static str, len: usize, errno: Errno) -> ShmError {
    let source = errno.into();
    match errno {
        Errno::NOMEM | Errno::NOSPC | Errno::FBIG => ShmError::NoMemory { len, source },
        Errno::MFILE | Errno::NFILE => ShmError::NoDescriptor { source },
        _ => ShmError::System { operation, source },
    }
}

#[cfg(test)]
mod tests;
