//! A served dispatcher and its caller in one process: `tachyon::testing`.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tachyon::dispatch::Outcome;
use tachyon::{CallError, Caller, Context, Dispatcher, ErrorKind, HandlerError, Layer, ServeError, endpoints};
use tachyon::{tachyon_rpc, testing};
use tachyon_tests::kinds::{FindError, call_every_kind, find, kinds_of_handlers, refuse, refuse_in_slot};
use tachyon_tests::kinds::{refuse_maybe, refuse_raw, remote, store};
use tachyon_tests::message::message;
use tachyon_tests::proc::Footprint;
use tachyon_tests::wait;

const PATIENCE: Duration = Duration::from_mins(1);

#[tachyon_rpc(msg_type = 11)]
fn count(#[state] counter: &mut Arc<AtomicUsize>, by: u32) -> u64 {
    counter.fetch_add(by as usize, Ordering::Relaxed) as u64 + u64::from(by)
}

#[tachyon_rpc(msg_type = 12)]
fn echo(payload: &[u8]) -> Vec<u8> {
    payload.to_vec()
}

#[tachyon_rpc(msg_type = 13)]
fn panics(_text: &str) -> u32 {
    panic!("on purpose")
}

#[tachyon_rpc(msg_type = 14)]
fn remaining(#[context] cx: &Context<'_>) -> Option<f64> {
    cx.remaining().map(|left| left.as_secs_f64())
}

fn until_dropped<T>(state: &Arc<T>) {
    wait::until("the end of the serving thread", PATIENCE, || Arc::strong_count(state) == 1);
}

#[test]
fn the_state_lives_as_long_as_the_caller() {
    let counter = Arc::new(AtomicUsize::new(0));
    let mut caller = testing::pair(Dispatcher::with_state(Arc::clone(&counter), endpoints![count])).unwrap();
    assert_eq!(count::call(&mut caller, 2).unwrap(), 2);
    assert_eq!(count::call(&mut caller, 3).unwrap(), 5);
    assert_eq!(Arc::strong_count(&counter), 2);
    drop(caller);
    until_dropped(&counter);
    assert_eq!(counter.load(Ordering::Relaxed), 5);
}

#[test]
fn a_pair_calls_as_two_processes_do() {
    let table = endpoints![refuse, refuse_maybe, refuse_in_slot, find, refuse_raw, store];
    call_every_kind(&mut testing::pair(Dispatcher::new(table)).unwrap(), false);
    let mut caller = testing::pair(Dispatcher::new(endpoints![echo, panics, remaining])).unwrap();
    for len in [0, 1, 232, 233, 100_000, (1 << 20) - 4096] {
        let bytes = message(1, len);
        assert_eq!(echo::call(&mut caller, &bytes).unwrap(), bytes, "{len}");
    }
    assert!(matches!(echo::call(&mut caller, &vec![0; 1 << 21]), Err(CallError::TooLarge { .. })));
    let Err(CallError::Remote(error)) = panics::call(&mut caller, "") else { panic!("no error") };
    assert_eq!((error.kind, error.text.as_str()), (ErrorKind::HandlerFailed, "panicked: on purpose"));
    assert_eq!(remaining::call(&mut caller).unwrap(), None);
    let left = remaining::call(&mut caller.within(PATIENCE)).unwrap().unwrap();
    assert!(left > 0.0 && left < 2.0 * PATIENCE.as_secs_f64(), "{left}");
    assert_eq!(caller.describe().unwrap().endpoints.len(), 3);
    caller.ping(PATIENCE).unwrap();
    let Err(CallError::Remote(error)) = caller.call(404, b"").map(drop) else { panic!("no error") };
    assert_eq!(error.kind, ErrorKind::NoHandler);
}

/// A handler that lets an error of its own callee through, with `?`.
#[tachyon_rpc(msg_type = 15)]
fn relayed(#[state] behind: &Mutex<Caller>, kind: u16, text: &str) -> Result<u32, HandlerError> {
    Ok(refuse::call(&mut *behind.lock().unwrap(), kind, text)?)
}

#[tachyon_rpc(msg_type = 16)]
fn found(#[state] behind: &Mutex<Caller>, sensor: u32) -> Result<f64, CallError<FindError>> {
    find::call(&mut *behind.lock().unwrap(), sensor)
}

#[test]
fn the_kind_goes_through_a_handler_between() {
    let behind = testing::pair(Dispatcher::new(endpoints![refuse, find])).unwrap();
    let mut caller = testing::pair(Dispatcher::with_state(Mutex::new(behind), endpoints![relayed, found])).unwrap();
    for kind in kinds_of_handlers() {
        let error = remote(relayed::call(&mut caller, kind as u16, "why"));
        if matches!(kind, ErrorKind::BadRequest | ErrorKind::Unreachable) {
            // The request of the handler was wrong, or not sent on: the handler itself has begun.
            assert_eq!(error.kind, ErrorKind::HandlerFailed);
        } else {
            assert_eq!((error.kind, error.text.as_str()), (kind, "why"));
        }
    }
    for (sensor, kind, text) in [
        (7, ErrorKind::NotFound, "no sensor 7"),
        (1, ErrorKind::Unavailable, "busy"),
        (2, ErrorKind::HandlerFailed, "broken"),
    ] {
        let error = remote(found::call(&mut caller, sensor));
        assert_eq!((error.kind, error.text.as_str(), error.name.as_str()), (kind, text, ""));
    }
    let stopped = remote(relayed::call(&mut caller, ErrorKind::NoHandler as u16, "none"));
    assert_eq!(stopped.kind, ErrorKind::HandlerFailed);
}

#[test]
fn layers_and_the_hook_see_this_process() {
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl Layer for Seen {
        fn after(&self, call: &Context<'_>, outcome: &Outcome, _took: Duration) {
            let pid = call.caller.pid == Some(std::process::id());
            self.0.lock().unwrap().push(format!("{} {pid} {outcome:?}", call.name));
        }
    }

    let seen = Seen::default();
    let mut dispatcher = Dispatcher::new(endpoints![echo, panics]);
    let failures = Arc::clone(&seen.0);
    dispatcher.layer(seen.clone()).on_failure(move |error| failures.lock().unwrap().push(error.to_string()));
    let mut caller = testing::pair(dispatcher).unwrap();
    echo::call(&mut caller, b"ab").unwrap();
    panics::call(&mut caller, "").unwrap_err();
    drop(caller);
    wait::until("the end of the serving thread", PATIENCE, || Arc::strong_count(&seen.0) == 1);
    let expected = [
        "echo true Replied(2)",
        "panics true Failed(HandlerFailed)",
        "endpoint `panics` (msg_type 13) failed: panicked: on purpose",
    ];
    assert_eq!(*seen.0.lock().unwrap(), expected);
}

#[test]
fn pairs_leave_nothing_behind() {
    let counter = Arc::new(AtomicUsize::new(0));
    let here = || Footprint::of(std::process::id()).unwrap();
    let before = here();
    for _ in 0..50 {
        let mut caller = testing::pair(Dispatcher::with_state(Arc::clone(&counter), endpoints![count])).unwrap();
        count::call(&mut caller, 1).unwrap();
    }
    until_dropped(&counter);
    // Other tests of this program have pairs meanwhile, and fewer.
    wait::until("closed descriptors and unmapped segments", PATIENCE, || {
        let now = here();
        now.descriptors < before.descriptors + 50 && now.segments < before.segments + 50
    });
}

#[test]
fn a_table_with_an_async_endpoint_needs_a_runtime() {
    let mut dispatcher = Dispatcher::default();
    dispatcher.register_async(1, "later", |request: Vec<u8>| async move { request }).unwrap();
    assert!(matches!(testing::pair(dispatcher), Err(ServeError::NeedsRuntime { .. })));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn async_endpoints_are_served_in_tasks() {
    runtime().block_on(async {
        let state = Arc::new(());
        let held = Arc::clone(&state);
        let mut dispatcher = Dispatcher::new(endpoints![echo, refuse]);
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let waiting = Arc::clone(&gate);
        dispatcher
            .register_async(20, "wait", move |request: Vec<u8>| {
                let (_held, waiting) = (Arc::clone(&held), Arc::clone(&waiting));
                async move {
                    waiting.acquire().await.unwrap().forget();
                    request
                }
            })
            .unwrap();
        let caller = testing::pair_async(dispatcher).unwrap();
        let other = caller.clone();
        let waits = tokio::spawn(async move { other.call(20, b"second").await });
        assert_eq!(caller.call(12, b"first").await.unwrap(), b"first");
        while caller.outstanding() == 0 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
        assert_eq!(waits.await.unwrap().unwrap(), b"second");
        let bytes = message(1, 500_000);
        assert_eq!(caller.call(12, &bytes).await.unwrap(), bytes);
        // A call that is under way when the last handle goes is cancelled, and the task ends.
        let other = caller.clone();
        let abandoned = tokio::spawn(async move { other.call(20, b"never").await });
        while caller.outstanding() == 0 {
            tokio::task::yield_now().await;
        }
        abandoned.abort();
        drop((caller, abandoned.await));
        until_dropped_in_loop(&state).await;
    });
}

#[test]
fn an_idle_task_ends_with_its_caller() {
    runtime().block_on(async {
        for calls in 0..2 {
            let state = Arc::new(());
            let held = Arc::clone(&state);
            let mut dispatcher = Dispatcher::new(endpoints![echo]);
            dispatcher.register(20, "hold", move |_| usize::to_le_bytes(Arc::strong_count(&held)).to_vec()).unwrap();
            let caller = testing::pair_async(dispatcher).unwrap();
            for _ in 0..calls {
                assert_eq!(caller.call(12, b"a").await.unwrap(), b"a");
            }
            // Long enough for the serving task to sleep.
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(caller);
            until_dropped_in_loop(&state).await;
        }
    });
}

async fn until_dropped_in_loop(state: &Arc<()>) {
    let dropped = async {
        while Arc::strong_count(state) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, dropped).await.expect("the serving task ends with its caller");
}

#[test]
fn an_endpoint_that_changes_the_state_is_not_served_in_tasks() {
    runtime().block_on(async {
        let dispatcher = Dispatcher::with_state(Arc::new(AtomicUsize::new(0)), endpoints![count]);
        assert!(matches!(testing::pair_async(dispatcher), Err(ServeError::Exclusive { .. })));
    });
}
