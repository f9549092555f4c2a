//! Control requests: what every callee answers by itself, without a handler of its user's.
//!
//! They travel on [`ROUTE_CONTROL`], with the operation as message type.

use std::time::{Duration, Instant};

use super::caller::{Caller, Taken};
use super::fault::{ErrorKind, ErrorReply, RpcError};
use crate::bus::Outgoing;
use crate::error::{CallError, Unsent};
use crate::ring::Frame;
use crate::slice;
use crate::type_id::{ROUTE_CONTROL, make_type_id, msg_type, route_id};
use crate::wait::Deadline;

/// Are you there? The reply is empty.
pub(crate) const PING: u16 = 0;

/// Whether a request is for the callee itself.
#[inline]
pub(crate) fn is_control(frame: &Frame) -> bool {
    route_id(frame.type_id) == ROUTE_CONTROL
}

/// The reply to a control request, as far as that takes no table of endpoints: type identifier and payload. An operation
/// that does, or that this version does not know, is one without a handler.
#[cold]
pub(crate) fn control_reply(frame: &Frame, max_len: usize) -> (u32, Vec<u8>) {
    match msg_type(frame.type_id) {
        PING => (make_type_id(ROUTE_CONTROL, PING), Vec::new()),
        unknown => {
            let ErrorReply { type_id, payload } = ErrorReply::encode(unknown, ErrorKind::NoHandler, "", max_len);
            (type_id, payload)
        }
    }
}

/// Answers a control request over a ring that others may be using at this moment: without waiting, so that a caller
/// that takes no replies stops nobody. One whose ring is full asks again.
#[cold]
pub(crate) fn try_answer_control(outgoing: &mut Outgoing, frame: &Frame) -> Result<(), Unsent> {
    let (type_id, payload) = control_reply(frame, outgoing.max_len());
    outgoing.try_send(&payload, type_id, frame.correlation_id).map(drop)
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
        let (type_id, payload) = self.control(PING, &[], Deadline::after(timeout))?;
        match RpcError::decode(type_id, &payload) {
            None => Ok(began.elapsed()),
            Some(error) => Err(CallError::Remote(error)),
        }
    }

    /// Makes a control request and copies its reply: type identifier and payload.
    pub(crate) fn control(
        &mut self,
        operation: u16,
        payload: &[u8],
        deadline: Deadline,
    ) -> Result<(u32, Vec<u8>), CallError> {
        self.revive(deadline)?;
        let (type_id, call) = (make_type_id(ROUTE_CONTROL, operation), self.pending.next());
        if !self.outgoing.try_send(payload, type_id, call)? {
            let reservation = self.wait_for_room(payload.len(), deadline)?;
            self.outgoing.fill(reservation, payload);
            self.outgoing.publish(reservation, payload.len(), type_id, call);
        }
        let call = self.pending.sent();
        match self.take(call, deadline) {
            Ok(Taken::InPlace(frame)) => {
                let reply = (frame.type_id, slice::payload(&frame, &self.incoming).to_vec());
                self.incoming.release(frame.position);
                Ok(reply)
            }
            Ok(Taken::Kept(arrived)) => Ok((arrived.type_id, arrived.payload)),
            Err(error) => {
                self.pending.end(call);
                Err(error)
            }
        }
    }
}
