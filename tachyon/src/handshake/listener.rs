//! The side that waits to be found.

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
use super::{Link, Offer};
use crate::options::Options;
use crate::wait::{Deadline, INTERRUPT_SLICE, Socket, reaper};

/// Most clients whose handshakes are under way.
const MAX_PENDING: usize = 8;

/// Time between two looks whether descriptors that clients passed are closed by now.
const PAUSE: Duration = Duration::from_millis(10);

/// Listens at `path` for one client and no more.
///
/// The path is free again when this returns. Clients that were still queued find that out and go on looking for a
/// listener until their own time is up.
///
/// # Errors
///
/// As for [`Listener::bind`] and [`Listener::accept`].
pub(crate) fn listen(path: &Path, offer: &Offer, options: &Options) -> Result<Link, ListenError> {
    let deadline = options.listen_deadline();
    Listener::bind(path, options)?.accept(offer, options, deadline)
}

/// A bound socket that clients can find. Dropping it removes the socket file, if it is still its own.
///
/// Its descriptor is readable while a client waits.
#[derive(Debug)]
pub(crate) struct Listener {
    bound: BoundSocket,
}

impl Listener {
    /// Makes the path findable. Clients queue from now on, and wait until they are accepted.
    ///
    /// # Errors
    ///
    /// [`ListenError`] for a path that is impossible, taken or not a socket's; a dead socket is replaced.
    pub(crate) fn bind(path: &Path, options: &Options) -> Result<Self, ListenError> {
        BoundSocket::new(path, options).map(|bound| Self { bound })
    }

    /// Waits for a client and makes a connection with it. Clients that are not as they should be are turned away, and
    /// those that say nothing keep no other out.
    ///
    /// # Errors
    ///
    /// [`ListenError`] for what is wrong on this side: time is up, an interrupt, no more descriptors or memory.
    pub(crate) fn accept(&self, offer: &Offer, options: &Options, deadline: Deadline) -> Result<Link, ListenError> {
        let mut candidates =
            Candidates { listener: self, offer, options, deadline, pending: VecDeque::new(), rejected: 0, last: None };
        loop {
            if let Some(link) = candidates.step()? {
                return Ok(link);
            }
            candidates.wait()?;
        }
    }

    /// Takes the next client from the queue without waiting; its handshake is a step of its own.
    ///
    /// # Errors
    ///
    /// [`ListenError`] if the system refuses; the client then stays in the queue.
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

    /// Has the system tell clients as whom this process listens now, for those that come from now on.
    pub(crate) fn update_credentials(&self) {
        self.bound.update_credentials();
    }

    fn full(&self) -> ListenError {
        let full = std::io::Error::other("clients have passed as many descriptors as can wait to be closed");
        ListenError::system("accept a client on", self.path(), full)
    }

    /// The path this listener is found at.
    pub(crate) fn path(&self) -> &Path {
        self.bound.path()
    }
}

/// The clients of which one is to be the peer: the first whose handshake is done.
struct Candidates<'a> {
    listener: &'a Listener,
    offer: &'a Offer,
    options: &'a Options,
    deadline: Deadline,
    /// The longest there first. At most one was welcomed: a client that was takes itself for connected soon.
    pending: VecDeque<PendingClient>,
    /// Clients that were turned away, and why the last of them was.
    rejected: usize,
    last: Option<Rejection>,
}

impl Candidates<'_> {
    /// Takes all steps that need no wait.
    fn step(&mut self) -> Result<Option<Link>, ListenError> {
        for _ in 0..self.pending.len() {
            if let Some(guest) = self.pending.pop_front()
                && let Some(link) = self.advance(guest)?
            {
                return Ok(Some(link));
            }
        }
        // A bounded number, so that an endless queue of bad clients does not keep the listener for ever.
        for _ in 0..MAX_PENDING {
            if !self.has_place() {
                break;
            }
            let Some(client) = self.listener.try_accept()? else { break };
            let path = self.listener.path();
            let guest = PendingClient::new(client, self.options, self.deadline)
                .map_err(|source| ListenError::system("identify the client on", path, source))?;
            match guest {
                Some(guest) => {
                    if let Some(link) = self.advance(guest)? {
                        return Ok(Some(link));
                    }
                }
                None => self.note_rejection(Rejection::Gone),
            }
        }
        Ok(None)
    }

    /// Whether another client can be attended to. The one that has been silent for longest makes a place.
    fn has_place(&mut self) -> bool {
        if reaper::is_full() {
            // Passed descriptors are being closed; the next clients wait in the queue.
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

    /// Takes a client's next step, unless it has to wait until another one that was welcomed is through.
    fn advance(&mut self, guest: PendingClient) -> Result<Option<Link>, ListenError> {
        if self.is_one_welcomed() {
            self.pending.push_back(guest);
            return Ok(None);
        }
        let welcomed = guest.was_welcomed();
        // A probe does not get the only place.
        let terms = |_: &_, probe| if probe { Err(Rejection::Probe) } else { Ok(self.offer.clone()) };
        match guest.step(self.listener.path(), self.offer, self.options, terms)? {
            Progress::Linked(link) => return Ok(Some(*link)),
            Progress::Waiting(guest) => self.pending.push_back(guest),
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

    /// Waits until the next step can be taken.
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
        // The others are heard in their turn.
        let heard: Vec<&PendingClient> =
            self.pending.iter().filter(|guest| guest.was_welcomed() || !one_welcomed).collect();
        let mut watched: Vec<PollFd<'_>> = heard.iter().map(|guest| PollFd::new(*guest, PollFlags::IN)).collect();
        let full = reaper::is_full();
        if !(full || one_welcomed && self.pending.len() >= MAX_PENDING) {
            watched.push(PollFd::new(self.listener, PollFlags::IN));
        }
        let deadlines = heard.iter().map(|guest| guest.deadline()).fold(self.deadline, Deadline::min);
        let slices = [deadlines.remaining(), interrupt.map(|_| INTERRUPT_SLICE), full.then_some(PAUSE)];
        // A sleep too long for the kernel is one without an end.
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
