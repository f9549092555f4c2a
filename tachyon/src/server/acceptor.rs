//! The acceptor of a server: lets clients in and sees them through their handshake, never waiting for any of them.
//!
//! It is a state machine with an epoll of its own, which its driver watches: a thread, or whatever serves
//! ([`Door`](super::door::Door)). It runs no code of users: callers, refusals and failures go to a worker's inbox.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use slab::Slab;

use super::control::{Bell, Control, Letter};
use super::options::ServerOptions;
use super::poller::{Poller, Token};
use super::session::Arrival;
use crate::bus::Established;
use crate::error::ListenError;
use crate::handshake::{Guest, Link, Listener, Offer, Progress, Refusal};
use crate::wait::Deadline;

/// Most handshakes at a time; further clients wait in the kernel's queue.
const MAX_PENDING: usize = 64;

/// How long no client is accepted when the system has no descriptors left.
const SHUT_FOR: Duration = Duration::from_millis(100);

/// A listener, the clients on their way in, and whether more are accepted.
#[derive(Debug)]
pub(super) struct Acceptor {
    /// `None` once the server stops.
    listener: Option<Listener>,
    path: PathBuf,
    poller: Poller,
    standard: Offer,
    options: ServerOptions,
    pending: Slab<Pending>,
    /// While set, no client is accepted: no place for another handshake, or no descriptors.
    shut: Option<Deadline>,
    next_id: u64,
    /// Kept for its allocation.
    tokens: Vec<Token>,
}

#[derive(Debug)]
struct Pending {
    guest: Guest,
    welcomed: bool,
}

impl Acceptor {
    pub(super) fn new(path: &Path, options: ServerOptions) -> Result<Self, ListenError> {
        let standard = options.offer()?;
        let listener = Listener::bind(path, &options.connection)?;
        let failed = |source| ListenError::system("watch", path, source);
        let poller = Poller::new().map_err(failed)?;
        poller.add(&listener, Token::Door).map_err(failed)?;
        Ok(Self {
            listener: Some(listener),
            path: path.to_owned(),
            poller,
            standard,
            options,
            pending: Slab::new(),
            shut: None,
            next_id: 1,
            tokens: Vec::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Ends every sleep in [`step`](Self::step) with a ring.
    pub(super) fn watch(&self, bell: &Bell) -> std::io::Result<()> {
        self.poller.add(bell, Token::Bell)
    }

    pub(super) fn unwatch(&self, bell: &Bell) {
        self.poller.remove(bell);
    }

    /// When something has to be done although no client says anything.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let pending = self.pending.iter().filter_map(|(_, pending)| pending.guest.deadline().remaining());
        pending.chain(self.shut.and_then(Deadline::remaining)).min()
    }

    /// Attends to clients, sleeping up to `timeout` for the first that wants something.
    ///
    /// # Errors
    /// The system's refusal to tell of them.
    pub(super) fn step(&mut self, control: &Control, timeout: Option<Duration>) -> std::io::Result<()> {
        let mut tokens = core::mem::take(&mut self.tokens);
        self.poller.wait(timeout, &mut tokens)?;
        for token in &tokens {
            match *token {
                Token::Door => self.accept(control),
                Token::Guest(key) => {
                    if let Some(link) = self.attend(key, control) {
                        self.admit(*link, control);
                    }
                }
                _ => {}
            }
        }
        self.tokens = tokens;
        self.expire(control);
        Ok(())
    }

    /// Takes clients from the queue, as many as there are places for.
    fn accept(&mut self, control: &Control) {
        while self.pending.len() < MAX_PENDING {
            let Some(listener) = &self.listener else { return };
            let client = match listener.try_accept() {
                Ok(Some(client)) => client,
                Ok(None) => return,
                Err(error) => {
                    control.post(Letter::Trouble(error.into()));
                    return self.shut(Deadline::after(SHUT_FOR));
                }
            };
            let pending = Pending { guest: Guest::new(client, &self.options.connection), welcomed: false };
            self.keep(pending, control);
        }
        self.shut(Deadline::never());
    }

    /// Has a client watched.
    fn keep(&mut self, pending: Pending, control: &Control) {
        match self.poller.add(&pending.guest, Token::Guest(self.pending.vacant_key())) {
            Ok(()) => {
                self.pending.insert(pending);
            }
            Err(error) => control.post(Letter::Trouble(error.into())),
        }
    }

    fn shut(&mut self, until: Deadline) {
        if let Some(listener) = &self.listener {
            self.poller.remove(listener);
            self.shut = Some(until);
        }
    }

    /// Closes the listening socket, so that the path is free. Clients that were welcomed may have connected by now, as
    /// far as they know, and are seen through their last step; for the others the connection ends before they were
    /// heard, and they look for another listener. True when no client is left.
    pub(super) fn close(&mut self) -> bool {
        if let Some(listener) = self.listener.take() {
            // A forked child may have the same socket open, which would keep it in the epoll.
            self.poller.remove(&listener);
            drop(listener);
            self.shut = None;
            let poller = &self.poller;
            self.pending.retain(|_, pending| {
                if !pending.welcomed {
                    poller.remove(&pending.guest);
                }
                pending.welcomed
            });
        }
        self.pending.is_empty()
    }

    /// Accepts clients again when the reason for not doing so is gone.
    fn reopen(&mut self, control: &Control) {
        let (Some(until), Some(listener)) = (self.shut, &self.listener) else { return };
        let timed = until.remaining().is_some();
        if (timed && until.has_passed()) || (!timed && self.pending.len() < MAX_PENDING) {
            match self.poller.add(listener, Token::Door) {
                Ok(()) => self.shut = None,
                Err(error) => {
                    control.post(Letter::Trouble(error.into()));
                    self.shut = Some(Deadline::after(SHUT_FOR));
                }
            }
        }
    }

    /// Ends the handshakes whose time is up.
    fn expire(&mut self, control: &Control) {
        let late: Vec<usize> =
            self.pending.iter().filter(|(_, late)| late.guest.deadline().has_passed()).map(|(key, _)| key).collect();
        for key in late {
            // A client whose time is up gives no link, unless it spoke at the last moment; that is for its event.
            if let Some(link) = self.attend(key, control) {
                control.post(Letter::TurnedAway(Refusal::Silent));
                drop(link);
            }
        }
        self.reopen(control);
    }

    /// Takes a client's next step; a link when it was the last one.
    fn attend(&mut self, key: usize, control: &Control) -> Option<Box<Link>> {
        let Pending { guest, welcomed } = self.pending.try_remove(key)?;
        self.poller.remove(&guest);
        let welcomed_others = self.pending.iter().filter(|(_, pending)| pending.welcomed).count();
        let (options, standard) = (&self.options, &self.standard);
        let mut admitted = welcomed;
        let progress = guest.step(&self.path, standard, &options.connection, |wishes| {
            if control.callers() + welcomed_others >= options.max_callers {
                return Err(Refusal::Busy);
            }
            admitted = true;
            options.terms(standard, wishes)
        });
        let link = match progress {
            Ok(Progress::Waiting(guest)) => {
                self.keep(Pending { guest, welcomed: admitted }, control);
                None
            }
            Ok(Progress::Linked(link)) => Some(link),
            Ok(Progress::Refused(why)) => {
                control.post(Letter::TurnedAway(why));
                None
            }
            Err(error) => {
                control.post(Letter::Trouble(error.into()));
                None
            }
        };
        self.reopen(control);
        link
    }

    /// Hands a caller to a worker.
    fn admit(&mut self, link: Link, control: &Control) {
        let established = Established::new(link, &self.options.connection);
        established.connection.end_with(&control.stop_time);
        control.post(Letter::Arrival(Box::new(Arrival::new(self.next_id, &established))));
        self.next_id += 1;
    }
}

impl AsFd for Acceptor {
    /// Readable when a step would find something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}
