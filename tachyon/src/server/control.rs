//! What the threads of a server share: stopping, counting callers, handing them over, telling events.

use core::fmt;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::events::{Leaving, ServerEvent};
use super::service::Nothing;
use super::session::Arrival;
use crate::foreign;
use crate::stats::Publication;
use crate::sync::{AtomicUsize, Ordering};
use crate::wait::{Deadline, StopTime};

/// What [`RpcServer::on_event`](crate::RpcServer::on_event) sets.
pub(super) type EventHook = Box<dyn Fn(&ServerEvent<'_>) + Send + Sync>;

/// A worker's letter box: callers on their way to it, and the counter that wakes it.
#[derive(Debug)]
pub(super) struct Inbox {
    /// An eventfd, shared with no other process.
    bell: OwnedFd,
    arrivals: Mutex<VecDeque<Arrival>>,
    /// Callers the worker has or is about to get.
    load: AtomicUsize,
}

impl Inbox {
    fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { bell, arrivals: Mutex::default(), load: AtomicUsize::new(0) })
    }

    /// Wakes the worker, now or when it next sleeps.
    pub(super) fn ring(&self) {
        // A full counter rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// Sets the counter back, before the worker looks at what it rang for.
    pub(super) fn silence(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    /// The worker has one session less.
    pub(super) fn left(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> Option<Arrival> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// The shared part of a server.
pub(super) struct Control {
    pub(super) stop_time: Arc<StopTime>,
    inboxes: Mutex<Vec<Arc<Inbox>>>,
    hook: Option<EventHook>,
    publication: Mutex<Option<Arc<Publication>>>,
}

impl Control {
    pub(super) fn new(stop_timeout: Duration) -> Self {
        Self {
            stop_time: Arc::new(StopTime::new(stop_timeout)),
            inboxes: Mutex::default(),
            hook: None,
            publication: Mutex::default(),
        }
    }

    fn inboxes(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Inbox>>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_hook(&mut self, hook: EventHook) {
        self.hook = Some(hook);
    }

    /// What is published about this server, while it is.
    pub(super) fn publication(&self) -> Option<Arc<Publication>> {
        self.publication.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_publication(&self, publication: Option<Arc<Publication>>) {
        *self.publication.lock().unwrap_or_else(PoisonError::into_inner) = publication;
    }

    pub(super) fn tell(&self, event: &ServerEvent<'_>) {
        if let Some(publication) = self.publication() {
            match event {
                ServerEvent::Joined(_) => publication.board.note_joined(),
                ServerEvent::Left(..) => publication.board.note_left(),
                ServerEvent::TurnedAway(_) => publication.board.note_turned_away(),
                ServerEvent::Trouble(_) => {}
            }
        }
        #[cfg(feature = "tracing")]
        drop(foreign::run(|| crate::trace::event(event)));
        if let Some(hook) = &self.hook {
            // A hook that panics has been reported by the panic hook.
            drop(foreign::run(|| hook(event)));
        }
    }

    /// Asks all workers to stop.
    pub(super) fn stop(&self) {
        self.stop_time.stop();
        for inbox in self.inboxes().iter() {
            inbox.ring();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop_time.is_stopping()
    }

    /// Until when what has begun may go on, and callers take their last replies: from the stop on.
    pub(super) fn stop_deadline(&self) -> Deadline {
        self.stop_time.deadline().unwrap_or_else(|| Deadline::after(self.stop_time.timeout()))
    }

    /// A letter box for one more worker.
    pub(super) fn enlist(&self) -> io::Result<Arc<Inbox>> {
        let inbox = Arc::new(Inbox::new()?);
        self.inboxes().push(Arc::clone(&inbox));
        Ok(inbox)
    }

    /// All workers are gone. Callers that none of them took are told that the server stops.
    pub(super) fn dismiss(&self) {
        let inboxes = core::mem::take(&mut *self.inboxes());
        for inbox in inboxes {
            while let Some(arrival) = inbox.take() {
                let info = arrival.info;
                let mut core = arrival.into_core();
                // A caller that is gone is not told.
                drop(core.refuse_all(&mut Nothing));
                drop(core);
                self.tell(&ServerEvent::Left(&info, Leaving::Closed));
            }
        }
        self.set_publication(None);
    }

    /// Gives a caller to the worker that has the fewest. A server that stops gives it to the one that let it in, since
    /// others may have finished.
    pub(super) fn hand_over(&self, arrival: Arrival, own: &Arc<Inbox>) {
        let inboxes = self.inboxes();
        let fewest = inboxes.iter().min_by_key(|inbox| inbox.load.load(Ordering::Relaxed));
        let inbox = if self.is_stopping() { own } else { fewest.unwrap_or(own) };
        inbox.load.fetch_add(1, Ordering::Relaxed);
        inbox.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push_back(arrival);
        inbox.ring();
    }

    /// Callers connected now.
    pub(super) fn callers(&self) -> usize {
        self.inboxes().iter().map(|inbox| inbox.load.load(Ordering::Relaxed)).sum()
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("callers", &self.callers()).finish_non_exhaustive()
    }
}
