//! A request as it came off the ring, made ready to be served.

use super::deadline::{PREFIX_LEN, read_deadline};
use crate::bus::Incoming;
use crate::error::Halt;
use crate::ring::{Fault, Frame};
use crate::slice;
use crate::type_id::{ROUTE_DEADLINE, make_type_id, msg_type, route_id};
use crate::wait::Deadline;

/// A request whose frame shows only what its caller's user sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenRequest {
    pub(crate) frame: Frame,
    pub(crate) deadline: Deadline,
}

/// Checks that a frame is a request and takes off what travels before its payload.
///
/// A request without a correlation id is no request: nobody could be answered, so its sender is no caller of ours.
#[inline]
pub(crate) fn open_request(incoming: &Incoming, frame: Frame) -> Result<OpenRequest, Halt> {
    check_call(incoming, frame.correlation_id)?;
    if route_id(frame.type_id) != ROUTE_DEADLINE {
        return Ok(OpenRequest { frame, deadline: Deadline::never() });
    }
    Ok(take_deadline(incoming, frame))
}

/// As [`open_request`], for the loan of a direction, which is changed in its place. Gives the deadline.
#[inline]
pub(crate) fn open_loan(incoming: &mut Incoming) -> Result<Deadline, Halt> {
    check_call(incoming, incoming.loan.correlation_id)?;
    if route_id(incoming.loan.type_id) != ROUTE_DEADLINE {
        return Ok(Deadline::never());
    }
    let OpenRequest { frame, deadline } = take_deadline(incoming, incoming.loan);
    incoming.loan = frame;
    Ok(deadline)
}

#[inline]
fn check_call(incoming: &Incoming, correlation_id: u64) -> Result<(), Halt> {
    if correlation_id == 0 {
        return Err(no_call(incoming));
    }
    incoming.connection.note_asked(correlation_id);
    Ok(())
}

#[cold]
fn no_call(incoming: &Incoming) -> Halt {
    incoming.connection.condemn();
    Halt::FatalError(Fault::Correlation(0))
}

/// Splits a request that travels with its deadline. One too short to hold it keeps its route, which no endpoint has.
fn take_deadline(incoming: &Incoming, frame: Frame) -> OpenRequest {
    let Some((prefix, rest)) = slice::payload(&frame, incoming).split_first_chunk::<PREFIX_LEN>() else {
        return OpenRequest { frame, deadline: Deadline::never() };
    };
    let deadline = read_deadline(*prefix);
    let data = core::ptr::NonNull::from(rest).cast();
    let type_id = make_type_id(0, msg_type(frame.type_id));
    OpenRequest { frame: Frame { data, len: rest.len(), type_id, ..frame }, deadline }
}
