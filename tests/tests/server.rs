//! One server with many callers, in several processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags};
use tachyon::{CallError, Caller, ConnectError, ErrorKind, Options, RpcServer, ServerOptions};
use tachyon_tests::proc::{Footprint, processor_ticks};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::server::{count, stop};
use tachyon_tests::temporary::socket;
use tachyon_tests::wait;
use tachyon_tests::wire::connect_raw;

/// Longest that an operation may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

const PEER: Program = Program(env!("CARGO_BIN_EXE_peer"));

/// Open descriptors and mapped segments of a process.
fn footprint(server: &Peer) -> (usize, usize) {
    let footprint = Footprint::of(server.id()).unwrap();
    (footprint.descriptors, footprint.segments)
}

/// Waits until a process has released the resources of other callers.
fn wait_for_footprint(server: &Peer, before: (usize, usize)) {
    let what = format!("the footprint {before:?} of before");
    wait::until(&what, PATIENCE, || footprint(server) == before);
}

#[test]
fn many_callers_join_and_leave() {
    for workers in ["1", "3"] {
        let (_folder, path) = socket();
        let server = PEER.start("server", &path, &[workers, "64"]);
        drop(Caller::connect(&path).unwrap());
        let callers: Vec<_> = (0..12).map(|_| PEER.start("caller", &path, &["400", "3000"])).collect();
        for caller in callers {
            assert_eq!(caller.finish(), "400");
        }
        let events = stop(server, &path, PATIENCE);
        assert_eq!(count(&events, "joined"), 14, "{events:?}");
        assert_eq!(count(&events, "Closed"), 14, "{events:?}");
    }
}

#[test]
fn callers_that_die_leave_nothing_behind() {
    let (_folder, path) = socket();
    let server = PEER.start("server", &path, &["1", "64"]);
    let mut steady = Caller::connect(&path).unwrap();
    steady.call(1, b"first").unwrap();
    let before = footprint(&server);
    for round in 0..5 {
        let idle: Vec<_> = (0..4).map(|_| PEER.start("idle_caller", &path, &[])).collect();
        let busy: Vec<_> = (0..2).map(|_| PEER.start("pipelining_caller", &path, &[])).collect();
        std::thread::sleep(Duration::from_millis(30 + round * 10));
        steady.call(1, b"meanwhile").unwrap();
        for caller in idle.into_iter().chain(busy) {
            caller.kill();
        }
        steady.call(1, b"after").unwrap();
    }
    wait_for_footprint(&server, before);
    drop(steady);
    let events = stop(server, &path, PATIENCE);
    assert_eq!(count(&events, "Misbehaved"), 0, "{events:?}");
    assert!(count(&events, "Died") >= 20, "{events:?}");
}

#[test]
fn a_caller_that_takes_no_replies_delays_no_other_caller() {
    let (_folder, path) = socket();
    let server = PEER.start("server", &path, &["1", "64"]);
    let mut deaf = Caller::connect(&path).unwrap();
    // More replies than the reverse ring holds, and their caller takes none.
    let calls: Vec<_> = (0..100).map(|_| deaf.start_timeout(1, &[7; 1000], Duration::from_millis(200))).collect();
    assert!(calls.iter().filter(|call| call.is_ok()).count() > 64);
    let mut polite = Caller::connect(&path).unwrap();
    for _ in 0..100 {
        polite.call_timeout(1, b"hello", Duration::from_secs(5)).unwrap();
    }
    for call in calls.into_iter().flatten() {
        assert_eq!(*deaf.finish_timeout(call, Duration::from_secs(5)).unwrap(), [7; 1000]);
    }
    drop((deaf, polite));
    stop(server, &path, PATIENCE);
}

#[test]
fn silent_and_malformed_clients_are_dropped_without_delay() {
    let (_folder, path) = socket();
    let server = PEER.start("server", &path, &["1", "64"]);
    let mut steady = Caller::connect(&path).unwrap();
    steady.call(1, b"first").unwrap();
    let before = footprint(&server);
    let silent: Vec<_> = (0..100).map(|_| connect_raw(&path).unwrap()).collect();
    let garbled = connect_raw(&path).unwrap();
    rustix::net::send(&garbled, b"GET / HTTP/1.1\r\n\r\n", SendFlags::empty()).unwrap();
    let half = connect_raw(&path).unwrap();
    rustix::net::send(&half, b"TCHY\x01", SendFlags::empty()).unwrap();
    let started = Instant::now();
    for _ in 0..50 {
        steady.call_timeout(1, b"meanwhile", Duration::from_secs(5)).unwrap();
    }
    let mut another = Caller::connect(&path).unwrap();
    another.call_timeout(1, b"another", Duration::from_secs(5)).unwrap();
    assert!(started.elapsed() < Duration::from_secs(4));
    for client in silent.iter().chain([&garbled, &half]) {
        let mut buffer = [0; 256];
        // A refusal, then the end.
        while rustix::net::recv(client, &mut buffer, RecvFlags::empty()).unwrap().0 > 0 {}
    }
    drop((silent, garbled, half, another));
    wait_for_footprint(&server, before);
    drop(steady);
    let events = stop(server, &path, PATIENCE);
    let rejected = |why: &str| {
        events.iter().filter(|event| event.starts_with("a client was rejected") && event.contains(why)).count()
    };
    // The two malformed clients. The handshakes of silent clients have a quarter of the places, and the server reports
    // only some of the clients that it drops for others.
    assert_eq!(rejected("it sent"), 2, "{events:?}");
    assert!(rejected("in time") <= 16, "{events:?}");
    assert!(rejected("others needed its place") > 0, "{events:?}");
}

#[test]
fn rejected_callers_learn_the_limit() {
    let (_folder, path) = socket();
    let server = PEER.start("server", &path, &["1", "2"]);
    let greedy = Options::new().ring_sizes(1 << 30, 4096);
    let error = Caller::connect_with(&path, &greedy).unwrap_err();
    assert!(error.to_string().contains("ring of 1073741824 bytes"), "{error}");
    let odd = Options::new().ring_sizes(1000, 4096);
    assert!(matches!(Caller::connect_with(&path, &odd).unwrap_err(), ConnectError::Capacity(_)));

    let modest = Options::new().ring_sizes(1 << 10, 1 << 20);
    let mut first = Caller::connect_with(&path, &modest).unwrap();
    assert_eq!(first.max_len(), 1 << 10);
    first.call(1, b"x").unwrap();
    let second = Caller::connect(&path).unwrap();
    let error = Caller::connect(&path).unwrap_err();
    assert!(matches!(error, ConnectError::Busy { .. }), "{error:?}");
    drop(second);
    wait::until("a free place", PATIENCE, || match Caller::connect(&path) {
        Ok(_third) => true,
        Err(ConnectError::Busy { .. }) => false,
        Err(other) => panic!("{other}"),
    });
    drop(first);
    std::thread::sleep(Duration::from_millis(50));
    stop(server, &path, PATIENCE);
}

#[test]
fn a_stop_answers_every_request() {
    let (_folder, path) = socket();
    let server = PEER.start("server", &path, &["1", "8"]);
    let mut caller = Caller::connect(&path).unwrap();
    let mut stopping = Caller::connect(&path).unwrap();
    let busy = caller.start(6, &300u64.to_le_bytes()).unwrap();
    let stopped = stopping.start(9, b"").unwrap();
    // Fewer than the ring holds: a request that waits for room when the server stops is not sent.
    let queued: Vec<_> = (0..200).map(|_| caller.start(1, b"queued").unwrap()).collect();
    stopping.finish_timeout(stopped, Duration::from_secs(5)).unwrap();
    assert_eq!(*caller.finish(busy).unwrap(), 300u64.to_le_bytes(), "a handler that runs is finished");
    let mut refused = 0;
    for call in queued {
        let reply = caller.finish_timeout(call, Duration::from_secs(5)).unwrap();
        match reply.error() {
            None => assert_eq!(&*reply, b"queued"),
            Some(error) => {
                assert_eq!(error.kind, ErrorKind::Stopping);
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "nothing was refused");
    server.finish();
    assert!(matches!(caller.call(1, b"late").map(drop), Err(CallError::Closed { .. })));
    assert!(!path.exists());
}

#[test]
fn idle_callers_cost_no_processor_time() {
    let (_folder, path) = socket();
    let server = PEER.start("server", &path, &["1", "64"]);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let mut caller = Caller::connect(&path).unwrap();
            caller.call(1, b"here").unwrap();
            caller
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let ticks = || processor_ticks(server.id());
    let before = ticks();
    std::thread::sleep(Duration::from_secs(2));
    assert!(ticks() - before <= 10, "{} ticks of 10 ms in 2 s", ticks() - before);
    drop(callers);
    stop(server, &path, PATIENCE);
}

#[test]
fn workers_handle_callers_in_parallel() {
    let (_folder, path) = socket();
    let server = PEER.start("server", &path, &["4", "16"]);
    let mut callers: Vec<_> = (0..4).map(|_| Caller::connect(&path).unwrap()).collect();
    let started = Instant::now();
    let calls: Vec<_> = callers.iter_mut().map(|caller| caller.start(6, &1500u64.to_le_bytes()).unwrap()).collect();
    for (caller, call) in callers.iter_mut().zip(calls) {
        drop(caller.finish(call).unwrap());
    }
    assert!(started.elapsed() < Duration::from_millis(4500), "{:?}; one after the other takes 6 s", started.elapsed());
    drop(callers);
    stop(server, &path, PATIENCE);
}

#[test]
fn a_server_that_is_never_served_frees_its_path() {
    let (_folder, path) = socket();
    let server = RpcServer::listen(&path).unwrap();
    assert!(RpcServer::listen(&path).unwrap_err().to_string().contains("server.sock"));
    assert_eq!(server.path(), Some(path.as_path()));
    drop(server);
    assert!(!path.exists());
    let error = RpcServer::listen_with(&path, ServerOptions::new().ring_sizes(3, 4096)).unwrap_err();
    assert!(error.to_string().contains("power of two"), "{error}");
}
