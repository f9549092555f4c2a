//! The far end of a link: a caller of the callee on its machine, in the name of the near ends.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tachyon::client::tokio::{RawMessage, RawStream};
use tachyon::describe::Description;
use tachyon::{AsyncCaller, CallError, ErrorKind, Options};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tracing::{debug, info, warn};

use crate::batches::{FrameQueue, fits, frames_of, longest, message, send_all, single, smaller, split};
use crate::carrier::{Incoming, Lane, Peer, Receiver};
use crate::wire::{Body, Failure, Frame, Hello, PROTOCOL, Request};

/// The entry of the metadata that tells the callee which near end a call came from.
pub const ORIGIN: &str = "link.origin";

/// The number of the whole table in a question for a description.
const WHOLE_TABLE: u32 = 0xFFFF;

/// Most items of a stream in one message.
const MOST_ITEMS: usize = 64;

/// The text for a request that comes after the stop of a far end.
const STOPPING: &str = "the far end of the link stops";

/// Longest time for the first message of a lane.
const FIRST_MESSAGE: Duration = Duration::from_secs(5);

/// The rights of near ends.
pub trait Policy: Send + Sync + 'static {
    /// Whether a near end may call an endpoint, and see its description.
    fn allows(&self, peer: &Peer, msg_type: u16) -> bool;

    /// Whether the texts of errors travel to a near end. Names and fields of declared errors travel in either case.
    fn texts(&self, peer: &Peer) -> bool;
}

/// Allows every near end everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl Policy for AllowAll {
    fn allows(&self, _: &Peer, _: u16) -> bool {
        true
    }

    fn texts(&self, _: &Peer) -> bool {
        true
    }
}

/// Settings of a far end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FarOptions {
    /// Settings of the connections to the callee: sizes of rings, longest attempt to connect.
    pub callee: Options,
    /// Most calls in flight of one near end; further calls wait in the channel. Default: 4,096.
    pub in_flight: usize,
    /// Most connections to the callee, each of which has room for 32 streams. Default: 32.
    pub connections: usize,
    /// Longest time that calls may go on when the far end stops. Default: 5 s.
    pub stop_timeout: Duration,
}

impl Default for FarOptions {
    fn default() -> Self {
        Self {
            callee: Options::new().timeout(Duration::from_secs(1)),
            in_flight: 4096,
            connections: 32,
            stop_timeout: Duration::from_secs(5),
        }
    }
}

/// The far end of a link.
#[derive(Debug)]
pub struct FarEnd {
    path: PathBuf,
    options: FarOptions,
}

impl FarEnd {
    /// A far end for the callee that listens at `path`.
    pub fn new(path: impl Into<PathBuf>, options: FarOptions) -> Self {
        Self { path: path.into(), options }
    }

    /// Serves the lanes of near ends until `stop` is done, or `incoming` ends. Then calls that have begun go on for at
    /// most [`FarOptions::stop_timeout`].
    ///
    /// # Panics
    /// Outside a tokio runtime, or in one without its I/O or time driver.
    pub async fn serve(
        self,
        mut incoming: mpsc::Receiver<Incoming>,
        policy: impl Policy,
        stop: impl Future<Output = ()>,
    ) {
        let Self { path, options } = self;
        let stop_timeout = options.stop_timeout;
        let (stopping, _) = watch::channel(false);
        let far = Arc::new(Far {
            callee: Callee { path, connected: Mutex::default(), version: watch::Sender::new(0), options },
            policy: Box::new(policy),
            stopping,
        });
        let mut lanes = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                arrived = incoming.recv() => match arrived {
                    Some(Incoming { peer, lane }) => drop(lanes.spawn(Arc::clone(&far).serve_lane(peer, lane))),
                    None => break,
                },
                Some(_) = lanes.join_next() => {}
            }
        }
        far.stopping.send_replace(true);
        let all = async { while lanes.join_next().await.is_some() {} };
        if timeout(stop_timeout, all).await.is_err() {
            warn!("calls went on for longer than {stop_timeout:?}, and are cancelled");
        }
    }
}

/// The state that all lanes share.
struct Far {
    callee: Callee,
    policy: Box<dyn Policy>,
    stopping: watch::Sender<bool>,
}

/// The connections to the callee.
struct Callee {
    path: PathBuf,
    options: FarOptions,
    connected: Mutex<Option<Connected>>,
    /// The version of the callee's description, or 0 as long as it is not known.
    version: watch::Sender<u64>,
}

struct Connected {
    /// Calls go over the first one.
    callers: Vec<AsyncCaller>,
    version: u64,
}

impl Connected {
    async fn has_ended(&self) -> bool {
        let mut ended = pin!(self.callers[0].ended());
        poll_fn(|context| Poll::Ready(ended.as_mut().poll(context).is_ready())).await
    }
}

impl Callee {
    /// A connection to the callee, and the version of its description.
    async fn get(&self) -> Result<(AsyncCaller, u64), Failure> {
        let mut connected = self.connected.lock().await;
        if let Some(known) = &*connected
            && !known.has_ended().await
        {
            return Ok((known.callers[0].clone(), known.version));
        }
        *connected = None;
        let caller = self.connect().await?;
        let version = match caller.within(FIRST_MESSAGE).limits().await {
            Ok(limits) => limits.version,
            // A callee without a dispatcher, or of an older version: nothing can be compared.
            Err(CallError::Remote(error)) if error.kind == ErrorKind::NoHandler => 0,
            Err(error) => return Err(Failure::new(ErrorKind::Unreachable, error)),
        };
        debug!(version, "connected to the callee");
        *connected = Some(Connected { callers: vec![caller.clone()], version });
        self.version.send_if_modified(|told| core::mem::replace(told, version) != version);
        Ok((caller, version))
    }

    async fn connect(&self) -> Result<AsyncCaller, Failure> {
        let connected = AsyncCaller::connect_with(&self.path, &self.options.callee).await;
        connected.map_err(|error| Failure::new(ErrorKind::Unreachable, error))
    }

    /// Opens a stream over a connection that has room for it.
    async fn open(&self, request: &Request, origin: &str, texts: bool) -> Result<RawStream, Failure> {
        let msg_type = msg_type(request.msg_type)?;
        let (_, version) = self.get().await?;
        check_version(request, version)?;
        let mut at = 0;
        loop {
            let caller = {
                let mut connected = self.connected.lock().await;
                let gone = || Failure::new(ErrorKind::Unreachable, "the callee has just gone");
                let callers = &mut connected.as_mut().ok_or_else(gone)?.callers;
                if at == callers.len() {
                    callers.push(self.connect().await?);
                }
                callers[at].clone()
            };
            at += 1;
            match on_behalf_of(&caller, request, origin).open(msg_type, &request.payload).await {
                Err(CallError::TooManyStreams { .. }) if at < self.options.connections => {}
                outcome => return outcome.map_err(|error| Failure::of(error, texts)),
            }
        }
    }
}

/// A handle for the call of a near end's caller.
fn on_behalf_of(caller: &AsyncCaller, request: &Request, origin: &str) -> AsyncCaller {
    let mut caller = caller.metadata(ORIGIN, origin);
    for (key, value) in &request.metadata {
        // The near end cannot say that it is another one.
        if key != ORIGIN {
            caller = caller.metadata(key, value);
        }
    }
    request.remaining.map_or_else(|| caller.clone(), |left| caller.within(Duration::from_nanos(left)))
}

fn msg_type(number: u32) -> Result<u16, Failure> {
    u16::try_from(number).map_err(|_| Failure::new(ErrorKind::BadRequest, format!("there is no msg_type {number}")))
}

/// Refuses a request whose caller has compared itself with another description.
fn check_version(request: &Request, version: u64) -> Result<(), Failure> {
    if request.version == 0 || request.version == version {
        return Ok(());
    }
    let text = "the callee has another description since the caller compared itself with it; connect again";
    Err(Failure::new(ErrorKind::Unreachable, text))
}

/// The name of a near end for the callee.
fn origin_of(peer: &Peer) -> String {
    match (&peer.name, peer.address) {
        (Some(name), _) => name.clone(),
        (None, Some(address)) => address.ip().to_string(),
        (None, None) => "unknown".to_owned(),
    }
}

impl Far {
    async fn serve_lane(self: Arc<Self>, peer: Arc<Peer>, lane: Lane) {
        let Lane { sender, mut receiver, max_message } = lane;
        let first = timeout(FIRST_MESSAGE, receiver.next()).await;
        let Ok(Some(Ok(first))) = first else { return };
        let Ok(frames) = frames_of(first) else { return };
        let mut frames = frames.into_iter();
        let origin = origin_of(&peer);
        match frames.next().and_then(|frame| frame.body) {
            Some(Body::Hello(hello)) => {
                info!(%origin, "a near end has connected");
                if hello.protocol != PROTOCOL {
                    warn!(%origin, protocol = hello.protocol, "the near end has another version of the protocol");
                }
                let (own, max_message) = (max_message, smaller(max_message, hello.max_message));
                let calls = Calls { far: &self, peer: &peer, origin: &origin, max_message };
                calls.serve(own, hello, sender, receiver).await;
                info!(%origin, "a near end is gone");
            }
            Some(Body::Request(request)) => {
                let max_message = smaller(max_message, request.max_message);
                let stream = Stream { far: &self, peer: &peer, origin: &origin, max_message };
                let last = stream.serve(request, &sender, &mut receiver, frames.collect()).await;
                let last = last.unwrap_or_else(Body::Failure);
                // The near end may be gone.
                drop(sender.send(single(last)).await);
                // The near end drops the lane once it has the last message.
                drop(timeout(FIRST_MESSAGE, async { while let Some(Ok(_)) = receiver.next().await {} }).await);
            }
            _ => warn!(%origin, "a near end began a lane with a message of another protocol"),
        }
    }

    fn check_allowed(&self, peer: &Peer, number: u32) -> Result<(), Failure> {
        if self.policy.allows(peer, msg_type(number)?) {
            return Ok(());
        }
        let text = format!("`{}` may not call msg_type {number} through this link", origin_of(peer));
        Err(Failure::new(ErrorKind::PermissionDenied, text))
    }

    /// Makes a call.
    async fn call(&self, peer: &Peer, origin: &str, request: Request, max_message: usize) -> Result<Bytes, Failure> {
        self.check_allowed(peer, request.msg_type)?;
        let (msg_type, texts) = (msg_type(request.msg_type)?, self.policy.texts(peer));
        let mut attempts = 0;
        loop {
            let (caller, version) = self.callee.get().await?;
            check_version(&request, version)?;
            let reply = on_behalf_of(&caller, &request, origin).call(msg_type, &request.payload).await;
            match reply {
                Ok(reply) if fits(&reply, max_message) => return Ok(reply.into()),
                Ok(reply) => return Err(too_long("reply", reply.len(), max_message)),
                // The callee ended before it had the request: once more over a new connection.
                Err(CallError::Closed { sent: false } | CallError::PeerDead { sent: false }) if attempts == 0 => {
                    attempts += 1;
                }
                Err(error) => return Err(Failure::of(error, texts)),
            }
        }
    }

    /// Describes the endpoints that a near end may call.
    async fn describe(&self, peer: &Peer, asked: u32) -> Result<Bytes, Failure> {
        let endpoint = if asked == WHOLE_TABLE { None } else { Some(msg_type(asked)?) };
        let (caller, _) = self.callee.get().await?;
        let described = caller.within(FIRST_MESSAGE).describe(endpoint).await;
        let mut endpoints = described.map_err(|error| Failure::of(error, true))?.endpoints;
        endpoints.retain(|endpoint| self.policy.allows(peer, endpoint.msg_type));
        Ok(Description::new(endpoints).to_json().into())
    }
}

fn too_long(what: &str, size: usize, max_message: usize) -> Failure {
    let max = longest(max_message);
    let text =
        format!("the {what} of {size} bytes is longer than the link takes ({max}); raise `max_message` at both ends");
    Failure::new(ErrorKind::ReplyTooLarge, text)
}

/// The lane of a near end's calls.
struct Calls<'a> {
    far: &'a Arc<Far>,
    peer: &'a Arc<Peer>,
    origin: &'a str,
    max_message: usize,
}

impl Calls<'_> {
    async fn serve(&self, own: usize, hello: Hello, sender: mpsc::Sender<Bytes>, mut receiver: Receiver) {
        let version = self.far.callee.get().await.map_or(0, |(_, version)| version);
        let answer = single(Body::Hello(Hello { protocol: PROTOCOL, version, max_message: own as u64 }));
        if sender.send(answer).await.is_err() || hello.protocol != PROTOCOL {
            return;
        }
        let (outgoing, queue) = mpsc::unbounded_channel();
        let mut sending = pin!(send_all(queue, sender, self.max_message, |_| {}));
        let mut versions = self.far.callee.version.subscribe();
        versions.mark_changed();
        let mut stopping = self.far.stopping.subscribe();
        let mut calls = JoinSet::new();
        let mut running = HashMap::<u64, AbortHandle>::new();
        loop {
            let is_stopping = *stopping.borrow_and_update();
            if is_stopping && calls.is_empty() {
                break;
            }
            let has_place = calls.len() < self.far.callee.options.in_flight;
            tokio::select! {
                () = &mut sending => return,
                Some(ended) = calls.join_next() => {
                    if let Ok(call) = ended {
                        running.remove(&call);
                    }
                }
                Ok(()) = versions.changed() => {
                    let version = *versions.borrow_and_update();
                    drop(outgoing.send(Frame::new(0, Body::Version(version))));
                }
                Ok(()) = stopping.changed() => {}
                received = receiver.next(), if has_place => {
                    let Some(Ok(message)) = received else { return };
                    let Ok(frames) = frames_of(message) else { return };
                    for Frame { call, body } in frames {
                        match body {
                            Some(Body::Cancel(_)) => {
                                if let Some(running) = running.remove(&call) {
                                    running.abort();
                                }
                            }
                            Some(_) if is_stopping => {
                                let failure = Failure::new(ErrorKind::Unreachable, STOPPING);
                                drop(outgoing.send(Frame::new(call, Body::Failure(failure))));
                            }
                            Some(body @ (Body::Request(_) | Body::Describe(_))) => {
                                let handle = calls.spawn(self.answer(call, body, &outgoing));
                                running.insert(call, handle);
                            }
                            // A frame of a newer near end.
                            _ => {}
                        }
                    }
                }
            }
        }
        drop(outgoing);
        sending.await;
    }

    /// Answers a request, and gives its number.
    fn answer(&self, call: u64, body: Body, outgoing: &FrameQueue) -> impl Future<Output = u64> + Send + 'static {
        let (far, peer, origin) = (Arc::clone(self.far), Arc::clone(self.peer), self.origin.to_owned());
        let (outgoing, max_message) = (outgoing.clone(), self.max_message);
        async move {
            let answer = match body {
                Body::Request(request) => far.call(&peer, &origin, request, max_message).await,
                Body::Describe(asked) => far.describe(&peer, asked).await,
                _ => return call,
            };
            // The lane may have ended.
            drop(outgoing.send(Frame::new(call, answer.map_or_else(Body::Failure, Body::Reply))));
            call
        }
    }
}

/// The lane of a stream.
struct Stream<'a> {
    far: &'a Arc<Far>,
    peer: &'a Arc<Peer>,
    origin: &'a str,
    max_message: usize,
}

impl Stream<'_> {
    /// Serves a stream, and gives its last message.
    async fn serve(
        &self,
        request: Request,
        lane: &mpsc::Sender<Bytes>,
        receiver: &mut Receiver,
        first: Vec<Frame>,
    ) -> Result<Body, Failure> {
        if *self.far.stopping.borrow() {
            return Err(Failure::new(ErrorKind::Unreachable, STOPPING));
        }
        self.far.check_allowed(self.peer, request.msg_type)?;
        let texts = self.far.policy.texts(self.peer);
        let stream = self.far.callee.open(&request, self.origin, texts).await?;
        let upload = async {
            let mut frames = first;
            loop {
                for frame in frames {
                    match frame.body {
                        Some(Body::Item(item)) => match stream.send(&item).await {
                            Ok(true) => {}
                            Err(error @ CallError::TooLarge { .. }) => return Failure::of(error, texts),
                            // The last message of the callee follows.
                            Ok(false) | Err(_) => return core::future::pending().await,
                        },
                        // An error is the stream's, which its next message tells.
                        Some(Body::End(_)) => drop(stream.end().await),
                        _ => {}
                    }
                }
                match receiver.next().await {
                    Some(Ok(message)) => match frames_of(message) {
                        Ok(received) => frames = received,
                        Err(error) => return Failure::new(ErrorKind::BadRequest, error),
                    },
                    // The near end gave the stream up, or is gone.
                    Some(Err(_)) | None => return Failure::new(ErrorKind::Cancelled, "the near end gave it up"),
                }
            }
        };
        let download = async {
            loop {
                let (mut frames, last) = self.next_items(&stream, texts).await;
                for batch in split(&mut frames, self.max_message) {
                    if lane.send(message(batch)).await.is_err() {
                        return Err(Failure::new(ErrorKind::Cancelled, "the near end is gone"));
                    }
                }
                if let Some(last) = last {
                    return last;
                }
            }
        };
        tokio::select! {
            failure = upload => Err(failure),
            last = download => last,
        }
    }

    /// The next items of the callee as frames, all that are there, and the last message if it is there.
    async fn next_items(&self, stream: &RawStream, texts: bool) -> (Vec<Frame>, Option<Result<Body, Failure>>) {
        let mut frames = Vec::new();
        loop {
            let next = if frames.is_empty() {
                Some(stream.next_message().await)
            } else {
                let mut next = pin!(stream.next_message());
                poll_fn(|context| match next.as_mut().poll(context) {
                    Poll::Ready(next) => Poll::Ready(Some(next)),
                    Poll::Pending => Poll::Ready(None),
                })
                .await
            };
            let last = match next {
                None => return (frames, None),
                Some(Ok(RawMessage::Item(item) | RawMessage::Reply(item))) if !fits(&item, self.max_message) => {
                    Err(too_long("item", item.len(), self.max_message))
                }
                Some(Ok(RawMessage::Item(item))) => {
                    frames.push(Frame::new(0, Body::Item(item.into())));
                    if frames.len() == MOST_ITEMS {
                        return (frames, None);
                    }
                    continue;
                }
                Some(Ok(RawMessage::Reply(reply))) => Ok(Body::Reply(reply.into())),
                Some(Ok(_)) => Ok(Body::End(true)),
                Some(Err(error)) => Err(Failure::of(error, texts)),
            };
            return (frames, Some(last));
        }
    }
}
