//! Runs a process step by step, by instruction or by system call, so that it can be killed between any two steps.

use std::error::Error;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// The kind of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Instruction,
    /// To the next entry or exit of a system call.
    SystemCall,
}

/// A longer step is a wait of the process, which is then killed in it.
const LONGEST_STEP: Duration = Duration::from_millis(20);

/// Runs a stopped process for `steps` steps. Leaves the process traced, stopped or in a wait, for the caller to kill.
/// Returns false if the process ended.
pub(crate) fn single_step(pid: Pid, steps: u32, step: Step) -> Result<bool, Box<dyn Error>> {
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

/// Whether a process is stopped.
pub(crate) fn is_stopped(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|fields| fields.trim_start().starts_with('T'))
}
