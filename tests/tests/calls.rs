//! Callers of generated code: settings, clients over every kind of caller, calls in flight, layers, between two
//! processes.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tachyon::client::pool::PooledCaller;
use tachyon::error::CommitError;
use tachyon::rpc::{CallOutcome, CallerLayer, Calls, MetadataError, OutgoingCall, With};
use tachyon::{CallError, Caller, ErrorKind, Options, Pool, PoolOptions, tachyon_rpc};
use tachyon_tests::calls::{TallyClient, add, record_and_die_once, repeat};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;
use tempfile::TempDir;

const CALLS: Program = Program(env!("CARGO_BIN_EXE_calls"));

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Place {
    folder: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let (folder, path) = socket();
        Self { folder, path }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn serve(&self) -> Peer {
        CALLS.start("serve", &self.path, &[self.log().to_str().unwrap()])
    }

    fn recorded(&self) -> Vec<u64> {
        let log = std::fs::read(self.log()).unwrap_or_default();
        log.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
    }

    fn caller(&self) -> Caller {
        Caller::connect(&self.path).unwrap()
    }

    fn pool(&self, max: usize) -> Pool {
        Pool::new(&self.path, &Options::new(), &PoolOptions::new().max(max))
    }
}

fn doubles<C: Calls>(calls: C) -> C {
    let mut client = TallyClient::new(calls).within(PATIENCE).idempotent();
    assert_eq!(client.double(21).unwrap(), 42);
    let failed = client.fails().unwrap_err();
    assert!(matches!(&failed, CallError::Remote(error) if error.text == "on purpose"), "{failed:?}");
    client.into_inner()
}

/// A client is a field like any other.
struct Clients<'p> {
    owned: TallyClient<Caller>,
    shared: TallyClient<Arc<Pool>>,
    limited: TallyClient<With<&'p Pool>>,
}

#[test]
fn clients_call_through_every_kind_of_caller() {
    let place = Place::new();
    let _server = place.serve();
    let mut caller = doubles(place.caller());
    doubles(&mut caller);
    drop(doubles(caller.within(PATIENCE)));
    doubles(&mut caller.idempotent());
    let pool = Arc::new(place.pool(2));
    doubles(&*pool);
    doubles(Arc::clone(&pool));
    doubles(place.pool(1));
    drop(doubles(pool.within(PATIENCE).idempotent()));
    drop(doubles(pool.get().unwrap()));
    let mut pooled: PooledCaller<'_> = pool.get().unwrap();
    doubles(&mut pooled);
    drop(pooled);
    let mut clients = Clients {
        owned: TallyClient::new(caller),
        shared: TallyClient::new(Arc::clone(&pool)),
        limited: TallyClient::new(pool.within(PATIENCE)),
    };
    let sum = clients.owned.double(1).unwrap() + clients.shared.double(1).unwrap() + clients.limited.double(1).unwrap();
    assert_eq!(sum, 6);
    assert!(pool.len() <= 2);
}

#[test]
fn endpoints_and_clients_share_one_caller() {
    let place = Place::new();
    let _server = place.serve();
    let mut caller = place.caller();
    for number in 0..3 {
        assert_eq!(TallyClient::new(&mut caller).double(number).unwrap(), 2 * number);
        assert_eq!(add::call(&mut caller, number, 1).unwrap(), number + 1);
    }
    let mut client = TallyClient::new(&mut caller);
    assert_eq!(add::call(client.get_mut(), 1, 2).unwrap(), 3);
    assert_eq!(client.double(1).unwrap(), 2);
}

#[test]
fn threads_call_endpoints_through_one_pool() {
    let place = Place::new();
    let _server = place.serve();
    let pool = place.pool(2);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let mut pool = &pool;
            scope.spawn(move || {
                for number in 0..50 {
                    assert_eq!(add::call(&mut pool, thread, number).unwrap(), thread + number);
                    assert_eq!(add::call(&mut pool.within(PATIENCE), thread, 1).unwrap(), thread + 1);
                    assert_eq!(repeat::call(&mut pool, "text ", 100).unwrap().len(), 500);
                }
            });
        }
    });
    assert!(pool.len() <= 2);
}

#[test]
fn a_pool_without_a_free_caller_or_a_listener_is_an_error_of_the_call() {
    let place = Place::new();
    let pool = Pool::new(&place.path, &Options::new().timeout(Duration::ZERO), &PoolOptions::new().max(1));
    let missing = add::call(&mut &pool, 1, 2).unwrap_err();
    assert!(matches!(&missing, CallError::Unreachable { path, sent: false, .. } if *path == place.path), "{missing:?}");
    let _server = place.serve();
    let pool = place.pool(1);
    let held = pool.get().unwrap();
    let limit = Duration::from_millis(10);
    let taken = add::call(&mut pool.within(limit), 1, 2).unwrap_err();
    assert!(matches!(taken, CallError::Exhausted { max: 1, waited } if waited <= limit), "{taken:?}");
    assert!(!taken.sent());
    let taken = pool.call_timeout(1, b"", limit).unwrap_err();
    assert!(matches!(taken, CallError::Exhausted { max: 1, .. }), "{taken:?}");
    drop(held);
    assert_eq!(add::call(&mut &pool, 1, 2).unwrap(), 3);
}

#[test]
fn calls_of_a_service_are_in_flight_together() {
    let place = Place::new();
    let _server = place.serve();
    let mut client = TallyClient::new(place.caller());
    let first = client.starting().slowly(20, 1).unwrap();
    let given_up = client.starting().slowly(20, 2).unwrap();
    let third = client.starting().double(3).unwrap();
    let fourth = client.starting().fails().unwrap();
    assert_eq!(client.get_mut().outstanding(), 4);
    assert_eq!(third.finish(client.get_mut()).unwrap(), 6);
    let mut other = place.caller();
    assert!(given_up.cancel(client.get_mut()));
    assert!(matches!(fourth.finish(client.get_mut()), Err(CallError::Remote(_))));
    assert_eq!(first.finish_in_place(client.get_mut()).unwrap().get(), 1);
    assert_eq!(client.get_mut().outstanding(), 0);
    let of_client = client.starting().double(1).unwrap();
    let id = of_client.correlation_id();
    assert!(!of_client.cancel(&mut other), "another caller's call stays");
    assert!(client.get_mut().forget(id));
    assert_eq!(client.double(4).unwrap(), 8);
}

/// Calls an endpoint while its first server dies, and a second one takes its place.
fn while_the_server_dies(
    place: &Place,
    call: impl FnOnce() -> Result<u64, CallError> + Send,
) -> Result<u64, CallError> {
    let first = place.serve();
    std::thread::scope(|scope| {
        let outcome = scope.spawn(call);
        wait::until("the first request", PATIENCE, || !place.recorded().is_empty());
        drop(first);
        let _second = place.serve();
        outcome.join().unwrap()
    })
}

#[test]
fn an_idempotent_typed_call_outlives_its_callee() {
    let place = Place::new();
    let outcome = while_the_server_dies(&place, || {
        let options = Options::new().reconnect(true);
        let mut caller = Caller::connect_with(&place.path, &options).unwrap();
        record_and_die_once::call(&mut caller.idempotent().within(PATIENCE), 7).map_err(CallError::into_undeclared)
    });
    assert_eq!(outcome.unwrap(), 7);
    assert_eq!(place.recorded(), [7, 7]);
}

#[test]
fn an_idempotent_typed_call_of_a_pool_outlives_its_callee() {
    let place = Place::new();
    let outcome = while_the_server_dies(&place, || {
        let pool = place.pool(1);
        record_and_die_once::call(&mut pool.idempotent(), 7).map_err(CallError::into_undeclared)
    });
    assert_eq!(outcome.unwrap(), 7);
    assert_eq!(place.recorded(), [7, 7]);
}

#[test]
fn another_typed_call_is_lost_with_its_callee() {
    let place = Place::new();
    let outcome = while_the_server_dies(&place, || {
        let mut caller = Caller::connect_with(&place.path, &Options::new().reconnect(true)).unwrap();
        record_and_die_once::call(&mut caller, 7).map_err(CallError::into_undeclared)
    });
    assert!(matches!(outcome, Err(CallError::PeerDead { sent: true })), "{outcome:?}");
    assert_eq!(place.recorded(), [7]);
}

/// The tap's answer to a typed request.
#[tachyon_rpc(msg_type = 9)]
fn tapped(text: &str, number: u64) -> Vec<u8> {
    let _ = (text, number);
    Vec::new()
}

/// The tap's answer to a request of bytes.
#[tachyon_rpc(msg_type = 10)]
fn tapped_bytes(payload: &[u8]) -> Vec<u8> {
    payload.to_vec()
}

#[test]
fn metadata_travels_with_every_form_of_a_request() {
    let (_folder, path) = socket();
    let callee = CALLS.start("tap", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    for size in [0, 5, 23, 24, 200, 232, 233, 1000] {
        let text = "x".repeat(size);
        let plain = tapped::call(&mut caller, &text, 7).unwrap();
        assert_eq!(plain[..4], 9_u32.to_le_bytes());
        let expected = [&plain, &b"trace=ab;"[..]].concat();
        assert_eq!(tapped::call(&mut caller.metadata("trace", "ab"), &text, 7).unwrap(), expected, "{size}");
        let started = tapped::start(&mut caller.metadata("trace", "ab").within(PATIENCE), &text, 7).unwrap();
        assert_eq!(started.finish(&mut caller).unwrap(), expected);
        let in_place = tapped::call_in_place(&mut caller.metadata("trace", "ab"), &text, 7).map(|reply| {
            assert_eq!(*reply.get(), expected);
        });
        in_place.unwrap();
        let expected = [&10_u32.to_le_bytes(), text.as_bytes(), b"trace=ab;"].concat();
        assert_eq!(tapped_bytes::call(&mut caller.metadata("trace", "ab"), text.as_bytes()).unwrap(), expected);
        assert_eq!(&*caller.metadata("trace", "ab").call(10, text.as_bytes()).unwrap(), expected);
        let call = caller.idempotent().metadata("trace", "ab").start(10, text.as_bytes()).unwrap();
        assert_eq!(&*caller.finish(call).unwrap(), expected);
        let mut guard = caller.metadata("trace", "ab").within(PATIENCE).reserve_call(10, size + 9).unwrap();
        assert_eq!(guard.len(), size + 9);
        guard[..size].copy_from_slice(text.as_bytes());
        let call = guard.commit(size).unwrap();
        assert_eq!(&*caller.finish(call).unwrap(), expected);
        let too_large = caller.metadata("trace", "ab").reserve_call(10, usize::MAX).unwrap_err();
        assert!(matches!(too_large, CallError::TooLarge { .. }), "{too_large:?}");
        let guard = caller.metadata("trace", "ab").reserve_call(10, size).unwrap();
        let too_long = guard.commit(size + 1).unwrap_err();
        assert!(matches!(too_long, CommitError::TooLong { .. }), "{too_long:?}");
    }
    assert_eq!(caller.outstanding(), 0);
    drop(caller);
    callee.finish();
}

#[test]
fn metadata_that_cannot_travel_is_an_error_and_nothing_is_sent() {
    let (_folder, path) = socket();
    let callee = CALLS.start("tap", &path, &[]);
    let mut caller = Caller::connect(&path).unwrap();
    let refused = tapped::call(&mut caller.metadata("Trace", "ab").within(PATIENCE), "", 7).unwrap_err();
    assert!(matches!(&refused, CallError::Metadata(MetadataError::Key { key }) if key == "Trace"), "{refused:?}");
    assert!(!refused.sent());
    let long = "v".repeat(1000);
    let refused = caller.metadata("a", &long).metadata("b", &long).call(10, b"").map(drop).unwrap_err();
    assert!(matches!(refused, CallError::Metadata(MetadataError::TooLarge { .. })), "{refused:?}");
    let refused = tapped::start(&mut caller.metadata("", ""), "", 7).map(drop).unwrap_err();
    assert!(matches!(refused, CallError::Metadata(_)), "{refused:?}");
    let refused = caller.metadata("a", &long).call(10, &[0; 4000]).map(drop).unwrap_err();
    assert!(matches!(refused, CallError::TooLarge { size: 5008, max: 4096 }), "{refused:?}");
    let pool = Pool::new(&path, &Options::new(), &PoolOptions::new());
    let refused = tapped::call(&mut pool.metadata(" ", ""), "", 7).unwrap_err();
    assert!(matches!(refused, CallError::Metadata(_)), "{refused:?}");
    assert_eq!((caller.outstanding(), pool.len()), (0, 0));
    // One entry is replaced, and 1017 bytes of text are the most beside a key of 4.
    let most = "v".repeat(1017);
    let seen = caller.metadata("most", "x").metadata("most", &most).call(10, b"").unwrap().to_vec();
    assert_eq!(seen[4..], *format!("most={most};").as_bytes());
    drop(caller);
    callee.finish();
}

/// Notes what a layer sees, adds metadata, and refuses calls of 13.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn add(&self, note: String) {
        self.0.lock().unwrap().push(note);
    }
}

impl CallerLayer for Notes {
    fn before(&self, call: &mut OutgoingCall) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.add(format!("{} `{}` of {}", call.msg_type, call.name, call.request_size));
        assert!(call.msg_type != 14, "on purpose");
        if call.msg_type == 13 {
            return Err("13 is refused".into());
        }
        call.metadata.insert("layer", if call.remaining().is_some() { "limited" } else { "patient" })?;
        Ok(())
    }

    fn after(&self, call: &OutgoingCall, outcome: CallOutcome<'_>, took: Duration) {
        assert!(took < PATIENCE);
        let how = match outcome {
            CallOutcome::Replied(size) => format!("replied {size}"),
            CallOutcome::Failed(CallError::Remote(error)) => format!("{} {}", error.kind.name(), error.text),
            CallOutcome::Failed(error) => format!("{error:?}").chars().take_while(|c| c.is_alphabetic()).collect(),
            other => format!("{other:?}"),
        };
        self.add(format!("{} {how}", call.msg_type));
        assert!(call.msg_type != 10, "on purpose");
    }
}

/// Notes the calls that have ended.
#[derive(Default)]
struct Outcomes(Mutex<Vec<u16>>);

impl CallerLayer for Outcomes {
    fn after(&self, call: &OutgoingCall, _outcome: CallOutcome<'_>, _took: Duration) {
        self.0.lock().unwrap().push(call.msg_type);
    }
}

#[test]
fn layers_add_metadata_and_see_every_outcome() {
    let (_folder, path) = socket();
    let callee = CALLS.start("tap", &path, &[]);
    let notes = Arc::new(Notes::default());
    let mut caller = Caller::connect(&path).unwrap();
    let outer = Arc::new(Outcomes::default());
    caller.layer(Arc::clone(&outer)).layer(Arc::clone(&notes));
    let seen = tapped_bytes::call(&mut caller, b"abc").unwrap();
    assert_eq!(seen, [&10_u32.to_le_bytes(), &b"abclayer=patient;"[..]].concat());
    assert_eq!(notes.take(), ["10 `tapped_bytes` of 3", "10 replied 21"]);
    let seen = caller.within(PATIENCE).call(11, b"").unwrap().to_vec();
    assert_eq!(seen, [&11_u32.to_le_bytes(), &b"layer=limited;"[..]].concat());
    assert_eq!(notes.take(), ["11 `` of 0", "11 replied 18"]);

    let refused = caller.call(13, b"no").map(drop).unwrap_err();
    assert!(matches!(&refused, CallError::Refused(reason) if reason.to_string() == "13 is refused"), "{refused:?}");
    assert!(!refused.sent());
    let refused = caller.call(14, b"").map(drop).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "a layer of the caller refused the call: a layer panicked: on purpose; nothing was sent"
    );
    // The layer that refuses a call does not see its end.
    assert_eq!(notes.take(), ["13 `` of 2", "14 `` of 0"]);
    assert_eq!(*outer.0.lock().unwrap(), [10, 11, 13, 14]);

    let late = caller.within(Duration::from_millis(5)).call(1, b"").map(drop);
    assert!(matches!(late, Err(CallError::TimedOut { .. })), "{late:?}");
    assert_eq!(notes.take(), ["1 `` of 0", "1 TimedOut"]);
    let calls: Vec<_> = (20..25).map(|number| caller.start(number, b"").unwrap()).collect();
    drop(caller.finish(calls[2]).unwrap());
    assert!(caller.forget(calls[0]));
    wait::until("a reply", PATIENCE, || caller.try_finish(calls[1]).unwrap().is_some());
    drop(caller.finish_timeout(calls[3], PATIENCE).unwrap());
    assert_eq!(notes.take()[5..], ["22 replied 18", "20 GivenUp", "21 replied 18", "23 replied 18"]);
    drop(caller.reserve_call(30, 3).unwrap());
    let call = caller.reserve_call(31, 3).unwrap().commit(0).unwrap();
    assert_eq!(&caller.finish(call).unwrap()[4..], b"layer=patient;");
    assert!(caller.reserve_call(32, 5000).is_err());
    assert_eq!(
        notes.take(),
        ["30 `` of 3", "30 GivenUp", "31 `` of 3", "31 replied 18", "32 `` of 5000", "32 TooLarge"]
    );
    let started = tapped::start(&mut caller, "", 1).unwrap();
    started.finish(&mut caller).unwrap();
    let started = tapped::start(&mut caller, "", 1).unwrap();
    assert!(started.cancel(&mut caller));
    assert_eq!(notes.take(), ["9 `tapped` of 24", "9 replied 42", "9 `tapped` of 24", "9 GivenUp"]);
    assert!(caller.ping(PATIENCE).is_ok());
    drop(caller);
    assert_eq!(notes.take(), ["24 GivenUp"]);
    callee.finish();
}

#[test]
fn a_layer_sees_each_attempt_at_a_call() {
    let place = Place::new();
    let notes = Arc::new(Notes::default());
    let outcome = while_the_server_dies(&place, || {
        let mut caller = Caller::connect_with(&place.path, &Options::new().reconnect(true)).unwrap();
        caller.layer(Arc::clone(&notes));
        record_and_die_once::call(&mut caller.idempotent(), 7).map_err(CallError::into_undeclared)
    });
    assert_eq!(outcome.unwrap(), 7);
    let seen = notes.take();
    let name = "2 `record_and_die_once` of 8";
    assert_eq!(
        (seen[0].as_str(), seen[1].as_str(), seen.last().unwrap().as_str()),
        (name, "2 PeerDead", "2 replied 8")
    );
    assert!(seen.len() >= 4 && seen[seen.len() - 2] == name, "{seen:?}");
}

#[test]
fn layers_of_a_pool_see_the_calls_of_all_its_callers() {
    let place = Place::new();
    let _server = place.serve();
    let notes = Arc::new(Notes::default());
    let mut pool = place.pool(1);
    pool.layer(Arc::clone(&notes));
    let pool = Arc::new(pool);
    let error = pool.call(4, b"").unwrap_err();
    assert!(matches!(&error, CallError::Remote(error) if error.kind == ErrorKind::NoHandler), "{error:?}");
    let mut pooled = pool.get().unwrap();
    let given_up = pooled.start(4, b"").unwrap();
    assert!(given_up > 0);
    drop(pooled);
    assert_eq!(notes.take(), ["4 `` of 0", "4 NoHandler ", "4 `` of 0", "4 GivenUp"]);
}
