//! Callers shared by threads, with a server in another process.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tachyon::{CallError, ConnectError, Options, PollingMode, Pool, PoolError, PoolOptions};
use tachyon_tests::process::Program;
use tachyon_tests::service::{ECHO, Place, RECORD, SLEEP, STOP};
use tachyon_tests::{fork, proc, wait};

const MOMENT: Duration = Duration::from_millis(20);

fn place() -> Place {
    Place::new(Program(env!("CARGO_BIN_EXE_service")))
}

fn pool(place: &Place, max: usize) -> Pool {
    Pool::new(place.socket(), &Options::new(), &PoolOptions::new().max(max))
}

#[test]
fn callers_connect_on_demand_and_are_kept() {
    let place = place();
    let pool = pool(&place, 3);
    assert!(pool.is_empty(), "a new pool has no callers");
    let _server = place.serve(4096);
    for _ in 0..10 {
        assert_eq!(pool.call(ECHO, b"hello").unwrap(), b"hello");
        assert_eq!(pool.call_timeout(ECHO, b"hello", Duration::from_secs(5)).unwrap(), b"hello");
    }
    assert_eq!(pool.len(), 1);
    let three = [pool.get().unwrap(), pool.get().unwrap(), pool.get().unwrap()];
    assert_eq!(pool.len(), 3);
    let started = Instant::now();
    let none = pool.get_timeout(MOMENT).map(drop);
    assert!(matches!(none, Err(PoolError::Exhausted { max: 3, .. })), "{none:?}");
    assert!(started.elapsed() >= MOMENT);
    drop(three);
    assert_eq!(pool.len(), 3);
    drop(pool.get().unwrap());
}

#[test]
fn a_returned_caller_is_reset() {
    let place = place();
    let _server = place.serve(4096);
    let pool = pool(&place, 1);
    let mut caller = pool.get().unwrap();
    caller.set_polling_mode(PollingMode::Spin);
    caller.set_interrupt(Some(|| true));
    let left = caller.start(SLEEP, &30u64.to_le_bytes()).unwrap();
    drop(caller);
    let mut caller = pool.get().unwrap();
    assert_eq!(caller.outstanding(), 0);
    assert!(matches!(caller.finish(left), Err(CallError::UnknownCorrelation(_))));
    // The request waits behind the forgotten call, and no hook interrupts it.
    assert_eq!(&*caller.call(ECHO, b"next user").unwrap(), b"next user");
}

#[test]
fn waiting_threads_get_callers_in_order() {
    let place = place();
    let _server = place.serve(4096);
    let pool = pool(&place, 1);
    let served = Mutex::new(Vec::new());
    let serve = |number: u8| {
        let mut caller = pool.get().unwrap();
        served.lock().unwrap().push(number);
        assert_eq!(&*caller.call(ECHO, &[number]).unwrap(), [number]);
    };
    let held = pool.get().unwrap();
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (thread, waiting) = mpsc::channel();
            let serve = &serve;
            scope.spawn(move || {
                thread.send(rustix::thread::gettid()).unwrap();
                serve(number);
            });
            proc::wait_until_asleep(waiting.recv().unwrap().as_raw_nonzero().get());
        }
        drop(held);
        // The thread that gave the caller back does not overtake the threads that wait.
        serve(4);
    });
    assert_eq!(served.into_inner().unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(pool.len(), 1);
}

#[test]
fn a_returned_caller_skips_threads_that_gave_up() {
    let place = place();
    let _server = place.serve(4096);
    let pool = pool(&place, 1);
    for round in 0..20u64 {
        let held = pool.get().unwrap();
        std::thread::scope(|scope| {
            let hasty = scope.spawn(|| pool.get_timeout(MOMENT).map(drop));
            std::thread::sleep(MOMENT / 4);
            let patient = scope.spawn(|| pool.get_timeout(Duration::from_secs(20)).map(drop));
            // About when `hasty` gives up: before or after.
            std::thread::sleep(MOMENT / 2 + Duration::from_millis(round % 10));
            let returned = Instant::now();
            drop(held);
            patient.join().unwrap().unwrap();
            assert!(returned.elapsed() < Duration::from_secs(10));
            let hasty = hasty.join().unwrap();
            assert!(matches!(hasty, Ok(()) | Err(PoolError::Exhausted { .. })), "{hasty:?}");
        });
    }
    assert_eq!(pool.len(), 1);
}

/// Runs `check` in a forked child, and returns its exit status: 0 if the check passed, `None` if it took too long.
fn in_child(check: impl FnOnce() -> bool) -> Option<i32> {
    let Some(child) = fork::fork() else {
        let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check));
        fork::exit(i32::from(!matches!(passed, Ok(true))));
    };
    exit_status(child)
}

/// The exit status of a child. `None` if the child had to be killed.
fn exit_status(child: Pid) -> Option<i32> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(30) {
        if let Some((_, status)) = waitpid(Some(child), WaitOptions::NOHANG).unwrap() {
            return status.exit_status();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_process(child, Signal::KILL).unwrap();
    fork::reap(child)
}

#[test]
fn a_forked_child_has_a_pool_of_its_own() {
    let place = place();
    let _server = place.serve(4096);
    let pool = pool(&place, 2);
    let calls = |payload: &[u8]| pool.call_timeout(ECHO, payload, Duration::from_secs(10)).unwrap() == payload;
    let [idle, mut used] = [pool.get().unwrap(), pool.get().unwrap()];
    drop(idle);
    let status = in_child(|| {
        let began_empty = pool.is_empty();
        // The grandchild's pool is empty, too.
        let grandchild = in_child(|| pool.is_empty() && calls(b"grandchild") && pool.len() == 1);
        grandchild == Some(0) && began_empty && calls(b"child") && calls(b"again") && pool.len() == 1
    });
    assert_eq!(status, Some(0));
    let idle = pool.get().unwrap();
    let status = in_child(|| {
        // Both places of the pool are taken in the parent.
        let both = [pool.get().unwrap(), pool.get().unwrap()];
        pool.len() == 2 && both.into_iter().all(|mut caller| *caller.call(ECHO, b"mine").unwrap() == *b"mine")
    });
    assert_eq!(status, Some(0));
    let status = in_child(|| {
        let refused = matches!(used.call(ECHO, b"").map(drop), Err(CallError::Forked));
        // Dropping inherited callers in the child changes neither pool.
        drop((idle, used));
        refused && pool.is_empty() && calls(b"child")
    });
    assert_eq!(status, Some(0));
    // The parent's copy of the closure returned its callers.
    assert_eq!(pool.len(), 2);
    assert!(calls(b"the parent goes on"));
}

#[test]
fn a_child_is_forked_while_other_threads_use_the_pool() {
    let place = place();
    let _server = place.serve(4096);
    let pool = pool(&place, 2);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            // Takes and returns callers only, so that the lock is often held.
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    drop(pool.get().unwrap());
                }
            });
        }
        let call = || *pool.call_timeout(ECHO, b"child", Duration::from_secs(10)).unwrap() == *b"child";
        let statuses: Vec<_> = (0..50).map(|_| in_child(call)).collect();
        over.store(true, Ordering::Relaxed);
        assert!(statuses.iter().all(|&status| status == Some(0)), "{statuses:?}");
    });
    assert_eq!(pool.call(ECHO, b"parent").unwrap(), b"parent");
}

#[test]
fn an_interrupt_hook_may_fork_while_it_waits_for_a_caller() {
    static CHILD: AtomicI32 = AtomicI32::new(NOT_YET);
    const NOT_YET: i32 = -2;
    const DUE: i32 = -1;
    const IN_CHILD: i32 = 0;
    let place = place();
    let _server = place.serve(4096);
    let hook = || {
        if CHILD.load(Ordering::Relaxed) == DUE {
            CHILD.store(fork::fork().map_or(IN_CHILD, |child| child.as_raw_nonzero().get()), Ordering::Relaxed);
        }
        false
    };
    let pool = Pool::new(place.socket(), &Options::new().interrupt(hook), &PoolOptions::new().max(1));
    let _held = pool.get().unwrap();
    CHILD.store(DUE, Ordering::Relaxed);
    let waited = pool.get_timeout(Duration::from_millis(500)).map(|mut caller| caller.call(ECHO, b"").is_ok());
    let child = CHILD.load(Ordering::Relaxed);
    if child == IN_CHILD {
        fork::exit(i32::from(!matches!(waited, Ok(true))));
    }
    assert!(matches!(waited, Err(PoolError::Exhausted { .. })), "{waited:?}");
    assert_eq!(exit_status(Pid::from_raw(child).unwrap()), Some(0));
}

#[test]
fn a_failed_connect_frees_its_place() {
    let place = place();
    let options = Options::new().timeout(MOMENT);
    let pool = Pool::new(place.socket(), &options, &PoolOptions::new().max(1));
    for _ in 0..3 {
        let missing = pool.get().map(drop);
        assert!(matches!(missing, Err(PoolError::Connect(ConnectError::NoListener { .. }))), "{missing:?}");
        assert_eq!(pool.len(), 0);
    }
    let started = Instant::now();
    let soon = Pool::new(place.socket(), &Options::new(), &PoolOptions::new());
    assert!(soon.get_timeout(MOMENT).is_err());
    assert!(started.elapsed() < Duration::from_secs(2), "the timeout limits the connect, too");
}

#[test]
fn an_interrupt_ends_the_wait() {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    let place = place();
    let _server = place.serve(4096);
    let hook = || ASKED.fetch_add(1, Ordering::Relaxed) > 3;
    let pool = Pool::new(place.socket(), &Options::new().interrupt(hook), &PoolOptions::new().max(1));
    let _held = pool.get().unwrap();
    let interrupted = pool.get_timeout(Duration::from_mins(1)).map(drop);
    assert!(matches!(interrupted, Err(PoolError::Interrupted)), "{interrupted:?}");
}

#[test]
fn broken_callers_are_dropped() {
    let place = place();
    let pool = pool(&place, 2);
    let server = place.serve(4096);
    {
        let (mut first, mut second) = (pool.get().unwrap(), pool.get().unwrap());
        drop(first.call(ECHO, b"").unwrap());
        server.kill();
        assert!(matches!(second.call(ECHO, b"").map(drop), Err(CallError::PeerDead { .. })));
    }
    assert_eq!(pool.len(), 0, "neither is kept");
    let server = place.serve(4096);
    drop((pool.get().unwrap(), pool.get().unwrap()));
    assert_eq!(pool.len(), 2);
    assert_eq!(pool.call(STOP, b"").unwrap(), b"");
    server.finish();
    let _server = place.serve(4096);
    // Both callers were idle when their server ended.
    assert_eq!(pool.call(ECHO, b"new").unwrap(), b"new");
}

#[test]
fn eight_threads_share_three_callers_while_a_server_is_killed() {
    const PER_THREAD: u64 = 600;
    let place = place();
    let server = place.serve(4096);
    let pool = pool(&place, 3);
    let done = AtomicU64::new(0);
    let (answered, lost) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u64)
            .map(|thread| {
                let (pool, done) = (&pool, &done);
                scope.spawn(move || {
                    let (mut answered, mut lost) = (Vec::new(), 0);
                    for number in thread * PER_THREAD..(thread + 1) * PER_THREAD {
                        match pool.call(RECORD, &number.to_le_bytes()) {
                            Ok(reply) => {
                                assert_eq!(reply, number.to_le_bytes());
                                answered.push(number);
                            }
                            Err(CallError::PeerDead { .. }) => lost += 1,
                            Err(error) => panic!("{number}: {error}"),
                        }
                        assert!(pool.len() <= 3 + 3, "{}", pool.len());
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    (answered, lost)
                })
            })
            .collect();
        wait::until("a third of the calls", Duration::from_mins(1), || {
            done.load(Ordering::Relaxed) >= 8 * PER_THREAD / 3
        });
        server.kill();
        let _server = place.serve(4096);
        let mut all = (Vec::new(), 0);
        for thread in threads {
            let (answered, lost) = thread.join().unwrap();
            all.0.extend(answered);
            all.1 += lost;
        }
        all
    });
    let executed = place.executed();
    let once: HashSet<u64> = executed.iter().copied().collect();
    assert_eq!(once.len(), executed.len(), "executed twice");
    assert!(answered.iter().all(|number| once.contains(number)));
    assert_eq!(answered.len() as u64 + lost, 8 * PER_THREAD);
    assert!(lost <= 6, "{lost} lost, with three callers");
    assert!(pool.len() <= 3);
}
