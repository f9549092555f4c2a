//! The connections of a far end to its callee, in the name of one near end.
//!
//! Callers of a near end that call at the same time have a connection each, as without a link: a callee runs the
//! requests of one connection in their order, so a slow call would keep the calls of all others waiting.

use core::fmt::Display;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use prost::Message;
use tachyon::client::tokio::RawStream;
use tachyon::{AsyncCaller, CallError, ErrorKind, Options};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::{sleep, timeout};
use tracing::debug;

use crate::batches::if_ready;
use crate::wire::{Failure, Metadata, Request};

/// The entry of the metadata that tells the callee which near end a call came from.
pub const ORIGIN: &str = "link.origin";

/// The version of a callee that tells none. Zero stands for a callee that has not been reached yet.
const NO_VERSION: u64 = 1;

/// The text for a near end that gets no texts.
const NO_CALLEE: &str = "the far end of the link does not reach the callee";

/// Bytes of the longest encoded metadata, which is more than a caller can send.
const LONGEST_METADATA: usize = 4 << 10;

/// Longest time for the answer to a question about the callee itself.
const ANSWER: Duration = Duration::from_secs(5);

/// Longest time that a call waits for a connection of its own. Then it shares one.
const GROWTH: Duration = Duration::from_millis(100);

/// Time without a further connection after one that the callee has refused, as a callee for one caller does.
const PAUSE: Duration = Duration::from_secs(10);

/// Time after which a connection without calls is given back.
const IDLE: Duration = Duration::from_secs(5);

/// A caller of a near end, by the number of its lane and its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct User {
    pub(crate) lane: u64,
    pub(crate) caller: u64,
}

/// The connections to the callee in the name of one near end.
pub(crate) struct Callee {
    path: PathBuf,
    options: Options,
    /// Most connections.
    most: usize,
    state: Mutex<State>,
    /// Attempts to connect that have ended.
    attempts: AtomicU64,
    /// Held while a further connection is made.
    growing: Arc<Mutex<()>>,
    /// The version of the callee's description, or 0 as long as it is not known.
    version: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    connected: Option<Connected>,
    /// Why the last attempt failed, if it did.
    failure: Option<Failure>,
    /// When the callee has refused a further connection.
    refused_at: Option<Instant>,
}

struct Connected {
    first: Connection,
    version: u64,
    /// For streams that have no room in the first one, and for calls beside those of other callers.
    more: Vec<Connection>,
}

#[derive(Clone)]
struct Connection {
    caller: AsyncCaller,
    /// Has a clone for each stream.
    streams: Arc<()>,
    users: Arc<Users>,
}

/// The callers whose calls are under way on one connection.
#[derive(Default)]
struct Users(std::sync::Mutex<InFlight>);

#[derive(Default)]
struct InFlight {
    calls: HashMap<User, usize>,
    /// Whether a call was given up since the latest question to the callee.
    is_left: bool,
    /// Whether the callee is asked when it has come to the end of the calls that were given up.
    is_asking: bool,
    /// When the latest call ended.
    ended_at: Option<Instant>,
}

impl Users {
    fn lock(&self) -> MutexGuard<'_, InFlight> {
        // Each change is one step, so the table is consistent whenever it is unlocked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFlight {
    fn is_free(&self) -> bool {
        self.calls.is_empty() && !self.is_asking
    }

    fn end(&mut self, user: User) {
        if let Some(calls) = self.calls.get_mut(&user) {
            *calls -= 1;
            if *calls == 0 {
                self.calls.remove(&user);
            }
        }
        self.ended_at = Some(Instant::now());
    }
}

impl Connection {
    fn new(caller: AsyncCaller) -> Self {
        Self { caller, streams: Arc::default(), users: Arc::default() }
    }

    async fn has_ended(&self) -> bool {
        if_ready(self.caller.ended()).await.is_some()
    }

    /// Whether it has no stream, no call, and has had none for some time.
    fn is_idle(&self) -> bool {
        let users = self.users.lock();
        let is_recent = users.ended_at.is_some_and(|ended_at| ended_at.elapsed() < IDLE);
        Arc::strong_count(&self.streams) == 1 && users.is_free() && !is_recent
    }

    /// Counts a call of `user` if `may` says so.
    fn lease(&self, user: User, may: impl FnOnce(&InFlight) -> bool) -> Option<Lease> {
        let mut users = self.users.lock();
        may(&users).then(|| {
            *users.calls.entry(user).or_default() += 1;
            Lease { caller: self.caller.clone(), users: Arc::clone(&self.users), user, has_ended: false }
        })
    }
}

/// A call's use of a connection. A lease that is dropped before its [`end_with`](Self::end_with) is that of a call that
/// was given up.
pub(crate) struct Lease {
    caller: AsyncCaller,
    users: Arc<Users>,
    user: User,
    has_ended: bool,
}

impl Lease {
    pub(crate) fn caller(&self) -> &AsyncCaller {
        &self.caller
    }

    /// Ends the use with the outcome of the call. One that has timed out was given up.
    pub(crate) fn end_with<T>(mut self, outcome: &Result<T, CallError>) {
        self.has_ended = !matches!(outcome, Err(CallError::TimedOut { .. }));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut users = self.users.lock();
        users.end(self.user);
        if self.has_ended {
            return;
        }
        // The handler may go on, and then other callers would wait for it.
        users.is_left = true;
        if !users.is_asking
            && let Ok(runtime) = Handle::try_current()
        {
            users.is_asking = true;
            drop(users);
            runtime.spawn(ask_until_free(self.caller.clone(), Arc::downgrade(&self.users)));
        }
    }
}

/// Asks the callee a question, which it answers when it has come to the end of the requests before. One question at a
/// time, so callers that give up many calls make no more of them. A connection that is dropped ends with the question.
async fn ask_until_free(caller: AsyncCaller, connection: Weak<Users>) {
    loop {
        let Some(users) = connection.upgrade() else { return };
        users.lock().is_left = false;
        drop(users);
        let answer = caller.within(ANSWER).limits().await;
        let has_ended = if_ready(caller.ended()).await.is_some();
        let Some(users) = connection.upgrade() else { return };
        let mut users = users.lock();
        let is_late = matches!(answer, Err(CallError::TimedOut { .. }));
        if has_ended || !(is_late || users.is_left) {
            users.is_asking = false;
            return;
        }
    }
}

/// An open stream, and its share of its connection.
pub(crate) struct Opened {
    pub(crate) stream: RawStream,
    _share: Arc<()>,
}

impl Callee {
    pub(crate) fn new(path: PathBuf, options: Options, most: usize) -> Self {
        let (state, attempts, growing) = (Mutex::default(), AtomicU64::new(0), Arc::default());
        Self { path, options, most, state, attempts, growing, version: watch::Sender::new(0) }
    }

    /// The version of the callee's description, or 0 as long as it is not known.
    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Connects if there is no connection, and returns the first one with the version of the description.
    pub(crate) async fn get(&self) -> Result<(AsyncCaller, u64), Failure> {
        let before = self.attempts.load(Ordering::SeqCst);
        let mut state = self.state.lock().await;
        if let Some(known) = &state.connected
            && !known.first.has_ended().await
        {
            return Ok((known.first.caller.clone(), known.version));
        }
        // Calls that waited for an attempt fail with it. Each attempt of their own would take its time.
        if self.attempts.load(Ordering::SeqCst) != before
            && let Some(failure) = &state.failure
        {
            return Err(failure.clone());
        }
        state.connected = None;
        let outcome = self.connect().await;
        self.attempts.fetch_add(1, Ordering::SeqCst);
        state.failure = outcome.as_ref().err().cloned();
        let (caller, version) = outcome?;
        debug!(version, "connected to the callee");
        state.refused_at = None;
        state.connected = Some(Connected { first: Connection::new(caller.clone()), version, more: Vec::new() });
        self.version.send_if_modified(|told| core::mem::replace(told, version) != version);
        Ok((caller, version))
    }

    /// Connects, and asks for the version of the description.
    async fn connect(&self) -> Result<(AsyncCaller, u64), Failure> {
        let connected = AsyncCaller::connect_with(&self.path, &self.options).await;
        let caller = connected.map_err(|error| Failure::new(ErrorKind::Unreachable, error))?;
        match caller.within(ANSWER).limits().await {
            Ok(limits) => Ok((caller, limits.version.max(NO_VERSION))),
            // A callee without a dispatcher, or of an older version: nothing can be compared.
            Err(CallError::Remote(error)) if error.kind == ErrorKind::NoHandler => Ok((caller, NO_VERSION)),
            Err(error) => Err(Failure::new(ErrorKind::Unreachable, error)),
        }
    }

    /// A connection for a call of `user`, and the version of the description: the one of its other calls, or one
    /// without calls of other callers, if there can be one.
    pub(crate) async fn lease(self: &Arc<Self>, user: User) -> Result<(Lease, u64), Failure> {
        loop {
            let (_, version) = self.get().await?;
            if let Some(lease) = self.free(user).await {
                return Ok((lease, version));
            }
            let growth = async {
                let growing = Arc::clone(&self.growing).lock_owned().await;
                if let Some(lease) = self.free(user).await {
                    return Some(lease);
                }
                self.grow(growing).await;
                self.free(user).await
            };
            if self.may_grow().await
                && let Ok(Some(lease)) = timeout(GROWTH, growth).await
            {
                return Ok((lease, version));
            }
            if let Some(lease) = self.shared(user).await {
                return Ok((lease, version));
            }
            // The connection has ended meanwhile.
        }
    }

    /// A lease of the connection with other calls of `user`, or of one without calls.
    async fn free(&self, user: User) -> Option<Lease> {
        let state = self.state.lock().await;
        let connected = state.connected.as_ref()?;
        for is_own in [true, false] {
            let may = |users: &InFlight| if is_own { users.calls.contains_key(&user) } else { users.is_free() };
            for connection in core::iter::once(&connected.first).chain(&connected.more) {
                if let Some(lease) = connection.lease(user, may) {
                    if !connection.has_ended().await {
                        return Some(lease);
                    }
                    lease.end_with(&Ok(()));
                }
            }
        }
        None
    }

    /// A lease of the connection with the fewest callers.
    async fn shared(&self, user: User) -> Option<Lease> {
        let connections = self.connections().await;
        let fewest = connections.iter().min_by_key(|connection| {
            let users = connection.users.lock();
            (users.is_asking, users.calls.len())
        });
        fewest?.lease(user, |_| true)
    }

    async fn may_grow(&self) -> bool {
        let state = self.state.lock().await;
        let is_refused = state.refused_at.is_some_and(|refused_at| refused_at.elapsed() < PAUSE);
        state.connected.as_ref().is_some_and(|connected| !is_refused && connected.more.len() + 1 < self.most)
    }

    /// Makes a further connection for calls. It is made although the caller of this function waits no longer.
    async fn grow(self: &Arc<Self>, growing: OwnedMutexGuard<()>) {
        let callee = Arc::downgrade(self);
        let grown = tokio::spawn(async move {
            let grown = callee.upgrade()?.add().await;
            drop(growing);
            Some(tokio::spawn(give_back_later(callee, grown?)))
        });
        drop(grown.await);
    }

    /// Makes a further connection for calls, and returns its users.
    async fn add(&self) -> Option<Weak<Users>> {
        let outcome = self.connect().await;
        let mut state = self.state.lock().await;
        match outcome {
            Ok((caller, version)) => {
                // The callee may have been replaced.
                let connected = state.connected.as_mut().filter(|connected| connected.version == version)?;
                let connection = Connection::new(caller);
                connection.users.lock().ended_at = Some(Instant::now());
                let users = Arc::downgrade(&connection.users);
                connected.more.push(connection);
                Some(users)
            }
            Err(failure) => {
                debug!(text = failure.text, "the callee takes no further connection");
                state.refused_at = Some(Instant::now());
                None
            }
        }
    }

    /// Opens a stream over a connection that has room for it.
    pub(crate) async fn open(&self, request: &Request, origin: &str, texts: bool) -> Result<Opened, Failure> {
        let msg_type = msg_type(request.msg_type)?;
        let (mut retried, mut growing) = (false, None);
        loop {
            let (_, version) = self.get().await.map_err(|failure| failure.of_link(texts))?;
            check_version(request.version, version)?;
            let (connections, mut has_ended) = (self.connections().await, false);
            let count = connections.len();
            for connection in connections {
                match on_behalf_of(&connection.caller, request, origin)?.open(msg_type, &request.payload).await {
                    Ok(stream) => return Ok(Opened { stream, _share: connection.streams }),
                    Err(CallError::TooManyStreams { .. }) => {}
                    Err(CallError::Closed { sent: false } | CallError::PeerDead { sent: false }) if !retried => {
                        has_ended = true;
                    }
                    Err(error) => return Err(Failure::of(error, texts)),
                }
            }
            if has_ended {
                retried = true;
            } else if count >= self.most {
                let text = format!("the far end of the link has its {count} connections full of streams; end some");
                return Err(Failure::new(ErrorKind::ResourceExhausted, text));
            } else if growing.is_none() {
                // Another stream may have connected meanwhile.
                growing = Some(self.growing.lock().await);
            } else {
                let (caller, version) = self.connect().await.map_err(|failure| failure.of_link(texts))?;
                check_version(request.version, version)?;
                if let Some(connected) = &mut self.state.lock().await.connected {
                    connected.more.push(Connection::new(caller));
                }
            }
        }
    }

    /// The connections that have not ended.
    async fn connections(&self) -> Vec<Connection> {
        let mut state = self.state.lock().await;
        let Some(connected) = &mut state.connected else { return Vec::new() };
        let mut all = vec![connected.first.clone()];
        for connection in core::mem::take(&mut connected.more) {
            if !connection.has_ended().await {
                all.push(connection);
            }
        }
        connected.more.extend_from_slice(&all[1..]);
        all
    }

    /// Gives the connections back that are idle, but the first one.
    pub(crate) async fn give_back(&self) {
        if let Some(connected) = &mut self.state.lock().await.connected {
            connected.more.retain(|connection| !connection.is_idle());
        }
    }
}

/// Gives a connection back once it is idle.
async fn give_back_later(callee: Weak<Callee>, users: Weak<Users>) {
    while users.strong_count() > 0 {
        sleep(IDLE).await;
        let Some(callee) = callee.upgrade() else { return };
        callee.give_back().await;
    }
}

/// A handle for the call of a near end's caller.
pub(crate) fn on_behalf_of(caller: &AsyncCaller, request: &Request, origin: &str) -> Result<AsyncCaller, Failure> {
    let refused = |text: &dyn Display| Failure::new(ErrorKind::BadRequest, text);
    if request.metadata.len() > LONGEST_METADATA {
        return Err(refused(&"the metadata of the request is too long"));
    }
    let metadata = Metadata::decode(request.metadata.clone()).map_err(|error| refused(&error))?;
    let mut caller = caller.metadata(ORIGIN, origin);
    for (key, value) in &metadata.entries {
        // The near end cannot say that it is another one.
        if key != ORIGIN {
            caller = caller.metadata(key, value);
        }
    }
    Ok(match request.remaining {
        Some(left) => caller.within(Duration::from_nanos(left)),
        None => caller,
    })
}

pub(crate) fn msg_type(number: u32) -> Result<u16, Failure> {
    u16::try_from(number).map_err(|_| Failure::new(ErrorKind::BadRequest, format!("there is no msg_type {number}")))
}

impl Failure {
    /// A failure of this end, without its text if texts may not travel: it has the path of the callee.
    pub(crate) fn of_link(self, texts: bool) -> Self {
        if texts { self } else { Self { text: NO_CALLEE.to_owned(), ..self } }
    }
}

/// Refuses a request whose caller has compared itself with another description.
pub(crate) fn check_version(compared: u64, version: u64) -> Result<(), Failure> {
    if compared == 0 || compared == version {
        return Ok(());
    }
    let text = "the callee has another description since the caller compared itself with it; connect again";
    Err(Failure::new(ErrorKind::Unreachable, text))
}
