//! The memory that the control groups of this process, such as a container's, still allow it.
//!
//! Shared memory counts against the limit of a group, and the kernel kills a process of a group at its limit instead of
//! failing the allocation. So the limits are read first.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that all control groups of this process still allow; `None` if no group sets a limit.
pub(super) fn available() -> Option<u64> {
    left(&fs::read_to_string("/proc/self/cgroup").ok()?, Path::new("/sys/fs/cgroup"))
}

/// As [`available`], for the groups listed in `memberships` and mounted at `mounts`.
fn left(memberships: &str, mounts: &Path) -> Option<u64> {
    memberships.lines().filter_map(|line| least(line, mounts)).min()
}

/// The least that a group and its parents allow.
fn least(membership: &str, mounts: &Path) -> Option<u64> {
    // `0::/path` in version 2, `4:cpu,memory:/path` in version 1.
    let mut parts = membership.splitn(3, ':');
    let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { return None };
    let path = path.trim_start_matches('/');
    if controllers.split(',').any(|controller| controller == "memory") {
        return ancestors(&mounts.join("memory"), path).filter_map(|group| first_version(&group)).min();
    }
    if number != "0" {
        return None;
    }
    let hybrid = mounts.join("unified");
    let root = if hybrid.is_dir() { hybrid } else { mounts.to_owned() };
    ancestors(&root, path).filter_map(|group| second_version(&group)).min()
}

/// The folders of a group and its parents, up to the mount. A container does not see the groups above its own.
fn ancestors(mount: &Path, path: &str) -> impl Iterator<Item = PathBuf> {
    let mut inside = Some(PathBuf::from(path));
    let mount = mount.to_owned();
    std::iter::from_fn(move || {
        let here = inside.take()?;
        inside = here.parent().map(Path::to_owned);
        Some(mount.join(here))
    })
}

fn second_version(group: &Path) -> Option<u64> {
    // `max`, for a group without a limit, is not a number.
    let limit = number(&group.join("memory.max"))?;
    let used = number(&group.join("memory.current"))?;
    Some(limit.saturating_sub(used).saturating_add(reclaimable(group, "inactive_file ")))
}

fn first_version(group: &Path) -> Option<u64> {
    let limit = number(&group.join("memory.limit_in_bytes"))?;
    let used = number(&group.join("memory.usage_in_bytes"))?;
    Some(limit.saturating_sub(used).saturating_add(reclaimable(group, "total_inactive_file ")))
}

/// Bytes of cached files, which the kernel drops when it needs memory.
fn reclaimable(group: &Path, entry: &str) -> u64 {
    let Ok(stat) = fs::read_to_string(group.join("memory.stat")) else { return 0 };
    stat.lines().find_map(|line| line.strip_prefix(entry)?.trim().parse().ok()).unwrap_or(0)
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn the_tightest_group_counts() {
        let mounts = tempfile::tempdir().unwrap();
        let root = mounts.path();
        write(&root.join("a"), &[("memory.max", "1000\n"), ("memory.current", "400\n")]);
        write(&root.join("a/b"), &[("memory.max", "max\n"), ("memory.current", "300\n")]);
        write(
            &root.join("a/c"),
            &[("memory.max", "500"), ("memory.current", "450"), ("memory.stat", "anon 7\ninactive_file 30\n")],
        );
        assert_eq!(left("0::/a/b\n", root), Some(600));
        assert_eq!(left("0::/a/c\n", root), Some(80));
        assert_eq!(left("0::/\n", root), None);
        assert_eq!(left("0::/not/to/be/seen\n", root), None);
    }

    #[test]
    fn the_first_version_is_understood() {
        let mounts = tempfile::tempdir().unwrap();
        let group = mounts.path().join("memory/x");
        write(&group, &[("memory.limit_in_bytes", "1000"), ("memory.usage_in_bytes", "1200")]);
        assert_eq!(left("4:memory:/x/y\n3:cpu:/\n0::/\n", mounts.path()), Some(0));
        write(&group, &[("memory.stat", "total_inactive_file 50\n")]);
        assert_eq!(left("4:hugetlb,memory:/x\n", mounts.path()), Some(50));
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        for memberships in ["", "nonsense", "0:", "0::", "x::/", "4:memory:/"] {
            assert_eq!(left(memberships, Path::new("/nowhere")), None, "{memberships}");
        }
    }
}
