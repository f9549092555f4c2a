//! The cost of waiting, in context switches and in registrations for `membarrier`. No duration is measured.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tachyon::{Callee, Caller, Options, PollingMode};
use tachyon_tests::proc::{membarrier_registrations, status};
use tachyon_tests::process::{Peer, Program};
use tachyon_tests::temporary::socket;
use tachyon_tests::test_run::skip;
use tempfile::TempDir;

/// Held by each test that needs two processors for itself.
static PROCESSORS: Mutex<()> = Mutex::new(());

/// Attempts of a measurement that a busy machine may disturb. The best counts.
const TRIES: usize = 10;

/// Endpoints of the program `waiter` besides the echo.
const SLEEP: u16 = 6;
const SPIN: u16 = 7;
const REGISTRATIONS: u16 = 8;

/// A callee that waits in the default mode.
fn waiter(path: &Path) -> Peer {
    Program(env!("CARGO_BIN_EXE_waiter")).start("callee", path, &[])
}

/// Voluntary context switches of a process with one thread, so far.
fn switches_of(peer: &Peer) -> u64 {
    status(&peer.id().to_string(), "voluntary_ctxt_switches")
}

fn switches_here() -> u64 {
    status("thread-self", "voluntary_ctxt_switches")
}

/// Lets time pass without releasing the processor.
fn spin(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Two cores of this process, if it has two. Found once, since a thread that is pinned sees its own core only.
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

/// Pins the peer and this thread to a core each, so that neither keeps the other from running. False if there is one
/// core.
fn pin(peer: &Peer) -> bool {
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

/// The least result of up to [`TRIES`] attempts, until one is at most `enough`.
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

/// A caller and a callee that have a core each.
struct Pair {
    _folder: TempDir,
    peer: Peer,
    caller: Caller,
}

impl Pair {
    /// `None` if there is one core.
    fn new() -> Option<Self> {
        let (folder, path) = socket();
        let peer = waiter(&path);
        let caller = Caller::connect(&path).unwrap();
        pin(&peer).then_some(Self { _folder: folder, peer, caller })
    }

    /// Makes calls with `gap` between them, and returns the parks of the callee.
    fn call(&mut self, calls: u32, gap: Duration) -> u64 {
        let before = switches_of(&self.peer);
        for _ in 0..calls {
            drop(self.caller.call(1, b"x").unwrap());
            spin(gap);
        }
        switches_of(&self.peer) - before
    }

    /// Makes calls for whose replies the callee spins for `time`, and returns the parks of the caller.
    fn wait(&mut self, calls: u32, time: Duration) -> u64 {
        let nanos = u64::try_from(time.as_nanos()).unwrap().to_le_bytes();
        let before = switches_here();
        for _ in 0..calls {
            drop(self.caller.call(SPIN, &nanos).unwrap());
        }
        switches_here() - before
    }
}

/// Makes calls for which one side waits for a time, and returns that side's parks.
type Waits = fn(&mut Pair, u32, Duration) -> u64;

/// The longest wait for which one side spins after short waits.
fn spun_for(waits: Waits) -> Option<Duration> {
    let mut pair = Pair::new()?;
    // The side learns the cost of a park.
    waits(&mut pair, 40, SLOW);
    let times = [20, 40, 80, 160, 320].map(Duration::from_micros);
    let met = times.into_iter().take_while(|time| {
        waits(&mut pair, 100, Duration::ZERO);
        waits(&mut pair, CALLS, *time) <= FEW
    });
    met.last()
}

/// The least number of parks of one side in [`CALLS`] waits, after forty long waits and five short ones. The side spins
/// for such waits if only short waits came before.
fn parks_after_a_slow_spell(waits: Waits) -> u64 {
    // Half the longest wait, since the cost of a park varies.
    let time = (0..3).filter_map(|_| spun_for(waits)).max().unwrap_or(Duration::from_micros(10)) / 2;
    let attempt = || {
        let Some(mut pair) = Pair::new() else { return 0 };
        waits(&mut pair, 40, SLOW);
        waits(&mut pair, 5, time);
        waits(&mut pair, CALLS, time)
    };
    best(attempt, FEW)
}

/// Calls of one measurement, and the number of parks in them that passes.
const CALLS: u32 = 200;
const FEW: u64 = 20;

/// Longer than any side spins.
const SLOW: Duration = Duration::from_millis(2);

/// A callee that spun less after long waits would park in each of these calls.
#[test]
fn a_callee_is_fast_again_five_calls_after_forty_slow_ones() {
    let _processors = PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner);
    let parked = parks_after_a_slow_spell(Pair::call);
    assert!(parked <= FEW, "{parked} parks in {CALLS} calls");
}

#[test]
fn a_caller_is_fast_again_five_calls_after_forty_slow_ones() {
    let _processors = PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner);
    let parked = parks_after_a_slow_spell(Pair::wait);
    assert!(parked <= FEW, "{parked} parks in {CALLS} calls");
}

/// The callee parks between two calls, and its wake-up takes about as long as a park of the caller costs. A caller that
/// parked, too, would pay for two wake-ups. The caller spins also after slow replies.
#[test]
fn a_caller_spins_while_its_callee_wakes_up() {
    const GAP: Duration = Duration::from_micros(500);
    let _processors = PROCESSORS.lock().unwrap_or_else(PoisonError::into_inner);
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
fn an_idle_callee_is_woken_once() {
    let woken = best(
        || {
            let (_folder, path) = socket();
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
fn a_parking_process_has_no_membarrier_registration() {
    if membarrier_registrations().is_none() {
        skip("the system does not report the registrations of a process");
        return;
    }
    let (_folder, path) = socket();
    let peer = waiter(&path);
    let mut caller = Caller::connect_with(&path, &Options::new().polling(PollingMode::Park)).unwrap();
    let (before, theirs) = (switches_here(), switches_of(&peer));
    for _ in 0..20 {
        // The caller parks during the call, and the callee after it.
        drop(caller.call(SLEEP, &5_u64.to_le_bytes()).unwrap());
        thread::sleep(Duration::from_millis(5));
    }
    assert!(switches_here() - before >= 40 && switches_of(&peer) - theirs >= 40, "each wait and each sleep is a park");
    assert_eq!(membarrier_registrations(), Some(0));
    assert_eq!(&*caller.call(REGISTRATIONS, b"").unwrap(), b"Some(0)");
}

/// Longest that a call may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers each request with `reply(number)` until the caller leaves.
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

/// The callee needs the whole ring for one reply, so the caller must take thousands of other replies before it sleeps.
#[test]
fn a_caller_that_waits_for_room_takes_every_reply() {
    const RING: usize = 1 << 20;
    const SMALL: usize = RING / 320;
    let (_folder, path) = socket();
    let reply = |number| if number == SMALL { vec![9; RING] } else { vec![7; 300] };
    let callee = answering(path.clone(), RING, reply);
    let mut caller = Caller::connect(&path).unwrap();
    let mut calls = Vec::new();
    for number in 0..12_000 {
        if number < 4000 && number % 500 == 499 {
            // Time for the callee to fill the ring of replies.
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
