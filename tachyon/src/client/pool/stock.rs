//! The places of a pool, its idle items, and a first-come-first-served queue for both. Nothing here waits but
//! [`LeaseRequest::wait`].
//!
//! A lease that ends goes straight to the first request in the queue, together with its item. A request that is polled
//! later can't overtake, and a request that gives up passes on what it was handed. So while a request is queued, no item
//! is idle and all places are taken.
//!
//! A forked child gets a stock of its own, empty, with locks of its own: another thread of the parent may have held the
//! parent's lock at the fork.

use core::fmt;
use core::mem;
use core::task::{Poll, Waker};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::Duration;

use crate::connection::fork;
use crate::sync::{AtomicBool, Ordering};
use crate::wait::{Deadline, INTERRUPT_SLICE, Interrupt};

/// Places for items that are made when they are needed and kept when they come back. Generic over the item, since each
/// language pools its own kind of caller.
pub struct Stock<T> {
    first: Arc<ProcessStock<T>>,
}

impl<T> Stock<T> {
    /// A stock of `max` places, all of them free.
    pub fn new(max: usize) -> Self {
        Self { first: Arc::new(ProcessStock::new(fork::watch(), max, false)) }
    }

    /// Asks for a place. The request enters the queue when it is first polled.
    pub fn request(&self) -> LeaseRequest<T> {
        LeaseRequest { stock: Arc::clone(self.of_this_process()), number: None }
    }

    /// Ends all requests, and gives the idle items. Leases go on, and their items don't come back.
    pub fn close(&self) -> Vec<T> {
        let stock = self.of_this_process();
        let mut places = stock.places();
        stock.closed.store(true, Ordering::Relaxed);
        let waiting = mem::take(&mut places.waiting);
        let idle = mem::take(&mut places.idle);
        drop(places);
        waiting.into_values().for_each(Waker::wake);
        idle
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.of_this_process().closed.load(Ordering::Relaxed)
    }

    /// Items there are, leased or idle.
    pub fn len(&self) -> usize {
        let places = self.of_this_process().places();
        places.leased + places.idle.len()
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn of_this_process(&self) -> &Arc<ProcessStock<T>> {
        ProcessStock::of_this_process(&self.first)
    }
}

impl<T> fmt::Debug for Stock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stock").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The stock of one process.
struct ProcessStock<T> {
    generation: u32,
    max: usize,
    /// Set under the lock of `places`.
    closed: AtomicBool,
    places: Mutex<Places<T>>,
    /// The stock of a forked child, or of a child's child.
    child: OnceLock<Arc<Self>>,
}

struct Places<T> {
    /// The last one to come back is the first to go: its memory is the warmest.
    idle: Vec<T>,
    leased: usize,
    /// Requests by their numbers, which is in the order of their first polls.
    waiting: BTreeMap<u64, Waker>,
    /// Leases that were passed to requests, and not taken yet, with the items that came with them.
    handed: BTreeMap<u64, Option<T>>,
    next: u64,
}

impl<T> ProcessStock<T> {
    fn new(generation: u32, max: usize, closed: bool) -> Self {
        Self { generation, max, closed: AtomicBool::new(closed), places: Mutex::default(), child: OnceLock::new() }
    }

    /// `inherited`, or the stock that takes its place in this process.
    fn of_this_process(inherited: &Arc<Self>) -> &Arc<Self> {
        let mut stock = inherited;
        while stock.is_inherited() {
            if let Some(child) = stock.child.get() {
                stock = child;
                continue;
            }
            // Made outside the cell: a thread that is inside when another one forks would hold up the grandchild.
            let child = Self::new(fork::watch(), stock.max, stock.closed.load(Ordering::Relaxed));
            if stock.child.set(Arc::new(child)).is_ok() {
                // The child has no use for the descriptors. Dropping a connection in a forked child doesn't close it.
                drop(stock.places.try_lock().map(|mut places| mem::take(&mut places.idle)));
            }
        }
        stock
    }

    /// Whether this stock is the parent's, and this process a forked child.
    fn is_inherited(&self) -> bool {
        self.generation != fork::generation()
    }

    /// The places are consistent whenever they are unlocked: a panic elsewhere doesn't matter.
    fn places(&self) -> MutexGuard<'_, Places<T>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a lease, and passes `item` on. Gives the item back if the stock has no use for it.
    fn leave(&self, item: Option<T>) -> Option<T> {
        if self.is_inherited() {
            return item;
        }
        let mut places = self.places();
        let closed = self.closed.load(Ordering::Relaxed);
        let Some((number, waker)) = places.waiting.pop_first() else {
            places.leased -= 1;
            return match item {
                Some(item) if !closed => {
                    places.idle.push(item);
                    None
                }
                unwanted => unwanted,
            };
        };
        places.handed.insert(number, item);
        drop(places);
        waker.wake();
        None
    }
}

impl<T> Drop for ProcessStock<T> {
    fn drop(&mut self) {
        if self.is_inherited() {
            // Another thread of the parent may have been in the middle of a change, and wakers are the parent's.
            let inherited = mem::take(self.places.get_mut().unwrap_or_else(PoisonError::into_inner));
            mem::forget(inherited);
        }
    }
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { idle: Vec::new(), leased: 0, waiting: BTreeMap::new(), handed: BTreeMap::new(), next: 0 }
    }
}

/// The stock was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StockClosed;

/// Why a wait ended without a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoLease {
    /// The time passed.
    TimedOut,
    /// The interrupt hook asked for the end of the wait.
    Interrupted,
    /// The stock was closed.
    Closed,
}

/// A request for a lease. Dropping it gives it up, and passes on what it was handed.
#[must_use = "dropping a request gives it up"]
pub struct LeaseRequest<T> {
    stock: Arc<ProcessStock<T>>,
    /// Its number in the queue, from the first poll to the end.
    number: Option<u64>,
}

impl<T> LeaseRequest<T> {
    /// Takes a lease if there is one for this request. Otherwise `waker` is woken when there is, or when the stock was
    /// closed. Later wakers replace earlier ones, and the request keeps its position.
    ///
    /// # Errors
    /// [`StockClosed`].
    pub fn poll(&mut self, waker: &Waker) -> Poll<Result<Lease<T>, StockClosed>> {
        if self.stock.is_inherited() {
            // A hook of this wait has forked. The child begins anew.
            self.stock = Arc::clone(ProcessStock::of_this_process(&self.stock));
            self.number = None;
        }
        let mut places = self.stock.places();
        let closed = self.stock.closed.load(Ordering::Relaxed);
        let found = match self.number {
            Some(number) => places.handed.remove(&number),
            None if closed => None,
            None if !places.idle.is_empty() || places.leased < self.stock.max => {
                places.leased += 1;
                Some(places.idle.pop())
            }
            None => None,
        };
        if found.is_some() || closed {
            drop(places);
            self.number = None;
            return Poll::Ready(match found {
                Some(item) => Ok(Lease { stock: Some(Arc::clone(&self.stock)), item }),
                None => Err(StockClosed),
            });
        }
        let number = *self.number.get_or_insert(places.next);
        places.next = places.next.max(number + 1);
        let replaced = places.waiting.insert(number, waker.clone());
        drop(places);
        drop(replaced);
        Poll::Pending
    }

    /// Parks this thread until there is a lease. `interrupt` is asked at least every 50 ms.
    ///
    /// # Errors
    /// [`NoLease`].
    pub fn wait(mut self, timeout: Option<Duration>, interrupt: Option<Interrupt>) -> Result<Lease<T>, NoLease> {
        let deadline = Deadline::from(timeout);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(lease) = self.poll(&waker) {
                return lease.map_err(|StockClosed| NoLease::Closed);
            }
            if deadline.has_passed() {
                return Err(NoLease::TimedOut);
            }
            if interrupt.is_some_and(|asked| asked()) {
                return Err(NoLease::Interrupted);
            }
            let left = deadline.remaining().unwrap_or(Duration::MAX);
            thread::park_timeout(if interrupt.is_some() { left.min(INTERRUPT_SLICE) } else { left });
        }
    }
}

impl<T> Drop for LeaseRequest<T> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        if self.stock.is_inherited() {
            return;
        }
        let mut places = self.stock.places();
        let waker = places.waiting.remove(&number);
        let handed = places.handed.remove(&number);
        drop(places);
        drop(waker);
        if let Some(item) = handed {
            drop(self.stock.leave(item));
        }
    }
}

impl<T> fmt::Debug for LeaseRequest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseRequest").field("number", &self.number).finish_non_exhaustive()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The right to one item: an idle one, or a new one. Dropping it gives the place to the next request.
#[must_use = "dropping a lease gives its place back"]
pub struct Lease<T> {
    /// `None` once the place was given back.
    stock: Option<Arc<ProcessStock<T>>>,
    /// The idle item that came with the place.
    item: Option<T>,
}

impl<T> Lease<T> {
    /// The next idle item; `None` means: make a new one. An item that is of no use is dropped, and the next one asked
    /// for.
    pub fn next_idle(&mut self) -> Option<T> {
        let stock = self.stock.as_ref().filter(|stock| !stock.is_inherited())?;
        self.item.take().or_else(|| stock.places().idle.pop())
    }

    /// Whether this process is a forked child of the one that took the lease. The item is the parent's then.
    pub fn is_inherited(&self) -> bool {
        self.stock.as_ref().is_some_and(|stock| stock.is_inherited())
    }

    /// Passes an item on to the next request. Gives it back if the stock has no use for it, since the stock was closed or
    /// is a forked child's.
    pub fn give_back(mut self, item: T) -> Option<T> {
        match self.stock.take() {
            Some(stock) => stock.leave(Some(item)),
            None => Some(item),
        }
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        if let Some(stock) = self.stock.take() {
            drop(stock.leave(self.item.take()));
        }
    }
}

impl<T> fmt::Debug for Lease<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("has_item", &self.item.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
