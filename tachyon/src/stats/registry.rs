//! Where live servers are listed: a folder of this user's, with a file per server.
//!
//! A server keeps its file locked as long as it lives, so a file that is not locked is a dead server's and may go. The
//! folder's own lock is held while a file is made and locked, and while a dead one is removed: so no file is taken for
//! a dead server's between its making and its locking.

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

/// Longest wait for a lock that others hold for moments.
const PATIENCE: Duration = Duration::from_secs(1);

/// Names a folder in whose `tachyon` servers are listed, for programs that are to keep to themselves.
const OVERRIDE: &str = "TACHYON_RUNTIME_DIR";

/// The folders of this user: `/run/user/UID/tachyon` where the system has that, and `/tmp/tachyon-UID`. A server lists
/// itself in the first; another one may have begun before the system had it. They do not depend on what else a process
/// was started with, so that all processes of a user see each other.
pub(crate) fn locations() -> Vec<PathBuf> {
    if let Some(own) = std::env::var_os(OVERRIDE).map(PathBuf::from).filter(|path| path.is_absolute()) {
        return vec![own.join("tachyon")];
    }
    let uid = rustix::process::geteuid().as_raw();
    let runtime = PathBuf::from(format!("/run/user/{uid}"));
    let runtime = runtime.is_dir().then(|| runtime.join("tachyon"));
    runtime.into_iter().chain([PathBuf::from(format!("/tmp/tachyon-{uid}"))]).collect()
}

/// Which process has which file locked: by device and inode, as this process's pid namespace numbers processes. A server
/// in a namespace of its own knows itself by another number.
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

/// The folder, opened, after it was checked.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    file: OwnedFd,
}

impl Folder {
    /// Opens the folder, making it if it is missing.
    pub(crate) fn create(path: &Path) -> Result<Self, StatsError> {
        match rustix::fs::mkdir(path, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("make", path, errno)),
        }
        Self::open(path)?.ok_or_else(|| failed("open", path, Errno::NOENT))
    }

    /// Opens the folder; `None` when there is none. One that anybody else could write to is refused: whoever can put a
    /// file there can have observers look into any process of this user's.
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

    /// Keeps other processes from adding and removing files, until dropped.
    fn lock(&self, patience: Duration) -> Result<OwnedFd, StatsError> {
        // A description of its own, whose lock is nobody else's in this process.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(&self.file, c".", flags, Mode::empty())
            .map_err(|errno| failed("open", &self.path, errno))?;
        if acquire(&lock, Deadline::after(patience)).map_err(|errno| failed("lock", &self.path, errno))? {
            Ok(lock)
        } else {
            Err(StatsError::Locked { path: self.path.clone() })
        }
    }

    /// Lists a server until the registration is dropped.
    pub(super) fn register(self: &Arc<Self>, record: &Record) -> Result<Registration, StatsError> {
        let name = format!("{}-{:016x}{SUFFIX}", record.pid, record.token);
        let at = || self.path.join(&name);
        let lock = self.lock(PATIENCE)?;
        // Servers that are killed leave their files; so that these do not gather where nobody ever observes.
        for name in self.names()? {
            self.remove_dead(&lock, &name);
        }
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.file, &name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| failed("make", &at(), errno))?;
        let mut file = File::from(file);
        // From here on its drop removes the file.
        let registration = Registration {
            folder: Arc::clone(self),
            pid: std::process::id(),
            _locked: file.try_clone().map_err(|source| system("keep", &at(), source))?,
            name,
        };
        let at = || self.path.join(&registration.name);
        // An observer may be looking whether it is locked.
        match acquire(&file, Deadline::after(PATIENCE)) {
            Ok(true) => {}
            Ok(false) => return Err(StatsError::Locked { path: at() }),
            Err(errno) => return Err(failed("lock", &at(), errno)),
        }
        file.write_all(&record.encode()).map_err(|source| system("write", &at(), source))?;
        Ok(registration)
    }

    /// The live servers; files of dead ones are removed on the way. Left out is what cannot be observed: a locked file
    /// that is no record, and a dead server's that a forked child of it still keeps locked.
    pub(super) fn records(&self) -> Result<Vec<(Record, File)>, StatsError> {
        let mut records = Vec::new();
        let (lockers, here) = (lockers(), Record::own_namespace());
        for name in self.names()? {
            // One that vanishes meanwhile, or cannot be opened, is no live server's.
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
                // A folder that is in use now is tidied by the next observer.
                self.remove_dead(&lock, &name);
            }
        }
        records.sort_by_key(|(record, _)| (record.started, record.pid));
        Ok(records)
    }

    /// The files of servers.
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
        // Not to be stopped by a FIFO.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.file, name, flags, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        let ours = stat.st_uid == rustix::process::geteuid().as_raw();
        (ours && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then(|| file.into())
    }

    /// Removes a file that is not locked, while the folder's lock sees to it that nobody is about to lock it.
    fn remove_dead(&self, _lock: &OwnedFd, name: &CStr) {
        if self.open_file(name).is_some_and(|file| !is_locked(&file)) {
            // Failing means that another observer was first.
            let _ = rustix::fs::unlinkat(&self.file, name, AtFlags::empty());
        }
    }
}

/// A server's place in the list; dropping it takes the server off.
#[derive(Debug)]
pub(crate) struct Registration {
    folder: Arc<Folder>,
    name: String,
    /// The process that registered: a forked child that drops its copy takes nobody off.
    pid: u32,
    _locked: File,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            // Failing means that it is gone already; and if not, it is no longer locked.
            let _ = rustix::fs::unlinkat(&self.folder.file, &self.name, AtFlags::empty());
        }
    }
}

/// Whether some process keeps a file locked.
pub(super) fn is_locked(file: &File) -> bool {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            // An error is impossible for a lock that is held, and closing the file frees it too.
            let _ = rustix::fs::flock(file, FlockOperation::Unlock);
            false
        }
        Err(_) => true,
    }
}

/// Locks a file for itself; false when others kept it until the deadline.
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

/// The path that servers and observers know a socket by, however each was told it.
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
