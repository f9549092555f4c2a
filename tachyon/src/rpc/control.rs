//! Control requests: asked by a caller, answered by any callee without a handler of the user's.

use std::time::{Duration, Instant};

use super::callee::send_error;
use super::caller::Caller;
use super::fault::ErrorKind;
use super::guard::RpcRxGuard;
use crate::bus::{Incoming, Outgoing};
use crate::describe::{Chunk, Description, EndpointDescription, Operation, Query, WHOLE_TABLE};
use crate::error::{CallError, Unsent};
use crate::ring::Frame;
use crate::type_id::{ROUTE_CONTROL, make_type_id, msg_type, route_id};
use crate::wait::Deadline;

/// Longest description a caller puts together: more than 65535 endpoints can sensibly need, and no threat to its memory.
const LONGEST: usize = 64 << 20;

impl Caller {
    /// Asks the callee whether it is there, and gives the time the answer took. Any callee answers by itself, as soon
    /// as it serves.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tachyon::{Callee, Caller, Dispatcher};
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("rpc.sock");
    /// # let listen_at = path.clone();
    /// # let callee = std::thread::spawn(move || -> Result<(), tachyon::Error> {
    /// #     let mut callee = Callee::listen(&listen_at, 1 << 16, 1 << 16)?;
    /// #     Dispatcher::default().serve_forever(&mut callee)?;
    /// #     Ok(())
    /// # });
    /// let mut caller = Caller::connect(&path)?;
    /// assert!(caller.ping(Duration::from_secs(1))? < Duration::from_secs(1));
    /// # drop(caller);
    /// # callee.join().unwrap()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CallError::TimedOut`] when no answer comes within `timeout`; otherwise the callee is gone, or too old to know
    /// the question.
    pub fn ping(&mut self, timeout: Duration) -> Result<Duration, CallError> {
        let asked = Instant::now();
        drop(self.control_until(Operation::Ping, &[], Deadline::after(timeout))?);
        Ok(asked.elapsed())
    }

    /// Asks the callee what it offers.
    ///
    /// # Errors
    /// [`CallError::Remote`] of kind [`NoHandler`](crate::ErrorKind::NoHandler) when it can't say, because no
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

    /// The description of one endpoint, or of the whole table, put together from its chunks.
    #[cold]
    pub(crate) fn describe_until(&mut self, msg_type: u16, deadline: Deadline) -> Result<Description, CallError> {
        let broken = |what: &str| CallError::Describe(what.to_owned());
        let mut json = Vec::new();
        loop {
            let offset = u32::try_from(json.len()).map_err(|_| broken("it does not end"))?;
            let reply = self.control_until(Operation::Describe, &Query { msg_type, offset }.encode(), deadline)?;
            let chunk = Chunk::decode(&reply).ok_or_else(|| broken("a piece of it has no head"))?;
            if chunk.total > LONGEST || chunk.bytes.len() > chunk.total - json.len().min(chunk.total) {
                return Err(broken("it is longer than it says, or than it may be"));
            }
            json.extend_from_slice(chunk.bytes);
            if json.len() >= chunk.total {
                break;
            }
            if chunk.bytes.is_empty() {
                return Err(broken("it stops before its end"));
            }
        }
        let json = core::str::from_utf8(&json).map_err(|error| CallError::Describe(error.to_string()))?;
        Description::from_json(json).map_err(|error| CallError::Describe(error.to_string()))
    }

    fn control_until(
        &mut self,
        operation: Operation,
        payload: &[u8],
        deadline: Deadline,
    ) -> Result<RpcRxGuard<'_>, CallError> {
        self.request_routed(make_type_id(ROUTE_CONTROL, operation as u16), payload, deadline)
    }
}

/// Answers a frame that is a control request, as a callee without a dispatcher can; false for any other.
#[inline]
pub(crate) fn answer_control(incoming: &mut Incoming, outgoing: &mut Outgoing, frame: &Frame) -> Result<bool, Unsent> {
    if route_id(frame.type_id) != ROUTE_CONTROL {
        return Ok(false);
    }
    let answered = answer(outgoing, frame);
    incoming.release(frame.position);
    answered.map(|()| true)
}

#[cold]
fn answer(outgoing: &mut Outgoing, frame: &Frame) -> Result<(), Unsent> {
    let operation = msg_type(frame.type_id);
    match Operation::of(operation) {
        Some(Operation::Ping) => answer_ping(outgoing, frame),
        _ => send_error(outgoing, frame.correlation_id, operation, ErrorKind::NoHandler, ""),
    }
}

/// The answer to a ping: nothing.
pub(crate) fn answer_ping(outgoing: &mut Outgoing, frame: &Frame) -> Result<(), Unsent> {
    outgoing.send(&[], frame.type_id, frame.correlation_id, Deadline::never())
}
