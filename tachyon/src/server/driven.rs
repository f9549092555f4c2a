//! A server driven by an event loop of another language.
//!
//! A [`Worker`] of its own thread sleeps in its epoll. A driven worker never sleeps: the loop watches the worker's
//! epoll and calls [`Driven::turn`] when it is readable. The loop may also run handlers, and answer their requests
//! later.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::acceptor_driver::AcceptorDriver;
use super::control::Control;
use super::events::{DisconnectReason, ServerEvent};
use super::service::{Begun, Blocking, outcome_of};
use super::session::Arrival;
use super::worker::Worker;
use super::{RpcServer, Stopper};
use crate::connection::{Established, Halt, Rx, Tx, slice};
use crate::dispatch::{Deferred, Deferring, Detached, Dispatcher, HandlerError, Reply, STREAM_THREADS, StateRef};
use crate::engine::{CallerInfo, CancelReason, Handled, OpenRequest, Service, is_open};
use crate::options::Options;
use crate::rpc::ServeError;
use crate::stats::{Publication, WorkerCounters};
use crate::type_id::{msg_type, route_id};
use crate::wait::PollingMode;

/// Most passes of one turn, so that busy callers leave the loop time for its other work.
const MAX_PASSES: usize = 16;

/// The loop's task before the next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// None: there is more to do.
    Again,
    /// To sleep until the descriptor is readable, or this time has passed.
    Sleep(Option<Duration>),
    /// To finish the running handlers: the server stops.
    Stop,
    /// None: the only caller of a connection has disconnected.
    Ended(DisconnectReason),
}

/// A server, or a single connection, that an event loop drives.
#[derive(Debug)]
pub struct Driven {
    pub(crate) worker: Worker<Arc<Control>, Box<AcceptorDriver>, Begun<Deferred>>,
    pub(crate) publication: Option<Arc<Publication>>,
    /// Why the caller of a single connection disconnected.
    pub(crate) ended: Option<Arc<Mutex<Option<DisconnectReason>>>>,
}

impl Driven {
    /// Drives a server. `None` when the server is already stopped.
    ///
    /// # Errors
    /// The system cannot make the epoll instance, or the acceptor's thread.
    pub fn server<S: ?Sized>(mut server: RpcServer, dispatcher: &Dispatcher<S>) -> io::Result<Option<Self>> {
        let Some(acceptor) = server.acceptor.take() else { return Ok(None) };
        let publication = server.publish(dispatcher, acceptor.path(), 1);
        let options = never_polling(&server.options.connection);
        let worker = Worker::new(Arc::clone(&server.control), Some(Box::new(acceptor)), options)?;
        let mut driven = Self { worker, publication, ended: None };
        driven.worker.start_acceptor(&server.control)?;
        Ok(Some(driven))
    }

    /// Drives the answering end of a single connection, which the caller of this function has taken.
    ///
    /// # Errors
    /// The system cannot make the epoll instance, or watch the connection.
    pub(crate) fn connection(established: &Established) -> io::Result<Self> {
        let ended = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&ended);
        let mut control = Control::new(Duration::from_secs(1), STREAM_THREADS);
        control.set_hook(Box::new(move |event| {
            if let ServerEvent::Left(_, reason) = event {
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(*reason);
            }
        }));
        let options = never_polling(&Options::new());
        let mut worker = Worker::new(Arc::new(control), None, options.clone())?;
        worker.add(Arrival::new(1, established, None));
        Ok(Self { worker, publication: None, ended: Some(ended) })
    }

    /// Takes a turn: adds and removes callers, and serves requests. Requests whose message type `offload` accepts go to
    /// it, at most `room` of them; further ones wait for a later turn.
    ///
    /// # Errors
    /// [`ServeError::Exclusive`] when an endpoint changes the state, [`ServeError::Forked`] in a forked child, and
    /// errors of the system. [`Dispatcher::on_failure`] reports requests that end in an error reply.
    pub fn turn<S: ?Sized>(
        &mut self,
        dispatcher: &Dispatcher<S>,
        room: usize,
        offload: &mut impl Offload,
    ) -> Result<Next, ServeError> {
        dispatcher.check_shared()?;
        let publication = self.publication.clone();
        let control = Arc::clone(&self.worker.control);
        let mut service = Offloading { blocking: blocking(dispatcher, publication.as_ref(), &control), room, offload };
        if room > 0 {
            self.worker.poll_holding();
        }
        for _ in 0..MAX_PASSES {
            if self.worker.control.is_stopping() && !self.worker.poller.is_inherited() {
                self.worker.acceptor.as_mut().map_or(Ok(()), |acceptor| acceptor.check())?;
                return Ok(Next::Stop);
            }
            self.worker.look(false)?;
            let pass = self.worker.pass(&mut service)?;
            if let Some(reason) = self.ended() {
                return Ok(Next::Ended(reason));
            }
            if !pass.served && !pass.polling {
                return Ok(Next::Sleep(self.worker.sleep_limit(None)));
            }
        }
        Ok(Next::Again)
    }

    fn ended(&self) -> Option<DisconnectReason> {
        *self.ended.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers an offloaded request, by the number of its caller and its correlation id. A later turn sends a reply
    /// without room. Does nothing for a cancelled request, and for a caller that has gone. Afterwards a turn is due.
    ///
    /// # Errors
    /// [`ServeError::Handler`] when the outcome is an error, or cannot be sent; the caller got an error reply.
    /// [`ServeError::Forked`] in a forked child, whose parent answers the request.
    pub fn answer<S: ?Sized>(
        &mut self,
        dispatcher: &Dispatcher<S>,
        (caller, call): (u64, u64),
        outcome: Result<Vec<u8>, HandlerError>,
    ) -> Result<(), ServeError> {
        if self.worker.poller.is_inherited() {
            return Err(ServeError::Forked);
        }
        let Self { worker, publication, .. } = self;
        let control = Arc::clone(&worker.control);
        let Blocking { responder, counters, .. } = blocking(dispatcher, publication.as_ref(), &control);
        let write = |reply: Reply<'_>| outcome.and_then(|payload| reply.bytes(&payload));
        let answered = worker.finish_call(caller, call, |begun, tx| match begun {
            Begun::Call(deferred) => responder.answer_deferred(counters, tx, &deferred, write),
            Begun::Stream(_) => Ok(()),
        });
        answered.map_err(|error| *error)
    }

    /// A stopper: after a stop, every turn ends in [`Next::Stop`].
    pub fn stopper(&self) -> Stopper {
        Stopper { control: Arc::clone(&self.worker.control) }
    }

    /// The longest wait, after a stop, for callers that do not take their last replies.
    pub fn stop_timeout(&self) -> Duration {
        self.worker.control.stop_time.timeout()
    }

    /// Handlers in the loop's thread that returned after the time of a stop was over.
    pub fn overran(&self) -> usize {
        self.worker.overran
    }

    /// Waits up to `limit` for handlers of streams that run on threads, and returns the number of those that have not
    /// returned.
    pub fn wait_for_threads(&self, limit: Duration) -> usize {
        self.worker.control.threads.wait_idle(limit)
    }

    /// Answers requests that have not begun with `Stopping`. False when a caller has no room for replies, or goes on
    /// sending.
    pub fn refuse_all<S: ?Sized>(&mut self, dispatcher: &Dispatcher<S>, offload: &mut impl Offload) -> bool {
        let Self { worker, publication, .. } = self;
        let control = Arc::clone(&worker.control);
        let blocking = blocking(dispatcher, publication.as_ref(), &control);
        worker.refuse_all(&mut Offloading { blocking, room: 0, offload })
    }

    /// Ends all offloaded requests without an answer, for a server that stops. Their callers get error replies.
    pub fn abandon<S: ?Sized>(&mut self, dispatcher: &Dispatcher<S>, offload: &mut impl Offload) {
        let Self { worker, publication, .. } = self;
        let control = Arc::clone(&worker.control);
        let blocking = blocking(dispatcher, publication.as_ref(), &control);
        worker.abandon(&mut Offloading { blocking, room: 0, offload });
    }
}

/// Takes the requests whose handlers the loop runs.
pub trait Offload {
    /// Whether the loop runs the handlers of this message type.
    fn accepts(&self, msg_type: u16) -> bool;

    /// Takes a request with its bytes. [`Driven::answer`] answers it, by the caller's number and the correlation id.
    fn start(&mut self, request: &Deferred, payload: Vec<u8>);

    /// Cancels a request, which gets no answer any more.
    fn cancel(&mut self, request: &Deferred);

    /// Takes the handler of a stream whose start function was called just now. The loop polls it until it is done.
    fn spawn(&mut self, handler: Detached);
}

/// Offloads some requests, and answers the others.
struct Offloading<'a, S: ?Sized, A> {
    blocking: Blocking<'a, S>,
    room: usize,
    offload: &'a mut A,
}

impl<S: ?Sized, A: Offload> Service for Offloading<'_, S, A> {
    type Begun = Begun<Deferred>;

    fn admit(&self, type_id: u32, _: usize) -> bool {
        self.room > 0 || route_id(type_id) != 0 || !self.offload.accepts(msg_type(type_id))
    }

    fn admit_open(&self, type_id: u32, _: usize) -> bool {
        self.room > 0 || !self.offload.accepts(msg_type(type_id))
    }

    fn handle(
        &mut self,
        caller: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        request: &OpenRequest,
    ) -> Result<Handled<Self::Begun>, Halt> {
        let Self { blocking, room, offload } = self;
        if is_open(&request.frame) {
            let mut spawn = |handler| {
                *room = room.saturating_sub(1);
                offload.spawn(handler);
            };
            return blocking.open(caller, rx, tx, request, Some(&mut spawn));
        }
        let Blocking { responder, counters, .. } = self.blocking;
        let accepts = |msg_type| self.offload.accepts(msg_type);
        match responder.defer((caller, counters), (rx, tx), request, accepts) {
            Deferring::Begun(deferred) => {
                self.room -= 1;
                self.offload.start(&deferred, slice::payload(&request.frame, rx).to_vec());
                Ok(Handled::Later(Begun::Call(deferred)))
            }
            Deferring::Answered(outcome) => responder.report(outcome).map(|()| Handled::Replied),
            Deferring::Declined => self.blocking.answer(caller, rx, tx, request).map(|()| Handled::Replied),
        }
    }

    fn end(&mut self, tx: &mut Tx, stream: Self::Begun) -> Result<(), Halt> {
        self.blocking.end_stream(tx, stream.stream())
    }

    fn cancel(&mut self, call: Self::Begun, why: CancelReason) {
        let deferred = match call {
            Begun::Call(deferred) => deferred,
            Begun::Stream(stream) => return self.blocking.cancel_stream(&stream, why),
        };
        deferred.cancel();
        self.offload.cancel(&deferred);
        self.blocking.responder.record_deferred(self.blocking.counters, &deferred, outcome_of(why));
    }
}

impl Drop for Driven {
    /// Closes every connection in good order, unless this is a forked child, which has none.
    fn drop(&mut self) {
        if let Some(acceptor) = &mut self.worker.acceptor {
            // A turn has reported an error of the acceptor's thread.
            drop(acceptor.stop_thread());
        }
        self.worker.disconnect_all();
        self.worker.control.remove_workers();
    }
}

impl AsFd for Driven {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.worker.poller.as_fd()
    }
}

/// Options without polling and without an interrupt hook: the loop waits.
fn never_polling(options: &Options) -> Options {
    options.clone().without_interrupt().polling(PollingMode::Park)
}

fn blocking<'a, S: ?Sized>(
    dispatcher: &'a Dispatcher<S>,
    publication: Option<&'a Arc<Publication>>,
    control: &'a Control,
) -> Blocking<'a, S> {
    let (responder, state) = dispatcher.shared();
    let counters: Option<WorkerCounters<'a>> = publication.map(|publication| publication.writer.worker(0));
    Blocking {
        responder,
        state: StateRef::Shared(state),
        counters,
        shared: dispatcher.state_of_tasks(),
        threads: &control.threads,
    }
}
