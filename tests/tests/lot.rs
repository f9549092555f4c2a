//! The callers of several workers: an idle worker serves the next one that wants something.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tachyon::server::AcceptorMode;
use tachyon::{CallError, Caller, Dispatcher, Options, PollingMode, RpcServer, ServerOptions, Stopper};
use tachyon_tests::Peer;

const PATIENCE: Duration = Duration::from_secs(20);

/// Far less than the handlers of these tests sleep, and far more than a call takes.
const SOON: Duration = Duration::from_secs(1);

fn socket() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.sock");
    (folder, path)
}

fn peer(role: &str, path: &Path, arguments: &[&str]) -> Peer {
    Peer::start(env!("CARGO_BIN_EXE_peer"), role, path, arguments)
}

/// Stops a server and gives its events.
fn stop(server: Peer, path: &Path) -> Vec<String> {
    let mut caller = Caller::connect(path).unwrap();
    caller.call_timeout(9, b"", PATIENCE).unwrap();
    server.finish().lines().map(str::to_owned).collect()
}

/// Lets callers rest: an idle one is polled for far less time.
fn rest() {
    std::thread::sleep(Duration::from_millis(100));
}

/// Sleeps for so long in a handler.
fn sleep(caller: &mut Caller, time: Duration) -> u64 {
    caller.start(6, &u64::try_from(time.as_millis()).unwrap().to_le_bytes()).unwrap()
}

#[test]
fn callers_at_rest_are_served_by_any_worker_that_is_idle() {
    let (_folder, path) = socket();
    let server = peer("server", &path, &["4", "64"]);
    let mut callers: Vec<_> = (0..16).map(|_| Caller::connect(&path).unwrap()).collect();
    for caller in &mut callers {
        caller.call_timeout(1, b"here", PATIENCE).unwrap();
    }
    for round in 0..2 {
        rest();
        // Three of four workers are at work, whichever they are.
        let (busy, idle) = callers.split_at_mut(3);
        let calls: Vec<_> = busy.iter_mut().map(|caller| sleep(caller, SOON * 3)).collect();
        std::thread::sleep(Duration::from_millis(200));
        let started = Instant::now();
        for caller in idle {
            caller.call_timeout(1, b"meanwhile", PATIENCE).unwrap();
        }
        assert!(started.elapsed() < SOON, "{:?} in round {round}", started.elapsed());
        // A caller that comes now is served, too.
        Caller::connect(&path).unwrap().call_timeout(1, b"new", SOON).unwrap();
        for (caller, call) in busy.iter_mut().zip(calls) {
            drop(caller.finish_timeout(call, PATIENCE).unwrap());
        }
        callers.rotate_left(5);
    }
    drop(callers);
    stop(server, &path);
}

#[test]
fn busy_callers_do_not_wait_behind_an_endpoint_that_is_known_as_slow() {
    let (_folder, path) = socket();
    let server = peer("server", &path, &["2", "64"]);
    let mut slow = Caller::connect(&path).unwrap();
    // From now on it is known.
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
            rest();
            let call = sleep(&mut slow, SOON * 2);
            drop(slow.finish_timeout(call, PATIENCE).unwrap());
        }
        over.store(true, Ordering::Relaxed);
        busy.into_iter().map(|busy| busy.join().unwrap()).max().unwrap()
    });
    assert!(worst < SOON, "{worst:?}");
    drop(slow);
    stop(server, &path);
}

#[test]
fn callers_that_die_busy_or_at_rest_are_noticed() {
    let (_folder, path) = socket();
    let server = peer("server", &path, &["3", "64"]);
    let idle: Vec<_> = (0..6).map(|_| peer("idle_caller", &path, &[])).collect();
    let busy: Vec<_> = (0..3).map(|_| peer("pipelining_caller", &path, &[])).collect();
    std::thread::sleep(Duration::from_millis(300));
    for caller in idle.into_iter().chain(busy) {
        caller.kill();
    }
    rest();
    let events = stop(server, &path);
    let count = |what: &str| events.iter().filter(|event| *event == what).count();
    assert_eq!((count("joined"), count("Died"), count("Misbehaved")), (10, 9, 0), "{events:?}");
}

/// Serves in this process until it is stopped.
fn serve(path: &Path, options: ServerOptions) -> (Stopper, std::thread::JoinHandle<()>) {
    let mut server = RpcServer::listen_with(path, options).unwrap();
    let stopper = server.stopper();
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
    dispatcher
        .register(2, "doze", |request: &[u8]| {
            std::thread::sleep(Duration::from_micros(request.len() as u64));
            request.to_vec()
        })
        .unwrap();
    (stopper, std::thread::spawn(move || dispatcher.serve_workers(&mut server, 4).unwrap()))
}

/// Every call is answered in order, by whichever worker; a ring that was lost would leave one waiting.
#[test]
fn no_ring_is_lost_and_no_caller_has_two_workers() {
    for (polling, acceptor) in [
        (PollingMode::Park, AcceptorMode::Thread),
        (PollingMode::Adaptive, AcceptorMode::Thread),
        (PollingMode::Spins(1), AcceptorMode::Thread),
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
        serving.join().unwrap();
    }
}

#[test]
fn a_stop_tells_callers_at_rest_and_busy_ones() {
    let (_folder, path) = socket();
    let (stopper, serving) = serve(&path, ServerOptions::new());
    let mut callers: Vec<_> = (0..8).map(|_| Caller::connect(&path).unwrap()).collect();
    for caller in &mut callers {
        caller.call_timeout(1, b"here", PATIENCE).unwrap();
    }
    rest();
    for caller in &mut callers[..4] {
        caller.call_timeout(1, b"busy", PATIENCE).unwrap();
    }
    stopper.stop();
    serving.join().unwrap();
    for caller in &mut callers {
        let told = caller.call_timeout(1, b"late", PATIENCE).map(drop);
        assert!(matches!(told, Err(CallError::Closed { .. })), "{told:?}");
    }
    assert_eq!(stopper.callers(), 0);
}
