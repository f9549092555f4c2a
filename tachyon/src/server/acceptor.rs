//! The acceptor of a server: lets clients in and sees them through their handshake, never waiting for any of them.
//!
//! It is a state machine with an epoll of its own, which its driver watches: a thread, or the serving worker, task or loop
//! ([`Door`](super::door::Door)). It runs no code of users: callers, refusals and failures go to a worker's inbox.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::control::{Bell, Control, Letter};
use super::options::ServerOptions;
use super::places::{Place, Places, Taker};
use super::poller::{BATCH, Poller, Token};
use super::session::Arrival;
use crate::connection::Established;
use crate::handshake::ListenError;
use crate::handshake::{Listener, Offer, PendingClient, Progress, Rejection};
use crate::wait::Deadline;

/// Most handshakes at a time; further clients wait in the kernel's queue.
const MAX_PENDING: usize = 64;

/// Most handshakes of one process, and of all other users together.
const MAX_OF_PROCESS: usize = MAX_PENDING / 4;
const MAX_OF_OTHERS: usize = MAX_PENDING / 2;

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
    places: Arc<Places>,
    pending: Slab<Pending>,
    /// Clients so far, which number the handshakes by age.
    clients: u64,
    /// While set, no client is accepted: no place for another handshake, or no descriptors.
    shut: Option<Deadline>,
    /// Until when no further client that made place for others is reported.
    reported: Deadline,
    next_id: u64,
    /// Kept for its allocation.
    tokens: Vec<Token>,
}

#[derive(Debug)]
struct Pending {
    guest: PendingClient,
    number: u64,
    /// A caller's, from the welcome on.
    place: Option<Place>,
}

impl Acceptor {
    pub(super) fn new(path: &Path, options: ServerOptions) -> Result<Self, ListenError> {
        let standard = options.offer()?;
        let listener = Listener::bind(path, &options.connection)?;
        let failed = |source| ListenError::system("watch", path, source);
        let poller = Poller::new().map_err(failed)?;
        poller.add(&listener, Token::Door).map_err(failed)?;
        let places = Places::new(options.limits(&standard));
        Ok(Self {
            listener: Some(listener),
            path: path.to_owned(),
            poller,
            standard,
            options,
            places,
            pending: Slab::new(),
            clients: 0,
            shut: None,
            reported: Deadline::after(Duration::ZERO),
            next_id: 1,
            tokens: Vec::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Ends every sleep in [`step`](Self::step) with a ring.
    pub(super) fn watch(&self, bell: &Bell) -> std::io::Result<()> {
        if let Some(listener) = &self.listener {
            // Many a server gives up its privileges between binding and serving.
            listener.update_credentials();
        }
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
        self.poller.wait(timeout, BATCH, &mut tokens)?;
        for token in &tokens {
            match *token {
                Token::Door => self.accept(control),
                Token::Guest(key) => {
                    if let Some(pending) = self.release(key) {
                        self.advance(pending, control);
                    }
                }
                _ => {}
            }
        }
        self.tokens = tokens;
        self.expire(control);
        Ok(())
    }

    /// Takes clients from the queue, as long as there are places for their handshakes or others make some.
    fn accept(&mut self, control: &Control) {
        // A flood of clients does not keep those that are on their way in from their next steps.
        for _ in 0..MAX_PENDING {
            if self.pending.len() >= MAX_PENDING && !self.make_place(|_| true, control) {
                // None of them is silent: the next one that is through makes a place.
                return self.shut(Deadline::never());
            }
            let Some(listener) = &self.listener else { return };
            let accepted = listener.try_accept().and_then(|client| {
                let failed = |source| ListenError::system("identify the client on", &self.path, source);
                client
                    .map(|client| {
                        PendingClient::new(client, &self.options.connection, Deadline::never()).map_err(failed)
                    })
                    .transpose()
            });
            match accepted {
                Ok(Some(Some(guest))) => {
                    self.clients += 1;
                    let pending = Pending { guest, number: self.clients, place: None };
                    // Most clients have said hello by now.
                    if self.has_place(&pending.guest, control) {
                        self.advance(pending, control);
                    }
                }
                Ok(Some(None)) => control.post(Letter::TurnedAway(Rejection::Gone)),
                Ok(None) => return,
                Err(error) => {
                    control.post(Letter::Trouble(error.into()));
                    return self.shut(Deadline::after(SHUT_FOR));
                }
            }
        }
    }

    /// Whether the client's process, and other users, leave a place for its handshake. A client that finds none is hung
    /// up on before it is heard, and comes again.
    fn has_place(&mut self, guest: &PendingClient, control: &Control) -> bool {
        let (process, foreign) = (guest.process(), guest.is_foreign());
        let of_process = |other: &PendingClient| other.process() == process;
        let of_others = |other: &PendingClient| other.is_foreign();
        (self.count(of_process) < MAX_OF_PROCESS || self.make_place(of_process, control))
            && (!foreign || self.count(of_others) < MAX_OF_OTHERS || self.make_place(of_others, control))
    }

    fn count(&self, among: impl Fn(&PendingClient) -> bool) -> usize {
        self.pending.iter().filter(|(_, pending)| among(&pending.guest)).count()
    }

    /// Hangs up on the client that has been silent for longest; false if none among those is silent.
    fn make_place(&mut self, among: impl Fn(&PendingClient) -> bool, control: &Control) -> bool {
        let before = self.pending.len();
        loop {
            let silent = self.pending.iter().filter(|(_, client)| !client.guest.was_welcomed() && among(&client.guest));
            let oldest = silent.min_by_key(|(_, client)| client.number);
            let Some((key, number)) = oldest.map(|(key, client)| (key, client.number)) else { return false };
            // It may have said hello since the last look, and is welcomed then, or gone.
            let Some(client) = self.release(key) else { return false };
            self.advance(client, control);
            let silent = |client: &Pending| client.number == number && !client.guest.was_welcomed();
            if let Some((key, _)) = self.pending.iter().find(|(_, client)| silent(client)) {
                drop(self.release(key));
                self.report_crowded(control);
            }
            if self.pending.len() < before {
                return true;
            }
        }
    }

    /// Reports one in a while, and only counts the others: a flood of silent clients is none of reports.
    fn report_crowded(&mut self, control: &Control) {
        if self.reported.has_passed() {
            self.reported = Deadline::after(SHUT_FOR);
            control.post(Letter::TurnedAway(Rejection::Crowded));
        } else if let Some(publication) = control.publication() {
            publication.board.note_turned_away();
        }
    }

    /// Takes a client out of those that are watched.
    fn release(&mut self, key: usize) -> Option<Pending> {
        let pending = self.pending.try_remove(key)?;
        self.poller.remove(&pending.guest);
        Some(pending)
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
                let welcomed = pending.guest.was_welcomed();
                if !welcomed {
                    poller.remove(&pending.guest);
                }
                welcomed
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
            if let Some(pending) = self.release(key) {
                // One that spoke at the last moment goes on.
                self.advance(pending, control);
            }
        }
        self.reopen(control);
    }

    /// Takes a client's next step. After the last one it is a worker's.
    fn advance(&mut self, Pending { guest, number, mut place }: Pending, control: &Control) {
        let taker = Taker { process: guest.process(), foreign: guest.is_foreign() };
        let (options, standard, places) = (&self.options, &self.standard, &self.places);
        let progress = guest.step(&self.path, standard, &options.connection, |wishes, _| {
            let mut offer = options.terms(standard, wishes)?;
            place = Some(places.take(taker, &mut offer, standard)?);
            Ok(offer)
        });
        match progress {
            Ok(Progress::Waiting(guest)) => self.keep(Pending { guest, number, place }, control),
            Ok(Progress::Linked(link)) => {
                let established = Established::new(*link, &self.options.connection);
                established.connection.end_with(&control.stop_time);
                control.post(Letter::Arrival(Box::new(Arrival::new(self.next_id, &established, place))));
                self.next_id += 1;
            }
            Ok(Progress::Rejected(why)) => control.post(Letter::TurnedAway(why)),
            Err(error) => control.post(Letter::Trouble(error.into())),
        }
    }
}

impl AsFd for Acceptor {
    /// Readable when a step would find something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}
