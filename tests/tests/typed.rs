//! Typed calls between two processes: every form of request and reply, and every way in which they can be malformed.
#![allow(clippy::unwrap_used, clippy::similar_names, clippy::float_cmp, reason = "tests of exact values")]

use std::time::Duration;

use tachyon::describe::EndpointKind;
use tachyon::payload::Fixed;
use tachyon::{CallError, Caller, ErrorKind};
use tachyon_tests::pricing::{
    self, Order, PriceReply, PriceRequest, PricingClient, Side, echo, flags, flags_reached, in_place, no_zero, nothing,
    numbers_reached, order, price, prices, sides, silent, squares, sum, turned, withdrawn,
};
use tachyon_tests::process::Program;
use tachyon_tests::temporary::socket;

const TYPED_PEER: Program = Program(env!("CARGO_BIN_EXE_typed_peer"));

fn an_order(side: Side) -> Order {
    Order { price: PriceRequest { instrument: 7, quantity: 10 }, account: *b"alice\0", side, partial: true }
}

#[test]
fn every_form_goes_there_and_back() {
    for (forward, reverse) in [("65536", "65536"), ("512", "256")] {
        let (_folder, path) = socket();
        let callee = TYPED_PEER.start("functions", &path, &[forward, reverse]);
        let mut caller = Caller::connect(&path).unwrap();
        assert_eq!(echo::call(&mut caller, b"bytes").unwrap(), *b"bytes");
        let reply = price::call(&mut caller, &PriceRequest { instrument: 7, quantity: 100 }).unwrap();
        assert_eq!((reply.bid, reply.ask), (99.0, 101.0));
        let in_place = price::call_in_place(&mut caller, &PriceRequest { instrument: 7, quantity: 100 }).unwrap();
        let owned: PriceReply = in_place.into_owned();
        assert_eq!(owned, PriceReply { bid: 99.0, ask: 101.0 });
        assert_eq!(order::call(&mut caller, &an_order(Side::Buy)).unwrap(), 1);
        assert_eq!(order::call(&mut caller, &an_order(Side::Sell)).unwrap(), 2);
        assert_eq!(sum::call(&mut caller, &[1.5, 2.5, 3.0]).unwrap(), 7.0);
        assert_eq!(sum::call(&mut caller, &[]).unwrap(), 0.0);
        let all = prices::call(&mut caller).unwrap();
        assert_eq!(all.iter().map(|reply| reply.bid).collect::<Vec<_>>(), [100.0, 20.0]);
        assert_eq!(all.len(), 2);
        nothing::call(&mut caller).unwrap();
        assert_eq!(squares::call(&mut caller, &5).unwrap(), [0, 1, 4, 9, 16]);
        assert!(squares::call(&mut caller, &0).unwrap().is_empty());
        let orders = [an_order(Side::Buy), an_order(Side::Sell)];
        assert_eq!(sides::call(&mut caller, &orders).unwrap(), [Side::Buy, Side::Sell]);
        let turned = turned::call(&mut caller.within(Duration::from_secs(9)), &orders[0]).unwrap();
        assert_eq!(turned, orders[1]);
        drop(caller);
        assert_eq!(callee.finish(), "2");
    }
}

fn remote(outcome: Result<(), CallError>) -> (ErrorKind, String) {
    match outcome {
        Err(CallError::Remote(error)) => (error.kind, error.text),
        other => panic!("{other:?}"),
    }
}

#[test]
fn malformed_requests_reach_no_handler() {
    let (_folder, path) = socket();
    let callee = TYPED_PEER.start("functions", &path, &["4096", "256"]);
    let mut caller = Caller::connect(&path).unwrap();
    let mut raw = |msg_type, payload: &[u8]| remote(caller.call(msg_type, payload).map(drop));
    for (msg_type, payload, text) in [
        (2, &[0; 7][..], "7 bytes came, and PriceRequest has 16"),
        (2, &[0; 17][..], "17 bytes came, and PriceRequest has 16"),
        (4, &[0; 9][..], "the request: 9 bytes came, which is no multiple of the 8 bytes of f64"),
        (5, &[0; 1][..], "1 bytes came where none are expected"),
        // The endpoint takes and returns nothing, so it is raw, and its error has no text.
        (6, &[0; 1][..], ""),
        (3, &[0; 24][..], "Order.side is 0, and Side has no such value"),
    ] {
        assert_eq!(raw(msg_type, payload), (ErrorKind::BadRequest, text.to_owned()), "{msg_type}");
    }
    let mut bytes = [1; 48];
    bytes[24 + 23] = 2;
    assert_eq!(raw(9, &bytes).1, "the request: Order.partial is 2, and bool has no such value");
    // An error of the handler, for comparison. The connection is still usable.
    assert_eq!(raw(2, &[0; 16]), (ErrorKind::HandlerFailed, "instrument 0 is not known".to_owned()));
    // The endpoint takes nothing and returns bytes, so it is raw, and its error has no text.
    assert_eq!(raw(8, &[]), (ErrorKind::BadReply, String::new()));
    let (kind, text) = raw(7, &1000u32.to_le_bytes());
    assert_eq!(kind, ErrorKind::ReplyTooLarge);
    assert!(text.contains("8000 bytes can never fit the reverse ring of 256"), "{text}");
    assert_eq!(remote(silent::call(&mut caller).map(drop)).0, ErrorKind::BadReply);
    assert_eq!(order::call(&mut caller, &an_order(Side::Buy)).unwrap(), 1);
    drop(caller);
    callee.finish();
}

#[test]
fn early_replies_are_kept_for_their_calls() {
    let (_folder, path) = socket();
    let callee = TYPED_PEER.start("functions", &path, &["4096", "4096"]);
    let mut caller = Caller::connect(&path).unwrap();
    let request = PriceRequest { instrument: 7, quantity: 0 };
    price::call(&mut caller, &request).unwrap();
    let early: Vec<_> = (0..100).map(|_| caller.start(6, &[]).unwrap()).collect();
    for _ in 0..10 {
        assert_eq!(price::call(&mut caller, &request).unwrap().ask, 100.0);
    }
    for call in early {
        assert!(caller.finish(call).unwrap().is_empty());
    }
    drop(caller);
    callee.finish();
}

#[test]
fn a_service_is_called_through_its_client() {
    let (_folder, path) = socket();
    let callee = TYPED_PEER.start("service", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    let mut client = PricingClient::new(&mut caller).within(Duration::from_secs(9));
    assert_eq!(client.price(&PriceRequest { instrument: 8, quantity: 0 }).unwrap().bid, 20.0);
    assert_eq!(client.order(&an_order(Side::Sell)).unwrap(), 1);
    assert_eq!(client.order(&an_order(Side::Sell)).unwrap(), 2);
    assert_eq!(client.orders().unwrap(), 2);
    assert_eq!(client.running(&[1.0, 2.0, 3.0]).unwrap(), [1.0, 3.0, 6.0]);
    let (kind, text) = remote(client.price(&PriceRequest { instrument: 9, quantity: 0 }).map(drop));
    assert_eq!((kind, text.as_str()), (ErrorKind::HandlerFailed, "instrument 9 is not known"));
    client.reset().unwrap();
    assert_eq!(client.orders().unwrap(), 0);
    drop(caller);
    assert_eq!(callee.finish(), "0");
}

#[test]
fn a_mismatch_names_the_field_before_anything_is_called() {
    let (_folder, path) = socket();
    let callee = TYPED_PEER.start("differs", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    for _ in 0..2 {
        let error = price::call(&mut caller, &PriceRequest { instrument: 7, quantity: 1 }).unwrap_err();
        assert!(matches!(error, CallError::Mismatch(_)));
        assert_eq!(
            error.to_string(),
            "price: field `quantity` of PriceRequest is i64 at offset 8 here, i32 at offset 8 at the callee; build \
             both sides from one definition"
        );
    }
    // Raw endpoints are not compared, and the callee itself reports a missing endpoint.
    assert_eq!(echo::call(&mut caller, b"raw").unwrap(), *b"raw");
    assert_eq!(remote(sum::call(&mut caller, &[1.0]).map(drop)).0, ErrorKind::NoHandler);
    assert_eq!(caller.outstanding(), 0);
    drop(caller);
    callee.finish();
}

#[test]
fn a_stream_on_one_side_alone_is_a_mismatch() {
    let (_folder, path) = socket();
    let callee = TYPED_PEER.start("compared", &path, &["streams"]);
    let mut caller = Caller::connect(&path).unwrap();
    let described = caller.describe().unwrap().endpoints.remove(0);
    assert_eq!(described.to_string(), "price(PriceRequest) -> stream of PriceReply");
    assert_eq!(described.kind(), EndpointKind::ServerStream);
    let error = price::call(&mut caller, &PriceRequest { instrument: 7, quantity: 1 }).unwrap_err();
    assert!(matches!(error, CallError::Mismatch(_)));
    assert_eq!(
        error.to_string(),
        "price is unary here, a server stream at the callee; build both sides from one definition"
    );
    assert_eq!(caller.outstanding(), 0);
    drop(caller);
    assert_eq!(callee.finish(), "2");
}

#[test]
fn a_callee_without_a_description_is_called_unchecked() {
    let (_folder, path) = socket();
    let callee = TYPED_PEER.start("by_hand", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    assert!(caller.ping(Duration::from_secs(9)).unwrap() < Duration::from_secs(9));
    match caller.describe() {
        Err(CallError::Remote(error)) => assert_eq!(error.kind, ErrorKind::NoHandler),
        other => panic!("{other:?}"),
    }
    let error = price::call(&mut caller, &PriceRequest { instrument: 7, quantity: 1 }).unwrap_err();
    assert!(matches!(error, CallError::BadReply { .. }));
    assert_eq!(error.to_string(), "price: the reply cannot be read: 3 bytes came, and PriceReply has 16");
    let error = sides::call(&mut caller, &[an_order(Side::Buy)]).unwrap_err();
    assert!(error.to_string().contains("is 7, and Side has no such value"), "{error}");
    assert_eq!(sum::call(&mut caller, &[4.0]).unwrap(), 4.0);
    drop(caller);
    callee.finish();
}

#[test]
fn a_description_is_complete_and_fits_any_ring() {
    let (_folder, path) = socket();
    let callee = TYPED_PEER.start("functions", &path, &["64", "64"]);
    let mut caller = Caller::connect(&path).unwrap();
    let description = caller.describe().unwrap();
    let heads: Vec<_> = description.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(
        heads,
        [
            "echo(bytes) -> bytes",
            "price(PriceRequest) -> PriceReply",
            "order(Order) -> u64",
            "sum(list[f64]) -> f64",
            "prices() -> list[PriceReply]",
            "nothing()",
            "squares(u32) -> list[u64]",
            "silent() -> bytes",
            "sides(list[Order]) -> list[Side]",
            "turned(Order) -> Order",
        ]
    );
    assert_eq!(description.endpoint(2).unwrap().doc, "Prices an instrument.");
    assert!(caller.describe_timeout(Duration::from_secs(9)).is_ok());
    let one = caller.describe_endpoint(4, None).unwrap().unwrap();
    assert_eq!((one.name.as_str(), one.agree_with(&one)), ("sum", Ok(())));
    assert!(one.agree_with(description.endpoint(2).unwrap()).is_err());
    assert_eq!(caller.describe_endpoint(404, None).unwrap(), None);
    drop(caller);
    callee.finish();

    let (_folder, path) = socket();
    let callee = TYPED_PEER.start("many", &path, &["1000"]);
    let mut caller = Caller::connect(&path).unwrap();
    let description = caller.describe().unwrap();
    assert_eq!(description.endpoints.len(), 1000);
    assert_eq!(description.endpoints[999].name, "endpoint_999");
    drop(caller);
    callee.finish();
}

#[test]
fn replies_are_written_in_place() {
    let (_folder, path) = socket();
    let callee = TYPED_PEER.start("slots", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    for _ in 0..3 {
        assert_eq!(in_place::call(&mut caller, &1.5).unwrap(), PriceReply { bid: 1.5, ask: 2.5 });
        let (kind, text) = remote(no_zero::call(&mut caller).map(drop));
        assert_eq!(kind, ErrorKind::HandlerFailed);
        assert!(text.contains("begins as zeros"), "{text}");
        assert_eq!(flags::call(&mut caller, &3).unwrap(), [true, false, false]);
        let (kind, text) = remote(flags::call(&mut caller, &65).map(drop));
        assert_eq!((kind, text.as_str()), (ErrorKind::HandlerFailed, "panicked: cannot send 65 values of 64"));
        assert_eq!(remote(withdrawn::call(&mut caller).map(drop)), (ErrorKind::HandlerFailed, String::new()));
    }
    drop(caller);
    callee.finish();
}

/// A hostile caller writes to the ring at any moment, and must not turn a `bool` of the handler into a 7.
#[test]
fn checked_replies_are_private_until_they_are_sent() {
    let (_folder, path) = socket();
    let callee = TYPED_PEER.start("slots", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    assert_eq!(numbers_reached::call(&mut caller).unwrap(), [1]);
    assert_eq!(flags_reached::call(&mut caller).unwrap(), [false]);
    drop(caller);
    callee.finish();
}

#[test]
fn a_malformed_description_is_an_error_and_the_connection_stays_usable() {
    let (_folder, path) = socket();
    let callee = TYPED_PEER.start("liar", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    for expected in ["no head", "longer", "longer", "stops", "missing field", "utf-8", "schema 99"] {
        let error = price::call(&mut caller, &PriceRequest { instrument: 7, quantity: 1 }).unwrap_err();
        assert!(matches!(&error, CallError::Describe(text) if text.contains(expected)), "{expected}: {error}");
        assert!(caller.ping(Duration::from_secs(9)).is_ok());
    }
    drop(caller);
    callee.finish();
}

#[test]
fn layouts_are_those_of_the_compiler() {
    let tachyon::payload::Layout::Struct(layout) = <Order as Fixed>::LAYOUT else { panic!("a struct") };
    assert_eq!((layout.name, layout.size, layout.align), ("Order", size_of::<Order>(), 8));
    let offsets: Vec<_> = layout.fields.iter().map(|field| (field.name, field.offset)).collect();
    assert_eq!(offsets, [("price", 0), ("account", 16), ("side", 22), ("partial", 23)]);
    assert!(layout.doc.starts_with("An order"));
    assert!(pricing::book().orders == 0);
}

#[test]
fn a_call_is_finished_by_the_caller_that_made_it() {
    let (_folder, path) = socket();
    let (_other_folder, other_path) = socket();
    let callees = [&path, &other_path].map(|path| TYPED_PEER.start("functions", path, &["65536", "65536"]));
    let mut callers = [&path, &other_path].map(|path| Caller::connect(path).unwrap());
    let [caller, other] = &mut callers;
    let sums = sum::start(caller, &[1.5, 2.5]).unwrap();
    // The same correlation id, and a reply that could be read as the other type.
    let squared = squares::start(other, &3).unwrap();
    assert_eq!(sums.correlation_id(), squared.correlation_id());
    assert!(matches!(sums.finish(other), Err(CallError::UnknownCorrelation(_))));
    assert_eq!(squared.finish(other).unwrap(), [0, 1, 4]);
    drop(callers);
    for callee in callees {
        callee.finish();
    }
}
