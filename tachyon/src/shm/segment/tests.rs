#![allow(unsafe_code, reason = "the tests look at the mapped bytes")]

use std::os::fd::AsFd;

use super::*;

const LEN: usize = 3 * 4096 + 64;

/// Single bytes, for unit tests. Only one thread at a time may use them on one segment.
impl Segment {
    pub(crate) fn peek(&self, at: usize) -> u8 {
        assert!(at < self.len());
        // SAFETY: `at` is inside the mapping, which lives as long as `self`; any byte is a valid u8.
        unsafe { self.as_ptr().as_ptr().wrapping_add(at).read_volatile() }
    }

    pub(crate) fn poke(&self, at: usize, byte: u8) {
        assert!(at < self.len());
        // SAFETY: `at` is inside the mapping, which lives as long as `self` and is writable.
        unsafe { self.as_ptr().as_ptr().wrapping_add(at).write_volatile(byte) }
    }
}

fn plain_memfd(len: u64) -> OwnedFd {
    let fd = rustix::fs::memfd_create(c"test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&fd, len).unwrap();
    fd
}

#[test]
fn both_mappings_show_the_same_memory() {
    let (ours, fd) = Segment::create(LEN).unwrap();
    let theirs = Segment::adopt(fd.as_fd(), LEN).unwrap();
    drop(fd);
    assert_eq!((ours.len(), theirs.len()), (LEN, LEN));
    assert_ne!(ours.as_ptr(), theirs.as_ptr());
    for at in [0, 1, 4096, LEN - 1] {
        assert_eq!(theirs.peek(at), 0, "a new segment is zeroed");
        ours.poke(at, 7);
        assert_eq!(theirs.peek(at), 7);
    }
}

#[test]
fn a_segment_is_sealed_untouched_and_closed_on_exec() {
    let (_segment, fd) = Segment::create(LEN).unwrap();
    let seals = rustix::fs::fcntl_get_seals(&fd).unwrap();
    assert!(seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL));
    assert!(!seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE));
    assert_eq!(rustix::fs::ftruncate(&fd, 1), Err(Errno::PERM));
    assert_eq!(rustix::fs::ftruncate(&fd, 1 << 20), Err(Errno::PERM));
    let stat = rustix::fs::fstat(&fd).unwrap();
    let allocated = u64::try_from(stat.st_blocks).unwrap() * 512;
    assert_eq!(allocated >= LEN as u64, promises_strictly(), "{allocated} bytes are allocated");
    assert!(rustix::io::fcntl_getfd(&fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn impossible_lengths_are_refused() {
    for len in [0, usize::MAX, isize::MAX as usize + 1] {
        assert!(matches!(Segment::create(len), Err(ShmError::Length { len: l }) if l == len));
    }
    // No machine has this much memory, and the question allocates none.
    let error = Segment::create(isize::MAX as usize).unwrap_err();
    assert!(matches!(error, ShmError::NoMemory { .. }), "{error:?}");
}

#[test]
fn every_missing_seal_is_named() {
    let all = [SealFlags::SHRINK, SealFlags::GROW, SealFlags::SEAL];
    for (left_out, expected) in all.into_iter().zip(["shrinking", "growing", "unsealing"]) {
        let fd = plain_memfd(LEN as u64);
        let seals = all.into_iter().filter(|seal| *seal != left_out).fold(SealFlags::empty(), |a, b| a | b);
        rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
        let error = Segment::adopt(fd.as_fd(), LEN).unwrap_err();
        assert!(matches!(error, ShmError::NotSealed { missing } if missing == expected), "{error}");
    }
}

#[test]
fn the_length_must_match_exactly() {
    let (_segment, fd) = Segment::create(LEN).unwrap();
    for wrong in [LEN - 1, LEN + 1, 4096, 1 << 20] {
        let error = Segment::adopt(fd.as_fd(), wrong).unwrap_err();
        assert!(
            matches!(error, ShmError::WrongLength { expected, found } if expected == wrong && found == LEN as u64),
            "{error}"
        );
    }
}

#[test]
fn every_file_but_a_memfd_is_refused() {
    let (pipe, _write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let directory_fd = fs::File::open(directory.path()).unwrap();
    let null = fs::File::options().read(true).write(true).open("/dev/null").unwrap();
    let file = tempfile::tempfile().unwrap();
    file.set_len(LEN as u64).unwrap();
    let unsealable = rustix::fs::memfd_create(c"test", MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&unsealable, LEN as u64).unwrap();
    for fd in [pipe.as_fd(), socket.as_fd(), eventfd.as_fd(), directory_fd.as_fd(), null.as_fd(), file.as_fd()] {
        let error = Segment::adopt(fd, LEN).unwrap_err();
        assert!(matches!(error, ShmError::NotSharedMemory { .. }), "{error}");
    }
    let error = Segment::adopt(unsealable.as_fd(), LEN).unwrap_err();
    assert!(matches!(error, ShmError::NotSealed { missing: "shrinking" }), "{error}");
}

#[test]
fn a_segment_that_cannot_be_written_is_refused() {
    let fd = plain_memfd(LEN as u64);
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL).unwrap();
    let error = Segment::adopt(fd.as_fd(), LEN).unwrap_err();
    assert!(matches!(error, ShmError::System { operation: "map", .. }), "{error}");
}
