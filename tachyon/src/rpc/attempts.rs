//! The rule for another attempt at a failed call, the same for every caller.

use std::time::Duration;

use crate::engine::ErrorKind;
use crate::rpc::CallError;
use crate::wait::Deadline;

/// Times that an idempotent request is sent again after its connection was lost. The limit protects the next callees
/// from a request that kills each callee.
const RESENDS: u32 = 2;

/// Time for which a call without a deadline is tried again while it was not begun.
const PATIENCE: Duration = Duration::from_secs(5);

/// The attempts at one call.
///
/// | error | another attempt |
/// |---|---|
/// | the connection was lost before the request was sent | until the deadline |
/// | the callee stops, and has not begun the call | until the deadline, at the next callee |
/// | the connection was lost with the request | twice, if the call may run twice |
/// | any other | none |
///
/// A caller that does not reconnect has one attempt.
#[derive(Debug)]
pub struct Attempts {
    reconnects: bool,
    resends: u32,
    until: Deadline,
    /// Whether the request was sent in an earlier attempt, and lost with its callee.
    lost: bool,
}

impl Attempts {
    /// The attempts of a caller that may reconnect, at a call that may run twice if it is `idempotent`.
    pub(crate) fn new(reconnects: bool, idempotent: bool, deadline: Deadline) -> Self {
        let until = if deadline.remaining().is_some() { deadline } else { Deadline::after(PATIENCE) };
        Self { reconnects, resends: if idempotent { RESENDS } else { 0 }, until, lost: false }
    }

    /// As [`again`](Self::again), after the callee answered that it stops.
    pub fn again_elsewhere(&mut self) -> bool {
        self.reconnects && !self.until.has_passed()
    }

    /// Whether a call that ended in this error is made again.
    pub fn again<E>(&mut self, error: &CallError<E>) -> bool {
        if error.is_loss() && error.sent() {
            let left = self.reconnects && self.resends > 0;
            self.resends = self.resends.saturating_sub(1);
            self.lost |= left;
            return left;
        }
        (error.is_loss() || is_stopping(error)) && self.again_elsewhere()
    }

    /// Whether an earlier attempt may have begun.
    pub fn may_have_begun(&self) -> bool {
        self.lost
    }

    /// The error of the call: that of the last attempt, marked as sent if an earlier attempt may have begun.
    #[cold]
    pub fn outcome<E>(&self, error: CallError<E>) -> CallError<E> {
        match error {
            CallError::TimedOut { .. } if self.lost => CallError::TimedOut { sent: true },
            CallError::Interrupted { .. } if self.lost => CallError::Interrupted { sent: true },
            CallError::Unreachable { path, source, .. } if self.lost => {
                CallError::Unreachable { path, source, sent: true }
            }
            CallError::Closed { .. }
            | CallError::PeerDead { .. }
            | CallError::Reconnect(_)
            | CallError::Exhausted { .. }
            | CallError::Refused(_)
                if self.lost =>
            {
                CallError::PeerDead { sent: true }
            }
            other => other,
        }
    }
}

/// Whether the callee answered that it stops, and has not begun the call.
pub(super) fn is_stopping<E>(error: &CallError<E>) -> bool {
    matches!(error, CallError::Remote(error) if error.kind == ErrorKind::Stopping)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RpcError;

    const LOST: CallError = CallError::PeerDead { sent: true };
    const UNSENT: CallError = CallError::Closed { sent: false };

    fn stopping() -> CallError {
        CallError::Remote(RpcError::of_kind(ErrorKind::Stopping, 1))
    }

    #[test]
    fn a_lost_call_is_made_again_twice_if_it_may_run_twice() {
        let mut attempts = Attempts::new(true, true, Deadline::never());
        assert_eq!([(); 4].map(|()| attempts.again(&LOST)), [true, true, false, false]);
        assert!(!Attempts::new(true, false, Deadline::never()).again(&LOST));
    }

    #[test]
    fn a_call_that_was_not_begun_is_made_again_until_its_deadline() {
        let mut attempts = Attempts::new(true, false, Deadline::after(Duration::from_mins(1)));
        for _ in 0..10 {
            assert!(attempts.again(&UNSENT) && attempts.again(&stopping()));
        }
        let mut attempts = Attempts::new(true, false, Deadline::after(Duration::ZERO));
        assert!(!attempts.again(&UNSENT) && !attempts.again(&stopping()));
    }

    #[test]
    fn a_caller_that_does_not_reconnect_has_one_attempt() {
        let mut attempts = Attempts::new(false, true, Deadline::never());
        assert!(!attempts.again(&LOST) && !attempts.again(&UNSENT) && !attempts.again(&stopping()));
    }

    #[test]
    fn what_an_earlier_attempt_may_have_begun_was_sent() {
        let mut attempts = Attempts::new(true, true, Deadline::never());
        assert!(!attempts.outcome(UNSENT).sent());
        assert!(attempts.again(&LOST) && attempts.may_have_begun());
        for error in [UNSENT, CallError::TimedOut { sent: false }, CallError::Interrupted { sent: false }] {
            assert!(attempts.outcome(error).sent());
        }
    }

    #[test]
    fn an_answer_is_no_reason() {
        let mut attempts = Attempts::new(true, true, Deadline::never());
        for kind in [ErrorKind::HandlerFailed, ErrorKind::NoHandler, ErrorKind::BadRequest] {
            assert!(
                !attempts.again::<crate::schema::payload::Undeclared>(&CallError::Remote(RpcError::of_kind(kind, 1)))
            );
        }
        assert!(!attempts.again::<crate::schema::payload::Undeclared>(&CallError::TimedOut { sent: false }));
    }
}
