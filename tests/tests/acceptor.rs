//! A server accepts clients in time while its handlers are busy and other clients are silent.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tachyon::{Caller, ConnectError, Dispatcher, Options, RpcServer, ServerOptions, Stopper};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::server::{Serving, serve, stop};
use tachyon_tests::temporary::socket;
use tachyon_tests::wire::connect_raw;

const PEER: Program = Program(env!("CARGO_BIN_EXE_peer"));

const PATIENCE: Duration = Duration::from_secs(10);

/// The threads of a process: the name of each, and the signals that it blocks.
fn threads(server: &Peer) -> Vec<(String, u64)> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.id())).unwrap();
    let read = |task: std::io::Result<std::fs::DirEntry>| {
        let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        Some((field("Name:")?.to_owned(), u64::from_str_radix(field("SigBlk:")?, 16).ok()?))
    };
    tasks.filter_map(read).collect()
}

#[test]
fn clients_connect_while_every_worker_is_busy() {
    for workers in [1, 4] {
        let (_folder, path) = socket();
        let server = PEER.start("server", &path, &[&workers.to_string(), "64"]);
        let mut busy: Vec<_> = (0..workers).map(|_| Caller::connect(&path).unwrap()).collect();
        for caller in &mut busy {
            caller.call(1, b"here").unwrap();
            caller.start(6, &5000u64.to_le_bytes()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
        let started = Instant::now();
        let connected: Vec<_> = (0..8).map(|_| Caller::connect(&path).unwrap()).collect();
        let took = started.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?} with {workers} workers");
        drop((connected, busy));
        stop(server, &path, PATIENCE);
    }
}

#[test]
fn the_acceptor_thread_blocks_signals() {
    let (_folder, path) = socket();
    let server = PEER.start("server", &path, &["1", "64"]);
    drop(Caller::connect(&path).unwrap());
    let (_, blocked) = threads(&server).into_iter().find(|(name, _)| name == "tachyon-accept").unwrap();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGALRM, libc::SIGCHLD, libc::SIGUSR1] {
        assert_ne!(blocked & 1 << (signal - 1), 0, "signal {signal}");
    }
    stop(server, &path, PATIENCE);
}

#[test]
fn an_inline_acceptor_has_no_thread() {
    for workers in ["1", "2"] {
        let (_folder, path) = socket();
        let server = PEER.start("server", &path, &[workers, "64", "inline"]);
        let mut callers: Vec<_> = (0..4).map(|_| Caller::connect(&path).unwrap()).collect();
        for caller in &mut callers {
            assert_eq!(&*caller.call_timeout(1, b"here", PATIENCE).unwrap(), b"here");
        }
        let threads = threads(&server);
        assert_eq!(threads.len().to_string(), workers, "{threads:?}");
        // Silent clients add no thread.
        let _silent: Vec<_> = (0..8).map(|_| connect_raw(&path).unwrap()).collect();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(&*callers[0].call_timeout(1, b"still", PATIENCE).unwrap(), b"still");
        drop(callers);
        stop(server, &path, PATIENCE);
    }
}

#[test]
fn a_thread_that_cannot_be_made_is_an_error() {
    let (_folder, path) = socket();
    let server = PEER.start("refused_acceptor", &path, &[]);
    let refused = Caller::connect_with(&path, &Options::new().timeout(Duration::from_secs(2)));
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(server.finish(), "refused");
    assert!(!path.exists());
}

#[test]
fn a_stop_frees_the_path_while_silent_clients_are_connected() {
    for acceptor in [&["1", "64"][..], &["3", "64"], &["1", "64", "inline"]] {
        let (_folder, path) = socket();
        let server = PEER.start("server", &path, acceptor);
        let mut caller = Caller::connect(&path).unwrap();
        let silent: Vec<_> = (0..80).map(|_| connect_raw(&path).unwrap()).collect();
        let late = std::thread::spawn({
            let path = path.clone();
            // Behind the silent clients in the queue.
            move || Caller::connect_with(&path, &Options::new().timeout(Duration::from_secs(2))).map(drop)
        });
        let started = Instant::now();
        caller.call(9, b"").unwrap();
        server.finish();
        // The server waits 300 ms for silent clients, and one second for callers that take no reply.
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert!(!path.exists());
        let late = late.join().unwrap();
        let expected = matches!(late, Ok(()) | Err(ConnectError::NoListener { .. } | ConnectError::Closed { .. }));
        assert!(expected, "{late:?}");
        drop(silent);
    }
}

#[test]
fn silent_clients_keep_no_caller_out() {
    for acceptor in [&["2", "64"][..], &["1", "64", "inline"]] {
        let (_folder, path) = socket();
        let server = PEER.start("server", &path, acceptor);
        drop(Caller::connect(&path).unwrap());
        let mut silent = PEER.start("silent_clients", &path, &[]);
        assert_eq!(silent.line(), "begins");
        std::thread::sleep(Duration::from_millis(200));
        for round in 0..20 {
            let mut caller = Caller::connect(&path).unwrap_or_else(|error| panic!("{round}: {error}"));
            caller.call_timeout(1, b"hello", PATIENCE).unwrap();
        }
        silent.kill();
        stop(server, &path, PATIENCE);
    }
}

/// A server in this process.
struct Local {
    path: PathBuf,
    stopper: Stopper,
    serving: Serving,
    _folder: tempfile::TempDir,
}

impl Local {
    fn start(options: ServerOptions) -> Self {
        let (folder, path) = socket();
        let server = RpcServer::listen_with(&path, options).unwrap();
        let mut dispatcher = Dispatcher::default();
        dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
        let (stopper, serving) = serve(server, dispatcher, 1);
        Self { path, stopper, serving, _folder: folder }
    }

    fn stop(self) {
        self.stopper.stop();
        self.serving.join().unwrap().unwrap();
    }
}

/// Connects as soon as the server has a place for another caller.
fn connect_when_free(path: &Path) -> Caller {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Caller::connect(path) {
            Err(ConnectError::Busy { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            connected => return connected.unwrap(),
        }
    }
}

#[test]
fn one_process_has_a_limit_of_callers() {
    let server = Local::start(ServerOptions::new().max_callers(4).callers_per_process(2));
    let first = Caller::connect(&server.path).unwrap();
    let second = Caller::connect(&server.path).unwrap();
    assert!(matches!(Caller::connect(&server.path), Err(ConnectError::Busy { .. })));
    let others: Vec<_> = (0..2).map(|_| PEER.start("caller", &server.path, &["10", "100"])).collect();
    for other in others {
        assert_eq!(other.finish(), "10");
    }
    drop(first);
    drop((connect_when_free(&server.path), second));
    server.stop();
}

#[test]
fn a_limit_of_ring_memory_shrinks_rings_and_then_rejects() {
    // Each ring has a header besides its capacity.
    let options = ServerOptions::new().ring_sizes(1 << 12, 1 << 12).ring_bytes(u64::MAX, 5 << 20);
    let server = Local::start(options);
    let large = Options::new().ring_sizes(1 << 20, 1 << 20);
    let mut callers = Vec::new();
    let refused = loop {
        match Caller::connect_with(&server.path, &large) {
            Ok(caller) => callers.push(caller),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, ConnectError::Busy { .. }), "{refused}");
    let sizes: Vec<usize> = callers.iter().map(Caller::max_len).collect();
    assert_eq!(sizes[0], 1 << 20, "{sizes:?}");
    assert!(sizes.len() > 1 && sizes.is_sorted_by(|one, next| one > next), "{sizes:?}");
    for caller in &mut callers {
        assert_eq!(*caller.call_timeout(1, &[7; 4096], PATIENCE).unwrap(), [7; 4096]);
    }
    callers.clear();
    assert_eq!(connect_when_free(&server.path).max_len(), 1 << 12, "a caller that asks for no capacity");
    server.stop();
}
