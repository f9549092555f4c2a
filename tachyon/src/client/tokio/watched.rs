//! The descriptors of a connection as the runtime watches them.
#![allow(unsafe_code, reason = "vouches for descriptors while the runtime watches them")]

use core::task::{Context, Poll, ready};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::connection::{Connection, End};

/// What is watched of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// The socket of the connection: the peer's rings, and its end.
    Socket,
    /// The peer's process.
    Process,
}

/// One descriptor, kept open by the connection it belongs to.
#[derive(Debug)]
struct Descriptor {
    connection: Arc<Connection>,
    part: Part,
    raw: RawFd,
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.raw
    }
}

/// A descriptor of our own that the runtime watches for readability.
#[derive(Debug)]
pub(crate) struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Has the runtime watch a descriptor.
    ///
    /// # Errors
    /// The system's refusal to watch it.
    ///
    /// # Panics
    /// Outside a tokio runtime, or in one without its I/O driver.
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        // SAFETY: an owned descriptor stays open and the same until it is dropped or replaced. Dropping the result lets
        // the runtime go of it first, and nobody can replace it: it is not reachable from outside.
        Ok(Self(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?))
    }

    /// Waits until the descriptor becomes readable. It may have become so long ago: look before waiting, until a look
    /// finds nothing.
    pub(crate) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_read_ready(context))?.clear_ready();
        Poll::Ready(Ok(()))
    }
}

/// A descriptor registered with the runtime.
#[derive(Debug)]
pub(super) struct Watched(AsyncFd<Descriptor>);

impl Watched {
    /// Registers a part of the connection; `None` when it has no such part.
    ///
    /// # Errors
    /// The system's refusal to watch it.
    ///
    /// # Panics
    /// Outside a tokio runtime, or in one without its I/O driver.
    pub(super) fn new(connection: &Arc<Connection>, part: Part) -> io::Result<Option<Self>> {
        let raw = match part {
            Part::Socket => connection.peer.as_fd().as_raw_fd(),
            Part::Process => match connection.peer.process() {
                Some(process) => process.as_raw_fd(),
                None => return Ok(None),
            },
        };
        let descriptor = Descriptor { connection: Arc::clone(connection), part, raw };
        // SAFETY: `raw` is a descriptor that the connection owns and never closes or replaces while it lives, and
        // `descriptor` holds it for as long as the runtime has it; `as_raw_fd` gives the same number every time.
        let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
        Ok(Some(Self(watched)))
    }

    /// Waits until something happens, and takes the rings; true when it was the peer's end. It may have happened long ago:
    /// look before waiting.
    pub(super) fn poll_happened(&self, context: &mut Context<'_>) -> Poll<Result<bool, End>> {
        let mut ready = ready!(self.0.poll_read_ready(context))?;
        let Descriptor { connection, part, .. } = self.0.get_ref();
        let ended = ready.ready().is_read_closed();
        Poll::Ready(match part {
            Part::Socket => match connection.peer.hear() {
                Ok(heard) => {
                    if !heard.more {
                        ready.clear_ready();
                    }
                    Ok(heard.gone || ended)
                }
                Err(fault) => Err(connection.broken(fault).into()),
            },
            Part::Process => {
                ready.clear_ready();
                Ok(connection.peer.is_gone())
            }
        })
    }
}
