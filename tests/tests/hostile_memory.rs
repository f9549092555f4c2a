//! A peer that resizes, seals, punches and rewrites the shared memory. No such attack ends this process with `SIGBUS`,
//! and no handler sees an invalid value.
#![allow(unsafe_code, clippy::unwrap_used, reason = "a test fails by panicking, and reads the bytes of values")]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tachyon::{Callee, Dispatcher, Receiver, RecvError, SendError, Sender, endpoints, tachyon_rpc};
use tachyon_tests::contract::{Grade, SmallRef};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::temporary::socket;

const PATIENCE: Duration = Duration::from_mins(1);

fn vandal(role: &str, path: &Path) -> Peer {
    Program(env!("CARGO_BIN_EXE_vandal")).start(role, path, &[])
}

#[test]
fn a_receiver_survives_a_peer_that_shrinks_grows_seals_and_punches_holes() {
    let (_folder, path) = socket();
    let mut peer = vandal("sender", &path);
    let mut receiver = Receiver::listen(&path, 4096).unwrap();
    assert_eq!(peer.line(), "nothing", "the operations that changed the size or the seals of the segment");
    // The bus still works, also where the peer has punched a hole and written again.
    assert_eq!(&*receiver.recv_timeout(PATIENCE).unwrap(), b"intact");
    assert_eq!(&*receiver.recv_timeout(PATIENCE).unwrap(), [7; 100]);
    // The words of a hole are zero. In the first lap, zero words mean that there are no further messages.
    for _ in 2..64 {
        assert_eq!(&*receiver.recv_timeout(PATIENCE).unwrap(), b"again");
    }
    assert_eq!(peer.line(), "holed");
    // After the first lap, a correct peer leaves no publication word at zero.
    let error = receiver.recv_timeout(PATIENCE).unwrap_err();
    assert!(matches!(error, RecvError::FatalError(_)), "{error}");
    peer.kill();
}

#[test]
fn a_sender_survives_a_peer_that_shrinks_grows_seals_and_punches_holes() {
    let (_folder, path) = socket();
    let mut peer = vandal("receiver", &path);
    let mut sender = Sender::listen(&path, 4096).unwrap();
    assert_eq!(peer.line(), "nothing", "the operations that changed the size or the seals of the segment");
    for number in 0..64u8 {
        sender.try_send(&[number; 40], 0).unwrap();
    }
    assert_eq!(peer.line(), "holed");
    // The released count is zero as before, so there is no room. The words can still be read and written.
    let error = sender.try_send(b"more", 0).unwrap_err();
    assert!(matches!(error, SendError::Full), "{error}");
    peer.kill();
}

/// How long requests are rewritten while they are read.
const REWRITING: Duration = Duration::from_secs(3);

/// The requests that reached the handler.
#[derive(Default)]
struct Seen {
    valid: AtomicU64,
    /// Requests that changed while the handler ran.
    changed: AtomicU64,
}

/// The byte in memory. The compiler may assume that a `bool` is 0 or 1 without reading it.
fn bytes_of_flag(flag: &bool) -> u8 {
    // SAFETY: a `bool` is one byte, which was written.
    unsafe { std::ptr::from_ref(flag).cast::<u8>().read_volatile() }
}

fn bytes_of_grade(grade: &Grade) -> u16 {
    // SAFETY: the enum has the size and alignment of a `u16`, and was written.
    unsafe { std::ptr::from_ref(grade).cast::<u16>().read_volatile() }
}

/// Reads every part that has invalid bit patterns, again and again while the sender writes to it.
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
    // Numbers are read in the ring, where they may change: every bit pattern is valid.
    let numbers = || std::hint::black_box(value.numbers).to_vec();
    let before = numbers();
    let first = examined();
    for _ in 0..20 {
        assert_eq!(examined(), first, "checked values do not change");
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
fn handlers_see_only_valid_values_of_requests_that_are_rewritten() {
    let (_folder, path) = socket();
    let mut peer = vandal("caller", &path);
    let mut callee = Callee::listen(&path, 1 << 16, 1 << 16).unwrap();
    let mut dispatcher = Dispatcher::with_state(Seen::default(), endpoints![examine]);
    let (started, mut served) = (Instant::now(), 0);
    // On a busy machine longer: until enough requests have changed while the handler ran.
    loop {
        // An error would be a panic of the handler. A refused request is no error.
        dispatcher.serve_once_timeout(&mut callee, PATIENCE).unwrap();
        served += 1;
        let Seen { valid, changed } = dispatcher.state();
        let (valid, changed) = (valid.load(Ordering::Relaxed), changed.load(Ordering::Relaxed));
        if started.elapsed() > REWRITING && valid > 100 && served > valid && changed > 0 {
            break;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{valid} valid of {served}, {changed} of them changed while the handler ran"
        );
    }
    drop(callee);
    assert_eq!(peer.line(), "", "the peer ends with the connection");
    peer.finish();
}
