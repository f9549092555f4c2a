use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use super::*;

/// Counts its wake-ups.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request in the queue of a stock, and its wake-ups.
struct Queued {
    request: LeaseRequest<u32>,
    woken: Arc<Woken>,
}

impl Queued {
    fn new(stock: &Stock<u32>) -> Self {
        let mut queued = Self { request: stock.request(), woken: Arc::default() };
        assert!(queued.poll().is_none(), "all places are taken");
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

fn take(stock: &Stock<u32>) -> Result<Lease<u32>, NoLease> {
    stock.request().wait(Some(Duration::ZERO), None)
}

#[test]
fn places_are_for_new_items_and_idle_items_come_first() {
    let stock = Stock::new(2);
    let (mut one, mut two) = (take(&stock).unwrap(), take(&stock).unwrap());
    assert_eq!((one.next_idle(), two.next_idle()), (None, None));
    assert_eq!(take(&stock).map(drop), Err(NoLease::TimedOut));
    assert_eq!(one.give_back(1), None);
    assert_eq!(two.give_back(2), None);
    assert_eq!(stock.len(), 2);
    let mut latest = take(&stock).unwrap();
    assert_eq!(latest.next_idle(), Some(2));
    // An item that is of no use is dropped, and the next one asked for.
    assert_eq!(latest.next_idle(), Some(1));
    assert_eq!(latest.next_idle(), None);
    assert_eq!(stock.len(), 1, "only the lease");
    drop(latest);
    assert!(stock.is_empty());
}

#[test]
fn requests_are_served_in_the_order_of_their_coming() {
    let stock = Stock::new(1);
    let lease = take(&stock).unwrap();
    let mut queue: Vec<_> = (0..5).map(|_| Queued::new(&stock)).collect();
    // Asking again changes no position.
    assert!(queue[0].poll().is_none());
    assert_eq!(lease.give_back(7), None);
    for position in 0..queue.len() {
        // The place is the first request's, whether that has looked yet or not.
        assert_eq!(take(&stock).map(drop), Err(NoLease::TimedOut));
        assert!(queue.iter().skip(position + 1).all(|later| later.wake_ups() == 0));
        assert_eq!(queue[position].wake_ups(), 1);
        let mut lease = queue[position].poll().unwrap();
        assert_eq!(lease.next_idle(), Some(7));
        assert_eq!(lease.give_back(7), None);
    }
    assert_eq!(take(&stock).unwrap().next_idle(), Some(7));
}

#[test]
fn a_request_that_gives_up_passes_on_what_it_was_handed() {
    let stock = Stock::new(1);
    let lease = take(&stock).unwrap();
    let [first, second, mut third] = [(); 3].map(|()| Queued::new(&stock));
    drop(second);
    assert_eq!(lease.give_back(7), None);
    assert_eq!((first.wake_ups(), third.wake_ups()), (1, 0));
    drop(first);
    assert_eq!(third.wake_ups(), 1, "neither the place nor the wake-up is lost");
    let mut lease = third.poll().unwrap();
    assert_eq!(lease.next_idle(), Some(7));
}

#[test]
fn a_lease_that_is_dropped_passes_its_place_on() {
    let stock = Stock::new(1);
    let lease = take(&stock).unwrap();
    let mut next = Queued::new(&stock);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _lease = lease;
        panic!("could not connect");
    }));
    assert!(panicked.is_err());
    let mut lease = next.poll().unwrap();
    assert_eq!(lease.next_idle(), None, "a place for a new item");
    let mut last = Queued::new(&stock);
    assert_eq!(lease.give_back(1), None);
    let unused = last.poll().unwrap();
    drop(unused);
    assert_eq!(take(&stock).unwrap().next_idle(), Some(1), "an item that was not looked at stays");
}

#[test]
fn a_closed_stock_ends_requests_and_keeps_no_items() {
    let stock = Stock::new(2);
    let [one, two] = [(); 2].map(|()| take(&stock).unwrap());
    let waiting = Queued::new(&stock);
    assert_eq!(two.give_back(2), None);
    let mut handed = waiting;
    let mut waiting = Queued::new(&stock);
    assert!(stock.close().is_empty());
    assert!(stock.is_closed());
    assert_eq!(waiting.wake_ups(), 1);
    assert!(matches!(waiting.request.poll(Waker::noop()), Poll::Ready(Err(StockClosed))));
    // A lease that was handed before the end is one.
    assert_eq!(handed.poll().unwrap().give_back(2), Some(2));
    assert_eq!(one.give_back(1), Some(1));
    assert_eq!(take(&stock).map(drop), Err(NoLease::Closed));
    assert!(stock.is_empty());
    assert!(stock.close().is_empty());
}

#[test]
fn a_wait_asks_its_hook() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let stock = Stock::<u32>::new(1);
    let held = take(&stock).unwrap();
    let began = Instant::now();
    let interrupt = || ASKED.fetch_add(1, Ordering::Relaxed) == 3;
    assert_eq!(stock.request().wait(None, Some(interrupt)).map(drop), Err(NoLease::Interrupted));
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(held);
    drop(take(&stock).unwrap());
}

/// Threads that wait for random times; many give up just as they are served.
#[test]
fn no_place_is_lost_to_threads_that_give_up() {
    const THREADS: usize = 6;
    const MAX: usize = 2;
    let stock = Stock::new(MAX);
    let (in_use, served, given_up) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (stock, in_use, served, given_up) = (&stock, &in_use, &served, &given_up);
            scope.spawn(move || {
                for round in 0..300 {
                    let patience = Duration::from_micros((thread * 131 + round * 17) as u64 % 120);
                    match stock.request().wait(Some(patience), None) {
                        Ok(mut lease) => {
                            let item = lease.next_idle().unwrap_or(0);
                            assert!(in_use.fetch_add(1, Ordering::Relaxed) < MAX);
                            thread::sleep(Duration::from_micros(20));
                            in_use.fetch_sub(1, Ordering::Relaxed);
                            served.fetch_add(1, Ordering::Relaxed);
                            // Some are of no use any more.
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
    // All places are free: as many leases as there are places.
    let _all: Vec<_> = (0..MAX).map(|_| take(&stock).unwrap()).collect();
    assert_eq!(take(&stock).map(drop), Err(NoLease::TimedOut));
}
