//! Clients get into a server in time, however busy its handlers and however silent other clients are.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tachyon::{Caller, ConnectError, Dispatcher, Options, RpcServer, ServerOptions, Stopper};
use tachyon_tests::Peer;

const PATIENCE: Duration = Duration::from_secs(10);

fn socket() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.sock");
    (folder, path)
}

fn peer(role: &str, path: &Path, arguments: &[&str]) -> Peer {
    Peer::start(env!("CARGO_BIN_EXE_peer"), role, path, arguments)
}

/// A raw connection to a listener.
fn client(path: &Path) -> OwnedFd {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

/// Stops a server and waits for its end.
fn stop(server: Peer, path: &Path) {
    Caller::connect(path).unwrap().call(9, b"").unwrap();
    server.finish();
}

/// The threads of a process: their names, and the signals that each blocks.
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
fn clients_connect_while_every_handler_is_at_work() {
    for workers in [1, 4] {
        let (_folder, path) = socket();
        let server = peer("server", &path, &[&workers.to_string(), "64"]);
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
        stop(server, &path);
    }
}

#[test]
fn the_thread_takes_no_signals_and_ends_with_the_serving() {
    let (_folder, path) = socket();
    let server = peer("server", &path, &["1", "64"]);
    drop(Caller::connect(&path).unwrap());
    let (_, blocked) = threads(&server).into_iter().find(|(name, _)| name == "tachyon-accept").unwrap();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGALRM, libc::SIGCHLD, libc::SIGUSR1] {
        assert_ne!(blocked & 1 << (signal - 1), 0, "signal {signal}");
    }
    stop(server, &path);
}

#[test]
fn an_inline_acceptor_has_no_thread() {
    for workers in ["1", "2"] {
        let (_folder, path) = socket();
        let server = peer("server", &path, &[workers, "64", "inline"]);
        let mut callers: Vec<_> = (0..4).map(|_| Caller::connect(&path).unwrap()).collect();
        for caller in &mut callers {
            assert_eq!(&*caller.call_timeout(1, b"here", PATIENCE).unwrap(), b"here");
        }
        let threads = threads(&server);
        assert_eq!(threads.len().to_string(), workers, "{threads:?}");
        // Silent clients, and one that was turned away, change nothing about that.
        let _silent: Vec<_> = (0..8).map(|_| client(&path)).collect();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(&*callers[0].call_timeout(1, b"still", PATIENCE).unwrap(), b"still");
        drop(callers);
        stop(server, &path);
    }
}

#[test]
fn a_thread_that_cannot_be_made_is_an_error() {
    let (_folder, path) = socket();
    let server = peer("refused_acceptor", &path, &[]);
    let told = Caller::connect_with(&path, &Options::new().timeout(Duration::from_secs(2)));
    assert!(told.is_err(), "{told:?}");
    assert_eq!(server.finish(), "refused");
    assert!(!path.exists());
}

#[test]
fn a_stop_frees_the_path_whatever_clients_are_about() {
    for acceptor in [&["1", "64"][..], &["3", "64"], &["1", "64", "inline"]] {
        let (_folder, path) = socket();
        let server = peer("server", &path, acceptor);
        let mut caller = Caller::connect(&path).unwrap();
        let silent: Vec<_> = (0..80).map(|_| client(&path)).collect();
        let late = std::thread::spawn({
            let path = path.clone();
            // Behind the silent ones in the queue.
            move || Caller::connect_with(&path, &Options::new().timeout(Duration::from_secs(2))).map(drop)
        });
        let started = Instant::now();
        caller.call(9, b"").unwrap();
        server.finish();
        // Silent clients have 300 ms, callers that take no reply a second.
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert!(!path.exists());
        let late = late.join().unwrap();
        let told = matches!(late, Ok(()) | Err(ConnectError::NoListener { .. } | ConnectError::Closed { .. }));
        assert!(told, "{late:?}");
        drop(silent);
    }
}

#[test]
fn silent_clients_keep_no_caller_out() {
    for acceptor in [&["2", "64"][..], &["1", "64", "inline"]] {
        let (_folder, path) = socket();
        let server = peer("server", &path, acceptor);
        drop(Caller::connect(&path).unwrap());
        let mut silent = peer("silent_clients", &path, &[]);
        assert_eq!(silent.line(), "begins");
        std::thread::sleep(Duration::from_millis(200));
        for round in 0..20 {
            let mut caller = Caller::connect(&path).unwrap_or_else(|error| panic!("{round}: {error}"));
            caller.call_timeout(1, b"hello", PATIENCE).unwrap();
        }
        silent.kill();
        stop(server, &path);
    }
}

/// A server in this process.
struct Local {
    path: PathBuf,
    stopper: Stopper,
    serving: std::thread::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Local {
    fn start(options: ServerOptions) -> Self {
        let (folder, path) = socket();
        let mut server = RpcServer::listen_with(&path, options).unwrap();
        let stopper = server.stopper();
        let mut dispatcher = Dispatcher::default();
        dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
        let serving = std::thread::spawn(move || dispatcher.serve_forever(&mut server).unwrap());
        Self { path, stopper, serving, _folder: folder }
    }

    fn stop(self) {
        self.stopper.stop();
        self.serving.join().unwrap();
    }
}

/// Connects as soon as there is a place.
fn connect_in_time(path: &Path) -> Caller {
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
fn one_process_leaves_places_to_others() {
    let server = Local::start(ServerOptions::new().max_callers(4).callers_per_process(2));
    let first = Caller::connect(&server.path).unwrap();
    let second = Caller::connect(&server.path).unwrap();
    assert!(matches!(Caller::connect(&server.path), Err(ConnectError::Busy { .. })));
    let others: Vec<_> = (0..2).map(|_| peer("caller", &server.path, &["10", "100"])).collect();
    for other in others {
        assert_eq!(other.finish(), "10");
    }
    drop(first);
    drop((connect_in_time(&server.path), second));
    server.stop();
}

#[test]
fn short_memory_makes_rings_smaller_and_then_turns_away() {
    // Each ring takes a header besides.
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
    assert_eq!(connect_in_time(&server.path).max_len(), 1 << 12, "a caller without a wish");
    server.stop();
}
