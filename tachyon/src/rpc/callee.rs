//! The answering end of RPC.

use std::path::Path;
use std::time::Duration;

use super::control::{own_reply, try_answer_own};
use super::guard::{RpcRxGuard, RpcTxGuard};
use crate::connection::{self, Established, Halt, Rx, State, Tx, Unsent};
use crate::engine::{ErrorBody, ErrorKind, is_plain, is_users, open_current, open_metadata, send_error};
use crate::handshake::{ConnectError, Kind, ListenError, Role};
use crate::options::Options;
use crate::ring::MessageHeader;
use crate::rpc::ServeError;
use crate::type_id::make_type_id;
use crate::wait::{Deadline, Interrupt, PollingMode};

/// Control requests that one look for a request answers on the way.
const CONTROLS_PER_LOOK: u32 = 64;

/// The answering end of RPC between two processes.
///
/// A [`Dispatcher`](crate::Dispatcher) serves on it with a table of endpoints; by hand it is
/// [`serve`](Self::serve), then [`reply`](Self::reply), in any order of requests. Dropping the callee closes the
/// connection in good order: a waiting caller gets an error at once.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("rpc.sock");
/// use tachyon::{Callee, Caller};
/// # let connect_to = path.clone();
///
/// let caller = std::thread::spawn(move || -> Result<_, tachyon::Error> {
///     Ok(Caller::connect(&connect_to)?.call(1, b"ping")?.to_vec())
/// });
/// let mut callee = Callee::listen(&path, 4096, 4096)?;
/// let request = callee.serve()?;
/// let (call, payload) = (request.correlation_id(), request.to_ascii_uppercase());
/// drop(request);
/// callee.reply(call, 1, &payload)?;
/// assert_eq!(caller.join().unwrap()?, b"PING");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping a callee closes its connection"]
pub struct Callee {
    pub(crate) rx: Rx,
    pub(crate) tx: Tx,
}

impl Callee {
    /// Makes a connection with `forward` bytes for requests and `reverse` bytes for replies at `path`, and waits for
    /// its caller.
    ///
    /// # Errors
    /// [`ListenError`]: a capacity that is not a power of two, a path that cannot be listened at, a lack of memory.
    pub fn listen(path: impl AsRef<Path>, forward: usize, reverse: usize) -> Result<Self, ListenError> {
        Self::listen_with(path, forward, reverse, &Options::new())
    }

    /// As [`listen`](Self::listen), with [`Options`].
    ///
    /// # Errors
    /// As [`listen`](Self::listen), and when the options' timeout passes first.
    pub fn listen_with(
        path: impl AsRef<Path>,
        forward: usize,
        reverse: usize,
        options: &Options,
    ) -> Result<Self, ListenError> {
        Ok(Self::over(&connection::listen(path.as_ref(), Kind::Rpc, Role::Sink, &[forward, reverse], options)?))
    }

    /// Connects to the caller that listens at `path`, waiting up to 5 seconds for it to appear.
    ///
    /// # Errors
    /// [`ConnectError`]: no process listens, or the listener is of another kind, version or user.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ConnectError> {
        Self::connect_with(path, &Options::new())
    }

    /// As [`connect`](Self::connect), with [`Options`].
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, ConnectError> {
        Ok(Self::over(&connection::connect(path.as_ref(), Kind::Rpc, Role::Sink, options)?))
    }

    pub(crate) fn over(established: &Established) -> Self {
        Self { rx: established.rx(0), tx: established.tx(1) }
    }

    /// Waits for the next request. Each request needs a [`reply`](Self::reply) or a [`reply_error`](Self::reply_error):
    /// its caller waits for one.
    ///
    /// # Errors
    /// [`ServeError::Closed`] when the caller closed in good order; otherwise it died, or the memory is corrupted.
    #[inline]
    pub fn serve(&mut self) -> Result<RpcRxGuard<'_>, ServeError> {
        self.take(Deadline::never())?;
        Ok(RpcRxGuard::over(&mut self.rx))
    }

    /// As [`serve`](Self::serve), waiting at most `timeout`.
    ///
    /// # Errors
    /// As [`serve`](Self::serve), and [`ServeError::TimedOut`].
    pub fn serve_timeout(&mut self, timeout: Duration) -> Result<RpcRxGuard<'_>, ServeError> {
        self.take(Deadline::after(timeout))?;
        Ok(RpcRxGuard::over(&mut self.rx))
    }

    /// The next request if there is one.
    ///
    /// # Errors
    /// As [`serve`](Self::serve).
    pub fn try_serve(&mut self) -> Result<Option<RpcRxGuard<'_>>, ServeError> {
        for _ in 0..CONTROLS_PER_LOOK {
            if !self.rx.try_take_current()? {
                break;
            }
            open_current(&self.rx)?;
            if is_plain(&self.rx.current) || self.open() {
                return Ok(Some(RpcRxGuard::over(&mut self.rx)));
            }
            let answered = try_answer_own(&mut self.tx, &self.rx.current);
            self.rx.release_current();
            answered?;
        }
        Ok(None)
    }

    /// Opens the current frame. False for a request that this side answers itself.
    #[cold]
    fn open(&mut self) -> bool {
        open_metadata(&mut self.rx);
        is_users(&self.rx.current)
    }

    /// Takes the next request for the user as the current frame of the forward ring.
    #[inline]
    fn take(&mut self, deadline: Deadline) -> Result<(), ServeError> {
        loop {
            self.rx.take_current(deadline)?;
            open_current(&self.rx)?;
            if is_plain(&self.rx.current) || self.open() {
                return Ok(());
            }
            self.answer_own(deadline)?;
        }
    }

    /// Answers and releases a request that is not for the user.
    #[cold]
    fn answer_own(&mut self, deadline: Deadline) -> Result<(), ServeError> {
        let request = self.rx.current;
        let answered = match own_reply(&request, self.tx.max_len()) {
            None => Ok(()),
            Some((type_id, payload)) => {
                self.tx.send(&payload, MessageHeader::new(type_id, request.correlation_id), deadline)
            }
        };
        self.rx.release_current();
        match answered {
            // The caller is gone. Its earlier requests are still served.
            Ok(()) | Err(Unsent::Halted(Halt::Closed | Halt::PeerDead)) => {}
            Err(unsent) => return Err(unsent.into()),
        }
        Ok(self.rx.check_deadline(deadline)?)
    }

    /// Answers a request with a copy of `payload`, waiting for room.
    ///
    /// # Errors
    /// [`ServeError::InvalidCorrelation`] for an id no request came with, [`ServeError::TooLarge`] for a payload that
    /// can never fit (answer with [`reply_error`](Self::reply_error): the caller still waits), or the caller is gone.
    #[inline]
    pub fn reply(&mut self, correlation_id: u64, msg_type: u16, payload: &[u8]) -> Result<(), ServeError> {
        check_correlation(&self.tx, correlation_id)?;
        Ok(self.tx.send_reply(payload, MessageHeader::new(make_type_id(0, msg_type), correlation_id))?)
    }

    /// Takes `size` bytes of the reverse ring to write a reply in place, waiting for room.
    ///
    /// # Errors
    /// As [`reply`](Self::reply).
    pub fn reserve_reply(
        &mut self,
        correlation_id: u64,
        msg_type: u16,
        size: usize,
    ) -> Result<RpcTxGuard<'_>, ServeError> {
        check_correlation(&self.tx, correlation_id)?;
        let reservation = self.tx.reserve(size, Deadline::never())?;
        Ok(RpcTxGuard::reply(&mut self.tx, reservation, make_type_id(0, msg_type), correlation_id))
    }

    /// Answers a request of `msg_type` with an error. `text` travels with it; pass "" to say nothing more.
    ///
    /// # Errors
    /// As [`reply`](Self::reply).
    pub fn reply_error(
        &mut self,
        correlation_id: u64,
        msg_type: u16,
        kind: ErrorKind,
        text: &str,
    ) -> Result<(), ServeError> {
        check_correlation(&self.tx, correlation_id)?;
        Ok(send_error(&mut self.tx, correlation_id, msg_type, kind, ErrorBody::text(text))?)
    }

    /// Longest reply, in bytes.
    pub fn max_len(&self) -> usize {
        self.tx.max_len()
    }

    /// How the connection is doing. Costs a system call.
    pub fn state(&self) -> State {
        self.rx.connection.state()
    }

    /// Chooses what waiting does, for requests and for room: spin, park, or both.
    pub fn set_polling_mode(&mut self, mode: PollingMode) {
        self.tx.waiter.budget.set_mode(mode);
        self.rx.waiter.budget.set_mode(mode);
    }

    /// Sets the hook that a wait asks at least every 50 ms. A wait ends as interrupted when the hook returns true.
    pub fn set_interrupt(&mut self, interrupt: Option<Interrupt>) {
        self.tx.waiter.interrupt = interrupt;
        self.rx.waiter.interrupt = interrupt;
    }

    /// Closes the connection in good order, as dropping it does.
    pub fn close(self) {}
}

/// Refuses a reply that its caller never asked for.
#[inline]
pub(crate) fn check_correlation(tx: &Tx, correlation_id: u64) -> Result<(), ServeError> {
    if tx.connection.was_asked(correlation_id) { Ok(()) } else { Err(ServeError::InvalidCorrelation(correlation_id)) }
}
