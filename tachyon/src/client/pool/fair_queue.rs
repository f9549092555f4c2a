//! The core of a pool: a limited number of leases, idle items, and a fair queue of requests for both. Only
//! [`LeaseRequest::wait`] waits.
//!
//! The end of a lease passes the lease and its item to the first request in the queue. A later request cannot overtake,
//! and a request that gives up passes on a lease that it was handed. So while a request is queued, no item is idle and
//! all leases are taken.
//!
//! A forked child gets an empty queue with locks of its own: another thread of the parent may have held the parent's
//! lock at the fork.

use core::task::{Poll, Waker};
use core::{fmt, mem};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::Duration;

use crate::connection::fork;
use crate::sync::{AtomicBool, Ordering};
use crate::wait::{Deadline, INTERRUPT_SLICE, Interrupt};

/// A limited number of items, made on demand and kept when they come back, for the requests of a fair queue. Generic
/// over the item, since each language pools its own kind of caller.
pub struct FairQueue<T> {
    first: Arc<ProcessQueue<T>>,
}

impl<T> FairQueue<T> {
    /// A queue for at most `max` leases at a time.
    pub fn new(max: usize) -> Self {
        Self { first: Arc::new(ProcessQueue::new(fork::watch(), max, false)) }
    }

    /// Requests a lease. The request enters the queue at its first poll.
    pub fn request(&self) -> LeaseRequest<T> {
        LeaseRequest { queue: Arc::clone(self.of_this_process()), number: None }
    }

    /// Ends all requests, and returns the idle items. Leases go on, and keep their items.
    pub fn close(&self) -> Vec<T> {
        let queue = self.of_this_process();
        let mut state = queue.state();
        queue.closed.store(true, Ordering::Relaxed);
        let waiting = mem::take(&mut state.waiting);
        let idle = mem::take(&mut state.idle);
        drop(state);
        waiting.into_values().for_each(Waker::wake);
        idle
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.of_this_process().closed.load(Ordering::Relaxed)
    }

    /// Number of items, leased or idle.
    pub fn len(&self) -> usize {
        let state = self.of_this_process().state();
        state.leased + state.idle.len()
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn of_this_process(&self) -> &Arc<ProcessQueue<T>> {
        ProcessQueue::of_this_process(&self.first)
    }
}

impl<T> fmt::Debug for FairQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FairQueue").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The queue of one process.
struct ProcessQueue<T> {
    generation: u32,
    max: usize,
    /// Written under the lock of `state`.
    closed: AtomicBool,
    state: Mutex<State<T>>,
    /// The queue of a forked child, or of a child's child.
    child: OnceLock<Arc<Self>>,
}

struct State<T> {
    /// A stack: the item that came back last has the warmest memory.
    idle: Vec<T>,
    leased: usize,
    /// Requests by number: in the order of their first polls.
    waiting: BTreeMap<u64, Waker>,
    /// Leases that were passed to requests and are not taken yet, with their items.
    handed: BTreeMap<u64, Option<T>>,
    next: u64,
}

impl<T> ProcessQueue<T> {
    fn new(generation: u32, max: usize, closed: bool) -> Self {
        Self { generation, max, closed: AtomicBool::new(closed), state: Mutex::default(), child: OnceLock::new() }
    }

    /// `inherited`, or its replacement in this process.
    fn of_this_process(inherited: &Arc<Self>) -> &Arc<Self> {
        let mut queue = inherited;
        while queue.is_inherited() {
            if let Some(child) = queue.child.get() {
                queue = child;
                continue;
            }
            // Made outside the cell: a fork while another thread initializes the cell would block the grandchild.
            let child = Self::new(fork::watch(), queue.max, queue.closed.load(Ordering::Relaxed));
            if queue.child.set(Arc::new(child)).is_ok() {
                // The child does not need the descriptors. Dropping a connection in a forked child does not close it.
                drop(queue.state.try_lock().map(|mut state| mem::take(&mut state.idle)));
            }
        }
        queue
    }

    /// Whether this process is a forked child, and the queue its parent's.
    fn is_inherited(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Ignores poisoning: the state is consistent whenever the lock is free.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a lease, and passes `item` on. Returns the item if the queue does not keep it.
    fn end_lease(&self, item: Option<T>) -> Option<T> {
        if self.is_inherited() {
            return item;
        }
        let mut state = self.state();
        let closed = self.closed.load(Ordering::Relaxed);
        let Some((number, waker)) = state.waiting.pop_first() else {
            state.leased -= 1;
            return match item {
                Some(item) if !closed => {
                    state.idle.push(item);
                    None
                }
                unwanted => unwanted,
            };
        };
        state.handed.insert(number, item);
        drop(state);
        waker.wake();
        None
    }
}

impl<T> Drop for ProcessQueue<T> {
    fn drop(&mut self) {
        if self.is_inherited() {
            // Another thread of the parent may have been changing the state at the fork. The wakers are the parent's.
            let inherited = mem::take(self.state.get_mut().unwrap_or_else(PoisonError::into_inner));
            mem::forget(inherited);
        }
    }
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self { idle: Vec::new(), leased: 0, waiting: BTreeMap::new(), handed: BTreeMap::new(), next: 0 }
    }
}

/// The queue is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueClosed;

/// Why a wait ended without a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoLease {
    /// The timeout passed.
    TimedOut,
    /// The interrupt hook asked for the end of the wait.
    Interrupted,
    /// The queue is closed.
    Closed,
}

/// A request for a lease. Dropping the request gives it up, and passes on a lease that it was handed.
#[must_use = "dropping a request gives it up"]
pub struct LeaseRequest<T> {
    queue: Arc<ProcessQueue<T>>,
    /// Its number in the queue, from the first poll to the end.
    number: Option<u64>,
}

impl<T> LeaseRequest<T> {
    /// Takes a lease if there is one for this request. Otherwise the queue wakes `waker` when there is one, or when it
    /// closes. Later wakers replace earlier ones, and the request keeps its position.
    ///
    /// # Errors
    /// [`QueueClosed`].
    pub fn poll(&mut self, waker: &Waker) -> Poll<Result<Lease<T>, QueueClosed>> {
        if self.queue.is_inherited() {
            // The interrupt hook of this wait forked. The child queues anew.
            self.queue = Arc::clone(ProcessQueue::of_this_process(&self.queue));
            self.number = None;
        }
        let mut state = self.queue.state();
        let closed = self.queue.closed.load(Ordering::Relaxed);
        let found = match self.number {
            Some(number) => state.handed.remove(&number),
            None if closed => None,
            None if !state.idle.is_empty() || state.leased < self.queue.max => {
                state.leased += 1;
                Some(state.idle.pop())
            }
            None => None,
        };
        if found.is_some() || closed {
            drop(state);
            self.number = None;
            return Poll::Ready(match found {
                Some(item) => Ok(Lease { queue: Some(Arc::clone(&self.queue)), item }),
                None => Err(QueueClosed),
            });
        }
        let number = *self.number.get_or_insert(state.next);
        state.next = state.next.max(number + 1);
        let replaced = state.waiting.insert(number, waker.clone());
        drop(state);
        drop(replaced);
        Poll::Pending
    }

    /// Parks this thread until there is a lease. Calls `interrupt` at least every 50 ms.
    ///
    /// # Errors
    /// [`NoLease`].
    pub fn wait(mut self, timeout: Option<Duration>, interrupt: Option<Interrupt>) -> Result<Lease<T>, NoLease> {
        let deadline = Deadline::from(timeout);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        loop {
            if let Poll::Ready(lease) = self.poll(&waker) {
                return lease.map_err(|QueueClosed| NoLease::Closed);
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
        if self.queue.is_inherited() {
            return;
        }
        let mut state = self.queue.state();
        let waker = state.waiting.remove(&number);
        let handed = state.handed.remove(&number);
        drop(state);
        drop(waker);
        if let Some(item) = handed {
            drop(self.queue.end_lease(item));
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

/// The right to one item: an idle item, or a new one. Dropping the lease passes it to the next request.
#[must_use = "dropping a lease gives it back"]
pub struct Lease<T> {
    /// `None` after the end of the lease.
    queue: Option<Arc<ProcessQueue<T>>>,
    /// The idle item that came with the lease.
    item: Option<T>,
}

impl<T> Lease<T> {
    /// The next idle item; `None` means: make a new one. Drop an unusable item, and ask for the next one.
    pub fn next_idle(&mut self) -> Option<T> {
        let queue = self.queue.as_ref().filter(|queue| !queue.is_inherited())?;
        self.item.take().or_else(|| queue.state().idle.pop())
    }

    /// Whether this process is a forked child of the process that took the lease. Then the item is the parent's.
    pub fn is_inherited(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.is_inherited())
    }

    /// Ends the lease, and passes the item to the next request. Returns the item if the queue is closed, or belongs to
    /// the parent of this forked child.
    pub fn give_back(mut self, item: T) -> Option<T> {
        match self.queue.take() {
            Some(queue) => queue.end_lease(Some(item)),
            None => Some(item),
        }
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            drop(queue.end_lease(self.item.take()));
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
