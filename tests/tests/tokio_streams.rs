//! Streams of async callers, by number: their items, every end that they have, and calls beside them.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tachyon::client::tokio::RawStream;
use tachyon::rpc::{CallOutcome, CallerLayer, OutgoingCall};
use tachyon::type_id::MSG_TYPE_ERROR;
use tachyon::{AsyncCaller, CallError, Dispatcher, ErrorKind, Options, RpcServer, ServerOptions, Stopper};
use tachyon_tests::process::Program;
use tachyon_tests::raw_streams::{
    COUNT, ECHO, FAIL_AFTER, FOREVER, Forever, Iterators, LARGE, PANIC_AFTER, dispatcher, number,
};
use tachyon_tests::server::{self, Serving};
use tachyon_tests::service::{COUNT as COUNT_U64, ECHO as SERVICE_ECHO, Place, UPLOAD};
use tachyon_tests::temporary::socket;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);
const MOMENT: Duration = Duration::from_millis(20);

/// Two items, the second after as many milliseconds as the request says.
const SLOW: u16 = 8;

fn serving(iterators: &Arc<Iterators>) -> Dispatcher {
    let iterators = Arc::clone(iterators);
    let mut dispatcher = dispatcher(move || Forever::new(&iterators)).unwrap();
    dispatcher
        .register_stream(SLOW, "slow", |request| {
            let pause = Duration::from_millis(number(request).into());
            (0..2u32).inspect(move |item| std::thread::sleep(pause * *item))
        })
        .unwrap();
    dispatcher
}

/// A server in threads of this process.
struct Server {
    _folder: TempDir,
    path: PathBuf,
    iterators: Arc<Iterators>,
    running: Option<(Stopper, Serving)>,
}

impl Server {
    /// Serves with so many workers, or by tokio if `workers` is 0.
    fn start(workers: usize) -> Self {
        let (folder, path) = socket();
        let mut server = Self { _folder: folder, path, iterators: Arc::default(), running: None };
        server.serve(workers);
        server
    }

    fn serve(&mut self, workers: usize) {
        let options = ServerOptions::new().stop_timeout(Duration::from_secs(1));
        let listening = RpcServer::listen_with(&self.path, options).unwrap();
        self.running = Some(server::serve(listening, serving(&self.iterators), workers));
    }

    async fn caller(&self) -> AsyncCaller {
        AsyncCaller::connect_with(&self.path, &Options::new().timeout(PATIENCE)).await.unwrap()
    }

    async fn dropped(&self, count: usize) {
        until("the iterators are dropped", || self.iterators.dropped.load(Ordering::Relaxed) == count).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((stopper, _)) = &self.running {
            stopper.stop();
        }
    }
}

/// Waits without keeping the runtime's thread.
async fn until(event: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "{event}: not in time");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Runs a test in a runtime of one thread, where no operation may block, and in a runtime of two threads.
fn in_both<F: Future<Output = ()>>(test: impl Fn() -> F) {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test());
}

/// Runs a test with each kind of server, in both kinds of runtimes.
fn in_every_way<F: Future<Output = ()>>(test: impl Fn(Server) -> F) {
    for workers in [1, 0] {
        in_both(|| test(Server::start(workers)));
    }
}

async fn next(stream: &RawStream) -> Option<u32> {
    stream.recv_timeout(PATIENCE).await.map(|item| number(&item.unwrap()))
}

async fn all(stream: &RawStream) -> Vec<u32> {
    let mut items = Vec::new();
    while let Some(item) = next(stream).await {
        items.push(item);
    }
    items
}

async fn assert_echoes(caller: &AsyncCaller) {
    assert_eq!(caller.within(PATIENCE).call(ECHO, b"still usable").await.unwrap(), b"still usable");
}

#[test]
fn all_items_come_in_order_and_then_the_end() {
    in_every_way(|server| async move {
        let caller = server.caller().await;
        for window in [None, Some(1), Some(3), Some(1000)] {
            for count in [0, 1, 31, 32, 33, 1000] {
                let caller = window.map_or(caller.clone(), |window| caller.window(window));
                let stream = caller.open(COUNT, &u32::to_le_bytes(count)).await.unwrap();
                assert_eq!(all(&stream).await, (0..count).collect::<Vec<_>>());
                assert!(stream.recv().await.is_none(), "after the end");
                assert!(!stream.send(b"").await.unwrap(), "the callee takes nothing");
                assert_eq!(caller.outstanding(), 0);
            }
        }
        let stream = caller.open(LARGE, &200u32.to_le_bytes()).await.unwrap();
        for item in 0..200u8 {
            let found = stream.recv_timeout(PATIENCE).await.unwrap().unwrap();
            assert_eq!((found.len(), found[0], found[2999]), (3000, item, item));
        }
        assert!(stream.recv_timeout(PATIENCE).await.is_none());
        // The reply to a stream of the callee's items alone is empty, and their rest is dropped.
        let stream = caller.open(COUNT, &100u32.to_le_bytes()).await.unwrap();
        assert_eq!(next(&stream).await, Some(0));
        assert_eq!(timeout(PATIENCE, stream.finish()).await.unwrap().unwrap(), b"");
        assert_eq!(caller.outstanding(), 0);
    });
}

#[test]
fn thirty_two_streams_go_on_beside_a_thousand_calls() {
    in_every_way(|server| async move {
        let caller = server.caller().await;
        let mut tasks = JoinSet::new();
        for _ in 0..32 {
            let stream = caller.open(COUNT, &500u32.to_le_bytes()).await.unwrap();
            tasks.spawn(async move {
                assert_eq!(all(&stream).await, (0..500).collect::<Vec<_>>());
            });
        }
        for number in 0..1000u32 {
            let caller = caller.clone();
            tasks.spawn(async move {
                let reply = caller.within(PATIENCE).call(ECHO, &number.to_le_bytes()).await.unwrap();
                assert_eq!(reply, number.to_le_bytes());
            });
        }
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
        }
        assert_eq!(caller.outstanding(), 0);
    });
}

#[test]
fn an_unread_stream_holds_up_nothing_and_its_iterator_stays_within_the_window() {
    in_every_way(|server| async move {
        let caller = server.caller().await;
        let unread = caller.window(8).open(FOREVER, b"").await.unwrap();
        for number in 0..500u32 {
            let reply = caller.within(PATIENCE).call(ECHO, &number.to_le_bytes()).await.unwrap();
            assert_eq!(reply, number.to_le_bytes());
        }
        let read = caller.open(COUNT, &1000u32.to_le_bytes()).await.unwrap();
        assert_eq!(all(&read).await.len(), 1000);
        assert_eq!(server.iterators.given.load(Ordering::Relaxed), 8, "the window is used, and not more");
        for item in 1..=100 {
            assert_eq!(next(&unread).await, Some(item));
        }
        sleep(MOMENT).await;
        let ahead = server.iterators.given.load(Ordering::Relaxed);
        assert!((100..=108).contains(&ahead), "{ahead} items for 100 that were taken");
        drop(unread);
        server.dropped(1).await;
        assert_echoes(&caller).await;
    });
}

#[test]
fn a_dropped_or_closed_stream_is_cancelled_and_its_cell_is_free() {
    in_every_way(|server| async move {
        let caller = server.caller().await;
        let mut streams = Vec::new();
        for _ in 0..32 {
            streams.push(caller.open(FOREVER, b"").await.unwrap());
        }
        let refused = caller.open(FOREVER, b"").await;
        assert!(matches!(refused, Err(CallError::TooManyStreams { max: 32 })), "{refused:?}");
        for stream in &streams {
            assert_eq!(next(stream).await, Some(1));
        }
        assert_eq!(caller.outstanding(), 32);
        let closed = streams.split_off(16);
        drop(streams);
        for stream in &closed {
            stream.close();
            stream.close();
            assert!(stream.recv().await.is_none());
            assert!(!stream.send(b"").await.unwrap());
            stream.end().await.unwrap();
        }
        assert_eq!(caller.outstanding(), 0);
        // A new stream waits for the last message of one that was given up.
        let again = timeout(PATIENCE, async {
            for _ in 0..200 {
                let stream = caller.open(COUNT, &3u32.to_le_bytes()).await.unwrap();
                assert_eq!(next(&stream).await, Some(0));
            }
        });
        again.await.unwrap();
        server.dropped(32).await;
        for stream in closed {
            let finished = stream.finish().await;
            assert!(matches!(finished, Err(CallError::UnknownCorrelation(_))), "{finished:?}");
        }
        assert_echoes(&caller).await;
    });
}

#[test]
fn a_close_wakes_the_task_that_waits_for_an_item() {
    in_both(|| async {
        let server = Server::start(1);
        let caller = server.caller().await;
        let stream = Arc::new(caller.open(SLOW, &300u32.to_le_bytes()).await.unwrap());
        assert_eq!(next(&stream).await, Some(0));
        let waiting = Arc::clone(&stream);
        let waiting = tokio::spawn(async move { waiting.recv().await });
        sleep(MOMENT).await;
        stream.close();
        assert!(timeout(PATIENCE, waiting).await.unwrap().unwrap().is_none());
    });
}

#[test]
fn an_error_or_a_panic_ends_a_stream_after_its_items() {
    in_every_way(|server| async move {
        let caller = server.caller().await;
        for (endpoint, kind) in [(FAIL_AFTER, ErrorKind::NotFound), (PANIC_AFTER, ErrorKind::HandlerFailed)] {
            let stream = caller.open(endpoint, &40u32.to_le_bytes()).await.unwrap();
            for item in 0..40 {
                assert_eq!(next(&stream).await, Some(item));
            }
            let ended = stream.recv_timeout(PATIENCE).await;
            assert!(matches!(&ended, Some(Err(CallError::Remote(error))) if error.kind == kind), "{ended:?}");
            assert!(stream.recv().await.is_none());
            let stream = caller.open(endpoint, &40u32.to_le_bytes()).await.unwrap();
            let ended = timeout(PATIENCE, stream.finish()).await.unwrap();
            assert!(matches!(&ended, Err(CallError::Remote(error)) if error.kind == kind), "{ended:?}");
        }
        for (endpoint, kind) in [(ECHO, ErrorKind::BadRequest), (99, ErrorKind::NoHandler)] {
            let stream = caller.open(endpoint, b"").await.unwrap();
            let refused = stream.recv_timeout(PATIENCE).await;
            assert!(matches!(&refused, Some(Err(CallError::Remote(error))) if error.kind == kind), "{refused:?}");
        }
        let refused = caller.call(COUNT, &1u32.to_le_bytes()).await;
        assert!(matches!(&refused, Err(CallError::Remote(error)) if error.kind == ErrorKind::BadRequest));
        let reserved = caller.open(MSG_TYPE_ERROR, b"").await;
        assert!(matches!(reserved, Err(CallError::ReservedMsgType)), "{reserved:?}");
        let large = caller.open(COUNT, &vec![0; 1 << 24]).await;
        assert!(matches!(large, Err(CallError::TooLarge { .. })), "{large:?}");
        assert_eq!(caller.outstanding(), 0);
        assert_echoes(&caller).await;
    });
}

#[test]
fn a_deadline_ends_the_whole_stream_and_an_items_time_does_not() {
    in_every_way(|server| async move {
        let caller = server.caller().await;
        // Read all the time.
        let stream = caller.within(Duration::from_millis(100)).open(FOREVER, b"").await.unwrap();
        let began = Instant::now();
        let ended = loop {
            match stream.recv().await {
                Some(Ok(_)) => {}
                other => break other,
            }
        };
        assert!(matches!(ended, Some(Err(CallError::TimedOut { sent: true }))), "{ended:?}");
        assert!(began.elapsed() < PATIENCE && stream.recv().await.is_none());
        // Not read.
        let unread = caller.within(Duration::from_millis(50)).open(FOREVER, b"").await.unwrap();
        // The callee ends it by itself.
        server.dropped(2).await;
        let ended = loop {
            match unread.recv().await {
                Some(Ok(_)) => {}
                other => break other,
            }
        };
        assert!(matches!(ended, Some(Err(CallError::TimedOut { sent: true }))), "{ended:?}");
        assert_eq!(caller.outstanding(), 0);
        assert_echoes(&caller).await;
    });
}

/// The callee is in its handler, and so cannot end the stream.
#[test]
fn a_stream_ends_at_its_deadline_while_no_item_comes() {
    in_both(|| async {
        let server = Server::start(1);
        let caller = server.caller().await;
        let began = Instant::now();
        let stream = caller.within(Duration::from_millis(100)).open(SLOW, &3000u32.to_le_bytes()).await.unwrap();
        assert_eq!(next(&stream).await, Some(0));
        let late = stream.recv_timeout(MOMENT).await;
        assert!(matches!(late, Some(Err(CallError::TimedOut { sent: true }))), "{late:?}");
        assert_eq!(caller.outstanding(), 1, "the time of an item leaves the stream open");
        let ended = stream.recv().await;
        assert!(matches!(ended, Some(Err(CallError::TimedOut { sent: true }))), "{ended:?}");
        assert!((Duration::from_millis(100)..Duration::from_millis(2500)).contains(&began.elapsed()));
        assert!(stream.recv().await.is_none());
        assert_eq!(caller.outstanding(), 0);
        let slow = caller.open(SLOW, &50u32.to_le_bytes()).await.unwrap();
        assert_eq!(all(&slow).await, [0, 1]);
    });
}

#[test]
fn a_killed_callee_ends_streams_after_their_items() {
    in_both(|| async {
        let place = Place::new(Program(env!("CARGO_BIN_EXE_service")));
        let service = place.serve(1 << 16);
        let options = Options::new().reconnect(true);
        let caller = AsyncCaller::connect_with(place.socket(), &options).await.unwrap();
        let unread = caller.window(8).open(COUNT_U64, &u64::MAX.to_le_bytes()).await.unwrap();
        let mut streams = JoinSet::new();
        for _ in 0..4 {
            let stream = caller.open(COUNT_U64, &u64::MAX.to_le_bytes()).await.unwrap();
            streams.spawn(async move {
                let mut last = 0;
                loop {
                    match stream.recv().await.unwrap() {
                        Ok(item) => {
                            last += 1;
                            assert_eq!(item, u64::to_le_bytes(last));
                        }
                        Err(error) => {
                            assert!(stream.recv().await.is_none());
                            return (last, error);
                        }
                    }
                }
            });
        }
        let finishing = caller.open(COUNT_U64, &u64::MAX.to_le_bytes()).await.unwrap();
        let finishing = tokio::spawn(finishing.finish());
        let upload = caller.open(UPLOAD, b"").await.unwrap();
        let uploading = tokio::spawn(async move {
            let lost = loop {
                match upload.send(&[7; 300]).await {
                    Ok(true) => {}
                    lost => break lost,
                }
            };
            (lost, upload.finish().await)
        });
        sleep(5 * MOMENT).await;
        let killed = Instant::now();
        service.kill();
        while let Some(ended) = streams.join_next().await {
            let (last, error) = ended.unwrap();
            assert!(last > 0 && matches!(error, CallError::PeerDead { sent: true }), "{last}: {error:?}");
        }
        assert!(matches!(finishing.await.unwrap(), Err(CallError::PeerDead { sent: true })));
        let (lost, finished) = uploading.await.unwrap();
        assert!(matches!(lost, Ok(false) | Err(CallError::PeerDead { .. })), "{lost:?}");
        assert!(matches!(finished, Err(CallError::PeerDead { sent: true })), "{finished:?}");
        assert!(killed.elapsed() < Duration::from_secs(2));
        for item in 1..=8u64 {
            assert_eq!(unread.recv().await.unwrap().unwrap(), item.to_le_bytes());
        }
        assert!(matches!(unread.recv().await, Some(Err(CallError::PeerDead { sent: true }))));
        // A stream is not resumed. The next one is opened at the next callee.
        let _service = place.serve(1 << 16);
        assert!(unread.recv().await.is_none());
        let next = caller.open(COUNT_U64, &3u64.to_le_bytes()).await.unwrap();
        assert_eq!(next.recv().await.unwrap().unwrap(), 1u64.to_le_bytes());
        assert_eq!(next.recv().await.unwrap().unwrap(), 2u64.to_le_bytes());
        assert!(next.recv().await.is_none());
        let upload = caller.open(UPLOAD, b"").await.unwrap();
        for _ in 0..100 {
            assert!(upload.send(b"item").await.unwrap());
        }
        assert_eq!(upload.finish().await.unwrap(), 100u64.to_le_bytes());
        assert_eq!(caller.call(SERVICE_ECHO, b"x").await.unwrap(), b"x");
    });
}

#[test]
fn a_server_that_stops_ends_streams_and_the_next_one_opens_them() {
    for workers in [1, 2, 0] {
        in_both(|| async {
            let mut server = Server::start(workers);
            let options = Options::new().timeout(PATIENCE).reconnect(true);
            let caller = AsyncCaller::connect_with(&server.path, &options).await.unwrap();
            let stream = caller.window(4).open(FOREVER, b"").await.unwrap();
            assert_eq!(next(&stream).await, Some(1));
            stop(&mut server).await;
            let mut last = 1;
            let ended = loop {
                match stream.recv_timeout(PATIENCE).await {
                    Some(Ok(item)) => {
                        last += 1;
                        assert_eq!(number(&item), last, "items that were published come");
                    }
                    other => break other,
                }
            };
            let is_end = match &ended {
                Some(Err(CallError::Remote(error))) => {
                    matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Stopping)
                }
                Some(Err(CallError::Closed { sent: true })) => true,
                _ => false,
            };
            assert!(is_end, "{ended:?}");
            assert!(stream.recv().await.is_none());
            assert_eq!(server.iterators.dropped.load(Ordering::Relaxed), 1);
            server.serve(workers);
            let stream = caller.within(PATIENCE).open(COUNT, &3u32.to_le_bytes()).await.unwrap();
            assert_eq!(all(&stream).await, [0, 1, 2]);
        });
    }
}

/// A server in threads is waited for in a thread of its own: a runtime of one thread goes on meanwhile.
async fn stop(server: &mut Server) {
    let (stopper, serving) = server.running.take().unwrap();
    stopper.stop();
    tokio::task::spawn_blocking(move || serving.join().unwrap().unwrap()).await.unwrap();
}

#[test]
fn a_future_that_is_dropped_loses_no_item() {
    in_every_way(|server| async move {
        let caller = server.caller().await;
        let stream = caller.window(4).open(COUNT, &5000u32.to_le_bytes()).await.unwrap();
        let mut items = Vec::new();
        let mut dropped = 0;
        let mut calls = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                item = async {
                    // The wait is dropped at nearly any moment.
                    tokio::select! {
                        item = stream.recv() => Some(item),
                        () = tokio::task::yield_now() => None,
                    }
                } => match item {
                    Some(Some(item)) => items.push(number(&item.unwrap())),
                    Some(None) => break,
                    None => dropped += 1,
                },
            }
            if items.len() % 100 == 0 {
                let caller = caller.clone();
                calls.spawn(async move { assert_echoes(&caller).await });
            }
        }
        assert_eq!(items, (0..5000).collect::<Vec<_>>());
        assert!(dropped > 0, "no wait was dropped");
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
    });
}

#[test]
fn two_tasks_share_a_stream() {
    in_both(|| async {
        let server = Server::start(1);
        let caller = server.caller().await;
        let stream = Arc::new(caller.window(4).open(COUNT, &2000u32.to_le_bytes()).await.unwrap());
        let mut tasks = JoinSet::new();
        for _ in 0..2 {
            let stream = Arc::clone(&stream);
            tasks.spawn(async move { all(&stream).await });
        }
        let mut items = Vec::new();
        while let Some(taken) = tasks.join_next().await {
            let taken = taken.unwrap();
            assert!(taken.is_sorted());
            items.extend(taken);
        }
        items.sort_unstable();
        assert_eq!(items, (0..2000).collect::<Vec<_>>());
    });
}

#[test]
fn a_stream_keeps_its_connection_and_drops_it() {
    in_both(|| async {
        let server = Server::start(1);
        let caller = server.caller().await;
        let stream = caller.open(COUNT, &1000u32.to_le_bytes()).await.unwrap();
        drop(caller);
        assert_eq!(all(&stream).await.len(), 1000);
        let caller = server.caller().await;
        let endless = caller.open(FOREVER, b"").await.unwrap();
        drop(caller);
        assert_eq!(next(&endless).await, Some(1));
        drop(endless);
        server.dropped(1).await;
    });
}

#[test]
fn a_runtime_that_ends_ends_the_streams_elsewhere() {
    let server = Server::start(1);
    let first = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let caller = first.block_on(server.caller());
    let other = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let stream = other.block_on(caller.open(SLOW, &2000u32.to_le_bytes())).unwrap();
    assert_eq!(other.block_on(next(&stream)), Some(0));
    let waiting = other.spawn(async move { stream.recv().await });
    std::thread::sleep(MOMENT);
    first.shutdown_timeout(Duration::from_secs(1));
    let ended = other.block_on(waiting).unwrap();
    assert!(matches!(ended, Some(Err(CallError::Io(_)))), "{ended:?}");
}

/// The calls that a layer has seen, as text.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl CallerLayer for Log {
    fn before(&self, call: &mut OutgoingCall) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if call.request_size == 13 {
            return Err("thirteen bytes".into());
        }
        call.metadata.insert("token", "secret")?;
        Ok(())
    }

    fn after(&self, call: &OutgoingCall, outcome: CallOutcome<'_>, _took: Duration) {
        let outcome = match outcome {
            CallOutcome::Replied(len) => format!("replied {len}"),
            CallOutcome::Failed(CallError::Remote(error)) => format!("{:?}", error.kind),
            CallOutcome::Failed(CallError::TimedOut { .. }) => "timed out".to_owned(),
            CallOutcome::Failed(error) => error.to_string(),
            CallOutcome::GivenUp => "given up".to_owned(),
            _ => "other".to_owned(),
        };
        self.0.lock().unwrap().push(format!("{} {outcome}", call.msg_type));
    }
}

#[test]
fn layers_see_the_open_and_the_outcome() {
    in_both(|| async {
        let server = Server::start(1);
        let log = Arc::new(Log::default());
        let mut caller = server.caller().await;
        caller.layer(Arc::clone(&log));
        let last = |expected: &str| {
            let lines = log.0.lock().unwrap();
            assert_eq!(lines.last().map(String::as_str), Some(expected), "{lines:?}");
        };
        let refused = caller.open(COUNT, &[0; 13]).await;
        assert!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
        let stream = caller.open(COUNT, &3u32.to_le_bytes()).await.unwrap();
        assert_eq!(log.0.lock().unwrap().len(), 0, "the stream goes on");
        assert_eq!(all(&stream).await, [0, 1, 2]);
        last("2 replied 0");
        drop(stream);
        last("2 replied 0");
        let stream = caller.open(FAIL_AFTER, &1u32.to_le_bytes()).await.unwrap();
        assert!(timeout(PATIENCE, stream.finish()).await.unwrap().is_err());
        last("4 NotFound");
        drop(caller.open(FOREVER, b"").await.unwrap());
        last("3 given up");
        let stream = caller.open(FOREVER, b"").await.unwrap();
        stream.close();
        last("3 given up");
        let stream = caller.within(MOMENT).open(SLOW, &500u32.to_le_bytes()).await.unwrap();
        assert_eq!(next(&stream).await, Some(0));
        assert!(stream.recv().await.unwrap().is_err());
        last("8 timed out");
        assert_eq!(log.0.lock().unwrap().len(), 5, "each outcome once");
    });
}
