//! The side that listens.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::bind::BoundSocket;
use super::error::ListenError;
use super::pending_client::{PendingClient, Progress};
use super::rejection::Rejection;
use super::{Offer, Pairing};
use crate::options::Options;
use crate::wait::{Deadline, INTERRUPT_SLICE, Socket, reaper};

/// Most clients with an unfinished handshake.
const MAX_PENDING: usize = 8;

/// Time between two looks at the reaper while it is full.
const PAUSE: Duration = Duration::from_millis(10);

/// Listens at `path` for one client.
///
/// The path is free again on return. Clients that are still queued then go on looking for a listener until their
/// timeout.
///
/// # Errors
///
/// As [`Listener::bind`] and [`Listener::accept`].
pub(crate) fn listen(path: &Path, offer: &Offer, options: &Options) -> Result<Pairing, ListenError> {
    let deadline = options.listen_deadline();
    Listener::bind(path, options)?.accept(offer, options, deadline)
}

/// A listening socket. Dropping it removes the socket file, if the file is still its own.
///
/// Its descriptor is readable while a client is queued.
#[derive(Debug)]
pub(crate) struct Listener {
    bound: BoundSocket,
}

impl Listener {
    /// Binds the path. From now on, clients queue until they are accepted.
    ///
    /// # Errors
    ///
    /// [`ListenError`] for a path that is impossible, in use, or no socket. A dead socket is replaced.
    pub(crate) fn bind(path: &Path, options: &Options) -> Result<Self, ListenError> {
        BoundSocket::new(path, options).map(|bound| Self { bound })
    }

    /// Waits for a client and finishes its handshake. Faulty clients are rejected, and silent clients do not block
    /// others.
    ///
    /// # Errors
    ///
    /// [`ListenError`] for a problem of this side: the timeout, an interrupt, too few descriptors or too little memory.
    pub(crate) fn accept(&self, offer: &Offer, options: &Options, deadline: Deadline) -> Result<Pairing, ListenError> {
        let mut candidates =
            Candidates { listener: self, offer, options, deadline, pending: VecDeque::new(), rejected: 0, last: None };
        loop {
            if let Some(pairing) = candidates.step()? {
                return Ok(pairing);
            }
            candidates.wait()?;
        }
    }

    /// Takes the next client from the queue, before its handshake. Never waits.
    ///
    /// # Errors
    ///
    /// [`ListenError`] if the system fails; the client stays queued.
    pub(crate) fn try_accept(&self) -> Result<Option<Socket>, ListenError> {
        self.update_credentials();
        if reaper::is_full() {
            return Err(self.full());
        }
        loop {
            match accept_with(&self.bound, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => {
                    return Ok(Some(Socket::accepted(socket, self.bound.refuses_rights())));
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => return Err(ListenError::system("accept a client on", self.path(), errno.into())),
            }
        }
    }

    /// Shows clients that connect from now on the present user of this process.
    pub(crate) fn update_credentials(&self) {
        self.bound.update_credentials();
    }

    fn full(&self) -> ListenError {
        let full = std::io::Error::other("clients have passed too many descriptors, which are being closed");
        ListenError::system("accept a client on", self.path(), full)
    }

    /// The path of the socket file.
    pub(crate) fn path(&self) -> &Path {
        self.bound.path()
    }
}

/// The clients with an unfinished handshake. The first to finish becomes the peer.
struct Candidates<'a> {
    listener: &'a Listener,
    offer: &'a Offer,
    options: &'a Options,
    deadline: Deadline,
    /// The oldest first. At most one is welcomed, because a welcomed client soon takes itself for connected.
    pending: VecDeque<PendingClient>,
    /// The number of rejected clients, and the reason for the last rejection.
    rejected: usize,
    last: Option<Rejection>,
}

impl Candidates<'_> {
    /// Takes all steps that are possible without waiting.
    fn step(&mut self) -> Result<Option<Pairing>, ListenError> {
        for _ in 0..self.pending.len() {
            if let Some(client) = self.pending.pop_front()
                && let Some(pairing) = self.advance(client)?
            {
                return Ok(Some(pairing));
            }
        }
        // Bounded, so that an endless queue of faulty clients does not block the deadline.
        for _ in 0..MAX_PENDING {
            if !self.has_place() {
                break;
            }
            let Some(socket) = self.listener.try_accept()? else { break };
            let path = self.listener.path();
            let client = PendingClient::new(socket, self.options, self.deadline)
                .map_err(|source| ListenError::system("identify the client on", path, source))?;
            match client {
                Some(client) => {
                    if let Some(pairing) = self.advance(client)? {
                        return Ok(Some(pairing));
                    }
                }
                None => self.note_rejection(Rejection::Gone),
            }
        }
        Ok(None)
    }

    /// Whether there is a place for another client. If need be, rejects the client that has been silent for longest.
    fn has_place(&mut self) -> bool {
        if reaper::is_full() {
            // The next clients wait in the queue until the reaper has closed descriptors.
            return false;
        }
        if self.pending.len() < MAX_PENDING {
            return true;
        }
        if self.is_one_welcomed() {
            return false;
        }
        self.pending.pop_front();
        self.note_rejection(Rejection::Crowded);
        true
    }

    fn is_one_welcomed(&self) -> bool {
        self.pending.iter().any(PendingClient::was_welcomed)
    }

    fn note_rejection(&mut self, why: Rejection) {
        self.rejected += 1;
        self.last = Some(why);
    }

    /// Takes a client's next step, unless another client is welcomed.
    fn advance(&mut self, client: PendingClient) -> Result<Option<Pairing>, ListenError> {
        if self.is_one_welcomed() {
            self.pending.push_back(client);
            return Ok(None);
        }
        let welcomed = client.was_welcomed();
        // The only place is not for a probe.
        let terms = |_: &_, probe| if probe { Err(Rejection::Probe) } else { Ok(self.offer.clone()) };
        match client.step(self.listener.path(), self.offer, self.options, terms)? {
            Progress::Paired(pairing) => return Ok(Some(*pairing)),
            Progress::Waiting(client) => self.pending.push_back(client),
            Progress::Rejected(Rejection::Probe) => {}
            Progress::Rejected(why) => {
                self.note_rejection(why);
                if welcomed {
                    for waited in &mut self.pending {
                        waited.restart(self.options, self.deadline);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Waits until the next step is possible.
    fn wait(&mut self) -> Result<(), ListenError> {
        let path = self.listener.path();
        let interrupt = self.options.interrupt_hook();
        if self.deadline.has_passed() {
            return Err(ListenError::TimedOut {
                path: path.to_owned(),
                rejected: self.rejected,
                last: self.last.take(),
            });
        }
        if interrupt.is_some_and(|asked| asked()) {
            return Err(ListenError::Interrupted { path: path.to_owned() });
        }
        let one_welcomed = self.is_one_welcomed();
        // The other clients wait for the welcomed one.
        let heard: Vec<&PendingClient> =
            self.pending.iter().filter(|client| client.was_welcomed() || !one_welcomed).collect();
        let mut watched: Vec<PollFd<'_>> = heard.iter().map(|client| PollFd::new(*client, PollFlags::IN)).collect();
        let full = reaper::is_full();
        if !(full || one_welcomed && self.pending.len() >= MAX_PENDING) {
            watched.push(PollFd::new(self.listener, PollFlags::IN));
        }
        let deadlines = heard.iter().map(|client| client.deadline()).fold(self.deadline, Deadline::min);
        let slices = [deadlines.remaining(), interrupt.map(|_| INTERRUPT_SLICE), full.then_some(PAUSE)];
        // A sleep too long for the kernel becomes a sleep without a limit.
        let limit = slices.into_iter().flatten().min().and_then(|limit| Timespec::try_from(limit).ok());
        match poll(&mut watched, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(ListenError::system("wait on", path, errno.into())),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bound.as_fd()
    }
}
