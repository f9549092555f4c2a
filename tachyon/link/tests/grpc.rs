//! The carrier of a network: its lanes, its limits, and the ends of a channel.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::Duration;

use bytes::Bytes;
use tachyon_link::carrier::{Carrier, CarrierError, Channel, Incoming, Lane};
use tachyon_link::grpc::{self, GrpcCarrier, GrpcChannel, GrpcTarget, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt;

/// Longer than a window.
const LONG: usize = 3 << 20;
/// Far longer than any step of a test takes.
const PATIENCE: Duration = Duration::from_secs(30);

struct Far {
    address: String,
    incoming: mpsc::Receiver<Incoming>,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

async fn far(limits: Limits) -> Far {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let ((sender, incoming), (stop, stopped)) = (mpsc::channel(16), oneshot::channel());
    let serving = tokio::spawn(grpc::serve(listener, None, limits, sender, stopped));
    Far { address, incoming, stop, serving }
}

fn carrier(address: &str, limits: Limits) -> GrpcCarrier {
    GrpcCarrier::new(GrpcTarget { address: address.to_owned(), tls: None, limits })
}

async fn connect(far: &Far) -> GrpcChannel {
    carrier(&far.address, Limits::default()).connect().await.unwrap()
}

async fn open(far: &mut Far, channel: &GrpcChannel) -> (Lane, Lane) {
    let near = channel.open().await.unwrap();
    (near, far.incoming.recv().await.unwrap().lane)
}

async fn next(lane: &mut Lane) -> Option<Result<Bytes, CarrierError>> {
    timeout(PATIENCE, lane.receiver.next()).await.unwrap()
}

async fn message(lane: &mut Lane) -> Bytes {
    next(lane).await.unwrap().unwrap()
}

/// Sends until the lane takes no more, and returns the number of messages.
async fn fill(sender: &mpsc::Sender<Bytes>, message: &Bytes) -> usize {
    let mut sent = 0;
    while timeout(Duration::from_millis(300), sender.send(message.clone())).await.is_ok_and(|sent| sent.is_ok()) {
        sent += 1;
    }
    sent
}

#[tokio::test]
async fn messages_of_all_lengths_pass_in_both_directions() {
    let mut far_end = far(Limits::default()).await;
    let channel = connect(&far_end).await;
    let (mut near, mut far) = open(&mut far_end, &channel).await;
    let lengths = [0, 1, 5, 16 << 10, (16 << 10) + 1, 64 << 10, LONG, 2, 0];
    let messages = || lengths.iter().zip(1_u8..).map(|(length, byte)| Bytes::from(vec![byte; *length]));
    for forward in [true, false] {
        let (from, to) = if forward { (&mut near, &mut far) } else { (&mut far, &mut near) };
        let sender = from.sender.clone();
        let sending = async {
            for message in messages() {
                sender.send(message).await.unwrap();
            }
        };
        let reading = async {
            for sent in messages() {
                assert!(message(to).await == sent, "a message of {} bytes", sent.len());
            }
        };
        tokio::join!(sending, reading);
    }
}

#[tokio::test]
async fn a_dropped_sender_ends_its_direction_alone() {
    let mut far_end = far(Limits::default()).await;
    let channel = connect(&far_end).await;
    for near_first in [true, false] {
        let (near, far) = open(&mut far_end, &channel).await;
        let (first, mut second) = if near_first { (near, far) } else { (far, near) };
        let Lane { sender, mut receiver, .. } = first;
        for _ in 0..3 {
            sender.send("last".into()).await.unwrap();
        }
        drop(sender);
        for _ in 0..3 {
            assert_eq!(message(&mut second).await, "last");
        }
        assert!(next(&mut second).await.is_none());
        second.sender.send("still".into()).await.unwrap();
        assert_eq!(receiver.next().await.unwrap().unwrap(), "still");
        drop(second);
        assert!(receiver.next().await.is_none());
    }
}

#[tokio::test]
async fn a_dropped_lane_delivers_its_messages_and_stops_the_other_sender() {
    let mut far_end = far(Limits::default()).await;
    let channel = connect(&far_end).await;
    for near_first in [true, false] {
        let (near, far) = open(&mut far_end, &channel).await;
        let (first, mut second) = if near_first { (near, far) } else { (far, near) };
        for _ in 0..10 {
            first.sender.send(Bytes::from(vec![7; 30_000])).await.unwrap();
        }
        drop(first);
        timeout(PATIENCE, second.sender.closed()).await.unwrap();
        for _ in 0..10 {
            assert_eq!(message(&mut second).await.len(), 30_000);
        }
        assert!(next(&mut second).await.is_none());
    }
}

#[tokio::test]
async fn a_lane_that_is_dropped_while_its_messages_wait_is_reset() {
    let mut far_end = far(Limits::default()).await;
    let channel = connect(&far_end).await;
    for near_first in [true, false] {
        let (near, far) = open(&mut far_end, &channel).await;
        let (first, mut second) = if near_first { (near, far) } else { (far, near) };
        fill(&first.sender, &Bytes::from(vec![7; 100_000])).await;
        drop(first);
        // The other end reads nothing, and is told all the same.
        timeout(PATIENCE, second.sender.closed()).await.unwrap();
        let error = loop {
            match next(&mut second).await.unwrap() {
                Ok(message) => assert_eq!(message.len(), 100_000),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("gave the lane up"), "{error}");
    }
}

#[tokio::test]
async fn an_unread_lane_stops_its_sender_and_no_other_lane() {
    let mut far_end = far(Limits::default()).await;
    let channel = connect(&far_end).await;
    let (mut near, far) = open(&mut far_end, &channel).await;
    let mut unread = Vec::new();
    // Short messages weigh most: a frame has more overhead than bytes.
    for length in [8, 100, 5_000, 100_000].into_iter().cycle().take(20) {
        unread.push((open(&mut far_end, &channel).await, length, 0));
    }
    for ((_, far), length, sent) in &mut unread {
        *sent = fill(&far.sender, &Bytes::from(vec![9; *length])).await;
        assert!((10..3 << 20).contains(&(*sent * *length)), "{sent} messages of {length} bytes");
    }
    for _ in 0..20 {
        far.sender.send(Bytes::from(vec![1; 200_000])).await.unwrap();
        assert_eq!(message(&mut near).await.len(), 200_000);
    }
    // The messages wait, and none is lost.
    for ((mut near, far), length, sent) in unread {
        drop(far.sender);
        for _ in 0..sent {
            assert_eq!(message(&mut near).await.len(), length);
        }
        assert!(next(&mut near).await.is_none());
    }
}

#[tokio::test]
async fn as_many_unread_lanes_as_the_far_end_permits_stop_no_other_lane() {
    let mut far_end = far(Limits { lanes: 201, ..Limits::default() }).await;
    let channel = connect(&far_end).await;
    let (mut near, far) = open(&mut far_end, &channel).await;
    let (mut unread, mut filling) = (Vec::new(), JoinSet::new());
    for _ in 0..200 {
        let (near, far) = open(&mut far_end, &channel).await;
        unread.push(near);
        let Lane { sender, receiver, .. } = far;
        filling.spawn(async move { (fill(&sender, &Bytes::from(vec![9; 100_000])).await, sender, receiver) });
    }
    let filled = filling.join_all().await;
    assert!(filled.iter().all(|(sent, ..)| *sent > 5));
    far.sender.send("through".into()).await.unwrap();
    assert_eq!(message(&mut near).await, "through");
}

#[tokio::test]
async fn single_short_messages_may_wait_in_many_lanes() {
    let mut far_end = far(Limits::default()).await;
    let channel = connect(&far_end).await;
    let mut lanes = Vec::new();
    for _ in 0..4 {
        lanes.push(open(&mut far_end, &channel).await);
    }
    let (mut near, mut far) = open(&mut far_end, &channel).await;
    // The echo makes a frame of each message.
    for _ in 0..5_000 {
        for (_, far) in &lanes {
            far.sender.send(Bytes::from_static(b"tick")).await.unwrap();
        }
        near.sender.send("echo".into()).await.unwrap();
        assert_eq!(message(&mut far).await, "echo");
        far.sender.send("echo".into()).await.unwrap();
        assert_eq!(message(&mut near).await, "echo");
    }
    for (mut near, _far) in lanes {
        for _ in 0..5_000 {
            assert_eq!(message(&mut near).await, "tick");
        }
    }
}

#[tokio::test]
async fn a_message_that_is_too_long_for_either_end_is_left_out() {
    for (near_max, far_max) in [(1000, 2000), (2000, 1000)] {
        let mut far_end = far(Limits { max_message: far_max, ..Limits::default() }).await;
        let limits = Limits { max_message: near_max, ..Limits::default() };
        let channel = carrier(&far_end.address, limits).connect().await.unwrap();
        let (mut near, mut far) = open(&mut far_end, &channel).await;
        assert_eq!((near.max_message, far.max_message), (1000, 1000));
        for near_first in [true, false] {
            let (from, to) = if near_first { (&mut near, &mut far) } else { (&mut far, &mut near) };
            for length in [1001, 1000, LONG, 0] {
                from.sender.send(Bytes::from(vec![1; length])).await.unwrap();
                if length <= 1000 {
                    assert_eq!(message(to).await.len(), length);
                } else {
                    let error = next(from).await.unwrap().unwrap_err();
                    assert!(matches!(error, CarrierError::TooLarge { size, max: 1000 } if size == length), "{error}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_channel_has_as_many_lanes_as_the_far_end_permits() {
    let mut far_end = far(Limits { lanes: 3, ..Limits::default() }).await;
    let channel = connect(&far_end).await;
    let mut lanes = Vec::new();
    for _ in 0..3 {
        lanes.push(open(&mut far_end, &channel).await);
    }
    let error = channel.open().await.unwrap_err();
    assert!(matches!(error, CarrierError::Full { max: 3, .. }), "{error}");
    // A lane that has ended in one direction is open.
    let (mut near, Lane { sender, receiver, .. }) = lanes.pop().unwrap();
    drop(sender);
    assert!(next(&mut near).await.is_none());
    let error = channel.open().await.unwrap_err();
    assert!(matches!(error, CarrierError::Full { max: 3, .. }), "{error}");
    drop((near, receiver));
    let again = async {
        while channel.open().await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn a_far_end_has_as_many_near_ends_as_it_permits() {
    let limits = Limits { near_ends: 2, connect: Duration::from_millis(500), ..Limits::default() };
    let mut far_end = far(limits).await;
    let address = far_end.address.clone();
    let carrier = carrier(&address, Limits::default());
    let mut channels = Vec::new();
    for _ in 0..2 {
        let channel = carrier.connect().await.unwrap();
        let lanes = open(&mut far_end, &channel).await;
        channels.push((channel, lanes));
    }
    let refused = async || {
        let error = carrier.connect().await.unwrap().open().await.unwrap_err();
        assert!(error.to_string().contains("has its 2 near ends; raise `near_ends`"), "{error}");
    };
    for _ in 0..3 {
        refused().await;
    }
    // One that opens no lane, which the far end closes.
    let idle = carrier.connect().await.unwrap();
    let closed = async {
        loop {
            match idle.open().await.unwrap_err() {
                error if error.to_string().contains("near_ends") => sleep(Duration::from_millis(50)).await,
                error => break error,
            }
        }
    };
    sleep(Duration::from_secs(1)).await;
    let error = timeout(PATIENCE, closed).await.unwrap();
    assert!(matches!(error, CarrierError::Ended { .. }), "{error}");
    // The others go on, and a place is free again when one leaves.
    let (_, (near, reading)) = &mut channels[0];
    near.sender.send("message".into()).await.unwrap();
    assert_eq!(message(reading).await, "message");
    channels.pop();
    let again = async {
        while carrier.connect().await.unwrap().open().await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
    // Peers that are mute keep a near end waiting until their handshakes are over.
    let mut mute = Vec::new();
    for _ in 0..8 {
        mute.push(TcpStream::connect(&address).await.unwrap());
    }
    let again = async {
        loop {
            if let Ok(channel) = carrier.connect().await
                && channel.open().await.is_ok()
            {
                break;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn a_thousand_lanes_come_and_go() {
    let mut far_end = far(Limits::default()).await;
    let channel = connect(&far_end).await;
    for number in 0..1000 {
        let (mut near, mut far) = open(&mut far_end, &channel).await;
        near.sender.send("ask".into()).await.unwrap();
        assert_eq!(message(&mut far).await, "ask");
        if number % 2 == 0 {
            far.sender.send("answer".into()).await.unwrap();
            drop(far);
            assert_eq!(message(&mut near).await, "answer");
            assert!(next(&mut near).await.is_none());
        } else {
            // The answer is under way when the near end gives up.
            far.sender.send("answer".into()).await.unwrap();
            drop(near);
            let last = next(&mut far).await;
            assert!(last.is_none(), "{number} {last:?}");
        }
    }
}

#[tokio::test]
async fn a_dropped_channel_ends_its_lanes_at_both_ends() {
    let mut far_end = far(Limits::default()).await;
    let channel = connect(&far_end).await;
    let (mut near, mut far) = open(&mut far_end, &channel).await;
    drop(channel);
    let error = next(&mut far).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("has closed the connection"), "{error}");
    let error = next(&mut near).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("this end has closed the channel"), "{error}");
    timeout(PATIENCE, near.sender.closed()).await.unwrap();
    timeout(PATIENCE, far.sender.closed()).await.unwrap();
}

#[tokio::test]
async fn a_stopped_far_end_takes_no_lane_and_finishes_the_others() {
    let mut far_end = far(Limits::default()).await;
    let channel = connect(&far_end).await;
    let (mut near, mut far) = open(&mut far_end, &channel).await;
    let (address, serving) = (far_end.address.clone(), far_end.serving);
    far_end.stop.send(()).unwrap();
    near.sender.send("before".into()).await.unwrap();
    assert_eq!(message(&mut far).await, "before");
    let error = channel.open().await.unwrap_err();
    assert!(matches!(error, CarrierError::Ended { .. }), "{error}");
    let error = carrier(&address, Limits::default()).connect().await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
    far.sender.send("after".into()).await.unwrap();
    assert_eq!(message(&mut near).await, "after");
    assert!(!serving.is_finished());
    drop(far);
    timeout(PATIENCE, serving).await.unwrap().unwrap();
    assert!(next(&mut near).await.is_none());
}

#[tokio::test]
async fn a_far_end_without_a_taker_refuses_lanes() {
    let mut far_end = far(Limits::default()).await;
    let channel = connect(&far_end).await;
    far_end.incoming.close();
    let error = channel.open().await.unwrap_err();
    assert!(error.to_string().contains("the far end has stopped"), "{error}");
}

#[tokio::test]
async fn an_address_without_a_far_end_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let limits = Limits { connect: Duration::from_millis(300), ..Limits::default() };
    // The kernel accepts, and nothing answers.
    let error = carrier(&address, limits.clone()).connect().await.unwrap_err();
    assert!(error.to_string().contains("no answer within 300ms") && error.to_string().contains(&address), "{error}");
    drop(listener);
    let error = carrier(&address, limits.clone()).connect().await.unwrap_err();
    assert!(matches!(&error, CarrierError::Unreachable { text, .. } if text.contains("refused")), "{error}");
    let error = carrier("no-such-host.invalid:1", limits).connect().await.unwrap_err();
    assert!(matches!(error, CarrierError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn another_protocol_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.unwrap();
        sleep(PATIENCE).await;
    });
    let error = carrier(&address, Limits::default()).connect().await.unwrap_err();
    assert!(matches!(error, CarrierError::Unreachable { .. }), "{error}");
}

/// A listener in front of a far end. It passes nothing on from the moment that the returned sender speaks.
async fn black_hole(address: String) -> (String, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let front = listener.local_addr().unwrap().to_string();
    let (swallow, swallowed) = oneshot::channel();
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = TcpStream::connect(address).await.unwrap();
        let ((mut near_read, mut near_write), (mut far_read, mut far_write)) = (near.into_split(), far.into_split());
        tokio::select! {
            _ = copy(&mut near_read, &mut far_write) => {}
            _ = copy(&mut far_read, &mut near_write) => {}
            _ = swallowed => sleep(PATIENCE).await,
        }
    });
    (front, swallow)
}

#[tokio::test]
async fn a_black_hole_is_reported_at_both_ends_within_seconds() {
    let mut far_end = far(Limits::default()).await;
    let (front, swallow) = black_hole(far_end.address.clone()).await;
    let channel = carrier(&front, Limits::default()).connect().await.unwrap();
    let (mut near, mut far) = open(&mut far_end, &channel).await;
    // An idle channel lives.
    assert!(timeout(Duration::from_millis(3500), near.receiver.next()).await.is_err());
    let begin = Instant::now();
    swallow.send(()).unwrap();
    let (near_error, far_error) = tokio::join!(next(&mut near), next(&mut far));
    for error in [near_error.unwrap().unwrap_err(), far_error.unwrap().unwrap_err()] {
        assert!(error.to_string().contains("nothing has arrived for 3s"), "{error}");
    }
    // The last ping before it came within a second.
    assert!((1..10).contains(&begin.elapsed().as_secs()), "after {:?}", begin.elapsed());
    assert!(matches!(channel.open().await.unwrap_err(), CarrierError::Ended { .. }));
}

#[tokio::test]
async fn a_slow_network_is_not_silent() {
    let limits = Limits { silence: Duration::from_millis(600), ..Limits::default() };
    let mut far_end = far(limits.clone()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (front, back) = (listener.local_addr().unwrap().to_string(), far_end.address.clone());
    tokio::spawn(async move {
        let (near, _) = listener.accept().await.unwrap();
        let far = TcpStream::connect(back).await.unwrap();
        let ((mut near_read, mut near_write), (mut far_read, mut far_write)) = (near.into_split(), far.into_split());
        let slowly = async {
            let mut bytes = vec![0; 8 << 10];
            while let Ok(read @ 1..) = near_read.read(&mut bytes).await {
                sleep(Duration::from_millis(10)).await;
                far_write.write_all(&bytes[..read]).await.unwrap();
            }
        };
        tokio::join!(slowly, async { drop(copy(&mut far_read, &mut near_write).await) });
    });
    let channel = carrier(&front, limits).connect().await.unwrap();
    let (near, mut far) = open(&mut far_end, &channel).await;
    // The pings of the near end wait behind the message for longer than the silence that ends a channel.
    let begin = Instant::now();
    near.sender.send(Bytes::from(vec![1; 2 << 20])).await.unwrap();
    assert_eq!(message(&mut far).await.len(), 2 << 20);
    assert!(begin.elapsed() > Duration::from_secs(1));
}
