//! Typed calls from tasks to another process: every form, the comparison of the first call, and calls made again.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test fails by panicking, and values are exact")]

use std::error::Error;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tachyon::rpc::{CallOutcome, CallerLayer, MetadataError, OutgoingCall};
use tachyon::{AsyncCaller, CallError, Caller, ErrorKind, Options, tachyon_rpc};
use tachyon_tests::contract::async_calls;
use tachyon_tests::pricing::{
    PriceReply, PriceRequest, PricingAsyncClient, described, described_bytes, echo, price, sum,
};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::service::Place;
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;
use tokio::task::JoinSet;

const MOMENT: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_mins(1);
const REQUEST: PriceRequest = PriceRequest { instrument: 7, quantity: 100 };
const REPLY: PriceReply = PriceReply { bid: 99.0, ask: 101.0 };

fn typed(role: &str, path: &Path, arguments: &[&str]) -> Peer {
    Program(env!("CARGO_BIN_EXE_typed_peer")).start(role, path, arguments)
}

fn contract(role: &str, path: &Path, argument: &str) -> Peer {
    Program(env!("CARGO_BIN_EXE_contract")).start(role, path, &[argument])
}

/// Runs a test in a runtime of one thread, where no operation may block, and in a runtime of two threads.
fn in_both<F: Future<Output = ()>>(test: impl Fn() -> F) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test());
}

async fn reconnecting(path: &Path) -> AsyncCaller {
    AsyncCaller::connect_with(path, &Options::new().reconnect(true).timeout(PATIENCE)).await.unwrap()
}

#[test]
fn every_form_goes_there_and_back() {
    in_both(|| async {
        // Rings that hold many messages, and rings that hold few.
        for size in ["1048576", "65536"] {
            let (_folder, path) = socket();
            let callee = contract("one", &path, size);
            let caller = AsyncCaller::connect(&path).await.unwrap();
            async_calls::call_every_form(&caller).await;
            async_calls::call_every_form(&caller.within(PATIENCE)).await;
            assert_eq!(caller.outstanding(), 0);
            drop(caller);
            assert_eq!(callee.finish(), "");
        }
    });
}

#[test]
fn several_arguments_errors_and_services() {
    in_both(|| async {
        let (_folder, path) = socket();
        let _server = contract("many_server", &path, "2");
        let caller = AsyncCaller::connect(&path).await.unwrap();
        async_calls::call_several_arguments(&caller).await;
        async_calls::call_every_reply(&caller).await;
        async_calls::call_every_taker(&caller).await;
        async_calls::fail_in_every_way(&caller, "", "panicked: ").await;

        let (_folder, path) = socket();
        let _callee = contract("many", &path, "4096");
        async_calls::exceed_rings(&AsyncCaller::connect(&path).await.unwrap()).await;

        let (_folder, path) = socket();
        let _callee = contract("sensor", &path, "65536");
        async_calls::call_service(AsyncCaller::connect(&path).await.unwrap()).await;
    });
}

#[test]
fn typed_requests_wait_for_room_in_their_order() {
    in_both(|| async {
        let (_folder, path) = socket();
        // A ring for two requests.
        let _callee = typed("functions", &path, &["4096", "4096"]);
        let caller = AsyncCaller::connect(&path).await.unwrap();
        let mut tasks = JoinSet::new();
        for number in 0..200u16 {
            let caller = caller.clone();
            tasks.spawn(async move {
                let numbers = vec![f64::from(number); 200];
                assert_eq!(sum::call_async(&caller, &numbers).await.unwrap(), f64::from(number) * 200.0);
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        assert_eq!(caller.outstanding(), 0);
    });
}

/// The request with its fields in another order.
mod swapped {
    #[tachyon::payload]
    pub(super) struct PriceRequest {
        pub(super) quantity: i64,
        pub(super) instrument: u64,
    }

    #[tachyon::tachyon_rpc(msg_type = 2)]
    pub(super) fn price(_request: &PriceRequest) -> super::PriceReply {
        super::REPLY
    }
}

#[test]
fn swapped_fields_are_the_same_mismatch_from_a_task_and_from_a_thread() {
    in_both(|| async {
        let (_folder, path) = socket();
        let _server = typed("server", &path, &[]);
        let caller = AsyncCaller::connect(&path).await.unwrap();
        let request = swapped::PriceRequest { quantity: 100, instrument: 7 };
        let mut blocking = Caller::connect(&path).unwrap();
        let expected = swapped::price::call(&mut blocking, &request).unwrap_err();
        drop(blocking);
        for _ in 0..2 {
            let error = swapped::price::call_async(&caller, &request).await.unwrap_err();
            assert!(matches!(error, CallError::Mismatch(_)) && !error.sent(), "{error:?}");
            assert_eq!(error.to_string(), expected.to_string());
            assert!(
                error.to_string().starts_with("price: field `quantity` of PriceRequest is i64 at offset 0 here"),
                "{error}"
            );
        }
        assert_eq!(price::call_async(&caller, &REQUEST).await.unwrap(), REPLY);
        // Raw endpoints are not compared.
        assert_eq!(echo::call_async(&caller, b"raw").await.unwrap(), *b"raw");
        assert_eq!(caller.outstanding(), 0);
    });
}

#[test]
fn a_hundred_first_calls_compare_once() {
    in_both(|| async {
        let (_folder, path) = socket();
        let callee = typed("compared", &path, &["answer"]);
        let caller = AsyncCaller::connect(&path).await.unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            let caller = caller.clone();
            tasks.spawn(async move { price::call_async(&caller, &REQUEST).await.unwrap() });
        }
        while let Some(task) = tasks.join_next().await {
            assert_eq!(task.unwrap(), REPLY);
        }
        assert_eq!(price::call_async(&caller.within(PATIENCE), &REQUEST).await.unwrap(), REPLY);
        drop(caller);
        assert_eq!(callee.finish(), "1");
    });
}

#[test]
fn a_callee_that_dies_at_the_comparison_has_not_begun_the_call() {
    in_both(|| async {
        let (_folder, path) = socket();
        let callee = typed("compared", &path, &["die"]);
        let caller = AsyncCaller::connect(&path).await.unwrap();
        let error = price::call_async(&caller, &REQUEST).await.unwrap_err();
        assert!(matches!(error, CallError::PeerDead { sent: false }), "{error:?}");
        drop((caller, callee));

        // The next callee makes the call, although the call may not run twice.
        let callee = typed("compared", &path, &["die"]);
        let caller = reconnecting(&path).await;
        let call = tokio::spawn({
            let caller = caller.clone();
            async move { price::call_async(&caller, &REQUEST).await }
        });
        tokio::task::spawn_blocking(|| callee.ended()).await.unwrap();
        let callee = typed("compared", &path, &["answer"]);
        assert_eq!(call.await.unwrap().unwrap(), REPLY);
        drop(caller);
        assert_eq!(callee.finish(), "1");

        // The same rule for a thread.
        let callee = typed("compared", &path, &["die"]);
        let mut caller = Caller::connect_with(&path, &Options::new().reconnect(true).timeout(PATIENCE)).unwrap();
        let call = std::thread::spawn(move || price::call(&mut caller, &REQUEST));
        callee.ended();
        let callee = typed("compared", &path, &["answer"]);
        assert_eq!(call.join().unwrap().unwrap(), REPLY);
        assert_eq!(callee.finish(), "1");
    });
}

#[test]
fn a_callee_that_never_answers_the_comparison_blocks_no_caller_past_its_deadline() {
    in_both(|| async {
        let (_folder, path) = socket();
        let callee = typed("compared", &path, &["silent"]);
        let caller = AsyncCaller::connect(&path).await.unwrap();
        // The first task compares, and the others wait for its comparison.
        let mut tasks = JoinSet::new();
        for _ in 0..10 {
            let caller = caller.within(MOMENT);
            tasks.spawn(async move { price::call_async(&caller, &REQUEST).await });
        }
        while let Some(task) = tasks.join_next().await {
            let outcome = task.unwrap();
            assert!(matches!(outcome, Err(CallError::TimedOut { sent: false })), "{outcome:?}");
        }
        assert_eq!(caller.outstanding(), 0);

        // Dropping the future ends the comparison, and the next task begins its own.
        let hanging = tokio::spawn({
            let caller = caller.clone();
            async move { price::call_async(&caller, &REQUEST).await }
        });
        while caller.outstanding() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        hanging.abort();
        assert!(hanging.await.unwrap_err().is_cancelled());
        assert_eq!(caller.outstanding(), 0);
        let late = price::call_async(&caller.within(MOMENT), &REQUEST).await;
        assert!(matches!(late, Err(CallError::TimedOut { sent: false })), "{late:?}");
        // Calls of other endpoints are not behind the comparison.
        assert_eq!(echo::call_async(&caller, b"raw").await.unwrap().len(), size_of::<PriceReply>());
        drop(caller);
        callee.finish();
    });
}

#[test]
fn replies_and_descriptions_that_no_callee_sends_are_errors_and_the_connection_stays_usable() {
    in_both(|| async {
        let (_folder, path) = socket();
        let callee = typed("liar", &path, &[]);
        let caller = AsyncCaller::connect(&path).await.unwrap();
        for expected in ["no head", "longer", "longer", "stops", "missing field", "utf-8", "schema 99"] {
            let error = price::call_async(&caller, &REQUEST).await.unwrap_err();
            assert!(matches!(&error, CallError::Describe(text) if text.contains(expected)), "{expected}: {error}");
            assert_eq!(echo::call_async(&caller, b"raw").await.unwrap(), *b"");
        }
        drop(caller);
        callee.finish();

        let (_folder, path) = socket();
        let callee = typed("by_hand", &path, &[]);
        let caller = AsyncCaller::connect(&path).await.unwrap();
        let error = price::call_async(&caller, &REQUEST).await.unwrap_err();
        assert!(matches!(error, CallError::BadReply { .. }));
        assert_eq!(error.to_string(), "price: the reply cannot be read: 3 bytes came, and PriceReply has 16");
        assert_eq!(sum::call_async(&caller, &[4.0]).await.unwrap(), 4.0);
        drop(caller);
        callee.finish();
    });
}

#[test]
fn the_next_callee_is_compared_anew() {
    in_both(|| async {
        let (_folder, path) = socket();
        let first = typed("functions", &path, &["65536", "65536"]);
        let caller = reconnecting(&path).await;
        assert_eq!(price::call_async(&caller, &REQUEST).await.unwrap(), REPLY);
        first.kill();
        let second = typed("differs", &path, &[]);
        let mut tasks = JoinSet::new();
        for _ in 0..10 {
            let caller = caller.idempotent();
            tasks.spawn(async move { price::call_async(&caller, &REQUEST).await });
        }
        while let Some(task) = tasks.join_next().await {
            let outcome = task.unwrap();
            assert!(matches!(outcome, Err(CallError::Mismatch(_))), "{outcome:?}");
        }
        assert_eq!(echo::call_async(&caller, b"raw").await.unwrap(), *b"raw");
        second.kill();
        let _third = typed("functions", &path, &["65536", "65536"]);
        assert_eq!(price::call_async(&caller.idempotent(), &REQUEST).await.unwrap(), REPLY);
    });
}

#[tachyon_rpc(msg_type = 3)]
fn record_and_die_once(number: u64) -> u64 {
    number
}

#[tachyon_rpc(msg_type = 4)]
fn sleep(milliseconds: u64) -> u64 {
    milliseconds
}

#[test]
fn only_an_idempotent_call_is_sent_to_the_next_callee() {
    in_both(|| async {
        for idempotent in [false, true] {
            let place = Place::new(Program(env!("CARGO_BIN_EXE_service")));
            let first = place.serve(4096);
            let caller = reconnecting(&place.socket()).await;
            let call = tokio::spawn({
                let caller = if idempotent { caller.idempotent() } else { caller.clone() };
                async move { record_and_die_once::call_async(&caller, 7).await }
            });
            tokio::task::spawn_blocking(|| first.ended()).await.unwrap();
            let _second = place.serve(4096);
            let outcome = call.await.unwrap();
            if idempotent {
                assert_eq!(outcome.unwrap(), 7);
                assert_eq!(place.executed(), [7, 7]);
            } else {
                assert!(matches!(outcome, Err(CallError::PeerDead { sent: true })), "{outcome:?}");
                assert_eq!(sleep::call_async(&caller, 0).await.unwrap(), 0);
                assert_eq!(place.executed(), [7]);
            }
        }
    });
}

#[test]
fn dropping_the_future_cancels_a_typed_call() {
    in_both(|| async {
        let place = Place::new(Program(env!("CARGO_BIN_EXE_service")));
        let _server = place.serve(4096);
        let caller = AsyncCaller::connect(place.socket()).await.unwrap();
        assert_eq!(sleep::call_async(&caller, 0).await.unwrap(), 0);
        let slow = tokio::spawn({
            let caller = caller.clone();
            async move { sleep::call_async(&caller, 300).await }
        });
        while caller.outstanding() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        slow.abort();
        assert!(slow.await.unwrap_err().is_cancelled());
        assert_eq!(caller.outstanding(), 0);
        assert_eq!(sleep::call_async(&caller, 1).await.unwrap(), 1);
    });
}

#[test]
fn a_client_of_a_service_lives_in_a_struct_and_shares_its_connection() {
    struct Trader {
        prices: PricingAsyncClient,
    }

    in_both(|| async {
        let (_folder, path) = socket();
        let callee = typed("service", &path, &[]);
        let caller = AsyncCaller::connect(&path).await.unwrap();
        let trader = Trader { prices: PricingAsyncClient::new(caller.clone()).within(PATIENCE) };
        let mut tasks = JoinSet::new();
        for _ in 0..20 {
            let prices = trader.prices.clone();
            tasks.spawn(async move { prices.price(&REQUEST).await });
        }
        while let Some(task) = tasks.join_next().await {
            assert_eq!(task.unwrap().unwrap(), REPLY);
        }
        let unknown = trader.prices.price(&PriceRequest { instrument: 9, quantity: 0 }).await;
        match unknown {
            Err(CallError::Remote(error)) => {
                assert_eq!((error.kind, error.text.as_str()), (ErrorKind::HandlerFailed, "instrument 9 is not known"));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(trader.prices.running(&[1.0, 2.0]).await.unwrap(), [1.0, 3.0]);
        assert_eq!(trader.prices.orders().await.unwrap(), 0);
        drop((caller, trader));
        assert_eq!(callee.finish(), "0");
    });
}

#[test]
fn metadata_travels_with_the_requests_of_a_handle() {
    in_both(|| async {
        let (_folder, path) = socket();
        let _server = typed("described", &path, &[]);
        let caller = AsyncCaller::connect(&path).await.unwrap();
        let traced = caller.within(PATIENCE).metadata("trace", "xyz").metadata("trace", "ab").metadata("tenant", "");
        // A ring for a few of the requests: most of them wait for room.
        let mut tasks = JoinSet::new();
        for size in [0_u16, 5, 23, 24, 200, 232, 233, 1000].into_iter().cycle().take(80) {
            let (caller, traced) = (caller.clone(), traced.clone());
            tasks.spawn(async move {
                let text = "x".repeat(size.into());
                assert_eq!(described::call_async(&caller, &text, 2).await.unwrap(), (2 * size).to_string());
                let expected = format!("trace=ab tenant= {}", 2 * size);
                assert_eq!(described::call_async(&traced, &text, 2).await.unwrap(), expected);
                let expected = format!("trace=ab tenant= {size}").into_bytes();
                assert_eq!(described_bytes::call_async(&traced, text.as_bytes()).await.unwrap(), expected);
                assert_eq!(traced.call(described_bytes::MSG_TYPE, text.as_bytes()).await.unwrap(), expected);
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }

        let refused = described::call_async(&caller.metadata("Trace", "ab"), "", 0).await.unwrap_err();
        assert!(matches!(&refused, CallError::Metadata(MetadataError::Key { key }) if key == "Trace"), "{refused:?}");
        assert!(!refused.sent());
        let long = "v".repeat(1000);
        let refused = caller.metadata("a", &long).metadata("b", &long).call(51, b"").await.unwrap_err();
        assert!(matches!(refused, CallError::Metadata(MetadataError::TooLarge { .. })), "{refused:?}");
        let refused = caller.metadata("a", &long).call(51, &[0; 4000]).await.unwrap_err();
        assert!(matches!(refused, CallError::TooLarge { size: 5008, max: 4096 }), "{refused:?}");
        assert_eq!(described::call_async(&caller, "usable", 1).await.unwrap(), "6");
        assert_eq!(caller.outstanding(), 0);
    });
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
        if call.msg_type == 13 {
            return Err("13 is refused".into());
        }
        self.add(format!("{} `{}` of {}", call.msg_type, call.name, call.request_size));
        call.metadata.insert("layer", if call.remaining().is_some() { "limited" } else { "patient" })?;
        Ok(())
    }

    fn after(&self, call: &OutgoingCall, outcome: CallOutcome<'_>, took: Duration) {
        assert!(took < PATIENCE);
        self.add(match outcome {
            CallOutcome::Replied(size) => format!("{} replied {size}", call.msg_type),
            CallOutcome::Failed(error) => format!("{} failed: {error:?}", call.msg_type),
            other => format!("{} {other:?}", call.msg_type),
        });
    }
}

#[test]
fn layers_of_a_handle_add_metadata_and_see_every_outcome() {
    in_both(|| async {
        let (_folder, path) = socket();
        let _server = typed("described", &path, &[]);
        let plain = AsyncCaller::connect(&path).await.unwrap();
        let notes = Arc::new(Notes::default());
        let mut caller = plain.clone();
        caller.layer(Arc::clone(&notes));
        assert_eq!(described_bytes::call_async(&caller, b"abc").await.unwrap(), b"layer=patient 3");
        // The comparison of a typed endpoint is not shown.
        let both = caller.within(PATIENCE).metadata("own", "1");
        assert_eq!(described::call_async(&both, "abc", 1).await.unwrap(), "own=1 layer=limited 3");
        let unknown = caller.call(404, b"").await.unwrap_err();
        assert!(matches!(&unknown, CallError::Remote(error) if error.kind == ErrorKind::NoHandler), "{unknown:?}");
        let seen = notes.take();
        let expected = ["51 `described_bytes` of 3", "51 replied 15", "50 `described` of 24", "50 replied 21"];
        assert_eq!(seen[..4], expected);
        assert_eq!(seen[4], "404 `` of 0");
        assert!(seen[5].starts_with("404 failed: Remote") && seen.len() == 6, "{seen:?}");

        let refused = caller.call(13, b"").await.unwrap_err();
        assert!(matches!(&refused, CallError::Refused(reason) if reason.to_string() == "13 is refused"), "{refused:?}");
        assert!(!refused.sent());
        drop(notes.take());
        // The first handle has no layer.
        assert_eq!(described_bytes::call_async(&plain, b"abc").await.unwrap(), b"3");
        assert_eq!(notes.take(), [""; 0]);
        assert_eq!(caller.outstanding(), 0);
    });
}

#[test]
fn layers_see_that_a_call_is_given_up() {
    in_both(|| async {
        let place = Place::new(Program(env!("CARGO_BIN_EXE_service")));
        let _server = place.serve(4096);
        let mut caller = AsyncCaller::connect(place.socket()).await.unwrap();
        let notes = Arc::new(Notes::default());
        caller.layer(Arc::clone(&notes));
        let late = sleep::call_async(&caller.within(MOMENT), 300).await;
        assert!(matches!(late, Err(CallError::TimedOut { sent: true })), "{late:?}");
        assert_eq!(notes.take(), ["4 `sleep` of 8", "4 failed: TimedOut { sent: true }"]);
        let hanging = tokio::spawn({
            let caller = caller.clone();
            async move { sleep::call_async(&caller, 300).await }
        });
        while caller.outstanding() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        hanging.abort();
        drop(hanging.await);
        assert_eq!(notes.take(), ["4 `sleep` of 8", "4 GivenUp"]);
    });
}

#[test]
fn layers_see_each_attempt() {
    in_both(|| async {
        let place = Place::new(Program(env!("CARGO_BIN_EXE_service")));
        let first = place.serve(4096);
        let mut caller = reconnecting(&place.socket()).await;
        let notes = Arc::new(Notes::default());
        caller.layer(Arc::clone(&notes));
        let call = tokio::spawn(async move { sleep::call_async(&caller.idempotent(), 50).await });
        tokio::task::spawn_blocking({
            let notes = Arc::clone(&notes);
            move || wait::until("the call", PATIENCE, || !notes.0.lock().unwrap().is_empty())
        })
        .await
        .unwrap();
        first.kill();
        let _second = place.serve(4096);
        assert_eq!(call.await.unwrap().unwrap(), 50);
        let notes = notes.take();
        assert!(notes.len() >= 4 && notes.len() % 2 == 0, "{notes:?}");
        assert_eq!((notes[0].as_str(), notes[2].as_str()), ("4 `sleep` of 8", "4 `sleep` of 8"));
        assert!(notes[1].starts_with("4 failed: PeerDead"), "{notes:?}");
        assert_eq!(notes.last().map(String::as_str), Some("4 replied 8"));
    });
}
