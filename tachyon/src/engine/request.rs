//! A request as it came off the ring, made ready to be served.

use super::callee_streams::{is_open, is_stream_message};
use crate::connection::{Halt, Rx, slice};
use crate::metadata::{METADATA, Metadata};
use crate::ring::{Fault, Frame};
use crate::schema::describe::{Operation, Query, WHOLE_TABLE};
use crate::type_id::{ROUTE_CANCEL, ROUTE_CONTROL, msg_type, route_id};
use crate::wait::Deadline;

/// A request and the time until which its caller waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenRequest {
    pub(crate) frame: Frame,
    pub(crate) deadline: Deadline,
}

/// Checks that a frame is a request, and reads its deadline.
///
/// A request without a correlation id is no request: a reply to it would have no address, so its sender is no caller.
#[inline]
pub(crate) fn open_request(rx: &Rx, frame: Frame) -> Result<OpenRequest, Halt> {
    check_call(rx, frame.correlation_id)?;
    Ok(OpenRequest { frame, deadline: Deadline::from_wire(frame.deadline) })
}

#[inline]
fn check_call(rx: &Rx, correlation_id: u64) -> Result<(), Halt> {
    if correlation_id == 0 {
        return Err(rx.connection.broken(Fault::Correlation(0)));
    }
    rx.connection.note_asked(correlation_id);
    Ok(())
}

/// As [`open_request`], for the current frame of a direction. Gives the deadline.
#[inline]
pub(crate) fn open_current(rx: &Rx) -> Result<Deadline, Halt> {
    check_call(rx, rx.current.correlation_id)?;
    Ok(Deadline::from_wire(rx.current.deadline))
}

/// Whether a request is a call without metadata.
#[inline]
pub(crate) fn is_plain(frame: &Frame) -> bool {
    route_id(frame.type_id) == 0
}

/// Whether a request is a call with metadata behind its payload; after [`open_metadata`], whether the metadata is
/// malformed.
pub(crate) fn has_metadata(frame: &Frame) -> bool {
    let without = Frame { type_id: frame.type_id & !METADATA, ..*frame };
    without.type_id != frame.type_id && (is_plain(&without) || is_open(&without))
}

/// Moves the metadata of the current message out of the message, which becomes a request without metadata. A message
/// that no caller writes keeps its route, and is refused.
#[cold]
pub(crate) fn open_metadata(rx: &mut Rx) {
    rx.current = split_metadata(rx, rx.current);
}

/// As [`open_metadata`], for a message that the caller of this function has taken.
#[cold]
pub(crate) fn split_metadata(rx: &mut Rx, frame: Frame) -> Frame {
    if !has_metadata(&frame) {
        return frame;
    }
    let Some((len, metadata)) = Metadata::split(slice::payload(&frame, rx)) else { return frame };
    rx.set_metadata(frame.position, metadata);
    Frame { type_id: frame.type_id & !METADATA, len, ..frame }
}

/// Why a request with metadata that no caller writes is refused.
pub(crate) const BAD_METADATA: &str = "the metadata of the request is malformed";

/// Whether a request is for the callee itself: a control request, or the cancellation of a call.
#[inline]
pub(crate) fn is_control(frame: &Frame) -> bool {
    matches!(route_id(frame.type_id), ROUTE_CONTROL | ROUTE_CANCEL)
}

/// Whether an opened request is for the user of a callee without a table.
pub(crate) fn is_users(frame: &Frame) -> bool {
    !is_control(frame) && !has_metadata(frame) && !is_open(frame) && !is_stream_message(frame)
}

/// Whether a request cancels a call. A callee takes it and gives no reply.
pub(crate) fn is_cancel(frame: &Frame) -> bool {
    route_id(frame.type_id) == ROUTE_CANCEL
}

/// The message type that an error reply to the current frame of `rx` names. A question for the description of one
/// endpoint is the beginning of a call of that endpoint.
#[cold]
pub(crate) fn refused_type(rx: &Rx) -> u16 {
    let frame = &rx.current;
    let of = msg_type(frame.type_id);
    if route_id(frame.type_id) != ROUTE_CONTROL || Operation::of(of) != Some(Operation::Describe) {
        return of;
    }
    let asked = Query::decode(slice::payload(frame, rx)).map(|query| query.msg_type);
    asked.filter(|asked| *asked != WHOLE_TABLE).unwrap_or(of)
}
