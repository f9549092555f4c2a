//! Forking, which no safe interface offers: what a child that inherits a connection may do is to be tested.
#![allow(unsafe_code, reason = "there is no safe fork")]

use rustix::process::Pid;

/// Forks; `None` in the child. A child of a program with several threads may only end.
///
/// # Panics
/// When the system has no place for another process.
pub fn fork() -> Option<Pid> {
    // SAFETY: the callers' children either end at once or belong to a program with one thread, whose memory is whole.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no place for another process");
    Pid::from_raw(child)
}

/// Forks as [`fork`], past the C library and its hooks.
///
/// # Panics
/// When the system has no place for another process.
pub fn fork_past_the_hooks() -> Option<Pid> {
    // SAFETY: as above; `clone` with nothing but the signal of the child's end is a fork. Both end up in this call.
    let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    assert!(child >= 0, "no place for another process");
    Pid::from_raw(i32::try_from(child).expect("a process id"))
}

/// Ends a forked child without running what its parent has registered for its own end.
pub fn exit(status: i32) -> ! {
    // SAFETY: ends the process, which is sound at any time.
    unsafe { libc::_exit(status) }
}

/// Collects a child that has ended or is about to, and gives its exit status.
///
/// # Panics
/// When there is no such child.
pub fn reap(child: Pid) -> Option<i32> {
    let (_, status) = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty())
        .expect("a child can be waited for once")
        .expect("waiting without a limit ends with a child");
    status.exit_status()
}
