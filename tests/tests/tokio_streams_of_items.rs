//! Streams of items of async callers: uploads, chats in both directions, and every end of a handler that takes items.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tachyon::client::tokio::RawStream;
use tachyon::{
    AsyncCaller, CallError, Dispatcher, ErrorKind, HandlerError, ItemError, Items, Options, RpcServer, ServerOptions,
    Stopper, StreamSender,
};
use tachyon_tests::message::{length, message};
use tachyon_tests::server::{self, Serving};
use tachyon_tests::temporary::socket;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);
const MOMENT: Duration = Duration::from_millis(20);

const ECHO: u16 = 1;
/// Replies with the number and the checksum of the items.
const UPLOAD: u16 = 2;
/// Sends each item back.
const CHAT: u16 = 3;
/// Replies after three items, and takes no more.
const EARLY: u16 = 4;
/// Fails after three items.
const FAIL: u16 = 5;
/// Takes no item for a second, and then all.
const SLOW: u16 = 6;

/// The handlers that ended before the caller's items did.
#[derive(Default)]
struct Cancelled(AtomicUsize);

/// A handler that takes all items. The flag is for those that have.
struct Running(Arc<Cancelled>, bool);

impl Running {
    fn complete(mut self) {
        self.1 = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.fetch_add(usize::from(!self.1), Ordering::Relaxed);
    }
}

fn add(sums: &mut [u64; 2], item: &[u8]) {
    sums[0] += 1;
    sums[1] = sums[1].wrapping_mul(31).wrapping_add(crc32fast::hash(item).into());
}

fn upload(items: Items<Vec<u8>>, running: Running) -> Result<Vec<u8>, ItemError> {
    let mut sums = [0; 2];
    for item in items {
        add(&mut sums, &item?);
    }
    running.complete();
    Ok(sums.map(u64::to_le_bytes).concat())
}

/// Handlers on threads.
fn threads(cancelled: &Arc<Cancelled>) -> Dispatcher {
    let mut dispatcher = Dispatcher::default();
    let (own, chats) = (Arc::clone(cancelled), Arc::clone(cancelled));
    let running = |cancelled: &Arc<Cancelled>| Running(Arc::clone(cancelled), false);
    dispatcher
        .register(ECHO, "echo", <[u8]>::to_vec)
        .unwrap()
        .register_client_stream(UPLOAD, "upload", move |_, items| upload(items, running(&own)))
        .unwrap()
        .register_two_way(CHAT, "chat", move |_, items, out: StreamSender<Vec<u8>>| {
            let running = running(&chats);
            for item in items {
                out.blocking_send(&item?)?;
            }
            running.complete();
            Ok::<(), ItemError>(())
        })
        .unwrap()
        .register_client_stream(EARLY, "early", |_, items| items.take(3).count() as u64)
        .unwrap()
        .register_client_stream(FAIL, "fail", |_, items| {
            items.take(3).count();
            Err::<u64, _>(HandlerError::new(ErrorKind::NotFound, "the third item is broken"))
        })
        .unwrap()
        .register_client_stream(SLOW, "slow", |_, items| {
            std::thread::sleep(Duration::from_secs(1));
            items.count() as u64
        })
        .unwrap();
    dispatcher
}

/// Handlers as tasks.
fn tasks(cancelled: &Arc<Cancelled>) -> Dispatcher {
    let mut dispatcher = Dispatcher::default();
    let (own, chats) = (Arc::clone(cancelled), Arc::clone(cancelled));
    let running = |cancelled: &Arc<Cancelled>| Running(Arc::clone(cancelled), false);
    dispatcher
        .register(ECHO, "echo", <[u8]>::to_vec)
        .unwrap()
        .register_async_client_stream(UPLOAD, "upload", move |_, mut items: Items<Vec<u8>>| {
            let running = running(&own);
            async move {
                let mut sums = [0; 2];
                while let Some(item) = items.recv().await {
                    add(&mut sums, &item?);
                }
                running.complete();
                Ok::<_, ItemError>(sums.map(u64::to_le_bytes).concat())
            }
        })
        .unwrap()
        .register_async_two_way(CHAT, "chat", move |_, mut items: Items<Vec<u8>>, out: StreamSender<Vec<u8>>| {
            let running = running(&chats);
            async move {
                while let Some(item) = items.recv().await {
                    out.send(&item?).await?;
                }
                running.complete();
                Ok::<(), ItemError>(())
            }
        })
        .unwrap()
        .register_async_client_stream(EARLY, "early", |_, mut items: Items<Vec<u8>>| async move {
            let mut taken = 0u64;
            while taken < 3 && items.recv().await.is_some() {
                taken += 1;
            }
            taken
        })
        .unwrap()
        .register_async_client_stream(FAIL, "fail", |_, mut items: Items<Vec<u8>>| async move {
            for _ in 0..3 {
                drop(items.recv().await);
            }
            Err::<u64, _>(HandlerError::new(ErrorKind::NotFound, "the third item is broken"))
        })
        .unwrap()
        .register_async_client_stream(SLOW, "slow", |_, mut items: Items<Vec<u8>>| async move {
            sleep(Duration::from_secs(1)).await;
            let mut taken = 0u64;
            while items.recv().await.is_some() {
                taken += 1;
            }
            taken
        })
        .unwrap();
    dispatcher
}

/// A server in threads of this process.
struct Server {
    _folder: TempDir,
    caller: Options,
    path: std::path::PathBuf,
    cancelled: Arc<Cancelled>,
    running: Option<(Stopper, Serving)>,
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Threads { workers: usize },
    Tasks,
}

const WAYS: [Way; 4] =
    [Way::Threads { workers: 1 }, Way::Threads { workers: 2 }, Way::Threads { workers: 0 }, Way::Tasks];

impl Server {
    fn start(way: Way) -> Self {
        let (folder, path) = socket();
        let cancelled = Arc::default();
        let options = ServerOptions::new().stop_timeout(Duration::from_secs(1));
        let server = RpcServer::listen_with(&path, options).unwrap();
        let running = match way {
            Way::Threads { workers } => server::serve(server, threads(&cancelled), workers),
            Way::Tasks => server::serve(server, tasks(&cancelled), 0),
        };
        let caller = Options::new().timeout(PATIENCE);
        Self { _folder: folder, caller, path, cancelled, running: Some(running) }
    }

    async fn caller(&self) -> AsyncCaller {
        AsyncCaller::connect_with(&self.path, &self.caller).await.unwrap()
    }

    async fn cancelled(&self, count: usize) {
        let began = Instant::now();
        while self.cancelled.0.load(Ordering::Relaxed) < count {
            assert!(began.elapsed() < PATIENCE, "{} handlers were cancelled", self.cancelled.0.load(Ordering::Relaxed));
            sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((stopper, _)) = self.running.take() {
            stopper.stop();
        }
    }
}

/// Runs a test in every way to serve, in runtimes of one thread and of two threads.
fn in_every_way<F: Future<Output = ()>>(test: impl Fn(Server) -> F) {
    for way in WAYS {
        let run = || async { timeout(3 * PATIENCE, test(Server::start(way))).await };
        Builder::new_current_thread().enable_all().build().unwrap().block_on(run()).unwrap();
        let both = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        both.block_on(run()).unwrap();
    }
}

/// Sends items until the callee takes no more. Gives how many it took.
async fn send_all(stream: &RawStream, count: u64) -> Result<u64, CallError> {
    for number in 0..count {
        if !stream.send(&message(number, length(number, 2000))).await? {
            return Ok(number);
        }
    }
    Ok(count)
}

#[test]
fn uploads_are_complete_and_in_order_beside_calls() {
    in_every_way(|server| async move {
        let caller = server.caller().await;
        let mut work = JoinSet::new();
        for count in [0, 1, 32, 33, 1000] {
            let caller = caller.clone();
            work.spawn(async move {
                let mut sums = [0; 2];
                (0..count).for_each(|number| add(&mut sums, &message(number, length(number, 2000))));
                let upload = caller.open(UPLOAD, b"").await.unwrap();
                assert_eq!(send_all(&upload, count).await.unwrap(), count);
                let reply = upload.finish().await.unwrap();
                assert_eq!(reply, sums.map(u64::to_le_bytes).concat());
            });
        }
        for number in 0..300u64 {
            let caller = caller.clone();
            work.spawn(async move {
                let sent = message(number, length(number, 500));
                assert_eq!(caller.call(ECHO, &sent).await.unwrap(), sent);
            });
        }
        while let Some(done) = work.join_next().await {
            done.unwrap();
        }
        assert_eq!(caller.outstanding(), 0);
    });
}

#[test]
fn a_chat_goes_both_ways_at_once() {
    in_every_way(|server| async move {
        let caller = server.caller().await;
        for (count, window) in [(2000, None), (300, Some(1))] {
            let caller = window.map_or(caller.clone(), |window| caller.window(window));
            let chat = caller.open(CHAT, b"").await.unwrap();
            let sending = async {
                assert_eq!(send_all(&chat, count).await.unwrap(), count);
                chat.end().await.unwrap();
            };
            let receiving = async {
                let mut came = 0;
                while let Some(item) = chat.recv().await {
                    assert_eq!(item.unwrap(), message(came, length(came, 2000)));
                    came += 1;
                }
                came
            };
            assert_eq!(tokio::join!(sending, receiving).1, count);
        }
        // One item at a time, and the wait for one in a `select!`.
        let chat = caller.open(CHAT, b"").await.unwrap();
        for number in 0..200u64 {
            assert!(chat.send(&number.to_le_bytes()).await.unwrap());
            let item = loop {
                tokio::select! {
                    item = chat.recv() => break item,
                    () = tokio::task::yield_now() => {}
                }
            };
            assert_eq!(item.unwrap().unwrap(), number.to_le_bytes());
        }
        chat.end().await.unwrap();
        assert!(chat.recv().await.is_none());
        assert_eq!(caller.outstanding(), 0);
    });
}

#[test]
fn a_handler_that_ends_early_ends_the_sending() {
    in_every_way(|server| async move {
        let caller = server.caller().await;
        let early = caller.open(EARLY, b"").await.unwrap();
        let taken = send_all(&early, u64::MAX).await.unwrap();
        assert!(taken >= 3, "{taken}");
        assert!(early.recv().await.is_none());
        assert_eq!(early.finish().await.unwrap(), 3u64.to_le_bytes());
        let failing = caller.open(FAIL, b"").await.unwrap();
        assert!(send_all(&failing, u64::MAX).await.unwrap() >= 3);
        let failed = failing.finish().await;
        assert!(matches!(&failed, Err(CallError::Remote(error)) if error.kind == ErrorKind::NotFound), "{failed:?}");
        assert_eq!(caller.call(ECHO, b"x").await.unwrap(), b"x");
        assert_eq!(caller.outstanding(), 0);
    });
}

#[test]
fn an_upload_that_is_given_up_is_cancelled_and_never_complete() {
    in_every_way(|server| async move {
        let caller = server.caller().await;
        // More items than the window: the handler has begun.
        let upload = caller.open(UPLOAD, b"").await.unwrap();
        assert_eq!(send_all(&upload, 100).await.unwrap(), 100);
        drop(upload);
        server.cancelled(1).await;
        let upload = caller.open(UPLOAD, b"").await.unwrap();
        assert_eq!(send_all(&upload, 100).await.unwrap(), 100);
        upload.close();
        assert!(!upload.send(b"behind the close").await.unwrap());
        server.cancelled(2).await;
        // The time of the stream.
        let upload = caller.within(Duration::from_millis(500)).open(UPLOAD, b"").await.unwrap();
        let sent = send_all(&upload, 100).await;
        assert!(matches!(sent, Ok(100) | Err(CallError::TimedOut { .. })), "{sent:?}");
        let begun = if sent.is_ok() { 3 } else { 2 };
        let late = upload.recv().await;
        assert!(matches!(late, Some(Err(CallError::TimedOut { sent: true }))), "{late:?}");
        server.cancelled(begun).await;
        // The last handle of the connection.
        let chat = caller.open(CHAT, b"").await.unwrap();
        assert!(chat.send(b"hello").await.unwrap());
        assert_eq!(chat.recv().await.unwrap().unwrap(), b"hello");
        drop((caller, chat));
        server.cancelled(begun + 1).await;
    });
}

#[test]
fn a_handler_that_takes_no_items_holds_up_nothing_else() {
    in_every_way(|server| async move {
        let caller = server.caller().await;
        let mut slow = JoinSet::new();
        for _ in 0..4 {
            let caller = caller.clone();
            slow.spawn(async move {
                let stream = caller.open(SLOW, b"").await.unwrap();
                assert_eq!(send_all(&stream, 200).await.unwrap(), 200);
                assert_eq!(stream.finish().await.unwrap(), 200u64.to_le_bytes());
            });
        }
        sleep(MOMENT).await;
        let began = Instant::now();
        for number in 0..200u64 {
            assert_eq!(caller.call(ECHO, &number.to_le_bytes()).await.unwrap(), number.to_le_bytes());
        }
        let upload = caller.open(UPLOAD, b"").await.unwrap();
        assert_eq!(send_all(&upload, 100).await.unwrap(), 100);
        assert_eq!(upload.finish().await.unwrap()[..8], 100u64.to_le_bytes());
        assert!(slow.try_join_next().is_none() || began.elapsed() > Duration::from_millis(900), "they are slow");
        while let Some(done) = slow.join_next().await {
            done.unwrap();
        }
    });
}
