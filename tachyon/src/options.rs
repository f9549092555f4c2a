//! Options of listening, connecting and waiting.

use std::sync::Arc;
use std::time::Duration;

use crate::ring::{CapacityError, Geometry, Use};
use crate::wait::{Deadline, Interrupt, PollingMode};

/// Default timeout of `connect`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Default limit of one client's handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// Options of listening, connecting and waiting, for the functions `listen_with` and `connect_with`.
///
/// ```
/// use std::time::Duration;
/// use tachyon::{Options, PollingMode};
///
/// let options = Options::new().timeout(Duration::from_millis(200)).polling(PollingMode::Spin);
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are passed to `listen_with` or `connect_with`"]
pub struct Options {
    timeout: Option<Duration>,
    handshake_timeout: Duration,
    any_uid: bool,
    polling: PollingMode,
    interrupt: Option<Interrupt>,
    ring_sizes: Option<(usize, usize)>,
    reconnect: bool,
    probe: bool,
    description: Option<Arc<str>>,
}

impl Options {
    /// The defaults: no limit for listening, 5 seconds for connecting, peers of the same user, adaptive polling.
    pub fn new() -> Self {
        Self {
            timeout: None,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            any_uid: false,
            polling: PollingMode::Adaptive,
            interrupt: None,
            ring_sizes: None,
            reconnect: false,
            probe: false,
            description: None,
        }
    }

    /// Limits the whole of `listen` or `connect`, from the call to the finished handshake.
    ///
    /// Default: no limit for listening, 5 seconds for connecting. `Duration::ZERO` means one attempt without waiting; a
    /// timeout beyond the clock's range means no limit. Operations on the connection have timeouts of their own.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Limits the handshake of one client at a listener.
    ///
    /// Default: 1 second. The listener rejects a client that takes longer, and serves the next client. Connecting
    /// ignores this option.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Whether the peer may run as another user.
    ///
    /// Default: `false`: a listener rejects other users, and a connector does not use another user's listener. With
    /// `true` a listener accepts every user that can open the socket file. The file's mode is 0600, so another user
    /// (except root) needs a change of the mode, too. A peer can read and write all bytes of the connection's shared
    /// memory.
    pub fn any_uid(mut self, allowed: bool) -> Self {
        self.any_uid = allowed;
        self
    }

    /// How operations on the connection wait for the peer.
    ///
    /// Default: [`PollingMode::Adaptive`]. Listening and connecting park in every mode.
    pub fn polling(mut self, mode: PollingMode) -> Self {
        self.polling = mode;
        self
    }

    /// Sets a function that a waiting operation asks at least every 50 ms; `true` ends the operation as interrupted.
    ///
    /// Default: none. A system signal alone never ends an operation.
    pub fn interrupt(mut self, hook: Interrupt) -> Self {
        self.interrupt = Some(hook);
        self
    }

    /// Asks a server for rings of `forward` bytes for requests and `reverse` bytes for replies.
    ///
    /// Default: the server's sizes. A size is a power of two, in bytes. A server rejects sizes above its limits. A
    /// listener for one peer ignores this option and uses its own sizes.
    pub fn ring_sizes(mut self, forward: usize, reverse: usize) -> Self {
        self.ring_sizes = Some((forward, reverse));
        self
    }

    /// Whether a caller connects to the same path again after its callee has closed or died.
    ///
    /// Default: `false`: after the end of the connection every call fails. With `true` the next call connects, within
    /// its own timeout and the [`timeout`](Self::timeout) of connecting, and then sends its request. A sent request is
    /// not sent again, because the callee may have taken it: the call fails with the end of its connection, except
    /// [`idempotent`](crate::Caller::idempotent) calls, which are sent again. With `true` connecting, also for
    /// the first time, tries again after a listener hangs up during the handshake. Listening ignores this option.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use tachyon::{Callee, CallError, Caller, Dispatcher, Options};
    /// # let listen_at = path.clone();
    ///
    /// let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
    ///     for _ in 0..2 {
    ///         let mut callee = Callee::listen(&listen_at, 4096, 4096)?;
    ///         let mut dispatcher = Dispatcher::default();
    ///         dispatcher.register(1, "echo", <[u8]>::to_vec)?;
    ///         dispatcher.serve_once(&mut callee)?; // one request, then the callee closes
    ///     }
    ///     Ok(())
    /// });
    /// let mut caller = Caller::connect_with(&path, &Options::new().reconnect(true))?;
    /// assert_eq!(&*caller.call(1, b"first")?, b"first");
    /// # std::thread::sleep(std::time::Duration::from_millis(50));
    /// assert_eq!(&*caller.call(1, b"second")?, b"second");
    /// callee.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reconnect(mut self, wanted: bool) -> Self {
        self.reconnect = wanted;
        self
    }

    /// Whether connecting is a probe: it takes no place at a listener for one peer.
    ///
    /// Default: `false`. With `true` a listener for one peer answers with
    /// [`ConnectError::OnePeer`](crate::ConnectError::OnePeer) and goes on listening; `tachyon ping` and `tachyon
    /// describe` use this. A server treats a probe as any other caller. Listening ignores this option.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use tachyon::{Callee, Caller, ConnectError, Options};
    /// # let listen_at = path.clone();
    ///
    /// let callee = std::thread::spawn(move || Callee::listen(&listen_at, 4096, 4096));
    /// let probed = Caller::connect_with(&path, &Options::new().probe(true));
    /// assert!(matches!(probed, Err(ConnectError::OnePeer { .. })));
    /// // The place is still free.
    /// let caller = Caller::connect(&path)?;
    /// # drop(caller);
    /// callee.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn probe(mut self, wanted: bool) -> Self {
        self.probe = wanted;
        self
    }

    /// Sets the description that a listener for one peer sends to probes: the JSON of
    /// [`Description::to_json`](crate::schema::describe::Description::to_json).
    ///
    /// Default: none, so that only the peer can ask for the description. Servers and connecting ignore this option.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use tachyon::{Callee, Caller, ConnectError, Dispatcher, Options};
    /// use tachyon::describe::Description;
    /// # let listen_at = path.clone();
    ///
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register(1, "echo", <[u8]>::to_vec)?;
    /// let options = Options::new().description(dispatcher.describe().to_json());
    /// let callee = std::thread::spawn(move || Callee::listen_with(&listen_at, 4096, 4096, &options));
    /// match Caller::connect_with(&path, &Options::new().probe(true)) {
    ///     Err(ConnectError::OnePeer { description: Some(json), .. }) => {
    ///         assert_eq!(Description::from_json(&json)?, dispatcher.describe());
    ///     }
    ///     other => panic!("{other:?}"),
    /// }
    /// # drop(Caller::connect(&path)?);
    /// # callee.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn description(mut self, json: impl Into<Arc<str>>) -> Self {
        self.description = Some(json.into());
        self
    }

    pub(crate) fn offered(&self) -> Option<&str> {
        self.description.as_deref()
    }

    pub(crate) fn probes(&self) -> bool {
        self.probe
    }

    pub(crate) fn reconnects(&self) -> bool {
        self.reconnect
    }

    /// The requested ring sizes, checked.
    pub(crate) fn wished_geometries(&self) -> Result<[Option<Geometry>; 2], CapacityError> {
        let Some((forward, reverse)) = self.ring_sizes else { return Ok([None; 2]) };
        Ok([Some(Geometry::new(forward, Use::Calls)?), Some(Geometry::new(reverse, Use::Calls)?)])
    }

    /// The deadline of listening.
    pub(crate) fn listen_deadline(&self) -> Deadline {
        Deadline::from(self.timeout)
    }

    /// The timeout of connecting.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.timeout.unwrap_or(CONNECT_TIMEOUT)
    }

    /// The deadline for the handshake of a client accepted now, if listening as a whole ends at `overall`.
    pub(crate) fn client_deadline(&self, overall: Deadline) -> Deadline {
        let limit = overall.remaining().map_or(self.handshake_timeout, |left| left.min(self.handshake_timeout));
        Deadline::after(limit)
    }

    /// Whether a process of user `own` accepts a peer of user `uid`.
    pub(crate) fn trusts(&self, uid: Option<u32>, own: u32) -> bool {
        self.any_uid || uid == Some(own)
    }

    pub(crate) fn polling_mode(&self) -> PollingMode {
        self.polling
    }

    /// The options without the interrupt hook, for a thread of this crate.
    pub(crate) fn without_interrupt(mut self) -> Self {
        self.interrupt = None;
        self
    }

    pub(crate) fn interrupt_hook(&self) -> Option<Interrupt> {
        self.interrupt
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_waits_for_ever_and_connecting_does_not() {
        let options = Options::new();
        assert_eq!(options.listen_deadline(), Deadline::never());
        assert_eq!(options.connect_timeout(), Duration::from_secs(5));
        let options = options.timeout(Duration::from_secs(1));
        assert!(options.listen_deadline().remaining().unwrap() <= Duration::from_secs(1));
        assert_eq!(options.connect_timeout(), Duration::from_secs(1));
    }

    #[test]
    fn a_client_gets_the_shorter_of_both_limits() {
        let options = Options::new().handshake_timeout(Duration::from_secs(10));
        let left = |overall| options.client_deadline(overall).remaining().unwrap();
        assert!(left(Deadline::never()) > Duration::from_secs(9));
        assert!(left(Deadline::after(Duration::from_secs(2))) <= Duration::from_secs(2));
    }

    #[test]
    fn only_the_own_user_is_trusted_by_default() {
        assert!(Options::new().trusts(Some(7), 7));
        assert!(!Options::new().trusts(Some(0), 7), "root is another user too");
        assert!(Options::new().any_uid(true).trusts(Some(8), 7));
    }
}
