//! A message that cancels a call, to each of the ways to serve.

use std::sync::Arc;
use std::time::Duration;

use crate::dispatch::Dispatcher;
use crate::fuzz::linked;
use crate::options::Options;
use crate::ring::{Geometry, MessageHeader, RingMemory, Use};
use crate::rpc::{Callee, Caller};
use crate::type_id::{ROUTE_CANCEL, make_type_id};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Cancels the first of two calls before either is served; `serve` answers one request. Both get their answer, and the
/// cancellation gets none.
fn gets_no_reply(mut serve: impl FnMut(&mut Callee)) {
    let geometry = Geometry::new(4096, Use::Calls).unwrap();
    let rings: Vec<_> = (0..2).map(|_| Arc::new(RingMemory::create(geometry).unwrap().0)).collect();
    let [ours, theirs] = linked(&rings, &Options::new());
    let (mut callee, mut caller) = (Callee::over(&ours), Caller::over(&theirs));
    let first = caller.call(1, b"first").unwrap();
    let cancellation = MessageHeader::new(make_type_id(ROUTE_CANCEL, 1), first);
    assert!(caller.core.outgoing.try_send(b"", cancellation).unwrap());
    let second = caller.call(1, b"second").unwrap();
    serve(&mut callee);
    serve(&mut callee);
    assert_eq!(caller.core.outgoing.producer.under_way(), 0, "all three were taken and given back");
    assert_eq!(&*caller.wait_timeout(first, PATIENCE).unwrap(), b"first");
    assert_eq!(&*caller.wait_timeout(second, PATIENCE).unwrap(), b"second");
    assert!(caller.core.incoming.try_take().unwrap().is_none());
    assert_eq!(caller.core.incoming.consumer.taken(), 2, "a third reply, which a caller drops");
}

#[test]
fn a_cancellation_gets_no_reply_from_a_callee_that_waits() {
    gets_no_reply(|callee| {
        let request = callee.serve_timeout(PATIENCE).unwrap();
        let (call, payload) = (request.correlation_id(), request.to_vec());
        drop(request);
        callee.reply(call, 1, &payload).unwrap();
    });
}

#[test]
fn a_cancellation_gets_no_reply_from_a_callee_that_looks() {
    gets_no_reply(|callee| {
        let request = callee.try_serve().unwrap().unwrap();
        let (call, payload) = (request.correlation_id(), request.to_vec());
        drop(request);
        callee.reply(call, 1, &payload).unwrap();
    });
}

#[test]
fn a_cancellation_gets_no_reply_from_a_dispatcher() {
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
    gets_no_reply(|callee| dispatcher.serve_once_timeout(callee, PATIENCE).unwrap());
}
