//! The run of a test program: skip a test, run one test again in its own process, run many cases in parallel.

use std::ffi::OsStr;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Threads of [`in_parallel`].
const THREADS: usize = 6;

/// Prints why a test, or a part of it, is skipped.
#[expect(clippy::print_stderr, reason = "the test harness has no way to skip a test at run time")]
pub fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

/// The command that runs this test program.
///
/// # Panics
/// When the system does not show the program's path.
pub fn this_program() -> Command {
    Command::new(std::env::current_exe().expect("/proc is mounted"))
}

/// Runs one test of this test program again, in a new process with one test thread and the environment variable
/// `variable`. `command` is [`this_program`], or a program that becomes it.
///
/// # Panics
/// When the command cannot be started, or the test fails in the new process, or there is no such test.
pub fn rerun(mut command: Command, test: &str, variable: &str, value: impl AsRef<OsStr>) {
    let command = command.args(["--exact", test, "--test-threads=1"]).env(variable, value);
    let output = command.output().expect("a test program can be started");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && printed.contains("1 passed"), "{printed}");
}

/// Runs `act` for each case, six cases at a time: for tests that mostly wait.
///
/// # Panics
/// When `act` panics.
pub fn in_parallel<T: Send>(cases: Vec<T>, act: impl Fn(T) + Sync) {
    let cases = Mutex::new(cases.into_iter());
    let next = || cases.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || std::iter::from_fn(next).for_each(&act);
    std::thread::scope(|scope| {
        let threads = [(); THREADS].map(|()| scope.spawn(work));
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
}
