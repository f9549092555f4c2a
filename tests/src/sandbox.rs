//! Other systems than the one that the tests run on: without `SO_PASSRIGHTS`, or in a namespace. The program
//! `sandboxed` makes them.
#![allow(unsafe_code, reason = "`prctl` with a filter and `unshare` have no safe interface")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;

use rustix::net::{AddressFamily, SocketType};

use crate::process::Program;
use crate::test_run::skip;

/// `SO_PASSRIGHTS`, which the crate `libc` does not have.
const SO_PASSRIGHTS: libc::c_int = 83;

/// The exit status of `sandboxed` where the system does not permit the sandbox.
pub const NOT_PERMITTED: i32 = 77;

/// The system that a process under test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// The system that the tests run on.
    Present,
    /// A system without `SO_PASSRIGHTS`, as before Linux 6.16.
    Before616,
}

impl System {
    /// Both systems.
    pub const ALL: [Self; 2] = [Self::Present, Self::Before616];

    /// The command that runs `program` on this system. `sandboxed` is the program of that name.
    pub fn command(self, sandboxed: Program, program: Program) -> Command {
        match self {
            Self::Present => program.command(),
            Self::Before616 => {
                let mut command = sandboxed.command();
                command.arg("before_6_16").arg(program.0);
                command
            }
        }
    }

    /// Whether the kernel of this system refuses descriptors on request.
    ///
    /// # Panics
    /// When the system refuses a socket.
    pub fn refuses_descriptors(self) -> bool {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).expect("a socket");
        self == Self::Present && refuse_descriptors(&socket).is_ok()
    }
}

/// A namespace for a process under test.
#[derive(Debug, Clone, Copy)]
pub struct Namespace {
    sandboxed: Program,
    argument: &'static str,
}

impl Namespace {
    /// A time namespace whose monotonic clock is some 27 hours ahead. `sandboxed` is the program of that name.
    pub fn time_ahead(sandboxed: Program) -> Self {
        Self { sandboxed, argument: "other_time" }
    }

    /// A user namespace that maps no user.
    pub fn no_users(sandboxed: Program) -> Self {
        Self { sandboxed, argument: "no_users" }
    }

    /// A pid namespace, whose first process is the one under test.
    pub fn own_pids(sandboxed: Program) -> Self {
        Self { sandboxed, argument: "own_pids" }
    }

    /// The command that runs the program at `path` in the namespace.
    pub fn command(self, path: &str) -> Command {
        let mut command = self.sandboxed.command();
        command.arg(self.argument).arg(path);
        command
    }

    /// Whether the system permits the namespace. If not, prints that the test is skipped.
    ///
    /// # Panics
    /// When the namespace cannot be tried.
    pub fn is_permitted(self) -> bool {
        let tried = self.command("/bin/true").output().expect("`sandboxed` was built with this test");
        if tried.status.code() == Some(NOT_PERMITTED) {
            skip(&format!("{}: {}", self.argument, String::from_utf8_lossy(&tried.stdout)));
            return false;
        }
        assert!(tried.status.success(), "{tried:?}");
        true
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

/// The result of a system call, where -1 stands for the error in `errno`.
pub(crate) fn checked(outcome: i64) -> io::Result<i64> {
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(outcome) }
}

/// Makes `SO_PASSRIGHTS` unknown to this process and to every program that it becomes or starts, by a filter of system
/// calls.
///
/// # Errors
/// A system without such filters, or a filter that does not refuse the option.
pub fn forbid_refusing_descriptors() -> io::Result<()> {
    let statement = |code: u32, k: u32| -> io::Result<libc::sock_filter> {
        Ok(libc::sock_filter { code: u16::try_from(code).map_err(io::Error::other)?, jt: 0, jf: 0, k })
    };
    // The filter's input: the number of the system call, the machine, the instruction, then the arguments in 8 bytes
    // each. All machines that have the option under this number are little-endian.
    let load = |at: u32| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at);
    // Continues if the loaded number equals `number`, and otherwise skips `left` statements, to the last one.
    let only = |number: u32, left: u8| -> io::Result<libc::sock_filter> {
        Ok(libc::sock_filter { jf: left, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number)? })
    };
    let result = |value: u32| statement(libc::BPF_RET | libc::BPF_K, value);
    let call = u32::try_from(libc::SYS_setsockopt).map_err(io::Error::other)?;
    let mut program = [
        load(0)?,
        only(call, 5)?,
        load(24)?,
        only(libc::SOL_SOCKET.cast_unsigned(), 3)?,
        load(32)?,
        only(SO_PASSRIGHTS.cast_unsigned(), 1)?,
        result(libc::SECCOMP_RET_ERRNO | libc::ENOPROTOOPT.cast_unsigned())?,
        result(libc::SECCOMP_RET_ALLOW)?,
    ];
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let filter = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    // SAFETY: takes numbers only.
    let bound = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    checked(bound.into())?;
    // SAFETY: `filter` points to `len` statements, which live through the call; the call copies them.
    let filtered = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    checked(filtered.into())?;
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None)?;
    match refuse_descriptors(&socket) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        other => Err(io::Error::other(format!("the filter does not refuse the option: {other:?}"))),
    }
}

/// Moves the children of this process, which must have one thread, into new namespaces.
///
/// # Errors
/// When the system does not permit it, neither as this user nor in a new user namespace.
fn unshare_for_children(namespaces: libc::c_int) -> io::Result<()> {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    // SAFETY: only the namespaces of this process and its children change.
    if unsafe { libc::unshare(namespaces) } != 0 {
        // SAFETY: only the namespaces of this process and its children change.
        checked(unsafe { libc::unshare(namespaces | libc::CLONE_NEWUSER) }.into())?;
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    Ok(())
}

/// Moves the children of this process, which must have one thread, into a time namespace whose monotonic clock is
/// `seconds` ahead of the machine's.
///
/// # Errors
/// When the system does not permit it, neither as this user nor in a new user namespace.
pub fn unshare_time(seconds: u32) -> io::Result<()> {
    const NEW_TIME: libc::c_int = 0x80;
    unshare_for_children(NEW_TIME)?;
    std::fs::write("/proc/self/timens_offsets", format!("monotonic {seconds} 0"))
}

/// Moves this process, which must have one thread, into a user namespace that maps no user, not even its own.
///
/// # Errors
/// When the system does not permit it.
pub fn unshare_users() -> io::Result<()> {
    // SAFETY: only the namespace of this process changes.
    checked(unsafe { libc::unshare(libc::CLONE_NEWUSER) }.into()).map(drop)
}

/// Moves the children of this process, which must have one thread, into a new pid namespace.
///
/// # Errors
/// When the system does not permit it, neither as this user nor in a new user namespace.
pub fn unshare_pids() -> io::Result<()> {
    unshare_for_children(libc::CLONE_NEWPID)
}
