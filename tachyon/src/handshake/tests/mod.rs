//! Both sides over real sockets. A hostile peer is a raw socket, which sends any bytes.

mod hostile_clients;
mod hostile_listeners;
mod limits;
mod other_users;
mod pairing;
mod socket_files;

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    sendmsg, socketpair,
};

use super::conversation::{Conversation, ConversationError, Message, wait_until};
use super::listener::Listener;
use super::*;
use crate::options::Options;
use crate::wait::socket::refuse_rights;
use crate::wait::socket::tests::{AS_BEFORE_6_16, lingering};
use crate::wait::{Deadline, Socket};

/// Far longer than any step of these tests, so that a failing test does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// Half the time of the close of a [`lingering`] descriptor.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Most descriptors of one message in Linux.
const MOST_DESCRIPTORS: usize = 253;

/// Runs a test as before Linux 6.16, and also with refused descriptors if this system refuses them. The test's argument
/// says whether the socket peeks at messages.
fn on_both(test: impl Fn(bool)) {
    if refuse_rights(bind::new_socket().unwrap().as_fd()) {
        test(false);
    }
    AS_BEFORE_6_16.set(true);
    test(true);
    AS_BEFORE_6_16.set(false);
}

/// A new directory, and a socket path in it.
struct Place {
    directory: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bus.sock");
        Self { directory, path }
    }

    /// Names of everything in the directory.
    fn contents(&self) -> Vec<String> {
        std::fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

fn patient() -> Options {
    Options::new().timeout(PATIENCE)
}

fn offer(kind: Kind, role: Role) -> Offer {
    let geometries = (0..kind.rings()).map(|ring| Geometry::new(1 << (12 + ring), kind.carries()).unwrap()).collect();
    Offer { kind, role, geometries }
}

/// Listens in another thread. The path is bound on return.
fn serve(path: &Path, offer: Offer, options: Options) -> JoinHandle<Result<Pairing, ListenError>> {
    let listener = Listener::bind(path, &options).unwrap();
    thread::spawn(move || listener.accept(&offer, &options, options.listen_deadline()))
}

/// A hostile peer.
struct Raw(Socket);

impl Raw {
    fn connect(path: &Path) -> Self {
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let socket = socket.unwrap();
        rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        Self::over(socket)
    }

    /// A socket without options, whose unread messages do not delay its close.
    fn over(socket: OwnedFd) -> Self {
        Self(Socket::accepted(socket, true))
    }

    fn talk(&self) -> Conversation<'_> {
        Conversation { socket: &self.0, deadline: Deadline::after(PATIENCE), interrupt: None }
    }

    fn send(&self, bytes: impl AsRef<[u8]>, carried: &[BorrowedFd<'_>]) {
        self.talk().send(bytes, carried).unwrap();
    }

    /// As `send`, with any number of descriptors. The system may refuse them.
    fn pass(&self, bytes: impl AsRef<[u8]>, carried: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(carried)));
        sendmsg(&self.0, &[IoSlice::new(bytes.as_ref())], &mut control, SendFlags::NOSIGNAL).map(drop)
    }

    fn receive(&self) -> Result<Message, ConversationError> {
        self.talk().receive(true)
    }

    /// The listener's reject, which a hang-up must follow.
    fn receive_reject(&self) -> wire::Reject {
        let message = self.receive().unwrap();
        assert!(message.descriptors.is_empty());
        let wire::Answer::Reject(reject) = wire::read_answer(message.bytes(), Kind::Bus).unwrap() else {
            panic!("a bad client was welcomed")
        };
        assert!(matches!(self.receive(), Err(ConversationError::Closed | ConversationError::Reset)));
        reject
    }
}

/// A hostile listener, which runs `act` for the first client in another thread.
fn impostor<T: Send + 'static>(path: &Path, act: impl FnOnce(Raw) -> T + Send + 'static) -> JoinHandle<T> {
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let socket = socket.unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    rustix::net::listen(&socket, 8).unwrap();
    thread::spawn(move || {
        wait_until(&socket, PollFlags::IN, Deadline::after(PATIENCE), None).unwrap();
        act(Raw::over(rustix::net::accept_with(&socket, SocketFlags::CLOEXEC).unwrap()))
    })
}

/// The number of descriptors of this process for the file of `fd`.
fn holders(fd: BorrowedFd<'_>) -> usize {
    let ours = rustix::fs::fstat(fd).unwrap();
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| rustix::fs::stat(entry.ok()?.path()).ok())
        .filter(|stat| (stat.st_dev, stat.st_ino) == (ours.st_dev, ours.st_ino))
        .count()
}

/// A connected hostile peer, and this side's socket.
fn raw_pair() -> (Raw, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    (Raw::over(theirs), ours)
}

/// Both ends of a pipe, the reading end first.
fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK).unwrap()
}

/// Waits until the last copy of a pipe's writing end is closed. A child of another test may hold a copy until its exec.
fn assert_closes(reader: &OwnedFd) {
    let patience = Timespec::try_from(PATIENCE).unwrap();
    assert_eq!(poll(&mut [PollFd::new(reader, PollFlags::IN)], Some(&patience)), Ok(1), "a copy is left");
    assert_eq!(rustix::io::read(reader, &mut [0; 1]), Ok(0));
}

/// Runs an ignored test of this module in a process of its own, because the test changes a property of its process.
///
/// The shell command `setup` runs first; the test gets `path` from [`child_path`].
fn in_own_process(test: &str, setup: &str, path: &Path) {
    let child = std::process::Command::new("sh")
        .args(["-c", &format!("{setup} && exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--include-ignored", &format!("handshake::tests::{test}")])
        .env(CHILD_PATH, path)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && printed.contains("1 passed"), "{setup}: {printed}");
}

const CHILD_PATH: &str = "TACHYON_TEST_SOCKET";

fn child_path() -> Option<PathBuf> {
    std::env::var_os(CHILD_PATH).map(PathBuf::from)
}

/// Waits for the peer's hang-up. A child of another test may hold copies of the sockets until its exec.
fn assert_goes(peer: &Peer) {
    let deadline = Deadline::after(PATIENCE);
    while !peer.is_gone() {
        assert!(!deadline.has_passed(), "the peer's hang-up was not noticed");
        thread::sleep(Duration::from_millis(1));
    }
}

fn took<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = act();
    (value, start.elapsed())
}
