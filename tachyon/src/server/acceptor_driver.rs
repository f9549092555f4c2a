//! The driver of a server's acceptor: a thread of its own, or the serving worker, task or loop.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, getpid};

use super::acceptor::Acceptor;
use super::control::Control;
use super::options::{AcceptorMode, ServerOptions};
use super::poller::{Poller, Token};
use super::worker::worker_lost;
use crate::foreign;
use crate::handshake::ListenError;
use crate::rpc::ServeError;
use crate::sync::{AtomicBool, Ordering};
use crate::wait::{Notifier, thread};

/// Stack of the thread in bytes. The thread runs no code of users.
const STACK: usize = 256 << 10;

/// The acceptor of a server, and its driver.
#[derive(Debug)]
pub(crate) struct AcceptorDriver {
    path: PathBuf,
    mode: AcceptorMode,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The server is not served, or the serving worker, task or loop drives the acceptor.
    Here(Box<Acceptor>),
    Thread(AcceptorThread),
    /// The thread ended with an error.
    Lost,
}

impl AcceptorDriver {
    pub(super) fn new(path: &Path, options: &ServerOptions) -> Result<Self, ListenError> {
        let acceptor = Acceptor::new(path, options.clone())?;
        Ok(Self { path: acceptor.path().to_owned(), mode: options.acceptor, stage: Stage::Here(Box::new(acceptor)) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts the thread, if the mode has one. The workers that get the callers are in `control` before.
    ///
    /// # Errors
    /// The system cannot make the thread or its notifier.
    pub(super) fn start(&mut self, control: &Arc<Control>) -> io::Result<()> {
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

    /// Lets an inline acceptor wake the worker.
    pub(super) fn watch(&self, poller: &Poller) -> io::Result<()> {
        match (&self.stage, self.mode) {
            (Stage::Here(acceptor), AcceptorMode::Inline) => poller.add(&**acceptor, Token::Incoming),
            _ => Ok(()),
        }
    }

    /// Time until the next step of an inline acceptor is due without an event.
    pub(super) fn next_deadline(&self) -> Option<Duration> {
        if let Stage::Here(acceptor) = &self.stage { acceptor.next_deadline() } else { None }
    }

    /// Runs the acceptor's next step, unless a thread does.
    ///
    /// # Errors
    /// As [`Acceptor::step`].
    pub(super) fn step(&mut self, control: &Control) -> io::Result<()> {
        match &mut self.stage {
            Stage::Here(acceptor) => acceptor.step(control, Some(Duration::ZERO)),
            _ => Ok(()),
        }
    }

    /// Accepts no further client, for a server that stops. True when no handshake is left.
    pub(super) fn close(&mut self, control: &Control) -> bool {
        match &mut self.stage {
            // An error ends the wait for the handshakes.
            Stage::Here(acceptor) => acceptor.close() || (acceptor.step(control, Some(Duration::ZERO)).is_err()),
            Stage::Thread(thread) => thread.is_done(),
            Stage::Lost => true,
        }
    }

    /// Checks that the acceptor's thread has not ended with an error, which stops the server.
    ///
    /// # Errors
    /// The error of the thread.
    pub(super) fn check(&mut self) -> Result<(), ServeError> {
        match &self.stage {
            Stage::Thread(thread) if thread.is_done() => self.stop_thread(),
            _ => Ok(()),
        }
    }

    /// Ends the acceptor's thread. Handshakes go on when the server is served again.
    ///
    /// # Errors
    /// The error of the thread.
    pub(super) fn stop_thread(&mut self) -> Result<(), ServeError> {
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

impl Drop for AcceptorDriver {
    fn drop(&mut self) {
        // The server has reported an error of the thread.
        drop(self.stop_thread());
    }
}

/// The thread `tachyon-accept`.
#[derive(Debug)]
struct AcceptorThread {
    handle: JoinHandle<Result<Box<Acceptor>, ServeError>>,
    stop: Arc<StopSignal>,
    control: Arc<Control>,
    owner: Pid,
}

/// Ends the thread.
#[derive(Debug)]
struct StopSignal {
    notifier: Arc<Notifier>,
    stop: AtomicBool,
}

impl AcceptorThread {
    /// Starts the thread. An error returns the acceptor.
    fn start(acceptor: Box<Acceptor>, control: &Arc<Control>) -> Result<Self, (Option<Box<Acceptor>>, io::Error)> {
        let notifier = match Notifier::new() {
            Ok(notifier) => Arc::new(notifier),
            Err(error) => return Err((Some(acceptor), error)),
        };
        if let Err(error) = acceptor.watch(&notifier) {
            return Err((Some(acceptor), error));
        }
        let stop = Arc::new(StopSignal { notifier: Arc::clone(&notifier), stop: AtomicBool::new(false) });
        // In a mutex, so that the acceptor stays here if the thread cannot be made.
        let shared = Arc::new(Mutex::new(Some(acceptor)));
        let take = |shared: &Mutex<Option<Box<Acceptor>>>| shared.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (passed, signal, served) = (Arc::clone(&shared), Arc::clone(&stop), Arc::clone(control));
        let run = move || {
            let Some(mut acceptor) = take(&passed) else { return Err(ServeError::Forked) };
            let driven = foreign::run(|| drive(&mut acceptor, &served, &signal));
            match driven.unwrap_or_else(|panicked| Err(worker_lost(&panicked))) {
                Ok(()) => Ok(acceptor),
                Err(error) => {
                    served.stop();
                    Err(error)
                }
            }
        };
        control.set_acceptor_notifier(Some(Arc::clone(&notifier)));
        match thread::spawn("tachyon-accept", STACK, run) {
            Ok(handle) => Ok(Self { handle, stop, control: Arc::clone(control), owner: getpid() }),
            Err(error) => {
                control.set_acceptor_notifier(None);
                let acceptor = take(&shared);
                if let Some(acceptor) = &acceptor {
                    acceptor.unwatch(&notifier);
                }
                Err((acceptor, error))
            }
        }
    }

    fn is_done(&self) -> bool {
        self.handle.is_finished()
    }

    /// Ends the thread and returns the acceptor; `None` in a forked child, which has neither.
    fn end(self) -> Result<Option<Box<Acceptor>>, ServeError> {
        if self.owner != getpid() {
            // Not dropped: another thread of this process may have the id of the parent's thread.
            core::mem::forget(self.handle);
            return Ok(None);
        }
        self.control.set_acceptor_notifier(None);
        self.stop.stop.store(true, Ordering::Release);
        self.stop.notifier.notify();
        match self.handle.join() {
            Ok(outcome) => outcome.map(|acceptor| {
                acceptor.unwatch(&self.stop.notifier);
                Some(acceptor)
            }),
            Err(thrown) => Err(worker_lost(&foreign::Panicked::new(thrown))),
        }
    }
}

/// Drives the acceptor until the signal, or until the server stops and no handshake is left.
fn drive(acceptor: &mut Acceptor, control: &Control, signal: &StopSignal) -> Result<(), ServeError> {
    // Acquire pairs with the release in `end`: the last steps here see all writes before the signal.
    while !signal.stop.load(Ordering::Acquire) {
        if control.is_stopping() && acceptor.close() {
            break;
        }
        acceptor.step(control, acceptor.next_deadline()).map_err(ServeError::Io)?;
        // Reset before the signal is read, so that no signal is missed.
        signal.notifier.reset();
    }
    Ok(())
}
