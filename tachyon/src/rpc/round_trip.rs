//! Calls in one piece: a request, and the wait for its reply.

use std::time::Duration;

use super::attempts::{Attempts, is_stopping};
use super::caller::Caller;
use super::guard::RpcRxGuard;
use crate::engine::{ErrorKind, RpcError};
use crate::error::CallError;
use crate::type_id::MSG_TYPE_ERROR;
use crate::wait::Deadline;

impl Caller {
    /// Calls and waits for the reply.
    ///
    /// # Errors
    /// [`CallError::Remote`] when the callee answered with an error; otherwise as [`call`](Self::call) and
    /// [`wait`](Self::wait). After an error the call is forgotten.
    #[inline]
    pub fn request(&mut self, msg_type: u16, payload: &[u8]) -> Result<RpcRxGuard<'_>, CallError> {
        self.request_until(msg_type, payload, Deadline::never(), false)
    }

    /// As [`request`](Self::request), in at most `timeout`. The callee is told when that ends, as by
    /// [`call_timeout`](Self::call_timeout).
    ///
    /// # Errors
    /// As [`request`](Self::request), and [`CallError::TimedOut`].
    pub fn request_timeout(
        &mut self,
        msg_type: u16,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<RpcRxGuard<'_>, CallError> {
        self.request_until(msg_type, payload, Deadline::after(timeout), false)
    }

    /// As [`request`](Self::request), for an endpoint that may be called twice where it is called once: a request lost
    /// with its callee is sent again to the next one, at most twice. Only a caller that
    /// [reconnects](crate::Options::reconnect) does so.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use tachyon::{Callee, Caller, Options};
    /// # let listen_at = path.clone();
    ///
    /// let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
    ///     // This one takes a request and is gone.
    ///     let mut callee = Callee::listen(&listen_at, 4096, 4096)?;
    ///     drop(callee.serve()?);
    ///     drop(callee);
    ///     // This one answers.
    ///     let mut callee = Callee::listen(&listen_at, 4096, 4096)?;
    ///     let request = callee.serve()?;
    ///     let (call, reply) = (request.correlation_id(), request.to_vec());
    ///     drop(request);
    ///     callee.reply(call, 1, &reply)?;
    ///     Ok(())
    /// });
    /// let mut caller = Caller::connect_with(&path, &Options::new().reconnect(true))?;
    /// assert_eq!(&*caller.request_idempotent(1, b"read")?, b"read");
    /// callee.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`request`](Self::request); [`CallError::Closed`] or [`CallError::PeerDead`] when one callee after the other
    /// was lost.
    pub fn request_idempotent(&mut self, msg_type: u16, payload: &[u8]) -> Result<RpcRxGuard<'_>, CallError> {
        self.request_until(msg_type, payload, Deadline::never(), true)
    }

    /// As [`request_idempotent`](Self::request_idempotent), in at most `timeout` for all attempts.
    ///
    /// # Errors
    /// As [`request_idempotent`](Self::request_idempotent), and [`CallError::TimedOut`].
    pub fn request_idempotent_timeout(
        &mut self,
        msg_type: u16,
        payload: &[u8],
        timeout: Duration,
    ) -> Result<RpcRxGuard<'_>, CallError> {
        self.request_until(msg_type, payload, Deadline::after(timeout), true)
    }

    #[inline]
    fn request_until(
        &mut self,
        msg_type: u16,
        payload: &[u8],
        deadline: Deadline,
        idempotent: bool,
    ) -> Result<RpcRxGuard<'_>, CallError> {
        let outcome = self.exchange(msg_type, payload, deadline);
        if outcome.is_err() {
            self.try_again(outcome, deadline, idempotent, |caller| caller.exchange(msg_type, payload, deadline))?;
        }
        Ok(self.lend())
    }

    /// Makes a call again that failed, where that is worth it.
    #[cold]
    pub(super) fn try_again<E>(
        &mut self,
        mut outcome: Result<(), CallError<E>>,
        deadline: Deadline,
        idempotent: bool,
        mut exchange: impl FnMut(&mut Self) -> Result<(), CallError<E>>,
    ) -> Result<(), CallError<E>> {
        let mut attempts = Attempts::new(self.reconnects(), idempotent, deadline);
        while let Err(error) = &outcome
            && attempts.again(error)
        {
            if is_stopping(error) {
                self.await_end(deadline).map_err(|error| attempts.outcome(CallError::widen(error)))?;
            }
            outcome = exchange(self);
        }
        outcome.map_err(|error| attempts.outcome(error))
    }

    /// Calls, and takes the reply as the loan of the reverse ring, unless it is an error.
    #[inline]
    fn exchange(&mut self, msg_type: u16, payload: &[u8], deadline: Deadline) -> Result<(), CallError> {
        let call = self.call_until(msg_type, payload, deadline)?;
        self.finish(call, deadline)?;
        if crate::type_id::msg_type(self.core.incoming.loan.type_id) == MSG_TYPE_ERROR {
            return Err(self.refused());
        }
        Ok(())
    }

    /// Takes the reply to a call as the loan of the reverse ring, or gives the call up.
    #[inline]
    pub(super) fn finish(&mut self, call: u64, deadline: Deadline) -> Result<(), CallError> {
        if self.core.take_lone(call) {
            return Ok(());
        }
        self.finish_slow(call, deadline)
    }

    #[inline(never)]
    fn finish_slow(&mut self, call: u64, deadline: Deadline) -> Result<(), CallError> {
        let outcome = self.take_slow(call, deadline);
        if let Err(error) = &outcome {
            // The callee knows the call's deadline.
            self.core.end(call, !matches!(error, CallError::TimedOut { .. }));
        }
        outcome
    }

    /// What the error reply that was taken says; it is released.
    #[cold]
    pub(super) fn refused(&mut self) -> CallError {
        let guard = self.lend();
        match guard.error() {
            Some(error) => CallError::refused(error),
            None => CallError::UnknownCorrelation(guard.correlation_id()),
        }
    }
}

impl CallError {
    /// What an error reply means for a call in one piece. A callee that finds the deadline passed may say so before
    /// the caller has looked at its own clock.
    #[cold]
    pub(crate) fn refused(error: RpcError) -> Self {
        if error.kind == ErrorKind::DeadlinePassed { Self::TimedOut { sent: true } } else { Self::Remote(error) }
    }
}
