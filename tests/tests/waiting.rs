//! Waiting as its cost shows: switches of a peer's thread, registrations with the system, memory that is touched, guards
//! that are forgotten. Nothing here is timed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::mem::forget;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tachyon::{Callee, Caller, Options, PollingMode, Receiver, Sender};
use tachyon_tests::Peer;
use tachyon_tests::system::{membarrier_registrations, status};
use tempfile::TempDir;

/// Tries of what a busy machine may disturb; the best counts.
const TRIES: usize = 10;

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waiting.sock");
    (folder, path)
}

fn waiter(role: &str, path: &Path, capacity: usize) -> Peer {
    Peer::start(env!("CARGO_BIN_EXE_waiter"), role, path, &[&capacity.to_string()])
}

/// Voluntary context switches so far of a process with one thread.
fn switches_of(peer: &Peer) -> u64 {
    status(&peer.id().to_string(), "voluntary_ctxt_switches")
}

fn switches_here() -> u64 {
    status("thread-self", "voluntary_ctxt_switches")
}

/// Lets time pass without letting go of the processor.
fn spin(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Gives the peer and this thread a core each, so that neither keeps the other from running. False where there is one.
fn part(peer: &Peer) -> bool {
    let all = sched_getaffinity(None).unwrap();
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core));
    let (Some(here), Some(there)) = (cores.next(), cores.next()) else { return false };
    let only = |core| {
        let mut set = CpuSet::new();
        set.set(core);
        set
    };
    sched_setaffinity(None, &only(here)).unwrap();
    sched_setaffinity(Pid::from_raw(peer.id().cast_signed()), &only(there)).unwrap();
    true
}

/// The least that a try gives.
fn best(attempt: impl Fn() -> u64, enough: u64) -> u64 {
    let mut least = u64::MAX;
    for _ in 0..TRIES {
        least = least.min(attempt());
        if least <= enough {
            break;
        }
    }
    least
}

/// A callee that learnt from long waits to spin less would park in each of these calls, for ever.
#[test]
fn a_callee_is_fast_again_five_calls_after_forty_slow_ones() {
    const CALLS: u64 = 200;
    let parked = best(
        || {
            let (_folder, path) = place();
            let peer = waiter("callee", &path, 1 << 16);
            let mut caller = Caller::connect(&path).unwrap();
            if !part(&peer) {
                return 0;
            }
            let mut call = |gap| {
                drop(caller.request(1, b"x").unwrap());
                spin(gap);
            };
            for _ in 0..40 {
                call(Duration::from_millis(2));
            }
            for _ in 0..5 {
                call(Duration::from_micros(5));
            }
            let before = switches_of(&peer);
            for _ in 0..CALLS {
                call(Duration::from_micros(5));
            }
            switches_of(&peer) - before
        },
        CALLS / 10,
    );
    assert!(parked <= CALLS / 10, "{parked} parks in {CALLS} calls");
}

/// The callee parks between two calls, and its wake-up takes longer than a park of the caller would cost: a caller that
/// parked, too, would pay for two.
#[test]
fn a_caller_spins_while_its_callee_wakes_up() {
    const CALLS: u64 = 200;
    let parked = best(
        || {
            let (_folder, path) = place();
            let peer = waiter("callee", &path, 1 << 16);
            let mut caller = Caller::connect(&path).unwrap();
            if !part(&peer) {
                return 0;
            }
            let before = switches_here();
            for _ in 0..CALLS {
                drop(caller.request(1, b"x").unwrap());
                spin(Duration::from_micros(500));
            }
            switches_here() - before
        },
        CALLS / 4,
    );
    assert!(parked <= CALLS / 4, "the caller parked in {parked} of {CALLS} calls");
}

#[test]
fn an_idle_waiter_is_woken_once_and_then_left_alone() {
    let woken = best(
        || {
            let (_folder, path) = place();
            let peer = waiter("callee", &path, 1 << 16);
            let mut caller = Caller::connect(&path).unwrap();
            drop(caller.request(1, b"x").unwrap());
            let before = switches_of(&peer);
            thread::sleep(Duration::from_secs(1));
            switches_of(&peer) - before
        },
        5,
    );
    assert!(woken <= 5, "{woken} wake-ups in a second");
}

#[test]
fn a_process_that_parks_is_registered_for_no_barriers() {
    let (_folder, path) = place();
    let _peer = waiter("callee", &path, 1 << 16);
    let mut caller = Caller::connect_with(&path, &Options::new().polling(PollingMode::Park)).unwrap();
    drop(caller.request(1, b"x").unwrap());
    let registered = membarrier_registrations();
    assert!(matches!(registered, None | Some(0)), "{registered:x?}");
}

/// Both sides of a connection with rings of 256 MiB have touched less than a MiB of them when it is made.
#[test]
fn large_rings_are_untouched_before_they_are_used() {
    const CAPACITY: usize = 256 << 20;
    let strict = std::fs::read("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim_ascii() == b"2");
    if strict {
        // All pages are allocated at once there.
        return;
    }
    for role in ["callee", "receiver"] {
        let (_folder, path) = place();
        let mut peer = waiter(role, &path, CAPACITY);
        let before = status("self", "RssShmem");
        let connected: Box<dyn std::any::Any> = match role {
            "callee" => Box::new(Caller::connect(&path).unwrap()),
            _ => Box::new(Sender::connect(&path).unwrap()),
        };
        let (theirs, ours) = (peer.line().parse::<u64>().unwrap(), status("self", "RssShmem").saturating_sub(before));
        assert!(theirs < 1024 && ours < 1024, "{role}: {theirs} KiB there, {ours} KiB here");
        drop(connected);
        peer.finish();
    }
}

#[test]
fn forgotten_guards_of_messages_stall_nothing() {
    let (_folder, path) = place();
    let peer = waiter("receiver", &path, 4096);
    let mut sender = Sender::connect(&path).unwrap();
    let mut sum = 0;
    // Many times the ring's 64 slots, short and long.
    for number in 0..2000u64 {
        let byte = number.to_le_bytes()[0];
        sender.send(&vec![byte; 1 + usize::from(byte)], 1).unwrap();
        sum += u64::from(byte);
    }
    drop(sender);
    let printed = peer.finish();
    assert_eq!(printed.lines().last().unwrap().parse::<u64>().unwrap(), sum);
}

#[test]
fn forgotten_batches_stall_nothing() {
    let (_folder, path) = place();
    let listen_at = path.clone();
    let sending = thread::spawn(move || {
        let mut sender = Sender::listen(listen_at, 4096).unwrap();
        for number in 0..2000u64 {
            sender.send(&number.to_le_bytes(), 1).unwrap();
        }
    });
    let mut receiver = Receiver::connect(&path).unwrap();
    let mut next = 0u64;
    while next < 2000 {
        if next.is_multiple_of(5) {
            let single = receiver.recv().unwrap();
            assert_eq!(*single, next.to_le_bytes());
            next += 1;
            forget(single);
        }
        let batch = receiver.recv_batch(7).unwrap_or_else(|error| panic!("{next}: {error}"));
        for message in &batch {
            assert_eq!(*message, next.to_le_bytes());
            next += 1;
        }
        if next.is_multiple_of(2) {
            forget(batch);
        }
        if next == 2000 {
            break;
        }
    }
    sending.join().unwrap();
}

/// Replies in place, and replies that were kept since they came before their turn.
#[test]
fn forgotten_guards_of_replies_stall_nothing() {
    let (_folder, path) = place();
    let peer = waiter("callee", &path, 4096);
    let mut caller = Caller::connect(&path).unwrap();
    for number in 0..500u64 {
        let calls = [0, 1, 2].map(|of| caller.call(1, &(number * 3 + of).to_le_bytes()).unwrap());
        for (of, call) in [0, 1, 2].into_iter().zip(calls).rev() {
            let reply = caller.wait(call).unwrap();
            assert_eq!(*reply, (number * 3 + of).to_le_bytes());
            if number % 3 != of {
                forget(reply);
            }
        }
    }
    assert_eq!(caller.outstanding(), 0);
    drop(caller);
    peer.finish();
}

#[test]
fn forgotten_guards_of_requests_stall_nothing() {
    let (_folder, path) = place();
    let listen_at = path.clone();
    let serving = thread::spawn(move || {
        let mut callee = Callee::listen(listen_at, 4096, 4096).unwrap();
        for number in 0..500u64 {
            let request = callee.serve().unwrap();
            let (call, payload) = (request.correlation_id(), request.to_vec());
            assert_eq!(*payload, number.to_le_bytes());
            if number % 2 == 0 {
                forget(request);
            } else {
                drop(request);
            }
            callee.reply(call, 1, &payload).unwrap();
        }
    });
    let mut caller = Caller::connect(&path).unwrap();
    for number in 0..500u64 {
        assert_eq!(*caller.request(1, &number.to_le_bytes()).unwrap(), number.to_le_bytes());
    }
    serving.join().unwrap();
}

/// Longest that a call of these tests may wait for what comes at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers each request with `reply(number)`, until its caller leaves.
fn answering(
    path: PathBuf,
    capacity: usize,
    reply: impl Fn(usize) -> Vec<u8> + Send + 'static,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut callee = Callee::listen(path, capacity, capacity).unwrap();
        for number in 0.. {
            let Ok(request) = callee.serve() else { return };
            let call = request.correlation_id();
            drop(request);
            if callee.reply(call, 1, &reply(number)).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_forgotten_reply_is_given_back_by_calls_alone() {
    let (_folder, path) = place();
    let callee = answering(path.clone(), 64, |_| b"y".to_vec());
    let mut caller = Caller::connect(&path).unwrap();
    let call = caller.call(1, b"first").unwrap();
    forget(caller.wait(call).unwrap());
    for number in 0..1000 {
        let called = caller.call_timeout(1, b"x", PATIENCE);
        assert!(called.is_ok(), "call {number}: {called:?}");
    }
    drop(caller);
    callee.join().unwrap();
}

/// The callee needs the whole ring for one reply, so the caller has to take thousands of others before it may sleep.
#[test]
fn a_caller_that_waits_for_room_takes_every_reply_that_lies_there() {
    const RING: usize = 1 << 20;
    const SMALL: usize = RING / 320;
    let (_folder, path) = place();
    let reply = |number| if number == SMALL { vec![9; RING] } else { vec![7; 300] };
    let callee = answering(path.clone(), RING, reply);
    let mut caller = Caller::connect(&path).unwrap();
    let mut calls = Vec::new();
    for number in 0..12_000 {
        if number < 4000 && number % 500 == 499 {
            // The callee fills the ring of replies meanwhile.
            thread::sleep(Duration::from_millis(30));
        }
        calls.push(caller.call_timeout(1, b"x", PATIENCE).unwrap());
    }
    for call in calls {
        drop(caller.wait_timeout(call, PATIENCE).unwrap());
    }
    drop(caller);
    callee.join().unwrap();
}
