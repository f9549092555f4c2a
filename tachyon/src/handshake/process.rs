//! The identity of a client's process, for limits per process.

use std::os::fd::{AsFd, BorrowedFd};

use super::credentials::Credentials;

/// `f_type` of pidfs, whose inode numbers are unique (Linux 6.9).
const PIDFS_MAGIC: i64 = 0x5049_4446;

/// The identity of a process, by the best means of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Process {
    /// The inode number of its pidfd.
    Inode(u64),
    /// The process id, and the start time in ticks since boot; 0 if the system does not say.
    Started(u32, u64),
    /// An invisible process of another pid namespace. All such processes of one user count as one process.
    Unseen(Option<u32>),
}

impl Process {
    pub(super) fn of(who: &Credentials) -> Self {
        if let Some(inode) = who.pidfd.as_ref().and_then(|pidfd| inode(pidfd.as_fd())) {
            return Self::Inode(inode);
        }
        who.pid.map_or(Self::Unseen(who.uid), |pid| Self::Started(pid, started(pid).unwrap_or(0)))
    }
}

/// The inode number of a pidfd, if it is unique.
#[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "the fields are narrower on some architectures")]
fn inode(pidfd: BorrowedFd<'_>) -> Option<u64> {
    let found = rustix::fs::fstatfs(pidfd).ok()?;
    if found.f_type as i64 != PIDFS_MAGIC {
        return None;
    }
    rustix::fs::fstat(pidfd).ok().map(|stat| stat.st_ino.into())
}

/// Field 22 of a process's `stat`. Field 2, the name, may contain spaces, and ends with the last parenthesis.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::handshake::credentials;

    #[test]
    fn a_process_is_itself_and_no_other() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let who = || credentials::of_peer(ours.as_fd()).unwrap().unwrap();
        let here = Process::of(&who());
        assert_eq!(here, Process::of(&who()));
        assert!(matches!(here, Process::Inode(_) | Process::Started(..)), "{here:?}");
        let by_number = |pid| Process::of(&Credentials { pidfd: None, pid, uid: Some(7) });
        assert!(matches!(by_number(Some(std::process::id())), Process::Started(_, started) if started > 0));
        assert_ne!(by_number(Some(1)), by_number(Some(std::process::id())));
        assert_eq!(by_number(None), Process::Unseen(Some(7)));
    }
}
