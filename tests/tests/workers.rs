//! Servers with several workers: any idle worker serves the next caller that has a request.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tachyon::server::AcceptorMode;
use tachyon::{CallError, Caller, Dispatcher, Options, PollingMode, RpcServer, ServerOptions, Stopper};
use tachyon_tests::process::Program;
use tachyon_tests::server::{self, Serving, count, stop};
use tachyon_tests::temporary::socket;

const PEER: Program = Program(env!("CARGO_BIN_EXE_peer"));

const PATIENCE: Duration = Duration::from_secs(20);

/// Far shorter than the handlers of these tests sleep, and far longer than a call takes.
const SOON: Duration = Duration::from_secs(1);

/// Waits until idle callers are parked: the server polls an idle caller for a far shorter time.
fn wait_for_parking() {
    std::thread::sleep(Duration::from_millis(100));
}

/// Starts a call whose handler sleeps for `time`.
fn sleep(caller: &mut Caller, time: Duration) -> u64 {
    caller.start(6, &u64::try_from(time.as_millis()).unwrap().to_le_bytes()).unwrap()
}

#[test]
fn parked_callers_are_served_by_any_idle_worker() {
    let (_folder, path) = socket();
    let server = PEER.start("server", &path, &["4", "64"]);
    let mut callers: Vec<_> = (0..16).map(|_| Caller::connect(&path).unwrap()).collect();
    for caller in &mut callers {
        caller.call_timeout(1, b"here", PATIENCE).unwrap();
    }
    for round in 0..2 {
        wait_for_parking();
        // Three of four workers are busy.
        let (busy, idle) = callers.split_at_mut(3);
        let calls: Vec<_> = busy.iter_mut().map(|caller| sleep(caller, SOON * 3)).collect();
        std::thread::sleep(Duration::from_millis(200));
        let started = Instant::now();
        for caller in idle {
            caller.call_timeout(1, b"meanwhile", PATIENCE).unwrap();
        }
        assert!(started.elapsed() < SOON, "{:?} in round {round}", started.elapsed());
        // A new caller is served, too.
        Caller::connect(&path).unwrap().call_timeout(1, b"new", SOON).unwrap();
        for (caller, call) in busy.iter_mut().zip(calls) {
            drop(caller.finish_timeout(call, PATIENCE).unwrap());
        }
        callers.rotate_left(5);
    }
    drop(callers);
    stop(server, &path, PATIENCE);
}

#[test]
fn busy_callers_do_not_wait_for_an_endpoint_known_as_slow() {
    let (_folder, path) = socket();
    let server = PEER.start("server", &path, &["2", "64"]);
    let mut slow = Caller::connect(&path).unwrap();
    // From now on the server knows the endpoint as slow.
    let known = sleep(&mut slow, Duration::from_millis(5));
    drop(slow.finish_timeout(known, PATIENCE).unwrap());
    let over = AtomicBool::new(false);
    let worst = std::thread::scope(|scope| {
        let busy: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut caller = Caller::connect(&path).unwrap();
                    let mut worst = Duration::ZERO;
                    while !over.load(Ordering::Relaxed) {
                        let started = Instant::now();
                        caller.call_timeout(1, b"busy", PATIENCE).unwrap();
                        worst = worst.max(started.elapsed());
                    }
                    worst
                })
            })
            .collect();
        for _ in 0..3 {
            wait_for_parking();
            let call = sleep(&mut slow, SOON * 2);
            drop(slow.finish_timeout(call, PATIENCE).unwrap());
        }
        over.store(true, Ordering::Relaxed);
        busy.into_iter().map(|busy| busy.join().unwrap()).max().unwrap()
    });
    assert!(worst < SOON, "{worst:?}");
    drop(slow);
    stop(server, &path, PATIENCE);
}

/// A handler that waits for another caller's request, and callers that are polled without end. Two workers poll three
/// callers, so one worker polls two of them. Each caller waits for each other one, in an endpoint that has never run.
#[test]
fn a_caller_does_not_wait_for_the_first_run_of_an_endpoint() {
    let (_folder, path) = socket();
    let released = Arc::new((Mutex::new(false), Condvar::new()));
    let mut dispatcher = Dispatcher::default();
    for waiting in 10..16 {
        let released = Arc::clone(&released);
        let name = format!("wait_{waiting}");
        let wait = move |_: &[u8]| {
            let (word, changed) = &*released;
            let word = word.lock().unwrap();
            let (mut word, _) = changed.wait_timeout_while(word, PATIENCE / 2, |released| !*released).unwrap();
            vec![u8::from(core::mem::take(&mut *word))]
        };
        dispatcher.register(waiting, &name, wait).unwrap();
    }
    dispatcher
        .register(1, "release", move |_: &[u8]| {
            *released.0.lock().unwrap() = true;
            released.1.notify_one();
            Vec::<u8>::new()
        })
        .unwrap();
    let options = Options::new().polling(PollingMode::Spin);
    let server = RpcServer::listen_with(&path, ServerOptions::new().connection(options)).unwrap();
    let (stopper, serving) = server::serve(server, dispatcher, 2);
    let mut callers: Vec<_> = (0..3).map(|_| Caller::connect(&path).unwrap()).collect();
    for (waiting, (waits, releases)) in (10..).zip([(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]) {
        let call = callers[waits].start(waiting, b"").unwrap();
        // The handler has begun.
        std::thread::sleep(Duration::from_millis(20));
        let release = callers[releases].start(1, b"").unwrap();
        let was_released = callers[waits].finish_timeout(call, PATIENCE).unwrap().to_vec();
        assert_eq!(was_released, [1], "caller {waits} waits for caller {releases}");
        drop(callers[releases].finish_timeout(release, PATIENCE).unwrap());
    }
    stopper.stop();
    serving.join().unwrap().unwrap();
}

#[test]
fn deaths_of_busy_and_parked_callers_are_noticed() {
    let (_folder, path) = socket();
    let server = PEER.start("server", &path, &["3", "64"]);
    let idle: Vec<_> = (0..6).map(|_| PEER.start("idle_caller", &path, &[])).collect();
    let busy: Vec<_> = (0..3).map(|_| PEER.start("pipelining_caller", &path, &[])).collect();
    std::thread::sleep(Duration::from_millis(300));
    for caller in idle.into_iter().chain(busy) {
        caller.kill();
    }
    wait_for_parking();
    let events = stop(server, &path, PATIENCE);
    let counts = ["joined", "Died", "Misbehaved"].map(|event| count(&events, event));
    assert_eq!(counts, [10, 9, 0], "{events:?}");
}

/// Serves in this process with four workers.
fn serve(path: &Path, options: ServerOptions) -> (Stopper, Serving) {
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
    dispatcher
        .register(2, "doze", |request: &[u8]| {
            std::thread::sleep(Duration::from_micros(request.len() as u64));
            request.to_vec()
        })
        .unwrap();
    server::serve(RpcServer::listen_with(path, options).unwrap(), dispatcher, 4)
}

/// Every call is answered in order by any worker. A lost wake-up would leave a call waiting.
#[test]
fn no_wake_up_is_lost_and_no_caller_has_two_workers() {
    for (polling, acceptor) in [
        (PollingMode::Park, AcceptorMode::Thread),
        (PollingMode::Adaptive, AcceptorMode::Thread),
        (PollingMode::SpinTimes(1), AcceptorMode::Thread),
        (PollingMode::Adaptive, AcceptorMode::Inline),
    ] {
        let (_folder, path) = socket();
        let connection = Options::new().polling(polling);
        let (stopper, serving) = serve(&path, ServerOptions::new().acceptor(acceptor).connection(connection.clone()));
        std::thread::scope(|scope| {
            for number in 0..16u64 {
                let (path, connection) = (&path, &connection);
                scope.spawn(move || {
                    let mut caller = Caller::connect_with(path, connection).unwrap();
                    for round in 0..400 {
                        let size = 8 + usize::try_from((number * 7 + round * 13) % 50).unwrap();
                        let sent: Vec<u8> =
                            (number << 32 | round).to_le_bytes().into_iter().cycle().take(size).collect();
                        let endpoint = if (number + round) % 5 == 0 { 2 } else { 1 };
                        let calls: Vec<_> = (0..=round % 3).map(|_| caller.start(endpoint, &sent).unwrap()).collect();
                        for call in calls {
                            assert_eq!(*caller.finish_timeout(call, PATIENCE).unwrap(), *sent);
                        }
                        if round % 50 == number {
                            std::thread::sleep(Duration::from_millis(15));
                        }
                    }
                });
            }
        });
        stopper.stop();
        serving.join().unwrap().unwrap();
    }
}

#[test]
fn a_stop_closes_parked_and_busy_callers() {
    let (_folder, path) = socket();
    let (stopper, serving) = serve(&path, ServerOptions::new());
    let mut callers: Vec<_> = (0..8).map(|_| Caller::connect(&path).unwrap()).collect();
    for caller in &mut callers {
        caller.call_timeout(1, b"here", PATIENCE).unwrap();
    }
    wait_for_parking();
    for caller in &mut callers[..4] {
        caller.call_timeout(1, b"busy", PATIENCE).unwrap();
    }
    stopper.stop();
    serving.join().unwrap().unwrap();
    for caller in &mut callers {
        let late = caller.call_timeout(1, b"late", PATIENCE).map(drop);
        assert!(matches!(late, Err(CallError::Closed { .. })), "{late:?}");
    }
    assert_eq!(stopper.callers(), 0);
}
