//! Leading a process by the hand: instruction by instruction, or from one system call to the next, so that it can be
//! killed anywhere between two of them.

use std::error::Error;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How far a step goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Instruction,
    /// To the beginning, or the end, of the next system call.
    SystemCall,
}

/// A step that takes longer waits for something, and is where the process is killed.
const LONGEST_STEP: Duration = Duration::from_millis(20);

/// Takes a process that has stopped itself `steps` further. It is left traced, stopped or in a wait; killing it is for
/// the caller. False if it ended on the way.
pub(crate) fn lead(pid: Pid, steps: u32, step: Step) -> Result<bool, Box<dyn Error>> {
    ptrace::attach(pid)?;
    waitpid(pid, None)?;
    for _ in 0..steps {
        match step {
            Step::Instruction => ptrace::step(pid, None)?,
            Step::SystemCall => ptrace::syscall(pid, None)?,
        }
        match stop_of(pid)? {
            Stop::Here => {}
            Stop::Waits => return Ok(true),
            Stop::Ended => return Ok(false),
        }
    }
    Ok(true)
}

enum Stop {
    Here,
    Waits,
    Ended,
}

fn stop_of(pid: Pid) -> Result<Stop, Errno> {
    let begun = Instant::now();
    loop {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::Stopped(_, Signal::SIGTRAP | Signal::SIGSTOP) => return Ok(Stop::Here),
            WaitStatus::Stopped(_, signal) => ptrace::step(pid, signal)?,
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Ok(Stop::Ended),
            WaitStatus::StillAlive if begun.elapsed() > LONGEST_STEP => return Ok(Stop::Waits),
            _ => std::thread::yield_now(),
        }
    }
}

/// Whether a process has stopped.
pub(crate) fn has_stopped(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|fields| fields.trim_start().starts_with('T'))
}
