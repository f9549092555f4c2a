//! The listener's messages in the handshake with one client.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::process::geteuid;

use super::conversation::{Conversation, ConversationError, WaitError};
use super::credentials::Credentials;
use super::error::ListenError;
use super::rejection::{ProtocolError, Rejection};
use super::wire::{self, Code, Hello};
use super::{Offer, Role, description, namespace};
use crate::options::Options;
use crate::ring::RingMemory;

/// The reason why there is no pairing: a fault of the client, or of this side.
pub(super) enum Failure {
    Rejected(Rejection),
    Local(ListenError),
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
            Err(Failure::Rejected(Rejection::ForeignUser { uid: who.uid }))
        }
    }

    /// This side's role, from the client's hello.
    pub(super) fn agree_role(&self, hello: Hello) -> Result<Role, Failure> {
        if hello.kind != self.offer.kind {
            let (asked, served) = (hello.kind.name(), self.offer.kind.name());
            return Err(Failure::Rejected(Rejection::WrongKind { asked, served }));
        }
        if namespace::differ(namespace::time_namespace(), hello.time_namespace) {
            return Err(Failure::Rejected(Rejection::OtherTimeNamespace));
        }
        self.offer
            .role
            .agree(hello.role)
            .ok_or_else(|| Failure::Rejected(Rejection::RoleClash { role: hello.role.name(hello.kind) }))
    }

    /// Makes this client's rings and hands them over.
    pub(super) fn welcome(&self, role: Role) -> Result<Vec<RingMemory>, Failure> {
        let mut rings = Vec::with_capacity(self.offer.geometries.len());
        let mut theirs = Vec::with_capacity(self.offer.geometries.len());
        for &geometry in &self.offer.geometries {
            let (memory, descriptor) = RingMemory::create(geometry)
                .map_err(|source| Failure::Local(ListenError::Memory { path: self.path.to_owned(), source }))?;
            rings.push(memory);
            theirs.push(descriptor);
        }
        let carried: Vec<BorrowedFd<'_>> = theirs.iter().map(AsFd::as_fd).collect();
        let welcome = wire::write_welcome(self.offer, role);
        self.conversation.send(welcome, &carried).map_err(|why| self.broken(why))?;
        Ok(rings)
    }

    pub(super) fn broken(&self, why: ConversationError) -> Failure {
        match why {
            ConversationError::Wait(WaitError::TimedOut) => Failure::Rejected(Rejection::Silent),
            ConversationError::Closed | ConversationError::Reset => Failure::Rejected(Rejection::Gone),
            ConversationError::Protocol(error) => broken_protocol(error),
            ConversationError::Wait(WaitError::Interrupted) => {
                Failure::Local(ListenError::Interrupted { path: self.path.to_owned() })
            }
            ConversationError::Wait(WaitError::System { operation, source }) => self.system(operation, source),
        }
    }

    fn system(&self, operation: &'static str, source: io::Error) -> Failure {
        Failure::Local(ListenError::system(operation, self.path, source))
    }

    pub(super) fn reject(&self, why: &Rejection) {
        let kind = self.offer.kind;
        let (code, detail) = match why {
            Rejection::ForeignUser { .. } => (Code::NotAllowed, 0),
            Rejection::WrongKind { .. } => (Code::WrongKind, kind as u8),
            Rejection::RoleClash { .. } => (Code::RoleClash, self.offer.role as u8),
            Rejection::Protocol(ProtocolError::Version { .. }) => (Code::Version, 0),
            Rejection::Busy => (Code::Busy, 0),
            Rejection::Probe => return self.describe(),
            Rejection::OtherTimeNamespace => (Code::OtherTimeNamespace, 0),
            Rejection::Silent | Rejection::RingTooLarge { .. } | Rejection::Protocol(_) => (Code::Other, 0),
            Rejection::Gone | Rejection::Crowded => return,
        };
        self.send_reject(code, detail, &why.to_string());
    }

    /// Answers a probe with [`Options::description`](crate::Options::description).
    fn describe(&self) {
        // On failure the answer goes without the description.
        let file = self.options.offered().and_then(|text| description::write(text).ok());
        let carried: Vec<BorrowedFd<'_>> = file.iter().map(AsFd::as_fd).collect();
        self.send_reject_with(Code::OnePeer, 0, &Rejection::Probe.to_string(), &carried);
    }

    pub(super) fn send_reject(&self, code: Code, detail: u8, text: &str) {
        self.send_reject_with(code, detail, text, &[]);
    }

    fn send_reject_with(&self, code: Code, detail: u8, text: &str, carried: &[BorrowedFd<'_>]) {
        // Best effort: the client also notices the hang-up.
        let _ = self.conversation.socket.send(wire::write_reject(code, detail, text).as_ref(), carried);
    }
}

pub(super) fn broken_protocol(error: ProtocolError) -> Failure {
    Failure::Rejected(Rejection::Protocol(error))
}
