//! The far end of a link: a caller of the callee on its machine, in the name of the near ends.

use core::pin::pin;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tachyon::client::tokio::{RawMessage, RawStream};
use tachyon::describe::Description;
use tachyon::{CallError, ErrorKind, Options};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tracing::{info, warn};

use crate::batches::{
    BadParts, FrameQueue, MOST_ITEMS, Parts, Place, fits, if_ready, message, send_all, single, smaller, split,
};
pub use crate::callee::ORIGIN;
use crate::callee::{Callee, User, check_version, msg_type, on_behalf_of};
use crate::carrier::{Incoming, Lane, Peer, Receiver};
use crate::wire::{Body, Describe, Failure, Frame, Frames, Hello, PROTOCOL, Request, WHOLE_TABLE};

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
    /// Most calls in flight of one channel; further calls wait at the near end. A call is in flight until the near end
    /// reads its reply. Default: 4,096.
    pub in_flight: usize,
    /// Most connections to the callee for each near end. Each of its callers that calls beside others has one of its
    /// own, and further callers share them. Each connection has room for 32 streams. Default: 32.
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
        let (callees, next_number) = (std::sync::Mutex::default(), AtomicU64::new(0));
        let far = Arc::new(Far { path, options, callees, next_number, policy: Box::new(policy), stopping });
        let mut lanes = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                arrived = incoming.recv() => match arrived {
                    Some(Incoming { peer, lane }) => drop(lanes.spawn(RemoteNearEnd::new(&far, peer).serve_lane(lane))),
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
    path: PathBuf,
    options: FarOptions,
    /// The connections to the callee, by the name of their near end, as long as it has a lane.
    callees: std::sync::Mutex<HashMap<String, Weak<Callee>>>,
    /// The number of the next lane of calls.
    next_number: AtomicU64,
    policy: Box<dyn Policy>,
    stopping: watch::Sender<bool>,
}

impl Far {
    /// The connections for a near end. Each near end has its own: the callee's limits for a caller hold for each, and a
    /// near end that floods takes turns with the others.
    fn callee_of(&self, origin: &str) -> Arc<Callee> {
        // Each change is one step, so the table is consistent whenever it is unlocked.
        let mut callees = self.callees.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(callee) = callees.get(origin).and_then(Weak::upgrade) {
            return callee;
        }
        callees.retain(|_, callee| callee.strong_count() > 0);
        let callee = Arc::new(Callee::new(self.path.clone(), self.options.callee.clone(), self.options.connections));
        callees.insert(origin.to_owned(), Arc::downgrade(&callee));
        callee
    }
}

/// The name of a near end for the callee.
fn origin_of(peer: &Peer) -> String {
    match (&peer.name, peer.address) {
        (Some(name), _) => name.clone(),
        (None, Some(address)) => address.ip().to_string(),
        (None, None) => "unknown".to_owned(),
    }
}

/// A near end, as its lanes know it.
#[derive(Clone)]
struct RemoteNearEnd {
    far: Arc<Far>,
    peer: Arc<Peer>,
    origin: Arc<str>,
    callee: Arc<Callee>,
}

impl RemoteNearEnd {
    fn new(far: &Arc<Far>, peer: Arc<Peer>) -> Self {
        let origin = origin_of(&peer);
        let callee = far.callee_of(&origin);
        Self { far: Arc::clone(far), peer, origin: origin.into(), callee }
    }

    async fn serve_lane(self, lane: Lane) {
        let Lane { sender, mut receiver, max_message } = lane;
        let first = timeout(FIRST_MESSAGE, receiver.next()).await;
        let Ok(Some(Ok(first))) = first else { return };
        let mut frames = Frames::of(first);
        let origin = &self.origin;
        match frames.next().and_then(|frame| frame.ok()?.body) {
            Some(Body::Hello(hello)) => {
                info!(%origin, "a near end has connected");
                if hello.protocol != PROTOCOL {
                    warn!(%origin, protocol = hello.protocol, "the near end has another version of the protocol");
                }
                let (own, max_message) = (max_message, smaller(max_message, hello.max_message));
                let lane = self.far.next_number.fetch_add(1, Ordering::Relaxed);
                let calls = Calls { near_end: &self, max_message, lane };
                calls.serve(own, hello, sender, receiver).await;
                info!(%origin, "a near end is gone");
            }
            Some(Body::Request(request)) => {
                let max_message = smaller(max_message, request.max_message);
                let stream = Stream { near_end: &self, max_message };
                let last = stream.serve(request, &sender, &mut receiver, frames).await;
                self.callee.give_back().await;
                let last = last.unwrap_or_else(|failure| Body::Failure(failure.fitting(max_message)));
                // The near end may be gone.
                drop(sender.send(single(last)).await);
                // The near end drops the lane once it has the last message.
                drop(timeout(FIRST_MESSAGE, async { while let Some(Ok(_)) = receiver.next().await {} }).await);
            }
            _ => warn!(%origin, "a near end began a lane with a message of another protocol"),
        }
    }

    /// Whether texts travel to the near end.
    fn texts(&self) -> bool {
        self.far.policy.texts(&self.peer)
    }

    fn check_allowed(&self, number: u32) -> Result<(), Failure> {
        if self.far.policy.allows(&self.peer, msg_type(number)?) {
            return Ok(());
        }
        let text = format!("`{}` may not call msg_type {number} through this link", self.origin);
        Err(Failure::new(ErrorKind::PermissionDenied, text))
    }

    /// Makes a call of a caller at lane number `lane`.
    async fn call(&self, lane: u64, request: Request, max_message: usize) -> Result<Bytes, Failure> {
        self.check_allowed(request.msg_type)?;
        let (msg_type, texts) = (msg_type(request.msg_type)?, self.texts());
        let mut attempts = 0;
        loop {
            let lease = self.callee.lease(User { lane, caller: request.caller }).await;
            let (lease, version) = lease.map_err(|failure| failure.of_link(texts))?;
            check_version(request.version, version)?;
            let reply = on_behalf_of(lease.caller(), &request, &self.origin)?.call(msg_type, &request.payload).await;
            lease.end_with(&reply);
            match reply {
                Ok(reply) if fits(&reply, max_message) => return Ok(reply.into()),
                Ok(reply) => {
                    return Err(Failure::too_long("reply", reply.len(), max_message, ErrorKind::ReplyTooLarge));
                }
                // The callee ended before it had the request: once more over a new connection.
                Err(CallError::Closed { sent: false } | CallError::PeerDead { sent: false }) if attempts == 0 => {
                    attempts += 1;
                }
                Err(error) => return Err(Failure::of(error, texts)),
            }
        }
    }

    /// Describes the endpoints that a near end may call.
    async fn describe(&self, lane: u64, asked: &Describe, max_message: usize) -> Result<Bytes, Failure> {
        let endpoint = if asked.msg_type == WHOLE_TABLE { None } else { Some(msg_type(asked.msg_type)?) };
        let texts = self.texts();
        // The callers of a server have numbers from 1 up.
        let lease = self.callee.lease(User { lane, caller: 0 }).await;
        let (lease, version) = lease.map_err(|failure| failure.of_link(texts))?;
        check_version(asked.version, version)?;
        let described = lease.caller().within(FIRST_MESSAGE).describe(endpoint).await;
        lease.end_with(&described);
        let mut endpoints = described.map_err(|error| Failure::of(error, texts))?.endpoints;
        endpoints.retain(|endpoint| self.far.policy.allows(&self.peer, endpoint.msg_type));
        let json = Description::new(endpoints).to_json();
        if !fits(json.as_bytes(), max_message) {
            return Err(Failure::too_long("description", json.len(), max_message, ErrorKind::ReplyTooLarge));
        }
        Ok(json.into())
    }
}

/// The lane of a near end's calls.
struct Calls<'a> {
    near_end: &'a RemoteNearEnd,
    max_message: usize,
    /// Tells callers of two lanes apart that have the same number.
    lane: u64,
}

impl Calls<'_> {
    async fn serve(&self, own: usize, hello: Hello, sender: mpsc::Sender<Bytes>, mut receiver: Receiver) {
        let RemoteNearEnd { callee, far, .. } = self.near_end;
        let most = far.options.in_flight.clamp(1, Semaphore::MAX_PERMITS);
        // A callee that hangs keeps no near end waiting: the version follows.
        let version = *callee.version().borrow();
        let in_flight = u32::try_from(most).unwrap_or(u32::MAX);
        let answer = Hello { protocol: PROTOCOL, version, max_message: own as u64, in_flight };
        if sender.send(single(Body::Hello(answer))).await.is_err() || hello.protocol != PROTOCOL {
            return;
        }
        let mut connecting = pin!(async { drop(callee.get().await) });
        let mut is_connecting = true;
        let (outgoing, queue) = mpsc::unbounded_channel();
        let mut sending = pin!(send_all(queue, sender, self.max_message, |_| true));
        let (mut versions, mut stopping) = (callee.version(), far.stopping.subscribe());
        versions.mark_changed();
        let places = Arc::new(Semaphore::new(most));
        let mut calls = JoinSet::new();
        let mut running = HashMap::<u64, AbortHandle>::new();
        // The message that is read, the long ones of which parts have arrived, and the request that waits for a place.
        let (mut frames, mut parts, mut held) = (Frames::default(), Parts::new(self.max_message), None);
        loop {
            let is_stopping = *stopping.borrow_and_update();
            if is_stopping && calls.is_empty() && held.is_none() {
                break;
            }
            tokio::select! {
                () = &mut sending => return,
                () = &mut connecting, if is_connecting => is_connecting = false,
                Some(ended) = calls.join_next() => match ended {
                    Ok(call) => drop(running.remove(&call)),
                    Err(error) => {
                        // Of a call that was given up, the number is no longer there.
                        let failed = running.extract_if(|_, handle| handle.id() == error.id()).next();
                        if let Some((call, _)) = failed {
                            let failure = Failure::new(ErrorKind::HandlerFailed, "the far end of the link failed");
                            drop(outgoing.send((Frame::new(call, Body::Failure(failure)), None)));
                        }
                    }
                },
                Ok(()) = versions.changed() => {
                    let version = *versions.borrow_and_update();
                    drop(outgoing.send((Frame::new(0, Body::Version(version)), None)));
                }
                Ok(()) = stopping.changed() => {}
                Ok(place) = Arc::clone(&places).acquire_owned(), if held.is_some() => {
                    if let Some((call, body)) = held.take() {
                        let answer = self.answer(call, body, is_stopping, &outgoing, Arc::new(place));
                        running.insert(call, calls.spawn(answer));
                    }
                }
                received = receiver.next(), if held.is_none() => match received {
                    Some(Ok(message)) => frames = Frames::of(message),
                    Some(Err(error)) => {
                        return warn!(origin = &*self.near_end.origin, %error, "the lane of a near end ended");
                    }
                    None => return,
                },
            }
            while held.is_none()
                && let Some(frame) = frames.next()
            {
                match frame.map_err(BadParts::from).and_then(|frame| parts.take(frame)) {
                    Ok(Some(Frame { call, body: Some(Body::Cancel(_)) })) => {
                        parts.forget(call);
                        if let Some(running) = running.remove(&call) {
                            running.abort();
                        }
                    }
                    Ok(Some(Frame { call, body: Some(body @ (Body::Request(_) | Body::Describe(_))) })) => {
                        if running.contains_key(&call) {
                            return warn!(
                                origin = &*self.near_end.origin,
                                call, "a near end gave two calls the same number"
                            );
                        }
                        held = Some((call, body));
                        // A near end makes no more calls than there are places, unless it reads no replies.
                        if let Ok(place) = Arc::clone(&places).try_acquire_owned()
                            && let Some((call, body)) = held.take()
                        {
                            let answer = self.answer(call, body, is_stopping, &outgoing, Arc::new(place));
                            running.insert(call, calls.spawn(answer));
                        }
                    }
                    // A part, or a frame of a newer near end.
                    Ok(_) => {}
                    Err(error) => {
                        return warn!(origin = &*self.near_end.origin, %error, "a near end sent another protocol");
                    }
                }
            }
        }
        drop(outgoing);
        sending.await;
    }

    /// Answers a request, and gives its number. The call has its place until the carrier has the answer.
    fn answer(
        &self,
        call: u64,
        body: Body,
        is_stopping: bool,
        outgoing: &FrameQueue,
        place: Place,
    ) -> impl Future<Output = u64> + Send + 'static {
        let (near_end, outgoing, max_message) = (self.near_end.clone(), outgoing.clone(), self.max_message);
        let lane = self.lane;
        async move {
            let answer = match body {
                _ if is_stopping => Err(Failure::new(ErrorKind::Unreachable, STOPPING)),
                Body::Request(request) => near_end.call(lane, request, max_message).await,
                Body::Describe(asked) => near_end.describe(lane, &asked, max_message).await,
                _ => return call,
            };
            let answer = answer.map_or_else(|failure| Body::Failure(failure.fitting(max_message)), Body::Reply);
            // The lane may have ended.
            drop(outgoing.send((Frame::new(call, answer), Some(place))));
            call
        }
    }
}

/// The end of a stream whose near end is gone, or has given the stream up.
fn given_up() -> Failure {
    Failure::new(ErrorKind::Cancelled, "the near end gave it up")
}

/// The lane of a stream.
struct Stream<'a> {
    near_end: &'a RemoteNearEnd,
    max_message: usize,
}

impl Stream<'_> {
    /// Serves a stream, and gives its last message.
    async fn serve(
        &self,
        request: Request,
        lane: &mpsc::Sender<Bytes>,
        receiver: &mut Receiver,
        first: Frames,
    ) -> Result<Body, Failure> {
        let RemoteNearEnd { far, origin, callee, .. } = self.near_end;
        if *far.stopping.borrow() {
            return Err(Failure::new(ErrorKind::Unreachable, STOPPING));
        }
        self.near_end.check_allowed(request.msg_type)?;
        let texts = self.near_end.texts();
        let opened = tokio::select! {
            opened = callee.open(&request, origin, texts) => opened?,
            () = lane.closed() => return Err(given_up()),
        };
        let stream = &opened.stream;
        let upload = async {
            let mut frames = first;
            loop {
                for frame in frames {
                    let frame = match frame {
                        Ok(frame) => frame,
                        Err(error) => return Failure::new(ErrorKind::BadRequest, error),
                    };
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
                    Some(Ok(message)) => frames = Frames::of(message),
                    Some(Err(_)) | None => return given_up(),
                }
            }
        };
        let download = async {
            loop {
                let (mut frames, last) = self.next_items(stream, texts).await;
                for batch in split(&mut frames, self.max_message) {
                    if lane.send(message(batch)).await.is_err() {
                        return Err(given_up());
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
            // The upload may wait for a callee that takes no item.
            () = lane.closed() => Err(given_up()),
        }
    }

    /// The next items of the callee as frames, all that are there, and the last message if it is there.
    async fn next_items(&self, stream: &RawStream, texts: bool) -> (Vec<Frame>, Option<Result<Body, Failure>>) {
        let mut frames = Vec::new();
        loop {
            let next = if frames.is_empty() {
                Some(stream.next_message().await)
            } else {
                if_ready(stream.next_message()).await
            };
            let last = match next {
                None => return (frames, None),
                Some(Ok(RawMessage::Item(item) | RawMessage::Reply(item))) if !fits(&item, self.max_message) => {
                    Err(Failure::too_long("item", item.len(), self.max_message, ErrorKind::ReplyTooLarge))
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
