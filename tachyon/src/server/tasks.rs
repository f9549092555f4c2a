//! A server on a tokio runtime: one task serves the callers, and async handlers are tasks beside it.
//!
//! The serving task works as a worker's thread, in slices: it polls busy callers for a bounded time and then yields to
//! the runtime. Without busy callers it awaits the worker's epoll and the running handlers.

use core::future::poll_fn;
use core::task::Poll;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::acceptor_driver::AcceptorDriver;
use super::control::Control;
use super::events::ServerEvent;
use super::handlers::{AsyncHandlers, FinishedTask, Task};
use super::options::ServerOptions;
use super::poll_schedule::PollSchedule;
use super::service::{Begun, Blocking};
use super::session::Arrival;
use super::worker::{Worker, worker_lost};
use super::{RpcServer, both};
use crate::client::tokio::Readable;
use crate::connection::Established;
use crate::dispatch::{Dispatcher, StateRef};
use crate::foreign;
use crate::rpc::ServeError;
use crate::wait::Interrupt;

/// Longest serving before the task yields to the runtime. Shorter than the wake-up of a thread.
const SLICE: Duration = Duration::from_micros(50);

/// Time for aborted handlers to reach their next `await`.
const GRACE: Duration = Duration::from_millis(100);

/// Interval of a stopping server between attempts to send replies without room.
const STOP_RETRY: Duration = Duration::from_millis(1);

impl<S: ?Sized> Dispatcher<S> {
    /// Serves a server's callers from a task of a tokio runtime, until the server is stopped. Calls of async endpoints
    /// (an `async fn`, or a closure of [`register_async`](Self::register_async)) become tasks of their own. The other
    /// endpoints run inside the serving task, and keep a thread of the runtime meanwhile. Needs the cargo feature
    /// `tokio`.
    ///
    /// Spawn the future with `tokio::spawn`: a future that `main` awaits runs beside the threads of a multi-thread
    /// runtime, and each handler would have to wake one of them.
    ///
    /// The task polls busy callers for some 50 microseconds at a time and then yields to other tasks; without busy
    /// callers it sleeps. The rest is as with [`serve_forever`](Self::serve_forever).
    ///
    /// After a stop, running handlers have the [`stop_timeout`](crate::ServerOptions::stop_timeout) to finish. Callers
    /// of handlers that do not finish get an error reply of kind [`Cancelled`](crate::ErrorKind::Cancelled); requests
    /// that have not begun get one of kind [`Stopping`](crate::ErrorKind::Stopping). Dropping the future drops the
    /// handlers and closes the connections. The server then keeps its path and can be served again.
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
    /// [`ServeError::Exclusive`] when an endpoint changes the state; the server is unchanged and has served no request.
    /// Otherwise as [`serve_forever`](Self::serve_forever).
    ///
    /// # Panics
    /// Outside a tokio runtime, or in one without its I/O or time driver.
    pub async fn serve_async(&self, server: &mut RpcServer) -> Result<(), ServeError> {
        self.check_shared()?;
        let Some(path) = server.path() else { return Ok(()) };
        let publication = server.publish(self, path, 1);
        let counters = publication.as_ref().map(|publication| publication.writer.worker(0));
        let RpcServer { acceptor, options, control } = server;
        let Some(running) = acceptor.as_mut() else { return Ok(()) };
        let guard = AcceptorGuard { acceptor: running, control };
        let worker = Worker::new(&**control, Some(&mut *guard.acceptor), options.connection.clone());
        let mut worker = worker.map_err(ServeError::Io)?;
        worker.start_acceptor(control).map_err(ServeError::Io)?;
        let (responder, state) = self.shared();
        let handlers = AsyncHandlers::new(
            Blocking {
                responder,
                state: StateRef::Shared(state),
                counters,
                shared: self.state_of_tasks(),
                threads: &control.threads,
            },
            options.in_flight,
            Arc::clone(&control.stop_time),
        );
        let interrupt = options.connection.interrupt_hook();
        let outcome = ServerTask { worker, handlers, interrupt, schedule: PollSchedule::new() }.run().await;
        let outcome = both(outcome, guard.acceptor.stop_thread());
        drop(guard);
        if !matches!(outcome, Err(ServeError::Interrupted)) || control.is_stopping() {
            *acceptor = None;
        }
        outcome
    }
}

impl<S: ?Sized> Dispatcher<S> {
    /// Serves the callee's end of one connection from a task of a tokio runtime, until the caller closes. The rest is
    /// as with [`serve_async`](Self::serve_async).
    ///
    /// # Errors
    /// As [`serve_async`](Self::serve_async).
    pub(crate) async fn serve_connection(&self, established: &Established) -> Result<(), ServeError> {
        self.check_shared()?;
        let options = ServerOptions::new();
        let mut control = Control::new(options.stop_timeout, options.stream_threads);
        let stop_time = Arc::clone(&control.stop_time);
        control.set_hook(Box::new(move |event| {
            if matches!(event, ServerEvent::Left(..)) {
                stop_time.stop();
            }
        }));
        let mut worker = Worker::new(&control, None, options.connection.clone()).map_err(ServeError::Io)?;
        worker.add(Arrival::new(1, established, None));
        let (responder, state) = self.shared();
        let (state, shared, threads) = (StateRef::Shared(state), self.state_of_tasks(), &control.threads);
        let blocking = Blocking { responder, state, counters: None, shared, threads };
        let handlers = AsyncHandlers::new(blocking, options.in_flight, Arc::clone(&control.stop_time));
        ServerTask { worker, handlers, interrupt: None, schedule: PollSchedule::new() }.run().await
    }
}

/// Ends the acceptor's thread and removes the worker when serving ends, also when its future is dropped.
struct AcceptorGuard<'a> {
    acceptor: &'a mut AcceptorDriver,
    control: &'a Control,
}

impl Drop for AcceptorGuard<'_> {
    fn drop(&mut self) {
        // `serve_async` has reported an error, or its future was dropped.
        drop(self.acceptor.stop_thread());
        self.control.remove_workers();
    }
}

/// The end of a slice.
enum SliceEnd {
    /// Other tasks may run.
    Yield,
    /// No caller is busy: the task sleeps until an event.
    Sleep,
    Stop,
}

/// The task that serves the callers.
struct ServerTask<'a, S: ?Sized> {
    worker: Worker<&'a Control, &'a mut AcceptorDriver, Begun<Task>>,
    handlers: AsyncHandlers<'a, S>,
    interrupt: Option<Interrupt>,
    schedule: PollSchedule,
}

impl<S: ?Sized> ServerTask<'_, S> {
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
            match foreign::run(|| self.serve_slice()).unwrap_or_else(|panicked| Err(worker_lost(&panicked)))? {
                SliceEnd::Yield => tokio::task::yield_now().await,
                SliceEnd::Sleep => {
                    let limit = self.worker.sleep_limit(self.interrupt);
                    let event = next_event(Some(&epoll), &mut self.handlers, limit).await;
                    if let Some(finished) = event.map_err(ServeError::Io)? {
                        self.answer(finished);
                    }
                }
                SliceEnd::Stop => return Ok(()),
            }
        }
    }

    /// Serves busy callers for at most [`SLICE`].
    fn serve_slice(&mut self) -> Result<SliceEnd, ServeError> {
        let began = Instant::now();
        let mut started = false;
        while !self.worker.control.is_stopping() {
            self.answer_finished();
            let pass = self.worker.pass(&mut self.handlers)?;
            started |= self.handlers.take_started();
            if self.handlers.take_freed() {
                self.worker.poll_holding();
                continue;
            }
            // The new tasks need the thread: no caller had a request in this pass.
            if started && !pass.served {
                return Ok(SliceEnd::Yield);
            }
            let idle = !pass.served && !pass.polling;
            if self.schedule.count_pass(pass.served) || idle {
                self.worker.look(false)?;
                self.worker.sample(self.schedule.restart());
                // A look with events takes only a batch, and the rest does not wake the runtime: look again. The end of
                // the only connection, which this pass may have found, does not wake the runtime either.
                if idle && !self.worker.had_events() && !self.worker.control.is_stopping() {
                    return Ok(SliceEnd::Sleep);
                }
                if began.elapsed() >= SLICE {
                    return Ok(SliceEnd::Yield);
                }
            }
        }
        Ok(SliceEnd::Stop)
    }

    fn answer_finished(&mut self) {
        while let Some(finished) = self.handlers.next() {
            self.answer(finished);
        }
    }

    /// Answers the call of an ended task, unless the call is cancelled.
    fn answer(&mut self, (caller, call, outcome): FinishedTask) {
        let Self { worker, handlers, .. } = self;
        // The next pass finds the end of a connection.
        drop(worker.finish_call(caller, call, |task, tx| handlers.answer(tx, &task, outcome)));
    }

    /// Waits for the running handlers, refuses further requests, and closes in good order.
    ///
    /// # Errors
    /// Handlers did not end after their abort.
    async fn finish(&mut self) -> Result<(), ServeError> {
        let deadline = self.worker.control.stop_deadline();
        loop {
            self.answer_finished();
            let refused = self.worker.refuse_all(&mut self.handlers);
            if (refused && self.handlers.running() == 0) || deadline.has_passed() {
                break;
            }
            // Cannot fail without a descriptor.
            if let Ok(Some(finished)) = next_event(None, &mut self.handlers, Some(STOP_RETRY)).await {
                self.answer(finished);
            }
        }
        self.worker.abandon(&mut self.handlers);
        self.handlers.abort_all();
        let grace = Instant::now() + GRACE;
        let threads = Arc::clone(&self.worker.control.threads);
        let left = |handlers: &AsyncHandlers<'_, S>| handlers.left() + threads.wait_idle(Duration::ZERO);
        while left(&self.handlers) > 0 && Instant::now() < grace {
            drop(next_event(None, &mut self.handlers, Some(STOP_RETRY)).await);
        }
        self.worker.shut(&mut self.handlers);
        self.worker.stop_outcome(left(&self.handlers))
    }
}

/// Sleeps until epoll has an event, the time has passed, or a task has ended, which is returned.
async fn next_event<S: ?Sized>(
    epoll: Option<&Readable>,
    handlers: &mut AsyncHandlers<'_, S>,
    limit: Option<Duration>,
) -> io::Result<Option<FinishedTask>> {
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
