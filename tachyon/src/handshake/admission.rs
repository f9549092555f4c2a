//! The listener's side of the handshake with one client.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::process::geteuid;

use super::conversation::{Break, Conversation, Stop};
use super::credentials::Credentials;
use super::error::ListenError;
use super::refusal::{ProtocolError, Refusal};
use super::wire::{self, Code, Hello};
use super::{Offer, Role, description, namespace};
use crate::options::Options;
use crate::ring::RingMemory;

/// Why there is no link: the client's fault or ours.
pub(super) enum Failure {
    Refused(Refusal),
    Ours(ListenError),
}

/// One client's handshake in progress.
pub(super) struct Admission<'a> {
    pub(super) conversation: Conversation<'a>,
    pub(super) path: &'a Path,
    pub(super) offer: &'a Offer,
    pub(super) options: &'a Options,
}

impl Admission<'_> {
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

    /// Makes this client's rings and hands them over.
    pub(super) fn welcome(&self, role: Role) -> Result<Vec<RingMemory>, Failure> {
        let mut rings = Vec::with_capacity(self.offer.geometries.len());
        let mut theirs = Vec::with_capacity(self.offer.geometries.len());
        for &geometry in &self.offer.geometries {
            let (memory, descriptor) = RingMemory::create(geometry)
                .map_err(|source| Failure::Ours(ListenError::Memory { path: self.path.to_owned(), source }))?;
            rings.push(memory);
            theirs.push(descriptor);
        }
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
            Refusal::Probe => return self.describe(),
            Refusal::OtherTimeNamespace => (Code::OtherTimeNamespace, 0),
            Refusal::Silent | Refusal::RingTooLarge { .. } | Refusal::Protocol(_) => (Code::Other, 0),
            Refusal::Gone | Refusal::Crowded => return,
        };
        self.reject(code, detail, &why.to_string());
    }

    /// Tells a probe that this listener is there, and what it offers, if it knows that.
    fn describe(&self) {
        // One that cannot be made leaves the answer without it.
        let file = self.options.offered().and_then(|text| description::write(text).ok());
        let carried: Vec<BorrowedFd<'_>> = file.iter().map(AsFd::as_fd).collect();
        self.reject_with(Code::OnePeer, 0, &Refusal::Probe.to_string(), &carried);
    }

    pub(super) fn reject(&self, code: Code, detail: u8, text: &str) {
        self.reject_with(code, detail, text, &[]);
    }

    fn reject_with(&self, code: Code, detail: u8, text: &str, carried: &[BorrowedFd<'_>]) {
        // A courtesy to a client that is about to be hung up on: if it cannot be told, the hang-up says enough.
        let _ = self.conversation.socket.send(wire::write_reject(code, detail, text).as_ref(), carried);
    }
}

pub(super) fn refused(error: ProtocolError) -> Failure {
    Failure::Refused(Refusal::Protocol(error))
}
