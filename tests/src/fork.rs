//! Forks, for tests of a child that inherits a connection.
#![allow(unsafe_code, reason = "there is no safe fork")]

use rustix::process::Pid;

/// Forks. Returns `None` in the child. The child of a program with several threads may only exit.
///
/// # Panics
/// When the system refuses another process.
pub fn fork() -> Option<Pid> {
    // SAFETY: a child either exits at once, or belongs to a program with one thread, so no lock of its memory is held.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "the system refuses another process");
    Pid::from_raw(child)
}

/// Forks by the system call alone, without the C library and its hooks. Returns `None` in the child.
///
/// # Panics
/// When the system refuses another process.
pub fn fork_past_the_hooks() -> Option<Pid> {
    // SAFETY: as for `fork`, which is this call: `clone` with the signal of the child's end and no flags.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    assert!(child >= 0, "the system refuses another process");
    Pid::from_raw(i32::try_from(child).expect("a process id"))
}

/// Ends a forked child without the exit handlers of its parent.
pub fn exit(status: i32) -> ! {
    // SAFETY: ends the process, which is sound at any time.
    unsafe { libc::_exit(status) }
}

/// Waits for the end of a child, and returns its exit status. `None` if a signal ended it.
///
/// # Panics
/// When there is no such child.
pub fn reap(child: Pid) -> Option<i32> {
    let (_, status) = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty())
        .expect("a child can be waited for once")
        .expect("waiting without a limit ends with a child");
    status.exit_status()
}
