//! The one-way bus in two processes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tachyon::error::CommitError;
use tachyon::{
    Bus, Callee, ConnectError, ListenError, Options, PollingMode, Receiver, RecvError, SendError, Sender, State,
};
use tachyon_tests::message::{length, message};
use tachyon_tests::process::Program;
use tachyon_tests::temporary::socket;

const PEER: Program = Program(env!("CARGO_BIN_EXE_peer"));

fn stream(sender: &mut Sender, count: u64, most: usize) {
    for number in 0..count {
        sender.send(&message(number, length(number, most)), u32::try_from(number % 1000).unwrap()).unwrap();
    }
}

#[test]
fn every_size_arrives_in_order_if_either_side_listens() {
    for (peer_side, mode) in [("listen", "adaptive"), ("connect", "adaptive"), ("listen", "park"), ("connect", "spins")]
    {
        for (capacity, count) in [(1, 300), (64, 2000), (4096, 3000), (1 << 16, 500)] {
            let (_folder, path) = socket();
            let text = capacity.to_string();
            let receiver = PEER.start("receiver", &path, &[peer_side, &text, &text, mode]);
            let mut sender = match peer_side {
                "listen" => Sender::connect(&path).unwrap(),
                _ => Sender::listen(&path, capacity).unwrap(),
            };
            stream(&mut sender, count, capacity);
            drop(sender);
            assert_eq!(receiver.finish(), count.to_string(), "{peer_side} {mode} {capacity}");
        }
    }
}

#[test]
fn messages_as_large_as_the_ring_arrive() {
    let (_folder, path) = socket();
    let receiver = PEER.start("receiver", &path, &["listen", "4096", "4096", "adaptive"]);
    let mut sender = Sender::connect(&path).unwrap();
    sender.set_polling_mode(PollingMode::Park);
    stream(&mut sender, 500, 4096);
    drop(sender);
    assert_eq!(receiver.finish(), "500");
}

#[test]
fn receives_from_another_process_until_it_closes() {
    for mode in ["park", "adaptive", "pure"] {
        let (_folder, path) = socket();
        let sender = PEER.start("sender", &path, &["connect", "0", "200", "1000", mode]);
        let mut receiver = Receiver::listen(&path, 1 << 12).unwrap();
        let mut number = 0;
        for received in receiver.messages() {
            assert_eq!(received.unwrap().data, message(number, length(number, 200)));
            number += 1;
        }
        assert_eq!(number, 1000);
        assert!(matches!(receiver.recv(), Err(RecvError::Closed)));
        assert_eq!(receiver.state(), State::Closed);
        sender.finish();
    }
}

#[test]
fn batches_carry_several_messages() {
    let (_folder, path) = socket();
    let receiver = PEER.start("batches", &path, &["5000"]);
    let mut sender = Sender::listen(&path, 1 << 14).unwrap();
    for number in 0..5000 {
        sender.send(&message(number, length(number, 100)), 0).unwrap();
    }
    let largest: usize = receiver.finish().parse().unwrap();
    assert!((1..=16).contains(&largest), "a batch of {largest}");
}

#[test]
fn only_committed_guards_are_published() {
    let (_folder, path) = socket();
    let receiver = PEER.start("unassigned_receiver", &path, &[]);
    let mut sender = Bus::listen(&path, 4096).unwrap().into_sender().unwrap();
    let mut dropped = sender.reserve(100, 1).unwrap();
    dropped.fill(b'x');
    drop(dropped);
    let refused = sender.reserve(10, 1).unwrap();
    assert_eq!(refused.commit(11), Err(CommitError::TooLong { actual: 11, reserved: 10 }));
    let mut guard = sender.reserve(100, 1).unwrap();
    guard[..9].copy_from_slice(b"committed");
    guard.set_type_id(2);
    guard.commit(9).unwrap();
    assert_eq!(receiver.finish(), "committed");
}

#[test]
fn a_dead_sender_loses_nothing_it_had_sent() {
    let (_folder, path) = socket();
    let sender = PEER.start("sender_then_hang", &path, &["1000"]);
    let mut receiver = Receiver::listen(&path, 1 << 16).unwrap();
    assert_eq!(*receiver.recv().unwrap(), 0u64.to_le_bytes());
    // Time for the sender to fill the ring with all messages. Then the sender dies while they are unread.
    std::thread::sleep(Duration::from_millis(200));
    sender.kill();
    for number in 1..1000u64 {
        assert_eq!(*receiver.recv().unwrap(), number.to_le_bytes());
    }
    let died = Instant::now();
    assert!(matches!(receiver.recv(), Err(RecvError::PeerDead)));
    assert!(died.elapsed() < Duration::from_secs(2));
    assert_eq!(receiver.state(), State::PeerDead);
}

#[test]
fn a_waiter_learns_of_a_death_in_every_mode() {
    for mode in [PollingMode::Park, PollingMode::Adaptive, PollingMode::Spin, PollingMode::SpinTimes(10)] {
        let (_folder, path) = socket();
        let sender = PEER.start("sender_then_hang", &path, &["1"]);
        let mut receiver = Receiver::listen(&path, 4096).unwrap();
        receiver.set_polling_mode(mode);
        drop(receiver.recv().unwrap());
        let waiter = std::thread::spawn(move || {
            let outcome = receiver.recv().map(drop);
            (outcome, Instant::now())
        });
        std::thread::sleep(Duration::from_millis(50));
        let killed = Instant::now();
        sender.kill();
        let (outcome, noticed) = waiter.join().unwrap();
        assert!(matches!(outcome, Err(RecvError::PeerDead)), "{mode:?}: {outcome:?}");
        assert!(noticed.duration_since(killed) < Duration::from_secs(2), "{mode:?}");
    }
}

#[test]
fn a_sender_reports_a_full_ring_and_a_dead_receiver() {
    let (_folder, path) = socket();
    let receiver = PEER.start("idle_receiver", &path, &[]);
    let mut sender = Sender::connect(&path).unwrap();
    assert!(matches!(sender.try_send(&[0; 4097], 0), Err(SendError::TooLarge { size: 4097, max: 4096 })));
    while sender.try_send(&[1; 1000], 0).is_ok() {}
    assert!(matches!(sender.try_send(&[1; 1000], 0), Err(SendError::Full)));
    assert!(matches!(sender.send_timeout(&[1; 1000], 0, Duration::from_millis(20)), Err(SendError::TimedOut)));
    sender.send(&[1; 10], 0).expect("a short message finds room beside the arena");

    receiver.signal(Signal::STOP);
    assert!(matches!(sender.send_timeout(&[1; 1000], 0, Duration::from_millis(50)), Err(SendError::TimedOut)));
    assert_eq!(sender.state(), State::Open, "a stopped peer is not a dead one");

    let waiter = std::thread::spawn(move || (sender.send(&[1; 1000], 0), sender));
    std::thread::sleep(Duration::from_millis(20));
    receiver.kill();
    let (outcome, mut sender) = waiter.join().unwrap();
    assert!(matches!(outcome, Err(SendError::PeerDead)), "{outcome:?}");
    assert!(matches!(sender.send(b"", 0), Err(SendError::PeerDead)));
}

#[test]
fn a_sender_that_never_waits_notices_a_death() {
    let (_folder, path) = socket();
    let receiver = PEER.start("receiver", &path, &["listen", "1048576", "8", "adaptive"]);
    let mut sender = Sender::connect(&path).unwrap();
    receiver.kill();
    let outcome = (0..10_000).try_for_each(|_| sender.try_send(&[], 0));
    assert!(matches!(outcome, Err(SendError::PeerDead)), "{outcome:?}");
}

#[test]
fn a_sender_that_never_waits_notices_a_death_on_a_full_ring() {
    let (_folder, path) = socket();
    let receiver = PEER.start("idle_receiver", &path, &[]);
    let mut sender = Sender::connect(&path).unwrap();
    while sender.try_send(&[1; 1000], 0).is_ok() {}
    receiver.kill();
    let outcome =
        (0..1000).map(|_| sender.try_send(&[1; 1000], 0)).find(|outcome| !matches!(outcome, Err(SendError::Full)));
    assert!(matches!(outcome, Some(Err(SendError::PeerDead))), "{outcome:?}");
}

#[test]
fn a_long_spin_still_notices_a_death_and_an_interrupt() {
    let (_folder, path) = socket();
    let sender = PEER.start("sender_then_hang", &path, &["0"]);
    let mut receiver = Receiver::listen(&path, 4096).unwrap();
    receiver.set_polling_mode(PollingMode::SpinTimes(u32::MAX));
    receiver.set_interrupt(Some(|| true));
    let started = Instant::now();
    assert!(matches!(receiver.recv(), Err(RecvError::Interrupted)));
    receiver.set_interrupt(None);
    sender.kill();
    assert!(matches!(receiver.recv(), Err(RecvError::PeerDead)));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_poller_notices_a_death() {
    let (_folder, path) = socket();
    let sender = PEER.start("sender_then_hang", &path, &["3"]);
    let mut receiver = Receiver::listen(&path, 4096).unwrap();
    drop(receiver.recv().unwrap());
    std::thread::sleep(Duration::from_millis(100));
    sender.kill();
    let mut received = 1;
    let outcome = loop {
        match receiver.try_recv() {
            Ok(Some(_)) => received += 1,
            Ok(None) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(outcome, RecvError::PeerDead), "{outcome}");
    assert_eq!(received, 3);
}

#[test]
fn waiting_has_a_limit_and_can_be_interrupted() {
    let (_folder, path) = socket();
    let sender = PEER.start("sender_then_hang", &path, &["0"]);
    let mut receiver = Receiver::listen(&path, 4096).unwrap();
    for mode in [PollingMode::Park, PollingMode::Adaptive, PollingMode::Spin] {
        receiver.set_polling_mode(mode);
        let started = Instant::now();
        assert!(matches!(receiver.recv_timeout(Duration::from_millis(30)), Err(RecvError::TimedOut)));
        assert!(started.elapsed() >= Duration::from_millis(30));
        receiver.set_interrupt(Some(|| true));
        assert!(matches!(receiver.recv(), Err(RecvError::Interrupted)));
        receiver.set_interrupt(None);
    }
    drop(sender);
}

#[test]
fn a_peer_of_the_same_role_is_refused_and_the_listener_keeps_waiting() {
    let (_folder, path) = socket();
    let receiver = PEER.start("receiver", &path, &["listen", "4096", "100", "adaptive"]);
    let error = Receiver::connect(&path).unwrap_err();
    assert!(matches!(error, ConnectError::RoleClash { .. }), "{error:?}");
    let error = Callee::connect(&path).unwrap_err();
    assert!(matches!(error, ConnectError::WrongKind { .. }), "{error:?}");
    let mut sender = Sender::connect(&path).unwrap();
    stream(&mut sender, 10, 100);
    drop(sender);
    assert_eq!(receiver.finish(), "10");
}

#[test]
fn an_unassigned_bus_gives_each_end_once() {
    let (_folder, path) = socket();
    let listen_at = path.clone();
    let other = std::thread::spawn(move || {
        let bus = Bus::listen(&listen_at, 4096).unwrap();
        let mut receiver = bus.into_receiver().unwrap();
        receiver.recv().map(|guard| guard.to_vec())
    });
    let bus = Bus::connect(&path).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let error = bus.into_receiver().unwrap_err();
    assert_eq!(error.taken, "receiver");
    assert!(matches!(other.join().unwrap(), Err(RecvError::Closed)));
}

#[test]
fn listen_errors_give_the_path_and_the_reason() {
    let (folder, path) = socket();
    for bad in [0, 3, 1000, tachyon::bus::MAX_CAPACITY * 2] {
        let error = Sender::listen(&path, bad).unwrap_err();
        assert!(error.to_string().contains("power of two"), "{error}");
    }
    let file = folder.path().join("precious.txt");
    std::fs::write(&file, "precious").unwrap();
    let error = Receiver::listen(&file, 4096).unwrap_err();
    assert!(error.to_string().contains("precious.txt"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");

    let limit = Options::new().timeout(Duration::from_millis(30));
    let error = Receiver::listen_with(&path, 4096, &limit).unwrap_err();
    assert!(matches!(error, ListenError::TimedOut { .. }), "{error:?}");
    assert!(!path.exists(), "a listener that gave up leaves nothing behind");
    let error = Sender::connect_with(&path, &limit).unwrap_err();
    assert!(error.to_string().contains("no listener"), "{error}");
}
