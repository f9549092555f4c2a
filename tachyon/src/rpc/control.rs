//! Control requests: what every callee answers by itself, without a handler of its user's.
//!
//! They travel on [`ROUTE_CONTROL`], with the operation as message type.

use std::time::{Duration, Instant};

use super::agreement::{Agreement, Pieces};
use super::caller::Caller;
use crate::aligned::AlignedBytes;
use crate::bus::Outgoing;
use crate::describe::{Description, EndpointDescription, Operation, WHOLE_TABLE};
use crate::engine::{ErrorBody, ErrorKind, ErrorReply, RpcError, is_cancel};
use crate::error::{CallError, Halt, Unsent};
use crate::ring::{Frame, MessageHeader};
use crate::type_id::{ROUTE_CONTROL, make_type_id, msg_type};
use crate::wait::Deadline;

/// The reply to a control request, as far as that takes no table of endpoints: type identifier and payload. An operation
/// that does, or that this version does not know, is one without a handler.
#[cold]
pub(crate) fn control_reply(frame: &Frame, max_len: usize) -> (u32, Vec<u8>) {
    match Operation::of(msg_type(frame.type_id)) {
        Some(Operation::Ping) => (frame.type_id, Vec::new()),
        Some(Operation::Describe) | None => refusal(frame, ErrorKind::NoHandler, max_len),
    }
}

/// The error reply to a control request: type identifier and payload.
#[cold]
pub(crate) fn refusal(frame: &Frame, kind: ErrorKind, max_len: usize) -> (u32, Vec<u8>) {
    let ErrorReply { type_id, payload } =
        ErrorReply::encode(msg_type(frame.type_id), kind, ErrorBody::default(), max_len);
    (type_id, payload)
}

/// Answers a control request over a ring that others may be using at this moment: without waiting, so that a caller
/// that takes no replies stops nobody. One whose ring is full asks again. One that is gone takes no answer, but what it
/// had sent after the question is still to be served.
#[cold]
pub(crate) fn try_answer_control(outgoing: &mut Outgoing, frame: &Frame) -> Result<(), Unsent> {
    if is_cancel(frame) {
        return Ok(());
    }
    let (type_id, payload) = control_reply(frame, outgoing.max_len());
    match outgoing.try_send(&payload, MessageHeader::new(type_id, frame.correlation_id)) {
        Err(Unsent::Halted(Halt::Closed | Halt::PeerDead)) => Ok(()),
        outcome => outcome.map(drop),
    }
}

impl Caller {
    /// Asks the callee for a sign of life and tells how long the answer took: the way there and back, and the wait for
    /// the requests before it. No handler is involved. A callee whose loop is in a handler answers after it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// use std::time::Duration;
    /// use tachyon::{Callee, Caller, Dispatcher};
    /// # let listen_at = path.clone();
    ///
    /// let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
    ///     let mut callee = Callee::listen(&listen_at, 4096, 4096)?;
    ///     Dispatcher::default().serve_forever(&mut callee)?;
    ///     Ok(())
    /// });
    /// let mut caller = Caller::connect(&path)?;
    /// let took = caller.ping(Duration::from_secs(1))?;
    /// assert!(took < Duration::from_secs(1));
    /// # drop(caller);
    /// callee.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CallError::TimedOut`] without an answer in time; otherwise as [`request`](Self::request).
    pub fn ping(&mut self, timeout: Duration) -> Result<Duration, CallError> {
        let began = Instant::now();
        let deadline = Deadline::after(timeout);
        self.revive(deadline)?;
        self.control(Operation::Ping, &[], deadline)?;
        Ok(began.elapsed())
    }

    /// Asks the callee what it offers.
    ///
    /// # Errors
    /// [`CallError::Remote`] of kind [`NoHandler`](crate::ErrorKind::NoHandler) when it cannot say, because no
    /// [`Dispatcher`](crate::Dispatcher) serves there; [`CallError::Describe`] when what it says is no description;
    /// otherwise as [`request`](Self::request).
    pub fn describe(&mut self) -> Result<Description, CallError> {
        self.describe_until(WHOLE_TABLE, Deadline::never())
    }

    /// As [`describe`](Self::describe), in at most `timeout`.
    ///
    /// # Errors
    /// As [`describe`](Self::describe), and [`CallError::TimedOut`].
    pub fn describe_timeout(&mut self, timeout: Duration) -> Result<Description, CallError> {
        self.describe_until(WHOLE_TABLE, Deadline::after(timeout))
    }

    /// Asks the callee about one endpoint; `None` when it does not have it.
    ///
    /// # Errors
    /// As [`describe`](Self::describe), and [`CallError::TimedOut`].
    pub fn describe_endpoint(
        &mut self,
        msg_type: u16,
        timeout: Option<Duration>,
    ) -> Result<Option<EndpointDescription>, CallError> {
        let description = self.describe_until(msg_type, timeout.into())?;
        Ok(description.endpoints.into_iter().find(|endpoint| endpoint.msg_type == msg_type))
    }

    fn describe_until(&mut self, msg_type: u16, deadline: Deadline) -> Result<Description, CallError> {
        self.revive(deadline)?;
        self.describe_here(msg_type, deadline)
    }

    /// The description of one endpoint, or of the whole table, put together from its pieces. All of them come over the
    /// present connection.
    #[cold]
    fn describe_here(&mut self, msg_type: u16, deadline: Deadline) -> Result<Description, CallError> {
        let mut pieces = Pieces::of(msg_type);
        loop {
            let reply = self.control(Operation::Describe, &pieces.query()?, deadline)?;
            if let Some(description) = pieces.add(&reply)? {
                return Ok(description);
            }
        }
    }

    /// Makes a control request over the present connection and copies its reply.
    fn control(&mut self, operation: Operation, payload: &[u8], deadline: Deadline) -> Result<AlignedBytes, CallError> {
        let (type_id, reply) = self.control_reply(operation, payload, deadline)?;
        match RpcError::decode(type_id, &reply) {
            None => Ok(reply),
            Some(error) => Err(CallError::Remote(error)),
        }
    }

    /// As [`control`](Self::control), with an error reply as it came: type identifier and payload.
    fn control_reply(
        &mut self,
        operation: Operation,
        payload: &[u8],
        deadline: Deadline,
    ) -> Result<(u32, AlignedBytes), CallError> {
        let type_id = make_type_id(ROUTE_CONTROL, operation as u16);
        let call = self.send_as(type_id, payload, Deadline::never(), deadline)?;
        self.finish(call, deadline)?;
        let guard = self.lend();
        Ok((guard.type_id(), AlignedBytes::from(&*guard)))
    }

    /// Compares the endpoint that goes by `key` with the callee's, once on each connection.
    pub(super) fn verify(
        &mut self,
        here: impl FnOnce() -> EndpointDescription,
        key: usize,
        deadline: Deadline,
    ) -> Result<(), CallError> {
        if self.core.verified.contains(key) {
            return Ok(());
        }
        let mut agreement = Agreement::on(here());
        loop {
            match self.control_reply(Operation::Describe, &agreement.question()?, deadline) {
                Ok((type_id, answer)) if !agreement.answered(type_id, &answer)? => {}
                Ok(_) | Err(CallError::TooLarge { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        self.core.verified.insert(key);
        Ok(())
    }
}
