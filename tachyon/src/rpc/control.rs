//! Requests that every callee answers itself, without a user's handler: control requests, and malformed metadata.
//!
//! Control requests travel on [`ROUTE_CONTROL`], with the operation as message type.

use crate::connection::{Halt, Tx, Unsent};
use crate::engine::{
    BAD_METADATA, ErrorBody, ErrorKind, ErrorReply, has_metadata, is_cancel, is_open, is_stream_message,
};
use crate::ring::{Frame, MessageHeader};
use crate::schema::describe::Operation;
use crate::type_id::msg_type;

/// The reply to a control request that needs no table of endpoints: type identifier and payload. Every other operation
/// is refused with `NoHandler`.
#[cold]
pub(crate) fn control_reply(frame: &Frame, max_len: usize) -> (u32, Vec<u8>) {
    match Operation::of(msg_type(frame.type_id)) {
        Some(Operation::Ping) => (frame.type_id, Vec::new()),
        Some(Operation::Describe | Operation::Limits) | None => refusal(frame, ErrorKind::NoHandler, "", max_len),
    }
}

/// The error reply to a control request: type identifier and payload.
#[cold]
pub(crate) fn refusal(frame: &Frame, kind: ErrorKind, text: &str, max_len: usize) -> (u32, Vec<u8>) {
    let ErrorReply { type_id, payload } =
        ErrorReply::encode(msg_type(frame.type_id), kind, ErrorBody::text(text), max_len);
    (type_id, payload)
}

/// The reply to a message that a callee without a table answers itself: type identifier and payload. `None` for a
/// message that gets no reply. Such a callee has no streams.
#[cold]
pub(crate) fn own_reply(frame: &Frame, max_len: usize) -> Option<(u32, Vec<u8>)> {
    if is_cancel(frame) || is_stream_message(frame) {
        return None;
    }
    Some(if has_metadata(frame) {
        refusal(frame, ErrorKind::BadRequest, BAD_METADATA, max_len)
    } else if is_open(frame) {
        refusal(frame, ErrorKind::NoHandler, "", max_len)
    } else {
        control_reply(frame, max_len)
    })
}

/// Answers a request for the callee itself without waiting: the ring may be in use, and a caller that takes no replies
/// must not block the callee. A caller whose ring is full gets no answer and asks again. The later requests of a caller
/// that is gone are still served.
#[cold]
pub(crate) fn try_answer_own(tx: &mut Tx, frame: &Frame) -> Result<(), Unsent> {
    let Some((type_id, payload)) = own_reply(frame, tx.max_len()) else { return Ok(()) };
    match tx.try_send(&payload, MessageHeader::new(type_id, frame.correlation_id)) {
        Err(Unsent::Halted(Halt::Closed | Halt::PeerDead)) => Ok(()),
        outcome => outcome.map(drop),
    }
}
