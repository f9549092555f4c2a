//! Tests of each end with a peer that lies, floods, is mute or reads nothing.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use core::future::pending;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tachyon::{AsyncCaller, CallError, Dispatcher, ErrorKind, Options, RpcServer};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::batches::{message, single};
use crate::carrier::{Carrier, CarrierError, Channel, Incoming, Lane};
use crate::grpc::{self, GrpcCarrier, GrpcTarget, Limits};
use crate::memory::{MemoryCarrier, memory};
use crate::near::LinkError;
use crate::wire::{Body, Describe, Failure, Frame, Frames, Hello, Metadata, PROTOCOL, Request};
use crate::{AllowAll, FarEnd, FarOptions, NearEnd, NearOptions};

const PATIENCE: Duration = Duration::from_secs(30);
/// Returns the request.
const ECHO: u32 = 1;
/// Never returns.
const HANG: u32 = 2;
/// Takes a stream, and none of its items.
const IGNORE: u32 = 3;

/// Calls and streams of the callee: those that began, and those that run.
#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    running: AtomicUsize,
}

struct Running(Arc<Counts>);

impl Running {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.begun.fetch_add(1, Ordering::SeqCst);
        counts.running.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(counts))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Callee {
    _folder: TempDir,
    path: PathBuf,
    counts: Arc<Counts>,
}

impl Callee {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, counts) = (folder.path().join("back.sock"), Arc::<Counts>::default());
        let mut dispatcher = Dispatcher::default();
        let [echo, hang, ignore] = [(); 3].map(|()| Arc::clone(&counts));
        dispatcher
            .register_async(1, "echo", move |request| {
                let running = Running::new(&echo);
                async move {
                    drop(running);
                    request
                }
            })
            .unwrap()
            .register_async(2, "hang", move |_| {
                let running = Running::new(&hang);
                async move {
                    let _running = running;
                    pending::<Vec<u8>>().await
                }
            })
            .unwrap()
            .register_async_client_stream(3, "ignore", move |_, items: tachyon::Items<Vec<u8>>| {
                let running = Running::new(&ignore);
                async move {
                    let _running = (running, items);
                    pending::<Result<Vec<u8>, tachyon::ItemError>>().await
                }
            })
            .unwrap();
        let mut server = RpcServer::listen(&path).unwrap();
        tokio::spawn(async move { dispatcher.serve_async(&mut server).await });
        Self { _folder: folder, path, counts }
    }

    fn far_end(&self, incoming: mpsc::Receiver<Incoming>, in_flight: usize) {
        let options = FarOptions { in_flight, ..FarOptions::default() };
        tokio::spawn(FarEnd::new(&self.path, options).serve(incoming, AllowAll, pending()));
    }

    fn running(&self) -> usize {
        self.counts.running.load(Ordering::SeqCst)
    }

    fn begun(&self) -> usize {
        self.counts.begun.load(Ordering::SeqCst)
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "{what}");
}

async fn over_grpc() -> (GrpcCarrier, mpsc::Receiver<Incoming>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, incoming) = mpsc::channel(16);
    tokio::spawn(grpc::serve(listener, None, Limits::default(), sender, pending::<()>()));
    (GrpcCarrier::new(GrpcTarget { address, tls: None, limits: Limits::default() }), incoming)
}

fn request(msg_type: u32, payload: &[u8]) -> Request {
    Request { msg_type, payload: Bytes::copy_from_slice(payload), ..Request::default() }
}

/// A near end that writes its own messages.
struct Peer<C> {
    channel: C,
    lane: Lane,
    arrived: Frames,
}

impl<C: Channel> Peer<C> {
    async fn connect(carrier: &impl Carrier<Channel = C>) -> Self {
        let channel = carrier.connect().await.unwrap();
        let lane = channel.open().await.unwrap();
        Self { channel, lane, arrived: Frames::default() }
    }

    /// Connects, and says hello.
    async fn greet(carrier: &impl Carrier<Channel = C>) -> (Self, Hello) {
        let mut peer = Self::connect(carrier).await;
        peer.send(single(Body::Hello(Hello { protocol: PROTOCOL, ..Hello::default() }))).await;
        let Some((0, Body::Hello(hello))) = peer.next().await else { panic!("no hello") };
        (peer, hello)
    }

    async fn send(&self, message: Bytes) {
        timeout(PATIENCE, self.lane.sender.send(message)).await.unwrap().unwrap();
    }

    async fn call(&self, call: u64, request: Request) {
        self.send(message(vec![Frame::new(call, Body::Request(request))])).await;
    }

    /// The next frame that tells no version. `None` at the end of the lane.
    async fn next(&mut self) -> Option<(u64, Body)> {
        loop {
            if let Some(frame) = self.arrived.next() {
                match frame.unwrap() {
                    Frame { body: Some(Body::Version(_)), .. } => continue,
                    Frame { call, body } => return Some((call, body.unwrap())),
                }
            }
            self.arrived = Frames::of(timeout(PATIENCE, self.lane.receiver.next()).await.unwrap()?.ok()?);
        }
    }

    async fn failure(&mut self, call: u64) -> ErrorKind {
        match self.next().await {
            Some((number, Body::Failure(failure))) if number == call => {
                ErrorKind::from_number(u16::try_from(failure.kind).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    async fn echoes(&mut self, call: u64) {
        self.call(call, request(ECHO, b"next")).await;
        assert_eq!(self.next().await, Some((call, Body::Reply(Bytes::from_static(b"next")))));
    }
}

#[tokio::test]
async fn requests_that_cannot_be_made_are_refused_each() {
    let ((carrier, incoming), callee) = (memory(None), Callee::start());
    callee.far_end(incoming, 8);
    let (mut peer, hello) = Peer::greet(&carrier).await;
    assert_eq!(hello.in_flight, 8);
    let metadata = |key: &str, value: &str| {
        let entries = [(key.to_owned(), value.to_owned())].into();
        Request { metadata: Metadata { entries }.encode_to_vec().into(), ..request(ECHO, b"") }
    };
    let garbage = Request { metadata: Bytes::from_static(&[0x0a, 0xff]), ..request(ECHO, b"") };
    let late = Request { remaining: Some(0), ..request(HANG, b"") };
    let other = Request { version: 1, ..request(ECHO, b"") };
    let cases = [
        (request(u32::from(u16::MAX), b""), ErrorKind::BadRequest),
        (request(1 << 16, b""), ErrorKind::BadRequest),
        (request(99, b""), ErrorKind::NoHandler),
        (metadata("Upper", ""), ErrorKind::BadRequest),
        (metadata("key", &"v".repeat(1 << 16)), ErrorKind::BadRequest),
        (garbage, ErrorKind::BadRequest),
        (late, ErrorKind::DeadlinePassed),
        (other, ErrorKind::Unreachable),
    ];
    for (call, (request, kind)) in cases.into_iter().enumerate() {
        let call = call as u64;
        peer.call(call, request).await;
        assert_eq!(peer.failure(call).await, kind, "case {call}");
    }
    peer.send(message(vec![Frame::new(50, Body::Describe(Describe { msg_type: 1 << 16, version: 0 }))])).await;
    assert_eq!(peer.failure(50).await, ErrorKind::BadRequest);
    // Frames that say nothing to a far end, and a time without end.
    let odd =
        [Body::Cancel(true), Body::Reply(Bytes::new()), Body::End(true), Body::Version(9), Body::Item(Bytes::new())];
    peer.send(message(odd.into_iter().map(|body| Frame::new(60, body)).collect())).await;
    peer.call(61, Request { remaining: Some(u64::MAX), ..request(ECHO, b"next") }).await;
    assert_eq!(peer.next().await, Some((61, Body::Reply(Bytes::from_static(b"next")))));
    // The shortest frames are many, and take no memory of their own.
    peer.send(Bytes::from([0x0a, 0].repeat(1 << 19))).await;
    peer.echoes(62).await;
}

#[tokio::test]
async fn a_near_end_that_uses_up_its_calls_keeps_no_other_one_waiting() {
    let ((sender, incoming), callee) = (mpsc::channel(16), Callee::start());
    callee.far_end(incoming, 4096);
    let [greedy, polite] = ["greedy", "polite"].map(|name| {
        let carrier = memory(Some(name)).0;
        carrier.replace_far(Some(sender.clone()));
        carrier
    });
    let (greedy, _) = Peer::greet(&greedy).await;
    // More than the callee begins for one caller.
    for call in 0..300 {
        greedy.call(call, request(HANG, b"")).await;
    }
    until("the callee holds the rest", || callee.running() >= 256).await;
    let (mut polite, _) = Peer::greet(&polite).await;
    polite.echoes(1).await;
    drop(greedy);
    until("all are cancelled", || callee.running() == 0).await;
}

#[tokio::test]
async fn a_near_end_of_another_protocol_loses_its_lane_alone() {
    let ((carrier, incoming), callee) = (memory(None), Callee::start());
    callee.far_end(incoming, 8);
    let (mut other, _) = Peer::greet(&carrier).await;
    for first in [&b""[..], b"garbage", &[0x0a, 0xff], &single(Body::End(true))] {
        let mut peer = Peer::connect(&carrier).await;
        peer.send(Bytes::copy_from_slice(first)).await;
        assert_eq!(peer.next().await, None);
    }
    let mut newer = Peer::connect(&carrier).await;
    newer.send(single(Body::Hello(Hello { protocol: PROTOCOL + 1, ..Hello::default() }))).await;
    assert!(matches!(newer.next().await, Some((0, Body::Hello(hello))) if hello.protocol == PROTOCOL));
    assert_eq!(newer.next().await, None);
    let (mut later, _) = Peer::greet(&carrier).await;
    later.call(1, request(HANG, b"")).await;
    until("the call runs", || callee.running() == 1).await;
    later.send(Bytes::from_static(b"garbage")).await;
    assert_eq!(later.next().await, None);
    until("the call is cancelled", || callee.running() == 0).await;
    let part = |call, bytes: &'static [u8]| Frame::new(call, Body::Part(Bytes::from_static(bytes)));
    let long = vec![Frame::new(1, Body::Part(vec![0; 600_000].into()))];
    let many = (0..1000).map(|call| part(call, b"part")).collect();
    let garbage = vec![Frame::new(1, Body::LastPart(Bytes::from_static(b"garbage")))];
    let first = Frame::new(1, Body::Request(request(HANG, b"")));
    let others = vec![first.clone(), Frame::new(2, Body::LastPart(first.encode_to_vec().into()))];
    let again = vec![first.clone(), Frame::new(1, Body::LastPart(first.encode_to_vec().into()))];
    for bad in [vec![long.clone(), long], vec![many], vec![garbage], vec![others], vec![again]] {
        let (mut peer, _) = Peer::greet(&carrier).await;
        for frames in bad {
            peer.send(message(frames)).await;
        }
        assert_eq!(peer.next().await, None);
        until("its calls are cancelled", || callee.running() == 0).await;
    }
    // Parts of calls that are given up, and one whose parts arrive a byte at a time.
    let (mut parted, _) = Peer::greet(&carrier).await;
    for call in 0..100 {
        parted.send(message(vec![part(call, b"part"), Frame::new(call, Body::Cancel(true))])).await;
    }
    let whole = Frame::new(200, Body::Request(request(ECHO, b"next"))).encode_to_vec();
    let (last, bytes) = whole.split_last().unwrap();
    let bytes = bytes.iter().map(|&byte| Frame::new(200, Body::Part(vec![byte].into())));
    parted.send(message(bytes.collect())).await;
    parted.send(message(vec![Frame::new(200, Body::LastPart(vec![*last].into()))])).await;
    assert_eq!(parted.next().await, Some((200, Body::Reply(Bytes::from_static(b"next")))));
    let (mut twice, _) = Peer::greet(&carrier).await;
    twice.send(message(vec![Frame::new(1, Body::Request(request(HANG, b""))); 2])).await;
    assert_eq!(twice.next().await, None);
    until("both calls are cancelled", || callee.running() == 0).await;
    other.echoes(1).await;
}

#[tokio::test]
async fn a_near_end_that_reads_nothing_has_a_bounded_number_of_calls() {
    let ((carrier, incoming), callee) = (memory(None), Callee::start());
    callee.far_end(incoming, 4);
    let (flood, _) = Peer::greet(&carrier).await;
    let sender = flood.lane.sender.clone();
    let flooding = tokio::spawn(async move {
        for call in 0..10_000 {
            let frames = vec![Frame::new(call, Body::Request(request(ECHO, b"")))];
            if sender.send(message(frames)).await.is_err() {
                return;
            }
        }
    });
    until("the flood begins", || callee.begun() > 4).await;
    sleep(Duration::from_millis(300)).await;
    let before = callee.begun();
    sleep(Duration::from_millis(300)).await;
    assert!(!flooding.is_finished() && callee.begun() == before && before < 200, "{before} calls");
    let (mut other, _) = Peer::greet(&carrier).await;
    other.echoes(1).await;
    drop(flood);
    timeout(PATIENCE, flooding).await.unwrap().unwrap();
}

#[tokio::test]
async fn calls_of_a_near_end_that_is_gone_are_cancelled_even_in_a_flood() {
    let (memory, grpc, callee) = (memory(None), over_grpc().await, Callee::start());
    callee.far_end(memory.1, 4);
    callee.far_end(grpc.1, 4);
    gone(&memory.0, &callee).await;
    gone(&grpc.0, &callee).await;
}

async fn gone(carrier: &impl Carrier, callee: &Callee) {
    let (peer, _) = Peer::greet(carrier).await;
    // More than the far end takes, so it does not read the lane.
    peer.send(message((0..8).map(|call| Frame::new(call, Body::Request(request(HANG, b"")))).collect())).await;
    until("as many run as may", || callee.running() == 4).await;
    drop(peer);
    until("all are cancelled", || callee.running() == 0).await;
}

#[tokio::test]
async fn a_stream_is_given_up_while_its_callee_takes_no_item() {
    let (memory, grpc, callee) = (memory(None), over_grpc().await, Callee::start());
    callee.far_end(memory.1, 4);
    callee.far_end(grpc.1, 4);
    give_up(&memory.0, &callee).await;
    give_up(&grpc.0, &callee).await;
}

async fn give_up(carrier: &impl Carrier, callee: &Callee) {
    let peer = Peer::connect(carrier).await;
    peer.send(single(Body::Request(request(IGNORE, b"")))).await;
    until("the stream runs", || callee.running() == 1).await;
    let item = single(Body::Item(Bytes::from(vec![1; 1 << 12])));
    while timeout(Duration::from_millis(200), peer.lane.sender.send(item.clone())).await.is_ok() {}
    assert_eq!(callee.running(), 1);
    let Peer { lane, channel, .. } = peer;
    drop(lane);
    until("the stream is cancelled", || callee.running() == 0).await;
    drop(channel);
}

/// A near end whose far end is the test.
struct Near {
    _folder: TempDir,
    path: PathBuf,
    incoming: mpsc::Receiver<Incoming>,
    carrier: MemoryCarrier,
}

impl Near {
    fn start() -> Self {
        let (carrier, incoming) = memory(None);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("front.sock");
        let options = NearOptions {
            connect_timeout: Duration::from_millis(300),
            longest_pause: Duration::from_millis(100),
            ..NearOptions::default()
        };
        tokio::spawn(NearEnd::new(carrier.clone(), &path, options).serve(pending()));
        Self { _folder: folder, path, incoming, carrier }
    }

    async fn caller(&self) -> AsyncCaller {
        AsyncCaller::connect_with(&self.path, &Options::new().timeout(PATIENCE)).await.unwrap()
    }

    async fn lane(&mut self) -> Lane {
        timeout(PATIENCE, self.incoming.recv()).await.unwrap().unwrap().lane
    }

    /// Takes a lane, and says hello.
    async fn greeted(&mut self, hello: Hello) -> Lane {
        let mut lane = self.lane().await;
        let first = frames(&mut lane).await;
        assert!(matches!(first[0].body, Some(Body::Hello(_))));
        lane.sender.send(single(Body::Hello(hello))).await.unwrap();
        lane
    }
}

async fn frames(lane: &mut Lane) -> Vec<Frame> {
    let message = timeout(PATIENCE, lane.receiver.next()).await.unwrap().unwrap().unwrap();
    Frames::of(message).map(Result::unwrap).collect()
}

fn hello(in_flight: u32) -> Hello {
    Hello { protocol: PROTOCOL, version: 0, max_message: 0, in_flight }
}

async fn error(caller: &AsyncCaller) -> CallError {
    caller.call(1, b"").await.unwrap_err()
}

#[tokio::test]
async fn a_far_end_without_a_proper_hello_is_unreachable() {
    let mut near = Near::start();
    let caller = near.caller().await;
    let newer = Hello { protocol: PROTOCOL + 1, ..hello(1) };
    let firsts = [None, Some(single(Body::Hello(newer))), Some("garbage".into()), Some(single(Body::End(true)))];
    let texts = ["within", "version 2", "another protocol", "another protocol"];
    for (first, text) in firsts.into_iter().zip(texts) {
        let lane = near.lane().await;
        if let Some(first) = first {
            lane.sender.send(first).await.unwrap();
        }
        loop {
            let error = error(&caller).await;
            assert!(!error.sent(), "{error}");
            if error.to_string().contains(text) {
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
    near.carrier.replace_far(None);
}

#[tokio::test]
async fn replies_to_no_call_are_left_out_and_garbage_ends_the_session() {
    let mut near = Near::start();
    let mut lane = near.greeted(hello(8)).await;
    let caller = near.caller().await;
    for last in [None, Some("garbage")] {
        let other = caller.clone();
        let calling = tokio::spawn(async move { other.call(1, b"").await });
        let asked = frames(&mut lane).await[0].call;
        let odd =
            [Body::Reply("odd".into()), Body::End(true), Body::Hello(hello(1)), Body::Failure(Failure::default())];
        lane.sender.send(message(odd.into_iter().map(|body| Frame::new(asked + 7, body)).collect())).await.unwrap();
        if let Some(last) = last {
            lane.sender.send(last.into()).await.unwrap();
            let error = calling.await.unwrap().unwrap_err();
            assert!(matches!(&error, CallError::Remote(error) if error.kind == ErrorKind::Unavailable), "{error}");
        } else {
            let reply = vec![Frame::new(asked, Body::Reply("reply".into())); 2];
            lane.sender.send(message(reply)).await.unwrap();
            assert_eq!(calling.await.unwrap().unwrap(), b"reply");
        }
    }
    // Parts of replies to no call are taken; more than the rules permit end the next session.
    let mut lane = near.greeted(hello(8)).await;
    let other = caller.clone();
    let calling = tokio::spawn(async move { other.call(1, b"").await });
    let asked = frames(&mut lane).await[0].call;
    let part = |call| Frame::new(call, Body::Part(Bytes::from_static(b"part")));
    let end = Frame::new(asked + 7, Body::End(true)).encode_to_vec();
    let odd = vec![Frame::new(asked + 7, Body::LastPart(end.into())), part(asked + 7), part(asked + 8)];
    lane.sender.send(message(odd)).await.unwrap();
    let whole = Frame::new(asked, Body::Reply("reply".into())).encode_to_vec();
    lane.sender.send(message(vec![Frame::new(asked, Body::LastPart(whole.into()))])).await.unwrap();
    assert_eq!(calling.await.unwrap().unwrap(), b"reply");
    let other = caller.clone();
    let calling = tokio::spawn(async move { other.call(1, b"").await });
    drop(frames(&mut lane).await);
    lane.sender.send(message((0..9).map(part).collect())).await.unwrap();
    let error = calling.await.unwrap().unwrap_err();
    assert!(error.sent() && error.to_string().contains("too many long messages"), "{error}");
    // A session with the next lane follows.
    let mut lane = near.greeted(hello(8)).await;
    let calling = tokio::spawn(async move { caller.call(1, b"").await });
    let asked = frames(&mut lane).await[0].call;
    // The lane ends in one direction.
    let Lane { sender, receiver, .. } = lane;
    drop(receiver);
    let error = calling.await.unwrap().unwrap_err();
    assert!(error.sent() && asked == 1, "{error}");
    drop(sender);
}

#[tokio::test]
async fn a_call_that_was_reported_as_not_sent_is_never_sent() {
    let mut near = Near::start();
    let mut lane = near.greeted(hello(1000)).await;
    let mut calls = JoinSet::new();
    // Each call has a batch of its own, so the lane gets full.
    for number in 0..60u8 {
        let caller = near.caller().await;
        calls.spawn(async move { (number, caller.call(1, &vec![number; 40_000]).await.unwrap_err()) });
    }
    sleep(Duration::from_millis(300)).await;
    lane.sender.send("garbage".into()).await.unwrap();
    // The session ends between the frames that the far end reads.
    let mut arrived = HashSet::new();
    while let Some(Ok(message)) = timeout(PATIENCE, lane.receiver.next()).await.unwrap() {
        for frame in Frames::of(message) {
            if let Some(Body::Request(request)) = frame.unwrap().body {
                arrived.insert(request.payload[0]);
            }
        }
    }
    let mut not_sent = 0;
    while let Some(ended) = calls.join_next().await {
        let (number, error) = ended.unwrap();
        not_sent += u32::from(!error.sent());
        assert!(error.sent() || !arrived.contains(&number), "call {number}: {error}");
    }
    assert!(not_sent > 0 && !arrived.is_empty(), "{not_sent} calls not sent, {} arrived", arrived.len());
}

#[tokio::test]
async fn calls_wait_for_a_place_at_the_far_end_and_their_cancels_travel() {
    let mut near = Near::start();
    let mut lane = near.greeted(hello(2)).await;
    let caller = near.caller().await;
    let mut calls = JoinSet::new();
    for _ in 0..5 {
        let caller = caller.clone();
        calls.spawn(async move { caller.call(1, b"").await });
    }
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(frames(&mut lane).await);
    }
    assert!(timeout(Duration::from_millis(200), lane.receiver.next()).await.is_err());
    lane.sender.send(message(vec![Frame::new(seen[0].call, Body::Reply(Bytes::new()))])).await.unwrap();
    assert!(matches!(frames(&mut lane).await[..], [Frame { call: 3, body: Some(Body::Request(_)) }]));
    calls.shutdown().await;
    let mut cancelled = HashSet::new();
    while cancelled.len() < 2 {
        for frame in frames(&mut lane).await {
            if matches!(frame.body, Some(Body::Cancel(_))) {
                assert!(cancelled.insert(frame.call));
            }
        }
    }
    assert_eq!(cancelled, [seen[1].call, 3].into());
}

/// A carrier that counts the messages of the far end, and brings none while its gate is shut.
#[derive(Clone)]
struct Counting {
    carrier: MemoryCarrier,
    messages: Arc<AtomicUsize>,
    is_open: watch::Receiver<bool>,
}

struct CountingChannel(<MemoryCarrier as Carrier>::Channel, Counting);

impl Carrier for Counting {
    type Channel = CountingChannel;

    async fn connect(&self) -> Result<CountingChannel, CarrierError> {
        Ok(CountingChannel(self.carrier.connect().await?, self.clone()))
    }
}

impl Channel for CountingChannel {
    async fn open(&self) -> Result<Lane, CarrierError> {
        let Lane { sender, mut receiver, max_message } = self.0.open().await?;
        let Counting { messages, mut is_open, .. } = self.1.clone();
        let (counted, counting) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(place) = counted.reserve().await
                && is_open.wait_for(|is_open| *is_open).await.is_ok()
                && let Some(message) = receiver.next().await
            {
                messages.fetch_add(1, Ordering::SeqCst);
                place.send(message);
            }
        });
        Ok(Lane { sender, receiver: Box::pin(ReceiverStream::new(counting)), max_message })
    }
}

#[test]
fn calls_that_wait_together_travel_together_and_no_task_is_left() {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let ((carrier, incoming), callee, messages) = (memory(None), Callee::start(), Arc::<AtomicUsize>::default());
        let before = Handle::current().metrics().num_alive_tasks();
        let path = callee.path.with_file_name("front.sock");
        let (gate, is_open) = watch::channel(true);
        let carrier = Counting { carrier, messages: Arc::clone(&messages), is_open };
        let near = NearEnd::new(carrier, &path, NearOptions::default());
        let near = tokio::spawn(near.serve(pending()));
        let far = tokio::spawn(FarEnd::new(&callee.path, FarOptions::default()).serve(incoming, AllowAll, pending()));
        let caller = AsyncCaller::connect_with(&path, &Options::new().timeout(PATIENCE)).await.unwrap();
        while caller.call(1, b"").await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        // A near end more at the same path is refused.
        let other = NearEnd::new(memory(None).0, &path, NearOptions::default()).serve(pending()).await;
        assert!(matches!(other, Err(LinkError::Listen(_))), "{other:?}");
        gate.send_replace(false);
        let (first, begun) = (messages.load(Ordering::SeqCst), callee.begun());
        let mut calls = JoinSet::new();
        for _ in 0..200 {
            let caller = caller.clone();
            calls.spawn(async move { drop(caller.call(1, b"").await.unwrap()) });
        }
        until("the replies wait", || callee.begun() == begun + 200).await;
        sleep(Duration::from_millis(200)).await;
        gate.send_replace(true);
        calls.join_all().await;
        let messages = messages.load(Ordering::SeqCst) - first;
        // Messages that were under way, and those that waited.
        assert!(messages < 60, "{messages} messages for 200 replies");
        for _ in 0..3 {
            let caller = caller.clone();
            tokio::spawn(async move { caller.call(2, b"").await });
        }
        until("the calls run", || callee.running() == 3).await;
        drop(caller);
        near.abort();
        far.abort();
        until("the calls are cancelled", || callee.running() == 0).await;
        until("no task is left", || Handle::current().metrics().num_alive_tasks() <= before).await;
    });
}
