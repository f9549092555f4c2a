//! What tests ask of the system, or take from it, and no safe interface offers.
#![allow(unsafe_code, reason = "system calls without a safe interface")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use memmap2::MmapMut;
use rustix::net::{AddressFamily, SocketType};

/// `SO_PASSRIGHTS`, which the crate `libc` does not have.
const SO_PASSRIGHTS: libc::c_int = 83;

/// The exit status of `sandboxed` where the system does not permit what it does.
pub const NOT_PERMITTED: i32 = 77;

/// The system that a process under test sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// The one that the tests run on.
    Present,
    /// One without `SO_PASSRIGHTS`, as before Linux 6.16.
    Before616,
}

impl System {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Present, Self::Before616];

    /// The command that runs `program` on this system. `sandboxed` is `env!("CARGO_BIN_EXE_sandboxed")`.
    pub fn command(self, sandboxed: &str, program: impl AsRef<Path>) -> Command {
        match self {
            Self::Present => Command::new(program.as_ref()),
            Self::Before616 => {
                let mut command = Command::new(sandboxed);
                command.arg("before_6_16").arg(program.as_ref());
                command
            }
        }
    }

    /// Whether a process on this system can have the kernel refuse descriptors to its peers.
    ///
    /// # Panics
    /// When there can be no socket.
    pub fn refuses_descriptors(self) -> bool {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).expect("a socket");
        self == Self::Present && refuse_descriptors(&socket).is_ok()
    }
}

fn refuse_descriptors(socket: &OwnedFd) -> io::Result<()> {
    let value: libc::c_int = 0;
    let len = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open, and `value` is readable for the `len` bytes announced.
    let outcome = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_PASSRIGHTS, (&raw const value).cast(), len)
    };
    checked(outcome.into()).map(drop)
}

/// The result of a system call that says -1 for an error.
fn checked(outcome: i64) -> io::Result<i64> {
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(outcome) }
}

/// Takes `SO_PASSRIGHTS` from this process and from every program that it becomes or starts.
///
/// # Errors
/// When the system has no filters of system calls, or the filter lets the option pass.
pub fn forbid_refusing_descriptors() -> io::Result<()> {
    let statement = |code: u32, k: u32| -> io::Result<libc::sock_filter> {
        Ok(libc::sock_filter { code: u16::try_from(code).map_err(io::Error::other)?, jt: 0, jf: 0, k })
    };
    // What a filter sees: the number of the system call, the machine, the instruction, then the arguments in 8 bytes
    // each. The lower half of an argument comes first on the machines that have the option under this number.
    let load = |at: u32| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at);
    // Goes on if the number that was loaded is this one, otherwise skips what is left up to the last statement.
    let only = |number: u32, left: u8| -> io::Result<libc::sock_filter> {
        Ok(libc::sock_filter { jf: left, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number)? })
    };
    let give = |what: u32| statement(libc::BPF_RET | libc::BPF_K, what);
    let call = u32::try_from(libc::SYS_setsockopt).map_err(io::Error::other)?;
    let mut program = [
        load(0)?,
        only(call, 5)?,
        load(24)?,
        only(libc::SOL_SOCKET.cast_unsigned(), 3)?,
        load(32)?,
        only(SO_PASSRIGHTS.cast_unsigned(), 1)?,
        give(libc::SECCOMP_RET_ERRNO | libc::ENOPROTOOPT.cast_unsigned())?,
        give(libc::SECCOMP_RET_ALLOW)?,
    ];
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let filter = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: takes numbers alone.
    let bound = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    checked(bound.into())?;
    // SAFETY: the filter is a program of the length it says, and lives through the call, which copies it.
    let filtered = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    checked(filtered.into())?;
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
    match refuse_descriptors(&socket) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        other => Err(io::Error::other(format!("the filter does not refuse the option: {other:?}"))),
    }
}

/// The kinds of membarrier that this process is registered for, as bits; `None` where the system does not say, as before
/// Linux 6.3.
pub fn membarrier_registrations() -> Option<i64> {
    const GET_REGISTRATIONS: libc::c_int = 1 << 9;
    // SAFETY: takes numbers alone.
    let outcome = unsafe { libc::syscall(libc::SYS_membarrier, GET_REGISTRATIONS, 0, 0) };
    checked(outcome).ok()
}

/// Puts the children of this process, which must have one thread, into a time namespace of their own, whose monotonic
/// clock is `seconds` ahead of the machine's.
///
/// # Errors
/// When the system does not permit it, neither as this user nor in a user namespace of its own.
pub fn move_children_in_time(seconds: u32) -> io::Result<()> {
    const NEW_TIME: libc::c_int = 0x80;
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: only the namespaces of this process change.
    let alone = unsafe { libc::unshare(NEW_TIME) };
    if alone != 0 {
        // SAFETY: as above.
        let with_users = unsafe { libc::unshare(NEW_TIME | libc::CLONE_NEWUSER) };
        checked(with_users.into())?;
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    std::fs::write("/proc/self/timens_offsets", format!("monotonic {seconds} 0"))
}

/// Puts this process, which must have one thread, into a user namespace that maps nobody, itself included.
///
/// # Errors
/// When the system does not permit it.
pub fn leave_all_users() -> io::Result<()> {
    // SAFETY: only the namespace of this process changes.
    checked(unsafe { libc::unshare(libc::CLONE_NEWUSER) }.into()).map(drop)
}

/// Puts the children of this process, which must have one thread, into a pid namespace of their own.
///
/// # Errors
/// When the system does not permit it, neither as this user nor in a user namespace of its own.
pub fn number_children_anew() -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: only the namespaces of this process's children change.
    if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
        // SAFETY: as above, and those of this process.
        checked(unsafe { libc::unshare(libc::CLONE_NEWPID | libc::CLONE_NEWUSER) }.into())?;
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    Ok(())
}

/// Memory whose pages never arrive: a system call that reads or writes it waits there until its thread is killed.
#[derive(Debug)]
pub struct Absent {
    memory: MmapMut,
    /// As long as it is open and not served, a thread that needs the page waits.
    faults: OwnedFd,
}

impl Absent {
    /// One page.
    ///
    /// # Errors
    /// When the system does not let this process handle the page faults of system calls.
    pub fn new() -> io::Result<Self> {
        const API: libc::Ioctl = 0xC018_AA3F;
        const REGISTER: libc::Ioctl = 0xC020_AA00;
        const VERSION: u64 = 0xAA;
        const MISSING: u64 = 1;
        // SAFETY: takes a number alone.
        let raw = checked(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
        let raw = i32::try_from(raw).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this descriptor, and nothing else owns it.
        let faults = unsafe { OwnedFd::from_raw_fd(raw) };
        let mut memory = MmapMut::map_anon(4096)?;
        // The version, the features asked for, and room for the answer.
        let mut greeting = [VERSION, 0, 0];
        // SAFETY: the request reads and writes the three words.
        let greeted = unsafe { libc::ioctl(faults.as_raw_fd(), API, greeting.as_mut_ptr()) };
        checked(greeted.into())?;
        // Where, how much, which faults, and room for the answer.
        let mut range = [memory.as_mut_ptr() as u64, memory.len() as u64, MISSING, 0];
        // SAFETY: the request reads and writes the four words, and the memory stays mapped as long as the descriptor is
        // open.
        let registered = unsafe { libc::ioctl(faults.as_raw_fd(), REGISTER, range.as_mut_ptr()) };
        checked(registered.into())?;
        Ok(Self { memory, faults })
    }

    /// A descriptor that becomes readable once a thread waits for the page.
    ///
    /// # Errors
    /// When this process has no place for another descriptor.
    pub fn awaited(&self) -> io::Result<OwnedFd> {
        self.faults.try_clone()
    }

    /// The bytes that never arrive. Touching one outside a system call waits as well.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

/// A value of `/proc/self/status`, or of this thread's with `thread-self`, without its unit.
///
/// # Panics
/// When the system does not show it.
pub fn status(whose: &str, key: &str) -> u64 {
    let status = File::open(format!("/proc/{whose}/status")).and_then(io::read_to_string).expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let value = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    value.unwrap_or_else(|| panic!("{key} in /proc/{whose}/status"))
}

/// Whether memory of this process is a ring's, which a peer can write.
///
/// # Panics
/// When the system does not show what is mapped.
pub fn is_shared<T>(place: *const T) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    let mut rings = maps.lines().filter(|line| line.contains("/memfd:")).filter_map(|line| {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
    });
    rings.any(|range| range.contains(&place.addr()))
}
