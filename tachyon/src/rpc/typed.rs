//! Calls whose request and reply are types, not bytes.

use core::borrow::Borrow;
use core::fmt;
use core::ops::Deref;
use core::ptr;
use std::collections::HashSet;
use std::time::Duration;

use super::caller::Caller;
use super::fault::ErrorKind;
use super::guard::RpcRxGuard;
use crate::describe::{EndpointDescription, Signature};
use crate::error::CallError;
use crate::payload::Wire;
use crate::wait::Deadline;

/// The reply to a call: a payload, a slice of payloads, bytes or nothing. Derefs to it; dropping it releases its room
/// to the peer.
///
/// It lies in the ring where it came, unless it has a `bool` or an enum in it: those are copied before they are
/// checked. [`into_owned`](Self::into_owned) takes it away in either case.
pub struct ReplyGuard<'c, W: Wire + ?Sized> {
    guard: RpcRxGuard<'c>,
    /// The value, when it can't be lent from the guard.
    copied: Option<W::Owned>,
}

impl<'c, W: Wire + ?Sized> ReplyGuard<'c, W> {
    #[inline]
    fn new(guard: RpcRxGuard<'c>, signature: &Signature) -> Result<Self, CallError> {
        if W::in_place(&guard).is_some() {
            return Ok(Self { guard, copied: None });
        }
        match W::read(&guard) {
            Ok(value) => Ok(Self { guard, copied: Some(value) }),
            Err(problem) => Err(CallError::BadReply { endpoint: signature.name().to_owned(), problem }),
        }
    }

    /// The reply for good, without its room in the ring.
    ///
    /// # Panics
    /// Never: the reply was checked when it came.
    pub fn into_owned(mut self) -> W::Owned {
        match self.copied.take() {
            Some(value) => value,
            None => W::read(&self.guard).expect("what may be lent in place is valid whatever its bytes are"),
        }
    }

    /// Which call this answers.
    pub fn correlation_id(&self) -> u64 {
        self.guard.correlation_id()
    }

    /// The message type of the endpoint that answered.
    pub fn msg_type(&self) -> u16 {
        self.guard.msg_type()
    }
}

impl<W: Wire + ?Sized> Deref for ReplyGuard<'_, W> {
    type Target = W;

    #[inline]
    fn deref(&self) -> &W {
        match &self.copied {
            Some(value) => value.borrow(),
            None => W::in_place(&self.guard).expect("it could be lent in place when it came"),
        }
    }
}

impl<W: Wire + fmt::Debug + ?Sized> fmt::Debug for ReplyGuard<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// The endpoints of a connection whose two sides mean the same.
///
/// Signatures are constants, so their address tells them apart; two copies of one are compared twice, no more.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    latest: usize,
    all: HashSet<usize>,
}

impl Agreed {
    #[inline]
    fn knows(&mut self, signature: &'static Signature) -> bool {
        self.knows_key(ptr::from_ref(signature).addr())
    }

    /// Whether what goes by `key` is agreed. Keys are the addresses of signatures, so even; a binding's are odd.
    #[inline]
    pub(crate) fn knows_key(&mut self, key: usize) -> bool {
        if self.latest == key {
            return true;
        }
        let known = self.all.contains(&key);
        if known {
            self.latest = key;
        }
        known
    }

    fn note(&mut self, key: usize) {
        self.latest = key;
        self.all.insert(key);
    }
}

impl Caller {
    /// Calls the endpoint of a signature and waits for its reply. The first call of a typed endpoint on a connection
    /// asks the callee what it means by it.
    #[inline]
    pub(crate) fn request_typed<Q: Wire + ?Sized, R: Wire + ?Sized>(
        &mut self,
        signature: &'static Signature,
        request: &Q,
        timeout: Option<Duration>,
    ) -> Result<ReplyGuard<'_, R>, CallError> {
        let deadline = Deadline::from(timeout);
        let call = self.call_typed(signature, request.bytes(), deadline)?;
        self.finish(call, deadline)?;
        ReplyGuard::new(self.answered()?, signature)
    }

    #[inline]
    fn call_typed(
        &mut self,
        signature: &'static Signature,
        request: &[u8],
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        if (!signature.is_typed() || self.agreed.knows(signature))
            && let Some(call) = self.call_fast(signature.msg_type(), request, deadline)
        {
            return Ok(call);
        }
        self.call_typed_slow(signature, request, deadline)
    }

    #[inline(never)]
    fn call_typed_slow(
        &mut self,
        signature: &'static Signature,
        request: &[u8],
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        self.revive(deadline)?;
        match self.agree_and_send(signature, request, deadline) {
            // The next callee is asked again what it means.
            Err(CallError::Closed | CallError::PeerDead) if self.reconnects() => {
                self.reconnect(deadline)?;
                self.agree_and_send(signature, request, deadline)
            }
            outcome => outcome,
        }
    }

    /// Sends a request over the present connection, to a callee that means the same by it.
    #[inline]
    fn agree_and_send(
        &mut self,
        signature: &'static Signature,
        request: &[u8],
        deadline: Deadline,
    ) -> Result<u64, CallError> {
        if signature.is_typed() && !self.agreed.knows(signature) {
            self.agree(signature, deadline)?;
        }
        self.send(signature.msg_type(), request, deadline)
    }

    #[cold]
    fn agree(&mut self, signature: &'static Signature, deadline: Deadline) -> Result<(), CallError> {
        self.agree_on(&signature.into(), ptr::from_ref(signature).addr(), deadline)
    }

    /// Compares an endpoint with the callee's, and notes `key` when they agree. A callee that says nothing about it is
    /// taken at its word.
    #[cold]
    pub(crate) fn agree_on(
        &mut self,
        here: &EndpointDescription,
        key: usize,
        deadline: Deadline,
    ) -> Result<(), CallError> {
        let theirs = match self.describe_here(here.msg_type, deadline) {
            Ok(description) => description,
            Err(CallError::Remote(error)) if error.kind == ErrorKind::NoHandler => {
                self.agreed.note(key);
                return Ok(());
            }
            // A ring too small for the question belongs to a peer that was never meant to be asked.
            Err(CallError::TooLarge { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(theirs) = theirs.endpoint(here.msg_type) {
            here.agree_with(theirs)?;
        }
        self.agreed.note(key);
        Ok(())
    }
}
