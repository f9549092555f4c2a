//! The identity of the process at the other end of a socket.
#![allow(unsafe_code, reason = "two socket options have no sound safe wrapper")]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, socklen_t};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The identity of the peer, from the kernel.
#[derive(Debug)]
pub(super) struct Credentials {
    /// Readable once the process has ended. `None` if the kernel has no pidfds, or the process is invisible.
    pub(super) pidfd: Option<OwnedFd>,
    /// `None` if the process is in a pid namespace that this process does not see.
    pub(super) pid: Option<u32>,
    /// `None` for a user that this user namespace does not map: the kernel shows all such users by one number.
    pub(super) uid: Option<u32>,
}

/// Asks the kernel about the peer of a connected Unix socket.
///
/// `Ok(None)` means that the peer's process has ended already.
pub(super) fn of_peer(socket: BorrowedFd<'_>) -> io::Result<Option<Credentials>> {
    let ucred: libc::ucred = option(socket, libc::SO_PEERCRED)?;
    // rustix's own SO_PEERCRED returns a type that cannot hold the 0 of an invisible process.
    let pid = Pid::from_raw(ucred.pid);
    let pidfd = match peer_pidfd(socket, pid) {
        Ok(pidfd) => pidfd,
        // The process is reaped already. Kernels up to 6.8 return INVAL.
        Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let pid = pid.and_then(|pid| u32::try_from(pid.as_raw_pid()).ok());
    Ok(Some(Credentials { pidfd, pid, uid: mapped(ucred.uid) }))
}

/// The user id; `None` for the overflow id, which stands for all unmapped users. In a namespace that maps all users,
/// the overflow id is an ordinary user.
fn mapped(uid: u32) -> Option<u32> {
    let read = |path| std::fs::read_to_string(path).ok();
    let maps_all = read("/proc/self/uid_map").is_some_and(|map| maps_all_users(&map));
    let overflow = || read("/proc/sys/kernel/overflowuid").and_then(|uid| uid.trim().parse().ok()).unwrap_or(65534);
    (maps_all || uid != overflow()).then_some(uid)
}

/// Whether a user namespace maps all users. A line of the map has the first id inside, the first id outside, the count.
fn maps_all_users(map: &str) -> bool {
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

fn peer_pidfd(socket: BorrowedFd<'_>, pid: Option<Pid>) -> Result<Option<OwnedFd>, Errno> {
    match so_peerpidfd(socket) {
        // Unknown before Linux 6.5, or the kernel kept no reference to the process.
        Err(Errno::NOPROTOOPT | Errno::NODATA) => by_pid(pid),
        outcome => outcome.map(Some),
    }
}

/// A pidfd by process id. The id may belong to another process by now. The hang-up of the socket, the other sign of the
/// peer's end, still works then.
fn by_pid(pid: Option<Pid>) -> Result<Option<OwnedFd>, Errno> {
    let Some(pid) = pid else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        // Before Linux 5.3, or in a sandbox that forbids the call.
        Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        outcome => outcome.map(Some),
    }
}

fn so_peerpidfd(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let raw: c_int = option(socket, libc::SO_PEERPIDFD)?;
    // SAFETY: on success the kernel has installed `raw` as a new descriptor for this call, so it is open and has no
    // other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// C types for which any bytes are a valid value.
trait PlainOption: Copy {}
impl PlainOption for c_int {}
impl PlainOption for libc::ucred {}

fn option<T: PlainOption>(socket: BorrowedFd<'_>, name: c_int) -> Result<T, Errno> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = socklen_t::try_from(size_of::<T>()).map_err(|_| Errno::INVAL)?;
    // SAFETY: the descriptor is open for the length of the borrow; `value` is writable for `len` bytes, and both
    // pointers outlive the call.
    let outcome = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, name, value.as_mut_ptr().cast(), &raw mut len)
    };
    if outcome != 0 {
        return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL));
    }
    if usize::try_from(len) != Ok(size_of::<T>()) {
        return Err(Errno::IO);
    }
    // SAFETY: the memory was zeroed and then written by the kernel, and any bytes are a valid `PlainOption`.
    Ok(unsafe { value.assume_init() })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn ended(pidfd: &OwnedFd) -> bool {
        poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn a_peer_in_this_process_is_this_process() {
        let (a, _b) = UnixStream::pair().unwrap();
        let found = of_peer(a.as_fd()).unwrap().unwrap();
        assert_eq!(found.pid, Some(std::process::id()));
        assert_eq!(found.uid, Some(rustix::process::geteuid().as_raw()));
        let pidfd = found.pidfd.unwrap();
        assert!(rustix::io::fcntl_getfd(&pidfd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        assert!(!ended(&pidfd));
    }

    #[test]
    fn only_a_namespace_that_maps_all_users_has_no_overflow_id() {
        assert!(maps_all_users("         0          0 4294967295\n"));
        for map in ["", "0 1000 1\n", "0 0 4294967294\n", "0 0 65536\n65536 65536 4294901759\n"] {
            assert!(!maps_all_users(map), "{map}");
        }
        assert_eq!(mapped(1000), Some(1000));
    }

    #[test]
    fn a_kernel_without_the_option_is_asked_by_number() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = by_pid(Some(Pid::from_child(&child))).unwrap().unwrap();
        assert!(!ended(&pidfd));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(ended(&pidfd));
    }

    #[test]
    fn an_invisible_process_has_no_pidfd() {
        assert!(by_pid(Pid::from_raw(0)).unwrap().is_none());
    }

    #[test]
    fn a_reaped_process_cannot_be_opened() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        child.wait().unwrap();
        assert_eq!(by_pid(Some(pid)).unwrap_err(), Errno::SRCH);
    }

    #[test]
    fn a_descriptor_that_is_no_socket_is_an_error() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(of_peer(file.as_fd()).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    }
}
