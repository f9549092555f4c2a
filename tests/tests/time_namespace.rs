//! Two processes whose monotonic clocks differ cannot agree on a deadline: neither gets a connection to the other, and
//! both go on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tachyon::{Caller, ConnectError};
use tachyon_tests::Peer;
use tachyon_tests::system::NOT_PERMITTED;
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

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn is_permitted() -> bool {
    let tried = ahead("/bin/true").output().unwrap();
    if tried.status.code() == Some(NOT_PERMITTED) {
        eprintln!("skipped: {}", String::from_utf8_lossy(&tried.stdout));
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
    assert_eq!(*caller.request_timeout(1, b"here", PATIENCE).unwrap(), *b"here");
}

#[test]
fn a_caller_of_a_server_whose_clock_is_ahead_is_told() {
    if !is_permitted() {
        return;
    }
    let (_folder, path) = place();
    let _server = server(&mut ahead(env!("CARGO_BIN_EXE_peer")), &path);
    for _ in 0..3 {
        let outcome = Caller::connect(&path);
        assert!(matches!(outcome, Err(ConnectError::OtherTimeNamespace { .. })), "{outcome:?}");
    }
}
