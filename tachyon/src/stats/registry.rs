//! The registry of live servers: a folder of this user, with a file per server.
//!
//! A server keeps its file locked while it lives, so an unlocked file belongs to a dead server and may be removed. A
//! process holds the folder's lock while it makes and locks a file, and while it removes a file: so no process removes
//! a new file before it is locked.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::error::StatsError;
use super::record::{LONGEST, Record};
use crate::wait::Deadline;

const SUFFIX: &str = ".server";

/// Longest wait for a lock. Other processes hold it for some milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Overrides the parent of the folder `tachyon`, for programs that want a registry of their own.
const OVERRIDE: &str = "TACHYON_RUNTIME_DIR";

/// The folders of this user: `/run/user/UID/tachyon` if `/run/user/UID` exists, and `/tmp/tachyon-UID`. A server lists
/// itself in the first folder; an older server may have started before that folder existed. The folders do not depend
/// on other environment variables, so that all processes of a user see each other.
pub(crate) fn locations() -> Vec<PathBuf> {
    if let Some(own) = std::env::var_os(OVERRIDE).map(PathBuf::from).filter(|path| path.is_absolute()) {
        return vec![own.join("tachyon")];
    }
    let uid = rustix::process::geteuid().as_raw();
    let runtime = PathBuf::from(format!("/run/user/{uid}"));
    let runtime = runtime.is_dir().then(|| runtime.join("tachyon"));
    runtime.into_iter().chain([PathBuf::from(format!("/tmp/tachyon-{uid}"))]).collect()
}

/// The process that has a file locked, by device and inode: its pid in this process's namespace. A server in another
/// pid namespace knows itself by another pid.
fn lockers() -> HashMap<(u32, u32, u64), u32> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "FLOCK").skip(3);
        let pid: u32 = words.next()?.parse().ok()?;
        let mut file = words.next()?.split(':');
        let mut number = || u32::from_str_radix(file.next()?, 16).ok();
        let (major, minor) = (number()?, number()?);
        Some(((major, minor, file.next()?.parse().ok()?), pid))
    };
    std::fs::read_to_string("/proc/locks").unwrap_or_default().lines().filter_map(line).collect()
}

/// The folder, open and checked.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    file: OwnedFd,
}

impl Folder {
    /// Opens the folder, and makes it if it is missing.
    pub(crate) fn create(path: &Path) -> Result<Self, StatsError> {
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("make", path, errno)),
        }
        Self::open(path)?.ok_or_else(|| failed("open", path, Errno::NOENT))
    }

    /// Opens the folder; `None` when it does not exist. A folder that other users can write to is refused: with a file
    /// there, another user could direct observers to any process of this user.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>, StatsError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fault = |fault| Err(StatsError::Folder { path: path.to_owned(), fault });
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => return fault("is a symbolic link or no directory"),
            Err(errno) => return Err(failed("open", path, errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|errno| failed("inspect", path, errno))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return fault("belongs to another user");
        }
        if Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
            return fault("is open to other users");
        }
        Ok(Some(Self { path: path.to_owned(), file }))
    }

    /// Keeps other processes from adding and removing files, until the drop.
    fn lock(&self, patience: Duration) -> Result<OwnedFd, StatsError> {
        // A new file description: threads that share one would share the lock.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(&self.file, c".", flags, Mode::empty())
            .map_err(|errno| failed("open", &self.path, errno))?;
        if acquire(&lock, Deadline::after(patience)).map_err(|errno| failed("lock", &self.path, errno))? {
            Ok(lock)
        } else {
            Err(StatsError::Locked { path: self.path.clone() })
        }
    }

    /// Lists a server until the drop of the registration.
    pub(super) fn register(self: &Arc<Self>, record: &Record) -> Result<Registration, StatsError> {
        let name = format!("{}-{:016x}{SUFFIX}", record.pid, record.token);
        let at = || self.path.join(&name);
        let lock = self.lock(PATIENCE)?;
        // A killed server leaves its file. Without an observer, only new servers remove such files.
        for name in self.names()? {
            self.remove_dead(&lock, &name);
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.file, &name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| failed("make", &at(), errno))?;
        let mut file = File::from(file);
        // From here on the drop of the registration removes the file.
        let registration = Registration {
            folder: Arc::clone(self),
            pid: std::process::id(),
            _locked: file.try_clone().map_err(|source| system("keep", &at(), source))?,
            name,
        };
        let at = || self.path.join(&registration.name);
        // An observer that checks the lock holds it for a moment.
        match acquire(&file, Deadline::after(PATIENCE)) {
            Ok(true) => {}
            Ok(false) => return Err(StatsError::Locked { path: at() }),
            Err(errno) => return Err(failed("lock", &at(), errno)),
        }
        file.write_all(&record.encode()).map_err(|source| system("write", &at(), source))?;
        Ok(registration)
    }

    /// The live servers. Removes the files of dead servers. Leaves out servers that cannot be observed: a locked file
    /// that is no record, and the file of a dead server that a forked child keeps locked.
    pub(super) fn records(&self) -> Result<Vec<(Record, File)>, StatsError> {
        let mut records = Vec::new();
        let (lockers, here) = (lockers(), Record::own_namespace());
        for name in self.names()? {
            // A file that vanishes meanwhile, or cannot be opened, is not that of a live server.
            let Some(mut file) = self.open_file(&name) else { continue };
            if is_locked(&file) {
                let mut bytes = Vec::new();
                if (&mut file).take(LONGEST as u64).read_to_end(&mut bytes).is_ok()
                    && let Ok(mut record) = Record::decode(&bytes)
                    && let Ok(stat) = rustix::fs::fstat(&file)
                {
                    let file_id = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev), stat.st_ino);
                    if record.namespace != here {
                        record.pid_here = lockers.get(&file_id).copied().unwrap_or(record.pid);
                    }
                    if std::fs::symlink_metadata(record.segment()).is_ok() {
                        records.push((record, file));
                    }
                }
            } else if let Ok(lock) = self.lock(Duration::ZERO) {
                // If another process holds the folder's lock, the next observer removes the file.
                self.remove_dead(&lock, &name);
            }
        }
        records.sort_by_key(|(record, _)| (record.started, record.pid));
        Ok(records)
    }

    /// The names of the servers' files.
    fn names(&self) -> Result<Vec<CString>, StatsError> {
        let failed = |errno| failed("read", &self.path, errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.file).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_owned();
            if name.to_bytes().ends_with(SUFFIX.as_bytes()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open_file(&self, name: &CStr) -> Option<File> {
        // NONBLOCK: opening a FIFO would block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.file, name, flags, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        let ours = stat.st_uid == rustix::process::geteuid().as_raw();
        (ours && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then(|| file.into())
    }

    /// Removes a file that is not locked. Needs the folder's lock, so that no process is about to lock the file.
    fn remove_dead(&self, _lock: &OwnedFd, name: &CStr) {
        if self.open_file(name).is_some_and(|file| !is_locked(&file)) {
            // Fails if another observer was first.
            let _ = rustix::fs::unlinkat(&self.file, name, AtFlags::empty());
        }
    }
}

/// A server's entry in the registry. The drop removes the entry.
#[derive(Debug)]
pub(crate) struct Registration {
    folder: Arc<Folder>,
    name: String,
    /// The process that registered. A forked child that drops its copy removes nothing.
    pid: u32,
    _locked: File,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            // Fails if the file is gone already. A file that stays is no longer locked.
            let _ = rustix::fs::unlinkat(&self.folder.file, &self.name, AtFlags::empty());
        }
    }
}

/// Whether a process keeps a file locked.
pub(super) fn is_locked(file: &File) -> bool {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            // Cannot fail for a held lock; closing the file frees the lock too.
            let _ = rustix::fs::flock(file, FlockOperation::Unlock);
            false
        }
        Err(_) => true,
    }
}

/// Locks a file exclusively; false when other processes hold the lock until the deadline.
fn acquire(file: impl std::os::fd::AsFd, deadline: Deadline) -> Result<bool, Errno> {
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK | Errno::INTR) if deadline.has_passed() => return Ok(false),
            Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(Duration::from_millis(1)),
            Err(errno) => return Err(errno),
        }
    }
}

/// The canonical path of a socket, the same for servers and observers.
pub(super) fn known_path(path: &Path) -> PathBuf {
    let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let known = std::fs::canonicalize(path).unwrap_or_else(|_| absolute());
    debug_assert!(!known.as_os_str().as_bytes().is_empty());
    known
}

fn failed(operation: &'static str, path: &Path, errno: Errno) -> StatsError {
    system(operation, path, errno.into())
}

fn system(operation: &'static str, path: &Path, source: std::io::Error) -> StatsError {
    StatsError::System { operation, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
