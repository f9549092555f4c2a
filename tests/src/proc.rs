//! The kernel's report on a process: `/proc`, and the registrations for `membarrier`.
#![allow(unsafe_code, reason = "`membarrier` has no safe interface")]

use std::fs::{read_dir, read_to_string};
use std::time::Duration;

use crate::wait;

/// A value of `/proc/PROCESS/status` without its unit. A process is its id, `self`, or `thread-self`.
///
/// # Panics
/// When the system does not show the value.
pub fn status(process: &str, key: &str) -> u64 {
    let status = read_to_string(format!("/proc/{process}/status")).expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    value.unwrap_or_else(|| panic!("{key} in /proc/{process}/status"))
}

/// Processor time of a process so far, in clock ticks of 10 ms.
///
/// # Panics
/// When the system does not show it.
pub fn processor_ticks(process: u32) -> u64 {
    let stat = read_to_string(format!("/proc/{process}/stat")).expect("/proc is mounted");
    // The fields behind the program's name, which may contain spaces: `utime` and `stime` are the 12th and 13th.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number of ticks")).sum()
}

/// Waits until a thread of this process has slept for 20 looks in a row, a millisecond apart.
///
/// # Panics
/// When the thread has ended, or does not sleep within 10 s.
pub fn wait_until_asleep(thread: i32) {
    let mut looks = 0;
    wait::until("a thread that sleeps", Duration::from_secs(10), || {
        let stat = read_to_string(format!("/proc/self/task/{thread}/stat")).expect("the thread runs");
        let asleep = stat.rsplit(')').next().is_some_and(|fields| fields.trim_start().starts_with('S'));
        looks = if asleep { looks + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(1));
        looks == 20
    });
}

/// The number of open descriptors, of mapped segments of Tachyon, and of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Open descriptors.
    pub descriptors: usize,
    /// Mapped segments.
    pub segments: usize,
    /// Threads.
    pub threads: usize,
}

impl Footprint {
    /// The footprint of a process.
    ///
    /// # Errors
    /// A process that has ended, or belongs to another user.
    pub fn of(process: u32) -> std::io::Result<Self> {
        let folder = format!("/proc/{process}");
        Ok(Self {
            descriptors: read_dir(format!("{folder}/fd"))?.count(),
            segments: read_to_string(format!("{folder}/maps"))?.matches("memfd:").count(),
            threads: read_dir(format!("{folder}/task"))?.count(),
        })
    }
}

/// Whether this address lies in a segment of Tachyon, which the peer can write.
///
/// # Panics
/// When the system does not show the mappings of this process.
pub fn is_shared<T>(address: *const T) -> bool {
    let maps = read_to_string("/proc/self/maps").expect("/proc is mounted");
    let mut segments = maps.lines().filter(|line| line.contains("/memfd:")).filter_map(|line| {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
    });
    segments.any(|range| range.contains(&address.addr()))
}

/// The kinds of `membarrier` that this process is registered for, as bits. `None` before Linux 6.3, which does not
/// report them.
pub fn membarrier_registrations() -> Option<i64> {
    const GET_REGISTRATIONS: libc::c_int = 1 << 9;
    // SAFETY: takes numbers only.
    let outcome = unsafe { libc::syscall(libc::SYS_membarrier, GET_REGISTRATIONS, 0, 0) };
    (outcome != -1).then_some(outcome)
}
