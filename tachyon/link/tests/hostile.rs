//! Near ends of another make, and many of them: the far end of the network's carrier goes on for the others.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use tachyon_link::carrier::{Carrier, CarrierError, Channel, Incoming, Lane};
use tachyon_link::grpc::{self, GrpcCarrier, GrpcTarget, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;

const METHOD: &str = "/tachyon.link.v1.Link/Lane";
const PATIENCE: Duration = Duration::from_secs(30);
const MAX: usize = 1 << 20;

struct Far {
    address: String,
    incoming: mpsc::Receiver<Incoming>,
}

impl Far {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, incoming) = mpsc::channel(256);
        let limits = Limits { max_message: MAX, connect: Duration::from_millis(500), ..Limits::default() };
        tokio::spawn(grpc::serve(listener, None, limits, sender, std::future::pending::<()>()));
        Self { address, incoming }
    }

    fn carrier(&self) -> GrpcCarrier {
        let limits = Limits::default();
        GrpcCarrier::new(GrpcTarget { address: self.address.clone(), tls: None, limits })
    }

    async fn lane(&mut self) -> Lane {
        timeout(PATIENCE, self.incoming.recv()).await.unwrap().unwrap().lane
    }

    /// A near end in good order is served, perhaps behind lanes of others.
    async fn serves(&mut self) {
        let channel = self.carrier().connect().await.unwrap();
        let near = channel.open().await.unwrap();
        near.sender.send("ask".into()).await.unwrap();
        loop {
            let received = timeout(PATIENCE, self.lane().await.receiver.next()).await.unwrap();
            if received.is_some_and(|message| message.is_ok_and(|message| message == "ask")) {
                return;
            }
        }
    }
}

/// A client of HTTP/2 that is no near end.
async fn client(far: &Far) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(&far.address).await.unwrap();
    let (requests, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    requests.ready().await.unwrap()
}

fn request(path: &str, content_type: &str) -> Request<()> {
    let uri = format!("http://far{path}");
    Request::post(uri).header("content-type", content_type).body(()).unwrap()
}

async fn call(requests: &mut SendRequest<Bytes>, request: Request<()>) -> (Response<RecvStream>, SendStream<Bytes>) {
    let (response, stream) = requests.send_request(request, false).unwrap();
    (timeout(PATIENCE, response).await.unwrap().unwrap(), stream)
}

/// A message with any prefix.
fn framed(compressed: u8, length: u32, message: &[u8]) -> Bytes {
    [&[compressed][..], &length.to_be_bytes(), message].concat().into()
}

async fn error(lane: &mut Lane) -> CarrierError {
    timeout(PATIENCE, lane.receiver.next()).await.unwrap().unwrap().unwrap_err()
}

#[tokio::test]
async fn a_call_of_another_method_is_refused() {
    let mut far = Far::new().await;
    let mut requests = client(&far).await;
    for request in [request("/other", "application/grpc"), request(METHOD, "text/html")] {
        let (response, _) = call(&mut requests, request).await;
        assert_eq!(response.headers()["grpc-status"], "12");
        assert!(response.headers()["grpc-message"].to_str().unwrap().contains(METHOD));
    }
    let (response, _stream) = call(&mut requests, request(METHOD, "application/grpc")).await;
    assert!(!response.headers().contains_key("grpc-status"));
    far.lane().await;
}

#[tokio::test]
async fn malformed_messages_end_their_lane_alone() {
    let mut far = Far::new().await;
    let mut requests = client(&far).await;
    let cases: [(Bytes, bool, &str); 4] = [
        (framed(1, 3, b"abc"), false, "compressed"),
        (framed(0, 3, b"ab"), true, "within a message"),
        (Bytes::from_static(&[0, 0]), true, "within a message"),
        (framed(0, u32::MAX, b"ab"), true, "4294967295 bytes is longer"),
    ];
    for (bytes, last, text) in cases {
        let (_response, mut stream) = call(&mut requests, request(METHOD, "application/grpc")).await;
        let mut lane = far.lane().await;
        stream.send_data(framed(0, 2, b"ok"), false).unwrap();
        stream.send_data(bytes, last).unwrap();
        assert_eq!(lane.receiver.next().await.unwrap().unwrap(), "ok");
        let error = error(&mut lane).await.to_string();
        assert!(error.contains(text), "{error}");
    }
    let (_response, mut stream) = call(&mut requests, request(METHOD, "application/grpc")).await;
    let mut lane = far.lane().await;
    stream.send_reset(Reason::INTERNAL_ERROR);
    assert!(error(&mut lane).await.to_string().contains("gave the lane up"));
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_left_out_and_the_lane_goes_on() {
    let mut far = Far::new().await;
    let mut requests = client(&far).await;
    let (_response, mut stream) = call(&mut requests, request(METHOD, "application/grpc")).await;
    let mut lane = far.lane().await;
    let long = vec![1; MAX + 1];
    let mut bytes = framed(0, u32::try_from(long.len()).unwrap(), &long).to_vec();
    bytes.extend_from_slice(&framed(0, 5, b"after"));
    stream.send_data(bytes.into(), false).unwrap();
    let error = error(&mut lane).await;
    assert!(matches!(error, CarrierError::TooLarge { size, max: MAX } if size == MAX + 1), "{error}");
    assert_eq!(timeout(PATIENCE, lane.receiver.next()).await.unwrap().unwrap().unwrap(), "after");
}

#[tokio::test]
async fn a_flood_of_lanes_harms_no_other_near_end() {
    let mut far = Far::new().await;
    let mut requests = client(&far).await;
    for _ in 0..5000 {
        // The far end ends the connection at some point.
        let Ok((_, mut stream)) = requests.send_request(request(METHOD, "application/grpc"), false) else { break };
        stream.send_reset(Reason::CANCEL);
        if std::future::poll_fn(|cx| requests.poll_ready(cx)).await.is_err() {
            break;
        }
    }
    far.serves().await;
}

#[tokio::test]
async fn bytes_of_another_protocol_end_their_connection() {
    let mut far = Far::new().await;
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 3, 1, 2, 0, 1], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff", b"PRI"]
    {
        let mut socket = TcpStream::connect(&far.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        // The far end closes the connection, with words of HTTP/2 or without, or by a reset.
        drop(timeout(PATIENCE, socket.read_to_end(&mut Vec::new())).await.unwrap());
        far.serves().await;
    }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn near_ends_come_and_go_without_a_leak() {
    let mut far = Far::new().await;
    far.serves().await;
    let before = descriptors();
    for number in 0..1000 {
        let channel = far.carrier().connect().await.unwrap();
        if number % 2 == 0 {
            let near = channel.open().await.unwrap();
            near.sender.send("message".into()).await.unwrap();
            let mut lane = far.lane().await;
            drop((channel, near));
            // The message may be lost with the channel, and the end of the lane is not.
            let ended = async { while let Some(Ok(_)) = lane.receiver.next().await {} };
            timeout(PATIENCE, ended).await.unwrap();
        }
    }
    let given_back = async {
        while descriptors() > before + 2 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, given_back).await.unwrap();
}
