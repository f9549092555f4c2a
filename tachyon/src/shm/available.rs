//! How much memory the machine can still give.
//!
//! The kernel lets a process size a memory file beyond the free memory, and kills a process when the pages are touched.
//! So a segment that cannot fit is refused before it is made. The answer is a snapshot: it catches mistakes, not races.

use std::fs;

use super::cgroup;

/// Bytes that the system can allocate without killing a process; `None` if the system does not say.
pub(super) fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|meminfo| parse(&meminfo));
    [machine, cgroup::available()].into_iter().flatten().min()
}

fn parse(meminfo: &str) -> Option<u64> {
    let bytes = |wanted: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(wanted))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kibibytes.checked_mul(1024)
    };
    Some(bytes("MemAvailable:")?.saturating_add(bytes("SwapFree:").unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_swap_count() {
        let meminfo =
            "MemTotal:  8000 kB\nMemFree: 10 kB\nMemAvailable:     300 kB\nSwapTotal: 9 kB\nSwapFree:   5 kB\n";
        assert_eq!(parse(meminfo), Some(305 * 1024));
        assert_eq!(parse("MemAvailable: 7 kB\n"), Some(7 * 1024));
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        for meminfo in ["", "MemFree: 10 kB\n", "MemAvailable: many kB\n", "MemAvailable: 10 MB\n"] {
            assert_eq!(parse(meminfo), None, "{meminfo}");
        }
    }

    #[test]
    fn this_machine_has_some() {
        assert!(available().is_none_or(|bytes| bytes > 1 << 20));
    }
}
