//! The driver of a server's acceptor while the server is served: a thread of its own, or the serving worker, task or loop.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, getpid};

use super::acceptor::Acceptor;
use super::control::{Bell, Control};
use super::options::{AcceptorMode, ServerOptions};
use super::poller::{Poller, Token};
use super::worker::lost;
use crate::foreign;
use crate::handshake::ListenError;
use crate::rpc::ServeError;
use crate::sync::{AtomicBool, Ordering};
use crate::wait::thread;

/// Ample: the thread runs no code of users.
const STACK: usize = 256 << 10;

/// The way into a server.
#[derive(Debug)]
pub(super) struct Door {
    path: PathBuf,
    mode: AcceptorMode,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The server is not served, or the serving worker, task or loop drives the acceptor.
    Here(Box<Acceptor>),
    Thread(AcceptorThread),
    /// Its thread ended with an error.
    Lost,
}

impl Door {
    pub(super) fn new(path: &Path, options: &ServerOptions) -> Result<Self, ListenError> {
        let acceptor = Acceptor::new(path, options.clone())?;
        Ok(Self { path: acceptor.path().to_owned(), mode: options.acceptor, stage: Stage::Here(Box::new(acceptor)) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets clients in from now on. The workers that get them are enlisted with `control` before.
    ///
    /// # Errors
    /// The system's refusal to make the thread or its bell.
    pub(super) fn open(&mut self, control: &Arc<Control>) -> io::Result<()> {
        if self.mode == AcceptorMode::Inline {
            return Ok(());
        }
        let Stage::Here(acceptor) = core::mem::replace(&mut self.stage, Stage::Lost) else { return Ok(()) };
        match AcceptorThread::start(acceptor, control) {
            Ok(thread) => {
                self.stage = Stage::Thread(thread);
                Ok(())
            }
            Err((acceptor, error)) => {
                self.stage = acceptor.map_or(Stage::Lost, Stage::Here);
                Err(error)
            }
        }
    }

    /// Has the worker told when there is something to do for it here.
    pub(super) fn watch(&self, poller: &Poller) -> io::Result<()> {
        match (&self.stage, self.mode) {
            (Stage::Here(acceptor), AcceptorMode::Inline) => poller.add(&**acceptor, Token::Door),
            _ => Ok(()),
        }
    }

    /// When there is something to do here although nothing happens.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        if let Stage::Here(acceptor) = &self.stage { acceptor.next_deadline() } else { None }
    }

    /// Takes the acceptor's next step, unless a thread does.
    ///
    /// # Errors
    /// The system's refusal to tell of clients.
    pub(super) fn step(&mut self, control: &Control) -> io::Result<()> {
        match &mut self.stage {
            Stage::Here(acceptor) => acceptor.step(control, Some(Duration::ZERO)),
            _ => Ok(()),
        }
    }

    /// Lets no further client in, as the server stops. True when no client is left that was welcomed before.
    pub(super) fn close(&mut self, control: &Control) -> bool {
        match &mut self.stage {
            // The system refuses nothing here that it did not refuse before.
            Stage::Here(acceptor) => acceptor.close() || (acceptor.step(control, Some(Duration::ZERO)).is_err()),
            Stage::Thread(thread) => thread.is_done(),
            Stage::Lost => true,
        }
    }

    /// Reports an end of the acceptor's thread by an error, which has stopped the server.
    ///
    /// # Errors
    /// The thread's own error.
    pub(super) fn check(&mut self) -> Result<(), ServeError> {
        match &self.stage {
            Stage::Thread(thread) if thread.is_done() => self.leave(),
            _ => Ok(()),
        }
    }

    /// Ends the acceptor's thread at once; its clients wait for the next time that the server is served.
    ///
    /// # Errors
    /// The thread had ended with an error.
    pub(super) fn leave(&mut self) -> Result<(), ServeError> {
        match core::mem::replace(&mut self.stage, Stage::Lost) {
            Stage::Thread(thread) => thread.end().map(|acceptor| {
                self.stage = acceptor.map_or(Stage::Lost, Stage::Here);
            }),
            stage => {
                self.stage = stage;
                Ok(())
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // An error of the thread was its server's to report.
        drop(self.leave());
    }
}

/// A thread that drives an acceptor.
#[derive(Debug)]
struct AcceptorThread {
    handle: JoinHandle<Result<Box<Acceptor>, ServeError>>,
    orders: Arc<Orders>,
    control: Arc<Control>,
    owner: Pid,
}

/// Orders to the thread.
#[derive(Debug)]
struct Orders {
    bell: Arc<Bell>,
    leave: AtomicBool,
}

impl AcceptorThread {
    /// Gives the acceptor back with the error.
    fn start(acceptor: Box<Acceptor>, control: &Arc<Control>) -> Result<Self, (Option<Box<Acceptor>>, io::Error)> {
        let bell = match Bell::new() {
            Ok(bell) => Arc::new(bell),
            Err(error) => return Err((Some(acceptor), error)),
        };
        if let Err(error) = acceptor.watch(&bell) {
            return Err((Some(acceptor), error));
        }
        let orders = Arc::new(Orders { bell: Arc::clone(&bell), leave: AtomicBool::new(false) });
        // A thread that cannot be made leaves the acceptor here.
        let passed = Arc::new(Mutex::new(Some(acceptor)));
        let take = |passed: &Mutex<Option<Box<Acceptor>>>| passed.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (theirs, told, served) = (Arc::clone(&passed), Arc::clone(&orders), Arc::clone(control));
        let run = move || {
            let Some(mut acceptor) = take(&theirs) else { return Err(ServeError::Forked) };
            let driven = foreign::run(|| drive(&mut acceptor, &served, &told));
            match driven.unwrap_or_else(|panicked| Err(lost(&panicked))) {
                Ok(()) => Ok(acceptor),
                Err(error) => {
                    served.stop();
                    Err(error)
                }
            }
        };
        control.set_door_bell(Some(Arc::clone(&bell)));
        match thread::spawn("tachyon-accept", STACK, run) {
            Ok(handle) => Ok(Self { handle, orders, control: Arc::clone(control), owner: getpid() }),
            Err(error) => {
                control.set_door_bell(None);
                let acceptor = take(&passed);
                if let Some(acceptor) = &acceptor {
                    acceptor.unwatch(&bell);
                }
                Err((acceptor, error))
            }
        }
    }

    fn is_done(&self) -> bool {
        self.handle.is_finished()
    }

    /// Ends the thread and gives what it drove; `None` in a forked child, which has neither.
    fn end(self) -> Result<Option<Box<Acceptor>>, ServeError> {
        if self.owner != getpid() {
            // The handle may not even be dropped: another thread of this process may have that one's place by now.
            core::mem::forget(self.handle);
            return Ok(None);
        }
        self.control.set_door_bell(None);
        self.orders.leave.store(true, Ordering::Release);
        self.orders.bell.ring();
        match self.handle.join() {
            Ok(outcome) => outcome.map(|acceptor| {
                acceptor.unwatch(&self.orders.bell);
                Some(acceptor)
            }),
            Err(thrown) => Err(lost(&foreign::Panicked::new(thrown))),
        }
    }
}

/// Drives the acceptor until it is told to leave, or the server stops and the clients that were welcomed are through.
fn drive(acceptor: &mut Acceptor, control: &Control, orders: &Orders) -> Result<(), ServeError> {
    // Acquire: what the thread that ends this one did before is seen by what this one does last.
    while !orders.leave.load(Ordering::Acquire) {
        if control.is_stopping() && acceptor.close() {
            break;
        }
        acceptor.step(control, acceptor.next_deadline()).map_err(ServeError::Io)?;
        // Silenced before the orders are looked at, so that none is missed.
        orders.bell.silence();
    }
    Ok(())
}
