//! The comparison of an endpoint's two declarations, and the reassembly of a description from its chunks.

use crate::engine::{ErrorKind, RpcError};
use crate::rpc::CallError;
use crate::schema::describe::{CalleeLimits, Chunk, Description, EndpointDescription, Query};

/// Longest description a caller puts together: 256 bytes for each of 65535 endpoints. Reading it takes up to some 20
/// times as much memory.
const LONGEST: usize = 16 << 20;

/// The chunks of a description that have arrived.
#[derive(Debug)]
pub(crate) struct Chunks {
    msg_type: u16,
    json: Vec<u8>,
}

impl Chunks {
    /// No chunk yet, for the description of one endpoint or of the
    /// [`WHOLE_TABLE`](crate::schema::describe::WHOLE_TABLE).
    pub(crate) fn of(msg_type: u16) -> Self {
        Self { msg_type, json: Vec::new() }
    }

    /// The next query.
    ///
    /// # Errors
    /// [`CallError::Describe`] when the description does not end.
    pub(crate) fn query(&self) -> Result<[u8; 6], CallError> {
        let offset = u32::try_from(self.json.len()).map_err(|_| broken("it does not end"))?;
        Ok(Query { msg_type: self.msg_type, offset }.encode())
    }

    /// Adds a chunk. Gives the description when the chunk was the last.
    ///
    /// # Errors
    /// [`CallError::Describe`] when the chunk does not belong to this description, or the description cannot be read.
    pub(crate) fn add(&mut self, answer: &[u8]) -> Result<Option<Description>, CallError> {
        let json = &mut self.json;
        let chunk = Chunk::decode(answer).ok_or_else(|| broken("a chunk of it has no head"))?;
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

/// The comparison of one endpoint with the callee's endpoint of the same message type: one query and one answer for
/// each chunk of the callee's description.
#[derive(Debug)]
pub struct Agreement {
    here: EndpointDescription,
    chunks: Chunks,
}

impl Agreement {
    /// The comparison of an endpoint.
    pub fn on(here: EndpointDescription) -> Self {
        let chunks = Chunks::of(here.msg_type);
        Self { here, chunks }
    }

    /// The next query. A ring that is too small for a query belongs to a peer that expects none.
    ///
    /// # Errors
    /// [`CallError::Describe`] when the description does not end.
    pub(crate) fn question(&self) -> Result<[u8; 6], CallError> {
        self.chunks.query()
    }

    /// Takes an answer. True when the two declarations match, false when another query is due. A callee without
    /// descriptions is not compared.
    ///
    /// # Errors
    /// [`CallError::Mismatch`] when the declarations differ; [`CallError::Describe`] when the answer is no description,
    /// or an error of its making; [`CallError::TimedOut`] when the callee says so; [`CallError::Remote`] for any other
    /// error, of a kind that [has not begun](ErrorKind::has_begun).
    pub fn answered(&mut self, type_id: u32, answer: &[u8]) -> Result<bool, CallError> {
        match RpcError::decode(type_id, answer) {
            Some(error) => self.refused(error),
            None => self.described(answer),
        }
    }

    /// As [`answered`](Self::answered), for an error. In each case the call was not sent.
    pub(crate) fn refused(&self, error: RpcError) -> Result<bool, CallError> {
        let RpcError { kind, text, .. } = &error;
        match kind {
            ErrorKind::NoHandler => Ok(true),
            ErrorKind::DeadlinePassed => Err(CallError::TimedOut { sent: false }),
            kind if kind.has_begun() => Err(CallError::Describe(format!("{kind}: {text}"))),
            _ => Err(CallError::Remote(RpcError { msg_type: self.here.msg_type, ..error })),
        }
    }

    /// As [`answered`](Self::answered), for an answer that is no error.
    pub(crate) fn described(&mut self, answer: &[u8]) -> Result<bool, CallError> {
        let Some(theirs) = self.chunks.add(answer)? else { return Ok(false) };
        if let Some(theirs) = theirs.endpoint(self.here.msg_type) {
            self.here.agree_with(theirs)?;
        }
        Ok(true)
    }
}

/// Reads the reply to [`Operation::Limits`](crate::schema::describe::Operation::Limits).
pub(crate) fn limits_of(answer: &[u8]) -> Result<CalleeLimits, CallError> {
    CalleeLimits::decode(answer).ok_or_else(|| CallError::Describe("the limits are too short".to_owned()))
}

fn broken(what: &str) -> CallError {
    CallError::Describe(what.to_owned())
}
