use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use super::*;

/// Counts wake-ups.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A queued request and its wake-ups.
struct Queued {
    request: LeaseRequest<u32>,
    woken: Arc<Woken>,
}

impl Queued {
    fn new(queue: &FairQueue<u32>) -> Self {
        let mut queued = Self { request: queue.request(), woken: Arc::default() };
        assert!(queued.poll().is_none(), "all leases are taken");
        queued
    }

    fn poll(&mut self) -> Option<Lease<u32>> {
        match self.request.poll(&Waker::from(Arc::clone(&self.woken))) {
            Poll::Ready(lease) => Some(lease.unwrap()),
            Poll::Pending => None,
        }
    }

    fn wake_ups(&self) -> usize {
        self.woken.0.load(Ordering::Relaxed)
    }
}

fn take(queue: &FairQueue<u32>) -> Result<Lease<u32>, NoLease> {
    queue.request().wait(Some(Duration::ZERO), None)
}

#[test]
fn leases_are_for_new_items_and_idle_items_come_first() {
    let queue = FairQueue::new(2);
    let (mut one, mut two) = (take(&queue).unwrap(), take(&queue).unwrap());
    assert_eq!((one.next_idle(), two.next_idle()), (None, None));
    assert_eq!(take(&queue).map(drop), Err(NoLease::TimedOut));
    assert_eq!(one.give_back(1), None);
    assert_eq!(two.give_back(2), None);
    assert_eq!(queue.len(), 2);
    let mut latest = take(&queue).unwrap();
    assert_eq!(latest.next_idle(), Some(2));
    // An unusable item is dropped, and the next one requested.
    assert_eq!(latest.next_idle(), Some(1));
    assert_eq!(latest.next_idle(), None);
    assert_eq!(queue.len(), 1, "only the lease");
    drop(latest);
    assert!(queue.is_empty());
}

#[test]
fn requests_are_served_in_the_order_of_their_first_polls() {
    let queue = FairQueue::new(1);
    let lease = take(&queue).unwrap();
    let mut queued: Vec<_> = (0..5).map(|_| Queued::new(&queue)).collect();
    // Another poll keeps the position.
    assert!(queued[0].poll().is_none());
    assert_eq!(lease.give_back(7), None);
    for position in 0..queued.len() {
        // The lease belongs to the first request, also before its next poll.
        assert_eq!(take(&queue).map(drop), Err(NoLease::TimedOut));
        assert!(queued.iter().skip(position + 1).all(|later| later.wake_ups() == 0));
        assert_eq!(queued[position].wake_ups(), 1);
        let mut lease = queued[position].poll().unwrap();
        assert_eq!(lease.next_idle(), Some(7));
        assert_eq!(lease.give_back(7), None);
    }
    assert_eq!(take(&queue).unwrap().next_idle(), Some(7));
}

#[test]
fn a_request_that_gives_up_passes_its_lease_on() {
    let queue = FairQueue::new(1);
    let lease = take(&queue).unwrap();
    let [first, second, mut third] = [(); 3].map(|()| Queued::new(&queue));
    drop(second);
    assert_eq!(lease.give_back(7), None);
    assert_eq!((first.wake_ups(), third.wake_ups()), (1, 0));
    drop(first);
    assert_eq!(third.wake_ups(), 1, "neither the lease nor the wake-up is lost");
    let mut lease = third.poll().unwrap();
    assert_eq!(lease.next_idle(), Some(7));
}

#[test]
fn a_dropped_lease_is_passed_on() {
    let queue = FairQueue::new(1);
    let lease = take(&queue).unwrap();
    let mut next = Queued::new(&queue);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _lease = lease;
        panic!("could not connect");
    }));
    assert!(panicked.is_err());
    let mut lease = next.poll().unwrap();
    assert_eq!(lease.next_idle(), None, "a lease for a new item");
    let mut last = Queued::new(&queue);
    assert_eq!(lease.give_back(1), None);
    let unused = last.poll().unwrap();
    drop(unused);
    assert_eq!(take(&queue).unwrap().next_idle(), Some(1), "an item that was not taken stays");
}

#[test]
fn a_closed_queue_ends_requests_and_keeps_no_items() {
    let queue = FairQueue::new(2);
    let [one, two] = [(); 2].map(|()| take(&queue).unwrap());
    let waiting = Queued::new(&queue);
    assert_eq!(two.give_back(2), None);
    let mut handed = waiting;
    let mut waiting = Queued::new(&queue);
    assert!(queue.close().is_empty());
    assert!(queue.is_closed());
    assert_eq!(waiting.wake_ups(), 1);
    assert!(matches!(waiting.request.poll(Waker::noop()), Poll::Ready(Err(QueueClosed))));
    // A lease that was handed over before the close is valid.
    assert_eq!(handed.poll().unwrap().give_back(2), Some(2));
    assert_eq!(one.give_back(1), Some(1));
    assert_eq!(take(&queue).map(drop), Err(NoLease::Closed));
    assert!(queue.is_empty());
    assert!(queue.close().is_empty());
}

#[test]
fn a_wait_calls_its_hook() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let queue = FairQueue::<u32>::new(1);
    let held = take(&queue).unwrap();
    let began = Instant::now();
    let interrupt = || ASKED.fetch_add(1, Ordering::Relaxed) == 3;
    assert_eq!(queue.request().wait(None, Some(interrupt)).map(drop), Err(NoLease::Interrupted));
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(held);
    drop(take(&queue).unwrap());
}

/// Threads that wait for random times; many give up as they get a lease.
#[test]
fn no_lease_is_lost_to_threads_that_give_up() {
    const THREADS: usize = 6;
    const MAX: usize = 2;
    let queue = FairQueue::new(MAX);
    let (in_use, served, given_up) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (queue, in_use, served, given_up) = (&queue, &in_use, &served, &given_up);
            scope.spawn(move || {
                for round in 0..300 {
                    let patience = Duration::from_micros((thread * 131 + round * 17) as u64 % 120);
                    match queue.request().wait(Some(patience), None) {
                        Ok(mut lease) => {
                            let item = lease.next_idle().unwrap_or(0);
                            assert!(in_use.fetch_add(1, Ordering::Relaxed) < MAX);
                            thread::sleep(Duration::from_micros(20));
                            in_use.fetch_sub(1, Ordering::Relaxed);
                            served.fetch_add(1, Ordering::Relaxed);
                            // Some items are unusable.
                            if round % 5 != 0 {
                                assert_eq!(lease.give_back(item + 1), None);
                            }
                        }
                        Err(why) => {
                            assert_eq!(why, NoLease::TimedOut);
                            given_up.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    assert!(served.into_inner() > 0 && given_up.into_inner() > 0);
    // All leases are free.
    let _all: Vec<_> = (0..MAX).map(|_| take(&queue).unwrap()).collect();
    assert_eq!(take(&queue).map(drop), Err(NoLease::TimedOut));
}
