//! The door of a server: accepts clients and sees them through their handshake, never waiting for any of them.

use std::path::Path;
use std::time::Duration;

use slab::Slab;

use super::control::Control;
use super::events::ServerEvent;
use super::options::ServerOptions;
use super::poller::{Poller, Token};
use crate::error::ListenError;
use crate::handshake::{Guest, Link, Listener, Offer, Progress, Refusal};
use crate::wait::Deadline;

/// Most handshakes at a time; further clients wait in the kernel's queue.
const MAX_GUESTS: usize = 64;

/// How long the door stays shut when the system has no descriptors left.
const SHUT_FOR: Duration = Duration::from_millis(100);

/// A listener, its guests, and whether the door is open.
#[derive(Debug)]
pub(super) struct Entrance {
    listener: Listener,
    standard: Offer,
    options: ServerOptions,
    guests: Slab<Seen>,
    /// While set, no client is accepted: no place for another guest, or no descriptors.
    shut: Option<Deadline>,
    /// The server stops: the door stays shut.
    closed: bool,
}

#[derive(Debug)]
struct Seen {
    guest: Guest,
    welcomed: bool,
}

impl Entrance {
    pub(super) fn new(path: &Path, options: ServerOptions) -> Result<Self, ListenError> {
        let standard = options.offer()?;
        let listener = Listener::bind(path, &options.connection)?;
        Ok(Self { listener, standard, options, guests: Slab::new(), shut: None, closed: false })
    }

    pub(super) fn path(&self) -> &Path {
        self.listener.path()
    }

    pub(super) fn watch(&self, poller: &Poller) -> std::io::Result<()> {
        poller.add(&self.listener, Token::Door)
    }

    /// When something has to be done although nobody says anything.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let guests = self.guests.iter().filter_map(|(_, seen)| seen.guest.deadline().remaining());
        guests.chain(self.shut.and_then(Deadline::remaining)).min()
    }

    /// Takes clients from the queue, as many as there are places for.
    pub(super) fn accept(&mut self, poller: &Poller, control: &Control) {
        while self.guests.len() < MAX_GUESTS {
            match self.listener.try_accept() {
                Ok(Some(client)) => {
                    let guest = Guest::new(client, &self.options.connection);
                    let key = self.guests.vacant_key();
                    match poller.add(&guest, Token::Guest(key)) {
                        Ok(()) => {
                            self.guests.insert(Seen { guest, welcomed: false });
                        }
                        Err(error) => control.tell(&ServerEvent::Trouble(&error)),
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    control.tell(&ServerEvent::Trouble(&error));
                    return self.shut(poller, Deadline::after(SHUT_FOR));
                }
            }
        }
        self.shut(poller, Deadline::never());
    }

    fn shut(&mut self, poller: &Poller, until: Deadline) {
        poller.remove(&self.listener);
        self.shut = Some(until);
    }

    /// Lets no further client in. Those that were welcomed may have connected by now, as far as they know, and are seen
    /// through their last step; the others are turned away. True when none is left.
    pub(super) fn close(&mut self, poller: &Poller) -> bool {
        if !self.closed {
            self.closed = true;
            self.shut(poller, Deadline::never());
            self.guests.retain(|_, seen| {
                if !seen.welcomed {
                    poller.remove(&seen.guest);
                }
                seen.welcomed
            });
        }
        self.guests.is_empty()
    }

    /// Opens the door again when the reason for shutting it is gone.
    fn reopen(&mut self, poller: &Poller, control: &Control) {
        let Some(until) = self.shut else { return };
        if self.closed {
            return;
        }
        let timed = until.remaining().is_some();
        if (timed && until.has_passed()) || (!timed && self.guests.len() < MAX_GUESTS) {
            match self.watch(poller) {
                Ok(()) => self.shut = None,
                Err(error) => {
                    control.tell(&ServerEvent::Trouble(&error));
                    self.shut = Some(Deadline::after(SHUT_FOR));
                }
            }
        }
    }

    /// Ends the handshakes whose time is up.
    pub(super) fn expire(&mut self, poller: &Poller, control: &Control) {
        let late: Vec<usize> =
            self.guests.iter().filter(|(_, seen)| seen.guest.deadline().has_passed()).map(|(key, _)| key).collect();
        for key in late {
            // A guest whose time is up gives no link, unless it spoke at the last moment; that is for its event.
            if let Some(link) = self.attend(key, poller, control) {
                control.tell(&ServerEvent::TurnedAway(&Refusal::Silent.to_string()));
                drop(link);
            }
        }
        self.reopen(poller, control);
    }

    /// Takes a guest's next step; a link when it was the last one.
    pub(super) fn attend(&mut self, key: usize, poller: &Poller, control: &Control) -> Option<Box<Link>> {
        let Seen { guest, welcomed } = self.guests.try_remove(key)?;
        poller.remove(&guest);
        let welcomed_others = self.guests.iter().filter(|(_, seen)| seen.welcomed).count();
        let (options, standard) = (&self.options, &self.standard);
        let mut admitted = welcomed;
        let progress = guest.step(self.listener.path(), standard, &options.connection, |wishes| {
            if control.callers() + welcomed_others >= options.max_callers {
                return Err(Refusal::Busy);
            }
            admitted = true;
            options.terms(standard, wishes)
        });
        let link = match progress {
            Ok(Progress::Waiting(guest)) => {
                let again = self.guests.vacant_key();
                match poller.add(&guest, Token::Guest(again)) {
                    Ok(()) => {
                        self.guests.insert(Seen { guest, welcomed: admitted });
                    }
                    Err(error) => control.tell(&ServerEvent::Trouble(&error)),
                }
                None
            }
            Ok(Progress::Linked(link)) => Some(link),
            Ok(Progress::Refused(why)) => {
                control.tell(&ServerEvent::TurnedAway(&why.to_string()));
                None
            }
            Err(error) => {
                control.tell(&ServerEvent::Trouble(&error));
                None
            }
        };
        self.reopen(poller, control);
        link
    }
}
