//! Messages from just before a peer's end, and waits on a peer that is known to be gone.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;
use crate::ring::{Consumer, Frame, Geometry, MessageHeader, Producer, RingMemory, Use};

/// Far longer than any wait here takes, so that a test that fails does not hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// A peer, and the end that keeps it alive.
fn peer() -> (Peer, OwnedFd) {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    (Peer::new(Socket::connecting(ours), None, None, None), theirs)
}

/// Waits in `mode` for a message that a peer commits, just before the peer dies, right after the look number `early`.
/// `pause` follows each look and gets its number.
fn last_words(mode: PollingMode, early: u64, pause: impl Fn(u64)) -> Result<Frame, WaitError<Fault>> {
    let (peer, theirs) = peer();
    let memory = Arc::new(RingMemory::create(Geometry::new(64, Use::Calls).unwrap()).unwrap().0);
    let mut producer = Producer::new(Arc::clone(&memory));
    let mut consumer = Consumer::new(Arc::clone(&memory));
    let mut theirs = Some(theirs);
    let mut looks = 0;
    let look = || {
        let found = consumer.try_take()?;
        looks += 1;
        if looks == early && theirs.take().is_some() {
            assert!(producer.push_slow(b"last words", MessageHeader::new(7, 0)).unwrap());
        }
        pause(looks);
        Ok(found)
    };
    let words = [&memory.header().consumer_parked.0];
    // A peer on the same processor keeps an adaptive waiter from spinning: there it parks at once.
    let awaited = Awaited { peer: &peer, words: &words, shares_core: true, deadline: Deadline::after(PATIENCE) };
    // Slices of a sleep, so that a look that comes late is not the last one.
    Waiter::new(mode, 1, Some(|| false)).wait(&awaited, look)
}

#[test]
fn the_last_words_of_a_peer_are_found_by_a_waiter_that_spins() {
    let round = u64::from(looks_per_reading());
    for mode in [PollingMode::Spin, PollingMode::SpinTimes(u32::MAX), PollingMode::SpinFor(2 * PATIENCE)] {
        // The first look of the wait, then looks of a round. The last look of a round is followed by the look for
        // the peer's end, for which it is time after this pause.
        for early in [1, 2, round, round + 1, round + 2, 3 * round + 1] {
            let pause = |look| {
                if look == early {
                    thread::sleep(Duration::from_nanos(LIFE_CHECK));
                }
            };
            let found = last_words(mode, early, pause);
            assert_eq!(found.unwrap().type_id, 7, "{mode:?}, after look {early}");
        }
    }
}

#[test]
fn the_last_words_of_a_peer_are_found_by_a_waiter_that_parks() {
    let at_once = PollingMode::SpinFor(Duration::ZERO);
    for mode in [PollingMode::Adaptive, PollingMode::Park, PollingMode::SpinTimes(0), at_once] {
        // One look of the wait, one or two after the arming, which a pause makes long enough, one before the sleep,
        // and the second look.
        for early in 1..=5 {
            let found = last_words(mode, early, |_| thread::sleep(Duration::from_nanos(LOOK_FOR)));
            assert_eq!(found.unwrap().type_id, 7, "{mode:?}, after look {early}");
        }
    }
}

#[test]
fn a_known_end_is_not_spun_for_again() {
    let (peer, theirs) = peer();
    drop(theirs);
    // A child that another test is just starting may hold a copy of the other end until it runs its program.
    let deadline = Deadline::after(PATIENCE);
    while !peer.is_gone() {
        assert!(!deadline.has_passed(), "the peer hung up and does not seem so");
        thread::yield_now();
    }
    let awaited = Awaited { peer: &peer, words: &[], shares_core: false, deadline: Deadline::never() };
    let began = monotonic_nanos();
    for _ in 0..2000 {
        let mut waiter = Waiter::new(PollingMode::Spin, 1, None);
        let outcome = waiter.wait(&awaited, || Ok::<Option<()>, ()>(None));
        assert!(matches!(outcome, Err(WaitError::Gone)), "{outcome:?}");
    }
    // Each of them would have taken `LIFE_CHECK`, 10 s in all.
    let took = Duration::from_nanos(monotonic_nanos() - began);
    assert!(took < Duration::from_secs(5), "{took:?}");
}
