//! A stop begins no request, tells every caller, and leaves running handlers the stop timeout and no longer.
#![allow(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tachyon::{
    AsyncCaller, CallError, Callee, Caller, Context, Dispatcher, ErrorKind, ItemError, Items, RpcServer, ServeError,
    ServerOptions, Stopper, endpoints, tachyon_rpc,
};
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;

const PATIENCE: Duration = Duration::from_secs(20);

#[tachyon_rpc(msg_type = 5)]
fn add(left: u32, right: u32) -> u32 {
    left + right
}

/// Calls of `endure` that have begun.
static ENDURED: AtomicUsize = AtomicUsize::new(0);

/// Runs until its call is cancelled.
#[tachyon_rpc(msg_type = 6)]
fn endure(#[context] cx: &Context<'_>) {
    ENDURED.fetch_add(1, Ordering::Relaxed);
    while !cx.is_cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// An endless stream, each item of which takes 50 ms.
#[tachyon_rpc(msg_type = 7)]
fn drip() -> impl Iterator<Item = u32> {
    (0..).inspect(|_| std::thread::sleep(Duration::from_millis(50)))
}

/// Adds numbers.
#[tachyon_rpc(msg_type = 8)]
fn total(numbers: Items<u32>) -> Result<u32, ItemError> {
    numbers.sum()
}

struct Server {
    path: PathBuf,
    stopper: Stopper,
    /// A message from each handler of endpoints 1 and 3 that begins.
    begins: Receiver<()>,
    /// Calls of endpoint 1 that have begun.
    begun: Arc<AtomicUsize>,
    serving: JoinHandle<Result<(), ServeError>>,
    _folder: tempfile::TempDir,
}

impl Server {
    /// A server with `workers` threads, or on tokio if `workers` is 0. The handler of endpoint 1 sleeps for 500 ms. On
    /// tokio, endpoint 3 sleeps for the requested milliseconds, and endpoint 4 blocks its thread for 2 s.
    fn start(workers: usize, stop_timeout: Duration) -> Self {
        let (folder, path) = socket();
        let mut server = RpcServer::listen_with(&path, ServerOptions::new().stop_timeout(stop_timeout)).unwrap();
        let stopper = server.stopper();
        let (begin, begins) = channel();
        let begun = Arc::new(AtomicUsize::new(0));
        let mut dispatcher = Dispatcher::new(endpoints![add, endure, drip, total]);
        let (count, begin_later) = (Arc::clone(&begun), begin.clone());
        dispatcher
            .register(1, "sleep", move |_: &[u8]| {
                count.fetch_add(1, Ordering::Relaxed);
                begin.send(()).unwrap();
                std::thread::sleep(Duration::from_millis(500));
            })
            .unwrap();
        if workers == 0 {
            dispatcher
                .register_async(3, "await", move |request: Vec<u8>| {
                    begin_later.send(()).unwrap();
                    let millis = u64::from_le_bytes(request.as_slice().try_into().unwrap());
                    tokio::time::sleep(Duration::from_millis(millis))
                })
                .unwrap();
            dispatcher
                .register_async(4, "compute", async |_: Vec<u8>| {
                    // Keeps the runtime's other thread awake, which then drives the timers: the blocked thread may be
                    // the one that drove them.
                    tokio::spawn(async {
                        loop {
                            tokio::task::yield_now().await;
                        }
                    });
                    tokio::task::yield_now().await;
                    std::thread::sleep(Duration::from_secs(2));
                })
                .unwrap();
        }
        let serving = std::thread::spawn(move || match workers {
            0 => {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
                let outcome = runtime.block_on(dispatcher.serve_async(&mut server));
                runtime.shutdown_background();
                outcome
            }
            1 => dispatcher.serve_forever(&mut server),
            more => dispatcher.serve_workers(&mut server, more),
        });
        Self { path, stopper, begins, begun, serving, _folder: folder }
    }

    fn caller(&self) -> Caller {
        Caller::connect(&self.path).unwrap()
    }
}

fn kind(caller: &mut Caller, call: u64) -> (ErrorKind, u16) {
    let error = caller.finish_timeout(call, PATIENCE).unwrap().error().unwrap();
    (error.kind, error.msg_type)
}

#[test]
fn a_stop_begins_no_request_and_counts_late_handlers() {
    for workers in [0, 1, 2] {
        let server = Server::start(workers, Duration::from_millis(100));
        let mut callers: Vec<_> = (0..6).map(|_| server.caller()).collect();
        for caller in &mut callers {
            caller.ping(PATIENCE).unwrap();
        }
        let calls: Vec<_> = callers.iter_mut().map(|caller| caller.start(1, b"").unwrap()).collect();
        for _ in 0..workers.max(1) {
            server.begins.recv_timeout(PATIENCE).unwrap();
        }
        let stopped = Instant::now();
        server.stopper.stop();
        let mut answered = 0;
        for (caller, call) in callers.iter_mut().zip(calls) {
            let reply = caller.finish_timeout(call, PATIENCE).unwrap();
            match reply.error() {
                None => answered += 1,
                Some(error) => assert_eq!((error.kind, error.msg_type), (ErrorKind::Stopping, 1)),
            }
        }
        let outcome = server.serving.join().unwrap();
        assert!(stopped.elapsed() < Duration::from_millis(1500), "{:?} for a handler of 500 ms", stopped.elapsed());
        assert_eq!(server.begun.load(Ordering::Relaxed), workers.max(1));
        assert_eq!(answered, workers.max(1), "begun requests are answered");
        assert!(
            matches!(outcome, Err(ServeError::HandlersLeft { count }) if count == workers.max(1)),
            "{workers}: {outcome:?}"
        );
        assert!(!server.path.exists());
    }
}

#[test]
fn handlers_that_end_in_time_are_no_error() {
    for workers in [0, 1, 2] {
        let server = Server::start(workers, PATIENCE);
        let mut caller = server.caller();
        let call = caller.start(1, b"").unwrap();
        server.begins.recv_timeout(PATIENCE).unwrap();
        server.stopper.stop();
        assert_eq!(caller.finish_timeout(call, PATIENCE).unwrap().error(), None);
        server.serving.join().unwrap().unwrap();
    }
}

#[test]
fn a_handler_is_cancelled_after_the_stop_timeout() {
    for (round, workers) in [0, 1, 2].into_iter().enumerate() {
        let server = Server::start(workers, Duration::from_millis(100));
        let mut caller = server.caller();
        let call = endure::start(&mut caller).unwrap();
        wait::until("the handler", PATIENCE, || ENDURED.load(Ordering::Relaxed) > round);
        let stopped = Instant::now();
        server.stopper.stop();
        call.finish(&mut caller).unwrap();
        assert!(stopped.elapsed() >= Duration::from_millis(100), "cancelled before the stop timeout");
        // On a busy machine the handler may notice the cancellation late.
        let outcome = server.serving.join().unwrap();
        assert!(matches!(outcome, Ok(()) | Err(ServeError::HandlersLeft { count: 1 })), "{outcome:?}");
    }
}

#[test]
fn a_slow_stream_is_cancelled_after_the_stop_timeout() {
    for workers in [0, 1, 2] {
        let server = Server::start(workers, Duration::from_millis(500));
        let (mut caller, mut other) = (server.caller(), server.caller());
        let mut items = drip::open(&mut caller).unwrap();
        let mut quick = drip::open(&mut other).unwrap();
        for number in 0..3 {
            assert_eq!((items.next().unwrap().unwrap(), quick.next().unwrap().unwrap()), (number, number));
        }
        let stopped = Instant::now();
        server.stopper.stop();
        for stream in [items, quick] {
            let ended = stream.into_iter().find_map(Result::err).unwrap();
            assert!(matches!(&ended, CallError::Remote(error) if error.kind == ErrorKind::Cancelled), "{ended}");
        }
        server.serving.join().unwrap().unwrap();
        let took = stopped.elapsed();
        assert!((Duration::from_millis(400)..Duration::from_secs(4)).contains(&took), "{took:?}, {workers} workers");
    }
}

#[test]
fn an_upload_to_a_server_that_has_stopped_takes_nothing_and_has_its_outcome() {
    let is_cancelled =
        |ended: &CallError| matches!(ended, CallError::Remote(error) if error.kind == ErrorKind::Cancelled);
    for workers in [0, 1, 2] {
        let server = Server::start(workers, Duration::from_millis(100));
        let mut caller = server.caller();
        let mut upload = total::open(&mut caller).unwrap();
        assert!(upload.send(1).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (task, of_task) = runtime.block_on(async {
            let caller = AsyncCaller::connect(&server.path).await.unwrap();
            let upload = total::stream(&caller).await.unwrap();
            assert!(upload.send(1).await.unwrap());
            (caller, upload)
        });
        server.stopper.stop();
        server.serving.join().unwrap().unwrap();
        assert!(!upload.send(2).unwrap());
        let ended = upload.finish().unwrap_err();
        assert!(is_cancelled(&ended), "{ended}");
        runtime.block_on(async {
            assert!(!of_task.send(2).await.unwrap());
            let ended = of_task.finish().await.unwrap_err();
            assert!(is_cancelled(&ended), "{ended}");
            drop(task);
        });
    }
}

#[test]
fn a_slow_stream_of_a_lone_callee_is_interrupted() {
    static INTERRUPTED: AtomicBool = AtomicBool::new(false);
    let (_folder, path) = socket();
    let at = path.clone();
    let serving = std::thread::spawn(move || {
        let mut callee = Callee::listen(at, 1 << 16, 1 << 16).unwrap();
        callee.set_interrupt(Some(|| INTERRUPTED.load(Ordering::Relaxed)));
        Dispatcher::new(endpoints![drip]).serve_forever(&mut callee)
    });
    let mut caller = Caller::connect(&path).unwrap();
    let mut items = drip::open(&mut caller).unwrap();
    assert_eq!(items.next().unwrap().unwrap(), 0);
    let interrupted = Instant::now();
    INTERRUPTED.store(true, Ordering::Relaxed);
    let ended = items.find_map(Result::err).unwrap();
    assert!(matches!(&ended, CallError::Remote(error) if error.kind == ErrorKind::Cancelled), "{ended}");
    let outcome = serving.join().unwrap();
    assert!(matches!(outcome, Err(ServeError::Interrupted)), "{outcome:?}");
    assert!(interrupted.elapsed() < Duration::from_secs(5), "{:?}", interrupted.elapsed());
}

#[test]
fn connected_callers_learn_of_a_stop() {
    for workers in [0, 1, 3] {
        for round in 0..20 {
            let server = Server::start(workers, Duration::from_secs(1));
            let path = server.path.clone();
            // Connects and calls while the server stops. A connected caller gets replies or the stop, and no other
            // error.
            let calling = std::thread::spawn(move || {
                let mut errors = Vec::new();
                while let Ok(mut caller) = Caller::connect_with(&path, &tachyon::Options::new().timeout(Duration::ZERO))
                {
                    match add::call(&mut caller, 1, 2) {
                        Ok(sum) => assert_eq!(sum, 3),
                        Err(error) => errors.push(error),
                    }
                }
                errors
            });
            std::thread::sleep(Duration::from_millis(round % 5));
            server.stopper.stop();
            server.serving.join().unwrap().unwrap();
            for error in calling.join().unwrap() {
                match error {
                    CallError::Remote(error) => assert_eq!((error.kind, error.msg_type), (ErrorKind::Stopping, 5)),
                    CallError::Closed { .. } => {}
                    other => panic!("{workers}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn async_handlers_are_cancelled_after_the_stop_timeout() {
    let server = Server::start(0, Duration::from_millis(200));
    let mut caller = server.caller();
    let quick = caller.start(3, &100u64.to_le_bytes()).unwrap();
    let endless = caller.start(3, &3_600_000u64.to_le_bytes()).unwrap();
    for _ in 0..2 {
        server.begins.recv_timeout(PATIENCE).unwrap();
    }
    server.stopper.stop();
    let late = caller.start(3, &0u64.to_le_bytes()).unwrap();
    assert_eq!(kind(&mut caller, late), (ErrorKind::Stopping, 3));
    assert_eq!(caller.finish_timeout(quick, PATIENCE).unwrap().error(), None);
    assert_eq!(kind(&mut caller, endless), (ErrorKind::Cancelled, 3));
    server.serving.join().unwrap().unwrap();
}

#[test]
fn async_handlers_that_never_await_are_abandoned() {
    let server = Server::start(0, Duration::from_millis(50));
    let mut caller = server.caller();
    let call = caller.start(4, b"").unwrap();
    caller.ping(PATIENCE).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let stopped = Instant::now();
    server.stopper.stop();
    assert_eq!(kind(&mut caller, call), (ErrorKind::Cancelled, 4));
    let outcome = server.serving.join().unwrap();
    assert!(matches!(outcome, Err(ServeError::HandlersLeft { count: 1 })), "{outcome:?}");
    assert!(stopped.elapsed() < Duration::from_millis(1500), "{:?}", stopped.elapsed());
}

#[test]
fn an_async_handler_does_not_begin_after_a_stop() {
    let server = Server::start(0, PATIENCE);
    let mut caller = server.caller();
    // The task of the first request waits while the second request blocks the serving thread.
    let waiting = caller.start(3, &0u64.to_le_bytes()).unwrap();
    let sleeping = caller.start(1, b"").unwrap();
    wait::until("the second handler", PATIENCE, || server.begun.load(Ordering::Relaxed) > 0);
    server.stopper.stop();
    let reply = caller.finish_timeout(waiting, PATIENCE).unwrap();
    // No error if another thread of the runtime ran the task before the stop.
    assert!(reply.error().is_none_or(|error| (error.kind, error.msg_type) == (ErrorKind::Stopping, 3)));
    drop(reply);
    assert_eq!(caller.finish_timeout(sleeping, PATIENCE).unwrap().error(), None);
    server.serving.join().unwrap().unwrap();
}
