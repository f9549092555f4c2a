//! Waiting as its cost shows: switches of a peer's thread, registrations with the system. Nothing here is timed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tachyon::{Callee, Caller, Options, PollingMode};
use tachyon_tests::system::{membarrier_registrations, status};
use tachyon_tests::{Peer, skip};
use tempfile::TempDir;

/// Two of these tests want two processors each for themselves.
static TURN: Mutex<()> = Mutex::new(());

/// Tries of what a busy machine may disturb; the best counts.
const TRIES: usize = 10;

/// Endpoints of the waiter beside the one that sends back what comes.
const SLEEP: u16 = 6;
const REGISTRATIONS: u16 = 8;

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waiting.sock");
    (folder, path)
}

/// A callee that waits as one does by default.
fn waiter(path: &Path) -> Peer {
    Peer::start(env!("CARGO_BIN_EXE_waiter"), "callee", path, &[])
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
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let parked = best(
        || {
            let (_folder, path) = place();
            let peer = waiter(&path);
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
                call(Duration::from_micros(20));
            }
            let before = switches_of(&peer);
            for _ in 0..CALLS {
                call(Duration::from_micros(20));
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
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let parked = best(
        || {
            let (_folder, path) = place();
            let peer = waiter(&path);
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
            let peer = waiter(&path);
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
    if membarrier_registrations().is_none() {
        skip("the system does not say what a process is registered for");
        return;
    }
    let (_folder, path) = place();
    let peer = waiter(&path);
    let mut caller = Caller::connect_with(&path, &Options::new().polling(PollingMode::Park)).unwrap();
    let (before, theirs) = (switches_here(), switches_of(&peer));
    for _ in 0..20 {
        // Its caller parks meanwhile, and the callee after it.
        drop(caller.request(SLEEP, &5_u64.to_le_bytes()).unwrap());
        thread::sleep(Duration::from_millis(5));
    }
    assert!(switches_here() - before >= 40 && switches_of(&peer) - theirs >= 40, "each wait and each sleep is a park");
    assert_eq!(membarrier_registrations(), Some(0));
    assert_eq!(&*caller.request(REGISTRATIONS, b"").unwrap(), b"Some(0)");
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
