//! A server on a tokio runtime: one task attends to the callers, and async handlers are tasks beside it.
//!
//! The task does what a worker's thread does, in slices: busy callers are polled for a bounded time, then the runtime
//! has its turn; with nobody busy it awaits the worker's epoll and the handlers at work.

use core::future::poll_fn;
use core::task::Poll;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::control::Control;
use super::door::Door;
use super::handlers::{Finished, Handlers, Task};
use super::pace::Pace;
use super::service::Blocking;
use super::worker::{Worker, lost};
use super::{RpcServer, both};
use crate::client::tokio::Readable;
use crate::dispatch::{Dispatcher, Lent};
use crate::foreign;
use crate::rpc::ServeError;
use crate::wait::Interrupt;

/// How long busy callers are attended to before the runtime has its turn. Less time than a thread needs to wake up.
const SLICE: Duration = Duration::from_micros(50);

/// How long handlers that were dropped have to reach their next `await`.
const GRACE: Duration = Duration::from_millis(100);

/// How often a stopping server tries again to send what has no room.
const STOP_RETRY: Duration = Duration::from_millis(1);

impl<S: ?Sized> Dispatcher<S> {
    /// Serves a server's callers from a task of a tokio runtime, until the server is stopped. Endpoints of every kind
    /// may be in the table: async ones, see [`register_async`](Self::register_async), become tasks of their own, and all
    /// others run inside this one, where they keep a thread of the runtime for as long as they take. Needs the cargo
    /// feature `tokio`.
    ///
    /// Give it a task of its own, with `tokio::spawn`: a future that `main` awaits in a runtime of several threads runs
    /// beside them, and each handler has to wake one.
    ///
    /// Everything else is as with [`serve_forever`](Self::serve_forever). Busy callers are looked at for some 50
    /// microseconds at a time, then other tasks of the runtime have their turn; with nobody busy the task sleeps.
    ///
    /// When the server is stopped, handlers at work have its [`stop_timeout`](crate::ServerOptions::stop_timeout) to
    /// finish; callers of those that do not get an error reply of kind [`Cancelled`](crate::ErrorKind::Cancelled), and
    /// requests that have not begun one of kind [`Stopping`](crate::ErrorKind::Stopping). Dropping the
    /// future ends everything at once: handlers are dropped, connections are closed. The server keeps its path and may
    /// be served again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tachyon::AsyncCaller;
    /// use tachyon::{Dispatcher, RpcServer};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("service.sock");
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let mut server = RpcServer::listen(&path)?;
    /// let stopper = server.stopper();
    /// let mut dispatcher = Dispatcher::default();
    /// dispatcher.register(1, "double", |request: &[u8]| request.repeat(2))?;
    /// dispatcher.register_async(2, "echo_later", |request: Vec<u8>| async move {
    ///     tokio::time::sleep(Duration::from_millis(10)).await;
    ///     request
    /// })?;
    /// let service = tokio::spawn(async move { dispatcher.serve_async(&mut server).await });
    ///
    /// let caller = AsyncCaller::connect(&path).await?;
    /// assert_eq!(caller.call(1, b"ab").await?, b"abab");
    /// assert_eq!(caller.call(2, b"ab").await?, b"ab");
    ///
    /// stopper.stop();
    /// service.await??;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ServeError::Exclusive`] when an endpoint changes the state: nobody was served, and the server is as it was.
    /// Otherwise as [`serve_forever`](Self::serve_forever).
    ///
    /// # Panics
    /// Outside a tokio runtime, or in one without its I/O or time driver.
    pub async fn serve_async(&self, server: &mut RpcServer) -> Result<(), ServeError> {
        self.check_shared()?;
        let Some(path) = server.path() else { return Ok(()) };
        let publication = server.publish(self, path, 1);
        let bank = publication.as_ref().map(|publication| publication.board.bank(0));
        let RpcServer { door, options, control } = server;
        let Some(opened) = door.as_mut() else { return Ok(()) };
        let opened = Opened { door: opened, control };
        let worker = Worker::new(&**control, Some(&mut *opened.door), options.connection.clone());
        let mut worker = worker.map_err(ServeError::Io)?;
        worker.open(control).map_err(ServeError::Io)?;
        let (desk, state) = self.shared();
        let handlers = Handlers::new(
            Blocking { desk, state: Lent::Shared(state), bank },
            options.in_flight,
            Arc::clone(&control.stop_time),
        );
        let interrupt = options.connection.interrupt_hook();
        let outcome = Attendant { worker, handlers, interrupt, pace: Pace::new() }.run().await;
        let outcome = both(outcome, opened.door.leave());
        drop(opened);
        if !matches!(outcome, Err(ServeError::Interrupted)) || control.is_stopping() {
            *door = None;
        }
        outcome
    }
}

/// Ends the acceptor's thread and forgets the worker however serving ends, also when its future is dropped.
struct Opened<'a> {
    door: &'a mut Door,
    control: &'a Control,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        // An error has been reported, or its future was dropped.
        drop(self.door.leave());
        self.control.dismiss();
    }
}

/// What the task does next.
enum Pause {
    /// Lets other tasks run.
    Yield,
    /// Sleeps until something happens.
    Rest,
    Stop,
}

/// The task that attends to callers.
struct Attendant<'a, S: ?Sized> {
    worker: Worker<&'a Control, &'a mut Door, Task>,
    handlers: Handlers<'a, S>,
    interrupt: Option<Interrupt>,
    pace: Pace,
}

impl<S: ?Sized> Attendant<'_, S> {
    async fn run(mut self) -> Result<(), ServeError> {
        let outcome = self.serve().await;
        if matches!(outcome, Err(ServeError::Interrupted | ServeError::Forked)) {
            return outcome;
        }
        self.worker.control.stop();
        outcome.and(self.finish().await)
    }

    async fn serve(&mut self) -> Result<(), ServeError> {
        let epoll = self.worker.poller.as_fd().try_clone_to_owned().map_err(ServeError::Io)?;
        let epoll = Readable::new(epoll).map_err(ServeError::Io)?;
        loop {
            match foreign::run(|| self.attend()).unwrap_or_else(|panicked| Err(lost(&panicked)))? {
                Pause::Yield => tokio::task::yield_now().await,
                Pause::Rest => {
                    let limit = self.worker.sleep_limit(self.interrupt);
                    let woken = woken(Some(&epoll), &mut self.handlers, limit).await;
                    if let Some(finished) = woken.map_err(ServeError::Io)? {
                        self.conclude(finished);
                    }
                }
                Pause::Stop => return Ok(()),
            }
        }
    }

    /// Attends to busy callers for a slice of time at most.
    fn attend(&mut self) -> Result<Pause, ServeError> {
        let began = Instant::now();
        let mut started = false;
        while !self.worker.control.is_stopping() {
            self.conclude_all();
            let tour = self.worker.tour(&mut self.handlers)?;
            started |= self.handlers.take_started();
            if self.handlers.take_freed() {
                self.worker.poll_holding();
                continue;
            }
            // The handlers need the thread more than callers that have nothing more to say for now.
            if started && !tour.served {
                return Ok(Pause::Yield);
            }
            let quiet = !tour.served && !tour.looking;
            if self.pace.passed(tour.served) || quiet {
                self.worker.look(false)?;
                self.worker.sample(self.pace.looked());
                // Only a look that found nothing may be followed by sleep: what it leaves does not wake the runtime.
                if quiet && !self.worker.heard() {
                    return Ok(Pause::Rest);
                }
                if began.elapsed() >= SLICE {
                    return Ok(Pause::Yield);
                }
            }
        }
        Ok(Pause::Stop)
    }

    fn conclude_all(&mut self) {
        while let Some(finished) = self.handlers.next() {
            self.conclude(finished);
        }
    }

    /// Answers the call of a handler that is done, unless it was cancelled meanwhile.
    fn conclude(&mut self, (caller, call, answer): Finished) {
        let Self { worker, handlers, .. } = self;
        // An end of the connection is for the next turn to find.
        drop(worker.finish_call(caller, call, |task, tx| handlers.conclude(tx, &task, answer)));
    }

    /// Sees the handlers at work through, refuses further requests, and closes in good order.
    ///
    /// # Errors
    /// Handlers did not end, though their time was over and they were dropped.
    async fn finish(&mut self) -> Result<(), ServeError> {
        let deadline = self.worker.control.stop_deadline();
        loop {
            self.conclude_all();
            let told = self.worker.refuse_all(&mut self.handlers);
            if (told && self.handlers.at_work() == 0) || deadline.has_passed() {
                break;
            }
            // Without descriptors to watch there is nothing that could fail.
            if let Ok(Some(finished)) = woken(None, &mut self.handlers, Some(STOP_RETRY)).await {
                self.conclude(finished);
            }
        }
        self.worker.abandon(&mut self.handlers);
        self.handlers.abort_all();
        let grace = Instant::now() + GRACE;
        while self.handlers.left() > 0 && Instant::now() < grace {
            drop(woken(None, &mut self.handlers, Some(STOP_RETRY)).await);
        }
        self.worker.shut(&mut self.handlers);
        self.worker.left(self.handlers.left())
    }
}

/// Sleeps until epoll has something, the time has passed, or a handler is done, which is given.
async fn woken<S: ?Sized>(
    epoll: Option<&Readable>,
    handlers: &mut Handlers<'_, S>,
    limit: Option<Duration>,
) -> io::Result<Option<Finished>> {
    let mut alarm = limit.map(|limit| Box::pin(tokio::time::sleep(limit)));
    poll_fn(|context| {
        if let Poll::Ready(finished) = handlers.poll_next(context) {
            return Poll::Ready(Ok(Some(finished)));
        }
        if let Some(Poll::Ready(readable)) = epoll.map(|epoll| epoll.poll_ready(context)) {
            return Poll::Ready(readable.map(|()| None));
        }
        match &mut alarm {
            Some(alarm) => alarm.as_mut().poll(context).map(|()| Ok(None)),
            None => Poll::Pending,
        }
    })
    .await
}
