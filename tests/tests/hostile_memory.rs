//! A peer that tries to take the shared memory away from under us. None of it ends this process with `SIGBUS`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use tachyon::{Receiver, RecvError, SendError, Sender};
use tachyon_tests::Peer;

const PATIENCE: Duration = Duration::from_mins(1);

fn socket() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bus.sock");
    (folder, path)
}

fn vandal(role: &str, path: &Path) -> Peer {
    Peer::start(env!("CARGO_BIN_EXE_vandal"), role, path, &[])
}

#[test]
fn a_receiver_survives_a_peer_that_shrinks_grows_seals_and_punches_holes() {
    let (_folder, path) = socket();
    let mut peer = vandal("sender", &path);
    let mut receiver = Receiver::listen(&path, 4096).unwrap();
    assert_eq!(peer.line(), "nothing", "what the peer could change of the segment's size");
    // It still is a bus, also where the peer has punched a hole and written again.
    assert_eq!(&*receiver.recv_timeout(PATIENCE).unwrap(), b"intact");
    assert_eq!(&*receiver.recv_timeout(PATIENCE).unwrap(), [7; 100]);
    // Where everything is a hole every word is zero: in the first lap that is a ring without further messages.
    for _ in 2..64 {
        assert_eq!(&*receiver.recv_timeout(PATIENCE).unwrap(), b"again");
    }
    assert_eq!(peer.line(), "holed");
    // Once the first lap is over, a correct peer leaves no sequence at zero.
    let error = receiver.recv_timeout(PATIENCE).unwrap_err();
    assert!(matches!(error, RecvError::FatalError(_)), "{error}");
    peer.kill();
}

#[test]
fn a_sender_survives_a_peer_that_shrinks_grows_seals_and_punches_holes() {
    let (_folder, path) = socket();
    let mut peer = vandal("receiver", &path);
    let mut sender = Sender::listen(&path, 4096).unwrap();
    assert_eq!(peer.line(), "nothing", "what the peer could change of the segment's size");
    for number in 0..64u8 {
        sender.try_send(&[number; 40], 0).unwrap();
    }
    assert_eq!(peer.line(), "holed");
    // The released count is a zero as before, so there is no room; the words are there to be read and written.
    let error = sender.try_send(b"more", 0).unwrap_err();
    assert!(matches!(error, SendError::Full), "{error}");
    peer.kill();
}
