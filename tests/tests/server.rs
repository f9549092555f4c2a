//! One server, many callers, each in a process of its own.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use tachyon::{CallError, Caller, ConnectError, ErrorKind, Options, RpcServer, ServerOptions};
use tachyon_tests::Peer;

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
    caller.call(9, b"").unwrap();
    server.finish().lines().map(str::to_owned).collect()
}

fn count(events: &[String], what: &str) -> usize {
    events.iter().filter(|event| *event == what).count()
}

/// Open descriptors and mapped segments of a process.
fn footprint(server: &Peer) -> (usize, usize) {
    let process = PathBuf::from(format!("/proc/{}", server.id()));
    let maps = std::fs::read_to_string(process.join("maps")).unwrap();
    (std::fs::read_dir(process.join("fd")).unwrap().count(), maps.matches("memfd:tachyon").count())
}

/// Waits until a process has given back what it took for others.
fn assert_settles(server: &Peer, before: (usize, usize)) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while footprint(server) != before {
        assert!(Instant::now() < deadline, "{:?} descriptors and mappings, {before:?} before", footprint(server));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn callers_come_and_go_beside_each_other() {
    for workers in ["1", "3"] {
        let (_folder, path) = socket();
        let server = peer("server", &path, &[workers, "64"]);
        drop(Caller::connect(&path).unwrap());
        let callers: Vec<_> = (0..12).map(|_| peer("caller", &path, &["400", "3000"])).collect();
        for caller in callers {
            assert_eq!(caller.finish(), "400");
        }
        let events = stop(server, &path);
        assert_eq!(count(&events, "joined"), 14, "{events:?}");
        assert_eq!(count(&events, "Closed"), 14, "{events:?}");
    }
}

#[test]
fn callers_that_die_leave_nothing_behind() {
    let (_folder, path) = socket();
    let server = peer("server", &path, &["1", "64"]);
    let mut steady = Caller::connect(&path).unwrap();
    steady.call(1, b"first").unwrap();
    let before = footprint(&server);
    for round in 0..5 {
        let idle: Vec<_> = (0..4).map(|_| peer("idle_caller", &path, &[])).collect();
        let busy: Vec<_> = (0..2).map(|_| peer("pipelining_caller", &path, &[])).collect();
        std::thread::sleep(Duration::from_millis(30 + round * 10));
        steady.call(1, b"meanwhile").unwrap();
        for caller in idle.into_iter().chain(busy) {
            caller.kill();
        }
        steady.call(1, b"after").unwrap();
    }
    assert_settles(&server, before);
    drop(steady);
    let events = stop(server, &path);
    assert_eq!(count(&events, "Misbehaved"), 0, "{events:?}");
    assert!(count(&events, "Died") >= 20, "{events:?}");
}

#[test]
fn a_caller_that_takes_no_replies_keeps_nobody_waiting() {
    let (_folder, path) = socket();
    let server = peer("server", &path, &["1", "64"]);
    let mut deaf = Caller::connect(&path).unwrap();
    // More replies than the reverse ring holds, and nobody takes them.
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
    stop(server, &path);
}

/// A raw connection to a listener.
fn client(path: &Path) -> OwnedFd {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

#[test]
fn clients_that_are_no_callers_are_dropped_and_nobody_notices() {
    let (_folder, path) = socket();
    let server = peer("server", &path, &["1", "64"]);
    let mut steady = Caller::connect(&path).unwrap();
    steady.call(1, b"first").unwrap();
    let before = footprint(&server);
    let silent: Vec<_> = (0..100).map(|_| client(&path)).collect();
    let garbled = client(&path);
    rustix::net::send(&garbled, b"GET / HTTP/1.1\r\n\r\n", SendFlags::empty()).unwrap();
    let half = client(&path);
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
    assert_settles(&server, before);
    drop(steady);
    let events = stop(server, &path);
    let rejected = |why: &str| {
        events.iter().filter(|event| event.starts_with("a client was rejected") && event.contains(why)).count()
    };
    // The two that spoke. Of the silent ones a quarter of the places are seen to, and others report once in a while.
    assert_eq!(rejected("it sent"), 2, "{events:?}");
    assert!(rejected("in time") <= 16, "{events:?}");
    assert!(rejected("others needed its place") > 0, "{events:?}");
}

#[test]
fn limits_are_told_to_those_they_keep_out() {
    let (_folder, path) = socket();
    let server = peer("server", &path, &["1", "2"]);
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
    let deadline = Instant::now() + Duration::from_secs(5);
    let third = loop {
        match Caller::connect(&path) {
            Ok(caller) => break caller,
            Err(ConnectError::Busy { .. }) => assert!(Instant::now() < deadline),
            Err(other) => panic!("{other}"),
        }
    };
    drop(third);
    drop(first);
    std::thread::sleep(Duration::from_millis(50));
    stop(server, &path);
}

#[test]
fn a_stop_answers_everyone() {
    let (_folder, path) = socket();
    let server = peer("server", &path, &["1", "8"]);
    let mut caller = Caller::connect(&path).unwrap();
    let mut stopping = Caller::connect(&path).unwrap();
    let busy = caller.start(6, &300u64.to_le_bytes()).unwrap();
    let stopped = stopping.start(9, b"").unwrap();
    // As many as the ring holds: one that waits for room when the server stops is not sent.
    let queued: Vec<_> = (0..200).map(|_| caller.start(1, b"queued").unwrap()).collect();
    stopping.finish_timeout(stopped, Duration::from_secs(5)).unwrap();
    assert_eq!(*caller.finish(busy).unwrap(), 300u64.to_le_bytes(), "what was being handled is finished");
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
    let server = peer("server", &path, &["1", "64"]);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let mut caller = Caller::connect(&path).unwrap();
            caller.call(1, b"here").unwrap();
            caller
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(2));
    assert!(ticks() - before <= 10, "{} ticks of 10 ms in 2 s", ticks() - before);
    drop(callers);
    stop(server, &path);
}

#[test]
fn workers_handle_callers_side_by_side() {
    let (_folder, path) = socket();
    let server = peer("server", &path, &["4", "16"]);
    let mut callers: Vec<_> = (0..4).map(|_| Caller::connect(&path).unwrap()).collect();
    let started = Instant::now();
    let calls: Vec<_> = callers.iter_mut().map(|caller| caller.start(6, &1500u64.to_le_bytes()).unwrap()).collect();
    for (caller, call) in callers.iter_mut().zip(calls) {
        drop(caller.finish(call).unwrap());
    }
    assert!(started.elapsed() < Duration::from_millis(4500), "{:?}; 6 s in a row", started.elapsed());
    drop(callers);
    stop(server, &path);
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
