//! Runs a program on another system than the present one.
//!
//! `sandboxed before_6_16 PROGRAM ...`: without `SO_PASSRIGHTS`, by a filter of system calls.
//! `sandboxed other_time PROGRAM ...`: in a time namespace whose monotonic clock is far ahead.
//! `sandboxed no_users PROGRAM ...`: in a user namespace that maps no user.
//! `sandboxed own_pids PROGRAM ...`: as the first process of a pid namespace.
//!
//! If the system does not permit the sandbox, the program prints the reason and ends with the status 77.

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};
use tachyon_tests::fork;
use tachyon_tests::process::{arguments, report};
use tachyon_tests::sandbox::{NOT_PERMITTED, forbid_refusing_descriptors, unshare_pids, unshare_time, unshare_users};

/// Seconds that the clock is ahead: some 27 hours.
const AHEAD: u32 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments();
    let [how, program, arguments @ ..] = &arguments[..] else {
        return Err("usage: sandboxed before_6_16|other_time|no_users|own_pids PROGRAM ...".into());
    };
    let mut command = Command::new(program);
    command.args(arguments);
    let prepared = match *how {
        "before_6_16" => forbid_refusing_descriptors(),
        "other_time" => unshare_time(AHEAD),
        "no_users" => unshare_users(),
        "own_pids" => unshare_pids(),
        other => return Err(format!("no such system: {other}").into()),
    };
    if let Err(error) = prepared {
        report(&format!("not permitted: {error}"))?;
        std::process::exit(NOT_PERMITTED);
    }
    if matches!(*how, "other_time" | "own_pids") {
        // Only children of this process are in the namespace.
        if let Some(child) = fork::fork() {
            std::process::exit(fork::reap(child).unwrap_or(1));
        }
        set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    Err(command.exec().into())
}
