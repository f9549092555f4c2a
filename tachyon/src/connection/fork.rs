//! Telling a forked child from the process that opened a connection.
//!
//! A child inherits the mapping and the descriptors, and would be a second producer or consumer on the same ring. So
//! every connection remembers the generation it was made in. The generation lies in a page that the kernel wipes in
//! every child with a memory of its own (`MADV_WIPEONFORK`, Linux 4.14), however the child was made: the C library's
//! hooks do not run for `_Fork` and `clone`.
#![allow(unsafe_code, reason = "keeps a word in a page of its own, and registers a fork hook with the C library")]

use std::io;
use std::sync::Once;

use core::sync::atomic::{AtomicPtr, AtomicU32};

use memmap2::MmapMut;
use rustix::mm::Advice;

use crate::sync::Ordering;

/// The generation of a process whose page could not be had. Plain statics: models do not fork.
static UNWIPED: AtomicU32 = AtomicU32::new(0);

/// Where the generation of this process is; 0 there in a new one, and before the first connection.
static GENERATION: AtomicPtr<AtomicU32> = AtomicPtr::new((&raw const UNWIPED).cast_mut());

/// The highest generation of this line of processes.
static LATEST: AtomicU32 = AtomicU32::new(0);

#[inline]
fn word() -> &'static AtomicU32 {
    // SAFETY: the pointer is that of the static, or the one that `wiped_page` gave: both are aligned, point to an atomic
    // that is only used as such, and stay for as long as the process. A child has its own copy of either.
    unsafe { &*GENERATION.load(Ordering::Relaxed) }
}

/// The generation of the running process; 0 if it has not been watched yet.
#[inline]
pub(crate) fn generation() -> u32 {
    word().load(Ordering::Relaxed)
}

/// Gives the generation of the running process, which ends with every fork from now on.
pub(crate) fn watch() -> u32 {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| match wiped_page() {
        Ok(page) => GENERATION.store(page, Ordering::Relaxed),
        // A sandbox may forbid the advice; the hook sees all children but those that are made past the C library.
        Err(_) => hook(),
    });
    let word = word();
    if word.load(Ordering::Relaxed) == 0 {
        let next = LATEST.fetch_add(1, Ordering::Relaxed) + 1;
        // Another thread may have been first, and then its number counts.
        let _ = word.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed);
    }
    word.load(Ordering::Relaxed)
}

/// A word that is 0 in every new process. The page is never unmapped.
fn wiped_page() -> io::Result<*mut AtomicU32> {
    // A mapping begins at a page, and is as long as one.
    let page = Box::leak(Box::new(MmapMut::map_anon(size_of::<AtomicU32>())?));
    // SAFETY: the mapping is private, anonymous and leaked; the advice changes nothing in this process.
    unsafe { rustix::mm::madvise(page.as_mut_ptr().cast(), page.len(), Advice::LinuxWipeOnFork) }?;
    Ok(page.as_mut_ptr().cast())
}

extern "C" fn in_child() {
    UNWIPED.store(0, Ordering::Relaxed);
}

fn hook() {
    // SAFETY: `in_child` is an `extern "C"` function that lives as long as the program and does nothing that is unsafe
    // between fork and exec: it stores to a static atomic.
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
