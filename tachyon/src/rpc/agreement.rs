//! Whether caller and callee mean the same by an endpoint, and a description on its way to a caller, piece by piece.

use crate::engine::{ErrorKind, RpcError};
use crate::rpc::CallError;
use crate::schema::describe::{Chunk, Description, EndpointDescription, Query};

/// Longest description a caller puts together: 256 bytes for each of 65535 endpoints. Reading it takes up to some 20
/// times as much memory.
const LONGEST: usize = 16 << 20;

/// The pieces that have come so far.
#[derive(Debug)]
pub(crate) struct Pieces {
    msg_type: u16,
    json: Vec<u8>,
}

impl Pieces {
    /// None yet of what the callee says about one endpoint, or about [`WHOLE_TABLE`](crate::schema::describe::WHOLE_TABLE).
    pub(crate) fn of(msg_type: u16) -> Self {
        Self { msg_type, json: Vec::new() }
    }

    /// What to ask next.
    ///
    /// # Errors
    /// [`CallError::Describe`] when the description does not end.
    pub(crate) fn query(&self) -> Result<[u8; 6], CallError> {
        let offset = u32::try_from(self.json.len()).map_err(|_| broken("it does not end"))?;
        Ok(Query { msg_type: self.msg_type, offset }.encode())
    }

    /// Adds the answer; gives the whole when that was the last piece.
    ///
    /// # Errors
    /// [`CallError::Describe`] when it is not a piece of this description, or the whole is none.
    pub(crate) fn add(&mut self, answer: &[u8]) -> Result<Option<Description>, CallError> {
        let json = &mut self.json;
        let chunk = Chunk::decode(answer).ok_or_else(|| broken("a piece of it has no head"))?;
        if chunk.total > LONGEST || chunk.bytes.len() > chunk.total - json.len().min(chunk.total) {
            return Err(broken("it is longer than it says, or than it may be"));
        }
        json.extend_from_slice(chunk.bytes);
        if json.len() < chunk.total {
            return if chunk.bytes.is_empty() { Err(broken("it stops before its end")) } else { Ok(None) };
        }
        let json = core::str::from_utf8(json).map_err(|error| CallError::Describe(error.to_string()))?;
        Description::from_json(json).map(Some).map_err(|error| CallError::Describe(error.to_string()))
    }
}

/// The comparison of one endpoint with the callee's of the same message type, as questions and answers: one of each for
/// every piece of what the callee says about the endpoint.
#[derive(Debug)]
pub struct Agreement {
    here: EndpointDescription,
    pieces: Pieces,
}

impl Agreement {
    /// The comparison of an endpoint.
    pub fn on(here: EndpointDescription) -> Self {
        let pieces = Pieces::of(here.msg_type);
        Self { here, pieces }
    }

    /// What to ask next. A ring that is too small for the question belongs to a peer that was never meant to be asked.
    ///
    /// # Errors
    /// [`CallError::Describe`] when the description does not end.
    pub(crate) fn question(&self) -> Result<[u8; 6], CallError> {
        self.pieces.query()
    }

    /// Takes the answer; true when the two sides mean the same, false when another question is due. A callee that says
    /// nothing about its endpoints is taken at its word.
    ///
    /// # Errors
    /// [`CallError::Mismatch`] when the two sides do not mean the same, [`CallError::Describe`] when the answer is no
    /// description, [`CallError::Remote`] for an error.
    pub fn answered(&mut self, type_id: u32, answer: &[u8]) -> Result<bool, CallError> {
        match RpcError::decode(type_id, answer) {
            Some(error) if error.kind == ErrorKind::NoHandler => return Ok(true),
            Some(error) => return Err(CallError::Remote(error)),
            None => {}
        }
        let Some(theirs) = self.pieces.add(answer)? else { return Ok(false) };
        if let Some(theirs) = theirs.endpoint(self.here.msg_type) {
            self.here.agree_with(theirs)?;
        }
        Ok(true)
    }
}

fn broken(what: &str) -> CallError {
    CallError::Describe(what.to_owned())
}
