//! Streams of replies, by number: in every way to serve, beside other calls, and every end that a stream has.
#![allow(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tachyon::{CallError, Callee, Caller, Dispatcher, ErrorKind, Options};
use tachyon_tests::raw_streams::{
    COUNT, ECHO, FAIL_AFTER, FOREVER, Forever, Iterators, LARGE, PANIC_AFTER, dispatcher, number,
};
use tachyon_tests::server::{Running, WAYS, Way};
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;

const PATIENCE: Duration = Duration::from_secs(20);

fn serving(iterators: &Arc<Iterators>) -> Dispatcher {
    let iterators = Arc::clone(iterators);
    dispatcher(move || Forever::new(&iterators)).unwrap()
}

/// Runs a test in every way to serve.
fn in_every_way(test: impl Fn(&mut Caller, &Iterators)) {
    for way in WAYS {
        let (_folder, path) = socket();
        let iterators = Arc::default();
        let running = Running::start(&path, way, serving(&iterators));
        let mut caller = Caller::connect_with(&path, &Options::new().timeout(PATIENCE)).unwrap();
        test(&mut caller, &iterators);
        drop(caller);
        running.end();
    }
}

fn next(caller: &mut Caller, stream: u64) -> Option<u32> {
    caller.next_item_timeout(stream, PATIENCE).unwrap().map(|item| number(&item))
}

#[test]
fn all_items_come_in_order_and_then_the_end() {
    in_every_way(|caller, _| {
        for count in [0, 1, 31, 32, 33, 1000] {
            let stream = caller.open(COUNT, &u32::to_le_bytes(count)).unwrap();
            let items: Vec<_> = std::iter::from_fn(|| next(caller, stream)).collect();
            assert_eq!(items, (0..count).collect::<Vec<_>>());
            assert!(matches!(caller.next_item(stream), Err(CallError::UnknownCorrelation(_))));
        }
        assert_eq!(caller.outstanding(), 0);
    });
}

#[test]
fn calls_go_on_beside_a_stream_that_is_not_read() {
    in_every_way(|caller, iterators| {
        let unread = caller.open(FOREVER, b"").unwrap();
        for round in 0..500u32 {
            let reply = caller.call_timeout(ECHO, &round.to_le_bytes(), PATIENCE).unwrap();
            assert_eq!(number(&reply), round);
        }
        for item in 1..=100 {
            assert_eq!(next(caller, unread), Some(item));
        }
        assert!(caller.forget(unread));
        assert!(!caller.forget(unread));
        wait::until("the iterator is dropped", PATIENCE, || iterators.dropped.load(Ordering::Relaxed) == 1);
        assert_eq!(&*caller.call_timeout(ECHO, b"after", PATIENCE).unwrap(), b"after");
    });
}

#[test]
fn streams_take_turns_and_the_33rd_is_refused() {
    in_every_way(|caller, iterators| {
        let streams: Vec<_> = (0..32).map(|_| caller.open(FOREVER, b"").unwrap()).collect();
        assert!(matches!(caller.open(FOREVER, b""), Err(CallError::TooManyStreams { max: 32 })));
        for item in 1..=50 {
            for stream in &streams {
                assert_eq!(next(caller, *stream), Some(item));
            }
        }
        for stream in streams {
            assert!(caller.forget(stream));
        }
        wait::until("the iterators are dropped", PATIENCE, || iterators.dropped.load(Ordering::Relaxed) == 32);
        // The cells are free again, once their streams have got their last messages.
        for _ in 0..100 {
            let stream = caller.open(COUNT, &3u32.to_le_bytes()).unwrap();
            assert_eq!(next(caller, stream), Some(0));
            caller.forget(stream);
        }
    });
}

#[test]
fn an_error_or_a_panic_ends_a_stream_after_its_items() {
    in_every_way(|caller, _| {
        for (endpoint, kind) in [(FAIL_AFTER, ErrorKind::NotFound), (PANIC_AFTER, ErrorKind::HandlerFailed)] {
            let stream = caller.open(endpoint, &40u32.to_le_bytes()).unwrap();
            for item in 0..40 {
                assert_eq!(next(caller, stream), Some(item));
            }
            let ended = caller.next_item_timeout(stream, PATIENCE);
            assert!(matches!(&ended, Err(CallError::Remote(error)) if error.kind == kind), "{ended:?}");
            drop(ended);
            assert_eq!(caller.outstanding(), 0);
        }
    });
}

#[test]
fn a_call_to_a_stream_and_a_stream_of_a_call_are_refused() {
    in_every_way(|caller, _| {
        let refused = caller.call_timeout(COUNT, &1u32.to_le_bytes(), PATIENCE);
        assert!(matches!(&refused, Err(CallError::Remote(error)) if error.kind == ErrorKind::BadRequest));
        drop(refused);
        for (endpoint, kind) in [(ECHO, ErrorKind::BadRequest), (99, ErrorKind::NoHandler)] {
            let stream = caller.open(endpoint, b"").unwrap();
            let refused = caller.next_item_timeout(stream, PATIENCE);
            assert!(matches!(&refused, Err(CallError::Remote(error)) if error.kind == kind), "{refused:?}");
        }
        assert_eq!(caller.outstanding(), 0);
    });
}

#[test]
fn a_deadline_ends_the_whole_stream_and_an_items_time_does_not() {
    in_every_way(|caller, iterators| {
        let began = Instant::now();
        let stream = caller.within(Duration::from_millis(200)).open(FOREVER, b"").unwrap();
        let ended = loop {
            match caller.next_item(stream) {
                Ok(Some(_)) => std::thread::sleep(Duration::from_millis(1)),
                Ok(None) => panic!("an endless stream ended"),
                Err(error) => break error,
            }
        };
        assert!(matches!(ended, CallError::TimedOut { sent: true }), "{ended:?}");
        assert!(began.elapsed() < PATIENCE);
        wait::until("the iterator is dropped", PATIENCE, || iterators.dropped.load(Ordering::Relaxed) == 1);
        assert_eq!(caller.outstanding(), 0);
    });
}

#[test]
fn items_larger_than_a_slot_come_whole() {
    in_every_way(|caller, _| {
        let stream = caller.open(LARGE, &200u32.to_le_bytes()).unwrap();
        for item in 0..200u8 {
            let found = caller.next_item_timeout(stream, PATIENCE).unwrap().unwrap();
            assert_eq!((found.len(), found[0], found[2999]), (3000, item, item));
        }
        assert!(caller.next_item_timeout(stream, PATIENCE).unwrap().is_none());
    });
}

#[test]
fn a_caller_that_closes_or_a_server_that_stops_ends_the_streams() {
    for way in WAYS {
        let (_folder, path) = socket();
        let iterators = Arc::default();
        let running = Running::start(&path, way, serving(&iterators));
        let mut caller = Caller::connect_with(&path, &Options::new().timeout(PATIENCE)).unwrap();
        let stream = caller.open(FOREVER, b"").unwrap();
        assert_eq!(next(&mut caller, stream), Some(1));
        drop(caller);
        wait::until("the iterator is dropped", PATIENCE, || iterators.dropped.load(Ordering::Relaxed) == 1);
        running.end();
    }
}

#[test]
fn an_endless_stream_does_not_keep_other_callers_waiting() {
    for workers in [1, 2, 0] {
        let (_folder, path) = socket();
        let iterators = Arc::default();
        let running = Running::start(&path, Way::Server(workers), serving(&iterators));
        let mut greedy = Caller::connect_with(&path, &Options::new().timeout(PATIENCE)).unwrap();
        let mut other = Caller::connect_with(&path, &Options::new().timeout(PATIENCE)).unwrap();
        let over = AtomicBool::new(false);
        let stop = &over;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let stream = greedy.open(FOREVER, b"").unwrap();
                while !stop.load(Ordering::Relaxed) {
                    assert!(next(&mut greedy, stream).is_some());
                }
            });
            for _ in 0..100 {
                drop(other.call_timeout(ECHO, b"x", PATIENCE).unwrap());
            }
            stop.store(true, Ordering::Relaxed);
        });
        drop(other);
        running.end();
    }
}

#[test]
fn a_callee_without_a_table_refuses_streams_and_goes_on() {
    let (_folder, path) = socket();
    let listen_at = path.clone();
    let callee = std::thread::spawn(move || {
        let mut callee = Callee::listen(listen_at, 1 << 16, 1 << 16).unwrap();
        let request = callee.serve_timeout(PATIENCE).unwrap();
        let (call, reply) = (request.correlation_id(), request.to_vec());
        drop(request);
        callee.reply(call, ECHO, &reply).unwrap();
    });
    let mut caller = Caller::connect_with(&path, &Options::new().timeout(PATIENCE)).unwrap();
    // The number of every control operation is that of an endpoint, too.
    let streams: Vec<_> = (0..8).map(|endpoint| caller.open(endpoint, b"").unwrap()).collect();
    for stream in &streams {
        caller.end_items(*stream).unwrap();
    }
    assert_eq!(&*caller.call_timeout(ECHO, b"call", PATIENCE).unwrap(), b"call");
    for stream in streams {
        let refused = caller.next_item_timeout(stream, PATIENCE);
        assert!(matches!(&refused, Err(CallError::Remote(error)) if error.kind == ErrorKind::NoHandler), "{refused:?}");
    }
    drop(caller);
    callee.join().unwrap();
}
