//! The time namespace of a process. Two processes with different monotonic clocks cannot agree on a deadline.

use rustix::fs::stat;

/// The inode of this process's time namespace; 0 if the system does not say, before Linux 5.6 or without `/proc`.
pub(super) fn time_namespace() -> u64 {
    stat("/proc/self/ns/time").map_or(0, |found| found.st_ino)
}

/// Whether two processes are known to read different clocks.
pub(super) fn differ(ours: u64, theirs: u64) -> bool {
    ours != 0 && theirs != 0 && ours != theirs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_namespace_is_the_same_at_every_look() {
        assert!(!differ(time_namespace(), time_namespace()));
        assert!(differ(1, 2));
        assert!(!differ(0, 2) && !differ(2, 0), "an unknown namespace differs from none");
    }
}
