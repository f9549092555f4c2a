//! Descriptors that the runtime watches: those of a connection, and the epoll of a server.
#![allow(unsafe_code, reason = "guarantees that descriptors stay open while the runtime watches them")]

use core::task::{Context, Poll, ready};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::connection::{Connection, End};

/// A descriptor of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source {
    /// The connection's socket: rings and the end of the peer.
    Socket,
    /// The pidfd of the peer's process.
    Process,
}

/// One descriptor, kept open by the connection it belongs to.
#[derive(Debug)]
struct Descriptor {
    connection: Arc<Connection>,
    source: Source,
    raw: RawFd,
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.raw
    }
}

/// An owned descriptor that the runtime watches for readability.
#[derive(Debug)]
pub(crate) struct Readable(AsyncFd<OwnedFd>);

impl Readable {
    /// Registers a descriptor with the runtime.
    ///
    /// # Errors
    /// The error of the system.
    ///
    /// # Panics
    /// Outside a tokio runtime, or in one without its I/O driver.
    pub(crate) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        // SAFETY: an owned descriptor stays open and the same until it is dropped or replaced. Dropping the result
        // removes the descriptor from the runtime first. No code can replace the descriptor: the field is private.
        Ok(Self(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?))
    }

    /// Waits until the descriptor becomes readable. The event may be old: look first, and wait only after a look that
    /// finds nothing.
    pub(crate) fn poll_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.0.poll_read_ready(context))?.clear_ready();
        Poll::Ready(Ok(()))
    }
}

/// A descriptor of a connection, registered with the runtime.
#[derive(Debug)]
pub(super) struct WatchedDescriptor(AsyncFd<Descriptor>);

impl WatchedDescriptor {
    /// Registers a descriptor of the connection; `None` when the connection does not have it.
    ///
    /// # Errors
    /// The error of the system.
    ///
    /// # Panics
    /// Outside a tokio runtime, or in one without its I/O driver.
    pub(super) fn new(connection: &Arc<Connection>, source: Source) -> io::Result<Option<Self>> {
        let raw = match source {
            Source::Socket => connection.peer.as_fd().as_raw_fd(),
            Source::Process => match connection.peer.process() {
                Some(process) => process.as_raw_fd(),
                None => return Ok(None),
            },
        };
        let descriptor = Descriptor { connection: Arc::clone(connection), source, raw };
        // SAFETY: `raw` is a descriptor that the connection owns and never closes or replaces while it lives, and
        // `descriptor` keeps the connection alive while it is registered; `as_raw_fd` returns the same number every
        // time.
        let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
        Ok(Some(Self(watched)))
    }

    /// Waits for an event, and reads the rings; true for the end of the peer. The event may be old: look first.
    pub(super) fn poll_event(&self, context: &mut Context<'_>) -> Poll<Result<bool, End>> {
        let mut ready = ready!(self.0.poll_read_ready(context))?;
        let Descriptor { connection, source, .. } = self.0.get_ref();
        let ended = ready.ready().is_read_closed();
        Poll::Ready(match source {
            Source::Socket => match connection.peer.hear() {
                Ok(heard) => {
                    if !heard.more {
                        ready.clear_ready();
                    }
                    Ok(heard.gone || ended)
                }
                Err(fault) => Err(connection.broken(fault).into()),
            },
            Source::Process => {
                ready.clear_ready();
                Ok(connection.peer.is_gone())
            }
        })
    }
}
