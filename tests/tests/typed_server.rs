//! Typed endpoints of a server, and of callers that connect again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use tachyon::payload::Value;
use tachyon::{CallError, Caller, Dispatcher, ErrorKind, Options, RpcServer, ServeError, endpoints};
use tachyon_tests::pricing::{
    self, Frame, MarkedFrame, Order, PriceRequest, Side, echo, last_pixel, marked_pixel, order, price, squares, sum,
};
use tachyon_tests::process::Program;
use tachyon_tests::temporary::socket;

const TYPED_PEER: Program = Program(env!("CARGO_BIN_EXE_typed_peer"));

const REQUEST: PriceRequest = PriceRequest { instrument: 7, quantity: 100 };
const ORDER: Order = Order { price: REQUEST, account: *b"alice\0", side: Side::Buy, partial: false };
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn callers_of_a_server_share_its_state_and_may_change_it() {
    let (_folder, path) = socket();
    let _server = TYPED_PEER.start("server", &path, &[]);
    let (mut first, mut second) = (Caller::connect(&path).unwrap(), Caller::connect(&path).unwrap());
    let reply = price::call(&mut first, &REQUEST).unwrap();
    assert_eq!((reply.bid.to_bits(), reply.ask.to_bits()), (99f64.to_bits(), 101f64.to_bits()));
    assert_eq!(order::call(&mut first, &ORDER).unwrap(), 1);
    assert_eq!(order::call(&mut second.within(PATIENCE), &ORDER).unwrap(), 2);
    assert_eq!(order::call(&mut first, &ORDER).unwrap(), 3);
    assert_eq!(sum::call(&mut second, &[1.5, 2.5]).unwrap().to_bits(), 4f64.to_bits());
}

#[test]
fn a_server_describes_itself_to_every_caller() {
    let (_folder, path) = socket();
    let _server = TYPED_PEER.start("server", &path, &[]);
    let table = endpoints![echo, price, order, sum, squares];
    let expected = Dispatcher::with_state(pricing::book(), table).describe();
    for _ in 0..2 {
        let mut caller = Caller::connect(&path).unwrap();
        assert_eq!(caller.describe_timeout(PATIENCE).unwrap(), expected);
        let one = caller.describe_endpoint(3, Some(PATIENCE)).unwrap().unwrap();
        assert_eq!(Some(&one), expected.endpoint(3));
        assert_eq!(caller.describe_endpoint(999, Some(PATIENCE)).unwrap(), None);
        caller.ping(PATIENCE).unwrap();
    }
}

#[test]
fn a_reply_written_in_place_waits_for_room_without_stopping_others() {
    let (_folder, path) = socket();
    let _server = TYPED_PEER.start("server", &path, &[]);
    let mut greedy = Caller::connect(&path).unwrap();
    let mut other = Caller::connect(&path).unwrap();
    // Each reply takes 1600 of the 4096 bytes of the reverse ring, and the caller takes none yet.
    let count = 200_u32;
    let calls: Vec<u64> = (0..8).map(|_| greedy.start(7, &count.to_le_bytes()).unwrap()).collect();
    for _ in 0..50 {
        assert_eq!(echo::call(&mut other.within(PATIENCE), b"served").unwrap(), *b"served");
    }
    let expected: Vec<u8> = (0..u64::from(count)).flat_map(|number| (number * number).to_le_bytes()).collect();
    for call in calls {
        assert_eq!(*greedy.finish_timeout(call, PATIENCE).unwrap(), *expected);
    }
    assert_eq!(squares::call(&mut greedy, &3).unwrap(), [0, 1, 4]);
}

#[test]
fn workers_refuse_an_endpoint_that_changes_the_state() {
    let (_folder, path) = socket();
    let mut server = RpcServer::listen(&path).unwrap();
    for workers in [1, 2] {
        let refused = Dispatcher::with_state(pricing::book(), endpoints![price, order]);
        let error = refused.serve_workers(&mut server, workers).unwrap_err();
        assert!(matches!(&error, ServeError::Exclusive { name, msg_type: 3 } if name == "order"), "{error}");
    }
    let stopper = server.stopper();
    let service = std::thread::spawn(move || {
        Dispatcher::with_state(pricing::book(), endpoints![price]).serve_workers(&mut server, 2)
    });
    price::call(&mut Caller::connect(&path).unwrap(), &REQUEST).unwrap();
    stopper.stop();
    service.join().unwrap().unwrap();
}

#[test]
fn the_contract_is_compared_again_after_a_reconnect() {
    let (_folder, path) = socket();
    let callee = TYPED_PEER.start("functions", &path, &["4096", "4096"]);
    let mut caller = Caller::connect_with(&path, &Options::new().reconnect(true)).unwrap();
    price::call(&mut caller, &REQUEST).unwrap();
    drop(callee); // by SIGKILL
    let _callee = TYPED_PEER.start("differs", &path, &[]);
    let error = loop {
        match price::call(&mut caller.within(PATIENCE), &REQUEST) {
            // The caller had sent the request before it noticed the death.
            Err(CallError::Closed { .. } | CallError::PeerDead { .. }) => {}
            outcome => break outcome.unwrap_err(),
        }
    };
    assert!(matches!(error, CallError::Mismatch(_)), "{error}");
    assert_eq!(echo::call(&mut caller, b"usable").unwrap(), *b"usable");
}

/// A value of equal bytes, made on the heap: it is larger than a stack.
fn boxed<T: tachyon::payload::Fixed>(byte: u8) -> Box<[T]> {
    Vec::<T>::from_bytes(&vec![byte; size_of::<T>()]).unwrap().into()
}

#[test]
fn values_larger_than_a_stack_are_served() {
    let (_folder, path) = socket();
    let _server = TYPED_PEER.start("frames", &path, &[]);
    let serve = |mut caller: Caller| {
        let (frame, marked) = (boxed::<Frame>(1), boxed::<MarkedFrame>(1));
        assert_eq!(last_pixel::call(&mut caller, &frame[0]).unwrap(), 1);
        assert_eq!(marked_pixel::call(&mut caller, &marked[0]).unwrap(), Some(1));
        let started = marked_pixel::start(&mut caller, &marked[0]).unwrap();
        assert_eq!(started.finish(&mut caller).unwrap(), Some(1));
        // A value whose `bool` is 2 is refused, and the connection stays usable.
        let wrong = vec![2; size_of::<MarkedFrame>()];
        let refused = caller.call(41, &wrong).map(drop);
        assert!(
            matches!(&refused, Err(CallError::Remote(error)) if error.kind == ErrorKind::BadRequest),
            "{refused:?}"
        );
        assert_eq!(last_pixel::call(&mut caller, &frame[0]).unwrap(), 1);
    };
    let caller = Caller::connect(&path).unwrap();
    // A stack as small as the stacks of the workers.
    std::thread::Builder::new().stack_size(1 << 20).spawn(move || serve(caller)).unwrap().join().unwrap();
}
