//! Typed endpoints of another language.

use core::time::Duration;

use crate::describe::EndpointDescription;
use crate::error::CallError;
use crate::rpc::Caller;

/// The calling end's part in comparing what its endpoints mean with what the callee's do.
pub trait CallerAgreement {
    /// Whether the endpoint that goes by `key`, an odd number, was compared on this connection.
    fn has_agreed(&mut self, key: usize) -> bool;
    /// Compares it.
    ///
    /// # Errors
    /// [`CallError::Mismatch`] when the two sides do not mean the same; otherwise as [`Caller::describe`].
    fn agree_on(&mut self, here: &EndpointDescription, key: usize, timeout: Option<Duration>) -> Result<(), CallError>;
}

impl CallerAgreement for Caller {
    #[inline]
    fn has_agreed(&mut self, key: usize) -> bool {
        self.agreed.knows_key(key)
    }

    fn agree_on(&mut self, here: &EndpointDescription, key: usize, timeout: Option<Duration>) -> Result<(), CallError> {
        self.agree_on(here, key, timeout.into())
    }
}
