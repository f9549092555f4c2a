//! The bound socket of a listener and its file. Binding replaces a dead socket and no other file, and dropping removes
//! the file only if it is still this listener's.
//!
//! Listeners at one path exclude each other by a lock on a file beside the path, so that one of two simultaneous
//! listeners gets the path. The directory is not locked instead, because every user that can read a directory can lock
//! it. A crash leaves the lock file there, unlocked.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{Pid, geteuid, getpid};

use super::error::ListenError;
use super::path::address;
use crate::options::Options;
use crate::sync::{AtomicU32, Ordering};
use crate::wait::Deadline;
use crate::wait::socket::refuse_rights;

/// Longest wait for other listeners at the same path.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
const LOCK_RETRY: Duration = Duration::from_millis(2);

/// Most clients in the socket's queue; the kernel may cap it further.
const BACKLOG: i32 = 128;

/// A listening socket and its file.
#[derive(Debug)]
pub(super) struct BoundSocket {
    path: PathBuf,
    socket: OwnedFd,
    /// Whether the system refuses descriptors to the clients.
    refuses_rights: bool,
    /// Held open to find the file after a change of the working directory.
    directory: OwnedFd,
    name: OsString,
    /// Device and inode of the file. While the socket is open, no other file gets its inode number.
    identity: (u64, u64),
    owner: Pid,
    /// The listener's user id as clients see it: the user of the latest `listen`.
    listens_as: AtomicU32,
}

impl BoundSocket {
    pub(super) fn new(path: &Path, options: &Options) -> Result<Self, ListenError> {
        let address = address(path)?;
        let fail = |operation, errno| failed(operation, path, errno);
        let (directory_path, name) = split(path)?;
        let directory = open_directory(&directory_path, path)?;
        let socket = new_socket().map_err(|errno| fail("make a socket for", errno))?;
        // The kernel copies the socket's mode to the file, so the file's mode is never wider, not even for a moment.
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(|errno| fail("restrict", errno))?;

        // Before the first client: accepted sockets inherit it.
        let refuses_rights = refuse_rights(socket.as_fd());
        let _lock = BindLock::take(&directory, name, path, options)?;
        clear(&directory, name, &address, path)?;
        rustix::net::bind(&socket, &address).map_err(|errno| match errno {
            Errno::ADDRINUSE => ListenError::AddressInUse { path: path.to_owned() },
            _ => fail("bind", errno),
        })?;
        let identity = look(&directory, name).map_err(|errno| fail("find the socket just made at", errno))?;
        let bound = Self {
            path: path.to_owned(),
            refuses_rights,
            socket,
            directory,
            name: name.to_owned(),
            identity,
            owner: getpid(),
            listens_as: AtomicU32::new(geteuid().as_raw()),
        };
        bound.undo_umask().map_err(|errno| fail("restrict", errno))?;
        rustix::net::listen(&bound.socket, BACKLOG).map_err(|errno| fail("listen on", errno))?;
        Ok(bound)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Shows clients the present user of this process, by a new `listen`. A failure changes nothing.
    pub(super) fn update_credentials(&self) {
        let now = geteuid().as_raw();
        if self.listens_as.load(Ordering::Relaxed) != now && rustix::net::listen(&self.socket, BACKLOG).is_ok() {
            self.listens_as.store(now, Ordering::Relaxed);
        }
    }

    /// Whether the system refuses descriptors to the clients.
    pub(super) fn refuses_rights(&self) -> bool {
        self.refuses_rights
    }

    /// Restores the owner's permissions after an unusual umask.
    fn undo_umask(&self) -> Result<(), Errno> {
        let stat = rustix::fs::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        let wanted = Mode::RUSR | Mode::WUSR;
        if Mode::from_raw_mode(stat.st_mode).contains(wanted) {
            return Ok(());
        }
        rustix::fs::chmodat(&self.directory, &self.name, wanted, AtFlags::empty())
    }
}

impl AsFd for BoundSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        // A forked child has a copy of this value, but the path belongs to the parent.
        if self.owner != getpid() {
            return;
        }
        // Without the lock: the socket is still open, so no other listener takes it for a dead socket.
        if look(&self.directory, &self.name) == Ok(self.identity) {
            // After a failure the next listener replaces the dead socket.
            let _ = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}

/// The lock under which a listener may change the file at a path. Other listeners wait.
struct BindLock {
    directory: OwnedFd,
    name: OsString,
    file: OwnedFd,
}

impl BindLock {
    fn take(directory: &OwnedFd, socket: &OsStr, path: &Path, options: &Options) -> Result<Self, ListenError> {
        let mut name = socket.to_owned();
        name.push(".lock");
        let deadline = Deadline::after(LOCK_TIMEOUT);
        loop {
            let file = Self::open(directory, &name, path)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // The last holder has removed its file: the lock counts only if the name still leads to the file.
                Ok(()) if inode(&file) == look(directory, &name) => {
                    let directory = directory
                        .try_clone()
                        .map_err(|source| ListenError::system("keep the directory of", path, source))?;
                    return Ok(Self { directory, name, file });
                }
                Ok(()) | Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if deadline.has_passed() => {
                    return Err(ListenError::Locked { path: beside(path, &name) });
                }
                Err(Errno::WOULDBLOCK) => thread::sleep(LOCK_RETRY),
                Err(errno) => return Err(failed("lock the file beside", path, errno)),
            }
            if options.interrupt_hook().is_some_and(|asked| asked()) {
                return Err(ListenError::Interrupted { path: path.to_owned() });
            }
        }
    }

    /// Opens or creates the lock file. Another user's file is refused, because that user could keep it locked.
    fn open(directory: &OwnedFd, name: &OsStr, path: &Path) -> Result<OwnedFd, ListenError> {
        let foreign = |uid| ListenError::ForeignLock { path: beside(path, name), uid };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR);
        let owner = |stat: Stat| Some(stat.st_uid).filter(|uid| *uid != geteuid().as_raw());
        match file {
            Ok(file) => {
                let stat = rustix::fs::fstat(&file).map_err(|errno| failed("inspect the lock beside", path, errno))?;
                owner(stat).map_or(Ok(file), |uid| Err(foreign(uid)))
            }
            Err(errno) => match stat(directory, name).ok().and_then(owner) {
                Some(uid) => Err(foreign(uid)),
                None => Err(failed("open the lock beside", path, errno)),
            },
        }
    }
}

impl Drop for BindLock {
    fn drop(&mut self) {
        // Removed while it is locked: a waiting listener notices the removal, and creates a new file.
        let _ = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty());
        // The close would not unlock the file if a forked child has a copy of the descriptor.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

fn beside(path: &Path, name: &OsStr) -> PathBuf {
    path.with_file_name(name)
}

/// Makes the path free, by removing a socket without a listener.
fn clear(directory: &OwnedFd, name: &OsStr, address: &SocketAddrUnix, path: &Path) -> Result<(), ListenError> {
    match stat(directory, name) {
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(failed("look at", path, errno)),
        Ok(found) if FileType::from_raw_mode(found.st_mode) != FileType::Socket => {
            return Err(ListenError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    let probe = new_socket().map_err(|errno| failed("make a socket for", path, errno))?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed("replace the dead socket", path, errno)),
        },
        Err(Errno::NOENT) => Ok(()),
        // AGAIN means a full queue, PROTOTYPE a socket of another type: both have a live owner.
        Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(ListenError::AddressInUse { path: path.to_owned() }),
        Err(errno) => Err(failed("find out who owns", path, errno)),
    }
}

/// A new sequenced-packet socket, as both sides use.
pub(super) fn new_socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// The directory of a path and the name in it.
fn split(path: &Path) -> Result<(PathBuf, &OsStr), ListenError> {
    let not_a_socket = || ListenError::NotASocket { path: path.to_owned() };
    // `file_name` would look past a final slash, which says that a directory is meant.
    let Some(Component::Normal(name)) = path.components().next_back() else { return Err(not_a_socket()) };
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.as_os_str().as_encoded_bytes().ends_with(b"/.") {
        return Err(not_a_socket());
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    Ok((directory, name))
}

fn open_directory(directory: &Path, path: &Path) -> Result<OwnedFd, ListenError> {
    // Neither listing nor locking it is needed, so it need not be readable.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, directory, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => ListenError::NoDirectory { directory: directory.to_owned() },
        _ => failed("open the directory of", path, errno),
    })
}

fn stat(directory: &OwnedFd, name: &OsStr) -> Result<Stat, Errno> {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
}

#[allow(clippy::useless_conversion, reason = "the fields are narrower on some architectures")]
fn identity(found: Stat) -> (u64, u64) {
    (found.st_dev.into(), found.st_ino.into())
}

fn look(directory: &OwnedFd, name: &OsStr) -> Result<(u64, u64), Errno> {
    stat(directory, name).map(identity)
}

fn inode(file: &OwnedFd) -> Result<(u64, u64), Errno> {
    rustix::fs::fstat(file).map(identity)
}

fn failed(operation: &'static str, path: &Path, errno: Errno) -> ListenError {
    ListenError::system(operation, path, errno.into())
}
