//! A server on a tokio runtime of one thread and of two, in another process.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tachyon::dispatch::Outcome;
use tachyon::stats::Observer;
use tachyon::{CallError, Callee, Caller, Context, Dispatcher, ErrorKind, HandlerError, Layer, RpcServer, ServeError};
use tachyon_tests::message::{length, message};
use tachyon_tests::proc::processor_ticks;
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::server::{self, STOP, count};
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;
use tachyon_tests::wire::connect_raw;

const ECHO: u16 = 1;
const SLEEP: u16 = 2;
const PANIC: u16 = 3;
const FAIL: u16 = 4;
const COUNTS: u16 = 5;
const HUGE: u16 = 7;
const LONG: u16 = 8;

const TOKIO_SERVICE: Program = Program(env!("CARGO_BIN_EXE_tokio_service"));

const PATIENCE: Duration = Duration::from_mins(1);

struct Server {
    process: Peer,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

/// Handlers that have started, finished and been dropped, and runs of an unrelated task.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    started: u64,
    finished: u64,
    dropped: u64,
    ticks: u64,
}

impl Server {
    fn start(runtime: &str, in_flight: usize, each: usize, stop_ms: u64) -> Self {
        let (folder, path) = socket();
        let arguments = [runtime, &in_flight.to_string(), &each.to_string(), &stop_ms.to_string()];
        let process = TOKIO_SERVICE.start("serve", &path, &arguments);
        Self { process, path, _folder: folder }
    }

    fn caller(&self) -> Caller {
        Caller::connect(&self.path).unwrap()
    }

    /// Stops the server, and returns its events.
    fn stop(self) -> Vec<String> {
        server::stop(self.process, &self.path, PATIENCE)
    }
}

fn in_both(test: impl Fn(&str)) {
    for runtime in ["current", "multi"] {
        test(runtime);
    }
}

fn counts(caller: &mut Caller) -> Counts {
    let reply = caller.call_timeout(COUNTS, b"", PATIENCE).unwrap();
    let numbers: Vec<u64> = str::from_utf8(&reply).unwrap().split(' ').map(|word| word.parse().unwrap()).collect();
    let [started, finished, dropped, ticks] = numbers[..] else { panic!("{numbers:?}") };
    Counts { started, finished, dropped, ticks }
}

/// Waits until the server's counts meet a condition.
fn wait_for(caller: &mut Caller, what: &str, condition: impl Fn(&Counts) -> bool) {
    wait::until(what, PATIENCE, || condition(&counts(caller)));
}

fn sleep(caller: &mut Caller, millis: u64) -> u64 {
    caller.start(SLEEP, &millis.to_le_bytes()).unwrap()
}

#[test]
fn handlers_of_one_caller_run_in_parallel() {
    in_both(|runtime| {
        let server = Server::start(runtime, 1024, 256, 1000);
        let mut caller = server.caller();
        let started = Instant::now();
        let calls: Vec<_> = (0..64).map(|number| (number, sleep(&mut caller, 100 + number % 3))).collect();
        for (number, call) in calls {
            let reply = caller.finish_timeout(call, PATIENCE).unwrap();
            assert_eq!(*reply, (100 + number % 3).to_le_bytes());
        }
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}; one after the other takes 6.4 s", started.elapsed());
        drop(caller);
        let events = server.stop();
        assert_eq!(count(&events, "Closed"), 2, "{events:?}");
    });
}

#[test]
fn replies_come_as_handlers_finish() {
    in_both(|runtime| {
        let server = Server::start(runtime, 1024, 256, 1000);
        let mut caller = server.caller();
        let slow = sleep(&mut caller, 3000);
        let quick = sleep(&mut caller, 1);
        let began = Instant::now();
        for number in 0..2000 {
            let sent = message(number, length(number, 3000));
            assert_eq!(*caller.call_timeout(ECHO, &sent, PATIENCE).unwrap(), *sent, "{number}");
            if number == 20 {
                assert_eq!(*caller.finish_timeout(quick, PATIENCE).unwrap(), 1u64.to_le_bytes());
                assert!(began.elapsed() < Duration::from_millis(2900), "the quick call waited for the slow call");
            }
        }
        assert_eq!(*caller.finish_timeout(slow, PATIENCE).unwrap(), 3000u64.to_le_bytes());
        for number in 0..300 {
            let sent = message(number, length(number, 600));
            let reply = caller.call_timeout(LONG, &sent, PATIENCE).unwrap();
            assert_eq!(*reply, sent.repeat(100), "{number}");
        }
        drop(caller);
        server.stop();
    });
}

#[test]
fn every_failure_is_answered() {
    in_both(|runtime| {
        let server = Server::start(runtime, 1024, 256, 1000);
        let mut caller = server.caller();
        for (msg_type, kind) in [
            (PANIC, ErrorKind::HandlerFailed),
            (FAIL, ErrorKind::HandlerFailed),
            (HUGE, ErrorKind::ReplyTooLarge),
            (404, ErrorKind::NoHandler),
        ] {
            match caller.call_timeout(msg_type, b"abc", PATIENCE).map(|reply| reply.to_vec()) {
                Err(CallError::Remote(error)) => {
                    assert_eq!((error.kind, error.msg_type), (kind, msg_type));
                    assert_eq!(error.text, "", "raw endpoints hide their error texts");
                }
                other => panic!("{msg_type}: {other:?}"),
            }
        }
        caller.ping(PATIENCE).unwrap();
        assert_eq!(&*caller.call(ECHO, b"still usable").unwrap(), b"still usable");
        drop(caller);
        server.stop();
    });
}

#[test]
fn a_handler_whose_deadline_passes_is_dropped() {
    in_both(|runtime| {
        let server = Server::start(runtime, 1024, 256, 1000);
        let mut caller = server.caller();
        let late = caller.call_timeout(SLEEP, &60_000u64.to_le_bytes(), Duration::from_millis(50));
        assert!(matches!(late.map(drop), Err(CallError::TimedOut { .. })));
        wait_for(&mut caller, "dropped", |counts| counts.dropped == 1 && counts.started == 1);
        // A caller that waits longer than its deadline gets an error reply.
        let call = caller.start_timeout(SLEEP, &60_000u64.to_le_bytes(), Duration::from_millis(50)).unwrap();
        let reply = caller.finish_timeout(call, PATIENCE).unwrap();
        assert_eq!(reply.error().unwrap().kind, ErrorKind::DeadlinePassed);
        drop(reply);
        let call = caller.start_timeout(SLEEP, &20u64.to_le_bytes(), PATIENCE).unwrap();
        assert_eq!(*caller.finish_timeout(call, PATIENCE).unwrap(), 20u64.to_le_bytes());
        drop(caller);
        server.stop();
    });
}

#[test]
fn handlers_of_a_departed_caller_are_dropped() {
    in_both(|runtime| {
        let server = Server::start(runtime, 64, 16, 1000);
        let mut steady = server.caller();
        let slow = sleep(&mut steady, 1500);
        for round in 1..=5u64 {
            // The second victim has more requests than handlers it may have, so the server does not read it when it
            // dies.
            for (count, handlers) in [("10", 10), ("100", 26)] {
                let mut victim = TOKIO_SERVICE.start("call", &server.path, &[count]);
                assert_eq!(victim.line(), "called");
                let at_work = 1 + 26 * (round - 1) + handlers;
                wait_for(&mut steady, "started", |counts| counts.started == at_work);
                victim.kill();
            }
            wait_for(&mut steady, "dropped", |counts| counts.dropped == 26 * round);
            assert_eq!(&*steady.call_timeout(ECHO, b"meanwhile", PATIENCE).unwrap(), b"meanwhile");
        }
        assert_eq!(*steady.finish_timeout(slow, PATIENCE).unwrap(), 1500u64.to_le_bytes());
        // A caller that closes with calls in flight.
        let mut leaving = server.caller();
        sleep(&mut leaving, 60_000);
        wait_for(&mut steady, "started", |counts| counts.started == 26 * 5 + 2);
        drop(leaving);
        wait_for(&mut steady, "dropped", |counts| counts.dropped == 26 * 5 + 1);
        drop(steady);
        let events = server.stop();
        assert_eq!(count(&events, "Died"), 10, "{events:?}");
        assert_eq!(count(&events, "Closed"), 3, "{events:?}");
    });
}

#[test]
fn handler_places_are_shared_fairly() {
    in_both(|runtime| {
        let server = Server::start(runtime, 4, 3, 1000);
        let mut flooding = server.caller();
        let calls: Vec<_> = (0..60).map(|_| sleep(&mut flooding, 200)).collect();
        let mut others: Vec<_> = (0..3).map(|_| server.caller()).collect();
        let began = Instant::now();
        for _ in 0..2 {
            let calls: Vec<_> = others.iter_mut().map(|caller| sleep(caller, 200)).collect();
            for (caller, call) in others.iter_mut().zip(calls) {
                caller.finish_timeout(call, PATIENCE).unwrap();
            }
        }
        // Four handlers at a time: the 60 calls alone take 15 rounds of 200 ms.
        assert!(began.elapsed() < Duration::from_millis(2500), "{:?}", began.elapsed());
        let counted = counts(&mut others[0]);
        assert!(counted.started <= counted.finished + 4, "{counted:?}");
        for call in calls {
            flooding.finish_timeout(call, PATIENCE).unwrap();
        }
        drop((flooding, others));
        server.stop();
    });
}

#[test]
fn replies_without_room_delay_no_other_caller() {
    in_both(|runtime| {
        let server = Server::start(runtime, 64, 48, 1000);
        // Replies of some 60 KiB each, over a ring of 64 KiB, which the caller does not take.
        let mut deaf = server.caller();
        let sent = message(7, 600);
        let calls: Vec<_> =
            (0..100).map_while(|_| deaf.start_timeout(LONG, &sent, Duration::from_millis(100)).ok()).collect();
        assert!(calls.len() > 20, "{}", calls.len());
        let mut polite = server.caller();
        for _ in 0..200 {
            polite.call_timeout(ECHO, b"hello", PATIENCE).unwrap();
            assert_eq!(polite.call_timeout(LONG, b"x", PATIENCE).unwrap().len(), 100);
        }
        let mut replies = 0;
        for call in calls {
            // A request that the server could not begin in time has an error reply.
            match deaf.finish_timeout(call, PATIENCE).unwrap() {
                reply if reply.error().is_some() => {}
                reply => {
                    assert_eq!(*reply, sent.repeat(100));
                    replies += 1;
                }
            }
        }
        assert!(replies > 1, "{replies}");
        drop((deaf, polite));
        server.stop();
    });
}

#[test]
fn a_stop_finishes_running_handlers() {
    in_both(|runtime| {
        let server = Server::start(runtime, 8, 8, 20_000);
        let mut caller = server.caller();
        let at_work: Vec<_> = (0..8).map(|_| sleep(&mut caller, 2000)).collect();
        let queued: Vec<_> = (0..8).map(|_| sleep(&mut caller, 2000)).collect();
        let mut asking = server.caller();
        wait_for(&mut asking, "started", |counts| counts.started == 8);
        let began = Instant::now();
        asking.call(STOP, b"").unwrap();
        for call in queued {
            let reply = caller.finish_timeout(call, PATIENCE).unwrap();
            assert_eq!(reply.error().unwrap().kind, ErrorKind::Stopping);
        }
        assert!(began.elapsed() < Duration::from_millis(1900), "requests that were not begun are answered at once");
        for call in at_work {
            assert_eq!(*caller.finish_timeout(call, PATIENCE).unwrap(), 2000u64.to_le_bytes());
        }
        match caller.call(ECHO, b"late").map(drop) {
            Err(CallError::Closed { .. }) => {}
            Err(CallError::Remote(error)) => assert_eq!(error.kind, ErrorKind::Stopping),
            other => panic!("{other:?}"),
        }
        server.process.finish();
        assert!(!server.path.exists());
    });
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    in_both(|runtime| {
        let server = Server::start(runtime, 8, 8, 200);
        let mut caller = server.caller();
        let endless = sleep(&mut caller, 3_600_000);
        let mut asking = server.caller();
        wait_for(&mut asking, "started", |counts| counts.started == 1);
        asking.call(STOP, b"").unwrap();
        let reply = caller.finish_timeout(endless, PATIENCE).unwrap();
        assert_eq!(reply.error().unwrap().kind, ErrorKind::Cancelled);
        drop(reply);
        server.process.finish();
    });
}

#[test]
fn an_idle_server_costs_no_processor_time() {
    in_both(|runtime| {
        let server = Server::start(runtime, 64, 16, 1000);
        let mut callers: Vec<_> = (0..20).map(|_| server.caller()).collect();
        for caller in &mut callers {
            caller.call(ECHO, b"here").unwrap();
        }
        // Handlers that sleep, and a caller with as many handlers as it may have, must use no processor time.
        let long: Vec<_> = (0..40).map(|_| sleep(&mut callers[0], 600_000)).collect();
        // The process has a task that runs every 5 ms for some 5 s.
        wait_for(&mut callers[1], "quiet", |counts| counts.ticks > 1000);
        std::thread::sleep(Duration::from_millis(100));
        let before = processor_ticks(server.process.id());
        std::thread::sleep(Duration::from_secs(2));
        let spent = processor_ticks(server.process.id()) - before;
        assert!(spent <= 10, "{spent} ticks of 10 ms in 2 s");
        drop((long, callers));
        server.stop();
    });
}

#[test]
fn other_tasks_run_while_callers_are_busy() {
    let server = Server::start("current", 64, 16, 1000);
    let path = server.path.clone();
    let flood = std::thread::spawn(move || flood(&path));
    let mut caller = server.caller();
    let before = counts(&mut caller).ticks;
    std::thread::sleep(Duration::from_secs(1));
    let ticks = counts(&mut caller).ticks - before;
    // 200 on an idle machine.
    assert!(ticks > 10, "{ticks} ticks of 5 ms in 1 s");
    assert!(flood.join().unwrap() > 0);
    drop(caller);
    server.stop();
}

/// Makes calls as fast as possible for 1.2 s.
fn flood(path: &Path) -> usize {
    let mut caller = Caller::connect(path).unwrap();
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < Duration::from_millis(1200) {
        let calls: Vec<_> = (0..100).map(|_| caller.start(ECHO, b"again").unwrap()).collect();
        for call in calls {
            drop(caller.finish(call).unwrap());
            done += 1;
        }
    }
    done
}

#[test]
fn silent_clients_are_rejected_in_time() {
    in_both(|runtime| {
        let server = Server::start(runtime, 64, 16, 1000);
        drop(server.caller());
        // Sends no hello. The server ends the handshake after 300 ms, although no other event occurs.
        let silent = connect_raw(&server.path).unwrap();
        let mut buffer = [0; 256];
        while rustix::net::recv(&silent, &mut buffer, rustix::net::RecvFlags::empty()).unwrap().0 > 0 {}
        let events = server.stop();
        assert!(events.iter().any(|event| event.starts_with("a client was rejected")), "{events:?}");
    });
}

#[test]
fn async_endpoints_need_a_runtime() {
    let (_folder, path) = socket();
    let mut dispatcher = Dispatcher::default();
    dispatcher.register_async(2, "later", async |_: Vec<u8>| ()).unwrap();
    dispatcher.register(1, "now", |_: &[u8]| ()).unwrap();
    assert!(dispatcher.register_async(1, "again", async |_: Vec<u8>| ()).is_err());
    let mut server = RpcServer::listen(&path).unwrap();
    let refused = dispatcher.serve_forever(&mut server).unwrap_err();
    assert!(matches!(&refused, ServeError::NeedsRuntime { name, msg_type: 2 } if name == "later"), "{refused}");
    assert!(matches!(dispatcher.serve_workers(&mut server, 2), Err(ServeError::NeedsRuntime { .. })));
    assert_eq!(server.path(), Some(path.as_path()), "the server can still be served");
    drop(server);
    let at = path.clone();
    let callee = std::thread::spawn(move || {
        let mut callee = Callee::listen(&at, 4096, 4096).unwrap();
        let once = dispatcher.serve_once(&mut callee).unwrap_err();
        (once, dispatcher.serve_forever(&mut callee).unwrap_err())
    });
    let caller = Caller::connect(&path).unwrap();
    let (once, forever) = callee.join().unwrap();
    for refused in [once, forever] {
        assert!(matches!(refused, ServeError::NeedsRuntime { .. }), "{refused}");
    }
    drop(caller);
}

#[test]
fn dropping_the_future_ends_the_serving_and_keeps_the_path() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_folder, path) = socket();
    let mut server = RpcServer::listen(&path).unwrap();
    let stopper = server.stopper();
    let mut dispatcher = Dispatcher::default();
    dispatcher
        .register_async(1, "sleep", async |_: Vec<u8>| tokio::time::sleep(Duration::from_hours(1)).await)
        .unwrap();
    dispatcher.register(2, "echo", <[u8]>::to_vec).unwrap();
    runtime.block_on(async {
        let at = path.clone();
        let call = tokio::task::spawn_blocking(move || Caller::connect(at).unwrap().call(1, b"").map(drop));
        let ended = tokio::time::timeout(Duration::from_millis(300), dispatcher.serve_async(&mut server)).await;
        assert!(ended.is_err(), "{ended:?}");
        assert!(matches!(call.await.unwrap(), Err(CallError::Closed { .. })));
        assert_eq!(stopper.callers(), 0);
        let at = path.clone();
        let call = tokio::task::spawn_blocking(move || {
            let echoed = Caller::connect(at).unwrap().call(2, b"again").unwrap().to_vec();
            stopper.stop();
            echoed
        });
        dispatcher.serve_async(&mut server).await.unwrap();
        assert_eq!(call.await.unwrap(), b"again");
        assert!(!path.exists());
        dispatcher.serve_async(&mut server).await.unwrap();
    });
}

/// Logs the calls that a layer sees.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Layer for Log {
    fn before(&self, call: &Context<'_>) -> Result<(), HandlerError> {
        self.0.lock().unwrap().push(format!("{} begins, concurrent: {}", call.correlation_id, call.is_concurrent));
        Ok(())
    }

    fn after(&self, call: &Context<'_>, outcome: &Outcome, took: Duration) {
        assert!(took < PATIENCE);
        self.0.lock().unwrap().push(format!("{} {} {outcome:?}", call.correlation_id, call.name));
    }
}

#[test]
fn layers_and_statistics_see_async_calls() {
    let (_folder, path) = socket();
    let log = Arc::new(Log::default());
    let mut server = RpcServer::listen(&path).unwrap();
    let stopper = server.stopper();
    let mut dispatcher = Dispatcher::default();
    dispatcher.layer(Arc::clone(&log));
    dispatcher
        .register_async(1, "sleep", async |request: Vec<u8>| {
            let millis = u64::from_le_bytes(request.as_slice().try_into()?);
            tokio::time::sleep(Duration::from_millis(millis)).await;
            Ok::<_, std::array::TryFromSliceError>("slept")
        })
        .unwrap();
    let failures = Arc::new(Mutex::new(Vec::new()));
    let log_failure = Arc::clone(&failures);
    dispatcher.on_failure(move |failure| log_failure.lock().unwrap().push(failure.to_string()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let service = runtime.spawn(async move { dispatcher.serve_async(&mut server).await });

    let mut caller = Caller::connect(&path).unwrap();
    let slow = caller.start(1, &100u64.to_le_bytes()).unwrap();
    let quick = caller.start(1, &1u64.to_le_bytes()).unwrap();
    assert_eq!(&*caller.finish_timeout(slow, PATIENCE).unwrap(), b"slept");
    assert_eq!(&*caller.finish_timeout(quick, PATIENCE).unwrap(), b"slept");
    assert!(matches!(caller.call(1, b"no number").map(drop), Err(CallError::Remote(_))));
    // The caller leaves with a call in flight.
    caller.start(1, &60_000u64.to_le_bytes()).unwrap();
    caller.ping(PATIENCE).unwrap();
    drop(caller);

    let observer = Observer::open(&path).unwrap();
    let endpoint = || observer.snapshot().unwrap().endpoints.swap_remove(0);
    wait::until("four calls", PATIENCE, || endpoint().calls == 4);
    let counted = endpoint();
    assert_eq!((counted.name.as_str(), counted.errors, counted.callers_gone), ("sleep", 1, 1));
    assert_eq!((counted.request_bytes, counted.reply_bytes), (33, 10));
    assert!(counted.p99().unwrap() >= Duration::from_millis(90), "{counted:?}");
    stopper.stop();
    runtime.block_on(service).unwrap().unwrap();
    let seen = log.0.lock().unwrap().join("; ");
    assert_eq!(
        seen,
        "1 begins, concurrent: true; 2 begins, concurrent: true; 2 sleep Replied(5); 1 sleep Replied(5); \
         3 begins, concurrent: true; 3 sleep Failed(HandlerFailed); 4 begins, concurrent: true; 4 sleep CallerGone"
    );
    assert_eq!(failures.lock().unwrap().len(), 1, "{failures:?}");
}
