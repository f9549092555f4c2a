//! Typed endpoints of another language: what both sides mean is compared before the first request of a connection.

use super::calling::{Limit, RequestRoom};
use crate::describe::EndpointDescription;
use crate::error::CallError;
use crate::rpc::{Caller, Pieces};

/// The calling end's part in comparing what its endpoints mean with what the callee's do.
pub trait CallerAgreement {
    /// Whether the endpoint that goes by `key`, an odd number, was compared on the present connection.
    fn has_agreed(&mut self, key: usize) -> bool;
    /// Takes room for a request of `size` bytes that is due by `limit`, on a connection where its endpoint was compared.
    /// Waits for the callee's description, if need be, and for room.
    ///
    /// # Errors
    /// [`CallError::Mismatch`] when the two sides do not mean the same; otherwise as [`Caller::describe_timeout`].
    fn wait_to_call_agreed(
        &mut self,
        here: &EndpointDescription,
        key: usize,
        size: usize,
        limit: Limit,
    ) -> Result<RequestRoom, CallError>;
}

impl CallerAgreement for Caller {
    #[inline]
    fn has_agreed(&mut self, key: usize) -> bool {
        self.agreed.knows_key(key)
    }

    fn wait_to_call_agreed(
        &mut self,
        here: &EndpointDescription,
        key: usize,
        size: usize,
        limit: Limit,
    ) -> Result<RequestRoom, CallError> {
        self.revive(limit.0)?;
        match agree_and_reserve(self, here, key, size, limit) {
            // The next callee is asked again what it means.
            Err(CallError::Closed | CallError::PeerDead) if self.reconnects() => {
                self.reconnect(limit.0)?;
                agree_and_reserve(self, here, key, size, limit)
            }
            outcome => outcome,
        }
    }
}

fn agree_and_reserve(
    caller: &mut Caller,
    here: &EndpointDescription,
    key: usize,
    size: usize,
    Limit(deadline): Limit,
) -> Result<RequestRoom, CallError> {
    if !caller.agreed.knows_key(key) {
        caller.agree_on(here, key, deadline)?;
    }
    let reservation = caller.take_room(size, deadline)?;
    Ok(RequestRoom { reservation, header: caller.header(here.msg_type, deadline) })
}

/// A comparison in steps that never wait: question and answer, as often as the description has pieces.
#[derive(Debug)]
pub struct Comparison {
    here: EndpointDescription,
    pieces: Pieces,
}

impl Comparison {
    /// Compares an endpoint with the callee's of the same message type.
    pub fn new(here: EndpointDescription) -> Self {
        let pieces = Pieces::of(here.msg_type);
        Self { here, pieces }
    }

    /// Asks the callee, if there is room, and gives the correlation id of the answer; `None` means: wait.
    ///
    /// # Errors
    /// [`CallError::TooLarge`] on a ring that cannot hold the question; otherwise the connection's end.
    pub fn ask(&self, caller: &mut Caller) -> Result<Option<u64>, CallError> {
        caller.try_ask(&self.pieces)
    }

    /// Takes the answer; false when another question is due.
    ///
    /// # Errors
    /// [`CallError::Mismatch`] when the two sides do not mean the same, [`CallError::Describe`] when the answer is no
    /// description.
    pub fn take(&mut self, answer: &[u8]) -> Result<bool, CallError> {
        let Some(theirs) = self.pieces.add(answer)? else { return Ok(false) };
        if let Some(theirs) = theirs.endpoint(self.here.msg_type) {
            self.here.agree_with(theirs)?;
        }
        Ok(true)
    }
}
