//! In a user namespace all users that it does not map look like one. None of them is trusted for looking like another.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tachyon::{Caller, ConnectError};
use tachyon_tests::system::NOT_PERMITTED;
use tachyon_tests::{Peer, skip};
use tempfile::TempDir;

/// For a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.sock");
    (folder, path)
}

/// A command that runs `program` where no user is mapped.
fn inside(program: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sandboxed"));
    command.arg("no_users").arg(program);
    command
}

fn is_permitted() -> bool {
    let tried = inside("/bin/true").output().unwrap();
    if tried.status.code() == Some(NOT_PERMITTED) {
        skip(&format!("no user namespace: {}", String::from_utf8_lossy(&tried.stdout)));
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

#[test]
fn a_server_that_is_nobody_takes_no_other_nobody_for_itself() {
    if !is_permitted() {
        return;
    }
    let (_folder, path) = place();
    let _server = server(&mut inside(env!("CARGO_BIN_EXE_peer")), &path);
    let error = Caller::connect(&path).unwrap_err();
    assert!(matches!(error, ConnectError::NotAllowed { .. }), "{error:?}");
}

#[test]
fn a_caller_that_is_nobody_takes_no_other_nobody_for_itself() {
    if !is_permitted() {
        return;
    }
    let (_folder, path) = place();
    let _server = server(&mut Command::new(env!("CARGO_BIN_EXE_peer")), &path);
    let told = Peer::spawn(inside(env!("CARGO_BIN_EXE_victim")).arg("connect").arg(&path)).finish();
    assert_eq!(told, "connect ForeignListener");
    drop(Caller::connect(&path).unwrap());
}
