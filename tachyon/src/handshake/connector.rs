//! The side that connects.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use rustix::process::geteuid;

use super::bind::new_socket;
use super::conversation::{Conversation, ConversationError, Message, WaitError};
use super::credentials::{self, Credentials};
use super::error::ConnectError;
use super::rejection::ProtocolError;
use super::wire::{self, Answer, Code, Hello, PROTOCOL_VERSION, Reject, Welcome};
use super::{Kind, Pairing, Role, description, namespace, path, served};
use crate::options::Options;
use crate::ring::{RingMemory, Side};
use crate::wait::{Deadline, INTERRUPT_SLICE, Peer, Socket, reaper};

/// First and longest pause between two attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Connects to the listener at `path`, waiting for a listener.
///
/// # Errors
///
/// [`ConnectError`]. An attempt is repeated until the timeout if the listener is missing or overloaded, and with the
/// option `reconnect` also if the listener hangs up. A reject is final.
pub(crate) fn connect(path: &Path, kind: Kind, role: Role, options: &Options) -> Result<Pairing, ConnectError> {
    Connecting::new(path, kind, role, options)?.finish()
}

/// The reason why an attempt gave no pairing.
enum Failure {
    /// Another attempt may succeed. This is the error after the timeout.
    NotYet(ConnectError),
    Final(ConnectError),
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::Final(error)
    }
}

/// A connector's handshake, in steps that never wait. Dropping it hangs up.
#[derive(Debug)]
pub(crate) struct Connecting {
    path: PathBuf,
    address: SocketAddrUnix,
    hello: Hello,
    options: Options,
    timeout: Duration,
    began: Instant,
    deadline: Deadline,
    pause: Duration,
    stage: Stage,
    /// The system's error if the latest attempt found no listener.
    missing: Option<Errno>,
}

#[derive(Debug)]
enum Stage {
    /// The next attempt is at this time.
    Looking(Deadline),
    /// Waits for the listener's answer to the hello.
    HelloSent(Box<HelloSent>),
}

#[derive(Debug)]
struct HelloSent {
    socket: Socket,
    who: Credentials,
    /// Whether the listener hung up before the hello was sent.
    hello_unsent: bool,
}

impl Connecting {
    /// Begins to connect; the timeout of `options` begins now.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] for an impossible path or ring size.
    pub(crate) fn new(path: &Path, kind: Kind, role: Role, options: &Options) -> Result<Self, ConnectError> {
        let timeout = options.connect_timeout();
        let hello = Hello {
            kind,
            role,
            probe: options.probes(),
            wishes: options.wished_geometries()?,
            time_namespace: namespace::time_namespace(),
        };
        Ok(Self {
            path: path.to_owned(),
            address: path::address(path)?,
            hello,
            options: options.clone(),
            timeout,
            began: Instant::now(),
            deadline: Deadline::after(timeout),
            pause: FIRST_PAUSE,
            stage: Stage::Looking(Deadline::after(Duration::ZERO)),
            missing: None,
        })
    }

    /// Takes all steps, and waits between them.
    ///
    /// # Errors
    ///
    /// As [`connect`].
    pub(crate) fn finish(mut self) -> Result<Pairing, ConnectError> {
        loop {
            if let Some(pairing) = self.step()? {
                return Ok(pairing);
            }
            self.wait()?;
        }
    }

    /// Takes the next step, without waiting; `None` when the next step has to wait for
    /// [`as_awaited`](Self::as_awaited).
    ///
    /// # Errors
    ///
    /// As [`connect`].
    pub(crate) fn step(&mut self) -> Result<Option<Pairing>, ConnectError> {
        let not_yet = match self.attempt() {
            Ok(pairing) => return Ok(pairing),
            // A side that reconnects waits for the next listener.
            Err(Failure::Final(error @ ConnectError::Closed { .. })) if self.options.reconnects() => error,
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::NotYet(error)) => error,
        };
        let pause = match self.deadline.remaining() {
            Some(Duration::ZERO) => return Err(final_error(not_yet)),
            left => left.map_or(self.pause, |left| left.min(self.pause)),
        };
        self.stage = Stage::Looking(Deadline::after(pause));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.missing = match not_yet {
            ConnectError::NoListener { source, .. } => Errno::from_io_error(&source),
            _ => None,
        };
        Ok(None)
    }

    /// The error for a driver whose own deadline passes while no process listens.
    pub(crate) fn missing(&self) -> Option<ConnectError> {
        let waited = self.began.elapsed();
        self.missing.map(|errno| final_error(self.no_listener(waited, errno)))
    }

    /// The conditions for the next step: the socket is readable, if there is a socket, or this time has passed.
    pub(crate) fn as_awaited(&self) -> (Option<BorrowedFd<'_>>, Option<Duration>) {
        match &self.stage {
            Stage::Looking(at) => (None, at.remaining()),
            Stage::HelloSent(sent) => (Some(sent.socket.as_fd()), self.deadline.remaining()),
        }
    }

    /// Waits until the next step is possible.
    fn wait(&self) -> Result<(), ConnectError> {
        let interrupt = self.options.interrupt_hook();
        if interrupt.is_some_and(|asked| asked()) {
            return Err(ConnectError::Interrupted { path: self.path.clone() });
        }
        let (socket, left) = self.as_awaited();
        let limit = [left, interrupt.map(|_| INTERRUPT_SLICE)].into_iter().flatten().min();
        // A sleep too long for the kernel becomes a sleep without a limit.
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut watched = socket.as_ref().map(|socket| PollFd::new(socket, PollFlags::IN));
        match poll(watched.as_mut_slice(), limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(self.system("wait on", errno.into())),
        }
    }

    fn attempt(&mut self) -> Result<Option<Pairing>, Failure> {
        match core::mem::replace(&mut self.stage, Stage::Looking(Deadline::after(Duration::ZERO))) {
            Stage::Looking(at) if !at.has_passed() => {
                self.stage = Stage::Looking(at);
                return Ok(None);
            }
            Stage::Looking(_) => {
                let socket = self.connect_socket()?;
                self.stage = self.send_hello(socket)?;
            }
            asked @ Stage::HelloSent(_) => self.stage = asked,
        }
        self.look_for_answer()
    }

    /// Checks the listener's user, and sends the hello.
    fn send_hello(&self, mut socket: Socket) -> Result<Stage, Failure> {
        let who = self.identify(&socket)?;
        if reaper::is_full() {
            let busy = io::Error::other("listeners have passed too many descriptors, which are being closed");
            return Err(Failure::NotYet(self.system("connect to", busy)));
        }
        // Only the welcome may bring descriptors.
        socket.admit_rights();
        let said = conversation(&socket).send(wire::write_hello(self.hello), &[]);
        // A listener may have sent a reject before it hung up, so a hang-up alone does not end the attempt.
        let hello_unsent = matches!(said, Err(ConversationError::Reset));
        if !hello_unsent {
            said.map_err(|why| self.broken(why))?;
        }
        Ok(Stage::HelloSent(Box::new(HelloSent { socket, who, hello_unsent })))
    }

    /// Takes the listener's answer if it has come.
    fn look_for_answer(&mut self) -> Result<Option<Pairing>, Failure> {
        let Stage::HelloSent(sent) = &self.stage else { return Ok(None) };
        let message = match conversation(&sent.socket).receive(true) {
            Ok(message) => message,
            Err(ConversationError::Wait(WaitError::TimedOut)) if !self.deadline.has_passed() => return Ok(None),
            // The listener closed before it read the hello, so the next attempt may succeed. The kernel reports the
            // reset once: after a hello that could not be sent, only the end follows.
            Err(ConversationError::Reset) => return Err(Failure::NotYet(self.closed())),
            Err(ConversationError::Closed) if sent.hello_unsent => return Err(Failure::NotYet(self.closed())),
            Err(other) => return Err(self.broken(other).into()),
        };
        let stage = core::mem::replace(&mut self.stage, Stage::Looking(self.deadline));
        let Stage::HelloSent(sent) = stage else { return Ok(None) };
        self.finish_handshake(*sent, message).map(Some)
    }

    fn finish_handshake(
        &self,
        HelloSent { mut socket, who, .. }: HelloSent,
        message: Message,
    ) -> Result<Pairing, Failure> {
        let alone = socket.refuse_rights();
        let answer =
            wire::read_answer(message.bytes(), self.hello.kind).map_err(|source| self.protocol_error(source))?;
        let (role, rings) = match answer {
            Answer::Reject(reject) => return Err(self.rejected(reject, message.descriptors).into()),
            Answer::Welcome(welcome) => {
                self.adopt(welcome, &message.descriptors).map_err(|source| self.protocol_error(source))?
            }
        };
        if !alone {
            // A listener whose timeout has passed sends a reject after its welcome.
            let behind = conversation(&socket).receive(false);
            let rejected = behind.ok().and_then(|behind| match wire::read_answer(behind.bytes(), self.hello.kind) {
                Ok(Answer::Reject(reject)) => Some(self.rejected(reject, Vec::new())),
                _ => None,
            });
            return Err(rejected.unwrap_or_else(|| self.protocol_error(ProtocolError::Surplus)).into());
        }
        conversation(&socket).send(wire::write_ready(), &[]).map_err(|why| self.broken(why))?;
        let peer = Peer::new(socket, who.pidfd, who.pid, who.uid);
        Ok(Pairing { role, side: Side::Connector, rings, peer })
    }

    fn connect_socket(&self) -> Result<Socket, Failure> {
        let socket =
            new_socket().map(Socket::connecting).map_err(|errno| self.system("make a socket for", errno.into()))?;
        let path = || self.path.clone();
        match rustix::net::connect(&socket, &self.address) {
            Ok(()) => Ok(socket),
            // For the kernel a regular file is like a socket without a listener.
            Err(Errno::CONNREFUSED) if self.is_another_file() => Err(ConnectError::NotASocket { path: path() }.into()),
            Err(errno @ (Errno::NOENT | Errno::CONNREFUSED)) => {
                Err(Failure::NotYet(self.no_listener(self.timeout, errno)))
            }
            Err(Errno::AGAIN | Errno::INTR) => Err(Failure::NotYet(self.no_answer())),
            Err(Errno::PROTOTYPE) => Err(ConnectError::WrongSocketType { path: path() }.into()),
            Err(errno) => Err(self.system("connect to", errno.into()).into()),
        }
    }

    fn is_another_file(&self) -> bool {
        rustix::fs::stat(&self.path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Socket)
    }

    fn identify(&self, socket: &Socket) -> Result<Credentials, Failure> {
        let who = match credentials::of_peer(socket.as_fd()) {
            Ok(Some(who)) => who,
            Ok(None) => return Err(Failure::NotYet(self.closed())),
            Err(source) => return Err(self.system("identify the listener at", source).into()),
        };
        let (ours, theirs) = (geteuid().as_raw(), who.uid);
        if self.options.trusts(theirs, ours) {
            Ok(who)
        } else {
            Err(ConnectError::ForeignListener { path: self.path.clone(), ours, theirs }.into())
        }
    }

    /// Checks the welcome, and maps its segments.
    fn adopt(&self, welcome: Welcome, descriptors: &[OwnedFd]) -> Result<(Role, Vec<RingMemory>), ProtocolError> {
        let odd_role = ProtocolError::Role { found: welcome.role as u8 };
        let role = match self.hello.role.agree(welcome.role) {
            // A listener that has read this side's role must have taken the other end.
            Some(_) if welcome.role == Role::Either && self.hello.role != Role::Either => return Err(odd_role),
            Some(role) => role,
            None => return Err(odd_role),
        };
        let (expected, found) = (welcome.geometries.len(), descriptors.len());
        if found != expected {
            return Err(ProtocolError::DescriptorCount { expected, found });
        }
        let segments = descriptors.iter().zip(welcome.geometries);
        let rings: Result<_, _> = segments.map(|(fd, geometry)| RingMemory::adopt(fd.as_fd(), geometry)).collect();
        Ok((role, rings?))
    }

    fn rejected(&self, reject: Reject, mut descriptors: Vec<OwnedFd>) -> ConnectError {
        let path = self.path.clone();
        let Hello { kind, role, .. } = self.hello;
        match reject.code {
            Code::WrongKind => {
                let theirs = Kind::from_wire(reject.detail).map_or("connection of an unknown kind", Kind::name);
                ConnectError::WrongKind { path, ours: kind.name(), theirs }
            }
            Code::Version => ConnectError::VersionMismatch { path, ours: PROTOCOL_VERSION, theirs: reject.version },
            Code::RoleClash => ConnectError::RoleClash { path, role: role.name(kind) },
            Code::NotAllowed => ConnectError::NotAllowed { path },
            Code::Busy => ConnectError::Busy { path },
            Code::OtherTimeNamespace => ConnectError::OtherTimeNamespace { path },
            Code::OnePeer => {
                // An unreadable description is no error.
                let description = descriptors.pop().and_then(|file| description::read(file).ok().flatten());
                ConnectError::OnePeer { path, description }
            }
            Code::Other => ConnectError::Rejected { path, text: reject.text },
        }
    }

    fn protocol_error(&self, source: ProtocolError) -> ConnectError {
        let path = self.path.clone();
        match source {
            ProtocolError::Version { ours, theirs } => ConnectError::VersionMismatch { path, ours, theirs },
            source => ConnectError::Protocol { path, source },
        }
    }

    fn broken(&self, why: ConversationError) -> ConnectError {
        match why {
            ConversationError::Closed | ConversationError::Reset => self.closed(),
            ConversationError::Protocol(source) => self.protocol_error(source),
            ConversationError::Wait(WaitError::TimedOut) => self.no_answer(),
            ConversationError::Wait(WaitError::Interrupted) => ConnectError::Interrupted { path: self.path.clone() },
            ConversationError::Wait(WaitError::System { operation, source }) => self.system(operation, source),
        }
    }

    fn closed(&self) -> ConnectError {
        ConnectError::Closed { path: self.path.clone() }
    }

    fn no_listener(&self, timeout: Duration, errno: Errno) -> ConnectError {
        ConnectError::NoListener { path: self.path.clone(), timeout, served: false, source: errno.into() }
    }

    fn no_answer(&self) -> ConnectError {
        ConnectError::NoAnswer { path: self.path.clone(), timeout: self.timeout }
    }

    fn system(&self, operation: &'static str, source: io::Error) -> ConnectError {
        ConnectError::system(operation, &self.path, source)
    }
}

/// The error after the last attempt. For a missing listener, finds out whether a process still serves there.
fn final_error(error: ConnectError) -> ConnectError {
    match error {
        ConnectError::NoListener { path, timeout, source, .. } => {
            ConnectError::NoListener { served: served::is_served(&path), path, timeout, source }
        }
        other => other,
    }
}

/// A conversation that never waits.
fn conversation(socket: &Socket) -> Conversation<'_> {
    Conversation { socket, deadline: Deadline::after(Duration::ZERO), interrupt: None }
}

#[cfg(any(test, fuzzing))]
impl Connecting {
    /// The handshake over `socket`, whose other end has sent all its messages.
    pub(crate) fn handshake_over(socket: Socket, hello: Hello) -> Result<Pairing, ConnectError> {
        let (kind, role, options) = (Kind::Rpc, Role::Either, Options::new().timeout(Duration::ZERO));
        let connecting = Self::new(Path::new("fuzzed"), kind, role, &options)?;
        Self { hello, ..connecting }.attempt_over(socket).map_err(|failure| match failure {
            Failure::NotYet(error) | Failure::Final(error) => error,
        })
    }

    fn attempt_over(mut self, socket: Socket) -> Result<Pairing, Failure> {
        self.stage = self.send_hello(socket)?;
        let pairing = self.look_for_answer()?;
        pairing.ok_or_else(|| self.no_answer().into())
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{bind, connect, listen};

    use super::*;

    #[test]
    fn a_listener_that_closes_with_a_queued_client_is_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bus.sock");
        let address = path::address(&path).unwrap();
        let listener = new_socket().unwrap();
        bind(&listener, &address).unwrap();
        listen(&listener, 8).unwrap();
        let socket = new_socket().unwrap();
        connect(&socket, &address).unwrap();
        drop(listener);
        let options = Options::new().timeout(Duration::from_secs(20));
        let connecting = Connecting::new(&path, Kind::Bus, Role::Source, &options).unwrap();
        let outcome = connecting.attempt_over(Socket::connecting(socket)).map(drop);
        assert!(matches!(outcome, Err(Failure::NotYet(ConnectError::Closed { .. }))), "the attempt is not final");
    }
}
