//! What the threads of a server share: stopping, counting callers, handing them over, telling events.

use core::fmt;
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::events::{Leaving, ServerEvent};
use super::service::Nothing;
use super::session::Arrival;
use crate::foreign;
use crate::handshake::Rejection;
use crate::stats::Publication;
use crate::sync::{AtomicUsize, Ordering};
use crate::wait::{Deadline, StopTime};

/// What [`RpcServer::on_event`](crate::RpcServer::on_event) sets.
pub(super) type EventHook = Box<dyn Fn(&ServerEvent<'_>) + Send + Sync>;

/// Wakes a thread that sleeps in an epoll, now or when it next sleeps: an eventfd, shared with no other process.
#[derive(Debug)]
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(super) fn ring(&self) {
        // A full counter rings already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Sets the counter back, before the thread looks at what it rang for.
    pub(super) fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A report of the acceptor to a worker.
#[derive(Debug)]
pub(super) enum Letter {
    /// A caller to serve.
    Arrival(Box<Arrival>),
    /// A client was turned away.
    TurnedAway(Rejection),
    /// The system refused something.
    Trouble(Box<dyn Error + Send + Sync>),
}

/// Most reports that wait for a worker; further ones are dropped until it has seen to them. Callers always get through.
const MOST_REPORTS: usize = 256;

/// A worker's letter box, and the bell that wakes it.
#[derive(Debug)]
pub(super) struct Inbox {
    bell: Bell,
    letters: Mutex<VecDeque<Letter>>,
    /// Callers the worker has or is about to get.
    load: AtomicUsize,
}

impl Inbox {
    fn new() -> io::Result<Self> {
        Ok(Self { bell: Bell::new()?, letters: Mutex::default(), load: AtomicUsize::new(0) })
    }

    fn letters(&self) -> MutexGuard<'_, VecDeque<Letter>> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    /// Sets the bell back, before the worker looks at what it rang for.
    pub(super) fn silence(&self) {
        self.bell.silence();
    }

    /// The worker has one session less.
    pub(super) fn left(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> Option<Letter> {
        self.letters().pop_front()
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
    /// Wakes the acceptor's thread, while there is one.
    door_bell: Mutex<Option<Arc<Bell>>>,
    hook: Option<EventHook>,
    publication: Mutex<Option<Arc<Publication>>>,
}

impl Control {
    pub(super) fn new(stop_timeout: Duration) -> Self {
        Self {
            stop_time: Arc::new(StopTime::new(stop_timeout)),
            inboxes: Mutex::default(),
            door_bell: Mutex::default(),
            hook: None,
            publication: Mutex::default(),
        }
    }

    fn inboxes(&self) -> MutexGuard<'_, Vec<Arc<Inbox>>> {
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

    /// Asks the acceptor and all workers to stop.
    pub(super) fn stop(&self) {
        self.stop_time.stop();
        if let Some(bell) = &*self.door_bell.lock().unwrap_or_else(PoisonError::into_inner) {
            bell.ring();
        }
        for inbox in self.inboxes().iter() {
            inbox.bell.ring();
        }
    }

    pub(super) fn set_door_bell(&self, bell: Option<Arc<Bell>>) {
        *self.door_bell.lock().unwrap_or_else(PoisonError::into_inner) = bell;
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
            while let Some(letter) = inbox.take() {
                if let Some(arrival) = self.open(letter) {
                    let info = arrival.info;
                    let mut core = arrival.into_core();
                    // A caller that is gone is not told.
                    drop(core.refuse_all(&mut Nothing));
                    drop(core);
                    self.tell(&ServerEvent::Left(&info, Leaving::Closed));
                }
            }
        }
        self.set_publication(None);
    }

    /// Tells of what the acceptor has done; a caller that it let in is the worker's from now on.
    pub(super) fn open(&self, letter: Letter) -> Option<Box<Arrival>> {
        match letter {
            Letter::Arrival(arrival) => {
                self.tell(&ServerEvent::Joined(&arrival.info));
                return Some(arrival);
            }
            Letter::TurnedAway(why) => self.tell(&ServerEvent::TurnedAway(&why.to_string())),
            Letter::Trouble(error) => self.tell(&ServerEvent::Trouble(&*error)),
        }
        None
    }

    /// Gives a letter to the worker that has the fewest callers. A server that stops gives it to the first, which sees
    /// the acceptor to its end.
    pub(super) fn post(&self, letter: Letter) {
        let inboxes = self.inboxes();
        let fewest = inboxes.iter().min_by_key(|inbox| inbox.load.load(Ordering::Relaxed));
        let Some(inbox) = (if self.is_stopping() { inboxes.first() } else { fewest }) else { return };
        let mut letters = inbox.letters();
        if matches!(letter, Letter::Arrival(_)) {
            inbox.load.fetch_add(1, Ordering::Relaxed);
        } else if letters.len() >= MOST_REPORTS {
            return;
        }
        letters.push_back(letter);
        drop(letters);
        inbox.bell.ring();
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
