//! A core and its caller over two rings, with requests that the caller's side writes by hand.

mod streams;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::caller::ItemSent;
use super::{
    CalleeCore, CallerInfo, CancelReason, Handled, Service, StreamBody, StreamStep, TurnResult, is_open, send_error,
};
use crate::connection::{Halt, MAX_PER_LOOK, Rx, Tx, Unsent, slice};
use crate::engine::{ErrorBody, ErrorKind, OpenRequest};
use crate::fuzz::linked;
use crate::options::Options;
use crate::ring::{Geometry, MessageHeader, RingMemory, Use};
use crate::rpc::Caller;
use crate::type_id::{ROUTE_CANCEL, ROUTE_END, ROUTE_ITEM, make_type_id, msg_type};

/// A call that has begun, or an open stream.
#[derive(Debug, PartialEq, Eq)]
enum Begun {
    Call(u64),
    Stream(Scripted),
}

/// The first bytes of a stream's request: how many items it sends, and whether it takes the caller's, all at once or
/// none of them, or takes no items.
const TAKES: u8 = 1;
const KEEPS: u8 = 2;

/// A stream that sends so many items, numbered from 0, and shares the items of its caller with the test.
#[derive(Debug, PartialEq, Eq)]
struct Scripted {
    call: u64,
    of: u16,
    next: u8,
    count: u8,
    takes: u8,
    has_end: bool,
    taken: u64,
    received: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl StreamBody for Begun {
    fn takes_items(&self) -> bool {
        matches!(self, Self::Stream(stream) if stream.takes != 0)
    }

    fn step(&mut self, tx: &mut Tx, may_send: bool) -> StreamStep {
        let Self::Stream(stream) = self else { panic!("a call takes no step") };
        if stream.next == stream.count {
            return if stream.takes != 0 && !stream.has_end { StreamStep::Pending } else { StreamStep::Done };
        }
        if !may_send {
            return StreamStep::Blocked;
        }
        let header = MessageHeader::new(make_type_id(ROUTE_ITEM, stream.of), stream.call);
        if tx.send_reply(&[stream.next], header).is_err() {
            return StreamStep::Done;
        }
        // 255 items are an endless stream.
        stream.next = (stream.next + 1) % u8::MAX;
        StreamStep::Sent
    }

    fn take_item(&mut self, item: &[u8]) {
        let Self::Stream(stream) = self else { panic!("a call takes no items") };
        stream.received.borrow_mut().push(item.to_vec());
        stream.taken += u64::from(stream.takes == TAKES);
    }

    fn end_items(&mut self) {
        let Self::Stream(stream) = self else { panic!("a call takes no items") };
        stream.has_end = true;
    }

    fn taken(&self) -> u64 {
        match self {
            Self::Stream(stream) => stream.taken,
            Self::Call(_) => 0,
        }
    }
}

/// Begins requests of type 2, as many as there are places, and answers others with their bytes. Opens streams of any
/// type but 9.
#[derive(Default)]
struct Recorder {
    places: usize,
    begun: Vec<(u64, Vec<u8>)>,
    cancelled: Vec<(u64, CancelReason)>,
    /// Items of all callers.
    received: Rc<RefCell<Vec<Vec<u8>>>>,
    /// Streams whose last message was sent.
    ended: Vec<u64>,
    /// The kinds of errors that end the next streams, in place of END.
    errors: VecDeque<ErrorKind>,
}

impl Service for Recorder {
    type Begun = Begun;

    fn admit(&self, type_id: u32, begun: usize) -> bool {
        msg_type(type_id) != 2 || begun < self.places
    }

    fn handle(
        &mut self,
        _: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        OpenRequest { frame, .. }: &OpenRequest,
    ) -> Result<Handled<Begun>, Halt> {
        let payload = slice::payload(frame, rx);
        let (call, of) = (frame.correlation_id, msg_type(frame.type_id));
        if is_open(frame) && of == 9 {
            send_error(tx, call, of, ErrorKind::BadRequest, ErrorBody::default()).unwrap();
            return Ok(Handled::Replied);
        }
        if is_open(frame) {
            let &[count, takes] = payload else { panic!("a stream's request is two bytes") };
            let received = Rc::clone(&self.received);
            let stream = Scripted { call, of, next: 0, count, takes, has_end: false, taken: 0, received };
            return Ok(Handled::Stream(Begun::Stream(stream)));
        }
        if msg_type(frame.type_id) == 2 {
            self.begun.push((frame.correlation_id, payload.to_vec()));
            return Ok(Handled::Later(Begun::Call(call)));
        }
        tx.send_reply(payload, MessageHeader::new(frame.type_id, frame.correlation_id)).unwrap();
        Ok(Handled::Replied)
    }

    fn end(&mut self, tx: &mut Tx, stream: Begun) -> Result<(), Halt> {
        let Begun::Stream(stream) = stream else { panic!("a call has no end") };
        let header = MessageHeader::new(make_type_id(ROUTE_END, stream.of), stream.call);
        if let Some(kind) = self.errors.pop_front() {
            send_error(tx, stream.call, stream.of, kind, ErrorBody::default()).unwrap();
        } else if let Err(Unsent::Halted(halt)) = tx.send_reply(&[], header) {
            return Err(halt);
        }
        self.ended.push(stream.call);
        Ok(())
    }

    fn cancel(&mut self, begun: Begun, why: CancelReason) {
        let (Begun::Call(call) | Begun::Stream(Scripted { call, .. })) = begun;
        self.cancelled.push((call, why));
    }
}

/// A core and its caller over rings of `capacity` bytes.
fn core(capacity: usize) -> (CalleeCore<Begun>, Caller) {
    let geometry = Geometry::new(capacity, Use::Calls).unwrap();
    let rings: Vec<_> = (0..2).map(|_| Arc::new(RingMemory::create(geometry).unwrap().0)).collect();
    let [ours, theirs] = linked(&rings, &Options::new());
    let info = CallerInfo::new(1, &ours.connection.peer);
    (CalleeCore::new(info, ours.rx(0), ours.tx(1)), Caller::over(&theirs))
}

fn cancel(caller: &mut Caller, call: u64) {
    let cancellation = MessageHeader::new(make_type_id(ROUTE_CANCEL, 2), call);
    assert!(caller.core.tx.try_send(b"", cancellation).unwrap());
}

fn assert_no_reply(caller: &mut Caller) {
    assert!(caller.core.rx.try_take().unwrap().is_none(), "a reply to a cancelled call");
}

/// Turns until there is nothing to do.
fn turns(core: &mut CalleeCore<Begun>, service: &mut Recorder) {
    while core.turn(service).unwrap() == TurnResult::Served {}
}

/// A look takes the replies to calls that were given up, and the ring messages for them.
#[test]
fn a_caller_that_looked_in_vain_knows_whether_the_callee_still_rings() {
    let (mut core, mut caller) = core(1 << 12);
    let mut service = Recorder::default();
    let given_up = caller.start(1, b"late").unwrap();
    assert!(caller.core.arm(None) && caller.core.is_armed(false));
    assert!(!caller.core.is_armed(true), "no room was asked for");
    assert!(caller.core.end(given_up, false));
    turns(&mut core, &mut service);
    assert!(caller.core.next().unwrap().is_none());
    assert!(!caller.core.is_armed(false), "the next reply would not ring");
    assert!(caller.core.arm(None) && caller.core.is_armed(false));
}

#[test]
fn a_callee_rings_for_the_credit_that_an_item_waits_for() {
    let (mut core, mut caller) = core(1 << 12);
    let stream = caller.open(1, b"").unwrap();
    assert!(!caller.core.has_credit(stream).unwrap());
    assert_eq!(caller.core.try_send_item(stream, b"").unwrap(), ItemSent::Full);
    assert!(caller.core.arm(None) && caller.core.is_armed(false));
    assert!(caller.core.await_credit(stream), "a new wait");
    assert!(!caller.core.await_credit(stream));
    assert!(!caller.core.is_armed(false), "no credit was asked for");
    assert!(caller.core.arm(None) && caller.core.is_armed(false));
    assert!(caller.core.take_credited().is_empty());
    core.rx.grant(0, 1);
    assert!(!caller.core.is_armed(false), "the callee has rung");
    assert!(!caller.core.arm(None), "there is credit");
    assert_eq!(caller.core.take_credited(), [stream]);
    assert_eq!(caller.core.try_send_item(stream, b"").unwrap(), ItemSent::Sent);
    assert_eq!(caller.core.try_send_item(stream, b"").unwrap(), ItemSent::Full);
    // A stream that ends needs no credit.
    assert!(caller.core.await_credit(stream) && caller.core.arm(None));
    assert!(core.tx.try_send(b"", MessageHeader::new(make_type_id(ROUTE_END, 1), stream)).unwrap());
    assert!(caller.core.next().unwrap().is_none());
    assert_eq!(caller.core.calls.take_news(), [stream]);
    assert_eq!(caller.core.take_credited(), [stream]);
    assert_eq!(caller.core.try_send_item(stream, b"").unwrap(), ItemSent::Ended);
    // A stream that is given up leaves no wait behind.
    let stream = caller.open(1, b"").unwrap();
    assert!(caller.core.await_credit(stream) && caller.forget(stream));
    assert_eq!(caller.core.take_credited(), [stream]);
    assert!(caller.core.arm(None) && caller.core.is_armed(false));
}

#[test]
fn a_cancellation_ends_a_call_that_has_begun() {
    let (mut core, mut caller) = core(1 << 12);
    let mut service = Recorder { places: 2, ..Recorder::default() };
    let (first, second) = (caller.start(2, b"a").unwrap(), caller.start(2, b"b").unwrap());
    turns(&mut core, &mut service);
    assert_eq!(service.begun, [(first, b"a".to_vec()), (second, b"b".to_vec())]);
    cancel(&mut caller, first);
    cancel(&mut caller, first);
    turns(&mut core, &mut service);
    assert_eq!(service.cancelled, [(first, CancelReason::Caller)]);
    assert_eq!((core.finish(first), core.finish(second)), (None, Some(Begun::Call(second))));
    // One that is answered has no entry.
    cancel(&mut caller, second);
    turns(&mut core, &mut service);
    assert_eq!(service.cancelled.len(), 1);
    assert_no_reply(&mut caller);
    assert_eq!(caller.core.tx.producer.in_flight(), 0, "all were taken and given back");
}

#[test]
fn a_cancellation_that_found_no_room_goes_before_the_next_request() {
    let (mut core, mut caller) = core(1 << 12);
    let mut service = Recorder { places: 1, ..Recorder::default() };
    let first = caller.start(2, b"").unwrap();
    turns(&mut core, &mut service);
    while caller.start_timeout(1, b"", core::time::Duration::ZERO).is_ok() {}
    caller.forget(first);
    assert!(caller.core.has_pending_cancellations(), "the ring is full");
    turns(&mut core, &mut service);
    caller.start(1, b"").unwrap();
    turns(&mut core, &mut service);
    assert_eq!(service.cancelled, [(first, CancelReason::Caller)]);
}

#[test]
fn a_cancellation_behind_requests_without_a_place_is_seen() {
    let (mut core, mut caller) = core(1 << 12);
    let mut service = Recorder { places: 1, ..Recorder::default() };
    let calls: Vec<_> = [b"a", b"b", b"c"].into_iter().map(|payload| caller.start(2, payload).unwrap()).collect();
    let plain = caller.start(1, b"plain").unwrap();
    turns(&mut core, &mut service);
    assert_eq!(service.begun.len(), 1);
    assert!(core.is_holding());
    assert_eq!(&*caller.finish(plain).unwrap(), b"plain", "a request that needs no place waits for none");
    // The second waits, the first has the place.
    cancel(&mut caller, calls[1]);
    cancel(&mut caller, calls[0]);
    turns(&mut core, &mut service);
    assert_eq!(service.cancelled, [(calls[0], CancelReason::Caller)]);
    turns(&mut core, &mut service);
    assert_eq!(service.begun[1..], [(calls[2], b"c".to_vec())]);
    assert!(!core.is_holding());
    assert_no_reply(&mut caller);
}

#[test]
fn what_is_held_is_bounded() {
    let (mut core, mut caller) = core(1 << 12);
    let mut service = Recorder::default();
    let slots = core.rx.ring().geometry().slots();
    let mut sent = 0;
    while caller.start_timeout(2, b"", core::time::Duration::ZERO).is_ok() {
        sent += 1;
        turns(&mut core, &mut service);
    }
    assert_eq!(sent, 2 * slots, "held, and in the ring");
    service.places = usize::MAX;
    turns(&mut core, &mut service);
    assert_eq!(service.begun.len(), sent);
}

#[test]
fn the_callers_end_ends_what_has_begun() {
    let (mut core, mut caller) = core(1 << 12);
    let mut service = Recorder { places: 1, ..Recorder::default() };
    let (first, _second) = (caller.start(2, b"a").unwrap(), caller.start(2, b"b").unwrap());
    turns(&mut core, &mut service);
    drop(caller);
    assert!(matches!(core.turn(&mut service), Err(Halt::Closed)));
    core.cancel_all(&mut service);
    assert_eq!(service.cancelled, [(first, CancelReason::CallerGone)]);
}

#[test]
fn a_stop_refuses_what_has_not_begun_and_abandons_what_has() {
    let (mut core, mut caller) = core(1 << 12);
    let mut service = Recorder { places: 1, ..Recorder::default() };
    let begun = caller.start(2, b"a").unwrap();
    let held = caller.start(2, b"b").unwrap();
    turns(&mut core, &mut service);
    let waiting = caller.start(7, b"c").unwrap();
    assert!(core.refuse_all(&mut service).unwrap());
    core.abandon(&mut service).unwrap();
    for (call, of, kind) in
        [(held, 2, ErrorKind::Stopping), (waiting, 7, ErrorKind::Stopping), (begun, 2, ErrorKind::Cancelled)]
    {
        let error = caller.finish(call).unwrap().error().unwrap();
        assert_eq!((error.kind, error.msg_type), (kind, of));
    }
    assert_eq!(service.cancelled, [(begun, CancelReason::Stop)]);
    assert_eq!(service.begun.len(), 1);
}

#[test]
fn refusing_is_bounded_however_much_there_is() {
    let more = MAX_PER_LOOK + 10;
    let (mut core, mut caller) = core(1 << 17);
    assert!(caller.core.tx.ring().geometry().slots() > more as usize);
    let calls: Vec<_> = (0..more).map(|_| caller.start(1, b"").unwrap()).collect();
    let mut service = Recorder::default();
    assert!(!core.refuse_all(&mut service).unwrap(), "all of it in one go");
    assert!(core.refuse_all(&mut service).unwrap());
    for call in calls {
        assert_eq!(caller.finish(call).unwrap().error().unwrap().kind, ErrorKind::Stopping);
    }
}

#[test]
fn a_cancellation_gets_no_reply_from_a_server_that_stops() {
    let (mut core, mut caller) = core(1 << 12);
    let call = caller.start(1, b"").unwrap();
    cancel(&mut caller, call);
    assert!(core.refuse_all(&mut Recorder::default()).unwrap());
    assert_eq!(caller.core.tx.producer.in_flight(), 0, "both were taken");
    assert_eq!(caller.finish(call).unwrap().error().unwrap().kind, ErrorKind::Stopping);
    assert_no_reply(&mut caller);
}

#[test]
fn deferred_replies_hold_up_requests_once_they_fill_a_ring() {
    let (mut core, mut caller) = core(1 << 12);
    let mut service = Recorder { places: 1, ..Recorder::default() };
    let slots = core.rx.ring().geometry().slots();
    let begun = caller.start(2, b"a").unwrap();
    let mut sent = 0;
    while caller.core.tx.try_send(b"x", MessageHeader::new(1, begun + 1 + sent)).unwrap() {
        sent += 1;
        turns(&mut core, &mut service);
    }
    assert_eq!(sent, 3 * slots as u64, "replies in the ring and deferred, requests in the ring");
    // Less than a ringful is deferred again: a CANCEL is seen although replies still wait for room.
    for _ in 0..slots + slots / 2 {
        let frame = caller.core.rx.try_take().unwrap().unwrap();
        caller.core.rx.release(frame.position);
        turns(&mut core, &mut service);
    }
    cancel(&mut caller, begun);
    turns(&mut core, &mut service);
    assert!(core.tx.has_deferred());
    assert_eq!(service.cancelled, [(begun, CancelReason::Caller)]);
}
