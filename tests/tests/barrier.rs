//! Waking a parked peer where the system runs no barriers for one of the two, from the beginning or from some time on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use tachyon::{Callee, Caller, Dispatcher, Options, PollingMode};
use tachyon_tests::Peer;

const PATIENCE: Duration = Duration::from_mins(1);

fn parking() -> Options {
    Options::new().timeout(PATIENCE).polling(PollingMode::Park)
}

/// A caller in a sandbox gets every reply; a wake-up that is lost would have it wait until its patience ends.
fn a_caller(when: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rpc.sock");
    let peer = Peer::start(env!("CARGO_BIN_EXE_sandboxed"), "caller", &path, &[when]);
    let mut callee = Callee::listen_with(&path, 4096, 4096, &parking()).unwrap();
    let mut dispatcher = Dispatcher::default();
    dispatcher.register(1, "echo", <[u8]>::to_vec).unwrap();
    dispatcher.serve_forever(&mut callee).unwrap();
    peer.finish();
}

/// As [`a_caller`], with the callee in the sandbox.
fn a_callee(when: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rpc.sock");
    let peer = Peer::start(env!("CARGO_BIN_EXE_sandboxed"), "callee", &path, &[when]);
    let mut caller = Caller::listen_with(&path, 4096, 4096, &parking()).unwrap();
    for number in 0..300_u32 {
        let reply = caller.request_timeout(1, &number.to_le_bytes(), PATIENCE).unwrap();
        assert_eq!(*reply, number.to_le_bytes());
        drop(reply);
        std::thread::sleep(Duration::from_micros(u64::from(number % 4) * 50));
    }
    drop(caller);
    peer.finish();
}

#[test]
fn a_caller_that_never_had_it() {
    a_caller("before");
}

#[test]
fn a_caller_that_lost_it() {
    a_caller("after");
}

#[test]
fn a_callee_that_never_had_it() {
    a_callee("before");
}

#[test]
fn a_callee_that_lost_it() {
    a_callee("after");
}
