//! The acceptor of a server: accepts clients and runs their handshakes, without waiting for a single client.
//!
//! The acceptor is a state machine with an epoll of its own. Its driver
//! ([`AcceptorDriver`](super::acceptor_driver::AcceptorDriver)) watches the epoll: a thread, or the serving worker,
//! task or loop. The acceptor runs no code of users: callers, rejections and errors go to a worker's inbox.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use super::control::{AcceptorEvent, Control};
use super::options::ServerOptions;
use super::poller::{BATCH, Poller, Token};
use super::quota::{CallerQuota, QuotaGrant, QuotaOwner};
use super::session::Arrival;
use crate::connection::Established;
use crate::handshake::{ListenError, Listener, Offer, PendingClient, Progress, Rejection};
use crate::wait::{Deadline, Notifier};

/// Most handshakes at a time. Further clients wait in the kernel's queue.
const MAX_PENDING: usize = 64;

/// Most handshakes of one process, and of all other users.
const MAX_OF_PROCESS: usize = MAX_PENDING / 4;
const MAX_OF_OTHERS: usize = MAX_PENDING / 2;

/// Pause before the next accept when the system has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Acceptor {
    /// `None` once the server stops.
    listener: Option<Listener>,
    path: PathBuf,
    poller: Poller,
    standard: Offer,
    options: ServerOptions,
    quota: Arc<CallerQuota>,
    handshakes: Slab<Handshake>,
    /// Clients so far. The number of a handshake is its age.
    clients: u64,
    /// While set, no client is accepted: there are too many handshakes (no limit of time), or no descriptors.
    paused: Option<Deadline>,
    /// Until then, evicted clients are counted and not reported.
    next_report: Deadline,
    next_id: u64,
    /// Kept for its allocation.
    tokens: Vec<Token>,
}

#[derive(Debug)]
struct Handshake {
    client: PendingClient,
    number: u64,
    /// The caller's share of the quota, from the welcome on.
    grant: Option<QuotaGrant>,
}

impl Acceptor {
    pub(super) fn new(path: &Path, options: ServerOptions) -> Result<Self, ListenError> {
        let standard = options.offer()?;
        let listener = Listener::bind(path, &options.connection)?;
        let failed = |source| ListenError::system("watch", path, source);
        let poller = Poller::new().map_err(failed)?;
        poller.add(&listener, Token::Incoming).map_err(failed)?;
        let quota = CallerQuota::new(options.limits(&standard));
        Ok(Self {
            listener: Some(listener),
            path: path.to_owned(),
            poller,
            standard,
            options,
            quota,
            handshakes: Slab::new(),
            clients: 0,
            paused: None,
            next_report: Deadline::after(Duration::ZERO),
            next_id: 1,
            tokens: Vec::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the notifier end the wait in [`step`](Self::step).
    pub(super) fn watch(&self, notifier: &Notifier) -> std::io::Result<()> {
        if let Some(listener) = &self.listener {
            // A server may drop privileges between listening and serving.
            listener.update_credentials();
        }
        self.poller.add(notifier, Token::Notified)
    }

    pub(super) fn unwatch(&self, notifier: &Notifier) {
        self.poller.remove(notifier);
    }

    /// Time until the next step is due without an event.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let handshakes = self.handshakes.iter().filter_map(|(_, handshake)| handshake.client.deadline().remaining());
        handshakes.chain(self.paused.and_then(Deadline::remaining)).min()
    }

    /// Handles the events of clients, waiting up to `timeout` for the first.
    ///
    /// # Errors
    /// The error of the epoll wait.
    pub(super) fn step(&mut self, control: &Control, timeout: Option<Duration>) -> std::io::Result<()> {
        let mut tokens = core::mem::take(&mut self.tokens);
        self.poller.wait(timeout, BATCH, &mut tokens)?;
        for token in &tokens {
            match *token {
                Token::Incoming => self.accept(control),
                Token::Client(key) => {
                    if let Some(handshake) = self.release(key) {
                        self.advance(handshake, control);
                    }
                }
                _ => {}
            }
        }
        self.tokens = tokens;
        self.expire(control);
        Ok(())
    }

    /// Accepts clients from the kernel's queue while there is room for their handshakes.
    fn accept(&mut self, control: &Control) {
        // Bounded, so that a flood of clients does not delay the handshakes in progress.
        for _ in 0..MAX_PENDING {
            if self.handshakes.len() >= MAX_PENDING && !self.evict_silent(|_| true, control) {
                // No client is silent: the next handshake that ends makes room.
                return self.pause(Deadline::never());
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
                Ok(Some(Some(client))) => {
                    self.clients += 1;
                    let handshake = Handshake { client, number: self.clients, grant: None };
                    // Most clients have sent their hello by now.
                    if self.has_room_for(&handshake.client, control) {
                        self.advance(handshake, control);
                    }
                }
                Ok(Some(None)) => control.send_event(AcceptorEvent::Rejected(Rejection::Gone)),
                Ok(None) => return,
                Err(error) => {
                    control.send_event(AcceptorEvent::Error(error.into()));
                    return self.pause(Deadline::after(PAUSE));
                }
            }
        }
    }

    /// Whether the client's process and its user have room for one more handshake. Otherwise the server hangs up before
    /// the first byte, and the client tries again.
    fn has_room_for(&mut self, client: &PendingClient, control: &Control) -> bool {
        let (process, foreign) = (client.process(), client.is_foreign());
        let of_process = |other: &PendingClient| other.process() == process;
        let of_others = |other: &PendingClient| other.is_foreign();
        (self.count(of_process) < MAX_OF_PROCESS || self.evict_silent(of_process, control))
            && (!foreign || self.count(of_others) < MAX_OF_OTHERS || self.evict_silent(of_others, control))
    }

    fn count(&self, among: impl Fn(&PendingClient) -> bool) -> usize {
        self.handshakes.iter().filter(|(_, handshake)| among(&handshake.client)).count()
    }

    /// Hangs up on the client that has been silent for the longest time; false if no client `among` them is silent.
    fn evict_silent(&mut self, among: impl Fn(&PendingClient) -> bool, control: &Control) -> bool {
        let before = self.handshakes.len();
        loop {
            let silent = |client: &PendingClient| !client.was_welcomed() && among(client);
            let oldest = self.handshakes.iter().filter(|(_, handshake)| silent(&handshake.client));
            let oldest = oldest.min_by_key(|(_, handshake)| handshake.number);
            let Some((key, number)) = oldest.map(|(key, handshake)| (key, handshake.number)) else { return false };
            // A hello that came since the last look counts: the client is welcomed, or gone, after this step.
            let Some(handshake) = self.release(key) else { return false };
            self.advance(handshake, control);
            let silent = |other: &Handshake| other.number == number && !other.client.was_welcomed();
            if let Some((key, _)) = self.handshakes.iter().find(|(_, handshake)| silent(handshake)) {
                drop(self.release(key));
                self.report_evicted(control);
            }
            if self.handshakes.len() < before {
                return true;
            }
        }
    }

    /// Reports one eviction per [`PAUSE`], and counts the others: a flood of silent clients must not flood the log.
    fn report_evicted(&mut self, control: &Control) {
        if self.next_report.has_passed() {
            self.next_report = Deadline::after(PAUSE);
            control.send_event(AcceptorEvent::Rejected(Rejection::Crowded));
        } else if let Some(publication) = control.publication() {
            publication.writer.count_rejected();
        }
    }

    /// Stops watching a client, and returns its handshake.
    fn release(&mut self, key: usize) -> Option<Handshake> {
        let handshake = self.handshakes.try_remove(key)?;
        self.poller.remove(&handshake.client);
        Some(handshake)
    }

    /// Watches a client.
    fn keep(&mut self, handshake: Handshake, control: &Control) {
        match self.poller.add(&handshake.client, Token::Client(self.handshakes.vacant_key())) {
            Ok(()) => {
                self.handshakes.insert(handshake);
            }
            Err(error) => control.send_event(AcceptorEvent::Error(error.into())),
        }
    }

    /// Accepts no client until then.
    fn pause(&mut self, until: Deadline) {
        if let Some(listener) = &self.listener {
            self.poller.remove(listener);
            self.paused = Some(until);
        }
    }

    /// Closes the listening socket, so that the path is free. A welcomed client may already consider itself connected,
    /// so its handshake goes on. The others see the connection end before their hello is read, and look for another
    /// listener. True when no handshake is left.
    pub(super) fn close(&mut self) -> bool {
        if let Some(listener) = self.listener.take() {
            // Removed by hand: a forked child that has the socket open would keep it in the epoll.
            self.poller.remove(&listener);
            drop(listener);
            self.paused = None;
            let poller = &self.poller;
            self.handshakes.retain(|_, handshake| {
                let welcomed = handshake.client.was_welcomed();
                if !welcomed {
                    poller.remove(&handshake.client);
                }
                welcomed
            });
        }
        self.handshakes.is_empty()
    }

    /// Accepts clients again once the reason for the pause is gone.
    fn resume(&mut self, control: &Control) {
        let (Some(until), Some(listener)) = (self.paused, &self.listener) else { return };
        let timed = until.remaining().is_some();
        if (timed && until.has_passed()) || (!timed && self.handshakes.len() < MAX_PENDING) {
            match self.poller.add(listener, Token::Incoming) {
                Ok(()) => self.paused = None,
                Err(error) => {
                    control.send_event(AcceptorEvent::Error(error.into()));
                    self.paused = Some(Deadline::after(PAUSE));
                }
            }
        }
    }

    /// Ends handshakes past their deadline.
    fn expire(&mut self, control: &Control) {
        let expired = self.handshakes.iter().filter(|(_, handshake)| handshake.client.deadline().has_passed());
        let expired: Vec<usize> = expired.map(|(key, _)| key).collect();
        for key in expired {
            if let Some(handshake) = self.release(key) {
                // A message of the last moment counts.
                self.advance(handshake, control);
            }
        }
        self.resume(control);
    }

    /// Runs the next step of a handshake. After the last step the caller goes to a worker.
    fn advance(&mut self, Handshake { client, number, mut grant }: Handshake, control: &Control) {
        let owner = QuotaOwner { process: client.process(), foreign: client.is_foreign() };
        let (options, standard, quota) = (&self.options, &self.standard, &self.quota);
        let progress = client.step(&self.path, standard, &options.connection, |wishes, _| {
            let mut offer = options.terms(standard, wishes)?;
            grant = Some(quota.grant(owner, &mut offer, standard)?);
            Ok(offer)
        });
        match progress {
            Ok(Progress::Waiting(client)) => self.keep(Handshake { client, number, grant }, control),
            Ok(Progress::Paired(pairing)) => {
                let established = Established::new(*pairing, &self.options.connection);
                established.connection.end_with(&control.stop_time);
                control.send_event(AcceptorEvent::Arrival(Box::new(Arrival::new(self.next_id, &established, grant))));
                self.next_id += 1;
            }
            Ok(Progress::Rejected(rejection)) => control.send_event(AcceptorEvent::Rejected(rejection)),
            Err(error) => control.send_event(AcceptorEvent::Error(error.into())),
        }
    }
}

impl AsFd for Acceptor {
    /// Readable while a step would find an event.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}
