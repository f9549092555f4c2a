//! A request as it came off the ring, made ready to be served.

use crate::bus::Incoming;
use crate::error::Halt;
use crate::ring::{Fault, Frame};
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
pub(crate) fn open_request(incoming: &Incoming, frame: Frame) -> Result<OpenRequest, Halt> {
    check_call(incoming, frame.correlation_id)?;
    Ok(OpenRequest { frame, deadline: Deadline::from_wire(frame.deadline) })
}

#[inline]
fn check_call(incoming: &Incoming, correlation_id: u64) -> Result<(), Halt> {
    if correlation_id == 0 {
        return Err(incoming.connection.broken(Fault::Correlation(0)));
    }
    incoming.connection.note_asked(correlation_id);
    Ok(())
}

/// As [`open_request`], for the loan of a direction. Gives the deadline.
#[inline]
pub(crate) fn open_loan(incoming: &Incoming) -> Result<Deadline, Halt> {
    check_call(incoming, incoming.loan.correlation_id)?;
    Ok(Deadline::from_wire(incoming.loan.deadline))
}
