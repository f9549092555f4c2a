//! The side that waits to be found.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::admission::{Client, Outcome};
use super::binding::Binding;
use super::conversation::{Stop, wait_until};
use super::error::ListenError;
use super::{Link, Offer};
use crate::options::Options;
use crate::wait::{Deadline, Socket, reaper};

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
    binding: Binding,
}

impl Listener {
    /// Makes the path findable. Clients queue from now on, and wait until they are accepted.
    ///
    /// # Errors
    ///
    /// [`ListenError`] for a path that is impossible, taken or not a socket's; a dead socket is replaced.
    pub(crate) fn bind(path: &Path, options: &Options) -> Result<Self, ListenError> {
        Binding::new(path, options).map(|binding| Self { binding })
    }

    /// Waits for a client and makes a connection with it. Clients that are not as they should be are turned away.
    ///
    /// # Errors
    ///
    /// [`ListenError`] for what is wrong on this side: time is up, an interrupt, no more descriptors or memory.
    pub(crate) fn accept(&self, offer: &Offer, options: &Options, deadline: Deadline) -> Result<Link, ListenError> {
        let mut refused = 0;
        let mut last = None;
        loop {
            let stop = if reaper::is_full() {
                // What clients passed is being closed; the next ones wait in the queue.
                let pause = Deadline::after(PAUSE);
                match wait_until(self, PollFlags::empty(), pause.min(deadline), options.interrupt_hook()) {
                    Err(Stop::TimedOut) if !deadline.has_passed() => Ok(()),
                    stop => stop,
                }
            } else if let Some(client) = self.try_accept()? {
                match client.handshake(self.path(), offer, options, deadline)? {
                    Outcome::Linked(link) => return Ok(*link),
                    Outcome::Refused(why) => {
                        refused += 1;
                        last = Some(why);
                    }
                }
                // Asked here too, so that an endless queue of bad clients cannot keep the listener busy for ever.
                if deadline.has_passed() {
                    Err(Stop::TimedOut)
                } else if options.interrupt_hook().is_some_and(|asked| asked()) {
                    Err(Stop::Interrupted)
                } else {
                    Ok(())
                }
            } else {
                wait_until(self, PollFlags::IN, deadline, options.interrupt_hook())
            };
            match stop {
                Ok(()) => {}
                Err(Stop::TimedOut) => {
                    return Err(ListenError::TimedOut { path: self.path().to_owned(), refused, last });
                }
                Err(Stop::Interrupted) => return Err(ListenError::Interrupted { path: self.path().to_owned() }),
                Err(Stop::System { operation, source }) => {
                    return Err(ListenError::system(operation, self.path(), source));
                }
            }
        }
    }

    /// Takes the next client from the queue without waiting; its handshake is a step of its own.
    ///
    /// # Errors
    ///
    /// [`ListenError`] if the system refuses; the client then stays in the queue.
    pub(crate) fn try_accept(&self) -> Result<Option<Client>, ListenError> {
        if reaper::is_full() {
            return Err(self.full());
        }
        loop {
            match accept_with(&self.binding, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => {
                    return Ok(Some(Client::new(Socket::accepted(socket, self.binding.refuses_rights()))));
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => return Err(ListenError::system("accept a client on", self.path(), errno.into())),
            }
        }
    }

    fn full(&self) -> ListenError {
        let full = std::io::Error::other("clients have passed as many descriptors as can wait to be closed");
        ListenError::system("accept a client on", self.path(), full)
    }

    /// The path this listener is found at.
    pub(crate) fn path(&self) -> &Path {
        self.binding.path()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.binding.as_fd()
    }
}
