//! Control requests at an end whose user takes requests by hand: the binding answers them, and the user never sees
//! them.

use super::{Receiving, Sending, Taking};
use crate::engine::{is_cancel, is_control, open_request};
use crate::rpc::{ServeError, try_answer_control};

impl Taking {
    /// Whether this is a control request, for the callee itself.
    #[inline]
    pub fn is_control(&self) -> bool {
        is_control(&self.0)
    }

    /// Whether this is a cancellation, which gets no answer.
    pub fn is_cancel(&self) -> bool {
        is_cancel(&self.0)
    }
}

/// Answers a control request, unless the reply ring is full, and releases it. The reply ring must have no reservation.
///
/// # Errors
/// As [`Callee::serve`](crate::Callee::serve).
#[cold]
pub fn answer_control(requests: &mut Receiving, replies: &mut Sending, taking: Taking) -> Result<(), ServeError> {
    let request = open_request(&requests.0, taking.0)?;
    let answered = try_answer_control(&mut replies.0, &request.frame);
    requests.release(taking.position());
    Ok(answered?)
}
