//! Telling a forked child from the process that opened a connection.
//!
//! A child inherits the mapping and the descriptors, and would be a second producer or consumer on the same ring. So
//! every connection remembers the generation it was made in, and a fork makes a new one in the child.
#![allow(unsafe_code, reason = "registers a fork hook with the C library")]

use std::sync::Once;

use crate::sync::Ordering;

/// Generations since the first process of this line. A plain static: it is set while the child has one thread.
static GENERATION: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// The generation of the running process.
#[inline]
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// Sees to it that a fork from now on begins a new generation.
pub(crate) fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        // SAFETY: `in_child` is an `extern "C"` function that lives as long as the program and does nothing that is
        // unsafe between fork and exec: it adds to a static atomic.
        let refused = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        assert_eq!(refused, 0, "the C library has no memory left for a fork hook");
    });
}
