//! The content of a file of the registry.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::StatsError;

/// The first line of every file. The number is the version of the format.
const FIRST_LINE: &str = "tachyon server 1";

/// Most bytes read of a file. A socket path has at most 107 bytes, and some thousand as an absolute path.
pub(super) const LONGEST: usize = 8192;

/// The place of a live server's statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) pid: u32,
    /// The inode of the pid namespace that `pid` belongs to; 0 if unknown.
    pub(crate) namespace: u64,
    /// The pid in this process's namespace. Not in the file.
    pub(crate) pid_here: u32,
    pub(crate) descriptor: u32,
    /// Length of the segment in bytes.
    pub(crate) len: usize,
    pub(crate) token: u64,
    /// Nanoseconds since the epoch.
    pub(crate) started: u64,
    pub(crate) path: PathBuf,
}

impl Record {
    /// One `key value` per line. The path comes last, so that it needs no escaping.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self { pid, namespace, pid_here: _, descriptor, len, token, started, path } = self;
        let mut bytes = format!(
            "{FIRST_LINE}\npid {pid}\nnamespace {namespace}\ndescriptor {descriptor}\nlength {len}\ntoken {token}\n\
             started {started}\npath "
        )
        .into_bytes();
        bytes.extend_from_slice(path.as_os_str().as_bytes());
        bytes
    }

    /// Reads a file's bytes, which any program may have written.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StatsError> {
        let mut rest = bytes;
        let mut line = || {
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let (line, after) = rest.split_at(end);
            rest = &after[1..];
            std::str::from_utf8(line).ok()
        };
        if line() != Some(FIRST_LINE) {
            return Err(StatsError::Malformed("the registry's file begins otherwise"));
        }
        let mut number = |key: &str| {
            let value = line()?.strip_prefix(key)?.strip_prefix(' ')?;
            value.parse::<u64>().ok()
        };
        let (pid, namespace, descriptor) = (number("pid"), number("namespace"), number("descriptor"));
        let (len, token, started) = (number("length"), number("token"), number("started"));
        let path = rest.strip_prefix(b"path ").filter(|path| !path.is_empty() && !path.contains(&0));
        let record = || {
            let pid = u32::try_from(pid?).ok().filter(|pid| *pid != 0)?;
            Some(Self {
                pid,
                pid_here: pid,
                namespace: namespace?,
                descriptor: u32::try_from(descriptor?).ok()?,
                len: usize::try_from(len?).ok()?,
                token: token?,
                started: started?,
                path: OsStr::from_bytes(path?).into(),
            })
        };
        record().ok_or(StatsError::Malformed("the registry's file lacks a line"))
    }

    /// The [`namespace`](Self::namespace) of this process.
    pub(crate) fn own_namespace() -> u64 {
        rustix::fs::stat("/proc/self/ns/pid").map_or(0, |found| found.st_ino)
    }

    /// The path of the segment for other processes of this user.
    pub(crate) fn segment(&self) -> String {
        format!("/proc/{}/fd/{}", self.pid_here, self.descriptor)
    }

    pub(crate) fn started(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.started)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> Record {
        Record {
            pid: 7,
            namespace: 2,
            pid_here: 7,
            descriptor: 3,
            len: 4096,
            token: 9,
            started: 11,
            path: "/tmp/a b\nc.sock".into(),
        }
    }

    #[test]
    fn a_record_survives_its_file_with_any_path() {
        assert_eq!(Record::decode(&record().encode()).unwrap(), record());
    }

    #[test]
    fn a_cut_or_changed_record_is_refused() {
        let whole = record().encode();
        for len in 0..=whole.len() - record().path.as_os_str().len() {
            assert!(Record::decode(&whole[..len]).is_err(), "{len}");
        }
        let text = String::from_utf8(whole).unwrap();
        for (from, to) in [("pid 7", "pid 0"), ("pid 7", "pid -7"), ("server 1", "server 2"), ("length", "lengtt")] {
            assert!(Record::decode(text.replace(from, to).as_bytes()).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_harmless(bytes in prop::collection::vec(any::<u8>(), 0..300), keep in 0usize..120) {
            drop(Record::decode(&bytes));
            let mut spoilt = record().encode();
            spoilt.truncate(keep);
            spoilt.extend(bytes);
            drop(Record::decode(&spoilt));
        }
    }
}
