//! Memory for a ring, on the heap.
#![allow(unsafe_code, reason = "allocates with a page's alignment")]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use loom::cell::UnsafeCell;

pub(crate) use self::error::ShmError;

/// Bytes that are checked together: the alignment of a payload.
const LINE: usize = 64;

/// A segment on the heap, shared between threads.
///
/// The bytes of payloads are plain memory. Each line has a cell of loom's, which finds two accesses without an order of
/// which one writes.
#[derive(Debug)]
pub(crate) struct Segment {
    base: NonNull<u8>,
    layout: Layout,
    lines: Vec<UnsafeCell<()>>,
}

// SAFETY: the segment owns the memory. Every access is atomic or checked by loom, which runs one thread at a time.
unsafe impl Send for Segment {}
// SAFETY: as for Send.
unsafe impl Sync for Segment {}

impl Segment {
    /// Creates a segment. The descriptor is not the segment's, since no peer receives it.
    pub(crate) fn create(len: usize) -> Result<(Self, OwnedFd), ShmError> {
        let layout = Layout::from_size_align(len, 4096).expect("a ring's length");
        // SAFETY: the layout is not empty: a ring has a header.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).expect("memory");
        let lines = (0..len.div_ceil(LINE)).map(|_| UnsafeCell::new(())).collect();
        let unused = std::fs::File::open("/dev/null").expect("a device");
        Ok((Self { base, layout, lines }, unused.into()))
    }

    pub(crate) fn adopt(_fd: BorrowedFd<'_>, _len: usize) -> Result<Self, ShmError> {
        Err(ShmError::NotARing { magic: 0, capacity: 0, stride: 0 })
    }

    pub(crate) fn as_ptr(&self) -> NonNull<u8> {
        self.base
    }

    pub(crate) fn len(&self) -> usize {
        self.layout.size()
    }

    /// Reports a read of `len` bytes of payload from `at`.
    pub(crate) fn reads(&self, at: NonNull<u8>, len: usize) {
        self.lines_of(at, len).iter().for_each(|line| line.with(|_| ()));
    }

    /// Reports a write of `len` bytes of payload from `at`.
    pub(crate) fn writes(&self, at: NonNull<u8>, len: usize) {
        self.lines_of(at, len).iter().for_each(|line| line.with_mut(|_| ()));
    }

    fn lines_of(&self, at: NonNull<u8>, len: usize) -> &[UnsafeCell<()>] {
        let from = at.addr().get() - self.base.addr().get();
        &self.lines[from / LINE..(from + len).div_ceil(LINE)]
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: `create` allocated the memory with this layout, and only this segment owns it.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

mod error {
    /// The errors that a ring makes.
    #[derive(Debug, thiserror::Error)]
    pub(crate) enum ShmError {
        #[error("not a ring (magic {magic:#x}, capacity {capacity}, stride {stride})")]
        NotARing { magic: u64, capacity: u64, stride: u64 },
    }
}
