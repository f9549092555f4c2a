//! Options of a server.

use std::time::Duration;

use super::quota::Limits;
use crate::dispatch::STREAM_THREADS;
use crate::handshake::{Kind, Offer, Rejection, Role, Wishes};
use crate::options::Options;
use crate::ring::{CapacityError, Geometry, Use};

/// Bytes of all rings by default.
const RING_BYTES: u64 = 1 << 30;

/// The driver of the acceptor while a server is served; see [`ServerOptions::acceptor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum AcceptorMode {
    /// A thread of its own, `tachyon-accept`, which blocks all signals and runs no code of users. Clients can connect
    /// while handlers run.
    #[default]
    Thread,
    /// The first worker, the tokio task or the event loop: for a process with one thread only, such as one that forks.
    /// While a handler runs there, no client can connect.
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
#[must_use = "options do nothing until a server listens with them"]
pub struct ServerOptions {
    pub(super) connection: Options,
    pub(super) max_callers: usize,
    pub(super) stop_timeout: Duration,
    pub(super) stats: bool,
    pub(super) acceptor: AcceptorMode,
    pub(super) stream_threads: usize,
    /// Most running async handlers, of all callers and of each.
    #[cfg(feature = "tokio")]
    pub(super) in_flight: (usize, usize),
    each_process: usize,
    ring_bytes: (u64, u64),
    standard: (usize, usize),
    largest: (usize, usize),
}

impl ServerOptions {
    /// The defaults: up to 64 callers, with rings of 64 KiB each way. A caller may ask for rings of up to 16 MiB.
    pub fn new() -> Self {
        Self {
            connection: Options::new(),
            max_callers: 64,
            stop_timeout: Duration::from_secs(1),
            stats: true,
            acceptor: AcceptorMode::Thread,
            stream_threads: STREAM_THREADS,
            #[cfg(feature = "tokio")]
            in_flight: (1024, 256),
            each_process: usize::MAX,
            ring_bytes: (u64::MAX, RING_BYTES),
            standard: (1 << 16, 1 << 16),
            largest: (1 << 24, 1 << 24),
        }
    }

    /// Options of the handshake and of waiting: handshake timeout, users, polling mode, interrupt hook. A server
    /// ignores the listen timeout and the ring sizes of these options.
    pub fn connection(mut self, options: Options) -> Self {
        self.connection = options;
        self
    }

    /// Most callers at a time. The server rejects the next client as busy. A caller takes two descriptors and its
    /// rings.
    pub fn max_callers(mut self, callers: usize) -> Self {
        self.max_callers = callers;
        self
    }

    /// Most callers of one process at a time. The server rejects the next client of the process as busy. Default:
    /// [`max_callers`](Self::max_callers). All processes of another pid namespace count as one process. Callers of
    /// other users ([`any_uid`](Options::any_uid)) take at most half of [`max_callers`](Self::max_callers).
    pub fn callers_per_process(mut self, callers: usize) -> Self {
        self.each_process = callers.max(1);
        self
    }

    /// Capacity in bytes of a caller's request ring and of its reply ring, if the caller does not ask for others.
    /// Powers of two; default: 64 KiB each.
    pub fn ring_sizes(mut self, forward: usize, reverse: usize) -> Self {
        self.standard = (forward, reverse);
        self
    }

    /// The largest capacities in bytes that a caller may ask for. Default: 16 MiB each way.
    pub fn max_ring_sizes(mut self, forward: usize, reverse: usize) -> Self {
        self.largest = (forward, reverse);
        self
    }

    /// Most bytes of the rings of one caller, and of all callers. A caller that asks for more than is left gets smaller
    /// rings, down to [`ring_sizes`](Self::ring_sizes); if these do not fit either, the server rejects the client as
    /// busy. A ring takes memory from the system only as far as it is used.
    ///
    /// Default: for one caller no limit besides [`max_ring_sizes`](Self::max_ring_sizes). For all callers 1 GiB, or, if
    /// that is more, the rings of [`max_callers`](Self::max_callers) callers of the default size.
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

    /// Time after a stop for handlers to end and for callers to take their last replies, together. Default: 1 second.
    /// The server drops async handlers that take longer, and their callers get an error reply of kind
    /// [`Cancelled`](crate::ErrorKind::Cancelled). When handlers do not end, serving returns
    /// [`HandlersLeft`](crate::ServeError::HandlersLeft).
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// Most async handlers that run at a time: of all callers, and of each. Default: 1024 and 256; 0 counts as 1. The
    /// server takes further requests out of the rings and holds them, up to one ring full per caller; then requests
    /// stay in the ring, and a caller whose ring is full waits (backpressure). Free handlers go to the callers in turn.
    /// Each running handler and each held request has a copy of the request. Needs the cargo feature `tokio`.
    #[cfg(feature = "tokio")]
    pub fn in_flight(mut self, all: usize, each: usize) -> Self {
        self.in_flight = (all.max(1), each.max(1));
        self
    }

    /// Most threads for handlers of streams: each plain handler that takes items, or has a
    /// [`StreamSender`](crate::StreamSender), runs on one until it returns, also after a cancel. Default: 64; 0 counts
    /// as 1. Further streams are refused with
    /// [`ErrorKind::ResourceExhausted`](crate::ErrorKind::ResourceExhausted).
    pub fn stream_threads(mut self, threads: usize) -> Self {
        self.stream_threads = threads.max(1);
        self
    }

    /// Whether the server publishes statistics for other processes of this user: see [`stats`](crate::stats). Default:
    /// on.
    pub fn stats(mut self, stats: bool) -> Self {
        self.stats = stats;
        self
    }

    /// The driver of the acceptor while the server is served. Default: a thread of its own.
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

    /// The offer to a client without wishes.
    pub(super) fn offer(&self) -> Result<Offer, CapacityError> {
        let geometries = vec![Geometry::new(self.standard.0, Use::Calls)?, Geometry::new(self.standard.1, Use::Calls)?];
        Ok(Offer { kind: Kind::Rpc, role: Role::Sink, geometries })
    }

    /// The limits of the quota. A client without wishes gets `standard`.
    pub(super) fn limits(&self, standard: &Offer) -> Limits {
        let bytes: u64 = standard.geometries.iter().map(|geometry| geometry.segment_len() as u64).sum();
        let (each, mut all) = self.ring_bytes;
        if all == RING_BYTES {
            all = all.max(bytes.saturating_mul(self.max_callers as u64));
        }
        Limits { callers: self.max_callers, each_process: self.each_process, each, all }
    }

    /// The offer to a client with `wishes`, before the quota.
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
