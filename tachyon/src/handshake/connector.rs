//! The side that finds the other one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use rustix::process::geteuid;

use super::binding::new_socket;
use super::conversation::{Break, Conversation, Message, Stop};
use super::credentials::{self, Credentials};
use super::error::ConnectError;
use super::refusal::ProtocolError;
use super::wire::{self, Answer, Code, Hello, PROTOCOL_VERSION, Reject, Welcome};
use super::{Kind, Link, Role, namespace, path};
use crate::options::Options;
use crate::ring::{RingMemory, Side};
use crate::wait::{Deadline, Peer, Socket, reaper};

/// First and longest pause between two looks for a listener.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Connects to the listener at `path`, waiting for one that is about to appear.
///
/// # Errors
///
/// [`ConnectError`]. A missing or overloaded listener is waited for, and by those who reconnect also one that hangs up;
/// any refusal is reported at once.
pub(crate) fn connect(path: &Path, kind: Kind, role: Role, options: &Options) -> Result<Link, ConnectError> {
    let address = path::address(path)?;
    let timeout = options.connect_timeout();
    let deadline = Deadline::after(timeout);
    let wishes = options.wished_geometries()?;
    let hello = Hello { kind, role, wishes, time_namespace: namespace::time_namespace() };
    let connector = Connector { path, hello, options, timeout, deadline };
    let mut pause = FIRST_PAUSE;
    loop {
        let not_yet = match connector.attempt(&address) {
            Ok(link) => return Ok(link),
            // Whoever outlives its peer waits for the next one.
            Err(Failure::Final(error @ ConnectError::Closed { .. })) if options.reconnects() => error,
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::NotYet(error)) => error,
        };
        if options.interrupt_hook().is_some_and(|asked| asked()) {
            return Err(ConnectError::Interrupted { path: path.to_owned() });
        }
        match deadline.remaining() {
            Some(Duration::ZERO) => return Err(not_yet),
            left => thread::sleep(left.map_or(pause, |left| left.min(pause))),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why an attempt gave no link.
enum Failure {
    /// Another attempt may succeed; this is the error if there is no time for one.
    NotYet(ConnectError),
    Final(ConnectError),
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::Final(error)
    }
}

struct Connector<'a> {
    path: &'a Path,
    hello: Hello,
    options: &'a Options,
    timeout: Duration,
    deadline: Deadline,
}

impl Connector<'_> {
    fn attempt(&self, address: &SocketAddrUnix) -> Result<Link, Failure> {
        self.converse(self.reach(address)?)
    }

    /// The handshake over a socket that reached a listener.
    fn converse(&self, mut socket: Socket) -> Result<Link, Failure> {
        let who = self.identify(&socket)?;
        if reaper::is_full() {
            let busy = io::Error::other("listeners have passed as many descriptors as can wait to be closed");
            return Err(Failure::NotYet(self.system("connect to", busy)));
        }
        // The welcome brings the segments; nothing before and after it may bring any.
        socket.admit_rights();
        let message = self.ask(&self.conversation(&socket))?;
        let alone = socket.refuse_rights();
        let answer = wire::read_answer(message.bytes(), self.hello.kind).map_err(|source| self.foul(source))?;
        let (role, rings) = match answer {
            Answer::Reject(reject) => return Err(self.rejected(reject).into()),
            Answer::Welcome(welcome) => self.take(welcome, &message.descriptors).map_err(|source| self.foul(source))?,
        };
        if !alone {
            return Err(self.foul(ProtocolError::Surplus).into());
        }
        self.conversation(&socket).say(wire::write_ready(), &[]).map_err(|why| self.broken(why))?;
        let peer = Peer::new(socket, who.pidfd, who.pid, who.uid);
        Ok(Link { role, side: Side::Connector, rings, peer })
    }

    fn conversation<'a>(&self, socket: &'a Socket) -> Conversation<'a> {
        Conversation { socket, deadline: self.deadline, interrupt: self.options.interrupt_hook() }
    }

    fn reach(&self, address: &SocketAddrUnix) -> Result<Socket, Failure> {
        let socket =
            new_socket().map(Socket::connecting).map_err(|errno| self.system("make a socket for", errno.into()))?;
        let path = || self.path.to_owned();
        match rustix::net::connect(&socket, address) {
            Ok(()) => Ok(socket),
            // The kernel refuses a regular file as it does a socket that nobody listens on.
            Err(Errno::CONNREFUSED) if self.is_another_file() => Err(ConnectError::NotASocket { path: path() }.into()),
            Err(errno @ (Errno::NOENT | Errno::CONNREFUSED)) => Err(Failure::NotYet(ConnectError::NoListener {
                path: path(),
                timeout: self.timeout,
                source: errno.into(),
            })),
            Err(Errno::AGAIN | Errno::INTR) => Err(Failure::NotYet(self.no_answer())),
            Err(Errno::PROTOTYPE) => Err(ConnectError::WrongSocketType { path: path() }.into()),
            Err(errno) => Err(self.system("connect to", errno.into()).into()),
        }
    }

    fn is_another_file(&self) -> bool {
        rustix::fs::stat(self.path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Socket)
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
            Err(ConnectError::ForeignListener { path: self.path.to_owned(), ours, theirs }.into())
        }
    }

    fn ask(&self, conversation: &Conversation<'_>) -> Result<Message, Failure> {
        let said = conversation.say(wire::write_hello(self.hello), &[]);
        // A listener that hung up may have said why before, so its last words are looked for in any case.
        let unsaid = matches!(said, Err(Break::Reset));
        if !unsaid {
            said.map_err(|why| self.broken(why))?;
        }
        conversation.hear(true).map_err(|why| match why {
            // It never read the hello: it closed with us in its queue, or as soon as it had taken us from there, and the
            // next one may do better. The kernel tells of that once, so that after a hello that could not be sent there
            // is nothing but the end.
            Break::Reset => Failure::NotYet(self.closed()),
            Break::Closed if unsaid => Failure::NotYet(self.closed()),
            other => self.broken(other).into(),
        })
    }

    /// Checks and maps everything the listener granted.
    fn take(&self, welcome: Welcome, descriptors: &[OwnedFd]) -> Result<(Role, Vec<RingMemory>), ProtocolError> {
        let odd_role = ProtocolError::Role { found: welcome.role as u8 };
        let role = match self.hello.role.settle(welcome.role) {
            // A listener that knows which end we take has taken the other one.
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

    fn rejected(&self, reject: Reject) -> ConnectError {
        let path = self.path.to_owned();
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
            Code::Other => ConnectError::Rejected { path, text: reject.text },
        }
    }

    fn foul(&self, source: ProtocolError) -> ConnectError {
        let path = self.path.to_owned();
        match source {
            ProtocolError::Version { ours, theirs } => ConnectError::VersionMismatch { path, ours, theirs },
            source => ConnectError::Protocol { path, source },
        }
    }

    fn broken(&self, why: Break) -> ConnectError {
        match why {
            Break::Closed | Break::Reset => self.closed(),
            Break::Protocol(source) => self.foul(source),
            Break::Stopped(Stop::TimedOut) => self.no_answer(),
            Break::Stopped(Stop::Interrupted) => ConnectError::Interrupted { path: self.path.to_owned() },
            Break::Stopped(Stop::System { operation, source }) => self.system(operation, source),
        }
    }

    fn closed(&self) -> ConnectError {
        ConnectError::Closed { path: self.path.to_owned() }
    }

    fn no_answer(&self) -> ConnectError {
        ConnectError::NoAnswer { path: self.path.to_owned(), timeout: self.timeout }
    }

    fn system(&self, operation: &'static str, source: io::Error) -> ConnectError {
        ConnectError::system(operation, self.path, source)
    }
}

#[cfg(any(test, fuzzing))]
pub(super) mod fuzz {
    use super::{ConnectError, Connector, Deadline, Duration, Failure, Hello, Link, Options, Path, Socket};

    /// The handshake with whoever is at the other end of `socket` and has said all it will.
    pub(in super::super) fn converse(socket: Socket, hello: Hello) -> Result<Link, ConnectError> {
        let (timeout, deadline) = (Duration::ZERO, Deadline::after(Duration::ZERO));
        let connector = Connector { path: Path::new("fuzzed"), hello, options: &Options::new(), timeout, deadline };
        connector.converse(socket).map_err(|failure| match failure {
            Failure::NotYet(error) | Failure::Final(error) => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{bind, connect, listen};

    use super::*;

    #[test]
    fn a_listener_that_closes_with_us_in_its_queue_is_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bus.sock");
        let address = path::address(&path).unwrap();
        let listener = new_socket().unwrap();
        bind(&listener, &address).unwrap();
        listen(&listener, 8).unwrap();
        let socket = new_socket().unwrap();
        connect(&socket, &address).unwrap();
        drop(listener);
        let hello = Hello { kind: Kind::Bus, role: Role::Source, wishes: [None; 2], time_namespace: 0 };
        let deadline = Deadline::after(Duration::from_secs(20));
        let options = Options::new();
        let connector = Connector { path: &path, hello, options: &options, timeout: Duration::from_secs(20), deadline };
        let outcome = connector.converse(Socket::connecting(socket)).map(drop);
        assert!(matches!(outcome, Err(Failure::NotYet(ConnectError::Closed { .. }))), "the end of all attempts");
    }
}
