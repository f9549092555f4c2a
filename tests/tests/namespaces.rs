//! Peers in different namespaces. Two processes whose monotonic clocks differ cannot agree on a deadline, so neither
//! connects to the other. In a user namespace all unmapped users look the same, so no side trusts an unmapped user.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tachyon::{CallError, Callee, Caller, ConnectError, ErrorKind};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::sandbox::Namespace;
use tachyon_tests::service::{Place, RECORD, SLEEP};
use tachyon_tests::temporary::socket;
use tachyon_tests::test_run::rerun;
use tachyon_tests::wait;

const PEER: Program = Program(env!("CARGO_BIN_EXE_peer"));
const SANDBOXED: Program = Program(env!("CARGO_BIN_EXE_sandboxed"));
const VICTIM: Program = Program(env!("CARGO_BIN_EXE_victim"));

/// Longest that a step may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// Set in the process of this test that runs in a time namespace.
const INSIDE: &str = "TACHYON_TEST_INSIDE_A_TIME_NAMESPACE";

fn time_ahead() -> Namespace {
    Namespace::time_ahead(SANDBOXED)
}

fn no_users() -> Namespace {
    Namespace::no_users(SANDBOXED)
}

/// Starts a server by a command that runs `peer`, and waits until the server listens.
fn server(mut command: Command, path: &Path) -> Peer {
    let server = Peer::spawn(command.arg("server").arg(path).args(["1", "8"]));
    wait::for_file(path, PATIENCE);
    server
}

/// The outcome of a connect in a namespace.
fn connect(namespace: Namespace, path: &Path) -> String {
    Peer::spawn(namespace.command(VICTIM.0).arg("connect").arg(path)).finish()
}

#[test]
fn a_caller_in_another_time_namespace_is_refused() {
    if !time_ahead().is_permitted() {
        return;
    }
    let (_folder, path) = socket();
    let _server = server(PEER.command(), &path);
    assert_eq!(connect(time_ahead(), &path), "connect OtherTimeNamespace");
    // The server serves callers of its own time.
    let mut caller = Caller::connect(&path).unwrap();
    assert_eq!(*caller.call_timeout(1, b"here", PATIENCE).unwrap(), *b"here");
}

#[test]
fn a_callee_refuses_a_caller_in_another_time_namespace_and_keeps_listening() {
    if !time_ahead().is_permitted() {
        return;
    }
    let (_folder, path) = socket();
    let listening = std::thread::spawn({
        let path = path.clone();
        move || Callee::listen(path, 4096, 4096)
    });
    wait::for_file(&path, PATIENCE);
    assert_eq!(connect(time_ahead(), &path), "connect OtherTimeNamespace");
    let _caller = Caller::connect(&path).unwrap();
    drop(listening.join().unwrap().unwrap());
}

#[test]
fn a_server_in_another_time_namespace_is_refused() {
    if !time_ahead().is_permitted() {
        return;
    }
    let (_folder, path) = socket();
    let _server = server(time_ahead().command(PEER.0), &path);
    for _ in 0..3 {
        let error = Caller::connect(&path).unwrap_err();
        assert!(matches!(error, ConnectError::OtherTimeNamespace { .. }), "{error:?}");
        assert!(error.to_string().contains("another time namespace"), "{error}");
    }
}

#[test]
fn deadlines_hold_within_any_one_time_namespace() {
    deadlines_hold();
    if std::env::var_os(INSIDE).is_some() || !time_ahead().is_permitted() {
        return;
    }
    let this = std::env::current_exe().unwrap();
    let inside = time_ahead().command(this.to_str().unwrap());
    rerun(inside, "deadlines_hold_within_any_one_time_namespace", INSIDE, "1");
}

/// A request whose deadline has passed when the server reaches it is skipped, and a request with time left is answered.
fn deadlines_hold() {
    let place = Place::new(Program(env!("CARGO_BIN_EXE_service")));
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

#[test]
fn a_server_without_a_mapped_user_trusts_no_unmapped_user() {
    if !no_users().is_permitted() {
        return;
    }
    let (_folder, path) = socket();
    let _server = server(no_users().command(PEER.0), &path);
    let error = Caller::connect(&path).unwrap_err();
    assert!(matches!(error, ConnectError::NotAllowed { .. }), "{error:?}");
}

#[test]
fn a_caller_without_a_mapped_user_trusts_no_unmapped_user() {
    if !no_users().is_permitted() {
        return;
    }
    let (_folder, path) = socket();
    let _server = server(PEER.command(), &path);
    assert_eq!(connect(no_users(), &path), "connect ForeignListener");
    drop(Caller::connect(&path).unwrap());
}
