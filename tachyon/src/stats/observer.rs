//! The reading side: finds live servers and reads their statistics.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::error::StatsError;
use super::layout::header;
use super::record::Record;
use super::registry::{Folder, is_locked, known_path, locations};
use super::snapshot::{Snapshot, stated_dimensions};
use crate::shm::{ObservedWords, ShmError};
use crate::wait::monotonic_nanos;

/// A live server of this user in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerEntry {
    /// The server's process.
    pub pid: u32,
    /// The path that callers connect to.
    pub path: PathBuf,
    /// When the server began to serve.
    pub started: SystemTime,
}

/// The live servers of this user that publish statistics, the oldest first.
///
/// ```
/// for server in tachyon::stats::servers()? {
///     println!("{} serves {}", server.pid, server.path.display());
/// }
/// # Ok::<(), tachyon::stats::StatsError>(())
/// ```
///
/// # Errors
/// [`StatsError::Folder`] when other users can write to the folder that lists the servers; [`StatsError::System`] when
/// it cannot be read.
pub fn servers() -> Result<Vec<ServerEntry>, StatsError> {
    Ok(records()?
        .into_iter()
        .map(|(record, _)| ServerEntry { pid: record.pid_here, started: record.started(), path: record.path })
        .collect())
}

fn records() -> Result<Vec<(Record, File)>, StatsError> {
    let mut records = Vec::new();
    for location in locations() {
        if let Some(folder) = Folder::open(&location)? {
            records.extend(folder.records()?);
        }
    }
    records.sort_by_key(|(record, _)| (record.started, record.pid));
    Ok(records)
}

/// Reads the statistics of one server, from any process of the same user. The server does not notice.
///
/// ```
/// use tachyon::stats::Observer;
/// use tachyon::{Caller, Dispatcher, RpcServer, ServerOptions};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("service.sock");
/// let mut server = RpcServer::listen_with(&path, ServerOptions::new().stats(true))?;
/// let stopper = server.stopper();
/// let mut dispatcher = Dispatcher::default();
/// dispatcher.register(1, "echo", <[u8]>::to_vec)?;
/// let service = std::thread::spawn(move || dispatcher.serve_forever(&mut server));
/// let mut caller = Caller::connect(&path)?;
/// caller.call(1, b"hello")?;
/// caller.ping(std::time::Duration::from_secs(1))?; // the answer comes after the call was counted
///
/// // in this process or another
/// let observer = Observer::open(&path)?;
/// let before = observer.snapshot()?;
/// assert_eq!((before.endpoints[0].name.as_str(), before.endpoints[0].calls), ("echo", 1));
/// caller.call(1, b"hello")?;
/// caller.ping(std::time::Duration::from_secs(1))?;
/// let interval = observer.snapshot()?.since(&before);
/// assert_eq!(interval.calls(), 1);
/// println!("{:?}", interval.endpoints[0].p99());
///
/// stopper.stop();
/// service.join().unwrap()?;
/// assert!(!observer.is_live());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Observer {
    words: ObservedWords,
    record: Record,
    /// The server's file in the registry. The server keeps the file locked.
    listed: File,
}

impl Observer {
    /// Finds the server at `path`.
    ///
    /// # Errors
    /// [`StatsError::NoServer`] when the registry has no server for the path. Otherwise its memory cannot be opened, or
    /// is not that of a server of this version.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StatsError> {
        let path = known_path(path.as_ref());
        // The latest server: an older one at the same path has lost its socket.
        let found = records()?.into_iter().rfind(|(record, _)| record.path == path);
        let (record, listed) = found.ok_or(StatsError::NoServer { path })?;
        Self::over(record, listed)
    }

    fn over(record: Record, listed: File) -> Result<Self, StatsError> {
        let segment = open_segment(&record)?;
        let words = ObservedWords::adopt(segment.as_fd(), record.len)?;
        check(&words, &record)?;
        Ok(Self { words, record, listed })
    }

    /// Reads all counts. Counts that the server changes meanwhile may be of slightly different moments.
    ///
    /// # Errors
    /// [`StatsError::Malformed`] when the memory is not that of a server of this version.
    pub fn snapshot(&self) -> Result<Snapshot, StatsError> {
        read(&self.words, &self.record, monotonic_nanos())
    }

    /// Whether the server still serves. The last counts stay readable after its end.
    pub fn is_live(&self) -> bool {
        is_locked(&self.listed)
    }
}

/// Reads the words of a record's server, at `now` on `CLOCK_MONOTONIC`.
pub(crate) fn read(words: &ObservedWords, record: &Record, now: u64) -> Result<Snapshot, StatsError> {
    check(words, record)?;
    let snapshot = Snapshot::parse(&words.copy(), record.path.clone(), now)?;
    if snapshot.token == record.token && snapshot.pid == record.pid {
        Ok(snapshot)
    } else {
        Err(StatsError::Malformed("the segment is another server's"))
    }
}

/// Checks the header before all words are copied: the maker of a segment chooses its length.
fn check(words: &ObservedWords, record: &Record) -> Result<(), StatsError> {
    let header: [u64; header::LEN] =
        words.copy_first().ok_or(StatsError::Malformed("the segment is too short for its header"))?;
    stated_dimensions(&header, words.len())?;
    if header[header::TOKEN] == record.token && header[header::PID] == u64::from(record.pid) {
        Ok(())
    } else {
        Err(StatsError::Malformed("the segment is another server's"))
    }
}

/// Opens the segment of a record for reading, if it is a plain file.
fn open_segment(record: &Record) -> Result<OwnedFd, StatsError> {
    let failed = |errno: Errno| StatsError::Open { pid: record.pid, source: errno.into() };
    // A path descriptor first: opening a device or a pipe could have effects, or block.
    let place = rustix::fs::open(record.segment(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let stat = rustix::fs::fstat(&place).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ShmError::NotSharedMemory { found: "not a plain file" }.into());
    }
    let reopened = format!("/proc/self/fd/{}", place.as_raw_fd());
    rustix::fs::open(reopened, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{MemfdFlags, SealFlags, memfd_create};

    use super::*;
    use crate::shm::Words;
    use crate::stats::layout::{Dimensions, MAGIC};
    use crate::sync::Ordering;

    /// A sparse terabyte: a copy of it would end this test.
    #[test]
    fn a_segment_longer_than_any_server_writes_is_not_copied() {
        const LEN: usize = 1 << 40;
        let header = [
            (header::MAGIC, MAGIC),
            (header::PID, u64::from(std::process::id())),
            (header::TOKEN, 9),
            (header::ENDPOINTS, 1025),
            (header::CALLERS, 4096),
            (header::WORKERS, 256),
        ];
        let file = memfd_create(c"test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        for (place, value) in header {
            rustix::io::pwrite(&file, &value.to_le_bytes(), place as u64 * 8).unwrap();
        }
        rustix::fs::ftruncate(&file, LEN as u64).unwrap();
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).unwrap();
        let record = Record {
            pid: std::process::id(),
            namespace: Record::own_namespace(),
            pid_here: std::process::id(),
            descriptor: file.as_raw_fd().unsigned_abs(),
            len: LEN,
            token: 9,
            started: 0,
            path: "/tmp/x.sock".into(),
        };
        let listed = || File::open("/dev/null").unwrap();
        let error = Observer::over(record.clone(), listed()).unwrap_err();
        assert!(matches!(error, StatsError::Malformed("the segment has another size")), "{error}");

        // A header that changes after the observer has opened it.
        let (words, file) = Words::create(Dimensions::new(1, 0, 1).unwrap().len()).unwrap();
        for (place, value) in [header[0], header[1], header[2], (header::ENDPOINTS, 1), (header::WORKERS, 1)] {
            words[place].store(value, Ordering::Relaxed);
        }
        let len = words.len() * 8;
        let record = Record { descriptor: file.as_raw_fd().unsigned_abs(), len, ..record };
        let observer = Observer::over(record, listed()).unwrap();
        assert_eq!(observer.snapshot().unwrap().pid, std::process::id());
        words[header::WORKERS].store(2, Ordering::Relaxed);
        assert!(observer.snapshot().is_err());
        words[header::WORKERS].store(1, Ordering::Relaxed);
        words[header::TOKEN].store(10, Ordering::Relaxed);
        let error = observer.snapshot().unwrap_err();
        assert!(error.to_string().contains("another server's"), "{error}");
    }
}
