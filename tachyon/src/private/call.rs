//! The client half of generated code.

use core::time::Duration;

use crate::describe::Signature;
use crate::error::CallError;
use crate::payload::Wire;
use crate::rpc::{Caller, ReplyGuard};

/// Calls the endpoint of a signature.
///
/// # Errors
///
/// As the generated function says.
#[inline]
pub fn call<'c, Q: Wire + ?Sized, R: Wire + ?Sized>(
    caller: &'c mut Caller,
    signature: &'static Signature,
    request: &Q,
) -> Result<ReplyGuard<'c, R>, CallError> {
    caller.request_typed(signature, request, None)
}

/// As [`call`], in at most `timeout`.
///
/// # Errors
///
/// As [`call`].
#[inline]
pub fn call_timeout<'c, Q: Wire + ?Sized, R: Wire + ?Sized>(
    caller: &'c mut Caller,
    signature: &'static Signature,
    request: &Q,
    timeout: Duration,
) -> Result<ReplyGuard<'c, R>, CallError> {
    caller.request_typed(signature, request, Some(timeout))
}

/// As [`call`], with a timeout or without.
///
/// # Errors
///
/// As [`call`].
#[inline]
pub fn call_within<'c, Q: Wire + ?Sized, R: Wire + ?Sized>(
    caller: &'c mut Caller,
    signature: &'static Signature,
    request: &Q,
    timeout: Option<Duration>,
) -> Result<ReplyGuard<'c, R>, CallError> {
    caller.request_typed(signature, request, timeout)
}
