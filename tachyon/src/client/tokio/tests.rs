//! Streams of items of the caller, against a callee whose messages and credits the test writes by hand.
#![allow(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;
use std::sync::Arc;

use futures_core::Stream;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::{AsyncCaller, AsyncStream, RawStream, stream};
use crate::connection::{Rx, Tx, in_process, slice};
use crate::engine::{ErrorBody, ErrorKind, send_error};
use crate::ring::MessageHeader;
use crate::rpc::{CallError, Contract, RepliesOnce, SingleValue, StreamsReplies, TakesItems, TypedItems};
use crate::schema::describe::Signature;
use crate::schema::payload::{BoxedMalformed, DeclaredError, ErrorLayout, Form, Undeclared, Value};
use crate::type_id::{ROUTE_CANCEL, ROUTE_CONTROL, ROUTE_END, ROUTE_ITEM, ROUTE_OPEN, make_type_id, route_id};

const PATIENCE: Duration = Duration::from_secs(20);
const MOMENT: Duration = Duration::from_millis(20);

/// The callee.
struct Callee {
    rx: Rx,
    tx: Tx,
}

/// A message of the caller, copied.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    id: u64,
    route: u16,
    payload: Vec<u8>,
}

impl Callee {
    fn try_take(&mut self) -> Option<Taken> {
        let frame = self.rx.try_take().unwrap()?;
        let payload = slice::payload(&frame, &self.rx).to_vec();
        self.rx.release(frame.position);
        Some(Taken { id: frame.correlation_id, route: route_id(frame.type_id), payload })
    }

    async fn take(&mut self) -> Taken {
        let taking = async {
            loop {
                match self.try_take() {
                    Some(taken) => return taken,
                    None => sleep(Duration::from_millis(1)).await,
                }
            }
        };
        timeout(PATIENCE, taking).await.unwrap()
    }

    /// Takes an OPEN: the id of the stream, and its cell.
    async fn open(&mut self) -> (u64, usize) {
        let open = self.take().await;
        (open.id, usize::from(open.route - ROUTE_OPEN))
    }

    fn send(&mut self, route: u16, id: u64, payload: &[u8]) {
        assert!(self.tx.try_send(payload, MessageHeader::new(make_type_id(route, 7), id)).unwrap());
    }
}

/// Runs a test with a callee and its caller, in a runtime of one thread.
fn with_callee<F: Future<Output = ()>>(capacity: usize, test: impl Fn(Callee, AsyncCaller) -> F) {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let [callee, caller] = in_process(capacity).unwrap();
        let ends = (Callee { rx: callee.rx(0), tx: callee.tx(1) }, AsyncCaller::over(&caller).unwrap());
        // The connection ends with the test's ends.
        drop((callee, caller));
        test(ends.0, ends.1).await;
    });
}

/// Opens a stream. Gives the id and the cell, too.
async fn open(callee: &mut Callee, caller: &AsyncCaller) -> (Arc<RawStream>, u64, usize) {
    let stream = caller.open(7, b"").await.unwrap();
    let (id, cell) = callee.open().await;
    assert_eq!(id, stream.correlation_id());
    (Arc::new(stream), id, cell)
}

/// Sends numbered items in a task, until the callee takes no more. Gives how many it took.
fn send_all(stream: &Arc<RawStream>, count: u64) -> JoinHandle<Result<u64, CallError>> {
    let stream = Arc::clone(stream);
    tokio::spawn(async move {
        for item in 0..count {
            if !stream.send(&item.to_le_bytes()).await? {
                return Ok(item);
            }
        }
        Ok(count)
    })
}

async fn joined<T>(task: JoinHandle<T>) -> T {
    timeout(PATIENCE, task).await.unwrap().unwrap()
}

#[test]
fn items_are_sent_as_far_as_credit_goes_and_a_reply_ends_the_stream() {
    with_callee(1 << 14, |mut callee, caller| async move {
        let (stream, id, cell) = open(&mut callee, &caller).await;
        let sending = send_all(&stream, 100);
        let (mut granted, mut came) = (0, 0);
        while came < 100 {
            granted += 1 + granted % 7;
            callee.rx.grant(cell, granted);
            while came < granted.min(100) {
                let expected = Taken { id, route: ROUTE_ITEM, payload: u64::to_le_bytes(came).to_vec() };
                assert_eq!(callee.take().await, expected);
                came += 1;
            }
            tokio::task::yield_now().await;
            assert_eq!(callee.try_take(), None, "an item without credit");
        }
        assert_eq!(joined(sending).await.unwrap(), 100);
        stream.end().await.unwrap();
        stream.end().await.unwrap();
        assert!(!stream.send(b"behind END").await.unwrap());
        assert_eq!(callee.take().await, Taken { id, route: ROUTE_END, payload: Vec::new() });
        let finishing = tokio::spawn(Arc::into_inner(stream).unwrap().finish());
        sleep(MOMENT).await;
        callee.send(0, id, b"the reply");
        assert_eq!(joined(finishing).await.unwrap(), b"the reply");
        assert_eq!((caller.outstanding(), callee.try_take()), (0, None));
    });
}

#[test]
fn a_stream_without_credit_holds_up_no_other_sender() {
    // 64 slots.
    with_callee(1 << 14, |mut callee, caller| async move {
        let (without, _, _) = open(&mut callee, &caller).await;
        let (with, with_id, cell) = open(&mut callee, &caller).await;
        let waiting = send_all(&without, 1);
        sleep(MOMENT).await;
        callee.rx.grant(cell, 500);
        // Calls and items fill the ring, and wait for room in turns.
        let sending = send_all(&with, 500);
        let mut calls = JoinSet::new();
        for _ in 0..200 {
            let caller = caller.clone();
            calls.spawn(async move { caller.call(1, b"call").await });
        }
        let (mut items, mut requests) = (0u64, 0);
        while items < 500 || requests < 200 {
            let taken = callee.take().await;
            if taken.route == ROUTE_ITEM {
                assert_eq!((taken.id, taken.payload), (with_id, items.to_le_bytes().to_vec()));
                items += 1;
            } else {
                callee.send(0, taken.id, b"");
                requests += 1;
            }
        }
        assert_eq!(joined(sending).await.unwrap(), 500);
        while let Some(call) = calls.join_next().await {
            assert_eq!(call.unwrap().unwrap(), b"");
        }
        assert!(!waiting.is_finished());
        callee.rx.grant(0, 1);
        assert_eq!(callee.take().await.route, ROUTE_ITEM);
        assert_eq!(joined(waiting).await.unwrap(), 1);
    });
}

#[test]
fn a_dropped_send_sends_nothing() {
    with_callee(1 << 14, |mut callee, caller| async move {
        let (stream, _, cell) = open(&mut callee, &caller).await;
        for _ in 0..50 {
            assert!(timeout(Duration::from_millis(1), stream.send(b"dropped")).await.is_err());
        }
        callee.rx.grant(cell, 100);
        assert!(timeout(PATIENCE, stream.send(b"sent")).await.unwrap().unwrap());
        assert_eq!(callee.take().await.payload, b"sent");
        // Without room: 64 slots, and nothing is taken.
        let mut sent = 0;
        while timeout(MOMENT, stream.send(b"filling")).await.is_ok() {
            sent += 1;
        }
        for _ in 0..sent {
            assert_eq!(callee.take().await.payload, b"filling");
        }
        assert!(timeout(PATIENCE, stream.send(b"last")).await.unwrap().unwrap());
        assert_eq!(callee.take().await.payload, b"last");
    });
}

#[test]
fn an_end_of_the_callee_ends_a_wait_for_credit() {
    with_callee(1 << 14, |mut callee, caller| async move {
        // An early reply.
        let (stream, id, _) = open(&mut callee, &caller).await;
        let sending = send_all(&stream, 1);
        sleep(MOMENT).await;
        callee.send(0, id, b"enough");
        assert_eq!(joined(sending).await.unwrap(), 0);
        assert!(stream.recv().await.is_none(), "the reply is for `finish`");
        assert!(!stream.send(b"").await.unwrap());
        stream.end().await.unwrap();
        let stream = Arc::into_inner(stream).unwrap();
        assert_eq!(stream.finish().await.unwrap(), b"enough");
        // An error, after an item.
        let (stream, id, _) = open(&mut callee, &caller).await;
        let sending = send_all(&stream, 1);
        sleep(MOMENT).await;
        callee.send(ROUTE_ITEM, id, b"item");
        send_error(&mut callee.tx, id, 7, ErrorKind::NotFound, ErrorBody::text("no such file")).unwrap();
        assert_eq!(joined(sending).await.unwrap(), 0);
        assert_eq!(stream.recv().await.unwrap().unwrap(), b"item");
        let error = stream.recv().await.unwrap().unwrap_err();
        assert!(matches!(&error, CallError::Remote(error) if error.text == "no such file"), "{error:?}");
        assert!(stream.recv().await.is_none());
        // A cancellation by this side.
        let (stream, id, _) = open(&mut callee, &caller).await;
        let sending = send_all(&stream, 1);
        sleep(MOMENT).await;
        stream.close();
        assert_eq!(joined(sending).await.unwrap(), 0);
        assert_eq!(callee.take().await, Taken { id, route: ROUTE_CANCEL, payload: Vec::new() });
        assert_eq!(caller.outstanding(), 0);
        // The end of the connection.
        let (stream, _, _) = open(&mut callee, &caller).await;
        let sending = send_all(&stream, 1);
        sleep(MOMENT).await;
        drop(callee);
        let ended = joined(sending).await;
        assert!(matches!(ended, Ok(0) | Err(CallError::Closed { .. })), "{ended:?}");
        let ended = Arc::into_inner(stream).unwrap().finish().await;
        assert!(matches!(ended, Err(CallError::Closed { sent: true })), "{ended:?}");
    });
}

#[test]
fn the_time_of_the_stream_ends_a_wait_for_credit() {
    with_callee(1 << 14, |mut callee, caller| async move {
        let (stream, id, _) = open(&mut callee, &caller.within(5 * MOMENT)).await;
        let receiving = Arc::clone(&stream);
        let receiving = tokio::spawn(async move { receiving.recv().await });
        let late = joined(send_all(&stream, 1)).await;
        assert!(matches!(late, Err(CallError::TimedOut { sent: true })), "{late:?}");
        let late = joined(receiving).await;
        assert!(matches!(late, Some(Err(CallError::TimedOut { sent: true }))), "{late:?}");
        assert_eq!(callee.take().await, Taken { id, route: ROUTE_CANCEL, payload: Vec::new() });
        assert_eq!(caller.outstanding(), 0);
        let (stream, _, _) = open(&mut callee, &caller.within(5 * MOMENT)).await;
        let late = Arc::into_inner(stream).unwrap().finish().await;
        assert!(matches!(late, Err(CallError::TimedOut { sent: true })), "{late:?}");
    });
}

#[test]
fn a_credit_that_runs_backwards_or_too_far_ends_the_connection() {
    for credit in [3, 1 << 21] {
        with_callee(1 << 14, |mut callee, caller| async move {
            let (stream, _, cell) = open(&mut callee, &caller).await;
            let other = caller.clone();
            let call = tokio::spawn(async move { other.call(1, b"").await });
            callee.rx.grant(cell, 4);
            let sending = send_all(&stream, 5);
            for _ in 0..5 {
                callee.take().await;
            }
            callee.rx.grant(cell, credit);
            let broken = joined(sending).await;
            assert!(matches!(broken, Err(CallError::FatalError(_))), "{broken:?}");
            let broken = timeout(PATIENCE, stream.recv()).await.unwrap();
            assert!(matches!(broken, Some(Err(CallError::FatalError(_)))), "{broken:?}");
            assert!(matches!(joined(call).await, Err(CallError::FatalError(_))));
        });
    }
}

#[test]
fn one_task_sends_while_another_receives() {
    with_callee(1 << 14, |mut callee, caller| async move {
        let (stream, id, cell) = open(&mut callee, &caller).await;
        let sending = Arc::clone(&stream);
        let sending = tokio::spawn(async move {
            for item in 0..1000u32 {
                assert!(sending.send(&item.to_le_bytes()).await.unwrap());
            }
            sending.end().await.unwrap();
        });
        let receiving = tokio::spawn(async move {
            let mut items = 0u32;
            while let Some(item) = stream.recv().await {
                assert_eq!(item.unwrap(), items.to_le_bytes());
                items += 1;
            }
            items
        });
        // Each item is sent back before the next one is taken.
        let mut echoed = 0;
        callee.rx.grant(cell, 1);
        loop {
            let taken = callee.take().await;
            assert_eq!(taken.id, id);
            if taken.route == ROUTE_END {
                break;
            }
            callee.send(ROUTE_ITEM, id, &taken.payload);
            echoed += 1;
            callee.rx.grant(cell, echoed + 1);
        }
        callee.send(ROUTE_END, id, b"");
        joined(sending).await;
        assert_eq!(joined(receiving).await, 1000);
    });
}

#[test]
fn an_item_that_can_never_fit_leaves_the_stream_open() {
    with_callee(4096, |mut callee, caller| async move {
        let (stream, _, cell) = open(&mut callee, &caller).await;
        let refused = stream.send(&[0; 5000]).await;
        assert!(matches!(refused, Err(CallError::TooLarge { size: 5000, max: 4096 })), "{refused:?}");
        callee.rx.grant(cell, 2);
        for len in [4096, 1] {
            assert!(timeout(PATIENCE, stream.send(&vec![7; len])).await.unwrap().unwrap());
            assert_eq!(callee.take().await.payload, vec![7; len]);
        }
    });
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

#[test]
fn streams_that_wait_use_no_processor_time() {
    with_callee(1 << 14, |mut callee, caller| async move {
        let mut waits = Vec::new();
        for _ in 0..16 {
            let (stream, _, _) = open(&mut callee, &caller.within(PATIENCE)).await;
            waits.push(send_all(&stream, 1));
            waits.push(tokio::spawn(async move { stream.recv().await.map_or(Ok(0), |_| Ok(1)) }));
        }
        sleep(5 * MOMENT).await;
        let before = thread_time();
        sleep(25 * MOMENT).await;
        let took = thread_time().saturating_sub(before);
        assert!(took < 5 * MOMENT, "a fifth of the time was used: {took:?}");
        assert!(waits.iter().all(|wait| !wait.is_finished()));
        drop(callee);
        for wait in waits {
            drop(joined(wait).await);
        }
    });
}

/// The endpoint 7, whose items and reply are texts.
struct Chat;

impl Contract for Chat {
    type Reply = String;
    type Error = Refused;
    const SIGNATURE: &'static Signature = {
        const TEXT: Form = <String as Value>::FORM;
        static SIGNATURE: Signature =
            Signature::of(7, "chat", "", Form::Empty, TEXT, Refused::VARIANTS).with_items(TEXT).streaming();
        &SIGNATURE
    };
}

impl StreamsReplies for Chat {}

impl TakesItems for Chat {
    type Item = String;
    type Codec = TypedItems;
}

/// The endpoint 7 of another callee, which replies once.
struct Sum;

impl Contract for Sum {
    type Reply = u64;
    type Error = Undeclared;
    const SIGNATURE: &'static Signature = {
        static SIGNATURE: Signature =
            Signature::of(7, "sum", "", Form::Empty, <u64 as Value>::FORM, &[]).with_items(<Vec<u32> as Value>::FORM);
        &SIGNATURE
    };
}

impl TakesItems for Sum {
    type Item = Vec<u32>;
    type Codec = TypedItems;
}

impl RepliesOnce for Sum {}

/// A declared error without fields.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("refused")]
struct Refused;

impl DeclaredError for Refused {
    const VARIANTS: &'static [ErrorLayout] = &[];

    fn kind(&self) -> ErrorKind {
        ErrorKind::PermissionDenied
    }

    fn encode(&self) -> (&'static str, Vec<u8>) {
        ("Refused", Vec::new())
    }

    fn decode(name: &str, _: &[u8]) -> Option<Result<Self, BoxedMalformed>> {
        (name == "Refused").then_some(Ok(Self))
    }
}

/// Opens a typed stream. The callee has no descriptions.
async fn open_typed<C: Contract>(callee: &mut Callee, caller: &AsyncCaller) -> (AsyncStream<C>, u64, usize) {
    let opening = stream::<C>(caller, SingleValue::<()>::new(()));
    let answering = async {
        let question = callee.take().await;
        assert_eq!(question.route, ROUTE_CONTROL);
        send_error(&mut callee.tx, question.id, 0, ErrorKind::NoHandler, ErrorBody::default()).unwrap();
        callee.open().await
    };
    let mut answering = core::pin::pin!(answering);
    let mut opened = None;
    let mut opening = core::pin::pin!(opening);
    let (id, cell) = poll_fn(|context| {
        if opened.is_none()
            && let Poll::Ready(stream) = opening.as_mut().poll(context)
        {
            opened = Some(stream.unwrap());
        }
        answering.as_mut().poll(context)
    })
    .await;
    (opened.unwrap(), id, cell)
}

#[test]
fn typed_items_go_both_ways_and_a_declared_error_ends_them() {
    with_callee(1 << 14, |mut callee, caller| async move {
        let (mut chat, id, cell) = open_typed::<Chat>(&mut callee, &caller).await;
        callee.rx.grant(cell, 2);
        assert!(chat.send("a view").await.unwrap());
        assert!(chat.send(&"a value".to_owned()).await.unwrap());
        for text in ["a view", "a value"] {
            let item = callee.take().await;
            assert_eq!((item.route, &item.payload[..]), (ROUTE_ITEM, text.as_bytes()));
            callee.send(ROUTE_ITEM, id, text.as_bytes());
        }
        assert_eq!(chat.recv().await.unwrap().unwrap(), "a view");
        // As a `Stream`.
        let next = poll_fn(|context| Pin::new(&mut chat).poll_next(context)).await;
        assert_eq!(next.unwrap().unwrap(), "a value");
        // The stream goes on after an item that cannot be read.
        callee.send(ROUTE_ITEM, id, b"no UTF-8: \xFF");
        callee.send(ROUTE_ITEM, id, b"last");
        let unreadable = chat.recv().await.unwrap();
        assert!(
            matches!(&unreadable, Err(CallError::BadReply { endpoint, .. }) if endpoint == "chat"),
            "{unreadable:?}"
        );
        let late = chat.recv_timeout(PATIENCE).await.unwrap();
        assert_eq!(late.unwrap(), "last");
        let late = chat.recv_timeout(Duration::from_millis(1)).await;
        assert!(matches!(late, Some(Err(CallError::TimedOut { sent: true }))), "{late:?}");
        let body = ErrorBody { name: "Refused", ..ErrorBody::default() };
        send_error(&mut callee.tx, id, 7, ErrorKind::HandlerFailed, body).unwrap();
        assert!(matches!(chat.recv().await, Some(Err(CallError::Failed(Refused)))));
        assert!(chat.recv().await.is_none());
        assert_eq!(format!("{chat:?}"), format!("AsyncStream {{ endpoint: \"chat\", id: {id}, .. }}"));
    });
}

#[test]
fn a_typed_stream_of_items_has_a_typed_reply() {
    with_callee(1 << 14, |mut callee, caller| async move {
        let (sum, id, cell) = open_typed::<Sum>(&mut callee, &caller).await;
        callee.rx.grant(cell, 1);
        assert!(sum.send(&[1u32, 2, 3][..]).await.unwrap());
        assert_eq!(callee.take().await.payload.len(), 12);
        callee.send(0, id, &6u64.to_le_bytes());
        assert_eq!(sum.finish().await.unwrap(), 6);
        assert_eq!(callee.take().await.route, ROUTE_END);
        // The endpoint was compared.
        let (sum, opened) = (stream::<Sum>(&caller, SingleValue::<()>::new(())).await.unwrap(), callee.take().await);
        assert_eq!(opened.id, sum.correlation_id());
        callee.send(0, opened.id, b"no number");
        let unreadable = sum.finish().await;
        assert!(
            matches!(&unreadable, Err(CallError::BadReply { endpoint, .. }) if endpoint == "sum"),
            "{unreadable:?}"
        );
    });
}
