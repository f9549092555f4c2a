//! How a connection is made and how its operations wait.

use std::sync::Arc;
use std::time::Duration;

use crate::ring::{CapacityError, Geometry, Use};
use crate::wait::{Deadline, Interrupt, PollingMode};

/// How long `connect` waits unless told otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one client may take for its handshake unless told otherwise.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// Settings for listening, connecting and waiting, to be passed to the `listen_with` and `connect_with` functions.
///
/// ```
/// use std::time::Duration;
/// use tachyon::{Options, PollingMode};
///
/// let options = Options::new().timeout(Duration::from_millis(200)).polling(PollingMode::PureSpin);
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
    /// The defaults: listen without a limit, connect within 5 seconds, same user only, adaptive polling.
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
    /// Default: listening waits for ever, connecting 5 seconds. A timeout beyond the clock's range means for ever; zero
    /// means one attempt without waiting. Operations on the finished connection have timeouts of their own.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Limits how long a listener attends to one client that has connected but not finished its handshake.
    ///
    /// Default: 1 second. A client that takes longer is dropped and the listener goes on to the next one. Connecting
    /// ignores this.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Whether the peer may run as another user.
    ///
    /// Default: `false`; a listener turns other users away, and a connector does not talk to another user's listener.
    /// With `true` whoever reaches the socket file is let in. The file itself stays readable and writable for its owner
    /// only, so another user (except root) also needs its mode changed. A peer can read and write everything that is in
    /// the shared memory.
    pub fn any_uid(mut self, allowed: bool) -> Self {
        self.any_uid = allowed;
        self
    }

    /// How operations on the connection wait for the peer.
    ///
    /// Default: [`PollingMode::Adaptive`]. Listening and connecting never spin.
    pub fn polling(mut self, mode: PollingMode) -> Self {
        self.polling = mode;
        self
    }

    /// Has `hook` asked at least every 50 ms while a call waits; when it returns `true`, the call ends as interrupted.
    ///
    /// Default: none. A system signal alone never ends a call.
    pub fn interrupt(mut self, hook: Interrupt) -> Self {
        self.interrupt = Some(hook);
        self
    }

    /// Asks a server for rings of `forward` bytes for requests and `reverse` bytes for replies.
    ///
    /// Default: the server's choice. A server refuses more than it allows. A listener for a single peer ignores this: it
    /// was given the sizes itself.
    pub fn ring_sizes(mut self, forward: usize, reverse: usize) -> Self {
        self.ring_sizes = Some((forward, reverse));
        self
    }

    /// Whether a caller whose callee has closed or died connects again, to the same path, when it next sends.
    ///
    /// Default: `false`; such a caller is at its end, and every call says so. With `true` the next call connects, within
    /// the [`timeout`](Self::timeout) of connecting and its own, and then sends. A request that was sent is never sent
    /// again, for the callee may have taken it: it ends as its connection did, unless it was made with
    /// [`Caller::call_idempotent`](crate::Caller::call_idempotent). Connecting, the first time too, also waits past a
    /// listener that hangs up in the middle of the handshake. Listening ignores this.
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
    ///         dispatcher.serve_once(&mut callee)?; // one request, and it is gone
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

    /// Whether connecting only asks who is there: a listener for one peer keeps its place for another.
    ///
    /// Default: `false`. With `true` such a listener answers with [`ConnectError::OnePeer`](crate::ConnectError::OnePeer)
    /// and goes on listening, as it does for `tachyon ping` and `tachyon describe`; a server takes a probe as any other
    /// caller. Listening ignores this.
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
    /// // It still has a place.
    /// let caller = Caller::connect(&path)?;
    /// # drop(caller);
    /// callee.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn probe(mut self, wanted: bool) -> Self {
        self.probe = wanted;
        self
    }

    /// Gives a listener for one peer the description that it sends to probes, as
    /// [`Description::to_json`](crate::schema::describe::Description::to_json) writes it.
    ///
    /// Default: nothing, so that only the peer can ask. Servers and connecting ignore this.
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

    /// The sizes to ask for, checked.
    pub(crate) fn wished_geometries(&self) -> Result<[Option<Geometry>; 2], CapacityError> {
        let Some((forward, reverse)) = self.ring_sizes else { return Ok([None; 2]) };
        Ok([Some(Geometry::new(forward, Use::Calls)?), Some(Geometry::new(reverse, Use::Calls)?)])
    }

    /// When listening gives up.
    pub(crate) fn listen_deadline(&self) -> Deadline {
        Deadline::from(self.timeout)
    }

    /// How long connecting may take.
    pub(crate) fn connect_timeout(&self) -> Duration {
        self.timeout.unwrap_or(CONNECT_TIMEOUT)
    }

    /// When a client that was just accepted has to be done, if listening as a whole gives up at `overall`.
    pub(crate) fn client_deadline(&self, overall: Deadline) -> Deadline {
        let limit = overall.remaining().map_or(self.handshake_timeout, |left| left.min(self.handshake_timeout));
        Deadline::after(limit)
    }

    /// Whether a peer that runs as `uid` may be talked to by a process that runs as `own`.
    pub(crate) fn trusts(&self, uid: Option<u32>, own: u32) -> bool {
        self.any_uid || uid == Some(own)
    }

    pub(crate) fn polling_mode(&self) -> PollingMode {
        self.polling
    }

    /// The same without the interrupt hook, for a thread that nobody interrupts.
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
