//! The listener's side of the handshake with one client.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::process::geteuid;

use super::conversation::{Break, Conversation, Stop};
use super::credentials::{self, Credentials};
use super::error::ListenError;
use super::refusal::{ProtocolError, Refusal};
use super::wire::{self, Code, Hello};
use super::{Link, Offer, Role, namespace};
use crate::options::Options;
use crate::ring::{RingMemory, Side};
use crate::wait::{Deadline, Peer, Socket};

/// A client that was accepted and has not been heard yet. Dropping it hangs up.
#[derive(Debug)]
pub(crate) struct Client {
    socket: Socket,
}

/// What became of a client.
#[derive(Debug)]
pub(crate) enum Outcome {
    Linked(Box<Link>),
    Refused(Refusal),
}

/// Why there is no link: the client's fault or ours.
pub(super) enum Failure {
    Refused(Refusal),
    Ours(ListenError),
}

impl Client {
    pub(super) fn new(socket: Socket) -> Self {
        Self { socket }
    }

    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Hears the client and makes its connection, within the time one client has and not past `overall`.
    ///
    /// `path` is the listener's, for messages. A refused client has been told why, as far as it still listens.
    ///
    /// # Errors
    ///
    /// [`ListenError`] only for what is wrong on this side; whatever the client does is an [`Outcome`].
    pub(crate) fn handshake(
        self,
        path: &Path,
        offer: &Offer,
        options: &Options,
        overall: Deadline,
    ) -> Result<Outcome, ListenError> {
        debug_assert_eq!(offer.geometries.len(), offer.kind.rings(), "an offer has one geometry per ring");
        let deadline = options.client_deadline(overall);
        let conversation = Conversation { socket: &self.socket, deadline, interrupt: options.interrupt_hook() };
        let mut admission = Admission { conversation, path, offer, options };
        let accepted = admission.identify().and_then(|who| Ok((admission.admit(&who)?, who)));
        match accepted {
            Ok(((role, rings), who)) => {
                let peer = Peer::new(self.socket, who.pidfd, who.pid, who.uid);
                Ok(Outcome::Linked(Box::new(Link { role, side: Side::Listener, rings, peer })))
            }
            Err(Failure::Refused(why)) => {
                admission.turn_away(&why);
                Ok(Outcome::Refused(why))
            }
            Err(Failure::Ours(error)) => {
                admission.reject(Code::Other, 0, "the listener failed; see its own error");
                Err(error)
            }
        }
    }
}

/// One client's handshake in progress.
pub(super) struct Admission<'a> {
    pub(super) conversation: Conversation<'a>,
    pub(super) path: &'a Path,
    pub(super) offer: &'a Offer,
    pub(super) options: &'a Options,
}

impl Admission<'_> {
    pub(super) fn identify(&self) -> Result<Credentials, Failure> {
        match credentials::of_peer(self.conversation.socket.as_fd()) {
            Ok(Some(who)) => Ok(who),
            Ok(None) => Err(Failure::Refused(Refusal::Gone)),
            Err(source) => Err(self.system("identify the client on", source)),
        }
    }

    fn admit(&mut self, who: &Credentials) -> Result<(Role, Vec<RingMemory>), Failure> {
        self.check_user(who)?;
        let hello = self.conversation.hear(false).map_err(|why| self.broken(why))?;
        let hello = wire::read_hello(hello.bytes()).map_err(refused)?;
        let role = self.settle(hello)?;
        let rings = self.welcome(role)?;
        let ready = self.conversation.hear(false).map_err(|why| self.broken(why))?;
        wire::read_ready(ready.bytes()).map_err(refused)?;
        Ok((role, rings))
    }

    pub(super) fn check_user(&self, who: &Credentials) -> Result<(), Failure> {
        if self.options.trusts(who.uid, geteuid().as_raw()) {
            Ok(())
        } else {
            Err(Failure::Refused(Refusal::ForeignUser { uid: who.uid }))
        }
    }

    /// The client's wish, settled into our role.
    pub(super) fn settle(&self, hello: Hello) -> Result<Role, Failure> {
        if hello.kind != self.offer.kind {
            let (asked, served) = (hello.kind.name(), self.offer.kind.name());
            return Err(Failure::Refused(Refusal::WrongKind { asked, served }));
        }
        if namespace::differ(namespace::time_namespace(), hello.time_namespace) {
            return Err(Failure::Refused(Refusal::OtherTimeNamespace));
        }
        self.offer
            .role
            .settle(hello.role)
            .ok_or_else(|| Failure::Refused(Refusal::RoleClash { role: hello.role.name(hello.kind) }))
    }

    /// Makes this client's rings and hands them over. The client's time stands still meanwhile.
    pub(super) fn welcome(&mut self, role: Role) -> Result<Vec<RingMemory>, Failure> {
        let left = self.conversation.deadline.remaining();
        let mut rings = Vec::with_capacity(self.offer.geometries.len());
        let mut theirs = Vec::with_capacity(self.offer.geometries.len());
        for &geometry in &self.offer.geometries {
            let (memory, descriptor) = RingMemory::create(geometry)
                .map_err(|source| Failure::Ours(ListenError::Memory { path: self.path.to_owned(), source }))?;
            rings.push(memory);
            theirs.push(descriptor);
        }
        self.conversation.deadline = Deadline::from(left);
        let carried: Vec<BorrowedFd<'_>> = theirs.iter().map(AsFd::as_fd).collect();
        let welcome = wire::write_welcome(self.offer, role);
        self.conversation.say(welcome, &carried).map_err(|why| self.broken(why))?;
        Ok(rings)
    }

    pub(super) fn broken(&self, why: Break) -> Failure {
        match why {
            Break::Stopped(Stop::TimedOut) => Failure::Refused(Refusal::Silent),
            Break::Closed | Break::Reset => Failure::Refused(Refusal::Gone),
            Break::Protocol(error) => refused(error),
            Break::Stopped(Stop::Interrupted) => Failure::Ours(ListenError::Interrupted { path: self.path.to_owned() }),
            Break::Stopped(Stop::System { operation, source }) => self.system(operation, source),
        }
    }

    fn system(&self, operation: &'static str, source: io::Error) -> Failure {
        Failure::Ours(ListenError::system(operation, self.path, source))
    }

    pub(super) fn turn_away(&self, why: &Refusal) {
        let kind = self.offer.kind;
        let (code, detail) = match why {
            Refusal::ForeignUser { .. } => (Code::NotAllowed, 0),
            Refusal::WrongKind { .. } => (Code::WrongKind, kind as u8),
            Refusal::RoleClash { .. } => (Code::RoleClash, self.offer.role as u8),
            Refusal::Protocol(ProtocolError::Version { .. }) => (Code::Version, 0),
            Refusal::Busy => (Code::Busy, 0),
            Refusal::OtherTimeNamespace => (Code::OtherTimeNamespace, 0),
            Refusal::Silent | Refusal::RingTooLarge { .. } | Refusal::Protocol(_) => (Code::Other, 0),
            Refusal::Gone | Refusal::Crowded => return,
        };
        self.reject(code, detail, &why.to_string());
    }

    pub(super) fn reject(&self, code: Code, detail: u8, text: &str) {
        // A courtesy to a client that is about to be hung up on: if it cannot be told, the hang-up says enough.
        let _ = self.conversation.socket.send(wire::write_reject(code, detail, text).as_ref(), &[]);
    }
}

pub(super) fn refused(error: ProtocolError) -> Failure {
    Failure::Refused(Refusal::Protocol(error))
}
