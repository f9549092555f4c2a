//! The state that the threads of a server share: stopping, inboxes of the workers, and events.

use core::fmt;
use std::collections::VecDeque;
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::events::{DisconnectReason, ServerEvent};
use super::service::NoService;
use super::session::Arrival;
use crate::connection::ProcessMutex;
use crate::dispatch::StreamThreads;
use crate::foreign;
use crate::handshake::Rejection;
use crate::stats::Publication;
use crate::sync::{AtomicUsize, Ordering};
use crate::wait::{Deadline, Notifier, StopTime};

/// The hook that [`RpcServer::on_event`](crate::RpcServer::on_event) sets.
pub(super) type EventHook = Box<dyn Fn(&ServerEvent<'_>) + Send + Sync>;

/// An event of the acceptor, for a worker.
#[derive(Debug)]
pub(super) enum AcceptorEvent {
    /// A caller to serve.
    Arrival(Box<Arrival>),
    /// A client was rejected.
    Rejected(Rejection),
    /// The system refused an operation.
    Error(Box<dyn Error + Send + Sync>),
}

/// Most events in an inbox. Further rejections and errors are dropped; arrivals are not.
const MAX_EVENTS: usize = 256;

/// A worker's queue of events, and the notifier that wakes the worker.
#[derive(Debug)]
pub(super) struct Inbox {
    notifier: Notifier,
    events: ProcessMutex<VecDeque<AcceptorEvent>>,
    /// Callers of the worker, those in the queue included.
    callers: AtomicUsize,
}

impl Inbox {
    fn new() -> io::Result<Self> {
        Ok(Self { notifier: Notifier::new()?, events: ProcessMutex::default(), callers: AtomicUsize::new(0) })
    }

    pub(super) fn notify(&self) {
        self.notifier.notify();
    }

    /// Resets the notifier. The worker does so before it reads its events.
    pub(super) fn reset(&self) {
        self.notifier.reset();
    }

    /// The worker has one caller less.
    pub(super) fn remove_caller(&self) {
        self.callers.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> Option<AcceptorEvent> {
        self.events.lock()?.pop_front()
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notifier.as_fd()
    }
}

/// The shared state of a server.
pub(crate) struct Control {
    pub(super) stop_time: Arc<StopTime>,
    pub(crate) threads: Arc<StreamThreads>,
    inboxes: ProcessMutex<Vec<Arc<Inbox>>>,
    /// Wakes the acceptor's thread, while there is one.
    acceptor_notifier: ProcessMutex<Option<Arc<Notifier>>>,
    hook: Option<EventHook>,
    publication: ProcessMutex<Option<Arc<Publication>>>,
}

impl Control {
    pub(crate) fn new(stop_timeout: Duration, stream_threads: usize) -> Self {
        Self {
            stop_time: Arc::new(StopTime::new(stop_timeout)),
            threads: StreamThreads::new(stream_threads),
            inboxes: ProcessMutex::default(),
            acceptor_notifier: ProcessMutex::default(),
            hook: None,
            publication: ProcessMutex::default(),
        }
    }

    pub(super) fn set_hook(&mut self, hook: EventHook) {
        self.hook = Some(hook);
    }

    /// The statistics of the server, while it is served.
    pub(super) fn publication(&self) -> Option<Arc<Publication>> {
        self.publication.lock()?.clone()
    }

    pub(super) fn set_publication(&self, publication: Option<Arc<Publication>>) {
        if let Some(mut published) = self.publication.lock() {
            *published = publication;
        }
    }

    /// Counts an event, and reports it to `tracing` and to the hook.
    pub(super) fn report(&self, event: &ServerEvent<'_>) {
        if let Some(publication) = self.publication() {
            match event {
                ServerEvent::Joined(_) => publication.writer.count_joined(),
                ServerEvent::Left(..) => publication.writer.count_left(),
                ServerEvent::Rejected(_) => publication.writer.count_rejected(),
                ServerEvent::Error(_) => {}
            }
        }
        #[cfg(feature = "tracing")]
        drop(foreign::run(|| crate::trace::event(event)));
        if let Some(hook) = &self.hook {
            // The panic hook has reported a panic of this hook.
            drop(foreign::run(|| hook(event)));
        }
    }

    /// Asks the acceptor and all workers to stop.
    pub(super) fn stop(&self) {
        self.stop_time.stop();
        if let Some(notifier) = self.acceptor_notifier.lock().as_deref().and_then(Option::as_ref) {
            notifier.notify();
        }
        for inbox in self.inboxes.lock().iter().flat_map(|inboxes| inboxes.iter()) {
            inbox.notify();
        }
    }

    pub(super) fn set_acceptor_notifier(&self, notifier: Option<Arc<Notifier>>) {
        if let Some(mut present) = self.acceptor_notifier.lock() {
            *present = notifier;
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop_time.is_stopping()
    }

    /// The deadline of a stop for running handlers, and for callers to take their last replies.
    pub(super) fn stop_deadline(&self) -> Deadline {
        self.stop_time.deadline().unwrap_or_else(|| Deadline::after(self.stop_time.timeout()))
    }

    /// Makes the inbox of one more worker.
    pub(super) fn add_worker(&self) -> io::Result<Arc<Inbox>> {
        let inbox = Arc::new(Inbox::new()?);
        if let Some(mut inboxes) = self.inboxes.lock() {
            inboxes.push(Arc::clone(&inbox));
        }
        Ok(inbox)
    }

    /// Removes all workers after their end. Callers still in an inbox get an error reply: the server stops.
    pub(super) fn remove_workers(&self) {
        let inboxes = self.inboxes.lock().map(|mut inboxes| core::mem::take(&mut *inboxes));
        for inbox in inboxes.into_iter().flatten() {
            while let Some(event) = inbox.take() {
                if let Some(arrival) = self.apply(event) {
                    let info = arrival.info;
                    let mut core = arrival.into_core();
                    // Fails for a caller that has gone.
                    drop(core.refuse_all(&mut NoService));
                    drop(core);
                    self.report(&ServerEvent::Left(&info, DisconnectReason::Closed));
                }
            }
        }
        self.set_publication(None);
    }

    /// Reports an event of the acceptor, and returns an arrival to the worker.
    pub(super) fn apply(&self, event: AcceptorEvent) -> Option<Box<Arrival>> {
        match event {
            AcceptorEvent::Arrival(arrival) => {
                self.report(&ServerEvent::Joined(&arrival.info));
                return Some(arrival);
            }
            AcceptorEvent::Rejected(rejection) => self.report(&ServerEvent::Rejected(&rejection.to_string())),
            AcceptorEvent::Error(error) => self.report(&ServerEvent::Error(&*error)),
        }
        None
    }

    /// Sends an event to the worker with the fewest callers. A server that stops sends it to the first worker, which
    /// closes the acceptor.
    pub(super) fn send_event(&self, event: AcceptorEvent) {
        let Some(inboxes) = self.inboxes.lock() else { return };
        let fewest = inboxes.iter().min_by_key(|inbox| inbox.callers.load(Ordering::Relaxed));
        let Some(inbox) = (if self.is_stopping() { inboxes.first() } else { fewest }) else { return };
        let Some(mut events) = inbox.events.lock() else { return };
        if matches!(event, AcceptorEvent::Arrival(_)) {
            inbox.callers.fetch_add(1, Ordering::Relaxed);
        } else if events.len() >= MAX_EVENTS {
            return;
        }
        events.push_back(event);
        drop(events);
        inbox.notify();
    }

    /// Callers connected now.
    pub(super) fn callers(&self) -> usize {
        let inboxes = self.inboxes.lock();
        inboxes.iter().flat_map(|inboxes| inboxes.iter()).map(|inbox| inbox.callers.load(Ordering::Relaxed)).sum()
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("callers", &self.callers()).finish_non_exhaustive()
    }
}
