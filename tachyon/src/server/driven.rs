//! A server that is served in turns, by somebody else's loop.
//!
//! A [`Worker`] sleeps by itself. Here it never does: the loop watches the worker's epoll and gives it a turn whenever
//! that is readable. Handlers may be left to the loop, too, which answers their requests when it has run them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::control::Control;
use super::door::Door;
use super::events::{Leaving, ServerEvent};
use super::service::{Blocking, outcome_of};
use super::session::Arrival;
use super::worker::Worker;
use super::{RpcServer, Stopper};
use crate::connection::Halt;
use crate::connection::{Established, Rx, Tx};
use crate::dispatch::{Deferred, Dispatcher, HandlerError, Lent, Reply};
use crate::engine::{CallerInfo, Handled, OpenRequest, Service, Why};
use crate::options::Options;
use crate::rpc::ServeError;
use crate::stats::{Bank, Publication};
use crate::type_id::{msg_type, route_id};
use crate::wait::PollingMode;

/// Most rounds of one turn, so that busy callers leave the loop time for its other work.
const ROUNDS: usize = 16;

/// What the loop does before the next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing else: there is more to do.
    Again,
    /// Sleeps until the descriptor is readable, or this time has passed.
    Sleep(Option<Duration>),
    /// Finishes what is under way: the server is to stop.
    Stop,
    /// Nothing: the one caller there was has left, in this way.
    Ended(Leaving),
}

/// A server, or one connection, in the hands of a loop.
#[derive(Debug)]
pub struct Driven {
    pub(super) worker: Worker<Arc<Control>, Box<Door>, Deferred>,
    pub(super) publication: Option<Arc<Publication>>,
    /// How the only caller left, where there is one.
    pub(super) left: Option<Arc<Mutex<Option<Leaving>>>>,
}

impl Driven {
    /// Takes a server. `None` when it was stopped before.
    ///
    /// # Errors
    /// The system's refusal to watch it, or to make the acceptor's thread.
    pub fn server<S: ?Sized>(mut server: RpcServer, dispatcher: &Dispatcher<S>) -> io::Result<Option<Self>> {
        let Some(door) = server.door.take() else { return Ok(None) };
        let publication = server.publish(dispatcher, door.path(), 1);
        let options = resting(&server.options.connection);
        let worker = Worker::new(Arc::clone(&server.control), Some(Box::new(door)), options)?;
        let mut driven = Self { worker, publication, left: None };
        driven.worker.open(&server.control)?;
        Ok(Some(driven))
    }

    /// Takes the answering end of a connection that has one caller. That end was taken for this.
    ///
    /// # Errors
    /// The system's refusal to watch it.
    pub(crate) fn connection(established: &Established) -> io::Result<Self> {
        let left = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&left);
        let mut control = Control::new(Duration::from_secs(1));
        control.set_hook(Box::new(move |event| {
            if let ServerEvent::Left(_, how) = event {
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(*how);
            }
        }));
        let options = resting(&Options::new());
        let mut worker = Worker::new(Arc::new(control), None, options.clone())?;
        worker.add(Arrival::new(1, established, None));
        Ok(Self { worker, publication: None, left: Some(left) })
    }

    /// Takes a turn: attends to callers that come and go, and serves requests. Requests whose message type is wanted by
    /// `aside` are not answered but handed over, at most `places` of them; others of that kind are held for a later turn.
    ///
    /// # Errors
    /// [`ServeError::Exclusive`] when an endpoint changes the state, [`ServeError::Forked`] in a forked child, and the
    /// system's refusals. Requests answered with an error are told to
    /// [`Dispatcher::on_failure`].
    pub fn turn<S: ?Sized>(
        &mut self,
        dispatcher: &Dispatcher<S>,
        places: usize,
        aside: &mut impl Aside,
    ) -> Result<Next, ServeError> {
        dispatcher.check_shared()?;
        let publication = self.publication.clone();
        let mut service = Deferring { blocking: blocking(dispatcher, publication.as_ref()), places, aside };
        if places > 0 {
            self.worker.poll_holding();
        }
        for _ in 0..ROUNDS {
            if self.worker.control.is_stopping() && !self.worker.poller.is_inherited() {
                self.worker.door.as_mut().map_or(Ok(()), |door| door.check())?;
                return Ok(Next::Stop);
            }
            self.worker.look(false)?;
            let tour = self.worker.tour(&mut service)?;
            if let Some(how) = self.left() {
                return Ok(Next::Ended(how));
            }
            if !tour.served && !tour.looking {
                return Ok(Next::Sleep(self.worker.sleep_limit(None)));
            }
        }
        Ok(Next::Again)
    }

    fn left(&self) -> Option<Leaving> {
        *self.left.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request that was handed over: of the caller with this number, with this correlation id. A reply without
    /// room is sent in a later turn; a request that was cancelled, or whose caller is gone, gets none. A turn is due
    /// after this.
    ///
    /// # Errors
    /// [`ServeError::Handler`] when the outcome is an error, or cannot be sent; its caller was told.
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
        let Blocking { desk, bank, .. } = blocking(dispatcher, publication.as_ref());
        let write = |reply: Reply<'_>| outcome.and_then(|payload| reply.bytes(&payload));
        let answered = worker.finish_call(caller, call, |deferred, tx| desk.conclude(bank, tx, &deferred, write));
        answered.map_err(|error| *error)
    }

    /// What has the present turn, and every later one, end in [`Next::Stop`].
    pub fn stopper(&self) -> Stopper {
        Stopper { control: Arc::clone(&self.worker.control) }
    }

    /// How long callers that do not take their last replies are to be waited for.
    pub fn stop_timeout(&self) -> Duration {
        self.worker.control.stop_time.timeout()
    }

    /// Handlers that were not handed over, and returned when the time of a stop was over.
    pub fn overran(&self) -> usize {
        self.worker.overran
    }

    /// Answers requests that have not begun with `Stopping`; false when a caller takes no more replies for now, or goes
    /// on sending.
    pub fn refuse_all<S: ?Sized>(&mut self, dispatcher: &Dispatcher<S>, aside: &mut impl Aside) -> bool {
        let Self { worker, publication, .. } = self;
        worker.refuse_all(&mut Deferring { blocking: blocking(dispatcher, publication.as_ref()), places: 0, aside })
    }

    /// Ends all requests that were handed over and not answered, for a server that stops; their callers are told.
    pub fn abandon<S: ?Sized>(&mut self, dispatcher: &Dispatcher<S>, aside: &mut impl Aside) {
        let Self { worker, publication, .. } = self;
        worker.abandon(&mut Deferring { blocking: blocking(dispatcher, publication.as_ref()), places: 0, aside });
    }
}

/// Where requests go whose handlers the loop runs.
pub trait Aside {
    /// Whether requests of this message type are handed over.
    fn wants(&self, msg_type: u16) -> bool;

    /// Takes a request with its bytes. It is answered by its caller's number and its correlation id.
    fn begin(&mut self, request: &Deferred, payload: Vec<u8>);

    /// A request that was handed over is cancelled, and is to be answered no more.
    fn cancel(&mut self, request: &Deferred);
}

/// Hands some requests over, and answers the others.
struct Deferring<'a, S: ?Sized, A> {
    blocking: Blocking<'a, S>,
    places: usize,
    aside: &'a mut A,
}

impl<S: ?Sized, A: Aside> Service for Deferring<'_, S, A> {
    type Begun = Deferred;

    fn admit(&self, type_id: u32, _: usize) -> bool {
        self.places > 0 || route_id(type_id) != 0 || !self.aside.wants(msg_type(type_id))
    }

    fn handle(
        &mut self,
        caller: &CallerInfo,
        rx: &Rx,
        tx: &mut Tx,
        request: &OpenRequest,
    ) -> Result<Handled<Deferred>, Halt> {
        match self.blocking.desk.defer(caller, rx, request, |msg_type| self.aside.wants(msg_type)) {
            Some(mut deferred) => {
                self.places -= 1;
                let payload = deferred.take_payload();
                self.aside.begin(&deferred, payload);
                Ok(Handled::Later(deferred))
            }
            None => self.blocking.answer(caller, rx, tx, request).map(|()| Handled::Replied),
        }
    }

    fn cancel(&mut self, deferred: Deferred, why: Why) {
        self.aside.cancel(&deferred);
        self.blocking.desk.end(self.blocking.bank, &deferred, outcome_of(why));
    }
}

impl Drop for Driven {
    /// Closes every connection in good order, unless this is a forked child, which has none.
    fn drop(&mut self) {
        if let Some(door) = &mut self.worker.door {
            // An error of the acceptor's thread was reported by the turn that it ended.
            drop(door.leave());
        }
        self.worker.part_all();
        self.worker.control.dismiss();
    }
}

impl AsFd for Driven {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.worker.poller.as_fd()
    }
}

/// The options of one who never spins and is never interrupted.
fn resting(options: &Options) -> Options {
    options.clone().without_interrupt().polling(PollingMode::Park)
}

fn blocking<'a, S: ?Sized>(
    dispatcher: &'a Dispatcher<S>,
    publication: Option<&'a Arc<Publication>>,
) -> Blocking<'a, S> {
    let (desk, state) = dispatcher.shared();
    let bank: Option<Bank<'a>> = publication.map(|publication| publication.board.bank(0));
    Blocking { desk, state: Lent::Shared(state), bank }
}
