//! A peer that tries to take the shared memory away from under us. None of it ends this process with `SIGBUS`.
#![allow(unsafe_code, clippy::unwrap_used, reason = "a test fails by panicking, and looks at bytes of values")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tachyon::{Callee, Dispatcher, Receiver, RecvError, SendError, Sender, endpoints, tachyon_rpc};
use tachyon_tests::Peer;
use tachyon_tests::contract::{Grade, SmallRef};

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

/// How long requests are rewritten while they are read.
const AT_WORK: Duration = Duration::from_secs(3);

/// What came of the requests.
#[derive(Default)]
struct Seen {
    valid: AtomicU64,
    /// Requests that were written to while their handler ran.
    changed: AtomicU64,
}

/// Reads the memory itself: the compiler knows of a `bool` that it is 0 or 1, and need not look.
fn bytes_of_flag(flag: &bool) -> u8 {
    // SAFETY: a `bool` is one byte, which was written.
    unsafe { std::ptr::from_ref(flag).cast::<u8>().read_volatile() }
}

fn bytes_of_grade(grade: &Grade) -> u16 {
    // SAFETY: the enum has the size and alignment of a `u16`, and was written.
    unsafe { std::ptr::from_ref(grade).cast::<u16>().read_volatile() }
}

/// Everything that has values which are none, over and over while the sender writes to it.
#[tachyon_rpc(msg_type = 1)]
fn examine(#[state] seen: &Seen, value: SmallRef<'_>) {
    let examined = || {
        let flags = [bytes_of_flag(&value.flag)].into_iter().chain(value.marks.iter().map(|m| bytes_of_flag(&m.valid)));
        let grades =
            [bytes_of_grade(&value.grade)].into_iter().chain(value.marks.iter().map(|m| bytes_of_grade(&m.grade)));
        let texts = [value.text].into_iter().chain(value.names.iter()).chain(value.inner.map(|inner| inner.sensor));
        let texts: Vec<Vec<u8>> = texts.map(|text| std::hint::black_box(text.as_bytes()).to_vec()).collect();
        (flags.collect::<Vec<_>>(), grades.collect::<Vec<_>>(), texts, value.maybe.map(|grade| bytes_of_grade(&grade)))
    };
    // Numbers lie in the ring, where they may change: any bytes are some.
    let numbers = || std::hint::black_box(value.numbers).to_vec();
    let before = numbers();
    let first = examined();
    for _ in 0..20 {
        assert_eq!(examined(), first, "what was checked does not change");
    }
    let (flags, grades, texts, maybe) = first;
    assert!(flags.iter().all(|flag| *flag <= 1), "{flags:?}");
    assert!(grades.iter().chain(&maybe).all(|grade| [1, 700].contains(grade)), "{grades:?} {maybe:?}");
    assert!(texts.iter().all(|text| std::str::from_utf8(text).is_ok()), "{texts:?}");
    assert_eq!(value.names.iter().count(), value.names.len());
    seen.changed.fetch_add(u64::from(numbers() != before), Ordering::Relaxed);
    seen.valid.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_caller_that_rewrites_its_requests_while_they_are_read_hands_in_valid_values_only() {
    let (_folder, path) = socket();
    let mut peer = vandal("caller", &path);
    let mut callee = Callee::listen(&path, 1 << 16, 1 << 16).unwrap();
    let mut dispatcher = Dispatcher::with_state(Seen::default(), endpoints![examine]);
    let (started, mut served) = (Instant::now(), 0);
    // Longer where the machine is busy, until enough requests were caught in the act.
    loop {
        // An error is a panic of the handler; a request that is refused is none.
        dispatcher.serve_once_timeout(&mut callee, PATIENCE).unwrap();
        served += 1;
        let Seen { valid, changed } = dispatcher.state();
        let (valid, changed) = (valid.load(Ordering::Relaxed), changed.load(Ordering::Relaxed));
        if started.elapsed() > AT_WORK && valid > 100 && served > valid && changed > 0 {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "{valid} valid of {served}, {changed} of them written to in time");
    }
    drop(callee);
    assert_eq!(peer.line(), "", "it ends with the connection");
    peer.finish();
}
