//! The carrier of a network: gRPC's wire, over TLS or plain TCP.
//!
//! A channel is an HTTP/2 connection, and a lane a bidirectional streaming call of one method. Each message is a gRPC
//! message whose bytes pass through unchanged. The carrier uses HTTP/2 itself, without a gRPC library: through the
//! interface of such a library a lane that flow control has stopped cannot be reset, and each message is copied.
//!
//! - A channel ends if nothing arrives for [`Limits::silence`]. Both ends ping three times in this time.
//! - Each lane has a window of its own, and a channel has room for all of them. An unread lane keeps no other one
//!   waiting.
//! - A dropped sender ends its direction after its last message. A dropped receiver ends the lane: messages that were
//!   sent before still leave if the other end reads them within a second, then the stream is reset.

use core::convert::Infallible;
use core::future::poll_fn;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_core::Stream;
use h2::{FlowControl, Ping, PingPong, Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use crate::carrier::{Carrier, CarrierError, Channel, Incoming, Lane, Peer, Receiver};
use crate::tls::{ClientTls, ServerTls, peer_name};

/// The one method.
const METHOD: &str = "/tachyon.link.v1.Link/Lane";
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
/// The longest message of an end. A lane takes messages up to the smaller length of both ends.
const MAX_MESSAGE: HeaderName = HeaderName::from_static("link-max-message");
const STATUS: &str = "grpc-status";
const STATUS_TEXT: &str = "grpc-message";
const RESOURCE_EXHAUSTED: HeaderValue = HeaderValue::from_static("8");
const UNIMPLEMENTED: HeaderValue = HeaderValue::from_static("12");
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

/// Bytes before a message: the compression, which is 0, and the length.
const PREFIX: usize = 5;
/// Bytes of a lane that travel before its reader takes one.
const WINDOW: u32 = 512 << 10;
/// Bytes of all lanes that travel before a reader takes one: the most that HTTP/2 has, so that the windows of the lanes
/// count alone. The other end learns of new room when half of it is used, and the windows of 1,024 lanes fit in a half.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Most lanes of a channel.
pub(crate) const MOST_LANES: u32 = 1024;
/// Bytes of an HTTP/2 frame. Longer messages of one lane let another lane in between.
const FRAME: u32 = 64 << 10;
/// Messages up to this length are copied into one frame with their neighbours.
const COPIED: usize = 16 << 10;
/// Messages that wait for a lane's window.
const ROOM: usize = 16;
/// The overhead of small frames in flight, in bytes. Lanes take frames off the connection at once, so this many wait
/// only if a peer floods.
const FRAME_BUDGET: usize = 256 << 20;
/// Lanes that were reset a short time ago, whose frames under way are dropped. A frame of an older one is answered by
/// another reset. h2 counts these as errors by default, and ends a channel after 1,024 of them.
const KNOWN_RESETS: usize = 1024;
/// Time for the last messages of a lane whose receiver is gone.
const DRAIN: Duration = Duration::from_secs(1);

/// The limits of a channel. Both ends have their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the longest message, in either direction. 64 MiB by default.
    pub max_message: usize,
    /// Lanes of one channel that are open at a time, up to 1,024, as the far end permits. 128 by default.
    pub lanes: u32,
    /// Near ends of a far end that are connected at a time. As many more may be in their handshakes; further ones wait.
    /// 256 by default.
    pub near_ends: u32,
    /// Time to connect with all handshakes, and to open a lane. 3 seconds by default.
    pub connect: Duration,
    /// A channel ends if nothing arrives for this time. 3 seconds by default; the other end is asked each third of it.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let (connect, silence) = (Duration::from_secs(3), Duration::from_secs(3));
        Self { max_message: 64 << 20, lanes: 128, near_ends: 256, connect, silence }
    }
}

/// Where the far end is, and how to reach it.
#[derive(Debug, Clone)]
pub struct GrpcTarget {
    /// `HOST:PORT`.
    pub address: String,
    /// The certificates, or `None` for plain TCP.
    pub tls: Option<Arc<ClientTls>>,
    /// The limits of this end.
    pub limits: Limits,
}

/// The near end of the carrier.
///
/// # Examples
/// ```
/// use tachyon_link::carrier::{Carrier, Channel};
/// use tachyon_link::grpc::{self, GrpcCarrier, GrpcTarget, Limits};
/// use tokio::{net::TcpListener, sync::mpsc};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
/// let address = listener.local_addr().unwrap().to_string();
/// let (sender, mut incoming) = mpsc::channel(16);
/// tokio::spawn(grpc::serve(listener, None, Limits::default(), sender, std::future::pending::<()>()));
///
/// let carrier = GrpcCarrier::new(GrpcTarget { address, tls: None, limits: Limits::default() });
/// let channel = carrier.connect().await.unwrap();
/// let near = channel.open().await.unwrap();
/// near.sender.send("hello".into()).await.unwrap();
///
/// let mut far = incoming.recv().await.unwrap().lane;
/// # use tokio_stream::StreamExt;
/// assert_eq!(far.receiver.next().await.unwrap().unwrap(), "hello");
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct GrpcCarrier {
    target: GrpcTarget,
}

impl GrpcCarrier {
    /// A carrier to a far end. It connects when it is asked to.
    #[must_use]
    pub fn new(target: GrpcTarget) -> Self {
        Self { target }
    }

    async fn reach(&self) -> Result<GrpcChannel, String> {
        let GrpcTarget { address, tls, limits } = &self.target;
        let socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let (io, life) = Watched::new(socket);
        let Some(tls) = tls else { return self.start(io, life, limits).await };
        let io = tls.connect(address, io).await?;
        self.start(io, life, limits).await
    }

    async fn start<T>(&self, io: T, life: Arc<AtomicU64>, limits: &Limits) -> Result<GrpcChannel, String>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        builder.max_frame_size(FRAME).enable_push(false).data_frame_budget(FRAME_BUDGET);
        builder.max_concurrent_reset_streams(KNOWN_RESETS).max_local_error_reset_streams(None);
        let (requests, mut connection) = builder.handshake(io).await.map_err(|error| connection_text(&error))?;
        let mut pings = connection.ping_pong().ok_or("no pings")?;
        // The answer proves that the other end speaks HTTP/2, and has accepted the certificate.
        tokio::select! {
            ended = &mut connection => return Err(ended_text(ended)),
            pong = pings.ping(Ping::opaque()) => {
                pong.map_err(|error| connection_text(&error))?;
            }
        }
        let cause = Arc::new(OnceLock::new());
        let (open, mut closed) = oneshot::channel::<()>();
        let (noted, silence) = (Arc::clone(&cause), limits.silence);
        tokio::spawn(async move {
            let text = tokio::select! {
                ended = &mut connection => ended_text(ended),
                text = silent(pings, life, silence) => text,
                _ = &mut closed => "this end has closed the channel".to_owned(),
            };
            tracing::debug!(%text, "a channel ended");
            // Set before the connection is dropped, which wakes the lanes.
            drop(noted.set(text));
        });
        let end = End { to: self.target.address.as_str().into(), cause };
        let lanes = Arc::default();
        Ok(GrpcChannel { requests, limits: limits.clone(), end, lanes, _open: open })
    }
}

impl Carrier for GrpcCarrier {
    type Channel = GrpcChannel;

    async fn connect(&self) -> Result<GrpcChannel, CarrierError> {
        let unreachable = |text| CarrierError::Unreachable { to: self.target.address.clone(), text };
        let patience = self.target.limits.connect;
        match timeout(patience, self.reach()).await {
            Ok(reached) => reached.map_err(unreachable),
            Err(_) => Err(unreachable(format!("no answer within {patience:?}"))),
        }
    }
}

/// A channel to a far end.
#[derive(Debug)]
pub struct GrpcChannel {
    requests: h2::client::SendRequest<Piece>,
    limits: Limits,
    end: End,
    /// Counts the open lanes by its clones.
    lanes: Arc<()>,
    /// The connection's task ends when this is dropped.
    _open: oneshot::Sender<()>,
}

impl Channel for GrpcChannel {
    async fn open(&self) -> Result<Lane, CarrierError> {
        let mut requests = self.requests.clone();
        poll_fn(|cx| requests.poll_ready(cx)).await.map_err(|error| self.end.of(&error))?;
        // A lane keeps its place until both directions have ended, as HTTP/2 counts it.
        let (max, place) = (requests.current_max_send_streams(), Arc::new(Arc::clone(&self.lanes)));
        // The channel has one, and each lane with this one.
        if Arc::strong_count(&self.lanes) > max.saturating_add(1) {
            return Err(CarrierError::Full { to: self.end.to.to_string(), max });
        }
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://{}{METHOD}", self.end.to))
            .header(header::CONTENT_TYPE, CONTENT_TYPE)
            .header(header::TE, "trailers")
            .header(MAX_MESSAGE, self.limits.max_message)
            .body(())
            .map_err(|error| self.end.with(error.to_string()))?;
        let (response, stream) = requests.send_request(request, false).map_err(|error| self.end.of(&error))?;
        let patience = self.limits.connect;
        let response = timeout(patience, response).await;
        let response = response.map_err(|_| self.end.with(format!("no lane within {patience:?}")))?;
        let (head, body) = response.map_err(|error| self.end.of(&error))?.into_parts();
        if let Some(text) = refusal(&head.headers) {
            return Err(self.end.with(text));
        }
        if !head.status.is_success() || head.headers.get(header::CONTENT_TYPE) != Some(&CONTENT_TYPE) {
            return Err(self.end.with(format!("the other end is no far end of a link: HTTP status {}", head.status)));
        }
        let max = Max::new(self.limits.max_message, &head.headers);
        let (lane, sending, receiving) = lane(stream, body, max, self.end.clone(), false);
        let other = Arc::clone(&place);
        tokio::spawn(async move {
            sending.await;
            drop(place);
        });
        tokio::spawn(async move {
            receiving.await;
            drop(other);
        });
        Ok(lane)
    }
}

/// Accepts near ends, and passes each lane that they open to `incoming`. After `shutdown` the listener is closed and no
/// lane is taken; the lanes that are open go on, and the function returns when the last channel has ended. Dropping the
/// future ends all channels at once.
///
/// A failed `accept` and a failed handshake are logged.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    limits: Limits,
    incoming: mpsc::Sender<Incoming>,
    shutdown: impl Future,
) {
    let most = limits.near_ends as usize;
    let near_ends = Semaphore::new(most);
    let far = Arc::new(Far { tls, limits, incoming, near_ends });
    let (stop, stopped) = watch::channel(false);
    let mut channels = JoinSet::new();
    let mut shutdown = core::pin::pin!(shutdown);
    loop {
        tokio::select! {
            _ = &mut shutdown => break,
            accepted = listener.accept(), if channels.len() < most.saturating_mul(2) => match accepted {
                Ok((socket, address)) => {
                    let (far, stopped) = (Arc::clone(&far), stopped.clone());
                    channels.spawn(async move {
                        match far.channel(socket, address, stopped).await {
                            Ok(text) => tracing::debug!(%address, %text, "a near end is gone"),
                            Err(text) => tracing::warn!(%address, %text, "refused a near end"),
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accepted no near end");
                    // The process may be out of descriptors until a channel ends.
                    sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = channels.join_next() => {}
        }
    }
    drop(listener);
    _ = stop.send(true);
    while channels.join_next().await.is_some() {}
}

/// The settings of all channels of a far end.
struct Far {
    tls: Option<Arc<ServerTls>>,
    limits: Limits,
    incoming: mpsc::Sender<Incoming>,
    /// Places for near ends.
    near_ends: Semaphore,
}

impl Far {
    /// Serves a near end, and returns the cause of the channel's end.
    async fn channel(
        &self,
        socket: TcpStream,
        address: SocketAddr,
        stopped: watch::Receiver<bool>,
    ) -> Result<String, String> {
        let (io, life) = Watched::new(socket);
        let late = |_| format!("no handshake within {:?}", self.limits.connect);
        let Some(tls) = &self.tls else {
            let connection = timeout(self.limits.connect, self.handshake(io)).await.map_err(late)??;
            return self.admit(connection, Peer { name: None, address: Some(address) }, life, stopped).await;
        };
        let handshakes = async {
            let io = tls.accept(io).await?;
            let name = peer_name(io.get_ref().1.peer_certificates())?;
            Ok::<_, String>((name, self.handshake(io).await?))
        };
        let (name, connection) = timeout(self.limits.connect, handshakes).await.map_err(late)??;
        self.admit(connection, Peer { name, address: Some(address) }, life, stopped).await
    }

    /// Serves a near end if there is a place for it. Otherwise tells it so.
    async fn admit<T>(
        &self,
        mut connection: h2::server::Connection<T, Piece>,
        peer: Peer,
        life: Arc<AtomicU64>,
        stopped: watch::Receiver<bool>,
    ) -> Result<String, String>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        if let Ok(_place) = self.near_ends.try_acquire() {
            return Ok(self.lanes(connection, peer, life, stopped).await);
        }
        let text = format!("the far end has its {} near ends; raise `near_ends` there", self.limits.near_ends);
        let refusing = async {
            while let Some(Ok((_, respond))) = connection.accept().await {
                refuse(respond, RESOURCE_EXHAUSTED, &text);
                connection.graceful_shutdown();
            }
        };
        // A near end that opens no lane is not told.
        drop(timeout(self.limits.connect, refusing).await);
        Err(text)
    }

    async fn handshake<T>(&self, io: T) -> Result<h2::server::Connection<T, Piece>, String>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        builder
            .max_frame_size(FRAME)
            .max_concurrent_streams(self.limits.lanes.min(MOST_LANES))
            .data_frame_budget(FRAME_BUDGET)
            .max_concurrent_reset_streams(KNOWN_RESETS)
            .max_local_error_reset_streams(None);
        builder.handshake(io).await.map_err(|error| connection_text(&error))
    }

    /// Takes the lanes of a channel until it ends, and returns the cause.
    async fn lanes<T>(
        &self,
        mut connection: h2::server::Connection<T, Piece>,
        peer: Peer,
        life: Arc<AtomicU64>,
        mut stopped: watch::Receiver<bool>,
    ) -> String
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(pings) = connection.ping_pong() else { return "no pings".to_owned() };
        let address = peer.address.map(|address| address.to_string()).unwrap_or_default();
        tracing::debug!(name = peer.name.as_deref(), %address, "a near end has come");
        let end = End { to: address.into(), cause: Arc::default() };
        let peer = Arc::new(peer);
        // Dropping this with the connection stops the tasks of its lanes.
        let mut tasks = JoinSet::new();
        let mut silent = core::pin::pin!(silent(pings, life, self.limits.silence));
        let mut stopping = false;
        let text = loop {
            tokio::select! {
                lane = connection.accept() => match lane {
                    Some(Ok((request, respond))) => {
                        let (incoming, peer, end) = (self.incoming.clone(), Arc::clone(&peer), end.clone());
                        tasks.spawn(take_lane(request, respond, incoming, peer, end, self.limits.max_message));
                    }
                    Some(Err(error)) => break connection_text(&error),
                    None if stopping => break "this end has stopped".to_owned(),
                    None => break CLOSED.to_owned(),
                },
                text = &mut silent => break text,
                _ = stopped.wait_for(|stopped| *stopped), if !stopping => {
                    stopping = true;
                    connection.graceful_shutdown();
                }
                Some(_) = tasks.join_next() => {}
            }
        };
        drop(end.cause.set(text.clone()));
        drop(connection);
        // The tasks see the end of the connection, and pass it to the readers of their lanes.
        while tasks.join_next().await.is_some() {}
        text
    }
}

/// Refuses a lane. A near end that is gone needs no refusal.
fn refuse(mut respond: h2::server::SendResponse<Piece>, status: HeaderValue, text: &str) {
    let mut response = Response::new(());
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    response.headers_mut().insert(STATUS, status);
    if let Ok(text) = HeaderValue::from_str(text) {
        response.headers_mut().insert(STATUS_TEXT, text);
    }
    drop(respond.send_response(response, true));
}

/// Passes a lane to the far end, and carries its messages.
async fn take_lane(
    request: Request<RecvStream>,
    mut respond: h2::server::SendResponse<Piece>,
    incoming: mpsc::Sender<Incoming>,
    peer: Arc<Peer>,
    end: End,
    max: usize,
) {
    if request.uri().path() != METHOD || request.headers().get(header::CONTENT_TYPE) != Some(&CONTENT_TYPE) {
        return refuse(respond, UNIMPLEMENTED, "a link has the method /tachyon.link.v1.Link/Lane alone");
    }
    let place = tokio::select! {
        place = incoming.reserve() => place,
        _ = poll_fn(|cx| respond.poll_reset(cx)) => return,
    };
    let Ok(place) = place else { return refuse(respond, UNAVAILABLE, "the far end has stopped") };
    let mut response = Response::new(());
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
    response.headers_mut().insert(MAX_MESSAGE, max.into());
    let Ok(stream) = respond.send_response(response, false) else { return };
    let max = Max::new(max, request.headers());
    let (lane, sending, receiving) = lane(stream, request.into_body(), max, end, true);
    place.send(Incoming { peer, lane });
    tokio::join!(sending, receiving);
}

/// Why a channel ended, for its lanes.
#[derive(Debug, Clone)]
struct End {
    to: Arc<str>,
    cause: Arc<OnceLock<String>>,
}

const CLOSED: &str = "the other end has closed the connection";

impl End {
    fn with(&self, text: String) -> CarrierError {
        CarrierError::Ended { to: self.to.to_string(), text }
    }

    /// The error of a lane. If the channel ended, its cause says more than the stream does.
    fn of(&self, error: &h2::Error) -> CarrierError {
        if error.is_reset() {
            return self.with(match error.reason() {
                Some(Reason::REFUSED_STREAM) => "the far end takes no more lanes".to_owned(),
                _ => "the other end gave the lane up".to_owned(),
            });
        }
        self.with(self.cause.get().cloned().unwrap_or_else(|| connection_text(error)))
    }
}

fn ended_text(ended: Result<(), h2::Error>) -> String {
    ended.map_or_else(|error| connection_text(&error), |()| CLOSED.to_owned())
}

fn connection_text(error: &h2::Error) -> String {
    if error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR) {
        return "the other end has stopped".to_owned();
    }
    if error.is_go_away() && error.is_library() {
        return format!("the other end breaks HTTP/2, or expects TLS: {error}");
    }
    match error.get_io() {
        // Without a word from TLS or TCP the process is gone, or has dropped the channel.
        Some(io) if matches!(io.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => CLOSED.to_owned(),
        Some(io) => crate::tls::text(io),
        None => error.to_string(),
    }
}

/// The refusal of a call, which gRPC sends in the headers or in the trailers.
fn refusal(headers: &HeaderMap) -> Option<String> {
    let status = headers.get(STATUS).filter(|status| *status != "0")?;
    let text = headers.get(STATUS_TEXT).and_then(|text| text.to_str().ok()).unwrap_or("without a text");
    Some(format!("refused with gRPC status {}: {text}", status.to_str().unwrap_or("?")))
}

/// Pings the other end, and returns when it has been silent for too long. Bytes of any kind count as life, because a
/// ping waits behind the data of a slow network. Intervals are counted, not time, because a process that was stopped
/// has not heard what waits in its socket.
async fn silent(mut pings: PingPong, life: Arc<AtomicU64>, silence: Duration) -> String {
    const TICKS: u32 = 6;
    let tick = (silence / TICKS).max(Duration::from_millis(1));
    let mut ticks = interval_at(Instant::now() + tick, tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut silent) = (life.load(Ordering::Relaxed), 0);
    for number in 0_u64.. {
        ticks.tick().await;
        if number.is_multiple_of(2) {
            // Takes the last answer, without which no next ping leaves.
            poll_fn(|cx| Poll::Ready(pings.poll_pong(cx).is_ready())).await;
            // A ping that is still under way does for the next one.
            drop(pings.send_ping(Ping::opaque()));
        }
        let now = life.load(Ordering::Relaxed);
        silent = if now == before { silent + 1 } else { 0 };
        before = now;
        // The first silent interval may have begun with a byte, so its time is not counted.
        if silent == TICKS - 1 {
            break;
        }
    }
    format!("nothing has arrived for {silence:?}")
}

/// A socket that notes when something arrives.
struct Watched {
    socket: TcpStream,
    /// Changes with each read.
    life: Arc<AtomicU64>,
}

impl Watched {
    fn new(socket: TcpStream) -> (Self, Arc<AtomicU64>) {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "a connection without TCP_NODELAY");
        }
        let life = Arc::<AtomicU64>::default();
        (Self { socket, life: Arc::clone(&life) }, life)
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.life.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

/// Bytes of the longest messages of a lane.
#[derive(Clone, Copy)]
struct Max {
    /// From the other end.
    taken: usize,
    /// To the other end.
    sent: usize,
}

impl Max {
    fn new(own: usize, headers: &HeaderMap) -> Self {
        let other = headers.get(MAX_MESSAGE).and_then(|max| max.to_str().ok()?.parse::<usize>().ok());
        Self { taken: own, sent: other.map_or(own, |other| own.min(other)) }
    }
}

/// A lane over an HTTP/2 stream, and the two futures that carry its messages.
fn lane(
    stream: SendStream<Piece>,
    mut body: RecvStream,
    max: Max,
    end: End,
    server: bool,
) -> (Lane, impl Future<Output = ()> + Send, impl Future<Output = ()> + Send) {
    let (sender, outgoing) = mpsc::channel(ROOM);
    // The window bounds the bytes in here: it grows only when the reader takes a message.
    let (inbox, items) = mpsc::unbounded_channel();
    let progress = Arc::<Progress>::default();
    let window = body.flow_control().clone();
    let receiver: Receiver = Box::pin(Arrived { items, ended: false, window, progress: Arc::clone(&progress) });
    let sending = send(stream, outgoing, inbox.clone(), max.sent, server);
    let receiving = receive(body, inbox, progress, max.taken, end);
    (Lane { sender, receiver, max_message: max.sent }, sending, receiving)
}

/// An item for the reader of a lane.
enum Item {
    /// A message, or the error in its place, with the bytes by which the window grows when the reader takes it.
    Message(Result<Bytes, CarrierError>, usize),
    /// Nothing follows.
    End,
}

/// The message that is arriving.
#[derive(Default)]
struct Progress {
    /// The reader waits for this message.
    awaited: AtomicBool,
    /// Bytes of it that the window has not got back.
    held: AtomicUsize,
}

/// The reader's end of a lane.
struct Arrived {
    items: mpsc::UnboundedReceiver<Item>,
    ended: bool,
    window: FlowControl,
    progress: Arc<Progress>,
}

/// Lets the other end send as many bytes more.
fn give_back(window: &mut FlowControl, bytes: usize) {
    if bytes > 0 {
        // Fails only after the stream's end.
        drop(window.release_capacity(bytes));
    }
}

impl Stream for Arrived {
    type Item = Result<Bytes, CarrierError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(item) = this.items.poll_recv(cx) else {
            // A message may be longer than the window, so it must arrive in full while its reader waits.
            this.progress.awaited.store(true, Ordering::SeqCst);
            give_back(&mut this.window, this.progress.held.swap(0, Ordering::SeqCst));
            return Poll::Pending;
        };
        this.progress.awaited.store(false, Ordering::SeqCst);
        // Without an item the runtime has dropped the tasks of the lane.
        let Some(Item::Message(message, held)) = item else {
            this.ended = true;
            return Poll::Ready(None);
        };
        give_back(&mut this.window, held);
        Poll::Ready(Some(message))
    }
}

/// Takes the frames of a lane off the connection as they arrive, and makes them messages.
async fn receive(body: RecvStream, inbox: mpsc::UnboundedSender<Item>, progress: Arc<Progress>, max: usize, end: End) {
    // The inbox refuses an item when the reader is gone.
    if let Err(error) = receive_all(body, &inbox, &progress, max, &end).await {
        drop(inbox.send(Item::Message(Err(error), 0)));
    }
    drop(inbox.send(Item::End));
}

async fn receive_all(
    mut body: RecvStream,
    inbox: &mpsc::UnboundedSender<Item>,
    progress: &Progress,
    max: usize,
    end: &End,
) -> Result<(), CarrierError> {
    let mut parser = Parser { buffer: BytesMut::new(), left: None, max };
    let mut window = body.flow_control().clone();
    loop {
        let data = tokio::select! {
            data = body.data() => data,
            () = inbox.closed() => return Ok(()),
        };
        let Some(data) = data else { break };
        let mut data = data.map_err(|error| end.of(&error))?;
        loop {
            let before = data.len();
            let parsed = parser.parse(&mut data);
            progress.held.fetch_add(before - data.len(), Ordering::SeqCst);
            let message = match parsed {
                Ok(Some(message)) => Ok(message),
                Ok(None) => break,
                Err(Malformed::TooLarge(size)) => Err(CarrierError::TooLarge { size, max }),
                Err(Malformed::Compressed) => return Err(end.with("a message is compressed".to_owned())),
            };
            drop(inbox.send(Item::Message(message, progress.held.swap(0, Ordering::SeqCst))));
        }
        if progress.awaited.load(Ordering::SeqCst) {
            give_back(&mut window, progress.held.swap(0, Ordering::SeqCst));
        }
    }
    if !parser.is_idle() {
        return Err(end.with("the lane ended within a message".to_owned()));
    }
    let trailers = body.trailers().await.map_err(|error| end.of(&error))?;
    trailers.and_then(|trailers| refusal(&trailers)).map_or(Ok(()), |text| Err(end.with(text)))
}

/// Makes messages of bytes.
struct Parser {
    buffer: BytesMut,
    /// Bytes of the message that are missing, after its prefix. `Err` skips a message that is too long.
    left: Option<Result<usize, usize>>,
    max: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Malformed {
    TooLarge(usize),
    Compressed,
}

impl Parser {
    fn is_idle(&self) -> bool {
        self.buffer.is_empty() && self.left.is_none()
    }

    /// Takes one message, or all bytes if they end within a message.
    fn parse(&mut self, data: &mut Bytes) -> Result<Option<Bytes>, Malformed> {
        let left = if let Some(left) = self.left {
            left
        } else {
            let missing = PREFIX - self.buffer.len();
            self.buffer.put(data.split_to(missing.min(data.len())));
            if self.buffer.len() < PREFIX {
                return Ok(None);
            }
            let compressed = self.buffer.get_u8() != 0;
            let size = self.buffer.get_u32() as usize;
            self.buffer.clear();
            if compressed {
                return Err(Malformed::Compressed);
            }
            if size > self.max {
                // The message is skipped after its error.
                self.left = Some(Err(size));
                return Err(Malformed::TooLarge(size));
            }
            self.left = Some(Ok(size));
            Ok(size)
        };
        match left {
            Err(skipped) => {
                let piece = skipped.min(data.len());
                data.advance(piece);
                self.left = (piece < skipped).then_some(Err(skipped - piece));
                if self.left.is_some() || data.is_empty() { Ok(None) } else { self.parse(data) }
            }
            // The whole message lies in this frame. A short one is copied, because a slice keeps the frame.
            Ok(size) if self.buffer.is_empty() && data.len() >= size => {
                self.left = None;
                let message = data.split_to(size);
                Ok(Some(if size < COPIED { Bytes::copy_from_slice(&message) } else { message }))
            }
            Ok(missing) => {
                // The length is the other end's word: room grows with the bytes that arrive.
                let piece = data.split_to(missing.min(data.len()));
                let missing = missing - piece.len();
                self.buffer.put(piece);
                self.left = Some(Ok(missing));
                Ok((missing == 0).then(|| {
                    self.left = None;
                    core::mem::take(&mut self.buffer).freeze()
                }))
            }
        }
    }
}

/// Bytes of a frame that is on its way to the connection.
struct Piece {
    bytes: Bytes,
    /// Closes with the last piece that the connection has taken.
    _taken: mpsc::Sender<Infallible>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

/// The sending half of a lane.
struct Output {
    stream: SendStream<Piece>,
    taken: mpsc::Sender<Infallible>,
}

/// The other end reads no more, or the channel has ended.
struct Gone;

impl Output {
    /// Passes bytes to the connection as far as the window goes, so that a reset finds nothing that waits behind it.
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            self.stream.reserve_capacity(bytes.len());
            while self.stream.capacity() == 0 {
                match poll_fn(|cx| self.stream.poll_capacity(cx)).await {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(Gone),
                }
            }
            let bytes = bytes.split_to(self.stream.capacity().min(bytes.len()));
            self.pass(bytes, false)?;
        }
        Ok(())
    }

    fn pass(&mut self, bytes: Bytes, last: bool) -> Result<(), Gone> {
        let piece = Piece { bytes, _taken: self.taken.clone() };
        self.stream.send_data(piece, last).map_err(|_| Gone)
    }

    fn end(&mut self, server: bool) -> Result<(), Gone> {
        if server {
            let trailers = HeaderMap::from_iter([(HeaderName::from_static(STATUS), HeaderValue::from_static("0"))]);
            self.stream.send_trailers(trailers).map_err(|_| Gone)
        } else {
            self.pass(Bytes::new(), true)
        }
    }
}

/// Sends the messages of a lane, then its end.
async fn send(
    stream: SendStream<Piece>,
    outgoing: mpsc::Receiver<Bytes>,
    inbox: mpsc::UnboundedSender<Item>,
    max: usize,
    server: bool,
) {
    let (taken, mut all_taken) = mpsc::channel(1);
    let mut output = Output { stream, taken };
    let abandoned = async {
        inbox.closed().await;
        sleep(DRAIN).await;
    };
    let sending = async {
        send_all(&mut output, outgoing, &inbox, max).await?;
        output.end(server)?;
        // HTTP/2 forgets what the connection has not taken when both halves of a stream are gone.
        output.taken = mpsc::channel(1).0;
        all_taken.recv().await;
        Ok::<_, Gone>(())
    };
    // The end of a channel is for the reader.
    tokio::select! {
        _ = sending => {}
        () = abandoned => output.stream.send_reset(Reason::CANCEL),
    }
}

async fn send_all(
    output: &mut Output,
    mut outgoing: mpsc::Receiver<Bytes>,
    inbox: &mpsc::UnboundedSender<Item>,
    max: usize,
) -> Result<(), Gone> {
    let mut abandoned = false;
    let mut frame = BytesMut::new();
    loop {
        let first = tokio::select! {
            message = outgoing.recv() => message,
            _ = poll_fn(|cx| output.stream.poll_reset(cx)) => return Err(Gone),
            () = inbox.closed(), if !abandoned => {
                // The messages that are in there still leave.
                abandoned = true;
                outgoing.close();
                continue;
            }
        };
        let Some(first) = first else { return Ok(()) };
        let mut next = Some(first);
        while let Some(message) = next.take() {
            let size = message.len();
            match u32::try_from(size) {
                Ok(length) if size <= max => {
                    frame.put_u8(0);
                    frame.put_u32(length);
                }
                _ => drop(inbox.send(Item::Message(Err(CarrierError::TooLarge { size, max }), 0))),
            }
            if size > max {
                next = outgoing.try_recv().ok();
            } else if size > COPIED {
                output.write(frame.split().freeze()).await?;
                output.write(message).await?;
            } else {
                frame.put(message);
                if frame.len() < COPIED {
                    next = outgoing.try_recv().ok();
                }
            }
        }
        output.write(frame.split().freeze()).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(messages: &[&[u8]]) -> Vec<u8> {
        let prefix = |message: &[u8]| [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes()].concat();
        messages.iter().flat_map(|message| [prefix(message), message.to_vec()].concat()).collect()
    }

    fn parse_all(parser: &mut Parser, mut data: Bytes) -> Vec<Result<Bytes, Malformed>> {
        core::iter::from_fn(|| parser.parse(&mut data).transpose()).collect()
    }

    #[test]
    fn frames_may_end_anywhere() {
        let (long, too_long) = (vec![3; 90], vec![4; 101]);
        let sent = framed(&[b"", b"one", &long, &too_long, b"", b"last"]);
        let expected = [
            Ok(Bytes::new()),
            Ok(Bytes::from("one")),
            Ok(Bytes::from(long)),
            Err(Malformed::TooLarge(101)),
            Ok(Bytes::new()),
            Ok(Bytes::from("last")),
        ];
        for length in 1..=sent.len() {
            let mut parser = Parser { buffer: BytesMut::new(), left: None, max: 100 };
            let frames = sent.chunks(length).map(Bytes::copy_from_slice);
            let parsed = frames.flat_map(|frame| parse_all(&mut parser, frame)).collect::<Vec<_>>();
            assert_eq!(parsed, expected, "frames of {length} bytes");
            assert!(parser.is_idle());
        }
    }

    #[test]
    fn a_length_alone_takes_no_memory() {
        let mut parser = Parser { buffer: BytesMut::new(), left: None, max: usize::MAX };
        assert!(parse_all(&mut parser, Bytes::from_static(&[0, 255, 255, 255, 255, 1])).is_empty());
        assert!(parser.buffer.capacity() < 1 << 10);
        assert!(!parser.is_idle());
    }

    #[test]
    fn a_compressed_message_is_refused() {
        let mut parser = Parser { buffer: BytesMut::new(), left: None, max: 100 };
        let parsed = parser.parse(&mut Bytes::from_static(&[1, 0, 0, 0, 1, 7]));
        assert_eq!(parsed, Err(Malformed::Compressed));
    }
}
