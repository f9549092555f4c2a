//! Requests with a route, at an end whose user takes requests by hand: metadata leaves its request, and the binding
//! answers control requests and malformed metadata, which the user never sees.

use super::{Receiving, Sending, Taking};
use crate::engine::{is_cancel, is_control, is_plain, is_users, open_request, split_metadata};
use crate::metadata::Metadata;
use crate::rpc::{ServeError, try_answer_own};

impl Receiving {
    /// Moves the metadata of a request that is not [plain](Taking::is_plain) out of the request.
    #[cold]
    pub fn open_metadata(&mut self, taking: Taking) -> Taking {
        Taking(split_metadata(&mut self.0, taking.0))
    }

    /// The metadata of a request, after [`open_metadata`](Self::open_metadata) and before that of the next one.
    pub fn metadata(&self, taking: &Taking) -> Option<&Metadata> {
        self.0.metadata_at(taking.0.position)
    }
}

impl Taking {
    /// Whether this is a call without metadata.
    #[inline]
    pub fn is_plain(&self) -> bool {
        is_plain(&self.0)
    }

    /// Whether this is a call, after [`open_metadata`](Receiving::open_metadata). The binding answers other requests
    /// with [`answer_own`].
    pub fn is_users(&self) -> bool {
        is_users(&self.0)
    }

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

/// Answers a request that is not [for the user](Taking::is_users), unless the reply ring is full, and releases it. The
/// reply ring must have no reservation.
///
/// # Errors
/// As [`Callee::serve`](crate::Callee::serve).
#[cold]
pub fn answer_own(requests: &mut Receiving, replies: &mut Sending, taking: Taking) -> Result<(), ServeError> {
    let request = open_request(&requests.0, taking.0)?;
    let answered = try_answer_own(&mut replies.0, &request.frame);
    requests.release(taking.position());
    Ok(answered?)
}
