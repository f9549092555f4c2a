//! Tests of the messages that a queue of frames becomes.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use core::time::Duration;
use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;
use crate::wire::{Frames, Request};

const PATIENCE: Duration = Duration::from_secs(20);
const MAX_MESSAGE: usize = 1 << 20;

/// A queue, and the messages that its frames become. The lane holds no message, so each one leaves when it is read.
struct Sending {
    queue: FrameQueue,
    messages: mpsc::Receiver<Bytes>,
    /// The calls whose requests are complete.
    complete: Arc<Mutex<Vec<u64>>>,
}

impl Sending {
    fn start() -> Self {
        let ((queue, queued), (lane, messages)) = (mpsc::unbounded_channel(), mpsc::channel(1));
        let complete = Arc::<Mutex<Vec<u64>>>::default();
        let noted = Arc::clone(&complete);
        tokio::spawn(send_all(queued, lane, MAX_MESSAGE, move |calls| {
            noted.lock().unwrap().extend(calls);
            true
        }));
        Self { queue, messages, complete }
    }

    fn push(&self, call: u64, body: Body, place: Option<Place>) {
        self.queue.send((Frame::new(call, body), place)).unwrap();
    }

    async fn next(&mut self) -> Vec<Frame> {
        let message = timeout(PATIENCE, self.messages.recv()).await.unwrap().unwrap();
        assert!(message.len() <= FULL + PREFIX);
        Frames::of(message).map(Result::unwrap).collect()
    }
}

fn payload(call: u64) -> Bytes {
    // Not one of which is a multiple of a part.
    (0..200_000 + usize::try_from(call).unwrap()).map(|at| at.to_le_bytes()[0] ^ call.to_le_bytes()[0]).collect()
}

fn request(call: u64) -> Body {
    Body::Request(Request { msg_type: 1, payload: payload(call), ..Request::default() })
}

#[tokio::test]
async fn long_frames_take_turns_with_each_other_and_with_short_ones() {
    let (mut sending, mut parts) = (Sending::start(), Parts::new(MAX_MESSAGE));
    for call in 0..10 {
        sending.push(call, if call % 2 == 0 { request(call) } else { Body::Reply(payload(call)) }, None);
    }
    let (mut whole, mut answered, mut since_short) = (HashMap::new(), 0, 0);
    while whole.len() < 10 {
        for frame in sending.next().await {
            assert!(matches!(frame.body, Some(Body::Part(_) | Body::LastPart(_) | Body::End(_))), "{frame:?}");
            // Refuses more than four at a time.
            match parts.take(frame).unwrap() {
                Some(Frame { body: Some(Body::End(_)), .. }) => {
                    answered += 1;
                    since_short = 0;
                }
                Some(frame) => drop(whole.insert(frame.call, frame.body.unwrap())),
                None => since_short += 1,
            }
        }
        if since_short == 0 || answered == 0 {
            sending.push(100, Body::End(true), None);
        }
        // One is in the lane, one is being sent, and one more takes its turn.
        assert!(since_short <= 4, "a short frame waits for {since_short} parts");
    }
    assert!(answered > 10, "{answered}");
    for (call, body) in whole {
        assert_eq!(body, if call % 2 == 0 { request(call) } else { Body::Reply(payload(call)) }, "call {call}");
    }
    let mut complete = sending.complete.lock().unwrap().clone();
    complete.sort_unstable();
    assert_eq!(complete, [0, 2, 4, 6, 8]);
}

#[tokio::test]
async fn a_call_is_sent_and_keeps_its_place_until_its_last_part() {
    let mut sending = Sending::start();
    let places = Arc::new(Semaphore::new(1));
    sending.push(7, request(7), Some(Arc::new(Arc::clone(&places).try_acquire_owned().unwrap())));
    loop {
        let frames = sending.next().await;
        if matches!(frames[..], [Frame { call: 7, body: Some(Body::LastPart(_)) }]) {
            break;
        }
        assert!(matches!(frames[..], [Frame { call: 7, body: Some(Body::Part(_)) }]), "{frames:?}");
        let complete = !sending.complete.lock().unwrap().is_empty();
        assert!(!complete || places.available_permits() == 0 || sending.messages.len() == 1);
    }
    drop(timeout(PATIENCE, places.acquire()).await.unwrap().unwrap());
    assert_eq!(*sending.complete.lock().unwrap(), [7]);
}

#[tokio::test]
async fn a_call_that_is_given_up_sends_no_further_part() {
    let mut sending = Sending::start();
    for call in 1..=6 {
        sending.push(call, request(call), None);
    }
    let mut parts = Parts::new(MAX_MESSAGE);
    for frame in sending.next().await {
        assert!(parts.take(frame).unwrap().is_none());
    }
    // One that has begun, and one that has not.
    for call in [1, 6] {
        sending.push(call, Body::Cancel(true), None);
    }
    let (mut whole, mut cancelled) = (Vec::new(), Vec::new());
    while whole.len() < 4 {
        for frame in sending.next().await {
            assert!(!cancelled.contains(&frame.call), "{frame:?}");
            match parts.take(frame).unwrap() {
                Some(Frame { call, body: Some(Body::Cancel(_)) }) => {
                    parts.forget(call);
                    cancelled.push(call);
                }
                Some(frame) => whole.push(frame.call),
                None => {}
            }
        }
    }
    whole.sort_unstable();
    assert_eq!((whole, cancelled), (vec![2, 3, 4, 5], vec![1, 6]));
    assert_eq!(sending.complete.lock().unwrap().len(), 4);
    assert!(parts.begun.is_empty());
}

#[test]
fn parts_against_the_rules_are_refused() {
    let part = |call, bytes: &[u8]| Frame::new(call, Body::Part(Bytes::copy_from_slice(bytes)));
    let last = |call, bytes: &[u8]| Frame::new(call, Body::LastPart(Bytes::copy_from_slice(bytes)));
    let mut parts = Parts::new(100);
    for call in 0..LONG_AT_A_TIME as u64 {
        assert!(parts.take(part(call, b"part")).unwrap().is_none());
    }
    let error = parts.take(part(9, b"part")).unwrap_err();
    assert!(matches!(error, BadParts::TooMany), "{error}");
    parts.forget(0);
    assert!(parts.take(part(9, &[0; 100])).unwrap().is_none());
    let error = parts.take(last(9, &[0])).unwrap_err();
    assert!(matches!(error, BadParts::TooLong(100)), "{error}");
    let error = parts.take(last(1, b"")).unwrap_err();
    assert!(matches!(error, BadParts::Malformed(_)), "{error}");
    let mut parts = Parts::new(100);
    let whole = Frame::new(5, Body::End(true));
    let error = parts.take(last(6, &whole.encode_to_vec())).unwrap_err();
    assert!(matches!(error, BadParts::OtherCall), "{error}");
    assert_eq!(parts.take(last(5, &whole.encode_to_vec())).unwrap(), Some(whole.clone()));
    assert_eq!(parts.take(whole.clone()).unwrap(), Some(whole));
    // A frame of parts is no part itself.
    let nested = part(5, b"part");
    assert_eq!(parts.take(last(5, &nested.encode_to_vec())).unwrap(), Some(nested));
    assert!(parts.begun.is_empty());
}
