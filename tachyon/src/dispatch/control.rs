//! Control requests that reach a dispatcher.

use crate::bus::Outgoing;
use crate::error::Unsent;
use crate::ring::Frame;
use crate::rpc::control_reply;
use crate::type_id::msg_type;

/// Answers a control request. Its caller is a tool or another end's health check: neither layers nor counts see it.
#[cold]
pub(super) fn answer(outgoing: &mut Outgoing, frame: &Frame) -> Result<(), Unsent> {
    #[allow(clippy::match_single_binding, reason = "the list of operations, of which none needs the table yet")]
    let (type_id, payload) = match msg_type(frame.type_id) {
        _ => control_reply(frame, outgoing.max_len()),
    };
    outgoing.send_owed(&payload, type_id, frame.correlation_id)
}
