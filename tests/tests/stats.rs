//! Statistics between processes: a server, callers, and an observer.
#![allow(clippy::unwrap_used, reason = "a failing test may panic anywhere")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tachyon::{CallError, Caller};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::sandbox::Namespace;
use tachyon_tests::wait;

/// Longest that an operation may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with the socket and the registry of the processes that are started here.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
        Self { folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("service.sock")
    }

    fn registry(&self) -> PathBuf {
        self.folder.path().join("tachyon")
    }

    fn start(&self, role: &str, path: &Path, arguments: &[&str]) -> Peer {
        let mut command = Program(env!("CARGO_BIN_EXE_stats_peer")).command();
        Peer::spawn(command.arg(role).arg(path).args(arguments).env("TACHYON_RUNTIME_DIR", self.folder.path()))
    }

    fn serve(&self, workers: &str) -> Peer {
        let server = self.start("server", &self.socket(), &[workers, "counted"]);
        self.wait_for_listing();
        server
    }

    /// Waits until a server serves: it is listed when it serves, which is later than it listens.
    fn wait_for_listing(&self) {
        wait::until("a listed server", PATIENCE, || !self.list().is_empty());
    }

    /// The output of a process in a role.
    fn run(&self, role: &str, arguments: &[&str]) -> Vec<String> {
        self.start(role, &self.socket(), arguments).finish().lines().map(str::to_owned).collect()
    }

    fn list(&self) -> Vec<String> {
        self.run("list", &[])
    }

    fn observe(&self) -> Vec<String> {
        self.run("observe", &["0"])
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.registry()).unwrap().count()
    }
}

/// The numbers after `key` on the line that begins with it.
fn numbers(lines: &[String], key: &str) -> Vec<u64> {
    let line = lines.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("no {key} in {lines:?}"));
    line.split([' ', '/']).filter_map(|word| word.parse().ok()).collect()
}

/// The server's own process id differs from the id that its observers see.
#[test]
fn a_server_in_another_pid_namespace_is_listed() {
    let namespace = Namespace::own_pids(Program(env!("CARGO_BIN_EXE_sandboxed")));
    if !namespace.is_permitted() {
        return;
    }
    let place = Place::new();
    let mut command = namespace.command(env!("CARGO_BIN_EXE_stats_peer"));
    command.arg("server").arg(place.socket()).args(["1", "counted"]);
    let _server = Peer::spawn(command.env("TACHYON_RUNTIME_DIR", place.folder.path()));
    place.wait_for_listing();
    assert!(!place.list()[0].starts_with("1 "), "the id in the namespace: {:?}", place.list());
    assert!(place.observe()[0].starts_with("server 1 true"), "{:?}", place.observe());
}

#[test]
fn a_snapshot_counts_calls_and_callers() {
    for workers in ["1", "2"] {
        let place = Place::new();
        let server = place.serve(workers);
        let expected = format!("{} {}", server.id(), place.socket().canonicalize().unwrap().display());
        assert_eq!(place.list(), [expected]);
        let mut others: Vec<_> = (0..3).map(|_| place.start("caller", &place.socket(), &["1", "50"])).collect();
        for other in &mut others {
            assert_eq!(other.line(), "called");
        }
        let mut caller = Caller::connect(place.socket()).unwrap();
        for _ in 0..10 {
            assert!(matches!(caller.call(2, b"four"), Err(CallError::Remote(_))));
        }
        for _ in 0..5 {
            assert!(matches!(caller.call(77, b""), Err(CallError::Remote(_))));
        }
        // A request is counted after its reply: when the second ping is answered, all requests before it are counted.
        caller.ping(PATIENCE).unwrap();
        caller.ping(PATIENCE).unwrap();

        let seen = place.observe();
        let id = u64::from(server.id());
        assert_eq!(numbers(&seen, "server"), [id, workers.parse().unwrap(), 4, 4, 0], "{seen:?}");
        assert!(seen[0].contains("true"), "{seen:?}");
        assert_eq!(numbers(&seen, "endpoint echo")[..3], [150, 0, 1200]);
        assert_eq!(numbers(&seen, "endpoint fail")[..3], [10, 10, 40]);
        assert_eq!(numbers(&seen, "endpoint sleep")[..3], [0, 0, 0]);
        assert_eq!(numbers(&seen, "endpoint (others)")[..3], [5, 5, 0]);
        let callers: Vec<_> = seen.iter().filter(|line| line.starts_with("caller ")).collect();
        assert_eq!(callers.len(), 4, "{seen:?}");
        for other in &others {
            let line = callers.iter().find(|line| line.split(' ').nth(2) == Some(&other.id().to_string()));
            assert_eq!(line.unwrap().split(' ').nth(3), Some("50"), "{seen:?}");
        }
        // Pings count as requests of the caller, and not for an endpoint.
        let own = callers.iter().find(|line| line.split(' ').nth(2) == Some(&std::process::id().to_string()));
        assert!(matches!(own.unwrap().split(' ').nth(3), Some("16" | "17")), "{seen:?}");

        drop(others);
        wait::until("dead callers to leave the count", PATIENCE, || numbers(&place.observe(), "server")[2] == 1);
        assert_eq!(place.observe().iter().filter(|line| line.starts_with("caller ")).count(), 1);
    }
}

#[test]
fn durations_are_those_of_the_handler() {
    let place = Place::new();
    let _server = place.serve("1");
    let mut caller = Caller::connect(place.socket()).unwrap();
    for call in 0..100 {
        let micros: u64 = if call < 90 { 2_000 } else { 30_000 };
        caller.call(3, &micros.to_le_bytes()).unwrap();
    }
    caller.ping(PATIENCE).unwrap();
    let seen = place.observe();
    let [calls, errors, _, p50, p99] = numbers(&seen, "endpoint sleep")[..] else { panic!("{seen:?}") };
    assert_eq!((calls, errors), (100, 0));
    // The middle of a bucket may lie 1/16 below a duration. A sleep may take longer than asked on a busy machine.
    assert!((1_875..15_000).contains(&p50), "{seen:?}");
    assert!((28_000..150_000).contains(&p99), "{seen:?}");
}

#[test]
fn two_snapshots_give_a_rate() {
    let place = Place::new();
    let _server = place.serve("1");
    let socket = place.socket();
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let mut caller = Caller::connect(&socket).unwrap();
            let began = Instant::now();
            let mut calls = 0u32;
            while began.elapsed() < Duration::from_millis(900) {
                caller.call(3, &500u64.to_le_bytes()).unwrap();
                calls += 1;
            }
            f64::from(calls) / began.elapsed().as_secs_f64()
        });
        std::thread::sleep(Duration::from_millis(200));
        let seen = place.run("observe", &["400"]);
        let rate = f64::from(u32::try_from(numbers(&seen, "rate")[0]).unwrap());
        let true_rate = calling.join().unwrap();
        assert!((0.5..2.0).contains(&(rate / true_rate)), "{rate} seen, {true_rate} made");
    });
}

#[test]
fn a_snapshot_shows_full_rings() {
    let place = Place::new();
    let _server = place.serve("1");
    let mut caller = Caller::connect(place.socket()).unwrap();
    // A ring of 64 KiB has 256 slots. The replies, which the caller does not take, fill 200 of them.
    for _ in 0..200 {
        caller.start(1, b"x").unwrap();
    }
    let began = Instant::now();
    loop {
        let seen = place.observe();
        if !seen.iter().any(|line| line.starts_with("caller ")) {
            // The caller is connected before the server gives it a row.
            assert!(began.elapsed() < PATIENCE, "{seen:?}");
            continue;
        }
        let [id, _, requests, forward, forward_slots, reverse, reverse_slots] = numbers(&seen, "caller")[..] else {
            panic!("{seen:?}")
        };
        assert_eq!((id, forward_slots, reverse_slots), (1, 256, 256), "{seen:?}");
        if (requests, forward, reverse) == (200, 0, 200) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{seen:?}");
    }
}

#[test]
fn a_server_that_ends_is_no_longer_listed() {
    let place = Place::new();
    let server = place.serve("1");
    assert_eq!(place.files(), 1);
    drop(server); // by SIGKILL
    assert_eq!((place.list(), place.files()), (vec![], 0));
    let seen = place.observe();
    assert!(seen[0].starts_with("refused: no live server of this user"), "{seen:?}");

    let mut server = place.serve("2");
    Caller::connect(place.socket()).unwrap().call(9, b"").unwrap();
    assert_eq!(server.line(), "stopped");
    assert_eq!((place.list(), place.files()), (vec![], 0));
}

#[test]
fn a_server_without_statistics_is_not_listed() {
    let place = Place::new();
    let mut server = place.start("server", &place.socket(), &["1", "not counted"]);
    Caller::connect(place.socket()).unwrap().call(1, b"here").unwrap();
    assert!(place.list().is_empty());
    assert!(!place.registry().exists());
    Caller::connect(place.socket()).unwrap().call(9, b"").unwrap();
    assert_eq!(server.line(), "stopped");
}

#[test]
fn an_unsafe_registry_is_refused_and_the_server_serves() {
    let open = |place: &Place| {
        std::fs::create_dir(place.registry()).unwrap();
        std::fs::set_permissions(place.registry(), PermissionsExt::from_mode(0o777)).unwrap();
        "is open to other users"
    };
    let linked = |place: &Place| {
        let elsewhere = place.folder.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        symlink(elsewhere, place.registry()).unwrap();
        "is a symbolic link"
    };
    let foreign = |place: &Place| {
        std::fs::create_dir(place.registry()).unwrap();
        std::fs::set_permissions(place.registry(), PermissionsExt::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(place.registry(), Some(65_534), None).unwrap();
        "belongs to another user"
    };
    let mut unsafe_registries: Vec<&dyn Fn(&Place) -> &'static str> = vec![&open, &linked];
    // Only root can change the owner of a folder. For other users the unit tests cover a foreign folder.
    if rustix::process::geteuid().is_root() {
        unsafe_registries.push(&foreign);
    }
    for create in unsafe_registries {
        let place = Place::new();
        let why = create(&place);
        let mut server = place.start("server", &place.socket(), &["1", "counted"]);
        Caller::connect(place.socket()).unwrap().call(1, b"served all the same").unwrap();
        let trouble = server.line();
        assert!(trouble.starts_with("trouble: ") && trouble.contains(why), "{trouble}");
        assert!(place.list()[0].contains(why));
        assert!(place.observe()[0].contains(why));
    }
}

#[test]
fn a_forged_record_is_refused() {
    let place = Place::new();
    let server = place.serve("1");
    let listed = std::fs::read_dir(place.registry()).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&listed).unwrap();
    let field = |key: &str| text.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    let forgeries = [
        // Another descriptor of the process, which is no segment; another length; another server's token.
        (field("descriptor"), "descriptor 0".to_owned()),
        (field("length"), "length 4096".to_owned()),
        (field("token"), "token 1".to_owned()),
    ];
    for (from, to) in forgeries {
        std::fs::write(&listed, text.replace(&from, &to)).unwrap();
        let seen = place.observe();
        assert!(seen[0].starts_with("refused: "), "{to}: {seen:?}");
    }
    std::fs::write(&listed, &text).unwrap();
    assert!(place.observe()[0].starts_with("server "));
    drop(server);
}
