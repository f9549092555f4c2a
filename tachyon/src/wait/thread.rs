//! Threads of this crate, which block all signals.
#![allow(unsafe_code, reason = "sets the signal mask of a thread")]

use std::io;
use std::mem::MaybeUninit;
use std::thread::{Builder, JoinHandle};

/// Starts a thread that blocks all signals: a signal has to interrupt a system call of a thread of the program.
///
/// # Errors
/// The system's error when it makes no thread.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    stack: usize,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    // The new thread inherits the mask, so it blocks signals from its start.
    let _blocked = Blocked::all();
    Builder::new().name(name.to_owned()).stack_size(stack).spawn(run)
}

/// Blocks all signals of this thread; dropping it restores the former mask.
struct Blocked(libc::sigset_t);

impl Blocked {
    fn all() -> Self {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `all` is writable and of the type that the call fills.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        let mut former = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: the first set was filled above, the second is writable and of the type that the call fills.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), former.as_mut_ptr()) };
        // SAFETY: zeroed, and then filled by the call; a set of signals is plain bits, and any are valid.
        Self(unsafe { former.assume_init() })
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set is the former mask of this thread, from the system; the null pointer asks for no former mask.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mask of blocked signals of the running thread, as the system shows it.
    fn mask() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    }

    #[test]
    fn a_thread_takes_no_signal_and_its_maker_does() {
        let before = mask();
        let (inside, name) =
            spawn("tachyon-test", 64 << 10, || (mask(), std::thread::current().name().map(str::to_owned)))
                .unwrap()
                .join()
                .unwrap();
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGALRM, libc::SIGCHLD, libc::SIGUSR1] {
            assert_ne!(inside & 1 << (signal - 1), 0, "signal {signal}");
        }
        assert_eq!(name.as_deref(), Some("tachyon-test"));
        assert_eq!(mask(), before);
    }
}
