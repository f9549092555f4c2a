//! How much memory streams take at both of their ends. One test: the allocator counts for the whole process.
#![allow(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use std::fs;
use std::time::Duration;

use tachyon::{Caller, Dispatcher, Options};
use tachyon_tests::allocation::{Counting, peak_of};
use tachyon_tests::server::{Running, WAYS};
use tachyon_tests::temporary::socket;

#[global_allocator]
static COUNTING: Counting = Counting;

const PATIENCE: Duration = Duration::from_mins(1);

/// Items of the long run: a leak of one byte for each item shows.
const MANY: u64 = 1_000_000;

fn dispatcher() -> Dispatcher {
    let mut dispatcher = Dispatcher::default();
    dispatcher
        .register(1, "echo", <[u8]>::to_vec)
        .unwrap()
        .register_stream(2, "numbers", |_| 0u64..)
        .unwrap()
        .register_client_stream(3, "count", |_, items| items.count() as u64)
        .unwrap();
    dispatcher
}

/// Takes items in place, and some that a call beside the stream has copied out.
fn take(caller: &mut Caller, items: u64) {
    let stream = caller.open(2, b"").unwrap();
    for number in 0..items {
        if number % 1000 == 0 {
            assert_eq!(&*caller.call_timeout(1, b"x", PATIENCE).unwrap(), b"x");
        }
        assert_eq!(*caller.next_item_timeout(stream, PATIENCE).unwrap().unwrap(), number.to_le_bytes());
    }
    caller.forget(stream);
}

fn send(caller: &mut Caller, items: u64) {
    let stream = caller.open(3, b"").unwrap();
    for number in 0..items {
        assert!(caller.send_item(stream, &number.to_le_bytes()).unwrap());
    }
    caller.end_items(stream).unwrap();
    assert_eq!(*caller.finish_timeout(stream, PATIENCE).unwrap(), items.to_le_bytes());
}

/// Opens streams, and gives most of them up.
fn open(caller: &mut Caller, streams: u64) {
    for number in 0..streams {
        let stream = caller.open(2, b"").unwrap();
        if number % 3 != 0 {
            assert!(caller.next_item_timeout(stream, PATIENCE).unwrap().is_some());
        }
        assert!(caller.forget(stream));
        // The callee has answered the cancellation before it answers the call.
        assert_eq!(&*caller.call_timeout(1, b"x", PATIENCE).unwrap(), b"x");
    }
}

fn resident_kilobytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_million_items_and_many_streams_leave_no_memory() {
    for (number, way) in WAYS.into_iter().enumerate() {
        let (_folder, path) = socket();
        let running = Running::start(&path, way, dispatcher());
        let mut caller = Caller::connect_with(&path, &Options::new().timeout(PATIENCE)).unwrap();
        // The first way has the million, the others a tenth of it.
        let many = if number == 0 { MANY } else { MANY / 10 };
        let mut peak = |items, streams| {
            peak_of(|| {
                take(&mut caller, items);
                send(&mut caller, items / 4);
                open(&mut caller, streams);
            })
        };
        let few = peak(2000, 20);
        let before = resident_kilobytes();
        let most = peak(many, 1000);
        let after = resident_kilobytes();
        assert!(most < few + 64 * 1024, "{way:?}: {few} bytes for few items and streams, {most} for many");
        assert!(after < before + 2 * 1024, "{way:?}: {before} kB resident before, {after} kB after");
        drop(caller);
        running.end();
    }
}
