//! Tells a forked child from the process that opened a connection.
//!
//! A child inherits the mapping and the descriptors, and would be a second producer or consumer of the same ring. So
//! every connection stores the generation of its process. The generation lies in a page that the kernel wipes in every
//! child with a memory of its own (`MADV_WIPEONFORK`, Linux 4.14). Unlike the C library's fork hooks, this includes
//! children of `_Fork` and `clone`.
#![allow(unsafe_code, reason = "keeps a word in a page of its own, and registers a fork hook with the C library")]

use std::io;
use std::sync::Once;

use core::sync::atomic::{AtomicPtr, AtomicU32};

use memmap2::MmapMut;
use rustix::mm::Advice;

use crate::sync::Ordering;

/// The generation of a process without a wiped page. The atomics here are not loom's: models do not fork.
static UNWIPED: AtomicU32 = AtomicU32::new(0);

/// The word with the generation of this process; the word is 0 in a new process, and before the first connection.
static GENERATION: AtomicPtr<AtomicU32> = AtomicPtr::new((&raw const UNWIPED).cast_mut());

/// The highest generation of this line of processes.
static LATEST: AtomicU32 = AtomicU32::new(0);

#[inline]
fn word() -> &'static AtomicU32 {
    // SAFETY: the pointer leads to the static or into the page of `wiped_page`. Both are aligned, hold an atomic that
    // is used only as such, and live as long as the process. A child has its own copy of both.
    unsafe { &*GENERATION.load(Ordering::Relaxed) }
}

/// The generation of this process; 0 before the first [`watch`] in this process.
#[inline]
pub(crate) fn generation() -> u32 {
    word().load(Ordering::Relaxed)
}

/// Begins to watch for forks, and returns the generation of this process. A child has another generation.
pub(crate) fn watch() -> u32 {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| match wiped_page() {
        Ok(page) => GENERATION.store(page, Ordering::Relaxed),
        // A sandbox may forbid the advice. The hook misses only children that are made without the C library.
        Err(_) => hook(),
    });
    let word = word();
    if word.load(Ordering::Relaxed) == 0 {
        let next = LATEST.fetch_add(1, Ordering::Relaxed) + 1;
        // If another thread was first, its number counts.
        let _ = word.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed);
    }
    word.load(Ordering::Relaxed)
}

/// A word that is 0 in every new process. The page is never unmapped.
fn wiped_page() -> io::Result<*mut AtomicU32> {
    // A mapping consists of whole pages, so the page holds nothing else.
    let page = Box::leak(Box::new(MmapMut::map_anon(size_of::<AtomicU32>())?));
    // SAFETY: the mapping is private, anonymous and leaked; the advice changes nothing in this process.
    unsafe { rustix::mm::madvise(page.as_mut_ptr().cast(), page.len(), Advice::LinuxWipeOnFork) }?;
    Ok(page.as_mut_ptr().cast())
}

extern "C" fn in_child() {
    UNWIPED.store(0, Ordering::Relaxed);
}

fn hook() {
    // SAFETY: `in_child` is an `extern "C"` function that lives as long as the program, and is safe between fork and
    // exec: it only stores to a static atomic.
    let refused = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    assert_eq!(refused, 0, "the C library has no memory left for a fork hook");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_lasts_as_long_as_its_process() {
        let first = watch();
        assert_ne!(first, 0);
        assert_eq!((watch(), generation()), (first, first));
        assert_ne!(GENERATION.load(Ordering::Relaxed).cast_const(), &raw const UNWIPED, "the page was refused");
    }
}
