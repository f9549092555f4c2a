//! The context of a call, its metadata, and layers that refuse the call, in every way to serve, between two processes.
#![allow(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use std::path::Path;
use std::time::Duration;

use tachyon::{Caller, ErrorKind};
use tachyon_tests::context::{ASYNC_CLOSURE, CLOSURE, RAW, STOP, cancelled, later, nap, plain, slot, slow, watched};
use tachyon_tests::process::Program;
use tachyon_tests::raw_caller::{METADATA, RawCaller, answer, with_metadata};
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;

const CONTEXT_PEER: Program = Program(env!("CARGO_BIN_EXE_context_peer"));

const PATIENCE: Duration = Duration::from_secs(30);

const MALFORMED: &str = "the metadata of the request is malformed";

/// The route of control requests, as part of a type id.
const CONTROL: u32 = 1 << 16;
/// The route of cancellations.
const CANCEL: u32 = 2 << 16;

/// The roles that serve with a dispatcher, each with the endpoints that tell their context.
const SERVING: [(&str, &[(u16, &str)]); 4] = [
    ("callee", &[(plain::MSG_TYPE, "plain"), (slot::MSG_TYPE, "slot"), (CLOSURE, "closure")]),
    ("server", &[(plain::MSG_TYPE, "plain"), (slot::MSG_TYPE, "slot"), (CLOSURE, "closure")]),
    ("workers", &[(plain::MSG_TYPE, "plain"), (slot::MSG_TYPE, "slot"), (CLOSURE, "closure")]),
    (
        "tokio",
        &[
            (plain::MSG_TYPE, "plain"),
            (slot::MSG_TYPE, "slot"),
            (CLOSURE, "closure"),
            (later::MSG_TYPE, "later"),
            (ASYNC_CLOSURE, "async closure"),
        ],
    ),
];

fn text(reply: &[u8]) -> String {
    String::from_utf8(reply.to_vec()).unwrap()
}

/// As [`tachyon_tests::context::shown`], of a call of this process.
fn expected(msg_type: u16, name: &str, size: usize, metadata: &str) -> String {
    format!("{msg_type} {name} {} {size} for ever {metadata}", std::process::id())
}

#[test]
fn every_form_of_a_handler_gets_the_context_in_every_way_to_serve() {
    for (role, endpoints) in SERVING {
        let (_folder, path) = socket();
        let peer = CONTEXT_PEER.start(role, &path, &[]);
        wait::for_file(&path, PATIENCE);
        let mut caller = RawCaller::connect(&path);
        for (msg_type, name) in endpoints {
            // An async endpoint of bytes in reads them as they are, and a plain one in place.
            for (payload, metadata, shows) in [
                (&b"12345"[..], &[][..], ""),
                (b"", &[("tenant", "acme")], "tenant=acme"),
                (b"123", &[("a", ""), ("traceparent", "00-ab"), ("b.c_d-9", "ä")], "a=,traceparent=00-ab,b.c_d-9=ä"),
            ] {
                let reply = caller.call(*msg_type, payload, metadata).unwrap();
                assert_eq!(text(&reply), expected(*msg_type, name, payload.len(), shows), "{role}");
                // The next call has none of it.
                let reply = caller.exchange(u32::from(*msg_type), b"xy").unwrap();
                assert_eq!(text(&reply), expected(*msg_type, name, 2, ""), "{role}");
            }
        }
        if role != "callee" {
            caller.exchange(u32::from(STOP), b"").unwrap();
            assert_eq!(peer.finish(), "", "{role}");
        }
    }
}

/// Messages with the metadata's bit that no caller writes.
fn malformed() -> Vec<Vec<u8>> {
    let good = with_metadata(b"abc", &[("tenant", "acme"), ("token", "secret")]);
    let mut all = vec![
        vec![],
        b"abc".to_vec(),
        u32::MAX.to_le_bytes().to_vec(),
        with_metadata(b"", &[("Key", "acme")]),
        with_metadata(b"", &[("", "acme")]),
        with_metadata(b"", &[("tenant", "acme"), ("tenant", "acme")]),
        [good.as_slice(), b"x"].concat(),
    ];
    all.extend((1..good.len()).step_by(5).map(|cut| good[..cut].to_vec()));
    let mut not_utf8 = good.clone();
    not_utf8[3 + 3 + 6] = 0xFF;
    all.push(not_utf8);
    all
}

#[test]
fn malformed_metadata_is_refused_and_the_connection_goes_on() {
    for (role, _) in SERVING {
        let (_folder, path) = socket();
        let peer = CONTEXT_PEER.start(role, &path, &[]);
        wait::for_file(&path, PATIENCE);
        let mut caller = RawCaller::connect(&path);
        for message in malformed() {
            let type_id = METADATA | u32::from(plain::MSG_TYPE);
            let refused = Err((ErrorKind::BadRequest, MALFORMED.to_owned()));
            assert_eq!(caller.exchange(type_id, &message), refused, "{role} {message:?}");
            // The error reply of a raw endpoint has no text.
            let refused = Err((ErrorKind::BadRequest, String::new()));
            assert_eq!(caller.exchange(METADATA | u32::from(RAW), &message), refused, "{role} {message:?}");
            assert_eq!(caller.call(RAW, b"payload", &[("k", "v")]), Ok(b"payload".to_vec()));
        }
        // No control request has metadata, and no number without an endpoint.
        let unknown = Err((ErrorKind::NoHandler, String::new()));
        for route in [CONTROL, CANCEL, 3 << 16, 0x7FFF << 16] {
            assert_eq!(
                caller.exchange(METADATA | route, &with_metadata(b"", &[("k", "v")])),
                unknown,
                "{role} {route}"
            );
        }
        assert_eq!(caller.call(999, b"", &[("k", "v")]), unknown);
        assert_eq!(caller.exchange(CONTROL, b""), Ok(Vec::new()), "a ping");
        if role != "callee" {
            caller.exchange(u32::from(STOP), b"").unwrap();
            peer.finish();
        }
    }
}

#[test]
fn a_callee_without_a_dispatcher_reads_metadata_and_answers_what_is_malformed() {
    for role in ["by_hand", "trying"] {
        let (_folder, path) = socket();
        let _peer = CONTEXT_PEER.start(role, &path, &[]);
        wait::for_file(&path, PATIENCE);
        let mut caller = RawCaller::connect(&path);
        assert_eq!(caller.exchange(7, b"123").map(|reply| text(&reply)), Ok("7 3 ".to_owned()));
        let reply = caller.call(7, b"1234", &[("tenant", "acme"), ("k", "")]);
        assert_eq!(reply.map(|reply| text(&reply)), Ok("7 4 tenant=acme,k=".to_owned()));
        assert_eq!(caller.exchange(7, b"12").map(|reply| text(&reply)), Ok("7 2 ".to_owned()));
        for message in malformed() {
            let refused = Err((ErrorKind::BadRequest, MALFORMED.to_owned()));
            assert_eq!(caller.exchange(METADATA | 7, &message), refused, "{role} {message:?}");
        }
        // A request without metadata that is sent together with one that has some.
        caller.send(METADATA | 7, &with_metadata(b"1", &[("k", "1")]));
        caller.send(8, b"22");
        caller.send(METADATA | 9, &with_metadata(b"333", &[("k", "3")]));
        let replies = [(); 3].map(|()| text(&answer(caller.receive()).unwrap()));
        assert_eq!(replies, ["7 1 k=1", "8 2 ", "9 3 k=3"]);
    }
}

#[test]
fn requests_that_wait_for_a_place_or_their_turn_keep_their_metadata() {
    let (_folder, path) = socket();
    let peer = CONTEXT_PEER.start("one_place", &path, &[]);
    wait::for_file(&path, PATIENCE);
    let mut caller = RawCaller::connect(&path);
    let millis = 30u64.to_le_bytes();
    let mut send = |metadata: &[(&str, &str)]| {
        caller.send(METADATA | u32::from(nap::MSG_TYPE), &with_metadata(&millis, metadata));
    };
    send(&[("k", "1")]);
    send(&[("k", "2"), ("l", "x")]);
    send(&[]);
    caller.send(u32::from(nap::MSG_TYPE), &millis);
    caller.send(METADATA | u32::from(nap::MSG_TYPE), &with_metadata(&millis, &[("k", "5")]));
    let replies = [(); 5].map(|()| text(&answer(caller.receive()).unwrap()));
    assert_eq!(replies, ["k=1", "k=2,l=x", "", "", "k=5"].map(|metadata| expected(nap::MSG_TYPE, "nap", 8, metadata)));
    caller.exchange(u32::from(STOP), b"").unwrap();
    peer.finish();

    // A worker postpones requests of an endpoint that has been slow.
    let (_folder, path) = socket();
    let _peer = CONTEXT_PEER.start("workers", &path, &[]);
    wait::for_file(&path, PATIENCE);
    let mut caller = RawCaller::connect(&path);
    for round in 0..5 {
        let round = round.to_string();
        let reply = caller.call(slow::MSG_TYPE, &5u64.to_le_bytes(), &[("round", &round)]).unwrap();
        assert_eq!(text(&reply), expected(slow::MSG_TYPE, "slow", 8, &format!("round={round}")));
    }
}

#[test]
fn a_layer_refuses_calls_of_every_kind_by_their_metadata() {
    for (role, endpoints) in SERVING {
        let (_folder, path) = socket();
        let peer = CONTEXT_PEER.start(role, &path, &[]);
        wait::for_file(&path, PATIENCE);
        let mut caller = RawCaller::connect(&path);
        for (msg_type, name) in endpoints {
            // A closure, and an endpoint that writes bytes in place, are raw.
            let is_raw = [slot::MSG_TYPE, CLOSURE, ASYNC_CLOSURE].contains(msg_type);
            let said = |text: &str| if is_raw { String::new() } else { text.to_owned() };
            let refused = caller.call(*msg_type, b"12", &[("refuse", "not you")]);
            assert_eq!(refused, Err((ErrorKind::Unauthenticated, said("not you"))), "{role} {name}");
            let refused = caller.call(*msg_type, b"12", &[("refuse", "panic")]);
            assert_eq!(refused, Err((ErrorKind::HandlerFailed, said("a layer panicked: as told"))), "{role} {name}");
            let reply = caller.call(*msg_type, b"12", &[]).unwrap();
            assert_eq!(text(&reply), expected(*msg_type, name, 2, ""), "{role}");
        }
        if role != "callee" {
            caller.exchange(u32::from(STOP), b"").unwrap();
            let failures = peer.finish();
            let reported = if role == "tokio" { endpoints.len() } else { 0 };
            assert_eq!(failures.matches("a layer panicked").count(), reported, "{failures}");
        }
    }
}

fn connect(path: &Path) -> Caller {
    wait::for_file(path, PATIENCE);
    Caller::connect(path).unwrap()
}

#[test]
fn a_task_knows_its_deadline_and_a_thread_of_it_the_cancellation() {
    let (_folder, path) = socket();
    let _peer = CONTEXT_PEER.start("tokio", &path, &[]);
    let mut caller = connect(&path);
    assert!(later::call(&mut caller.within(PATIENCE), &[][..]).unwrap().contains(" due "));
    assert!(later::call(&mut caller, &[][..]).unwrap().contains(" for ever "));
    // Cancelled by its caller, by its deadline, and by the end of its caller.
    let call = caller.start(watched::MSG_TYPE, b"").unwrap();
    caller.ping(PATIENCE).unwrap();
    assert_eq!(cancelled::call(&mut caller).unwrap(), 0);
    assert!(caller.forget(call));
    wait::until("the cancellation", PATIENCE, || cancelled::call(&mut caller).unwrap() == 1);
    assert!(watched::call(&mut caller.within(Duration::from_millis(50))).is_err());
    wait::until("the deadline", PATIENCE, || cancelled::call(&mut caller).unwrap() == 2);
    let mut other = connect(&path);
    other.start(watched::MSG_TYPE, b"").unwrap();
    other.ping(PATIENCE).unwrap();
    drop(other);
    wait::until("the end of the caller", PATIENCE, || cancelled::call(&mut caller).unwrap() == 3);
}
