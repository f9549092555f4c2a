//! A server that is served in turns, by somebody else's loop.
//!
//! A [`Worker`] sleeps by itself. Here it never does: the loop watches the worker's epoll and gives it a turn whenever
//! that is readable. Handlers may be left to the loop, too, which answers their requests when it has run them.

use core::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::control::Control;
use super::entrance::Entrance;
use super::events::{Leaving, ServerEvent};
use super::session::Session;
use super::worker::Worker;
use super::{RpcServer, Stopper};
use crate::bus::Established;
use crate::dispatch::{Deferred, Dispatcher, HandlerError, Lent, Origin};
use crate::error::ServeError;
use crate::options::Options;
use crate::rpc::is_control;
use crate::stats::{Bank, Publication};
use crate::type_id::msg_type;
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
    pub(super) worker: Worker<Arc<Control>, Box<Entrance>>,
    pub(super) publication: Option<Arc<Publication>>,
    /// How the only caller left, where there is one.
    pub(super) left: Option<Arc<Mutex<Option<Leaving>>>>,
}

impl Driven {
    /// Takes a server. `None` when it was stopped before.
    ///
    /// # Errors
    /// The system's refusal to watch it.
    pub fn server<S: ?Sized>(mut server: RpcServer, dispatcher: &Dispatcher<S>) -> io::Result<Option<Self>> {
        let Some(entrance) = server.entrance.take() else { return Ok(None) };
        let publication = server.publish(dispatcher, entrance.path(), 1);
        let options = resting(&server.options.connection);
        let worker = Worker::new(Arc::clone(&server.control), Some(Box::new(entrance)), options)?;
        Ok(Some(Self { worker, publication, left: None }))
    }

    /// Takes the answering end of a connection that has one caller. That end was taken for this.
    ///
    /// # Errors
    /// The system's refusal to watch it.
    pub(crate) fn connection(established: &Established) -> io::Result<Self> {
        let left = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&left);
        let mut control = Control::new();
        control.set_hook(Box::new(move |event| {
            if let ServerEvent::Left(_, how) = event {
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(*how);
            }
        }));
        let options = resting(&Options::new());
        let mut worker = Worker::new(Arc::new(control), None, options.clone())?;
        worker.settle(Session::over(1, established, &options));
        Ok(Self { worker, publication: None, left: Some(left) })
    }

    /// Takes a turn: attends to callers who come and go, and serves requests. Those whose message type is `wanted` are
    /// not answered but given to `defer`, at most `places` of them; others of that kind, and what their callers sent
    /// after them, wait for a later turn.
    ///
    /// # Errors
    /// [`ServeError::Exclusive`] when an endpoint changes the state, [`ServeError::Forked`] in a forked child, and the
    /// system's refusals. Requests answered with an error are told to
    /// [`Dispatcher::on_failure`].
    pub fn turn<S: ?Sized>(
        &mut self,
        dispatcher: &Dispatcher<S>,
        places: usize,
        wanted: &impl Fn(u16) -> bool,
        defer: &impl Fn(Deferred),
    ) -> Result<Next, ServeError> {
        dispatcher.check_shared()?;
        let (desk, state) = dispatcher.shared();
        let bank = bank(self.publication.as_ref());
        let places = Cell::new(places);
        for _ in 0..ROUNDS {
            if self.worker.control.is_stopping() && !self.worker.poller.is_inherited() {
                return Ok(Next::Stop);
            }
            self.worker.look(false)?;
            let tour = self.worker.tour(
                &|_, request| {
                    places.get() > 0 || is_control(&request.frame) || !wanted(msg_type(request.frame.type_id))
                },
                &mut |caller, incoming, outgoing, request| {
                    let origin = Origin { caller: Some(caller), bank };
                    match desk.defer(&origin, incoming, request, wanted) {
                        Some(deferred) => {
                            places.set(places.get() - 1);
                            defer(deferred);
                            Ok(())
                        }
                        None => desk.answer(
                            Lent::Shared(state),
                            &origin,
                            incoming,
                            outgoing,
                            &request.frame,
                            request.deadline,
                        ),
                    }
                },
                &|failure| desk.tell_failure(failure),
            )?;
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

    /// Answers a request that was deferred. One whose caller takes no replies for now is answered in a later turn, and
    /// one whose caller has left is dropped. A turn is due after this.
    ///
    /// # Errors
    /// [`ServeError::Handler`] when the outcome is an error, or cannot be sent; its caller was told.
    /// [`ServeError::Forked`] in a forked child, whose parent answers the request.
    pub fn answer<S: ?Sized>(
        &mut self,
        dispatcher: &Dispatcher<S>,
        deferred: &Deferred,
        outcome: Result<Vec<u8>, HandlerError>,
    ) -> Result<(), ServeError> {
        if self.worker.poller.is_inherited() {
            return Err(ServeError::Forked);
        }
        let (desk, _) = dispatcher.shared();
        let caller = deferred.caller();
        let origin = Origin { caller: Some(&caller), bank: bank(self.publication.as_ref()) };
        let outgoing = session(&mut self.worker, caller.id).map(|session| &mut session.outgoing);
        desk.answer_deferred(&origin, outgoing, deferred, outcome).map_err(|error| *error)
    }

    /// What has the present turn, and every later one, end in [`Next::Stop`].
    pub fn stopper(&self) -> Stopper {
        Stopper { control: Arc::clone(&self.worker.control) }
    }

    /// How long callers that do not take their last replies are to be waited for.
    pub fn stop_timeout(&self) -> Duration {
        self.worker.stop_timeout()
    }

    /// Tells callers with requests that the server stops; false when one of them takes no more replies for now, or goes on
    /// sending.
    pub fn turn_away(&mut self) -> bool {
        self.worker.turn_away()
    }
}

impl Drop for Driven {
    /// Closes every connection in good order, unless this is a forked child, which has none.
    fn drop(&mut self) {
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

fn session(worker: &mut Worker<Arc<Control>, Box<Entrance>>, id: u64) -> Option<&mut Session> {
    let key = worker.sessions.iter().find(|(_, session)| session.info.id == id)?.0;
    let session = &mut worker.sessions[key];
    if !session.hot {
        // A reply for which there is no room has to be waited for.
        session.hot = true;
        worker.hot.push(key);
    }
    Some(session)
}

/// Where calls are counted.
fn bank(publication: Option<&Arc<Publication>>) -> Option<Bank<'_>> {
    publication.map(|publication| publication.board.bank(0))
}
