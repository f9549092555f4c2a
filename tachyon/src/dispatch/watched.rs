//! Serving with somebody watching: layers, and a server's counters.

use std::time::Duration;

use super::control;
use super::desk::{Desk, LATE, Lent};
use super::layer::{self, Context, Outcome};
use super::table::Registered;
use crate::connection::{Rx, Tx};
use crate::engine::{CallerInfo, ErrorKind, Watch, is_control};
use crate::ring::Frame;
use crate::rpc::ServeError;
use crate::stats::{Bank, Ending, Tally};
use crate::type_id::msg_type;
use crate::wait::{Deadline, monotonic_nanos};

/// Where a request comes from, for those who watch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Origin<'a> {
    /// The caller, when the server has several.
    pub(crate) caller: Option<&'a CallerInfo>,
    /// Where the serving worker counts.
    pub(crate) bank: Option<Bank<'a>>,
}

/// An ordinal that no endpoint has.
const NONE: usize = usize::MAX;

impl<S: ?Sized> Desk<S> {
    /// As `answer_plainly`, for layers and counters to see.
    #[inline(never)]
    #[allow(clippy::too_many_arguments, reason = "as for `answer_plainly`")]
    pub(super) fn answer_watched(
        &self,
        state: Lent<'_, S>,
        origin: &Origin<'_>,
        rx: &Rx,
        tx: &mut Tx,
        frame: &Frame,
        deadline: Deadline,
    ) -> Result<usize, Box<ServeError>> {
        if is_control(frame) {
            control::answer(self, rx, tx, frame).map_err(ServeError::from)?;
            return Ok(0);
        }
        let msg_type = msg_type(frame.type_id);
        let registered = self.find(frame.type_id);
        let call = (!self.layers.is_empty()).then(|| {
            let caller = origin.caller.copied();
            Context {
                msg_type,
                name: registered.map_or("", Registered::name),
                caller: caller.unwrap_or_else(|| CallerInfo::new(1, &rx.connection.peer)),
                correlation_id: frame.correlation_id,
                request_size: frame.len,
                overlaps: false,
                deadline,
                watch: Some(Watch(&rx.connection)),
            }
        });
        if let Some(call) = &call {
            layer::before(&self.layers, call);
        }
        let tally = origin.bank.map(|bank| bank.tally(registered.map_or(NONE, Registered::ordinal)));
        let measured = call.is_some() || tally.is_some_and(Tally::measures);
        let began = measured.then(monotonic_nanos);
        let result = self.answer_plainly(state, registered, origin, rx, tx, frame, deadline);
        let took = began.map(|began| monotonic_nanos().saturating_sub(began));
        let outcome = match &result {
            Ok(LATE) => Outcome::Failed(ErrorKind::DeadlinePassed),
            Ok(size) => Outcome::Replied(*size),
            Err(error) => match &**error {
                ServeError::NoHandler { .. } => Outcome::Failed(ErrorKind::NoHandler),
                ServeError::Handler(failure) => Outcome::Failed(failure.kind),
                _ => Outcome::CallerGone,
            },
        };
        // A handler may have forked: then it is its parent's call that counts, in memory that the two share.
        let forked = matches!(&result, Err(error) if matches!(**error, ServeError::Forked));
        if let Some(tally) = tally
            && !forked
        {
            tally.record(frame.len, took, outcome.into());
        }
        if let (Some(call), Some(took)) = (&call, took) {
            layer::after(&self.layers, call, &outcome, Duration::from_nanos(took));
        }
        result
    }
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Replied(len) => Self::Replied(len),
            Outcome::Failed(kind) => Self::Failed(kind),
            Outcome::CallerGone => Self::CallerGone,
        }
    }
}
