//! Waiting as its cost shows: switches of a peer's thread, registrations with the system. Nothing here is timed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
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
const SPIN: u16 = 7;
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

/// Two cores of this process, if it has them. A thread that has parted with a peer has one alone.
fn two_cores() -> Option<(usize, usize)> {
    static CORES: OnceLock<Option<(usize, usize)>> = OnceLock::new();
    *CORES.get_or_init(|| {
        let all = sched_getaffinity(None).unwrap();
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core));
        let two = cores.next().zip(cores.next());
        if two.is_none() {
            skip("this process has one core");
        }
        two
    })
}

/// Gives the peer and this thread a core each, so that neither keeps the other from running. False where there is one.
fn part(peer: &Peer) -> bool {
    let Some((here, there)) = two_cores() else { return false };
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

/// A pair whose ends have a core each.
struct Pair {
    _folder: TempDir,
    peer: Peer,
    caller: Caller,
}

impl Pair {
    /// `None` where there is one core.
    fn new() -> Option<Self> {
        let (folder, path) = place();
        let peer = waiter(&path);
        let caller = Caller::connect(&path).unwrap();
        part(&peer).then_some(Self { _folder: folder, peer, caller })
    }

    /// Makes calls that follow each other after `gap`; gives the parks of the callee.
    fn call(&mut self, calls: u32, gap: Duration) -> u64 {
        let before = switches_of(&self.peer);
        for _ in 0..calls {
            drop(self.caller.call(1, b"x").unwrap());
            spin(gap);
        }
        switches_of(&self.peer) - before
    }

    /// Makes calls whose replies take some time, during which the callee spins; gives the parks of the caller.
    fn wait(&mut self, calls: u32, time: Duration) -> u64 {
        let nanos = u64::try_from(time.as_nanos()).unwrap().to_le_bytes();
        let before = switches_here();
        for _ in 0..calls {
            drop(self.caller.call(SPIN, &nanos).unwrap());
        }
        switches_here() - before
    }
}

/// One side's waits: makes calls for which it waits so long, and gives its parks.
type Waits = fn(&mut Pair, u32, Duration) -> u64;

/// The longest time for which one side spins after short waits.
fn spun_for(waits: Waits) -> Option<Duration> {
    let mut pair = Pair::new()?;
    // It learns what a park costs here.
    waits(&mut pair, 40, SLOW);
    let times = [20, 40, 80, 160, 320].map(Duration::from_micros);
    let met = times.into_iter().take_while(|time| {
        waits(&mut pair, 100, Duration::ZERO);
        waits(&mut pair, CALLS, *time) <= FEW
    });
    met.last()
}

/// The least parks of one side in [`CALLS`] waits, for which it would spin after short ones: after forty long ones and
/// five.
fn parks_after_a_slow_spell(waits: Waits) -> u64 {
    // Half the longest time, since the cost of a park is not always the same.
    let time = (0..3).filter_map(|_| spun_for(waits)).max().unwrap_or(Duration::from_micros(10)) / 2;
    let attempt = || {
        let Some(mut pair) = Pair::new() else { return 0 };
        waits(&mut pair, 40, SLOW);
        waits(&mut pair, 5, time);
        waits(&mut pair, CALLS, time)
    };
    best(attempt, FEW)
}

/// Calls of one measurement, and how many parks in them are few.
const CALLS: u32 = 200;
const FEW: u64 = 20;

/// Longer than any side spins.
const SLOW: Duration = Duration::from_millis(2);

/// A callee that learnt from long waits to spin less would park in each of these calls, for ever.
#[test]
fn a_callee_is_fast_again_five_calls_after_forty_slow_ones() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let parked = parks_after_a_slow_spell(Pair::call);
    assert!(parked <= FEW, "{parked} parks in {CALLS} calls");
}

#[test]
fn a_caller_is_fast_again_five_calls_after_forty_slow_ones() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let parked = parks_after_a_slow_spell(Pair::wait);
    assert!(parked <= FEW, "{parked} parks in {CALLS} calls");
}

/// The callee parks between two calls, and its wake-up takes about as long as a park of the caller would cost: a caller
/// that parked, too, would pay for two. That holds also after slow replies.
#[test]
fn a_caller_spins_while_its_callee_wakes_up() {
    const GAP: Duration = Duration::from_micros(500);
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let attempt = || {
        let Some(mut pair) = Pair::new() else { return 0 };
        pair.wait(40, SLOW);
        pair.call(5, GAP);
        let before = switches_here();
        pair.call(CALLS, GAP);
        switches_here() - before
    };
    let parked = best(attempt, u64::from(CALLS / 4));
    assert!(parked <= u64::from(CALLS / 4), "the caller parked in {parked} of {CALLS} calls");
}

#[test]
fn an_idle_waiter_is_woken_once_and_then_left_alone() {
    let woken = best(
        || {
            let (_folder, path) = place();
            let peer = waiter(&path);
            let mut caller = Caller::connect(&path).unwrap();
            drop(caller.call(1, b"x").unwrap());
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
        drop(caller.call(SLEEP, &5_u64.to_le_bytes()).unwrap());
        thread::sleep(Duration::from_millis(5));
    }
    assert!(switches_here() - before >= 40 && switches_of(&peer) - theirs >= 40, "each wait and each sleep is a park");
    assert_eq!(membarrier_registrations(), Some(0));
    assert_eq!(&*caller.call(REGISTRATIONS, b"").unwrap(), b"Some(0)");
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
        calls.push(caller.start_timeout(1, b"x", PATIENCE).unwrap());
    }
    for call in calls {
        drop(caller.finish_timeout(call, PATIENCE).unwrap());
    }
    drop(caller);
    callee.join().unwrap();
}
