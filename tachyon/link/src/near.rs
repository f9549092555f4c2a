//! The near end of a link: listens at a local socket, and passes its callers' requests to the far end.

use core::convert::Infallible;
use core::fmt::Display;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tachyon::describe::Description;
use tachyon::dispatch::{Fallback, FallbackRequest};
use tachyon::{
    Context, Dispatcher, ErrorKind, HandlerError, Items, ListenError, RpcServer, ServeError, ServerOptions,
    StreamSender,
};
use thiserror::Error;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tracing::{debug, info, warn};

use crate::batches::{
    BadParts, FrameQueue, MOST_ITEMS, Parts, fits, if_ready, message, send_all, single, smaller, split,
};
use crate::carrier::{Carrier, CarrierError, Channel, Lane, Receiver};
use crate::wire::{Body, Describe, Failure, Frame, Frames, Hello, Metadata, PROTOCOL, Request, WHOLE_TABLE};

/// Longest time for the last messages of a far end that takes none any more.
const LAST_MESSAGES: Duration = Duration::from_secs(5);

/// The text for a call that comes as the session ends.
const JUST_ENDED: &str = "the link has just ended";

/// Settings of a near end.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NearOptions {
    /// Settings of the local server.
    pub server: ServerOptions,
    /// Longest attempt at a channel to the far end, its first message included. Default: 5 s.
    pub connect_timeout: Duration,
    /// Longest pause between two attempts; the first one is a hundredth of it. Default: 2 s.
    pub longest_pause: Duration,
}

impl Default for NearOptions {
    fn default() -> Self {
        Self {
            server: ServerOptions::new(),
            connect_timeout: Duration::from_secs(5),
            longest_pause: Duration::from_secs(2),
        }
    }
}

/// Why an end of a link stopped serving.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The near end cannot listen at its socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The local server failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// The near end of a link.
#[derive(Debug)]
pub struct NearEnd<C: Carrier> {
    carrier: C,
    path: PathBuf,
    options: NearOptions,
}

impl<C: Carrier> NearEnd<C> {
    /// A near end that listens at `path`.
    pub fn new(carrier: C, path: impl Into<PathBuf>, options: NearOptions) -> Self {
        Self { carrier, path: path.into(), options }
    }

    /// Serves until `stop` is done, then stops in good order. Callers may come before the far end can be reached: their
    /// calls end with [`ErrorKind::Unreachable`] until then.
    ///
    /// When the callee behind the link gets another description, the near end stops its local server and listens anew.
    /// Its callers connect again, and compare their side again, as after a restart of a local callee.
    ///
    /// # Errors
    /// [`LinkError`]: the socket cannot be listened at, or the local server failed.
    ///
    /// # Panics
    /// Outside a tokio runtime, or in one without its I/O or time driver.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), LinkError> {
        let Self { carrier, path, options } = self;
        let far = Arc::new(Far::new());
        let connecting = tokio::spawn(keep_connected(carrier, Arc::clone(&far), options.clone()));
        let _connecting = AbortOnDrop(connecting);
        let mut stop = core::pin::pin!(stop);
        loop {
            let mut server = RpcServer::listen_with(&path, options.server.clone())?;
            let stopper = server.stopper();
            let version = Arc::new(AtomicU64::new(far.newest()));
            let mut dispatcher = Dispatcher::default();
            dispatcher.fallback(Near {
                far: Arc::clone(&far),
                version: Arc::clone(&version),
                described: Mutex::default(),
            });
            let serving = dispatcher.serve_async(&mut server);
            let mut serving = core::pin::pin!(serving);
            tokio::select! {
                outcome = &mut serving => return Ok(outcome?),
                () = &mut stop => {
                    stopper.stop();
                    return Ok(serving.await?);
                }
                () = far.changed_from(&version) => {
                    info!(path = %path.display(), "the callee has another description: the callers connect again");
                    stopper.stop();
                    match serving.await {
                        Ok(()) | Err(ServeError::HandlersLeft { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }
}

#[derive(Debug)]
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The far end, as the handlers of the local server see it.
struct Far<C: Channel> {
    session: watch::Sender<Result<Arc<Session<C>>, String>>,
    /// The version of the callee's description that the far end has told last, or 0.
    newest: AtomicU64,
    told: Notify,
}

impl<C: Channel> Far<C> {
    fn new() -> Self {
        let session = watch::Sender::new(Err("the link has not connected yet".to_owned()));
        Self { session, newest: AtomicU64::new(0), told: Notify::new() }
    }

    fn newest(&self) -> u64 {
        self.newest.load(Ordering::SeqCst)
    }

    fn tell(&self, version: u64) {
        if version != 0 && self.newest.swap(version, Ordering::SeqCst) != version {
            self.told.notify_waiters();
        }
    }

    /// Waits until the callee has another description than `version`. An unknown version becomes the first one that is
    /// told: no caller has compared itself before.
    async fn changed_from(&self, version: &AtomicU64) {
        loop {
            let mut told = core::pin::pin!(self.told.notified());
            // From here on no notification is missed.
            told.as_mut().enable();
            let newest = self.newest();
            let known =
                version.compare_exchange(0, newest, Ordering::SeqCst, Ordering::SeqCst).unwrap_or_else(|known| known);
            if known != 0 && known != newest {
                return;
            }
            told.await;
        }
    }

    fn session(&self) -> Result<Arc<Session<C>>, HandlerError> {
        match &*self.session.borrow() {
            Ok(session) => Ok(Arc::clone(session)),
            Err(text) => Err(HandlerError::new(ErrorKind::Unreachable, text)),
        }
    }
}

/// Keeps a session with the far end, and opens another one whenever it ends.
async fn keep_connected<C: Carrier>(carrier: C, far: Arc<Far<C::Channel>>, options: NearOptions) {
    let shortest = options.longest_pause / 100;
    let (mut pause, mut told) = (shortest, String::new());
    loop {
        let began = tokio::time::Instant::now();
        let opened = timeout(options.connect_timeout, Session::open(&carrier)).await;
        let text = match opened {
            Ok(Ok((session, receiver))) => {
                info!("the link is connected");
                told.clear();
                far.tell(session.hello.version);
                drop(far.session.send_replace(Ok(Arc::clone(&session))));
                let text = session.receive(receiver, &far).await;
                // Before the calls end: no later call takes this session.
                drop(far.session.send_replace(Err(text.clone())));
                session.end(&text);
                text
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the far end did not answer within {:?}", options.connect_timeout),
        };
        // An absent far end fails each attempt in the same words.
        if text == told {
            debug!("{text}");
        } else {
            warn!("{text}");
            told.clone_from(&text);
        }
        drop(far.session.send_replace(Err(text)));
        if began.elapsed() > options.longest_pause {
            pause = shortest;
        }
        sleep(pause).await;
        pause = (pause * 2).min(options.longest_pause);
    }
}

/// The answer to a call.
type Answer = Result<Bytes, Failure>;

/// A channel to the far end, and its lane of calls.
struct Session<C> {
    channel: C,
    hello: Hello,
    max_message: usize,
    outgoing: FrameQueue,
    /// Calls that the far end takes beside those in flight. Closed when the session ends.
    places: Arc<Semaphore>,
    calls: Mutex<Calls>,
    _sending: AbortOnDrop,
}

#[derive(Default)]
struct Calls {
    last: u64,
    waiting: HashMap<u64, Waiting>,
    has_ended: bool,
}

struct Waiting {
    answer: oneshot::Sender<Answer>,
    /// Whether the carrier has the whole request.
    is_sent: bool,
}

impl Calls {
    /// Notes the calls whose requests the carrier is about to have. False after the end: calls that were not sent by
    /// then were reported so.
    fn note_sent(&mut self, requests: &[u64]) -> bool {
        if self.has_ended {
            return false;
        }
        for request in requests {
            if let Some(waiting) = self.waiting.get_mut(request) {
                waiting.is_sent = true;
            }
        }
        true
    }
}

impl<C: Channel> Session<C> {
    async fn open<N: Carrier<Channel = C>>(carrier: &N) -> Result<(Arc<Self>, Receiver), CarrierError> {
        let channel = carrier.connect().await?;
        let Lane { sender, mut receiver, max_message } = channel.open().await?;
        let ended = |text: &str| CarrierError::Ended { to: "the far end".to_owned(), text: text.to_owned() };
        let own = max_message as u64;
        let hello = single(Body::Hello(Hello { protocol: PROTOCOL, version: 0, max_message: own, in_flight: 0 }));
        sender.send(hello).await.map_err(|_| ended("it takes no message"))?;
        let first = receiver.next().await.ok_or_else(|| ended("it sent no first message"))??;
        let first = Frames::of(first).next().and_then(|frame| frame.ok()?.body);
        let hello = match first {
            Some(Body::Hello(hello)) if hello.protocol == PROTOCOL => hello,
            Some(Body::Hello(hello)) => {
                let text =
                    format!("it has version {} of the protocol, and this end version {PROTOCOL}", hello.protocol);
                return Err(ended(&text));
            }
            _ => return Err(ended("its first message is of another protocol")),
        };
        let max_message = smaller(max_message, hello.max_message);
        let (outgoing, queue) = mpsc::unbounded_channel();
        let most = usize::try_from(hello.in_flight).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        let session = Arc::new_cyclic(|session: &Weak<Self>| {
            let session = Weak::clone(session);
            let sending = send_all(queue, sender, max_message, move |requests| {
                session.upgrade().is_some_and(|session| session.calls().note_sent(requests))
            });
            let (places, calls) = (Arc::new(Semaphore::new(most)), Mutex::default());
            let sending = AbortOnDrop(tokio::spawn(sending));
            Self { channel, hello, max_message, outgoing, places, calls, _sending: sending }
        });
        Ok((session, receiver))
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        // Each change is one step, so the table is consistent whenever it is unlocked.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes answers until the lane ends, and gives the reason in words.
    async fn receive(&self, mut receiver: Receiver, far: &Far<C>) -> String {
        let mut deaf = core::pin::pin!(async {
            self.outgoing.closed().await;
            // The messages that it has sent before may still be under way.
            sleep(LAST_MESSAGES).await;
        });
        let mut parts = Parts::new(self.max_message);
        loop {
            let received = tokio::select! {
                received = receiver.next() => received,
                () = &mut deaf => return "the far end takes no more messages".to_owned(),
            };
            let message = match received {
                Some(Ok(message)) => message,
                Some(Err(error)) => return error.to_string(),
                None => return "the far end has closed the link".to_owned(),
            };
            for frame in Frames::of(message) {
                let frame = frame.map_err(BadParts::from).and_then(|frame| parts.take(frame));
                let Frame { call, body } = match frame {
                    Ok(Some(frame)) => frame,
                    Ok(None) => continue,
                    Err(error) => return format!("the far end sent a message of another protocol: {error}"),
                };
                let answer = match body {
                    Some(Body::Reply(reply)) => Ok(reply),
                    Some(Body::Failure(failure)) => Err(failure),
                    Some(Body::Version(version)) => {
                        far.tell(version);
                        continue;
                    }
                    // A frame of a newer far end.
                    _ => continue,
                };
                let waiting = self.calls().waiting.remove(&call);
                if let Some(waiting) = waiting {
                    // The call was given up meanwhile.
                    drop(waiting.answer.send(answer));
                }
            }
        }
    }

    /// Ends all calls: those that were handed to the carrier may have run.
    fn end(&self, text: &str) {
        let waiting = {
            let mut calls = self.calls();
            calls.has_ended = true;
            self.places.close();
            core::mem::take(&mut calls.waiting)
        };
        for Waiting { answer, is_sent } in waiting.into_values() {
            let kind = if is_sent { ErrorKind::Unavailable } else { ErrorKind::Unreachable };
            drop(answer.send(Err(Failure::new(kind, text))));
        }
    }

    /// Makes a call. Dropping the future cancels it.
    async fn exchange(&self, body: Body) -> Answer {
        let ended = || Err(Failure::new(ErrorKind::Unreachable, JUST_ENDED));
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return ended() };
        // Taken until the call has ended, and its frame has left.
        let place = Arc::new(place);
        let (sender, answer) = oneshot::channel();
        let call = {
            let mut calls = self.calls();
            if calls.has_ended {
                return ended();
            }
            calls.last += 1;
            let call = calls.last;
            calls.waiting.insert(call, Waiting { answer: sender, is_sent: false });
            call
        };
        drop(self.outgoing.send((Frame::new(call, body), Some(Arc::clone(&place)))));
        let given_up = GivenUp { session: self, call };
        let answer = answer.await;
        core::mem::forget(given_up);
        drop(place);
        answer.unwrap_or_else(|_| Err(Failure::new(ErrorKind::Unavailable, JUST_ENDED)))
    }
}

/// Cancels a call when it is dropped.
struct GivenUp<'a, C: Channel> {
    session: &'a Session<C>,
    call: u64,
}

impl<C: Channel> Drop for GivenUp<'_, C> {
    fn drop(&mut self) {
        if self.session.calls().waiting.remove(&self.call).is_some() {
            drop(self.session.outgoing.send((Frame::new(self.call, Body::Cancel(true)), None)));
        }
    }
}

/// The handler of all requests of the local server.
struct Near<C: Channel> {
    far: Arc<Far<C>>,
    /// The version of the description that this server's callers compare themselves with, or 0.
    version: Arc<AtomicU64>,
    /// Descriptions of this version.
    described: Mutex<HashMap<u32, Description>>,
}

impl<C: Channel> Near<C> {
    fn request(&self, msg_type: u16, context: &Context<'_>, payload: Vec<u8>) -> Request {
        let remaining = context.remaining().map(|left| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX));
        let entries = context.metadata().iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let metadata = Metadata { entries }.encode_to_vec().into();
        let version = self.version.load(Ordering::SeqCst);
        let (payload, caller) = (payload.into(), context.caller.id);
        Request { msg_type: msg_type.into(), payload, remaining, metadata, version, max_message: 0, caller }
    }

    /// The request as it travels, unless it is too long.
    fn outgoing(&self, request: FallbackRequest, max_message: usize) -> Result<Request, HandlerError> {
        let context = request.owned_context().clone();
        let (msg_type, payload) = (request.msg_type(), request.into_payload());
        if !fits(&payload, max_message) {
            return Err(
                Failure::too_long("request", payload.len(), max_message, ErrorKind::BadRequest).into_error(msg_type)
            );
        }
        Ok(self.request(msg_type, &context.get(), payload))
    }
}

fn lost(error: impl Display) -> HandlerError {
    HandlerError::new(ErrorKind::Unavailable, error)
}

fn unreachable(error: impl Display) -> HandlerError {
    HandlerError::new(ErrorKind::Unreachable, error)
}

impl<C: Channel> Fallback for Near<C> {
    async fn call(&self, request: FallbackRequest) -> Result<Vec<u8>, HandlerError> {
        let (session, msg_type) = (self.far.session()?, request.msg_type());
        let request = self.outgoing(request, session.max_message)?;
        let answer = session.exchange(Body::Request(request)).await;
        answer.map(Vec::from).map_err(|failure| failure.into_error(msg_type))
    }

    async fn open(
        &self,
        request: FallbackRequest,
        mut items: Items<Vec<u8>>,
        sender: StreamSender<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, HandlerError> {
        let (session, msg_type) = (self.far.session()?, request.msg_type());
        let Lane { sender: lane, mut receiver, max_message: own } =
            session.channel.open().await.map_err(|error| match error {
                CarrierError::Full { .. } => HandlerError::new(ErrorKind::ResourceExhausted, error),
                error => unreachable(error),
            })?;
        let max_message = own.min(session.max_message);
        let request = Request { max_message: own as u64, ..self.outgoing(request, max_message)? };
        lane.send(single(Body::Request(request))).await.map_err(unreachable)?;
        let upload = async {
            let mut ends = false;
            while !ends {
                let mut frames = next_items(&mut items, msg_type, max_message).await?;
                ends = matches!(frames.last(), Some(Frame { body: Some(Body::End(_)), .. }));
                for batch in split(&mut frames, max_message) {
                    // A far end that takes no more has sent the last message of the stream.
                    ends |= lane.send(message(batch)).await.is_err();
                }
            }
            // The far end takes the end of this direction for a caller that gave up.
            core::future::pending::<Result<Infallible, HandlerError>>().await
        };
        let download = async {
            while let Some(received) = receiver.next().await {
                for frame in Frames::of(received.map_err(lost)?) {
                    match frame.map_err(lost)?.body {
                        Some(Body::Item(item)) => sender.send(&Vec::from(item)).await?,
                        Some(Body::Reply(reply)) => return Ok(Some(reply.into())),
                        Some(Body::End(_)) => return Ok(None),
                        Some(Body::Failure(failure)) => return Err(failure.into_error(msg_type)),
                        _ => {}
                    }
                }
            }
            Err(lost("the link ended before the stream"))
        };
        tokio::select! {
            given_up = upload => given_up.map(|never| match never {}),
            last = download => last,
        }
    }

    async fn describe(&self, endpoint: Option<u16>) -> Result<Description, HandlerError> {
        let asked = endpoint.map_or(WHOLE_TABLE, u32::from);
        let version = self.version.load(Ordering::SeqCst);
        let known = |of: &Mutex<HashMap<u32, Description>>| {
            of.lock().unwrap_or_else(PoisonError::into_inner).get(&asked).cloned()
        };
        if version != 0
            && let Some(description) = known(&self.described)
        {
            return Ok(description);
        }
        let answer = self.far.session()?.exchange(Body::Describe(Describe { msg_type: asked, version })).await;
        let json = answer.map_err(|failure| failure.into_error(endpoint.unwrap_or(u16::MAX)))?;
        let json = core::str::from_utf8(&json).map_err(HandlerError::failed)?;
        let description = Description::from_json(json).map_err(HandlerError::failed)?;
        if version != 0 {
            let mut described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
            described.insert(asked, description.clone());
        }
        Ok(description)
    }

    async fn version(&self) -> Result<u64, HandlerError> {
        Ok(self.far.newest())
    }
}

/// The next items of the caller as frames, all that are there, with END after the last one.
async fn next_items(items: &mut Items<Vec<u8>>, msg_type: u16, max_message: usize) -> Result<Vec<Frame>, HandlerError> {
    let mut frames = Vec::new();
    loop {
        let next = if frames.is_empty() { Some(items.recv().await) } else { if_ready(items.recv()).await };
        match next {
            None => return Ok(frames),
            Some(None) => {
                frames.push(Frame::new(0, Body::End(true)));
                return Ok(frames);
            }
            Some(Some(item)) => {
                let item = item?;
                if !fits(&item, max_message) {
                    return Err(Failure::too_long("item", item.len(), max_message, ErrorKind::ResourceExhausted)
                        .into_error(msg_type));
                }
                frames.push(Frame::new(0, Body::Item(item.into())));
                if frames.len() == MOST_ITEMS {
                    return Ok(frames);
                }
            }
        }
    }
}
