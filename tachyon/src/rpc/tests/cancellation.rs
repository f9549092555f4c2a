//! A message that cancels a call, to each of the ways to serve, and what blocking and async handlers see of it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::dispatch::{Dispatcher, HandlerError, Reply, Request};
use crate::fuzz::linked;
use crate::options::Options;
use crate::ring::{Geometry, MessageHeader, RingMemory, Use};
use crate::rpc::{CallError, Callee, Caller};
use crate::server::RpcServer;
#[cfg(feature = "tokio")]
use crate::server::ServerOptions;
use crate::type_id::{ROUTE_CANCEL, make_type_id};
use crate::wait::Deadline;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Cancels the first of two calls before either is served; `serve` answers one request. Both get their answer, and the
/// cancellation gets none.
fn gets_no_reply(mut serve: impl FnMut(&mut Callee)) {
    let geometry = Geometry::new(4096, Use::Calls).unwrap();
    let rings: Vec<_> = (0..2).map(|_| Arc::new(RingMemory::create(geometry).unwrap().0)).collect();
    let [ours, theirs] = linked(&rings, &Options::new());
    let (mut callee, mut caller) = (Callee::over(&ours), Caller::over(&theirs));
    let first = caller.start(1, b"first").unwrap();
    let cancellation = MessageHeader::new(make_type_id(ROUTE_CANCEL, 1), first);
    assert!(caller.core.tx.try_send(b"", cancellation).unwrap());
    let second = caller.start(1, b"second").unwrap();
    serve(&mut callee);
    serve(&mut callee);
    assert_eq!(caller.core.tx.producer.in_flight(), 0, "all three were taken and given back");
    assert_eq!(&*caller.finish_timeout(first, PATIENCE).unwrap(), b"first");
    assert_eq!(&*caller.finish_timeout(second, PATIENCE).unwrap(), b"second");
    assert!(caller.core.rx.try_take().unwrap().is_none());
    assert_eq!(caller.core.rx.consumer.taken(), 2, "a third reply, which a caller drops");
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

/// Sends a CANCEL as a caller does.
fn cancel(caller: &mut Caller, call: u64) {
    let cancellation = MessageHeader::new(make_type_id(ROUTE_CANCEL, 2), call);
    assert!(caller.core.tx.try_send(b"", cancellation).unwrap());
}

/// Endpoint 1 echoes, endpoint 2 says that it began and goes on until its call is cancelled.
fn patient(began: &Sender<()>, ended: &Sender<()>) -> Dispatcher {
    let (began, ended) = (began.clone(), ended.clone());
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
    let handler = move |(): &(), request: Request<'_>, _: Reply<'_>| {
        began.send(()).unwrap();
        let patience = Deadline::after(PATIENCE);
        while !request.context("patient").is_cancelled() {
            assert!(!patience.has_passed(), "never cancelled");
            std::thread::yield_now();
        }
        assert!(request.is_cancelled());
        ended.send(()).unwrap();
        Err(HandlerError::failed("cancelled"))
    };
    dispatcher.register_handler(2, "patient", Box::new(handler)).unwrap();
    dispatcher
}

/// How a call comes to its end while its handler runs.
const ENDS: [fn(Caller, u64) -> Option<Caller>; 3] = [
    |mut caller, call| {
        // Behind other requests.
        let others: Vec<_> = (0..20).map(|_| caller.start(1, b"x").unwrap()).collect();
        cancel(&mut caller, call + 1000);
        cancel(&mut caller, call);
        for other in others {
            assert_eq!(&*caller.finish_timeout(other, PATIENCE).unwrap(), b"x");
        }
        Some(caller)
    },
    |caller, _| {
        drop(caller);
        None
    },
    |mut caller, call| {
        assert!(matches!(
            caller.finish_timeout(call, Duration::from_millis(1)).map(drop),
            Err(CallError::TimedOut { .. })
        ));
        Some(caller)
    },
];

/// Makes a call of endpoint 2 with each of the ends; the handler has to see it.
fn handlers_see_their_end(connect: impl Fn() -> Caller, began: &Receiver<()>, ended: &Receiver<()>) {
    for (number, end) in ENDS.into_iter().enumerate() {
        let mut caller = connect();
        let timeout = if number == 2 { Duration::from_millis(50) } else { PATIENCE };
        let call = caller.start_timeout(2, b"", timeout).unwrap();
        began.recv_timeout(PATIENCE).unwrap();
        let caller = end(caller, call);
        ended.recv_timeout(PATIENCE).unwrap();
        drop(caller);
    }
}

#[test]
fn a_blocking_handler_of_a_callee_sees_that_its_call_is_cancelled() {
    let ((began, begins), (ended, ends)) = (channel(), channel());
    handlers_see_their_end(
        || {
            let geometry = Geometry::new(1 << 14, Use::Calls).unwrap();
            let rings: Vec<_> = (0..2).map(|_| Arc::new(RingMemory::create(geometry).unwrap().0)).collect();
            let [ours, theirs] = linked(&rings, &Options::new());
            let mut callee = Callee::over(&ours);
            let mut dispatcher = patient(&began, &ended);
            std::thread::spawn(move || dispatcher.serve_forever(&mut callee));
            Caller::over(&theirs)
        },
        &begins,
        &ends,
    );
}

#[test]
fn a_blocking_handler_of_a_server_sees_that_its_call_is_cancelled() {
    let ((began, begins), (ended, ends)) = (channel(), channel());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.sock");
    let mut server = RpcServer::listen(&path).unwrap();
    let stopper = server.stopper();
    let mut dispatcher = patient(&began, &ended);
    let serving = std::thread::spawn(move || dispatcher.serve_forever(&mut server));
    handlers_see_their_end(|| Caller::connect(&path).unwrap(), &begins, &ends);
    stopper.stop();
    serving.join().unwrap().unwrap();
}

#[cfg(feature = "tokio")]
#[test]
fn the_future_of_an_async_handler_is_dropped_when_its_call_is_cancelled() {
    /// Says when the future ends.
    struct Ends(Sender<()>);
    impl Drop for Ends {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let ((began, begins), (ended, ends)) = (channel(), channel());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.sock");
    // Each caller has one place: a cancelled call that kept it would keep the next one out.
    let mut server = RpcServer::listen_with(&path, ServerOptions::new().in_flight(1, 1)).unwrap();
    let stopper = server.stopper();
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
    let (begin, end) = (began.clone(), ended.clone());
    dispatcher
        .register_async(2, "patient", move |_: Vec<u8>| {
            let (began, ends) = (begin.clone(), Ends(end.clone()));
            async move {
                began.send(()).unwrap();
                tokio::time::sleep(PATIENCE).await;
                drop(ends);
            }
        })
        .unwrap();
    let serving = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(dispatcher.serve_async(&mut server))
    });
    handlers_see_their_end(|| Caller::connect(&path).unwrap(), &begins, &ends);
    let mut caller = Caller::connect(&path).unwrap();
    let calls: Vec<_> = (0..3).map(|_| caller.start(2, b"").unwrap()).collect();
    for call in calls {
        begins.recv_timeout(PATIENCE).unwrap();
        cancel(&mut caller, call);
        ends.recv_timeout(PATIENCE).unwrap();
    }
    assert!(caller.core.rx.try_take().unwrap().is_none(), "a reply to a cancelled call");
    stopper.stop();
    serving.join().unwrap().unwrap();
}
