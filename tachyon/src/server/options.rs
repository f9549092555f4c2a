//! How a server treats its callers.

use std::time::Duration;

use super::places::Limits;
use crate::handshake::{Kind, Offer, Rejection, Role, Wishes};
use crate::options::Options;
use crate::ring::CapacityError;
use crate::ring::{Geometry, Use};

/// Bytes of all rings, unless told otherwise.
const RING_BYTES: u64 = 1 << 30;

/// The driver of the acceptor while a server is served; see [`ServerOptions::acceptor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AcceptorMode {
    /// A thread of its own, `tachyon-accept`, which takes no signals and runs no code of users. Clients connect however
    /// long handlers take.
    #[default]
    Thread,
    /// The first worker, the tokio task, the event loop. For a process that must have one thread only, such
    /// as one that forks. While a handler runs there, no client connects.
    Inline,
}

/// Settings of a [`RpcServer`](crate::RpcServer).
///
/// ```
/// use tachyon::{Options, ServerOptions};
///
/// let options = ServerOptions::new().max_callers(64).ring_sizes(1 << 14, 1 << 20).connection(Options::new());
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
#[must_use = "options do nothing until a server is bound with them"]
pub struct ServerOptions {
    pub(super) connection: Options,
    pub(super) max_callers: usize,
    pub(super) stop_timeout: Duration,
    pub(super) stats: bool,
    pub(super) acceptor: AcceptorMode,
    /// Async handlers at work, of all callers and of each.
    #[cfg(feature = "tokio")]
    pub(super) in_flight: (usize, usize),
    each_process: usize,
    ring_bytes: (u64, u64),
    standard: (usize, usize),
    largest: (usize, usize),
}

impl ServerOptions {
    /// The defaults: up to 64 callers, rings of 64 KiB each way that a caller may ask to be up to 16 MiB.
    pub fn new() -> Self {
        Self {
            connection: Options::new(),
            max_callers: 64,
            stop_timeout: Duration::from_secs(1),
            stats: true,
            acceptor: AcceptorMode::Thread,
            #[cfg(feature = "tokio")]
            in_flight: (1024, 256),
            each_process: usize::MAX,
            ring_bytes: (u64::MAX, RING_BYTES),
            standard: (1 << 16, 1 << 16),
            largest: (1 << 24, 1 << 24),
        }
    }

    /// How clients are met and how the server waits: handshake timeout, users, polling mode, interrupt hook. The
    /// timeout for listening and the ring sizes of these options mean nothing to a server.
    pub fn connection(mut self, options: Options) -> Self {
        self.connection = options;
        self
    }

    /// Most callers at a time; one more is told that the server is busy. Each takes two descriptors and its rings.
    pub fn max_callers(mut self, callers: usize) -> Self {
        self.max_callers = callers;
        self
    }

    /// Most callers of one process at a time; one more is told that the server is busy. Default: as many as of all
    /// together. Processes of another pid namespace count as one. Callers of other users
    /// ([`any_uid`](Options::any_uid)) take half of [`max_callers`](Self::max_callers) at most.
    pub fn callers_per_process(mut self, callers: usize) -> Self {
        self.each_process = callers.max(1);
        self
    }

    /// Bytes of the rings of a caller that asks for nothing else: for requests, for replies. Powers of two.
    pub fn ring_sizes(mut self, forward: usize, reverse: usize) -> Self {
        self.standard = (forward, reverse);
        self
    }

    /// The largest rings that a caller may ask for. Default: 16 MiB each way.
    pub fn max_ring_sizes(mut self, forward: usize, reverse: usize) -> Self {
        self.largest = (forward, reverse);
        self
    }

    /// Most bytes that the rings of one caller may take, and those of all together. A caller that asks for more than is
    /// left gets smaller rings, down to [`ring_sizes`](Self::ring_sizes); if there is not even room for these, it is told
    /// that the server is busy. A ring takes its bytes from the system as it is used, and at most all of them.
    ///
    /// Default: no limit for one caller but [`max_ring_sizes`](Self::max_ring_sizes), and 1 GiB for all, or as much as
    /// [`max_callers`](Self::max_callers) callers without a wish take, if that is more.
    ///
    /// ```
    /// use tachyon::ServerOptions;
    ///
    /// let options = ServerOptions::new().max_ring_sizes(1 << 26, 1 << 26).ring_bytes(1 << 26, 1 << 28);
    /// # let _ = options;
    /// ```
    pub fn ring_bytes(mut self, each: u64, all: u64) -> Self {
        self.ring_bytes = (each, all);
        self
    }

    /// How long handlers may go on after a stop, and callers have to take their last replies, in all. Async handlers that
    /// take longer are dropped, and their callers get an error of kind [`Cancelled`](crate::ErrorKind::Cancelled); when
    /// handlers do not end, serving returns [`HandlersLeft`](crate::ServeError::HandlersLeft). Default: 1 second.
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// Most async handlers at work at a time: of all callers, and of each. Requests over that are held out of their
    /// rings, as many as a ring takes, and then stay in them, and callers whose ring is full wait. A place that becomes
    /// free goes round among the callers that want it. Each handler at work, and each request that is held, has a copy
    /// of the request. Default: 1024 and 256; 0 counts as 1. Needs the cargo feature `tokio`.
    #[cfg(feature = "tokio")]
    pub fn in_flight(mut self, all: usize, each: usize) -> Self {
        self.in_flight = (all.max(1), each.max(1));
        self
    }

    /// Whether the server counts what its callers do where other processes of this user can read it: see
    /// [`stats`](crate::stats). Default: on.
    pub fn stats(mut self, stats: bool) -> Self {
        self.stats = stats;
        self
    }

    /// Chooses what lets callers in while the server is served. Default: a thread of its own.
    ///
    /// ```
    /// use tachyon::ServerOptions;
    /// use tachyon::server::AcceptorMode;
    ///
    /// let options = ServerOptions::new().acceptor(AcceptorMode::Inline);
    /// # let _ = options;
    /// ```
    pub fn acceptor(mut self, mode: AcceptorMode) -> Self {
        self.acceptor = mode;
        self
    }

    /// What a caller without wishes is offered.
    pub(super) fn offer(&self) -> Result<Offer, CapacityError> {
        let geometries = vec![Geometry::new(self.standard.0, Use::Calls)?, Geometry::new(self.standard.1, Use::Calls)?];
        Ok(Offer { kind: Kind::Rpc, role: Role::Sink, geometries })
    }

    /// The limits for callers, of which one without a wish gets `standard`.
    pub(super) fn limits(&self, standard: &Offer) -> Limits {
        let bytes: u64 = standard.geometries.iter().map(|geometry| geometry.segment_len() as u64).sum();
        let (each, mut all) = self.ring_bytes;
        if all == RING_BYTES {
            all = all.max(bytes.saturating_mul(self.max_callers as u64));
        }
        Limits { callers: self.max_callers, each_process: self.each_process, each, all }
    }

    /// What a caller with `wishes` is offered, if there is memory for it.
    pub(super) fn terms(&self, standard: &Offer, wishes: &Wishes) -> Result<Offer, Rejection> {
        let mut offer = standard.clone();
        let largest = [self.largest.0, self.largest.1];
        for ((geometry, wish), most) in offer.geometries.iter_mut().zip(wishes).zip(largest) {
            let Some(wish) = wish else { continue };
            if wish.capacity() > most {
                return Err(Rejection::RingTooLarge { asked: wish.capacity(), most });
            }
            *geometry = *wish;
        }
        Ok(offer)
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::new()
    }
}
