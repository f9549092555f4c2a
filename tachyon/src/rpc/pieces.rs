//! A description on its way to a caller, piece by piece.

use crate::describe::{Chunk, Description, Query};
use crate::error::CallError;

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
    /// None yet of what the callee says about one endpoint, or about [`WHOLE_TABLE`](crate::describe::WHOLE_TABLE).
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

fn broken(what: &str) -> CallError {
    CallError::Describe(what.to_owned())
}
