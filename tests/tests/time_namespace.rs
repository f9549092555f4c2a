//! Two processes whose monotonic clocks differ cannot agree on a deadline: neither gets a connection to the other, and
//! both go on.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tachyon::{CallError, Callee, Caller, ConnectError, ErrorKind};
use tachyon_tests::service::{Place, RECORD, SLEEP};
use tachyon_tests::system::NOT_PERMITTED;
use tachyon_tests::{Peer, skip};
use tempfile::TempDir;

/// For a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("time.sock");
    (folder, path)
}

/// A command that runs `program` where the monotonic clock is far ahead.
fn ahead(program: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandboxed"));
    command.arg("other_time").arg(program);
    command
}

fn is_permitted() -> bool {
    let tried = ahead("/bin/true").output().unwrap();
    if tried.status.code() == Some(NOT_PERMITTED) {
        skip(&format!("no time namespace: {}", String::from_utf8_lossy(&tried.stdout)));
        return false;
    }
    assert!(tried.status.success(), "{tried:?}");
    true
}

fn server(command: &mut Command, path: &Path) -> Peer {
    let server = Peer::spawn(command.arg("server").arg(path).args(["1", "8"]));
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < PATIENCE, "the server does not listen");
        std::thread::sleep(Duration::from_millis(1));
    }
    server
}

fn connect(command: &mut Command, path: &Path) -> String {
    Peer::spawn(command.arg("connect").arg(path)).finish()
}

#[test]
fn a_caller_whose_clock_is_ahead_is_told() {
    if !is_permitted() {
        return;
    }
    let (_folder, path) = place();
    let _server = server(&mut Command::new(env!("CARGO_BIN_EXE_peer")), &path);
    assert_eq!(connect(&mut ahead(env!("CARGO_BIN_EXE_victim")), &path), "connect OtherTimeNamespace");
    // The server serves callers of its own time.
    let mut caller = Caller::connect(&path).unwrap();
    assert_eq!(*caller.call_timeout(1, b"here", PATIENCE).unwrap(), *b"here");
}

#[test]
fn a_callee_turns_a_caller_away_whose_clock_is_ahead_and_listens_on() {
    if !is_permitted() {
        return;
    }
    let (_folder, path) = place();
    let listening = std::thread::spawn({
        let path = path.clone();
        move || Callee::listen(path, 4096, 4096)
    });
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(connect(&mut ahead(env!("CARGO_BIN_EXE_victim")), &path), "connect OtherTimeNamespace");
    let _caller = Caller::connect(&path).unwrap();
    drop(listening.join().unwrap().unwrap());
}

#[test]
fn a_caller_of_a_server_whose_clock_is_ahead_is_told() {
    if !is_permitted() {
        return;
    }
    let (_folder, path) = place();
    let _server = server(&mut ahead(env!("CARGO_BIN_EXE_peer")), &path);
    for _ in 0..3 {
        let error = Caller::connect(&path).unwrap_err();
        assert!(matches!(error, ConnectError::OtherTimeNamespace { .. }), "{error:?}");
        assert!(error.to_string().contains("another time namespace"), "{error}");
    }
}

const INSIDE: &str = "TACHYON_TEST_INSIDE_A_TIME_NAMESPACE";

#[test]
fn deadlines_hold_within_any_one_time_namespace() {
    deadlines_hold();
    if std::env::var_os(INSIDE).is_some() || !is_permitted() {
        return;
    }
    let this = std::env::current_exe().unwrap();
    let mut inside = ahead(this.to_str().unwrap());
    inside.args(["--exact", "deadlines_hold_within_any_one_time_namespace"]).env(INSIDE, "1");
    let outcome = inside.output().unwrap();
    let told = String::from_utf8_lossy(&outcome.stdout);
    assert!(outcome.status.success() && told.contains("1 passed"), "{told}");
}

/// A request whose time is over when its turn comes is skipped, and one that has time is answered.
fn deadlines_hold() {
    let place = Place::new(env!("CARGO_BIN_EXE_service"));
    let _server = place.serve(4096);
    let mut caller = Caller::connect(place.socket()).unwrap();
    let slow = caller.start(SLEEP, &200_u64.to_le_bytes()).unwrap();
    let late = caller.start_timeout(RECORD, &1_u64.to_le_bytes(), Duration::from_millis(5)).unwrap();
    let timely = caller.start_timeout(RECORD, &2_u64.to_le_bytes(), Duration::from_mins(1)).unwrap();
    drop(caller.finish(slow).unwrap());
    assert_eq!(caller.finish(late).unwrap().error().unwrap().kind, ErrorKind::DeadlinePassed);
    assert_eq!(*caller.finish(timely).unwrap(), 2_u64.to_le_bytes());
    assert_eq!(place.executed(), [2]);
    let unanswered = caller.call_timeout(SLEEP, &60_000_u64.to_le_bytes(), Duration::from_millis(50)).map(drop);
    assert!(matches!(unanswered, Err(CallError::TimedOut { .. })), "{unanswered:?}");
}
