//! Becomes another program, on another system than the one it finds.
//!
//! `sandboxed before_6_16 PROGRAM ...` takes `SO_PASSRIGHTS` from it by a filter of system calls.
//! `sandboxed other_time PROGRAM ...` runs it in a time namespace whose monotonic clock is far ahead.
//! `sandboxed no_users PROGRAM ...` runs it in a user namespace that maps no user.
//! `sandboxed own_pids PROGRAM ...` runs it as the first process of a pid namespace.
//!
//! Where the system does not permit that, it says so and ends with the status 77.

use std::error::Error;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, set_parent_process_death_signal};
use tachyon_tests::fork;
use tachyon_tests::system::{
    NOT_PERMITTED, forbid_refusing_descriptors, leave_all_users, move_children_in_time, number_children_anew,
};

/// Some 27 hours.
const AHEAD: u32 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [how, program, arguments @ ..] = &arguments[..] else {
        return Err("usage: sandboxed before_6_16|other_time|no_users|own_pids PROGRAM ...".into());
    };
    let mut command = Command::new(program);
    command.args(arguments);
    let prepared = match how.as_str() {
        "before_6_16" => forbid_refusing_descriptors(),
        "other_time" => move_children_in_time(AHEAD),
        "no_users" => leave_all_users(),
        "own_pids" => number_children_anew(),
        other => return Err(format!("no such system: {other}").into()),
    };
    if let Err(error) = prepared {
        report(&format!("not permitted: {error}"));
        std::process::exit(NOT_PERMITTED);
    }
    if matches!(how.as_str(), "other_time" | "own_pids") {
        // The namespace is that of children.
        if let Some(child) = fork::fork() {
            std::process::exit(fork::reap(child).unwrap_or(1));
        }
        set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    Err(command.exec().into())
}

#[expect(clippy::print_stdout, reason = "printing is how a test hears of it")]
fn report(line: &str) {
    println!("{line}");
}
