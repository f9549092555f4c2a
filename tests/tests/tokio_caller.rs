//! Calls from async tasks to a server in another process.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::future::Future;
use std::time::{Duration, Instant};

use tachyon::type_id::MSG_TYPE_ERROR;
use tachyon::{AsyncCaller, CallError, ConnectError, ErrorKind, Options, PollingMode};
use tachyon_tests::message::{length, message};
use tachyon_tests::proc::Footprint;
use tachyon_tests::process::Program;
use tachyon_tests::service::{ECHO, Place, RECORD, RECORD_AND_DIE_ONCE, SLEEP, STOP};
use tachyon_tests::temporary::socket;
use tachyon_tests::wire::listener;
use tokio::task::JoinSet;

const MOMENT: Duration = Duration::from_millis(20);

fn place() -> Place {
    Place::new(Program(env!("CARGO_BIN_EXE_service")))
}

/// Runs a test in a runtime of one thread, where no operation may block, and in a runtime of two threads.
fn in_both<F: Future<Output = ()>>(test: impl Fn() -> F) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test());
}

async fn assert_echoes(caller: &AsyncCaller) {
    assert_eq!(caller.call(ECHO, b"still usable").await.unwrap(), b"still usable");
}

#[test]
fn a_thousand_calls_are_in_flight_together() {
    in_both(|| async {
        // 64 slots each way: most of the calls wait for room.
        let place = place();
        let _server = place.serve(4096);
        let caller = AsyncCaller::connect(place.socket()).await.unwrap();
        for round in 0..3 {
            let mut tasks = JoinSet::new();
            for number in 0..1000u64 {
                let caller = caller.clone();
                tasks.spawn(async move {
                    let sent = message(number, length(number + round, 500));
                    assert_eq!(caller.call(ECHO, &sent).await.unwrap(), sent, "{number}");
                });
            }
            let mut done = 0;
            while let Some(task) = tasks.join_next().await {
                task.unwrap();
                done += 1;
            }
            assert_eq!((done, caller.outstanding()), (1000, 0));
        }
    });
}

#[test]
fn every_size_and_every_mode_comes_back() {
    for mode in [PollingMode::Adaptive, PollingMode::Park, PollingMode::SpinTimes(500), PollingMode::Spin] {
        in_both(|| async {
            let place = place();
            let _server = place.serve(4096);
            let options = Options::new().polling(mode);
            let caller = AsyncCaller::connect_with(place.socket(), &options).await.unwrap();
            assert_eq!(caller.max_len(), 4096);
            for number in 0..1000 {
                let sent = message(number, length(number, 4088));
                let reply = match number % 2 {
                    0 => caller.call(ECHO, &sent).await,
                    _ => caller.within(Duration::from_secs(30)).call(ECHO, &sent).await,
                };
                assert_eq!(reply.unwrap(), sent, "{number}");
            }
            let refused = caller.call(ECHO, &message(1, 5000)).await;
            assert!(matches!(refused, Err(CallError::TooLarge { size: 5000, max: 4096 })), "{refused:?}");
            let reserved = caller.call(MSG_TYPE_ERROR, b"").await;
            assert!(matches!(reserved, Err(CallError::ReservedMsgType)), "{reserved:?}");
            let unknown = caller.call(404, b"").await;
            assert!(matches!(unknown, Err(CallError::Remote(error)) if error.kind == ErrorKind::NoHandler));
            assert_echoes(&caller).await;
        });
    }
}

#[test]
fn waiting_for_room_leaves_the_thread_to_others() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = place();
        let _server = place.serve(4096);
        let caller = AsyncCaller::connect(place.socket()).await.unwrap();
        let mut tasks = JoinSet::new();
        let sleeper = caller.clone();
        tasks.spawn(async move { sleeper.call(SLEEP, &2000u64.to_le_bytes()).await.map(|_| 0) });
        tokio::time::sleep(MOMENT).await;
        for number in 1..200u64 {
            let caller = caller.clone();
            tasks.spawn(async move {
                let reply = caller.call(RECORD, &number.to_le_bytes()).await?;
                Ok(u64::from_le_bytes(reply.try_into().unwrap()))
            });
        }
        let started = Instant::now();
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(started.elapsed() < Duration::from_millis(1500), "a call blocked the runtime's thread");
        assert!(caller.outstanding() < 100, "the other calls wait for room");
        let mut replies = Vec::new();
        while let Some(task) = tasks.join_next().await {
            replies.push(task.unwrap().unwrap());
        }
        replies.sort_unstable();
        assert_eq!(replies, (0..200).collect::<Vec<_>>());
        assert_eq!(place.executed(), (1..200).collect::<Vec<_>>(), "served in the order of the calls");
    });
}

#[test]
fn dropping_the_future_cancels_the_call() {
    in_both(|| async {
        let place = place();
        let _server = place.serve(4096);
        let caller = AsyncCaller::connect(place.socket()).await.unwrap();
        for _ in 0..5 {
            let slow = caller.clone();
            let task = tokio::spawn(async move { slow.call(SLEEP, &100u64.to_le_bytes()).await });
            while caller.outstanding() == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let mut behind = JoinSet::new();
            for number in 0..300u64 {
                let caller = caller.clone();
                behind.spawn(async move { caller.call(ECHO, &number.to_le_bytes()).await });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(caller.outstanding() > 1);
            task.abort();
            behind.abort_all();
            assert!(task.await.unwrap_err().is_cancelled());
            while behind.join_next().await.is_some() {}
            assert_eq!(caller.outstanding(), 0);
            assert_echoes(&caller).await;
        }
        let late = caller.within(Duration::from_millis(5)).call(SLEEP, &100u64.to_le_bytes()).await;
        assert!(matches!(late, Err(CallError::TimedOut { .. })), "{late:?}");
        let slow = caller.clone();
        let slow = tokio::spawn(async move { slow.call(SLEEP, &2000u64.to_le_bytes()).await });
        while caller.outstanding() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let skipped = caller.within(Duration::from_millis(5)).call(RECORD, &1u64.to_le_bytes()).await;
        assert!(matches!(skipped, Err(CallError::TimedOut { .. })), "{skipped:?}");
        slow.await.unwrap().unwrap();
        assert_echoes(&caller).await;
        assert_eq!(place.executed(), [0_u64; 0], "the request is not begun after its deadline");
    });
}

#[test]
fn a_death_and_a_close_end_calls_at_once() {
    in_both(|| async {
        let place = place();
        let server = place.serve(4096);
        let caller = AsyncCaller::connect(place.socket()).await.unwrap();
        let mut tasks = JoinSet::new();
        let slow = caller.clone();
        tasks.spawn(async move { slow.call(SLEEP, &60_000u64.to_le_bytes()).await });
        while caller.outstanding() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for number in 0..200u64 {
            let caller = caller.clone();
            tasks.spawn(async move { caller.call(ECHO, &number.to_le_bytes()).await });
        }
        tokio::time::sleep(MOMENT).await;
        let killed = Instant::now();
        server.kill();
        while let Some(task) = tasks.join_next().await {
            let outcome = task.unwrap();
            assert!(matches!(outcome, Err(CallError::PeerDead { .. })), "{outcome:?}");
        }
        assert!(killed.elapsed() < Duration::from_secs(2));
        assert!(matches!(caller.call(ECHO, b"").await, Err(CallError::PeerDead { sent: false })));

        let server = place.serve(4096);
        let caller = AsyncCaller::connect(place.socket()).await.unwrap();
        assert_eq!(caller.call(STOP, b"").await.unwrap(), b"");
        server.finish();
        tokio::time::sleep(MOMENT).await;
        let closed = caller.call(ECHO, b"").await;
        assert!(matches!(closed, Err(CallError::Closed { .. })), "{closed:?}");
    });
}

#[test]
fn connects_again_with_reconnect() {
    in_both(|| async {
        let place = place();
        let server = place.serve(4096);
        let options = Options::new().reconnect(true);
        let caller = AsyncCaller::connect_with(place.socket(), &options).await.unwrap();
        let lost = caller.call(RECORD_AND_DIE_ONCE, &7u64.to_le_bytes()).await;
        assert!(matches!(lost, Err(CallError::PeerDead { .. })), "{lost:?}");
        drop(server);
        let server = place.serve(4096);
        let mut tasks = JoinSet::new();
        for number in 0..100u64 {
            let caller = caller.clone();
            tasks.spawn(async move { caller.call(ECHO, &number.to_le_bytes()).await });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap().unwrap();
        }
        assert_eq!(place.executed(), [7], "no request is sent twice");
        let slow = caller.clone();
        let answer = tokio::spawn(async move { slow.idempotent().call(SLEEP, &50u64.to_le_bytes()).await });
        tokio::time::sleep(MOMENT).await;
        server.kill();
        let server = place.serve(4096);
        assert_eq!(answer.await.unwrap().unwrap(), 50u64.to_le_bytes());
        server.kill();
        tokio::time::sleep(MOMENT).await;
        let none = caller.within(MOMENT).call(ECHO, b"").await;
        assert!(matches!(none, Err(CallError::Unreachable { .. })), "{none:?}");
    });
}

#[test]
fn calls_that_wait_for_room_go_to_the_next_server() {
    in_both(|| async {
        let place = place();
        let server = place.serve(4096);
        let caller = AsyncCaller::connect_with(place.socket(), &Options::new().reconnect(true)).await.unwrap();
        let mut tasks = JoinSet::new();
        let busy = caller.clone();
        tasks.spawn(async move { busy.call(SLEEP, &60_000u64.to_le_bytes()).await });
        tokio::time::sleep(MOMENT).await;
        for number in 0..8 {
            let caller = caller.clone();
            tasks.spawn(async move { caller.call(ECHO, &[number; 1500]).await });
        }
        tokio::time::sleep(MOMENT).await;
        server.kill();
        let _server = place.serve(4096);
        let (mut served, mut lost) = (0, 0);
        while let Some(outcome) = tasks.join_next().await {
            match outcome.unwrap() {
                Ok(_) => served += 1,
                Err(error) => {
                    assert!(matches!(error, CallError::PeerDead { sent: true }), "{error:?}");
                    lost += 1;
                }
            }
        }
        // The ring holds two requests beside the one that is served.
        assert!(served >= 5 && lost >= 1, "{served} and {lost}");
    });
}

#[test]
fn the_last_handle_closes_the_connection() {
    in_both(|| async {
        let place = place();
        let server = place.serve(4096);
        let first = AsyncCaller::connect(place.socket()).await.unwrap();
        assert_echoes(&first).await;
        let descriptors = || Footprint::of(server.id()).unwrap().descriptors;
        let before = descriptors();
        for _ in 0..50 {
            let caller = AsyncCaller::connect(place.socket()).await.unwrap();
            let other = caller.clone();
            drop(caller);
            assert_echoes(&other).await;
        }
        let started = Instant::now();
        while descriptors() != before {
            assert!(started.elapsed() < Duration::from_secs(5), "{before} before, {} now", descriptors());
            tokio::time::sleep(MOMENT).await;
        }
        assert_echoes(&first).await;
        let missing = AsyncCaller::connect_with("/nonexistent/socket", &Options::new().timeout(MOMENT)).await;
        assert!(matches!(missing, Err(ConnectError::NoListener { .. })));
    });
}

#[test]
fn a_runtime_that_ends_ends_the_calls_elsewhere() {
    let place = place();
    let _server = place.serve(4096);
    let first = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let caller = first.block_on(AsyncCaller::connect(place.socket())).unwrap();
    let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    other.block_on(assert_echoes(&caller));
    let slow = caller.clone();
    let waiting = other.spawn(async move { slow.call(SLEEP, &60_000u64.to_le_bytes()).await });
    std::thread::sleep(MOMENT);
    first.shutdown_timeout(Duration::from_secs(1));
    let ended = other.block_on(waiting).unwrap();
    assert!(matches!(ended, Err(CallError::Io(_))), "{ended:?}");
    assert!(matches!(other.block_on(caller.call(ECHO, b"")), Err(CallError::Io(_))));
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

#[test]
fn calls_that_wait_for_room_use_no_processor_time() {
    let (_folder, path) = socket();
    let listen_at = path.clone();
    let (enough, until) = std::sync::mpsc::channel::<()>();
    let callee = std::thread::spawn(move || {
        let callee = tachyon::Callee::listen(listen_at, 64, 64).unwrap();
        // The callee takes no request, so the ring stays full.
        drop((until.recv(), callee));
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let caller = AsyncCaller::connect(&path).await.unwrap();
        let mut calls = JoinSet::new();
        for _ in 0..70 {
            let caller = caller.clone();
            calls.spawn(async move { caller.call(ECHO, b"x").await });
        }
        tokio::time::sleep(10 * MOMENT).await;
        let before = thread_time();
        tokio::time::sleep(50 * MOMENT).await;
        let took = thread_time().saturating_sub(before);
        assert!(took < 10 * MOMENT, "a fifth of the time was used: {took:?}");
        drop(enough);
        while let Some(call) = calls.join_next().await {
            assert!(matches!(call.unwrap(), Err(CallError::Closed { .. })));
        }
    });
    callee.join().unwrap();
}

fn threads() -> usize {
    Footprint::of(std::process::id()).unwrap().threads
}

#[test]
fn an_abandoned_connect_leaves_nothing_behind() {
    let (folder, missing) = socket();
    // Clients connect to this listener, which never accepts them.
    let silent = folder.path().join("silent.sock");
    let _listening = listener(&silent).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let before = threads();
    runtime.block_on(async {
        for path in [&missing, &silent] {
            for _ in 0..50 {
                let attempt = AsyncCaller::connect(path);
                assert!(tokio::time::timeout(Duration::from_millis(1), attempt).await.is_err());
            }
        }
    });
    // Other tests of this process may start threads meanwhile.
    assert!(threads() < before + 50, "{before} threads before, {} after 100 attempts", threads());
    let ending = Instant::now();
    drop(runtime);
    assert!(ending.elapsed() < Duration::from_secs(2), "the end of the runtime took {:?}", ending.elapsed());
}
