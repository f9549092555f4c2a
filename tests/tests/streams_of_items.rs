//! Streams of the caller's items, by number: handlers on threads and as tasks, in every way to serve, and every end
//! that such a stream has.
#![allow(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tachyon::dispatch::Outcome;
use tachyon::{
    CallError, Caller, Context, Dispatcher, ErrorKind, HandlerError, ItemError, Items, Layer, Options, ServeError,
    ServerOptions, StreamSender, endpoints, tachyon_rpc,
};
use tachyon_tests::process::Program;
use tachyon_tests::server::{Running, WAYS, Way};
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;

const PEER: Program = Program(env!("CARGO_BIN_EXE_peer"));
const PATIENCE: Duration = Duration::from_secs(20);

const ECHO: u16 = 1;
const CHECKSUM: u16 = 2;
const CHAT: u16 = 3;
const FIRST: u16 = 4;
const FAIL_AFTER: u16 = 5;
const PANIC: u16 = 6;
const FLOOD: u16 = 7;
const DEAF: u16 = 8;

type Bytes = Vec<u8>;

/// The observations of the handlers.
#[derive(Debug, Default)]
struct Seen {
    running: AtomicUsize,
    most: AtomicUsize,
    cancelled: AtomicUsize,
    sent: AtomicUsize,
}

/// A running handler.
struct Run(Arc<Seen>);

impl Run {
    fn begin(seen: &Arc<Seen>) -> Self {
        let running = seen.running.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(running, Ordering::SeqCst);
        Self(Arc::clone(seen))
    }

    /// Notes a stream that ended before its time.
    fn note<T>(&self, outcome: Result<T, ItemError>) -> Result<T, ItemError> {
        if matches!(outcome, Err(ItemError::Cancelled)) {
            self.0.cancelled.fetch_add(1, Ordering::SeqCst);
        }
        outcome
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Seen {
    fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    fn cancelled(&self) -> usize {
        self.cancelled.load(Ordering::SeqCst)
    }

    fn wait_for_end(&self) {
        wait::until("the handlers end", PATIENCE, || self.running() == 0);
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().unwrap())
}

/// The endpoints, with handlers on threads.
fn threads(seen: &Arc<Seen>) -> Dispatcher {
    let mut dispatcher = Dispatcher::default();
    let of = |handler: fn(&Run, Bytes, Items<Bytes>) -> Result<u32, ItemError>| {
        let seen = Arc::clone(seen);
        move |request: Bytes, items: Items<Bytes>| {
            let run = Run::begin(&seen);
            let outcome = handler(&run, request, items);
            run.note(outcome)
        }
    };
    dispatcher.register(ECHO, "echo", <[u8]>::to_vec).unwrap();
    dispatcher
        .register_client_stream(
            CHECKSUM,
            "checksum",
            of(|_, _, items| {
                let mut sum = crc32fast::Hasher::new();
                for item in items {
                    sum.update(&item?);
                }
                Ok(sum.finalize())
            }),
        )
        .unwrap();
    dispatcher
        .register_client_stream(
            FIRST,
            "first",
            of(|_, _, mut items| Ok(items.blocking_recv().transpose()?.map_or(0, |first| number(&first)))),
        )
        .unwrap();
    dispatcher
        .register_client_stream(
            PANIC,
            "panic",
            of(|_, _, mut items| {
                let first = items.next();
                panic!("at the first: {first:?}");
            }),
        )
        .unwrap();
    let chats = Arc::clone(seen);
    dispatcher
        .register_two_way(CHAT, "chat", move |greeting: Bytes, items: Items<Bytes>, out: StreamSender<Bytes>| {
            let run = Run::begin(&chats);
            let chat = || {
                out.blocking_send(&greeting)?;
                for item in items {
                    out.blocking_send(&item?.to_ascii_uppercase())?;
                }
                Ok(())
            };
            run.note(chat())
        })
        .unwrap();
    dispatcher
        .register_two_way(FAIL_AFTER, "fail_after", |request: Bytes, _: Items<Bytes>, out: StreamSender<Bytes>| {
            for item in 0..number(&request) {
                out.blocking_send(&item.to_le_bytes())?;
            }
            Err::<(), _>(HandlerError::new(ErrorKind::NotFound, "no more"))
        })
        .unwrap();
    let floods = Arc::clone(seen);
    dispatcher
        .register_two_way(FLOOD, "flood", move |_: Bytes, _items: Items<Bytes>, out: StreamSender<Bytes>| {
            let run = Run::begin(&floods);
            for item in 0u32.. {
                run.note(out.blocking_send(&item.to_le_bytes()))?;
                run.0.sent.fetch_add(1, Ordering::SeqCst);
            }
            Ok::<_, ItemError>(())
        })
        .unwrap();
    let deaf = Arc::clone(seen);
    dispatcher
        .register_two_way(DEAF, "deaf", move |_: Bytes, items: Items<Bytes>, out: StreamSender<Bytes>| {
            let run = Run::begin(&deaf);
            drop(items);
            for item in 0..200u32 {
                std::thread::sleep(Duration::from_millis(1));
                run.note(out.blocking_send(&item.to_le_bytes()))?;
            }
            Ok::<_, ItemError>(())
        })
        .unwrap();
    dispatcher
}

/// The same endpoints, with handlers that are tasks.
fn tasks(seen: &Arc<Seen>) -> Dispatcher {
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(ECHO, "echo", <[u8]>::to_vec).unwrap();
    let sums = Arc::clone(seen);
    dispatcher
        .register_async_client_stream(CHECKSUM, "checksum", move |_, mut items: Items<Bytes>| {
            let run = Run::begin(&sums);
            async move {
                let mut sum = crc32fast::Hasher::new();
                while let Some(item) = items.recv().await {
                    sum.update(&run.note(item)?);
                }
                Ok::<_, ItemError>(sum.finalize())
            }
        })
        .unwrap();
    let firsts = Arc::clone(seen);
    dispatcher
        .register_async_client_stream(FIRST, "first", move |_, mut items: Items<Bytes>| {
            let run = Run::begin(&firsts);
            async move {
                let first = run.note(items.recv().await.transpose())?;
                Ok::<_, ItemError>(first.map_or(0, |first| number(&first)))
            }
        })
        .unwrap();
    let panics = Arc::clone(seen);
    dispatcher
        .register_async_client_stream(PANIC, "panic", move |_, mut items: Items<Bytes>| {
            let run = Run::begin(&panics);
            async move {
                let first = run.note(items.recv().await.transpose())?;
                assert!(first.is_none(), "at the first");
                Ok::<_, ItemError>(0u32)
            }
        })
        .unwrap();
    let chats = Arc::clone(seen);
    dispatcher
        .register_async_two_way(
            CHAT,
            "chat",
            move |greeting: Bytes, mut items: Items<Bytes>, out: StreamSender<Bytes>| {
                let run = Run::begin(&chats);
                async move {
                    run.note(out.send(&greeting).await)?;
                    while let Some(item) = items.recv().await {
                        let item = run.note(item)?;
                        run.note(out.send(&item.to_ascii_uppercase()).await)?;
                    }
                    Ok::<_, ItemError>(())
                }
            },
        )
        .unwrap();
    dispatcher
        .register_async_two_way(
            FAIL_AFTER,
            "fail_after",
            |request: Bytes, _: Items<Bytes>, out: StreamSender<Bytes>| async move {
                for item in 0..number(&request) {
                    out.send(&item.to_le_bytes()).await?;
                }
                Err::<(), _>(HandlerError::new(ErrorKind::NotFound, "no more"))
            },
        )
        .unwrap();
    let floods = Arc::clone(seen);
    dispatcher
        .register_async_two_way(FLOOD, "flood", move |_: Bytes, items: Items<Bytes>, out: StreamSender<Bytes>| {
            let run = Run::begin(&floods);
            async move {
                let _items = items;
                for item in 0u32.. {
                    run.note(out.send(&item.to_le_bytes()).await)?;
                    run.0.sent.fetch_add(1, Ordering::SeqCst);
                }
                Ok::<_, ItemError>(())
            }
        })
        .unwrap();
    let deaf = Arc::clone(seen);
    dispatcher
        .register_async_two_way(DEAF, "deaf", move |_: Bytes, items: Items<Bytes>, out: StreamSender<Bytes>| {
            let run = Run::begin(&deaf);
            async move {
                drop(items);
                for item in 0..200u32 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    run.note(out.send(&item.to_le_bytes()).await)?;
                }
                Ok::<_, ItemError>(())
            }
        })
        .unwrap();
    dispatcher
}

/// A table of endpoints, and a way to serve it.
#[derive(Debug, Clone, Copy)]
struct Setup {
    tasks: bool,
    way: Way,
}

fn setups() -> impl Iterator<Item = Setup> {
    let on_threads = WAYS.into_iter().map(|way| Setup { tasks: false, way });
    on_threads.chain([Setup { tasks: true, way: Way::Server(0) }])
}

impl Setup {
    fn table(self, seen: &Arc<Seen>) -> Dispatcher {
        if self.tasks { tasks(seen) } else { threads(seen) }
    }

    /// Serves with a stop time that outlasts each test.
    fn start(self, path: &std::path::Path, seen: &Arc<Seen>) -> Running {
        Running::start_with(path, self.way, self.table(seen), ServerOptions::new().stop_timeout(PATIENCE))
    }
}

fn connect(path: &std::path::Path) -> Caller {
    Caller::connect_with(path, &Options::new().timeout(PATIENCE)).unwrap()
}

/// Runs a test in every way to serve.
fn in_every_way(test: impl Fn(&mut Caller, &Seen)) {
    for setup in setups() {
        let (_folder, path) = socket();
        let seen = Arc::new(Seen::default());
        let running = setup.start(&path, &seen);
        let mut caller = connect(&path);
        test(&mut caller, &seen);
        drop(caller);
        seen.wait_for_end();
        running.end();
    }
}

fn next(caller: &mut Caller, stream: u64) -> Option<Bytes> {
    caller.next_item_timeout(stream, PATIENCE).unwrap().map(|item| item.to_vec())
}

/// The kind of the error that ends a stream.
fn ended(caller: &mut Caller, stream: u64) -> ErrorKind {
    match caller.next_item_timeout(stream, PATIENCE) {
        Err(CallError::Remote(error)) => error.kind,
        other => panic!("{other:?}"),
    }
}

/// Uploads nothing, once a thread's place is free.
fn checksum_of_nothing(caller: &mut Caller) {
    wait::until("a thread's place is free", PATIENCE, || {
        let stream = caller.open(CHECKSUM, b"").unwrap();
        caller.end_items(stream).unwrap();
        let reply = caller.finish(stream).unwrap();
        let sum = match reply.error() {
            None => Some(number(&reply)),
            Some(error) if error.kind == ErrorKind::ResourceExhausted => None,
            Some(error) => panic!("{error}"),
        };
        assert!(sum.is_none_or(|sum| sum == crc32fast::hash(b"")));
        sum.is_some()
    });
}

#[test]
fn an_upload_has_its_checksum_as_the_reply() {
    in_every_way(|caller, _| {
        for (count, len) in [(0, 4), (1, 4), (31, 4), (32, 4), (33, 4), (1000, 4), (100, 3000)] {
            let upload = caller.open(CHECKSUM, b"").unwrap();
            let mut sum = crc32fast::Hasher::new();
            for item in 0..count {
                let item = vec![u8::try_from(item % 251).unwrap(); len];
                assert!(caller.send_item(upload, &item).unwrap());
                sum.update(&item);
            }
            caller.end_items(upload).unwrap();
            assert_eq!(number(&caller.finish(upload).unwrap()), sum.finalize());
        }
        assert_eq!(caller.outstanding(), 0);
    });
}

#[test]
fn a_chat_goes_in_both_directions() {
    in_every_way(|caller, _| {
        let chat = caller.open(CHAT, b"welcome").unwrap();
        assert_eq!(next(caller, chat).unwrap(), b"welcome");
        for round in 0..200 {
            assert!(caller.send_item(chat, format!("line {round}").as_bytes()).unwrap());
            assert_eq!(next(caller, chat).unwrap(), format!("LINE {round}").as_bytes());
            assert_eq!(&*caller.call_timeout(ECHO, b"beside", PATIENCE).unwrap(), b"beside");
        }
        caller.end_items(chat).unwrap();
        assert_eq!(next(caller, chat), None);
        assert_eq!(caller.outstanding(), 0);
    });
}

#[test]
fn several_streams_of_one_caller_go_on_beside_each_other() {
    in_every_way(|caller, _| {
        let chats: Vec<_> = (0..8).map(|_| caller.open(CHAT, b"hello").unwrap()).collect();
        for chat in &chats {
            assert_eq!(next(caller, *chat).unwrap(), b"hello");
        }
        for round in 0..20 {
            for chat in &chats {
                assert!(caller.send_item(*chat, format!("a{chat} {round}").as_bytes()).unwrap());
            }
            for chat in &chats {
                assert_eq!(next(caller, *chat).unwrap(), format!("A{chat} {round}").as_bytes());
            }
        }
        for chat in chats {
            caller.end_items(chat).unwrap();
            assert_eq!(next(caller, chat), None);
        }
    });
}

#[test]
fn a_callee_may_reply_while_the_caller_still_sends() {
    in_every_way(|caller, _| {
        let stream = caller.open(FIRST, b"").unwrap();
        let mut sent = 7u32;
        while caller.send_item(stream, &sent.to_le_bytes()).unwrap() {
            sent += 1;
        }
        assert_eq!(number(&caller.finish(stream).unwrap()), 7);
        assert_eq!(&*caller.call_timeout(ECHO, b"after", PATIENCE).unwrap(), b"after");
    });
}

#[test]
fn a_handler_that_takes_no_items_lets_its_caller_go_on() {
    in_every_way(|caller, _| {
        let stream = caller.open(DEAF, b"").unwrap();
        for item in 0..500u32 {
            if !caller.send_item(stream, &item.to_le_bytes()).unwrap() {
                break;
            }
        }
        for item in 0..200 {
            assert_eq!(number(&next(caller, stream).unwrap()), item);
        }
        assert_eq!(next(caller, stream), None);
    });
}

#[test]
fn an_error_or_a_panic_ends_a_stream_after_its_items() {
    in_every_way(|caller, _| {
        let failing = caller.open(FAIL_AFTER, &100u32.to_le_bytes()).unwrap();
        for item in 0..100 {
            assert_eq!(number(&next(caller, failing).unwrap()), item);
        }
        assert_eq!(ended(caller, failing), ErrorKind::NotFound);
        let panicking = caller.open(PANIC, b"").unwrap();
        assert!(caller.send_item(panicking, b"first").unwrap());
        assert_eq!(ended(caller, panicking), ErrorKind::HandlerFailed);
        assert_eq!(caller.outstanding(), 0);
    });
}

#[test]
fn a_stream_that_is_not_read_stops_its_handler_and_nothing_else() {
    in_every_way(|caller, seen| {
        let flood = caller.open(FLOOD, b"").unwrap();
        for round in 0..300u32 {
            let reply = caller.call_timeout(ECHO, &round.to_le_bytes(), PATIENCE).unwrap();
            assert_eq!(number(&reply), round);
        }
        wait::until("items wait", PATIENCE, || seen.sent.load(Ordering::SeqCst) > 0);
        // A window of the ring, the pipe's own room, and the item on its way.
        assert!(seen.sent.load(Ordering::SeqCst) <= 32 + 32 + 1);
        for item in 0..200 {
            assert_eq!(number(&next(caller, flood).unwrap()), item);
        }
        assert!(caller.forget(flood));
        seen.wait_for_end();
        assert_eq!(&*caller.call_timeout(ECHO, b"after", PATIENCE).unwrap(), b"after");
    });
}

#[test]
fn a_caller_that_leaves_in_the_middle_never_ends_the_items() {
    for setup in setups() {
        for forgets in [true, false] {
            let (_folder, path) = socket();
            let seen = Arc::new(Seen::default());
            let running = setup.start(&path, &seen);
            let mut caller = connect(&path);
            let upload = caller.open(CHECKSUM, b"").unwrap();
            assert!(caller.send_item(upload, b"half").unwrap());
            wait::until("the handler runs", PATIENCE, || seen.running() == 1);
            let mut caller = Some(caller);
            if forgets {
                assert!(caller.as_mut().unwrap().forget(upload));
            } else {
                caller = None;
            }
            seen.wait_for_end();
            drop(caller);
            // A task is dropped where it awaits.
            assert!(setup.tasks || seen.cancelled() == 1, "{setup:?}");
            running.end();
        }
    }
}

#[test]
fn a_killed_uploader_cancels_its_handler_and_nothing_else() {
    for setup in setups() {
        let (_folder, path) = socket();
        let seen = Arc::new(Seen::default());
        let running = setup.start(&path, &seen);
        wait::for_file(&path, PATIENCE);
        let uploader = PEER.start("uploader", &path, &[&CHECKSUM.to_string()]);
        wait::until("the handler runs", PATIENCE, || seen.running() == 1);
        let mut other = (!matches!(setup.way, Way::OneCaller)).then(|| connect(&path));
        // The drop kills the process.
        drop(uploader);
        seen.wait_for_end();
        assert!(setup.tasks || seen.cancelled() == 1, "{setup:?}");
        if let Some(other) = &mut other {
            assert_eq!(&*other.call_timeout(ECHO, b"beside", PATIENCE).unwrap(), b"beside");
        }
        drop(other);
        let outcome = running.stopped();
        // A callee with one caller reports the caller's death.
        let died = matches!(setup.way, Way::OneCaller) && matches!(outcome, Err(ServeError::PeerDead));
        assert!(died || outcome.is_ok(), "{setup:?}: {outcome:?}");
    }
}

#[test]
fn a_stream_that_waits_for_a_place_can_be_cancelled() {
    for setup in setups().filter(|setup| setup.tasks) {
        let (_folder, path) = socket();
        let seen = Arc::new(Seen::default());
        let options = ServerOptions::new().stop_timeout(PATIENCE).in_flight(1, 1);
        let running = Running::start_with(&path, setup.way, setup.table(&seen), options);
        let mut caller = connect(&path);
        let first = caller.open(CHECKSUM, b"").unwrap();
        wait::until("the handler runs", PATIENCE, || seen.running() == 1);
        let waiting: Vec<_> = (0..5).map(|_| caller.open(CHECKSUM, b"").unwrap()).collect();
        for stream in waiting {
            assert!(caller.forget(stream));
        }
        let last = caller.open(CHECKSUM, b"").unwrap();
        caller.end_items(last).unwrap();
        assert_eq!(&*caller.call_timeout(ECHO, b"beside", PATIENCE).unwrap(), b"beside");
        // Parked by now.
        std::thread::sleep(Duration::from_millis(50));
        caller.end_items(first).unwrap();
        assert_eq!(number(&caller.finish(first).unwrap()), crc32fast::hash(b""));
        assert_eq!(number(&caller.finish(last).unwrap()), crc32fast::hash(b""));
        assert_eq!(seen.most.load(Ordering::SeqCst), 1, "{setup:?}");
        drop(caller);
        running.end();
    }
}

/// Notes the calls that it sees.
struct Log(Arc<Mutex<Vec<String>>>);

impl Layer for Log {
    fn before(&self, call: &Context<'_>) -> Result<(), HandlerError> {
        self.0.lock().unwrap().push(format!("begin {}", call.name));
        if call.metadata().get("refuse").is_some() {
            return Err(HandlerError::new(ErrorKind::PermissionDenied, "not for you"));
        }
        Ok(())
    }

    fn after(&self, call: &Context<'_>, outcome: &Outcome, _: Duration) {
        let how = match outcome {
            Outcome::Replied(_) => "done".to_owned(),
            Outcome::Failed(kind) => format!("{kind:?}"),
            Outcome::CallerGone => "gone".to_owned(),
            _ => "other".to_owned(),
        };
        self.0.lock().unwrap().push(format!("end {}: {how}", call.name));
    }
}

#[test]
fn a_layer_sees_each_stream_once_from_open_to_end() {
    for setup in setups() {
        let (_folder, path) = socket();
        let (seen, log) = (Arc::new(Seen::default()), Arc::new(Mutex::new(Vec::new())));
        let mut table = setup.table(&seen);
        table.layer(Log(Arc::clone(&log)));
        let running = Running::start_with(&path, setup.way, table, ServerOptions::new().stop_timeout(PATIENCE));
        let mut caller = connect(&path);
        let upload = caller.open(CHECKSUM, b"").unwrap();
        caller.end_items(upload).unwrap();
        drop(caller.finish(upload).unwrap());
        let failing = caller.open(FAIL_AFTER, &0u32.to_le_bytes()).unwrap();
        assert_eq!(ended(&mut caller, failing), ErrorKind::NotFound);
        let given_up = caller.open(CHAT, b"").unwrap();
        caller.forget(given_up);
        let late = caller.within(Duration::from_millis(50)).open(FIRST, b"").unwrap();
        drop(caller.finish(late));
        let refused = caller.metadata("refuse", "yes").open(FLOOD, b"").unwrap();
        assert_eq!(ended(&mut caller, refused), ErrorKind::PermissionDenied);
        let gone = caller.open(FLOOD, b"").unwrap();
        assert!(next(&mut caller, gone).is_some());
        drop(caller);
        wait::until("the last end", PATIENCE, || log.lock().unwrap().len() == 11);
        running.end();
        let log = log.lock().unwrap();
        assert_eq!(log[..4], ["begin checksum", "end checksum: done", "begin fail_after", "end fail_after: NotFound"]);
        assert_eq!(log[4..6], ["begin chat", "end chat: Cancelled"]);
        assert!(log[6] == "begin first" && (log[7] == "end first: DeadlinePassed" || log[7] == "end first: Cancelled"));
        assert_eq!(log[8..], ["begin flood", "begin flood", "end flood: gone"]);
    }
}

#[test]
fn a_deadline_ends_a_stream_whose_caller_does_nothing() {
    for setup in setups() {
        let (_folder, path) = socket();
        let seen = Arc::new(Seen::default());
        let running = setup.start(&path, &seen);
        let mut caller = connect(&path);
        let upload = caller.within(Duration::from_millis(300)).open(CHECKSUM, b"").unwrap();
        let unread = caller.within(Duration::from_millis(200)).open(FLOOD, b"").unwrap();
        wait::until("both handlers run", PATIENCE, || seen.running() == 2);
        // The caller does not look, as a frozen process does not.
        seen.wait_for_end();
        assert!(setup.tasks || seen.cancelled() == 2, "{setup:?}");
        assert!(matches!(caller.finish(upload), Err(CallError::TimedOut { .. } | CallError::Remote(_))));
        caller.forget(unread);
        assert_eq!(&*caller.call_timeout(ECHO, b"after", PATIENCE).unwrap(), b"after");
        drop(caller);
        running.end();
    }
}

#[test]
fn a_silent_uploader_does_not_keep_other_callers_waiting() {
    for setup in setups().filter(|setup| !matches!(setup.way, Way::OneCaller)) {
        let (_folder, path) = socket();
        let seen = Arc::new(Seen::default());
        let running = setup.start(&path, &seen);
        let mut silent = connect(&path);
        let upload = silent.open(CHECKSUM, b"").unwrap();
        assert!(silent.send_item(upload, b"1234").unwrap());
        let mut others: Vec<_> = (0..3).map(|_| connect(&path)).collect();
        for round in 0..100u32 {
            for other in &mut others {
                assert_eq!(number(&other.call_timeout(ECHO, &round.to_le_bytes(), PATIENCE).unwrap()), round);
            }
        }
        // Parked by now.
        std::thread::sleep(Duration::from_millis(50));
        assert!(silent.send_item(upload, b"5678").unwrap());
        silent.end_items(upload).unwrap();
        assert_eq!(number(&silent.finish(upload).unwrap()), crc32fast::hash(b"12345678"));
        drop((silent, others));
        running.end();
    }
}

#[test]
fn a_parked_connection_is_woken_by_each_item_of_a_handler() {
    in_every_way(|caller, _| {
        let chat = caller.open(CHAT, b"hello").unwrap();
        assert_eq!(next(caller, chat).unwrap(), b"hello");
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(15));
            let began = Instant::now();
            assert!(caller.send_item(chat, b"x").unwrap());
            assert_eq!(next(caller, chat).unwrap(), b"X");
            assert!(began.elapsed() < Duration::from_secs(5));
        }
        caller.end_items(chat).unwrap();
        assert_eq!(next(caller, chat), None);
    });
}

#[test]
fn floods_of_cancelled_streams_leave_nothing() {
    in_every_way(|caller, seen| {
        for round in 0..300u32 {
            let mut opened = None;
            wait::until("a stream is free", PATIENCE, || {
                drop(caller.call_timeout(ECHO, b"", PATIENCE).unwrap());
                opened = caller.open(CHECKSUM, b"").ok();
                opened.is_some()
            });
            let stream = opened.unwrap();
            if round % 3 == 0 {
                assert!(caller.send_item(stream, b"item").is_ok());
            }
            assert!(caller.forget(stream));
        }
        seen.wait_for_end();
        checksum_of_nothing(caller);
    });
}

#[test]
fn a_stop_lets_an_upload_end_and_cancels_a_slow_one() {
    for setup in setups().filter(|setup| !matches!(setup.way, Way::OneCaller)) {
        for ends in [true, false] {
            let (_folder, path) = socket();
            let seen = Arc::new(Seen::default());
            let stop_time = if ends { PATIENCE } else { Duration::from_millis(200) };
            let options = ServerOptions::new().stop_timeout(stop_time);
            let running = Running::start_with(&path, setup.way, setup.table(&seen), options);
            let mut caller = connect(&path);
            let upload = caller.open(CHECKSUM, b"").unwrap();
            assert!(caller.send_item(upload, b"before").unwrap());
            wait::until("the handler runs", PATIENCE, || seen.running() == 1);
            let stopping = std::thread::spawn(move || running.stopped());
            std::thread::sleep(Duration::from_millis(30));
            if ends {
                assert!(caller.send_item(upload, b"after").unwrap());
                caller.end_items(upload).unwrap();
                assert_eq!(number(&caller.finish(upload).unwrap()), crc32fast::hash(b"beforeafter"));
            } else {
                assert_eq!(ended(&mut caller, upload), ErrorKind::Cancelled);
                seen.wait_for_end();
                assert!(setup.tasks || seen.cancelled() == 1, "{setup:?}");
            }
            stopping.join().unwrap().unwrap();
        }
    }
}

#[test]
fn a_handler_that_does_not_return_is_counted_by_a_stop() {
    for workers in [1, 2, 0] {
        let (_folder, path) = socket();
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Mutex::new(held);
        let mut dispatcher = Dispatcher::default();
        dispatcher
            .register_client_stream(1, "stuck", move |_, _| {
                let _ = held.lock().unwrap().recv();
            })
            .unwrap();
        let options = ServerOptions::new().stop_timeout(Duration::from_millis(50));
        let running = Running::start_with(&path, Way::Server(workers), dispatcher, options);
        let mut caller = connect(&path);
        let stuck = caller.open(1, b"").unwrap();
        assert!(caller.send_item(stuck, b"x").unwrap());
        wait::until("the handler runs", PATIENCE, || caller.call_timeout(9, b"", PATIENCE).is_err());
        let outcome = running.stopped();
        assert!(matches!(outcome, Err(ServeError::HandlersLeft { count: 1 })), "{workers}: {outcome:?}");
        drop(release);
    }
}

#[test]
fn tasks_of_streams_beyond_the_limit_wait_for_a_place() {
    for setup in setups().filter(|setup| setup.tasks) {
        let (_folder, path) = socket();
        let seen = Arc::new(Seen::default());
        let options = ServerOptions::new().stop_timeout(PATIENCE).in_flight(1, 1);
        let running = Running::start_with(&path, setup.way, setup.table(&seen), options);
        let mut callers = [connect(&path), connect(&path)];
        let streams = callers.each_mut().map(|caller| {
            let streams = [caller.open(CHECKSUM, b"").unwrap(), caller.open(CHECKSUM, b"").unwrap()];
            drop(caller.call_timeout(ECHO, b"beside", PATIENCE).unwrap());
            streams
        });
        wait::until("a handler runs", PATIENCE, || seen.running() == 1);
        // An END may come before its stream begins.
        for (caller, streams) in callers.iter_mut().zip(streams) {
            for stream in streams {
                caller.end_items(stream).unwrap();
            }
        }
        for (caller, streams) in callers.iter_mut().zip(streams) {
            for stream in streams {
                assert_eq!(number(&caller.finish(stream).unwrap()), crc32fast::hash(b""));
            }
        }
        assert_eq!(seen.most.load(Ordering::SeqCst), 1, "{setup:?}");
        drop(callers);
        running.end();
    }
}

#[test]
fn a_stream_without_a_thread_is_refused_at_once_and_nobody_waits() {
    let servers = |setup: &Setup| !setup.tasks && !matches!(setup.way, Way::OneCaller);
    for setup in setups().filter(servers) {
        let (_folder, path) = socket();
        let seen = Arc::new(Seen::default());
        let options = ServerOptions::new().stop_timeout(PATIENCE).stream_threads(2);
        let running = Running::start_with(&path, setup.way, setup.table(&seen), options);
        let [mut greedy, mut other] = [connect(&path), connect(&path)];
        let taken = [greedy.open(CHECKSUM, b"").unwrap(), greedy.open(CHECKSUM, b"").unwrap()];
        wait::until("all threads run", PATIENCE, || seen.running() == 2);
        for caller in [&mut greedy, &mut other] {
            for _ in 0..100 {
                let refused = caller.open(CHECKSUM, b"").unwrap();
                let error = caller.finish(refused).unwrap().error().unwrap();
                assert_eq!(error.kind, ErrorKind::ResourceExhausted, "{setup:?}");
            }
            assert_eq!(&*caller.call_timeout(ECHO, b"beside", PATIENCE).unwrap(), b"beside");
        }
        for stream in taken {
            greedy.end_items(stream).unwrap();
            assert_eq!(number(&greedy.finish(stream).unwrap()), crc32fast::hash(b""));
        }
        // A thread has its place until it has returned, shortly after its reply.
        checksum_of_nothing(&mut other);
        assert!(seen.most.load(Ordering::SeqCst) <= 2, "{setup:?}");
        drop((greedy, other));
        running.end();
    }
}

#[test]
fn small_windows_slow_a_stream_down_and_lose_nothing() {
    for setup in setups().filter(|setup| !matches!(setup.way, Way::OneCaller)) {
        let (_folder, path) = socket();
        let seen = Arc::new(Seen::default());
        let options = ServerOptions::new().stop_timeout(PATIENCE).ring_sizes(4096, 4096);
        let running = Running::start_with(&path, setup.way, setup.table(&seen), options);
        let mut caller = connect(&path);
        // All windows of a connection share half of the ring's slots: most of these have one item.
        let uploads: Vec<_> = (0..20).map(|_| caller.open(CHECKSUM, b"").unwrap()).collect();
        let mut sums = vec![crc32fast::Hasher::new(); uploads.len()];
        for item in 0..50usize {
            for (upload, sum) in uploads.iter().zip(&mut sums) {
                let item = vec![u8::try_from(item).unwrap(); item * 11];
                assert!(caller.send_item(*upload, &item).unwrap());
                sum.update(&item);
            }
        }
        for (upload, sum) in uploads.into_iter().zip(sums) {
            caller.end_items(upload).unwrap();
            assert_eq!(number(&caller.finish(upload).unwrap()), sum.finalize());
        }
        let chat = caller.within(PATIENCE).window(1).open(CHAT, b"hello").unwrap();
        assert_eq!(next(&mut caller, chat).unwrap(), b"hello");
        // Most that wait beside a window of one item: the room of the pipe.
        for batch in 0..10 {
            for round in 0..20 {
                assert!(caller.send_item(chat, format!("line {batch} {round}").as_bytes()).unwrap());
            }
            for round in 0..20 {
                assert_eq!(next(&mut caller, chat).unwrap(), format!("LINE {batch} {round}").as_bytes());
            }
        }
        caller.end_items(chat).unwrap();
        assert_eq!(next(&mut caller, chat), None);
        drop(caller);
        running.end();
    }
}

#[test]
fn an_item_that_never_fits_is_an_error_of_its_sender_alone() {
    for way in WAYS {
        let (_folder, path) = socket();
        let mut dispatcher = Dispatcher::default();
        dispatcher
            .register_two_way(1, "large", |request: Bytes, _: Items<Bytes>, out: StreamSender<Bytes>| {
                let refused = out.blocking_send(&vec![0; 1 << 17]);
                let Err(ItemError::TooLarge { size, max }) = refused else { panic!("{refused:?}") };
                out.blocking_send(format!("{size} of {}", max < size).as_bytes())?;
                if request.is_empty() { Ok(()) } else { refused }
            })
            .unwrap();
        let running = Running::start(&path, way, dispatcher);
        let mut caller = connect(&path);
        let mended = caller.open(1, b"").unwrap();
        assert_eq!(next(&mut caller, mended).unwrap(), b"131072 of true");
        assert_eq!(next(&mut caller, mended), None);
        let passed_on = caller.open(1, b"x").unwrap();
        assert_eq!(next(&mut caller, passed_on).unwrap(), b"131072 of true");
        assert_eq!(ended(&mut caller, passed_on), ErrorKind::ReplyTooLarge);
        drop(caller);
        running.end();
    }
}

/// Adds to the state.
#[tachyon_rpc(msg_type = 1)]
fn add(#[state] sum: &AtomicU64, number: u64) -> u64 {
    sum.fetch_add(number, Ordering::SeqCst) + number
}

/// Adds each item to the state.
#[tachyon_rpc(msg_type = 2)]
fn add_all(#[state] sum: &AtomicU64, numbers: Items<u64>) -> Result<u64, ItemError> {
    for number in numbers {
        sum.fetch_add(number?, Ordering::SeqCst);
    }
    Ok(sum.load(Ordering::SeqCst))
}

/// Takes the state for itself.
#[tachyon_rpc(msg_type = 3)]
fn clear(#[state] sum: &mut AtomicU64) {
    *sum.get_mut() = 0;
}

#[test]
fn the_threads_of_streams_share_the_state_with_calls() {
    for way in WAYS {
        let (_folder, path) = socket();
        let sum = Arc::new(AtomicU64::new(0));
        let table = Dispatcher::with_shared(Arc::clone(&sum), endpoints![add, add_all]);
        let running = Running::start(&path, way, table);
        let mut caller = connect(&path);
        let mut items = add_all::open(&mut caller).unwrap();
        for number in 1..=10u64 {
            assert!(items.send(number).unwrap());
        }
        assert_eq!(items.finish().unwrap(), 55);
        assert_eq!(add::call(&mut caller, 5).unwrap(), 60);
        let mut malformed = caller.open(2, b"").unwrap();
        assert!(caller.send_item(malformed, b"short").unwrap());
        assert_eq!(ended(&mut caller, malformed), ErrorKind::BadRequest);
        malformed = caller.open(2, b"no request").unwrap();
        assert_eq!(ended(&mut caller, malformed), ErrorKind::BadRequest);
        drop(caller);
        running.end();
        wait::until("the threads have returned", PATIENCE, || Arc::strong_count(&sum) == 1);
    }
}

#[test]
#[should_panic(expected = "`clear` changes the state, which other owners share")]
fn a_table_that_changes_a_state_that_threads_read_is_refused() {
    drop(Dispatcher::with_state(AtomicU64::new(0), endpoints![clear, add_all]));
}

#[test]
fn a_call_to_such_a_stream_is_refused() {
    in_every_way(|caller, seen| {
        for endpoint in [CHECKSUM, CHAT] {
            let refused = caller.call_timeout(endpoint, b"", PATIENCE);
            assert!(matches!(&refused, Err(CallError::Remote(error)) if error.kind == ErrorKind::BadRequest));
        }
        assert_eq!(seen.most.load(Ordering::SeqCst), 0);
    });
}
